"""How long until a network is good enough, as a whole process?

A recipe is a script with a fixed number of steps, which looks at the test images once, at its end:
nothing is chosen by them. It is run with one seed after another, each time as a new process that
compiles everything again. What counts is the time from launch to exit, and how many of the runs
reach the accuracy. A mean time without that share would flatter a recipe that often fails.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from jaxdigits.errors import DataUnavailableError, RunError

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


def attempts(seeds: int, words: list[str]) -> Iterator[Attempt]:
    """Runs the recipe with seeds from 0.

    Args:
        seeds: how many.
        words: further arguments of the recipe.

    Raises:
        DataUnavailableError: MNIST is not prepared.
        RunError: the recipe failed.
    """
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    for seed in range(seeds):
        command = [sys.executable, "-m", RECIPE, "--seed", str(seed), *words]
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode == 2:
            raise DataUnavailableError(done.stderr.strip().splitlines()[-1])
        if done.returncode:
            raise RunError(f"the recipe failed with seed {seed}: {done.stderr.strip()}")
        document = json.loads(done.stdout)
        yield Attempt(seed, document["test_accuracy"], seconds, document["seconds"])
