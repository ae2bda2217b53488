"""How fast do the networks train here, and in other libraries?

    pip install -r experiments/peers/requirements-pytorch.txt
    pip install -r experiments/peers/requirements-keras.txt
    python experiments/peers/compare.py

Whatever is installed of PyTorch and Keras is compared with jaxdigits and with Flax NNX used in the
usual way. Expect: a line for each workload and side, and a picture.

The same work on all sides: 28x28 images in a new random order each round, batches of 64,
cross-entropy, AdamW, one update a batch, weight decay for weights alone, float32, all cores or the
GPU. The numbers of parameters are compared, and must be equal. The docstrings of the sides
(`*_side.py`) tell what each does in its own way. Of the variants of a library the fastest counts,
chosen once by its median, not round by round.

Each variant is a process of its own, which waits for its turn, so that none of them meets another's
threads or memory. They take turns, a round each, so that a machine that drifts drifts for all, and
the ratio of each round counts: its median, with a 95% interval. Before each turn is a pause,
because PyTorch's threads go on spinning for some milliseconds. The first round of each, which
compiles and warms up, is not counted. Pixels are random: their values do not change how long a
round takes.

The machine must have nothing else to do. PyTorch's threads wait for each other by spinning, and
lose far more than a fair share of a core to another program: the ratio would flatter us. How many
cores others use is measured before each workload, written down, and told if it is not almost none.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sides import WORKLOADS

from jaxdigits.bench.document import commit_info, machine_info
from jaxdigits.bench.intervals import paired
from jaxdigits.files import write_json

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
OURS = "jaxdigits"
PAUSE = 0.1
"""Seconds before each turn."""
BUSY = 0.2
"""Cores used by other programs above which a result is doubtful."""


ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # All sides have the GPU at once: none may take its memory beforehand.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
"""Of all sides."""

GPU_IMAGES = 60_000
"""Images a round on an accelerator: with fewer it would last only milliseconds."""

LIBRARIES = {OURS: OURS, "flax": "Flax NNX", "torch": "PyTorch", "keras": "Keras"}
"""Their names, by package."""


def sides_of(workload: str, packages: Sequence[str]) -> dict[str, list[str]]:
    """The command of each side that is installed and knows the workload, by name."""
    import flax_side
    import keras_side

    def command(script: str, variant: str = "") -> list[str]:
        return [sys.executable, str(HERE / f"{script}.py"), workload, "--variant", variant]

    def wanted(package: str) -> bool:
        return package in packages and bool(importlib.util.find_spec(package))

    sides = {OURS: command("jaxdigits_side")}
    if wanted("flax"):
        for variant in flax_side.VARIANTS:
            sides[f"{LIBRARIES['flax']}, {variant}"] = command("flax_side", variant)
    if wanted("torch"):
        import pytorch_side

        for variant in pytorch_side.VARIANTS:
            if pytorch_side.suits(variant, workload):
                sides[f"{LIBRARIES['torch']}, {variant}"] = command("pytorch_side", variant)
    if wanted("keras"):
        for variant in keras_side.VARIANTS:
            if importlib.util.find_spec(variant):
                sides[f"{LIBRARIES['keras']}, {variant}"] = command("keras_side", variant)
    return sides


def start(command: list[str], stack: ExitStack) -> Iterator[float]:
    """A side's number of parameters, then seconds of one round after another."""
    process = stack.enter_context(
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ENVIRONMENT,
        )
    )
    assert process.stdin is not None
    assert process.stdout is not None
    while line := process.stdout.readline():
        yield float(line)
        time.sleep(PAUSE)
        print(file=process.stdin, flush=True)
    sys.exit(f"{' '.join(command[1:])} ended before its turn")


def accelerator() -> str | None:
    """The GPU or TPU that jax finds, in a process of its own; None where that is the CPU."""
    code = "import jax; print(jax.devices()[0].device_kind)"
    name = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    return None if name == "cpu" else name


