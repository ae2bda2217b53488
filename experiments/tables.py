"""Write the results tables of README and docs from the files in `experiments/results/`.

python experiments/tables.py            # rewrite the tables
python experiments/tables.py --check    # fail if they are not up to date
"""

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path
from statistics import fmean, median

import mutation

from jaxdigits.data import Fingerprint
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.evaluation.promises import AnswerCounts
from jaxdigits.posts import report
from jaxdigits.runs.folder import RUN_FILE, WEIGHTS

EXPERIMENTS = Path(__file__).parent
ROOT = EXPERIMENTS.parent


def read(name: str) -> dict:
    """Read a result that an experiment has written."""
    return json.loads((EXPERIMENTS / "results" / name).read_text())


def results() -> str:
    """Make the table of all results, each with the command that measures it again."""
    rows = []
    for name in ("mnist-train", "mnist-convnet", "letters-convnet", "mnist-mlp"):
        study = read(f"{name}.json")
        low, high = study["interval_95"]
        top_2 = fmean(study["test_top_2_accuracy"])
        rows.append(
            (
                f"Test accuracy, {study['title']}",
                f"**{study['mean']:.2%}** (mean of {study['seeds']} seeds, 95% interval {low:.2%} "
                f"to {high:.2%}); top-2 {top_2:.2%}",
                study["command"],
            )
        )
    for name in ("digits", "letters", "characters"):
        shipped = read(f"weights-{name}.json")
        low, high = shipped["test"]["interval_95"]
        rows.append(
            (
                f"Test accuracy, recipe of {shipped['title']}",
                f"**{shipped['test']['mean']:.2%}** (mean of {shipped['seeds']} seeds, 95% "
                f"interval {low:.2%} to {high:.2%}); top-2 "
                f"{shipped['test_within_two']['mean']:.2%}; jittered "
                f"{shipped['test_moved']['mean']:.2%}",
                shipped["command"],
            )
        )
    for name in ("digits", "letters"):
        left = read(f"robustness-{name}.json")
        calibration = left["calibration"]
        rows.append(
            (
                f"`jd.load('{name}')` on test images changed in {len(left['robustness']) - 1} ways",
                f"mean {left['robustness_mean']:.1%}; expected calibration error "
                f"{calibration['error']:.1%}, after temperature scaling "
                f"{calibration['error_at_temperature']:.1%}",
                f"jaxdigits evaluate {name} --robustness",
            )
        )
    streamed = read("streaming.json")
    disk, memory = streamed["disk"], streamed["memory"]
    rate = median(disk["images_per_second"])
    rows.append(
        (
            f"`jaxdigits train --stream`, {streamed['images']:,} images as in EMNIST by class",
            f"{rate:,.0f} images/s, {rate / median(memory['images_per_second']):.0%} of the rate "
            f"in memory; peak memory at most {max(disk['peak_gigabytes']):.1f} GB instead of "
            f"{median(memory['peak_gigabytes']):.1f} GB",
            "python experiments/streaming.py",
        )
    )
    launched = read("launch.json")
    for name, row in launched["rows"].items():
        rows.append(
            (
                f"`jaxdigits train`, whole process: {name}",
                f"{row['whole_process']:.0f} s, first step after {row['first_step']:.1f} s, test "
                f"accuracy {row['test_accuracy']:.2%}",
                launched["command"],
            )
        )
    reached = read("time_to.json")
    low, high = reached["mean_seconds_interval_95"]
    rows.append(
        (
            f"MNIST to {reached['accuracy']:.0%}, whole process, compilation included",
            f"**{reached['mean_seconds']:.1f} s** (mean of {reached['seeds']} seeds, 95% interval "
            f"{low:.1f} to {high:.1f} s); {reached['reached']} of {reached['seeds']} reach it, "
            f"mean accuracy {reached['mean_accuracy']:.2%}",
            reached["command"],
        )
    )
    slowdown = read("slowdown.json")
    verdicts = {
        what: [change["verdict"] for change in slowdown[what]["changes"]]
        for what in ("the same", "a tenth slower")
    }
    rows.append(
        (
            "`jaxdigits bench pair`: a slowdown of 10%, and equal programs",
            f"{verdicts['a tenth slower'].count('slower')} of {len(verdicts['a tenth slower'])} "
            f"found; {verdicts['the same'].count('within noise')} of {len(verdicts['the same'])} "
            "within noise",
            slowdown["command"],
        )
    )
    peers = read("peers.json")
    for row in peers["rows"]:
        ratios = ", ".join(
            f"**{found['median']:.1f}x** {library} ({found['interval_95'][0]:.1f} to "
            f"{found['interval_95'][1]:.1f})"
            for library, found in row["times_as_fast"].items()
        )
        rows.append(
            (
                f"Training, batch size 64: {row['what']}",
                f"{row['images_per_second']['jaxdigits']:,.0f} images/s; {ratios}",
                peers["command"],
            )
        )
    lines = ["| what | result | measured by |", "|---|---|---|"]
    lines += [f"| {what} | {result} | `{command}` |" for what, result, command in rows]
    versions = ", ".join([*peers["versions"].values(), f"jax {peers['jax']}"])
    lines += ["", f"Measured on {peers['date']}, {peers['machine']}, {versions}."]
    letters = Fingerprint(**read("letters-convnet.json")["data"])
    lines += ["", f"The letters are {letters}."]
    return "\n".join(lines)


