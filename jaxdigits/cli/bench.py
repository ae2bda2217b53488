"""`jaxdigits bench`: run, compare, scaling and time-to."""

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
from tabulate import tabulate
from tqdm import tqdm

from jaxdigits import data
from jaxdigits.bench import compare as comparing
from jaxdigits.bench import document as documents
from jaxdigits.bench.measure import measure
from jaxdigits.bench.pair import measure_in_turns
from jaxdigits.bench.time_to import attempts
from jaxdigits.bench.workloads import MODES, WORKLOADS, Benchmark
from jaxdigits.cli.output import note, report
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError, DataUnavailableError, RunError
from jaxdigits.evaluation.metrics import mean_interval, wilson_interval
from jaxdigits.files import write_json

FULL, QUICK = (300, 0.02), (80, 0.02)
"""Rounds, and about the seconds of each, if a call is not longer."""

SCALING_SECONDS = 0.1
"""The same of `scaling`."""


def run(
    workloads: Sequence[str] = (),
    *,
    modes: Sequence[str] = (),
    batch_sizes: Sequence[int] = (64,),
    rounds: int | None = None,
    quick: bool = False,
    devices: int | None = None,
    dataset: str = "digits",
    pair: str | None = None,
    json_file: Path | None = None,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
) -> dict[str, Any]:
    """Measures, prints a table, and writes the document.

    Args:
        workloads: their names; all of them if none is given.
        modes: `train`, `inference`, or both.
        batch_sizes: images a step.
        rounds: of each benchmark.
        quick: whether to be content with fewer rounds.
        devices: how many share a batch; what suits each network, if not given.
        dataset: whose images to use; it makes no difference to the time.
        pair: if given, prints no table, but a line before each round of each benchmark, and waits
            for one; the document keeps it, by which `compare` knows the two of a pair.
        json_file: where to write the document.
        data_dir: where prepared data sets are kept.
        manual_dir: a folder with data files downloaded by hand.

    Raises:
        ConfigError: a name is unknown, or a number impossible.
        DataError: the data set is unknown, damaged or not to be had.
        OutputError: the document cannot be written.
        RunError: standard input ended before the last round of a pair.
    """
    benchmarks, rounds, seconds = _plan(workloads, modes, batch_sizes, rounds, quick, devices)
    images = data.load(dataset, "train", data_dir=data_dir, manual_dir=manual_dir)
    document = _measure(benchmarks, images, rounds, seconds, pair)
    if pair is None:
        print(table(document))
        _write(document, json_file)
    elif json_file:
        write_json(json_file, document)
    return document


