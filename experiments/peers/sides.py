"""What all sides of the comparison share: the workloads, the images, and how to wait for a turn.

A side is a script with a process of its own. It prepares a workload, prints the number of
parameters, and for each line on its standard input does a round and prints how many seconds that
took. `compare.py` starts the sides and gives them their turns.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BATCH_SIZE = 64
LEARNING_RATE, WEIGHT_DECAY = 0.001, 0.01
DROPOUT = 0.5
"""Of ResNet-18's last layer; half of it before the last but one."""


class Workload(NamedTuple):
    """What all sides do.

    Attributes:
        num_classes: of the labels.
        count: images a round.
        what: in words.
    """

    num_classes: int
    count: int
    what: str


WORKLOADS = {
    "linear": Workload(10, 60_000, "784-10"),
    "mlp": Workload(10, 60_000, "784-30-10, ReLU"),
    "letters": Workload(26, 1_920, "the third post's network, 137,178 parameters"),
    "resnet18": Workload(10, 384, "ResNet-18 with fastai's head, 7x7 stem"),
    "resnet18-3x3": Workload(10, 128, "the same with a 3x3 stem: 16 times the work"),
}

Round = Callable[[], float]
"""Trains with all images once, waits until that is done, and gives a loss."""


class Task(NamedTuple):
    """What a side was asked for.

    Attributes:
        name: of the workload.
        workload: the same.
        count: images a round.
        variant: how.
        images: uint8 [count, 28, 28], random.
        labels: int32 [count].
    """

    name: str
    workload: Workload
    count: int
    variant: str
    images: np.ndarray
    labels: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """The images as float32, standardized beforehand."""
        return ((self.images / 255 - 0.5) / 0.25).astype(np.float32)


def read_task() -> Task:
    """From the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--variant", default="")
    parser.add_argument("--images", type=int, required=True)
    arguments = parser.parse_args()
    workload = WORKLOADS[arguments.workload]
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (arguments.images, 28, 28), dtype=np.uint8)
    labels = random.integers(0, workload.num_classes, arguments.images).astype(np.int32)
    return Task(arguments.workload, workload, arguments.images, arguments.variant, images, labels)


def serve(parameters: int, run: Round) -> None:
    """A round and its seconds for each line of standard input."""
    print(parameters, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        loss = run()
        seconds = time.perf_counter() - began
        if not math.isfinite(loss):
            sys.exit(f"the loss is {loss}")
        print(seconds, flush=True)
