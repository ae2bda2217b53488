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
from jaxtyping import Float

BLOCKS = 10
DRAWS = 4000
"""Of the bootstrap."""


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
    """How many times as long a round takes now, by the fastest quarter of the rounds of both.

    What other programs do to a machine only ever makes rounds slower: where medians of the same
    program differ by up to 2 times, the fastest rounds agree within some per cent. The interval is
    a bootstrap's over the blocks of both.

    Args:
        before, after: seconds of each round, in order; two or more of each.
        level: of confidence, 0..1.

    Example:
        >>> [round(x, 2) for x in ratio([1.0, 1.01, 0.99] * 4, [1.2, 1.21, 3.0] * 4)]
        [1.21, 1.2, 1.22]
    """
    rng = np.random.default_rng(0)
    drawn = _resampled(after, rng) - _resampled(before, rng)
    (value,) = _fastest(np.array([after])) - _fastest(np.array([before]))
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(*(math.exp(float(end)) for end in (value, *ends)))


def _fastest(seconds: Float[np.ndarray, "n rounds"]) -> Float[np.ndarray, " n"]:
    """The mean logarithm of the fastest quarter."""
    count = -(-seconds.shape[-1] // 4)
    return np.log(np.sort(seconds, axis=-1)[..., :count]).mean(axis=-1)


def _resampled(seconds: Sequence[float], rng: np.random.Generator) -> Float[np.ndarray, " draws"]:
    """That of blocks drawn with replacement, many times."""
    count = min(BLOCKS, len(seconds))
    length = len(seconds) // count
    blocks = np.asarray(seconds, np.float64)[: count * length].reshape(count, length)
    return _fastest(blocks[rng.integers(0, count, (DRAWS, count))].reshape(DRAWS, -1))


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
