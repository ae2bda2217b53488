"""What it costs to leave the training images on the disk: rate and memory.

    python experiments/streaming.py

Make a dataset as large as EMNIST by class (814,255 images in 62 classes), prepare it, and train the
letters network on it for one epoch: all images in memory, and streaming (`--stream`), interleaved.
The images are the digits inside, with noise: what they show does not matter here. It takes 3 GB of
disk in a temporary folder, and 15 minutes on two CPU cores.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tabulate import tabulate

from jaxdigits import data
from jaxdigits.data.specs import SPECS
from jaxdigits.environment import environment
from jaxdigits.files import write_json

NAME = "emnist/byclass"
RESULTS = Path(__file__).parent / "results"


def generate(folder: Path) -> None:
    """Write the four files of the dataset."""
    spec = SPECS[NAME]
    rng = np.random.default_rng(0)
    examples = data.load("digits", "train+validation").images
    for part, count in zip(("train", "test"), spec.counts, strict=True):
        images = examples[rng.integers(len(examples), size=count)]
        labels = rng.integers(len(spec.class_names), size=count).astype(np.uint8)
        images[:, ::4, ::4] += rng.integers(16, size=(count, 7, 7), dtype=np.uint8)
        for kind, array in (("images", images), ("labels", labels)):
            sizes = np.array(array.shape, ">u4").tobytes()
            with gzip.open(folder / spec.files[f"{part}-{kind}"], "wb", compresslevel=1) as file:
                file.write(bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes())


def train(arguments: list[str]) -> tuple[float, float]:
    """The throughput of a run, images/s, and its peak memory in GB."""
    command = [sys.executable, "-m", "jaxdigits", "train", *arguments, "--json"]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{' '.join(command)} has failed")
        out.seek(0)
        document = json.load(out)
    images = document["data"]["counts"]["train"] * document["config"]["epochs"]
    return images / document["seconds"]["train"], usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The cost of streaming.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "streaming.json")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"memory": [], "disk": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder)
        data.prepare(NAME, data_dir=folder, manual_dir=folder)
        for _ in range(options.rounds):
            for place, flags in (("memory", []), ("disk", ["--stream"])):
                settings = ["--dataset", NAME, "--epochs", "1", "--data-dir", name]
                found[place].append(
                    train([*settings, *flags, "--out", str(folder / "run"), "--overwrite"])
                )
    document = {
        "images": sum(SPECS[NAME].counts),
        "model": "convnet",
        **{
            place: {
                "images_per_second": [rate for rate, _ in pairs],
                "peak_gigabytes": [peak for _, peak in pairs],
            }
            for place, pairs in found.items()
        },
        "cores": os.cpu_count(),
        **environment(),
    }
    write_json(options.json, document)
    rows = [
        [place, *(statistics.median(column) for column in zip(*pairs, strict=True))]
        for place, pairs in found.items()
    ]
    print(tabulate(rows, ["images", "images/s", "peak GB"], floatfmt=",.2f"))
    print(f"streaming reaches {rows[1][1] / rows[0][1]:.0%} of the rate in memory")


if __name__ == "__main__":
    main()