def pair(
    before: str,
    after: str,
    *,
    workloads: Sequence[str] = (),
    modes: Sequence[str] = (),
    batch_sizes: Sequence[int] = (64,),
    rounds: int | None = None,
    quick: bool = False,
    devices: int | None = None,
    before_json: Path | None = None,
    after_json: Path | None = None,
    as_json: bool = False,
) -> None:
    """Measures two versions in turns, and prints what `compare` says of them.

    Args:
        before, after: how to call `jaxdigits` of the one and of the other.
        workloads, modes, batch_sizes, rounds, quick, devices: as of `run`.
        before_json, after_json: where to keep the documents.
        as_json: whether to print one JSON object.

    Raises:
        ConfigError: a name is unknown, a number impossible, or a command cannot be run.
        OutputError: a document cannot be written.
        RunError: one of the two failed.
    """
    benchmarks, rounds, _ = _plan(workloads, modes, batch_sizes, rounds, quick, devices)
    words = ["--rounds", f"{rounds}", "--batch-sizes", *map(str, batch_sizes)]
    words += ["--workloads", *workloads] if workloads else []
    words += ["--modes", *modes] if modes else []
    words += [] if devices is None else ["--devices", f"{devices}"]
    words += ["--quick"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.json" for name in ("before", "after")]
        with tqdm(disable=None, leave=False, bar_format="{desc}") as bar:
            measure_in_turns(
                (before, after),
                words,
                files,
                rounds=rounds,
                programs=len(benchmarks) + 1,
                progress=bar.set_description_str,
            )
        compare(*files, as_json=as_json)
        for path, file in zip((before_json, after_json), files, strict=True):
            if path:
                write_json(path, documents.load(file))


def _plan(
    workloads: Sequence[str],
    modes: Sequence[str],
    batch_sizes: Sequence[int],
    rounds: int | None,
    quick: bool,
    devices: int | None,
) -> tuple[list[Benchmark], int, float]:
    """What was asked for: benchmarks, rounds, and about the seconds of each."""
    usual, seconds = QUICK if quick else FULL
    rounds = usual if rounds is None else rounds
    _check_rounds(rounds)
    if not all(1 <= size <= 60_000 for size in batch_sizes):
        raise ConfigError("batch sizes must be 1 to 60000")
    if any(size % (devices or 1) for size in batch_sizes):
        raise ConfigError(f"batch sizes must be multiples of the {devices} devices")
    benchmarks = [
        Benchmark(workload, mode, batch_size, devices)
        for workload in _known("workload", workloads, WORKLOADS)
        for batch_size in dict.fromkeys(batch_sizes)
        for mode in _known("mode", modes, MODES)
    ]
    return benchmarks, rounds, seconds


def _known(what: str, names: Sequence[str], all_: Mapping[str, Any] | Sequence[str]) -> list[Any]:
    """The names, or all of them if none is given."""
    for name in names:
        if name not in all_:
            raise ConfigError(f"there is no {what} {name}; there are {', '.join(all_)}")
    return list(dict.fromkeys(names or all_))


def _measure(
    benchmarks: Sequence[Benchmark],
    images: data.Dataset,
    rounds: int,
    round_seconds: float,
    pair: str | None = None,
) -> dict[str, Any]:
    """The document of benchmarks."""
    # A program that is found among those kept would seem to have taken no time to compile.
    jax.config.update("jax_enable_compilation_cache", False)
    # With None, tqdm is silent where standard error is not a terminal.
    with tqdm(disable=None if pair is None else True, leave=False, bar_format="{desc}") as bar:
        timings = measure(
            benchmarks,
            images,
            rounds=rounds,
            round_seconds=round_seconds,
            turn=(lambda: None) if pair is None else _wait_for_turn,
            progress=bar.set_description_str,
        )
    return documents.make(timings, benchmarks, images.fingerprint, _command(), pair)


def _wait_for_turn() -> None:
    """As `jaxdigits.bench.pair` gives it."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        raise RunError("standard input ended before the last round of the pair")


def table(document: Mapping[str, Any]) -> str:
    """The document for people."""
    rows = []
    for entry in document["benchmarks"]:
        extra = entry["extra_info"]
        rate, interval = "", ""
        if extra["images"]:
            low, high = extra["interval_95"]
            rate, interval = f"{extra['images_per_second']:,.0f}", f"{low:,.0f} to {high:,.0f}"
        datasheet = extra["share_of_datasheet"]
        rows.append(
            (
                entry["name"],
                f"{extra['devices']}",
                f"{extra['trace_seconds'] + extra['compile_seconds']:.1f} s",
                f"{extra['first_seconds']:.2f} s",
                f"{entry['stats']['median']:.3g} s",
                rate,
                interval,
                f"{extra['flops_per_second'] / 1e9:,.1f}",
                f"{extra['share_of_product']:.0%}",
                "" if datasheet is None else f"{datasheet:.1%}",
                f"{extra['program_bytes'] / 1e6:,.0f} MB",
            )
        )
    headers = (
        *("", "devices", "compile", "first call", "call", "images/s", "95 % interval"),
        *("GFLOP/s", "of product", "of datasheet", "memory"),
    )
    keep = [i for i in range(len(headers)) if i == 0 or any(row[i] for row in rows)]
    shown = [[row[i] for i in keep] for row in rows]
    align = ["left"] + ["right"] * (len(keep) - 1)
    lines = tabulate(
        shown, [headers[i] for i in keep], "simple", disable_numparse=True, colalign=align
    )
    ours = document["jaxdigits"]
    peak = ours["peak_bytes"]
    memory = f"{peak['process'] / 1e6:,.0f} MB of the process"
    if peak["device"]:
        memory += f", {peak['device'] / 1e6:,.0f} MB of the device"
    cpu = document["machine_info"]["cpu"]
    commit = document["commit_info"]["id"]
    versions = ", ".join(f"{name} {version}" for name, version in ours["versions"].items())
    made = [f"{ours['device']} x {ours['devices']}", f"{cpu['brand_raw']}, {cpu['count']} cores"]
    made += [versions, f"commit {commit[:10]}" if commit else "no commit"]
    made += [f"{name}={value}" for name, value in ours["flags"].items()]
    return f"{lines}\n\nMemory at its peak: {memory}.\n{'; '.join(made)}."


def compare(before: Path, after: Path, *, as_json: bool = False) -> None:
    """Prints what became of each benchmark.

    Args:
        before, after: documents of `jaxdigits bench --json`.
        as_json: whether to print one JSON object.

    Raises:
        RunError: a file is none, or the two have no benchmark in common.
    """
    first, second = documents.load(before), documents.load(after)
    changes, machine = comparing.compare(first, second)
    lines = tabulate(
        [
            (change.name, *(f"{end:.3f}" for end in change.ratio), change.verdict)
            for change in changes
        ],
        ("", "time, after to before", "from", "to", ""),
        "simple",
        disable_numparse=True,
        colalign=("left", "right", "right", "right", "left"),
    )
    product = f"The matrix product takes {machine.value:.3f} times as long as before."
    hardest = max(changes, key=lambda change: change.visible)
    seen = 100 * (hardest.visible - 1)
    least = f"only one of more than {seen:.0f} %" if seen < 1000 else "none"
    how = "Measured one after the other: the fastest rounds count."
    better = "`jaxdigits bench pair`, more --rounds and a quieter machine"
    if in_turns := comparing.in_turns(first, second):
        how = "Measured in turns: the median of the rounds' ratios counts."
        better = "More --rounds"
    text = (
        f"{lines}\n\n{product} Above 1 is slower; all intervals hold at once in "
        f"{100 * comparing.LEVEL:.0f} of 100 cases. The same program, started again, may differ by "
        f"{100 * (comparing.MARGIN - 1):.0f} %. {how}\n"
        f"A slowdown is hardest to see in {hardest.name}: {least} would surely have been found. "
        f"{better} show smaller ones."
    )
    document = {
        "level": comparing.LEVEL,
        "in_turns": in_turns,
        "machine": machine._asdict(),
        "changes": [
            {"name": c.name, **c.ratio._asdict(), "verdict": c.verdict, "visible": c.visible}
            for c in changes
        ],
    }
    report(text, document, as_json=as_json)
    for name in ("device", "devices", "versions", "flags", "cpu"):
        then, now = (
            document["jaxdigits"].get(name, document["machine_info"].get(name))
            for document in (first, second)
        )
        if isinstance(then, dict) and isinstance(now, dict):
            same = then.items() & now.items()
            then, now = (dict(sorted(found.items() - same)) for found in (then, now))
        if then != now:
            note(f"not the same {name}: {then}, now {now}")


BATCH_SIZES, WIDTHS = (16, 64, 256, 1024), (32, 128, 512, 2048)


def scaling(
    *, out: Path = Path("scaling.png"), json_file: Path | None = None, rounds: int = 5
) -> dict[str, Any]:
    """Measures training against batch size, width and number of devices, and draws it.

    Args:
        out: the picture.
        json_file: where to write the document.
        rounds: of each benchmark.

    Raises:
        ConfigError: the number of rounds is impossible.
        OutputError: a file cannot be written.
    """
    _check_rounds(rounds)
    counts = [2**k for k in range(jax.device_count().bit_length())]
    sweeps: dict[str, list[tuple[int, Benchmark]]] = {
        "batch size": [
            (size, Benchmark(name, "train", size)) for name in WORKLOADS for size in BATCH_SIZES
        ],
        "width of the hidden layer": [
            (width, Benchmark("mlp", "train", 64, width=width)) for width in WIDTHS
        ],
        "devices that share a batch of 64": [
            (count, Benchmark(name, "train", 64, count)) for name in WORKLOADS for count in counts
        ],
    }
    benchmarks = [benchmark for sweep in sweeps.values() for _, benchmark in sweep]
    images = data.load("digits", "train")
    document = _measure(benchmarks, images, rounds, SCALING_SECONDS)
    entries = {entry["name"]: entry["extra_info"] for entry in document["benchmarks"]}
    panels: dict[str, dict[str, list[tuple[int, float, float]]]] = {}
    for label, sweep in sweeps.items():
        panels[label] = {}
        for amount, benchmark in sweep:
            found = entries[benchmark.name]
            point = (amount, found["images_per_second"], found["share_of_product"])
            panels[label].setdefault(benchmark.workload, []).append(point)
    from jaxdigits import plots

    ours, cpu = document["jaxdigits"], document["machine_info"]["cpu"]
    heading = (
        f"training on {ours['device']} ({cpu['brand_raw']}, {cpu['count']} cores), "
        f"{document['datetime'][:10]}"
    )
    plots.save(plots.scaling(panels, heading), out)
    print(f"{table(document)}\n\ndrawn to {out}")
    _write(document, json_file)
    return document


def time_to(
    accuracy: float,
    *,
    seeds: int = 20,
    json_file: Path | None = None,
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """Runs the recipe of `jaxdigits/bench/recipe.py` with many seeds, and prints how it went.

    Args:
        accuracy: on the test images, 0..1.
        seeds: how many.
        json_file: where to write the result.
        data_dir: where prepared data sets are kept.

    Raises:
        ConfigError: the accuracy or the number of seeds is impossible.
        DataUnavailableError: MNIST is not prepared.
        OutputError: the file cannot be written.
    """
    if not 0 < accuracy < 1:
        raise ConfigError(f"accuracy must be above 0 and below 1, such as 0.99, not {accuracy}")
    if not 2 <= seeds <= 1000:
        raise ConfigError(f"seeds must be 2 to 1000, not {seeds}")
    if not data.is_prepared("mnist", data_dir):
        raise DataUnavailableError(
            "MNIST is not prepared, which would count; run `jaxdigits data prepare mnist` before"
        )
    words = ["--data-dir", str(data_dir)] if data_dir else []
    done = []
    for attempt in attempts(seeds, words):
        done.append(attempt)
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in attempt.parts.items())
        print(
            f"seed {attempt.seed}: {attempt.accuracy:.2%} after {attempt.seconds:.2f} s ({parts})",
            flush=True,
        )
    reached = sum(attempt.accuracy >= accuracy for attempt in done)
    low, high = wilson_interval(reached, seeds)
    means = {
        name: mean_interval([getattr(attempt, name) for attempt in done])
        for name in ("accuracy", "seconds")
    }
    print(
        f"\n{reached} of {seeds} reach {accuracy:.2%} (95 % interval {low:.0%} to "
        f"{high:.0%}); accuracy {_percent(means['accuracy'])}; whole process "
        "{:.2f} s ({:.2f} to {:.2f})".format(*means["seconds"])
    )
    document = {
        "title": f"time to {accuracy:.2%} on MNIST, whole process, compiled anew each time",
        "command": _command(),
        "datetime": datetime.now(UTC).isoformat(),
        "machine_info": documents.machine_info(),
        "commit_info": documents.commit_info(),
        **environment(),
        "accuracy": accuracy,
        "seeds": seeds,
        "reached": reached,
        "share_interval_95": [low, high],
        "mean_accuracy": means["accuracy"][0],
        "mean_accuracy_interval_95": list(means["accuracy"][1:]),
        "mean_seconds": means["seconds"][0],
        "mean_seconds_interval_95": list(means["seconds"][1:]),
        "attempts": [attempt._asdict() for attempt in done],
    }
    _write(document, json_file)
    return document


def _percent(interval: Sequence[float]) -> str:
    return "{:.2%} ({:.2%} to {:.2%})".format(*interval)


def _command() -> str:
    """What gives such a document again."""
    return f"jaxdigits {shlex.join(sys.argv[1:])}"


def _check_rounds(rounds: int) -> None:
    if not 2 <= rounds <= 10_000:
        raise ConfigError(f"rounds must be 2 to 10000, not {rounds}")


def _write(document: Mapping[str, Any], path: Path | None) -> None:
    if path:
        write_json(path, document)
        print(f"written to {path}")