def figures() -> str:
    """Make the README's table: the main figures."""

    def accuracy(values: dict, what: str) -> tuple[str, str]:
        low, high = values["interval_95"]
        return what, f"**{values['mean']:.2%}** ({low:.2%} to {high:.2%}, {values['seeds']} seeds)"

    reached, peers = read("time_to.json"), read("peers.json")
    low, high = reached["mean_seconds_interval_95"]
    rows = [
        accuracy(read("mnist-convnet.json"), "MNIST, test accuracy, post C's network"),
        accuracy(read("letters-convnet.json"), "EMNIST letters, the same network"),
        (
            f"MNIST to {reached['accuracy']:.0%}, on two CPU cores, compilation included",
            f"**{reached['mean_seconds']:.1f} s** ({low:.1f} to {high:.1f}, "
            f"{reached['seeds']} seeds)",
        ),
    ]
    network = next(row for row in peers["rows"] if "third post" in row["what"])
    ratios = ", ".join(
        f"**{found['median']:.1f}x** {library}"
        for library, found in network["times_as_fast"].items()
    )
    rows.append(("training speed on two CPU cores, beside each library's fastest setting", ratios))
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {found} |" for what, found in rows)])


def posts() -> str:
    """Make the table of `jaxdigits reproduce --out experiments/results/posts`, without padding."""
    document = read("posts/report.json")
    return f"{_without_padding(report.brief_table(document))}\n\n{report.measured(document)}"


def _without_padding(table: str) -> str:
    return re.sub("---+:?", "---", re.sub("  +", " ", table))


def pages() -> str:
    """Make the table of how often pages are read without a mistake, by kind."""
    document = read("pages.json")
    rows = [f"| {kind} | {right} |" for kind, right in document["exact"].items()]
    total = f"| all, of {document['each'] * len(rows)} | {sum(document['exact'].values())} |"
    head = [f"| kind of page | read exactly, of {document['each']} |", "|---|---|"]
    measured = (
        f"Measured by `{document['command']}`. With `--error-rate {document['error_rate']}`, "
        f"{document['wrong']} of {document['printed']:,} printed characters are wrong."
    )
    return "\n".join([*head, *rows, total, "", measured])


def tried(name: str) -> str:
    """Make the table of what was tried, and how it ended."""
    document = read(name)
    columns = list(document["rows"][0])
    rows = [list(row.values()) for row in document["rows"]]
    rows.append(["all", *(sum(row[at] for row in rows) for at in range(1, len(columns)))])
    lines = [columns, ["---"] * len(columns), *rows]
    table = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    return (
        f"{table}\n\nMeasured by `{document['command']}`, Python {document['versions']['python']}."
    )


