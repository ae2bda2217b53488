"""A figure of a post beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxdigits.evaluation.metrics import mean_interval, prediction_interval


@dataclass(frozen=True)
class Comparison:
    """A figure of a post beside ours.

    Attributes:
        what: which figure, in a few words.
        ours: one per seed; or a single one, where there is no chance in it. A figure may be several
            numbers, such as the accuracy of each class.
        posted: the numbers with the digits that the post gives, such as `0.8776`, or a bound, such
            as `< 0.8173`; None if the post has no such figure.
        reason: why it disagrees, in a sentence, for when it does.
        chance: whether other seeds may give other figures.
        at_least: whether a better figure agrees as well: for post C, whose program does not follow
            the gradient.
        limits: between which such a figure lies; intervals end there.
        digits: decimals to show. Default: as many as are posted, or 4.
        compares: whether our data are the post's.

    Example:
        >>> Comparison("after 1 epoch", [0.84, 0.86, 0.85], "0.8431").agrees
        True
        >>> Comparison("sum", [1.0001], "1.000", chance=False).agrees
        True
    """

    what: str
    ours: Sequence[Any] | Float[np.ndarray, "seeds ..."]
    posted: str | None = None
    reason: str = ""
    chance: bool = True
    at_least: bool = False
    limits: tuple[float, float] = (0.0, 1.0)
    digits: int | None = None
    compares: bool = True

    @classmethod
    def exact(
        cls, what: str, ours: Any, posted: str | None = None, *, digits: int | None = None
    ) -> "Comparison":
        """A figure without chance: a number, or several.

        Example:
            >>> Comparison.exact("parameters", 7850, "7850").agrees
            True
        """
        return cls(what, [ours], posted, chance=False, digits=digits)

    @property
    def values(self) -> Float[np.ndarray, "seeds numbers"]:
        """Ours, float64: a row per seed, a column per number."""
        return np.asarray(self.ours, np.float64).reshape(len(self.ours), -1)

    @property
    def posted_decimals(self) -> int:
        """The number of decimals that are posted; 4 if nothing is."""
        exponent = Decimal(self.posted.split()[-1]).as_tuple().exponent if self.posted else -4
        assert isinstance(exponent, int)  # else it were "nan"
        return max(-exponent, 0)

    @property
    def decimals(self) -> int:
        """The number of decimals to show."""
        return self.posted_decimals if self.digits is None else self.digits

    @property
    def agrees(self) -> bool | None:
        """Whether the posted figure is one that we get; None if there is none, or no telling.

        Without chance: whether all digits are the same. With it: whether the posted figure, give or
        take half a unit of its last digit, lies in our 95% prediction interval, which needs two
        seeds. A bound: whether our mean keeps it.
        """
        if self.posted is None or not self.compares:
            return None
        numbers, values = self.posted.split(), self.values
        if not self.chance:
            return np.round(values[0], self.posted_decimals).tolist() == [float(n) for n in numbers]
        posted, half_unit = float(numbers[-1]), 0.5 * 10**-self.posted_decimals
        if numbers[0] == "<":
            return bool(values.mean() < posted)
        if self.at_least:
            return bool(values.mean() >= posted)
        if len(values) == 1:
            return None
        low, high = self._clip(prediction_interval(values[:, 0].tolist()))
        return low - half_unit <= posted <= high + half_unit

    def _clip(self, interval: Sequence[float]) -> list[float]:
        return np.clip(interval, *self.limits).tolist()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: intervals only where there is chance, and two seeds or more."""
        document = {
            "what": self.what,
            "posted": self.posted,
            "ours": self.values.mean(axis=0).tolist(),
            "seeds": len(self.values) if self.chance else None,
            "decimals": self.decimals,
            "agrees": self.agrees,
            "reason": self.reason if self.agrees is False else "",
        }
        if self.chance:
            column = self.values[:, 0].tolist()
            document |= {"values": column, "range": [min(column), max(column)]}
            if len(column) > 1:
                document["interval_95"] = self._clip(mean_interval(column)[1:])
                document["prediction_interval_95"] = self._clip(prediction_interval(column))
        return document
