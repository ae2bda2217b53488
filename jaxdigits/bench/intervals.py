"""Confidence intervals of rates and ratios, measured on a machine that drifts.

Rounds that follow each other are alike: a machine that is slow now is slow in the next second too.
So the rounds are cut into a few blocks, one after the other, and only these count as independent.
Means and deviations are of logarithms, for which twice as slow is as far away as twice as fast.

Whether a program has changed is another question than how fast it typically is. What others do to a
machine only ever adds to a round, so `ratio` goes by the fastest rounds, and by how far apart these
are. Interleaved rounds meet the same machine, so `paired` goes by the ratio of each pair.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCKS = 10
"""Of a typical time, at most."""

FASTEST_OF = 40
"""Blocks of which the fastest round counts, at most."""

ANYTHING = 20.0
"""The logarithm of a factor that rules nothing out: what two or three rounds tell."""


class Interval(NamedTuple):
    """An estimate, and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def typical(seconds: Sequence[float], level: float = 0.95) -> Interval:
    """The typical time of a round: Student's t interval over the medians of blocks.

    Args:
        seconds: of each round, in order; two or more.
        level: of confidence, 0..1.

    Example:
        >>> [round(x, 2) for x in typical([1.0, 1.1, 1.0, 1.1, 1.0, 1.1])]
        [1.05, 0.99, 1.11]
    """
    from scipy.special import stdtrit

    parts = np.array_split(np.log(np.asarray(seconds, np.float64)), min(BLOCKS, len(seconds)))
    blocks = np.array([np.median(part) for part in parts])
    error = blocks.std(ddof=1) / math.sqrt(len(blocks))
    half = float(stdtrit(len(blocks) - 1, (1 + level) / 2)) * error
    return Interval(*(math.exp(blocks.mean() + shift) for shift in (0.0, -half, half)))


def ratio(before: Sequence[float], after: Sequence[float], level: float = 0.95) -> Interval:
    """The ratio of times, after to before, by the fastest rounds of both.

    The time that a program takes undisturbed is a limit below all rounds. If rounds near the limit
    are about equally likely, how far apart the fastest ones are tells how far below them it can be
    (Robson and Whitlock, Estimation of a truncation point, 1964). So a quiet machine gives a narrow
    interval, and a busy one a wide one. Rounds that follow each other are alike: of each of up to
    40 blocks only the fastest counts.

    Args:
        before, after: seconds of each round, in order; two or more of each.
        level: of confidence, 0..1.

    Example:
        >>> [round(x, 2) for x in ratio([1.0, 1.01, 1.02, 1.03], [1.2, 1.23, 1.21, 1.22])]
        [1.2, 1.13, 1.29]
    """
    tail = (1 - level) / 2
    (first, first_reach), (second, second_reach) = (_fastest(x, tail) for x in (before, after))
    change = second - first
    ends = (change, change - second_reach, change + first_reach)
    return Interval(*map(math.exp, ends))


def paired(before: Sequence[float], after: Sequence[float], level: float = 0.95) -> Interval:
    """The ratio of times, after to before: the median of interleaved rounds.

    The interval is that of the sign test: no matter how the ratios spread, each is as likely above
    the true one as below.

    Args:
        before, after: seconds of each round, in order.
        level: of confidence, 0..1.

    Example:
        >>> before = [1.0, 3.0, 1.0, 5.0, 1.0, 2.0]
        >>> [round(x, 2) for x in paired(before, [1.1, 3.0, 1.0, 6.0, 1.3, 2.2])]
        [1.1, 1.0, 1.3]
    """
    from scipy.stats import quantile_test

    pairs = zip(before, after, strict=False)
    ratios = [math.log(second / first) for first, second in pairs]
    found = quantile_test(ratios).confidence_interval(level)
    # Of few rounds even the least and the greatest are no bounds.
    low = found.low if math.isfinite(found.low) else -ANYTHING
    high = found.high if math.isfinite(found.high) else ANYTHING
    return Interval(*map(math.exp, (float(np.median(ratios)), low, high)))


def _fastest(seconds: Sequence[float], tail: float) -> tuple[float, float]:
    """The logarithm of the fastest round, and how far below it the limit may lie."""
    logs = np.log(np.asarray(seconds, np.float64))
    blocks = np.array_split(logs, min(len(logs), FASTEST_OF))
    fast = np.sort([block.min() for block in blocks])[: max(-(-len(blocks) // 4), 8)]
    reach = float(fast[-1] - fast[0]) * (tail ** (-1 / (len(fast) - 1)) - 1)
    return float(fast[0]), min(reach, ANYTHING)