def soak() -> str:
    """Say how much a process grew that worked for long."""
    document = read("soak.json")
    low, high = document["interval_95"]
    slope = document["kilobytes_a_round"]
    return (
        f"{document['rounds']:,} rounds took {document['seconds'] / 60:.0f} minutes. After the "
        f"first fifth, memory grew by {slope:.1f} kB a round (95% interval: {low:.1f} to "
        f"{high:.1f}). It ended at {document['memory_mb'][-1]:.0f} MB, with "
        f"{document['programs']} programs.\n\nMeasured by `{document['command']}`, Python "
        f"{document['versions']['python']}."
    )


def compiled() -> str:
    """Make the table of programs compiled for devices that are not here."""
    document = read("compiled.json")
    lines = [
        "| network | devices | memory a device | kernels | sums over devices | bound by "
        "| images/s, at most |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        seeds = f", {row['seeds']} seeds" if row["seeds"] > 1 else ""
        millions = row["bound_images_per_second"] / 1e6
        bound = f"{millions:,.0f}" if millions >= 100 else f"{millions:.2g}"
        by_memory = row["memory_seconds"] > row["product_seconds"]
        lines.append(
            f"| {row['model']}{seeds} | {row['devices']} x {row['device']} "
            f"| {row['program_bytes'] / 1e6:,.0f} MB | {row['kernels']} "
            f"| {sum(row['collectives'].values())} | {'memory' if by_memory else 'products'} "
            f"| {bound} million |"
        )
    measured = (
        f"Batches of {document['rows'][0]['batch_size']}. Kernels and sums are those of a training "
        f"step. Compiled by `{document['command']}`, jax {document['versions']['jax']}."
    )
    return "\n".join([*lines, "", measured])


def convolutions() -> str:
    """Make the table of convolutions in networks of others."""
    document = read("convolutions.json")
    lines = [
        "| images | kernel | ms in a loop | `lax` in a loop | `lax` alone | `lax` by image "
        "| `lax`, networks | PyTorch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        side, span = row["side"], row["kernel"]
        places = ("lax in scan", "lax alone", "lax by image", "lax in vmap", "torch in scan")
        lines.append(
            f"| {row['batch']} of {side}x{side}x{row['inputs']} | {span}x{span}x{row['outputs']} "
            f"| {1e3 * row['ops in scan']['value']:.2f} | "
            + " | ".join(_times(row.get(place)) for place in places)
            + " |"
        )
    machine = document["machine_info"]
    return "\n".join(
        [
            *lines,
            "",
            f"Measured by `{document['command']}` on {document['cores']} cores of "
            f"{machine['cpu']['brand_raw']}, jax {document['versions']['jax']}. A ratio is bold "
            "where its whole 95% interval is above 1: `conv` is faster there.",
        ]
    )


def _times(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return ""
    text = f"{ratio['value']:.2g}" if ratio["value"] < 10 else f"{ratio['value']:.0f}"
    return f"**{text}**" if ratio["low"] > 1 else text


def faults() -> str:
    """Make the table of the faults that the tests noticed."""
    document = read("mutation.json")
    command = f"python experiments/mutation.py --seed {document['seed']}"
    return f"{_without_padding(mutation.table(document['faults']))}\n\nMeasured by `{command}`."


def refused() -> str:
    """Say what the least error rate is that each network can promise."""
    lines = ["| network | characters | wrong, if all are printed | least promise |"]
    lines.append("|---|---|---|---|")
    for name in ("digits", "letters", "characters"):
        document = json.loads((WEIGHTS / name / RUN_FILE).read_text())
        counts = AnswerCounts.from_dict(document["calibration"]["pages"])
        wrong = counts.wrong[0] / counts.answers
        least = counts.least_error_rate()
        lines.append(f"| `{name}` | {counts.answers:,} | {wrong:.1%} | {least:.2%} |")
    return "\n".join(lines)


def promises() -> str:
    """Make the tables of promises that were broken, and of sets."""
    document = read("promises.json")
    lines = ["| network | error rate | promised | broken | still printed |"]
    lines.append("|---|---|---|---|---|")
    for name, found in document["networks"].items():
        for row in found["promises"]:
            printed = "" if row["still printed"] is None else f"{row['still printed']:.1%}"
            lines.append(
                f"| `{name}` | {row['error rate']:.2%} | {row['promised']} | {row['broken']} "
                f"| {printed} |"
            )
    lines += [
        "",
        "And sets, made with the calibration that the package has:",
        "",
        "| network | sets | hold the right one | mean size | of the class worst off |",
        "|---|---|---|---|---|",
    ]
    for name, found in document["networks"].items():
        lines += [
            f"| `{name}` | {row['sets']:.1%} | {row['hold the right one']:.1%} "
            f"| {row['mean size']:.2f} | {row['class worst off']}: {row['its sets hold it']:.1%} |"
            for row in found["sets"]
        ]
    counts = ", ".join(
        f"{found['answers']:,} on {found['pages']:,} pages for `{name}`"
        for name, found in document["networks"].items()
    )
    measured = (
        f"Measured by `{document['command']}`; answers on pages with test images: {counts}. Empty "
        "where no calibration promises it."
    )
    return "\n".join([*lines, "", measured])


def halving() -> str:
    """Say how often halving finds the best setting, and what it costs."""
    document = read("halving.json")
    rows = document["rows"]
    agree = sum(row["agrees"] for row in rows)
    few, all_of = (median([row["halved"] / row[name] for row in rows]) for name in ("few", "all"))
    lost = fmean(row["test accuracies"][0] - row["test accuracies"][1] for row in rows)
    return (
        f"{document['settings']} settings of the small network, {document['epochs']} epochs each, "
        f"on 5,000 images of MNIST: `--halving {document['one_in']}` takes {few:.1f} times as long "
        f"as 16 settings without it, and a {1 / all_of:.0f}th of the time of all. In {agree} of "
        f"{len(rows)} repetitions its winner is that of all settings, or as good within twice the "
        f"deviation of seeds; on average its test accuracy is {100 * lost:.2f} points lower.\n\n"
        f"Measured by `{document['command']}`, jax {document['versions']['jax']}."
    )


def teaching() -> str:
    """Say what corrections are worth."""
    document = read("teaching.json")

    def share(name: str) -> str:
        mean, low, high = (100 * value for value in document[name])
        return f"{mean:.1f}% (95% interval {max(low, 0):.1f} to {high:.1f}%)"

    mean, low, high = (100 * value for value in document["MNIST"])
    corrections = document["corrections"][0]
    worst = 100 * max(document["of_each_writer"]["MNIST"])
    return (
        f"| of {document['writers']} writers | misread |\n|---|---|\n"
        f"| before | {share('before')} |\n| after up to {document['most_corrections']} corrections "
        f"({corrections:.1f} on average) | {share('after')} |\n\n"
        f"On MNIST's {document['images']:,} test images the error rises by {mean:.3f} points on "
        f"average ({low:.3f} to {high:.3f}), at most by {worst:.2f}. A correction takes up to "
        f"{document['seconds']:.1f} s.\n\n"
        f"Measured by `{document['command']}`, {document['processor']}, "
        f"jax {document['versions']['jax']}."
    )


def photographed() -> str:
    """Compare flat pages with photos of them."""
    document = read("photographed.json")
    low, high = document["interval"]
    exact, right, seconds = (document[name] for name in ("exact", "characters", "seconds"))
    return (
        f"| {document['pages']} pages | flat | photographed |\n|---|---|---|\n"
        f"| characters read right | {right['flat']:.1%} | {right['photos']:.1%} |\n"
        f"| pages without a mistake | {exact['flat']} | {exact['photos']} |\n"
        f"| seconds for a page, median | {seconds['flat']:.1f} | {seconds['photos']:.1f} |\n\n"
        f"The share of characters read right in photos is {document['ratio']:.1%} of that on flat "
        f"pages (95% interval {low:.1%} to {high:.1%}). Measured by `{document['command']}`."
    )


def precision() -> str:
    """Compare accuracies and speed of both precisions."""
    document = read("precision.json")
    lines = ["| network | float32 | bfloat16 | difference | speed |", "|---|---|---|---|---|"]
    for row in document["rows"]:
        both = [f"{row[name][0]:.2%}" for name in ("float32", "bfloat16")]
        mean, low, high = (100 * value for value in row["difference"])
        lines.append(
            f"| {row['network']}, {row['epochs']} epochs of {row['data'].split()[0]} "
            f"| {both[0]} | {both[1]} | {mean:+.2f} points ({low:+.2f} to {high:+.2f}) "
            f"| {row['times_as_fast']:.2f}x |"
        )
    measured = (
        f"Test accuracy, mean of {document['seeds']} seeds; the interval of 95% is of the seeds' "
        f"differences. Measured by `{document['command']}`, {document['processor']}, "
        f"jax {document['versions']['jax']}, not on a quiet machine."
    )
    return "\n".join([*lines, "", measured])


def twins() -> str:
    """Make the table of where runs begin to differ."""
    document = read("twins.json")
    lines = ["| network | with and without | differs first in | because |", "|---|---|---|---|"]
    for row in document["rows"]:
        where, why, operation = "nothing", "", row["operation"]
        if row["epoch"] == 0:
            where = "the start"
        elif row["epoch"] is not None:
            where = f"epoch {row['epoch']}, step {row['step']}" if row["step"] else "an epoch"
        if operation is not None:
            only = [one for one in operation["only"] if "psum" in one][:1] or operation["only"][-1:]
            place = only[0] if only else f"{operation['name']} in {operation['place']}"
            why = f"`{place}`, by up to {operation['by']:.1g} of {operation['largest']:.1g}"
        elif row["epoch"] is not None:
            why = "XLA joins operations in another way"
        lines.append(f"| {row['network']} | {row['circumstance']} | {where} | {why} |")
    versions = sorted({one for row in document["rows"] for one in row["changes"] if "jax " in one})
    measured = f"Measured by `{document['command']}`: {'; '.join(versions)}."
    return "\n".join([*lines, "", measured])


def records() -> str:
    """Make the table of records."""
    lines = ["| what | parameters | seconds | test accuracy | measured by |"]
    lines.append("|---|---|---|---|---|")
    for record in read("records.json").values():
        rows = record["seeds"]
        mean, low, high = mean_interval([row["test"] for row in rows])
        seconds = fmean(row["seconds"] for row in rows)
        lines.append(
            f"| {record['title']} | {record['params']:,} | {seconds:.0f} | **{mean:.2%}** (mean of "
            f"{len(rows)} seeds, 95% interval {low:.2%} to {high:.2%}) | `{record['command']}` |"
        )
    processors = {record["processor"] for record in read("records.json").values()}
    wrong = [set(row["wrong"]) for row in read("records.json")["minute"]["seeds"]]
    every, some = set.intersection(*wrong), set.union(*wrong)
    left = (
        f"{len(every)} test images are read wrong by all {len(wrong)} networks of a minute, "
        f"{len(some)} by at least one. `python experiments/records/left.py minute` draws the first:"
    )
    return "\n".join([*lines, "", f"Measured on {' and '.join(sorted(processors))}.", "", left])


TABLES = {
    "CONTRIBUTING.md": {"mutation": faults},
    "README.md": {"figures": figures},
    "docs/explanations/tried.md": {
        "hostile": partial(tried, "hostile.json"),
        "circumstances": partial(tried, "circumstances.json"),
        "kills": partial(tried, "kills.json"),
        "soak": soak,
    },
    "docs/guides/accelerators.md": {"compiled": compiled, "precision": precision},
    "docs/guides/convolutions.md": {"convolutions": convolutions},
    "docs/guides/handwriting.md": {
        "pages": pages,
        "photographed": photographed,
        "refused": refused,
        "promises": promises,
    },
    "docs/guides/sweeps.md": {"halving": halving},
    "docs/guides/teaching.md": {"teaching": teaching},
    "docs/guides/twins.md": {"twins": twins},
    "docs/results.md": {"results": results, "records": records, "posts": posts},
}
"""By file and mark: what makes the table."""


def main() -> None:
    """Rewrite the parts of the files between their marks, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    for name, tables in TABLES.items():
        path = ROOT / name
        text = updated = path.read_text()
        for mark, table in tables.items():
            begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
            before, rest = updated.split(begin)
            updated = f"{before}{begin}\n{table()}\n{end}{rest.split(end)[1]}"
        if not arguments.check:
            path.write_text(updated)
        elif updated != text:
            sys.exit(f"{name}: run python experiments/tables.py")


if __name__ == "__main__":
    main()