def busy_cores() -> float | None:
    """How many cores other programs use now; None where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None

    def idle() -> int:
        return int(stat.read_text().split()[4])

    first, seconds = idle(), 2.0
    time.sleep(seconds)
    free = (idle() - first) / os.sysconf("SC_CLK_TCK") / seconds
    return max((os.cpu_count() or 1) - free, 0.0)


def compare(name: str, count: int, rounds: int, packages: Sequence[str]) -> dict[str, Any]:
    """Interleave the sides of one workload."""
    busy = busy_cores()
    if busy is not None and busy > BUSY:
        print(f"{name}: doubtful, other programs use {busy:.1f} cores", file=sys.stderr)
    with ExitStack() as stack:
        commands = sides_of(name, packages)
        sides = {
            side: start([*words, "--images", str(count)], stack) for side, words in commands.items()
        }
        parameters = {side: int(next(numbers)) for side, numbers in sides.items()}
        if len(set(parameters.values())) > 1:
            sys.exit(f"{name}: the networks have unequal numbers of parameters: {parameters}")
        turns = [
            {side: next(numbers) for side, numbers in sides.items()} for _ in range(rounds + 1)
        ][1:]
    seconds = {side: statistics.median(turn[side] for turn in turns) for side in sides}
    best: dict[str, str] = {}
    for side in sorted(seconds, key=seconds.__getitem__):
        best.setdefault(side.split(",")[0], side)
    ratios = {
        library: paired([turn[OURS] for turn in turns], [turn[side] for turn in turns])
        for library, side in best.items()
        if library != OURS
    }
    return {
        "workload": name,
        "what": WORKLOADS[name].what,
        "images": count,
        "parameters": parameters[OURS],
        "images_per_second": {side: count / seconds[side] for side in sides},
        "best": best,
        "times_as_fast": {
            library: {"median": ratio.value, "interval_95": [ratio.low, ratio.high]}
            for library, ratio in ratios.items()
        },
        "cores_used_by_others": busy,
        "rounds": turns,
    }


def draw(document: dict[str, Any], path: Path) -> None:
    """How many times as fast jaxdigits is, for each workload and library."""
    from matplotlib.figure import Figure

    from jaxdigits import plots

    rows = document["rows"]
    libraries = sorted({library for row in rows for library in row["times_as_fast"]})
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / max(len(libraries), 1)
    for index, library in enumerate(libraries):
        for position, row in enumerate(rows):
            found = row["times_as_fast"].get(library)
            if found is None:
                continue
            left = position + (index - (len(libraries) - 1) / 2) * width
            low, high = found["interval_95"]
            error = [[found["median"] - low], [high - found["median"]]]
            axes.bar(left, found["median"], width, color=f"C{index}", yerr=error, capsize=2)
            axes.text(left, high, f"{found['median']:.1f}", ha="center", va="bottom", fontsize=8)
        axes.bar(0, 0, color=f"C{index}", label=document["versions"][library])
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(rows)), [row["workload"] for row in rows])
    axes.set_ylabel(f"{OURS}: times as fast")
    axes.set_title(
        f"training at batch size 64; {document['machine']}, {document['date']}", fontsize=10
    )
    axes.legend(fontsize=9)
    plots.save(figure, path)


def main() -> None:
    """Print the sides of each workload, write all to a file, and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    packages = list(LIBRARIES)
    parser.add_argument("--libraries", nargs="+", choices=packages[1:], default=packages[1:])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, help="a round, if not as many as usual")
    parser.add_argument("--out", type=Path, default=RESULTS / "peers.json")
    arguments = parser.parse_args()
    if arguments.rounds < 6:
        parser.error("fewer than 6 --rounds give no interval")
    cpu, device = machine_info()["cpu"], accelerator()
    if device is None:  # nor may another side find one
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    rows: list[dict[str, Any]] = []
    document = {
        "title": "images a second in training, batches of 64",
        "command": "python experiments/peers/compare.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": device or f"{cpu['brand_raw']}, {cpu['count']} cores",
        "commit_info": commit_info(),
        "versions": {
            name: f"{name} {version(package)}"
            for package, name in LIBRARIES.items()
            if importlib.util.find_spec(package)
        },
        "jax": version("jax"),
        "rows": rows,
    }
    picture = arguments.out.with_suffix(".png")
    for name in arguments.workloads:
        count = arguments.images or (GPU_IMAGES if device else WORKLOADS[name].count)
        row = compare(name, count, arguments.rounds, arguments.libraries)
        rows.append(row)
        print(f"{name}: {row['what']}")
        for side, rate in sorted(row["images_per_second"].items(), key=lambda item: -item[1]):
            times = row["images_per_second"][OURS] / rate
            print(f"  {side:22}{rate:11,.0f} images/s   {OURS} is {times:6.2f}x as fast")
        sys.stdout.flush()
        write_json(arguments.out, document)  # a long comparison may be ended before its end
        draw(document, picture)
    print(f"written to {arguments.out} and {picture}")


if __name__ == "__main__":
    main()
