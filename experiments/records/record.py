"""What the scripts of this folder share: train, test once, and keep the record.

Each script is one recipe, chosen on the validation images; its docstring tells what was tried. It
trains the recipe with some seeds, on the training images alone, tests the network of the last
epoch of each, once, and writes the figures into `experiments/results/records.json`. From there
`python experiments/tables.py` makes the table.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.files import write_json
from jaxdigits.models import count_params
from jaxdigits.runs.run import measure as measure_run

RESULTS = Path(__file__).parents[1] / "results" / "records.json"

PLACES = ((1, 1), (1, 2), (2, 1), (1, 0), (0, 1))
"""Rows and columns at which an image begins within a border of one pixel, for `averaged`."""


class Record(NamedTuple):
    """A recipe.

    Attributes:
        name: of the script, and of the entry in the results.
        title: what it is, in words.
        config: the settings.
        looks: whether the trained network looks at each image five times: see `averaged`.
    """

    name: str
    title: str
    config: jd.TrainConfig
    looks: bool = True


def averaged(run: jd.Run, validation: jd.Dataset) -> jd.Run:
    """The run of a network that looks at each image as it is, and moved by a pixel four ways.

    Its logits are the means of the five logarithms of probabilities.

    Args:
        run: of the network that looks once.
        validation: images to measure it on.
    """

    def apply(params: Any, images: Any) -> Any:
        height, width = images.shape[1:3]
        padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
        looks = [padded[:, top : top + height, left : left + width] for top, left in PLACES]
        logs = jax.nn.log_softmax(run.model.apply(params, jnp.concatenate(looks)))
        return logs.reshape(len(PLACES), len(images), -1).mean(axis=0)

    return measure_run(replace(run, model=jd.Model(run.model.init, apply)), validation).run


def _keep(record: Record, path: Path, rows: list[dict[str, Any]], run: jd.Run) -> None:
    """Write what is known of a record, beside the others."""
    document = {
        "title": record.title,
        "command": f"python experiments/records/{record.name}.py --seeds {len(rows)}",
        "data": run.fingerprint.as_dict(),
        "config": record.config.as_dict(),
        "params": count_params(run.params),
        "seeds": rows,
        **environment(),
    }
    known = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, known | {record.name: document})


def measure(record: Record) -> None:
    """Train with each seed, test, and write what was found into the results."""
    parser = argparse.ArgumentParser(description=record.title)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with downloaded files")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    try:
        train, validation, test = jd.data.load_splits(
            record.config.dataset, ("train", "validation", "test"), **folders
        )
    except jd.errors.DataError as error:
        parser.error(str(error))
    if arguments.seeds < 2:
        parser.error("--seeds must be 2 or more: an interval takes two")
    rows = []
    for seed in range(arguments.seeds):
        config = record.config.replace(seed=seed)
        start = time.perf_counter()
        run = jd.fit(config, {"train": train, "validation": validation})
        run = averaged(run, validation) if record.looks else run
        seconds = time.perf_counter() - start
        logits = run.predict_logits(test.images)
        tested, read = run.score(logits, test), logits.argmax(axis=1)
        row = {
            "validation": run.results["validation"]["accuracy"],
            "test": tested.accuracy,
            "top_2": tested.top_2,
            "wrong": {int(row): int(read[row]) for row in np.flatnonzero(read != test.labels)},
            "seconds": seconds,
        }
        rows.append(row)
        print(
            f"seed {seed}: validation {row['validation']:.2%}, test {row['test']:.2%}, "
            f"{seconds:.0f} s",
            flush=True,
        )
        if len(rows) > 1:
            _keep(record, arguments.results, rows, run)
    mean, low, high = mean_interval([row["test"] for row in rows])
    print(f"test accuracy {mean:.2%} (95% interval {low:.2%} to {high:.2%})")
