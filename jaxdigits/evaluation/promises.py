"""Promises on answers that are yet to come, from those to images whose classes are known.

`AnswerCounts.threshold` gives the confidence from which at most a given share of answers is wrong:
of the thresholds in `DOUBTS`, strictest first, each is tested by the binomial distribution, which
is Clopper and Pearson's bound, and hands its share of the risk on to the next while it passes
(Wiens and Dmitrienko, "The fallback procedure for evaluating a single family of hypotheses", 2005;
Angelopoulos, Bates, Candes, Jordan and Lei, "Learn then test", 2021). `least_probability` gives the
sets of classes of split conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic learning in
a random world", 2005).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32
from scipy.special import bdtr

from jaxdigits.errors import ConfigError

DOUBTS = 10.0 ** -(np.arange(101) / 20)
"""From 1 to 0.00001: what is counted of answers is how many are this doubtful at most."""

RISK = 0.05
"""The probability that a promised error rate does not hold."""

_STARTS = (80, 60, 40, 20)  # of `DOUBTS`, where a quarter of the risk enters
_MOST_TIMES = 10_000.0  # the answers there are, where a message says how many would do


class AnswerCounts(NamedTuple):
    """What a network answered to images of known classes; counts are by `DOUBTS`.

    Attributes:
        answers: the number of images.
        given: answers of a confidence of at least 1 - doubt.
        wrong: those of them that are wrong.
        missed: images whose right class has a probability below the doubt.
    """

    answers: int
    given: tuple[int, ...]
    wrong: tuple[int, ...]
    missed: tuple[int, ...]

    def threshold(self, error_rate: float) -> float:
        """Return the confidence from which at most this share of answers is wrong.

        With a probability of 95% it holds for new images of the kind that was counted.

        Args:
            error_rate: 0..1.

        Raises:
            ConfigError: it is not, or so few answers cannot promise it.

        Example:
            >>> confidences = np.array([0.999] * 500 + [0.6] * 20)
            >>> counts = count_answers(confidences, confidences > 0.9, confidences)
            >>> round(counts.threshold(0.01), 3), counts.threshold(0.1)
            (0.602, 0.0)
            >>> counts.threshold(0.001)                        # doctest: +ELLIPSIS
            Traceback (most recent call last):
            jaxdigits.errors.ConfigError: an error rate of 0.001 cannot be promised from 520 ...
        """
        if not 0 <= error_rate <= 1:
            raise ConfigError(f"the error rate must be 0 to 1, not {error_rate}")
        kept = self._loosest(error_rate)
        if kept is None:
            raise ConfigError(self._too_few(error_rate))
        return float(1 - DOUBTS[kept])

    def least_error_rate(self) -> float:
        """Return the least error rate that can be promised, to two digits."""
        rates = (digits / 10**places for places in range(6, 1, -1) for digits in range(10, 100))
        return next((rate for rate in rates if self._loosest(rate) is not None), 1.0)

    def least_probability(self, coverage: float) -> float:
        """Return the probability from which classes belong to a set that holds the right one.

        Of new images of the kind that was counted, at least this share has its class in the set.

        Args:
            coverage: that share, 0..1.

        Raises:
            ConfigError: it is not, or so few answers cannot promise it.

        Example:
            >>> right = np.array([0.9] * 90 + [0.2] * 10)      # probabilities of the right class
            >>> counts = count_answers(right, right > 0.5, right)
            >>> round(counts.least_probability(0.95), 2), round(counts.least_probability(0.8), 2)
            (0.2, 0.89)
        """
        if not 0 <= coverage <= 1:
            raise ConfigError(
                f"the share of sets with the right class must be 0 to 1, not {coverage}"
            )
        most = math.floor((self.answers + 1) * (1 - coverage) + 1e-9)
        few = (
            f"sets with the right class in {coverage:.12g} of all cases cannot be promised from "
            f"{self.answers:,} answers"
        )
        if most == 0:
            needed = "no number" if coverage == 1 else f"{math.ceil(coverage / (1 - coverage)):,}"
            raise ConfigError(f"{few}; {needed} would do, or ask for less")
        found = np.flatnonzero(np.array(self.missed) < most)
        if not len(found):
            raise ConfigError(f"{few}: for {self.missed[-1]:,} it was out of the question")
        return float(DOUBTS[found[0]])

    def _loosest(self, error_rate: float) -> int | None:
        """The lowest threshold, by number, at which the error rate is promised."""
        if error_rate == 1:
            return 0
        # How likely so few would be wrong if the error rate were this one, or higher.
        likely = bdtr(self.wrong, self.given, error_rate)
        level, loosest = 0.0, None
        for number in reversed(range(len(DOUBTS))):
            level += RISK / len(_STARTS) * (number in _STARTS)
            if likely[number] <= level:
                loosest = number
            else:
                level = 0.0
        return loosest

    def _too_few(self, error_rate: float) -> str:
        """Say what would do instead."""
        few = f"an error rate of {error_rate:.12g} cannot be promised from {self.answers:,} answers"
        for times in np.geomspace(1, _MOST_TIMES, 1000) if error_rate > 0 else ():
            given = np.floor(times * np.array(self.given)).astype(int)
            wrong = np.ceil(times * np.array(self.wrong)).astype(int)
            more = self._replace(given=tuple(given.tolist()), wrong=tuple(wrong.tolist()))
            if more._loosest(error_rate) is not None:
                few += f"; it would take about {float(f'{times * self.answers:.2g}'):,.0f}"
                break
        return f"{few}; accept {self.least_error_rate():.12g} or more"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AnswerCounts":
        """Restore what `_asdict` gave."""
        counts = (tuple(map(int, values[name])) for name in cls._fields[1:])
        return cls(int(values["answers"]), *counts)


def count_answers(
    confidences: Float[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    truths: Float[np.ndarray, " n"],
) -> AnswerCounts:
    """Count answers to images of known classes.

    Args:
        confidences: in the answers, 0..1.
        right: whether they are.
        truths: the probabilities of the right classes, 0..1.
    """
    sure = confidences[:, None] >= 1 - DOUBTS
    return AnswerCounts(
        len(confidences),
        tuple(sure.sum(axis=0).tolist()),
        tuple((sure & ~right[:, None]).sum(axis=0).tolist()),
        tuple((truths[:, None] < DOUBTS).sum(axis=0).tolist()),
    )


def count_probabilities(
    probabilities: Float32[np.ndarray, "n classes"], labels: Int32[np.ndarray, " n"]
) -> AnswerCounts:
    """Count answers that are the most probable classes."""
    truths = probabilities[np.arange(len(labels)), labels]
    return count_answers(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, truths)
