"""How long does a whole process take until a network is accurate enough?

A recipe is a script with a fixed number of steps, which looks at the test images once, at its end:
nothing is chosen by them. It is run with one seed after another, each time as a new process that
compiles everything again. What counts is the time from launch to exit, and how many of the runs
reach the accuracy. A mean time without that share would flatter a recipe that often fails.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jaxdigits import data
from jaxdigits.bench.document import commit_info, machine_info
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError, DataUnavailableError, RunError
from jaxdigits.evaluation.metrics import accuracy_interval, mean_interval, wilson_interval

RECIPE = "jaxdigits.bench.recipe"


class Attempt(NamedTuple):
    """A run of the recipe.

    Attributes:
        seed: of everything random.
        accuracy: on the test images, 0..1.
        seconds: from launch to exit.
        parts: seconds of each part, by name, as the recipe tells them.
    """

    seed: int
    accuracy: float
    seconds: float
    parts: dict[str, float]


def attempts(seeds: int, data_dir: Path | None = None) -> Iterator[Attempt]:
    """Run the recipe with seeds from 0.

    Args:
        seeds: how many.
        data_dir: where MNIST is prepared. Default: see `jaxdigits.data.load`.

    Raises:
        ConfigError: the number of seeds is impossible.
        DataUnavailableError: MNIST is not prepared.
        RunError: the recipe failed.
    """
    if not 2 <= seeds <= 1000:
        raise ConfigError(f"seeds must be 2 to 1000, not {seeds}")
    if not data.is_prepared("mnist", data_dir):
        raise DataUnavailableError(
            "MNIST is not prepared, which would count; run `jaxdigits data prepare mnist` before"
        )
    variables = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    words = ["--data-dir", str(data_dir)] if data_dir else []
    for seed in range(seeds):
        command = [sys.executable, "-m", RECIPE, "--seed", str(seed), *words]
        start = time.perf_counter()
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RunError(f"the recipe failed with seed {seed}: {done.stderr.strip()}")
        document = json.loads(done.stdout)
        yield Attempt(seed, document["test_accuracy"], seconds, document["seconds"])


def check_accuracy(accuracy: float) -> None:
    """Raise ConfigError if no network can reach an accuracy, or each does."""
    if not 0 < accuracy < 1:
        raise ConfigError(f"accuracy must be above 0 and below 1, such as 0.99, not {accuracy}")


def summarize(done: Sequence[Attempt], accuracy: float, command: str) -> dict[str, Any]:
    """The share of attempts that reach an accuracy, and the means, as plain values.

    Args:
        done: two or more attempts.
        accuracy: to reach, 0..1.
        command: that measures them again.
    """
    reached = sum(attempt.accuracy >= accuracy for attempt in done)
    document: dict[str, Any] = {
        "title": f"time to {accuracy:.2%} on MNIST, whole process, compiled anew each time",
        "command": command,
        "datetime": datetime.now(UTC).isoformat(),
        "machine_info": machine_info(),
        "commit_info": commit_info(),
        **environment(),
        "accuracy": accuracy,
        "seeds": len(done),
        "reached": reached,
        "share_interval_95": list(wilson_interval(reached, len(done))),
        "attempts": [attempt._asdict() for attempt in done],
    }
    means = {
        "accuracy": accuracy_interval([attempt.accuracy for attempt in done]),
        "seconds": _geometric_mean([attempt.seconds for attempt in done]),
    }
    for name, (mean, *ends) in means.items():
        document |= {f"mean_{name}": mean, f"mean_{name}_interval_95": ends}
    return document


def _geometric_mean(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The geometric mean, and the ends of its 95% interval, which are above 0."""
    mean, low, high = mean_interval([math.log(value) for value in seconds])
    return math.exp(mean), math.exp(low), math.exp(high)
