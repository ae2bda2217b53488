"""How sure a rate or a ratio is, measured on a machine that drifts.

Rounds that follow each other are alike: a machine that is slow now is slow in the next second too.
So the rounds are cut into a few blocks, one after the other, and only these count as independent.
Each stands for its median; means and deviations are of logarithms, for which twice as slow is as
far away as twice as fast.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCKS = 10


class Interval(NamedTuple):
    """A figure, and the ends of the interval in which the true one lies.

    Attributes:
        value: the figure.
        low, high: the ends.
    """

    value: float
    low: float
    high: float


def typical(seconds: Sequence[float], level: float = 0.95) -> Interval:
    """The typical time of a round: Student's t interval over the blocks.

    Args:
        seconds: of each round, in order; two or more.
        level: of confidence, 0..1.

    Example:
        >>> [round(x, 2) for x in typical([1.0, 1.1, 1.0, 1.1, 1.0, 1.1])]
        [1.05, 0.99, 1.11]
    """
    return _interval(*_moments(seconds), level)


def ratio(before: Sequence[float], after: Sequence[float], level: float = 0.95) -> Interval:
    """How many times as long a round takes now: Welch's interval over the blocks of both.

    Args:
        before, after: seconds of each round, in order; two or more of each.
        level: of confidence, 0..1.

    Example:
        >>> [round(x, 2) for x in ratio([1.0, 1.01, 0.99], [1.2, 1.21, 1.19])]
        [1.2, 1.17, 1.23]
    """
    (mean, error, freedom), (mean_2, error_2, freedom_2) = _moments(before), _moments(after)
    both = error**2 + error_2**2
    welch = both**2 / (error**4 / freedom + error_2**4 / freedom_2) if both else 1.0
    return _interval(mean_2 - mean, math.sqrt(both), welch, level)


def _moments(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The mean of the blocks' logarithms, its standard error, and the degrees of freedom."""
    parts = np.array_split(np.log(np.asarray(seconds, np.float64)), min(BLOCKS, len(seconds)))
    blocks = np.array([np.median(part) for part in parts])
    error = blocks.std(ddof=1) / math.sqrt(len(blocks))
    return float(blocks.mean()), float(error), float(len(blocks) - 1)


def _interval(mean: float, error: float, freedom: float, level: float) -> Interval:
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    return Interval(*(math.exp(mean + shift) for shift in (0.0, -half, half)))
