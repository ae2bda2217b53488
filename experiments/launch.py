"""How long does `jaxdigits train` take as a whole process, and when does its first step begin?

    python experiments/launch.py

Expect, on two CPU cores with nothing else running: the default run on MNIST in about a minute; its
first step after 8 seconds the first time and 3 the second, when compiled programs are there; the
letters network past 85% after one epoch within 30 seconds, and through the recipe that
`recipes.py` chose within three minutes.

Data must be prepared. Compiled programs go to a new folder, so that the first run finds none. The
first step begins when the figures of the untrained network are written.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jaxdigits.environment import usable_cores
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
RUNS = {
    "mnist": ["--dataset", "mnist"],
    "mnist, compiled before": ["--dataset", "mnist"],
    "letters, one epoch": ["--dataset", "emnist/letters", "--epochs", "1"],
    "letters, recipe": [
        *("--dataset", "emnist/letters", "--epochs", "16", "--label-smoothing", "0.1")
    ],
}


def launch(arguments: list[str], folder: Path) -> dict[str, float]:
    """Run `jaxdigits train`; seconds from launch to the first step and to the end, and accuracy."""
    out = folder / f"run-{time.time_ns()}"
    metrics = out.with_name(f"{out.name}.unfinished") / "metrics.jsonl"
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    began = time.perf_counter()
    command = [sys.executable, "-m", "jaxdigits", "train", *arguments, "--out", str(out), "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.01)
    first_step = time.perf_counter() - began
    output, _ = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(process.returncode)
    document = json.loads(output)
    return {
        "first_step": first_step,
        "whole_process": seconds,
        "compile": document["seconds"]["compile"],
        "train": document["seconds"]["train"],
        "test_accuracy": document["results"]["test"]["accuracy"],
    }


def main() -> None:
    """Run them one after the other and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "launch.json")
    arguments = parser.parse_args()
    places = ["--data-dir", str(arguments.data_dir)] if arguments.data_dir else []
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in RUNS.items():
            rows[name] = launch([*words, *places], Path(folder))
            print(
                f"{name:24} first step after {rows[name]['first_step']:4.1f} s, all in "
                f"{rows[name]['whole_process']:4.1f} s, test accuracy "
                f"{rows[name]['test_accuracy']:.2%}",
                flush=True,
            )
    document = {
        "title": "seconds of `jaxdigits train` as a whole process",
        "command": "python experiments/launch.py",
        "cores": usable_cores(),
        "rows": rows,
    }
    write_json(arguments.out, document)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
