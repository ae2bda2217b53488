"""Writes the results tables of the README from the files in `experiments/results/`.

python experiments/readme_table.py            # rewrites the tables
python experiments/readme_table.py --check    # fails if the README is not up to date
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

from jaxdigits import report
from jaxdigits.data import Fingerprint

EXPERIMENTS = Path(__file__).parent
README = EXPERIMENTS.parent / "README.md"


def read(name: str) -> dict:
    """A result that an experiment has written."""
    return json.loads((EXPERIMENTS / "results" / name).read_text())


def results() -> str:
    """The rows, each with the command that measures it again."""
    rows = []
    for name in ("mnist-train", "mnist-convnet", "letters-convnet", "mnist-mlp"):
        study = read(f"{name}.json")
        low, high = study["interval_95"]
        within_two = fmean(study["test_top_2_accuracy"])
        rows.append(
            (
                f"Test accuracy, {study['title']}",
                f"**{study['mean']:.2%}** (mean of {study['seeds']} seeds, 95 % interval {low:.2%} "
                f"to {high:.2%}); within two guesses {within_two:.2%}",
                study["command"],
            )
        )
    launched = read("launch.json")
    for name, row in launched["rows"].items():
        rows.append(
            (
                f"`jaxdigits train` as a whole process: {name}",
                f"{row['whole_process']:.0f} s, first step after {row['first_step']:.1f} s, test "
                f"accuracy {row['test_accuracy']:.2%}",
                launched["command"],
            )
        )
    networks, epochs = read("networks_against_pytorch.json"), read("epoch_against_pytorch.json")
    for row in networks["rows"]:
        low, high = row["ratio_range"]
        rows.append(
            (
                f"Training, batches of 64: {row['workload']}",
                f"{row['images_per_second']['jaxdigits']:,.0f} images/s, **{row['ratio']:.1f}x** "
                f"PyTorch's speed ({low:.1f} to {high:.1f} over {len(row['rounds'])} rounds)",
                networks["command"],
            )
        )
    for row in epochs["rows"]:
        low, high = row["ratio_range"]
        rows.append(
            (
                f"Epoch of 60,000 images, batches of 64: {row['workload']}",
                f"{1000 * row['seconds']['jaxdigits']:.0f} ms, **{row['ratio']:.1f}x** eager "
                f"PyTorch's speed ({low:.1f} to {high:.1f} over {len(row['rounds'])} rounds)",
                epochs["command"],
            )
        )
    lines = ["| what | result | measured by |", "|---|---|---|"]
    lines += [f"| {what} | {result} | `{command}` |" for what, result, command in rows]
    versions = ", ".join(f"{name} {version}" for name, version in networks["versions"].items())
    lines += ["", f"Measured on {networks['date']}, {networks['machine']}, {versions}."]
    letters = Fingerprint(**read("letters-convnet.json")["data"])
    lines += ["", f"The letters are {letters}."]
    return "\n".join(lines)


def posts() -> str:
    """What `jaxdigits reproduce --out experiments/results/posts` has measured, a line a row."""
    document = read("posts/report.json")
    return f"{report.brief_table(document)}\n\n{report.measured(document)}"


def main() -> None:
    """Rewrites the parts of the README between their marks, or checks them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = updated = README.read_text()
    for name, table in (("results", results), ("posts", posts)):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = updated.split(begin)
        updated = f"{before}{begin}\n{table()}\n{end}{rest.split(end)[1]}"
    if arguments.check:
        sys.exit(None if updated == text else "README.md: run python experiments/readme_table.py")
    README.write_text(updated)


if __name__ == "__main__":
    main()
