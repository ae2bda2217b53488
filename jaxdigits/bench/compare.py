"""Compare two documents of `jaxdigits bench`: which benchmark is slower, beyond noise?

The ratio of times per image counts, with an interval. With many benchmarks some would seem to
differ by chance, so the intervals are wider the more there are (Bonferroni).

- Of two documents measured one after the other, the fastest rounds count. The intervals are wide
  where the machine was busy with other things, so that these are far apart.
- Of two that were interleaved (`jaxdigits bench pair`), the ratio of each round counts. A busy
  machine matters less.
- The same program, started again, has its memory elsewhere, and differs by up to `MARGIN`: less
  than that is noise too.
- No change of the program touches the matrix product, so it tells how much the machine itself
  differs between the two. Where that is more than the margin, a difference counts only if it is one
  with and without allowing for it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxdigits.bench.intervals import Interval, paired, ratio
from jaxdigits.bench.timing import PRODUCT
from jaxdigits.errors import RunError

LEVEL = 0.95
"""Of confidence that all intervals hold at once."""

MARGIN = 1.04
"""The factor by which the same program differs from one start to the next."""


class Change(NamedTuple):
    """The change in a benchmark.

    Attributes:
        name: of the benchmark.
        ratio: of times, after to before: above 1 is slower. Its interval holds the ratio with and
            without the machine's own part.
        verdict: `slower`, `faster`, or `within noise`.
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


class Comparison(NamedTuple):
    """Two documents side by side.

    Attributes:
        changes: in the order of the first.
        machine: the ratio of the matrix products.
        interleaved: whether the rounds were.
        differences: what else is not the same, such as versions, a sentence each.
    """

    changes: list[Change]
    machine: Interval
    interleaved: bool
    differences: list[str]

    def slower_than(self, share: float) -> list[Change]:
        """The changes for the worse, beyond noise and by more than a share of the time."""
        return [c for c in self.changes if c.verdict == "slower" and c.ratio.value > 1 + share]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        changes = [
            {"name": c.name, **c.ratio._asdict(), "verdict": c.verdict, "visible": c.visible}
            for c in self.changes
        ]
        return {
            "level": LEVEL,
            "interleaved": self.interleaved,
            "machine": self.machine._asdict(),
            "changes": changes,
        }


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Compare two documents, as `jaxdigits.bench.document` reads them.

    Raises:
        RunError: they have no benchmark in common, or are of a CPU and a GPU.
    """
    platforms = [document["jaxdigits"]["platform"] for document in (before, after)]
    if platforms[0] != platforms[1]:
        raise RunError(
            f"the measurements are of different devices, {platforms[0]} and {platforms[1]}: "
            "measure on the same"
        )
    first, second = _seconds_per_image(before), _seconds_per_image(after)
    common = [name for name in first if name in second and name != PRODUCT]
    if not common:
        raise RunError(
            "the two measurements have no benchmark in common; measure the same --workloads, "
            "--modes, and --batch-sizes"
        )
    pairs = [document["jaxdigits"].get("pair") for document in (before, after)]
    interleaved = pairs[0] is not None and pairs[0] == pairs[1]
    estimate = paired if interleaved else ratio
    machine = estimate(first[PRODUCT], second[PRODUCT])
    other = machine.value if not 1 / MARGIN < machine.value < MARGIN else 1.0
    level = 1 - (1 - LEVEL) / len(common)
    changes = [_change(name, estimate(first[name], second[name], level), other) for name in common]
    return Comparison(changes, machine, interleaved, _differences(before, after))


def _seconds_per_image(document: Mapping[str, Any]) -> dict[str, list[float]]:
    """Of each round, by benchmark; the seconds of the matrix product as they are."""
    return {
        entry["name"]: [
            seconds / (entry["extra_info"]["images"] or 1) for seconds in entry["stats"]["data"]
        ]
        for entry in document["benchmarks"]
    }


def _change(name: str, found: Interval, machine: float) -> Change:
    low, high = sorted((1.0, 1 / machine))
    wide = Interval(found.value, found.low * low, found.high * high)
    verdict = "within noise"
    if wide.low > MARGIN:
        verdict = "slower"
    elif wide.high < 1 / MARGIN:
        verdict = "faster"
    return Change(name, wide, verdict)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    found = []
    for name in ("device", "devices", "versions", "flags", "cpu"):
        then, now = (
            document["jaxdigits"].get(name, document.get("machine_info", {}).get(name))
            for document in (before, after)
        )
        if isinstance(then, dict) and isinstance(now, dict):
            same = then.items() & now.items()
            then, now = (dict(sorted(values.items() - same)) for values in (then, now))
        if then != now:
            found.append(f"not the same {name}: {then}, now {now}")
    names = [[entry["name"] for entry in document["benchmarks"]] for document in (before, after)]
    for which, here, there in (("first", *names), ("second", *names[::-1])):
        alone = [name for name in here if name not in there]
        if alone:
            found.append(f"only in the {which} measurement: {', '.join(alone)}")
    return found
