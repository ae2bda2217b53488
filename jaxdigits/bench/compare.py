"""Two documents of `jaxdigits bench` side by side: what became slower, and is it more than noise?

For each benchmark that both have, the ratio of times an image, with an interval. So that of many
benchmarks none seems to differ by chance, the intervals are wider the more there are (Bonferroni).
Of two that were measured one after the other, the fastest rounds count; the intervals are wide
where the machine was busy with other things, so that these are far apart. Of two that were measured
in turns (`jaxdigits bench pair`), the ratio of each round counts, for which a busy machine matters
less.
The same program, started again, has its memory elsewhere, and differs by up to `MARGIN`: less than
that is noise too. The matrix product, which no change of the program touches, tells how much the
machine itself differs between the two; where that is more than the margin, a difference counts only
if it is one with and without allowing for it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxdigits.bench.intervals import Interval, paired, ratio
from jaxdigits.bench.measure import PRODUCT
from jaxdigits.errors import RunError

LEVEL = 0.95
"""Of confidence that all intervals hold at once."""

MARGIN = 1.04
"""Times by which the same program differs from one start to the next."""


class Change(NamedTuple):
    """What became of a benchmark.

    Attributes:
        name: of the benchmark.
        ratio: of times, after to before: above 1 is slower. Its interval holds the ratio with and
            without the machine's own part.
        verdict: `slower`, `faster` or `within noise`.
    """

    name: str
    ratio: Interval
    verdict: str

    @property
    def visible(self) -> float:
        """The slowdown, as a ratio, from which on one is found wherever the interval holds.

        Example:
            >>> round(Change("train[mlp-64]", Interval(1.0, 0.98, 1.02), "within noise").visible, 2)
            1.08
        """
        return MARGIN * self.ratio.high / self.ratio.low


def in_turns(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two documents are of rounds that were taken in turns, by `jaxdigits bench pair`."""
    first, second = (document["jaxdigits"].get("pair") for document in (before, after))
    return first is not None and first == second


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Change], Interval]:
    """The changes, in the order of `before`, and the ratio of the matrix products.

    Raises:
        RunError: they have no benchmark in common, or are of a CPU and a GPU.
    """
    platforms = [document["jaxdigits"]["platform"] for document in (before, after)]
    if platforms[0] != platforms[1]:
        raise RunError(
            f"the measurements are of different devices, {platforms[0]} and {platforms[1]}: "
            "measure on the same"
        )
    rounds = [
        {
            entry["name"]: [
                seconds / (entry["extra_info"]["images"] or 1) for seconds in entry["stats"]["data"]
            ]
            for entry in document["benchmarks"]
        }
        for document in (before, after)
    ]
    common = [name for name in rounds[0] if name in rounds[1] and name != PRODUCT]
    if not common:
        raise RunError(
            "the two measurements have no benchmark in common; measure the same --workloads, "
            "--modes and --batch-sizes"
        )
    level = 1 - (1 - LEVEL) / len(common)
    estimate = paired if in_turns(before, after) else ratio
    machine = estimate(rounds[0][PRODUCT], rounds[1][PRODUCT])
    other = machine.value if not 1 / MARGIN < machine.value < MARGIN else 1.0
    low, high = sorted((1.0, 1 / other))
    changes = []
    for name in common:
        found = estimate(rounds[0][name], rounds[1][name], level)
        wide = Interval(found.value, found.low * low, found.high * high)
        verdict = "within noise"
        if wide.low > MARGIN:
            verdict = "slower"
        elif wide.high < 1 / MARGIN:
            verdict = "faster"
        changes.append(Change(name, wide, verdict))
    return changes, machine
