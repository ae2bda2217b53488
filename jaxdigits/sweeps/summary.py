"""Compare the settings of a sweep: on validation; the best one alone on the test split."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from jaxdigits.config import TrainConfig
from jaxdigits.data import Dataset
from jaxdigits.environment import environment
from jaxdigits.evaluation.metrics import accuracy_interval
from jaxdigits.files import write_json
from jaxdigits.runs.ensemble import stack
from jaxdigits.runs.folder import SWEEP_FILE, SWEEP_FORMAT, read_sweep
from jaxdigits.runs.run import Run, measure
from jaxdigits.sweeps.grid import describe_setting

PICTURES = ("settings.png", "curves.png")
CURVES = 6
"""Settings in the picture of curves."""


class Setting(NamedTuple):
    """What the members of a setting gave.

    Attributes:
        name: in words.
        members: their indices.
        accuracies: on validation, of those that did not diverge, or of all if all did.
        finite: the indices of these.
        diverged: the number of members that diverged.
        dropped_after: how many epochs, if it was dropped on the way.
    """

    name: str
    members: list[int]
    accuracies: list[float]
    finite: list[int]
    diverged: int
    dropped_after: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "setting": self.name,
            "members": self.members,
            "diverged": self.diverged,
            "dropped_after": self.dropped_after,
            "validation_accuracy": spread(self.accuracies),
        }


class SweepResult(NamedTuple):
    """What a sweep gives.

    Attributes:
        settings: in the order of the grid.
        order: their indices, best first by mean validation accuracy; those that diverge last.
        ensemble: of the best setting's members, measured on validation and test.
        test_accuracies: of these members.
        document: as in `sweep.json`.
        folder: that it was written to; None if nowhere.
    """

    settings: list[Setting]
    order: list[int]
    ensemble: Run
    test_accuracies: list[float]
    document: dict[str, Any]
    folder: Path | None = None

    @property
    def best(self) -> Setting:
        """The best setting on validation."""
        return self.settings[self.order[0]]

    @classmethod
    def from_folder(cls, folder: Path, ensemble: Run) -> "SweepResult":
        """Read a result from `sweep.json`."""
        document, best = read_sweep(folder)
        settings = [
            Setting(
                found["setting"],
                found["members"],
                found["validation_accuracy"]["values"],
                found["members"],
                found["diverged"],
                found.get("dropped_after"),
            )
            for found in document["settings"]
        ]
        order = rank(settings)
        tested = best["test_accuracy"]["values"]
        return cls(settings, order, ensemble, tested, dict(document), folder)


def rank(settings: Sequence[Setting]) -> list[int]:
    """The indices of settings, best first by mean validation accuracy; diverging ones last.

    What was dropped on the way comes after what was trained to the end, the last first.
    """

    def key(index: int) -> tuple[bool, float, float]:
        found = settings[index]
        trained = math.inf if found.dropped_after is None else float(found.dropped_after)
        return found.diverged > 0, -trained, -float(np.mean(found.accuracies))

    return sorted(range(len(settings)), key=key)


def summarize(
    configs: Sequence[TrainConfig],
    names: Sequence[str],
    runs: Sequence[Run],
    splits: Mapping[str, Dataset],
    seconds: Mapping[str, float],
) -> tuple[SweepResult, list[Any]]:
    """Compare the settings, and measure the best one's members and ensemble on the test split.

    Args:
        configs: a setting each.
        names: of the settings that differ.
        runs: the members, the seeds of a setting one after the other.
        splits: validation and test.
        seconds: that the sweep took.

    Returns:
        The result, and the figures in the order of `PICTURES`.
    """
    each = len(runs) // len(configs)
    settings = [
        _judge(config, names, list(range(place * each, (place + 1) * each)), runs)
        for place, config in enumerate(configs)
    ]
    order = rank(settings)
    best = settings[order[0]]
    test = splits["test"]
    members = [runs[index] for index in best.finite]
    tested = [member.evaluate(test).accuracy for member in members]
    ensemble = measure(stack(members), splits["validation"], test).run
    calibration = ensemble.calibration
    documents = [setting.as_dict() for setting in settings]
    documents[order[0]]["test_accuracy"] = spread(tested)
    documents[order[0]]["ensemble"] = {
        "members": best.finite,
        "results": ensemble.results,
        "calibration": calibration and calibration.as_dict(),
    }
    document = {
        "format": SWEEP_FORMAT,
        "config": runs[0].config.as_dict(),
        "data": runs[0].fingerprint.as_dict(),
        "settings": documents,
        "best": order[0],
        "seconds": dict(seconds),
        **environment(),
    }
    result = SweepResult(settings, order, ensemble, tested, document)
    return result, [runs[index].history for setting in settings for index in setting.members]


def write(result: SweepResult, histories: Sequence[Any], folder: Path) -> None:
    """Draw the pictures and write `sweep.json`."""
    from jaxdigits import plots  # matplotlib would delay the first epoch

    if plots.wanted():
        with plots.optional():
            _draw(result, histories, folder)
    write_json(folder / SWEEP_FILE, result.document)


def _draw(result: SweepResult, histories: Sequence[Any], folder: Path) -> None:
    from jaxdigits import plots

    ordered = [result.settings[index] for index in result.order]
    run = result.ensemble
    heading = f"{run.network_name} on {run.fingerprint.name}"
    intervals = {}
    for setting in ordered:
        interval = spread(setting.accuracies)["interval_95"]
        intervals[setting.name] = tuple(interval) if interval else None
    accuracies = {setting.name: setting.accuracies for setting in ordered}
    plots.save(plots.settings(accuracies, intervals, heading), folder / PICTURES[0])
    curves = {
        setting.name: np.array(
            [
                [100 * _or_nan(line["validation_accuracy"]) for line in histories[index][1:]]
                for index in setting.finite
            ]
        )
        for setting in ordered[:CURVES]
    }
    plots.save(plots.seed_curves({"validation accuracy (%)": curves}), folder / PICTURES[1])


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The mean of accuracies, its 95% interval within 0..1, and their range, for JSON.

    Example:
        >>> spread([0.5])["interval_95"] is None, spread([0.4, 0.6])["range"]
        (True, [0.4, 0.6])
    """
    interval = None
    if len(values) > 1:
        interval = list(accuracy_interval(values)[1:])
    return {
        "mean": fmean(values),
        "interval_95": interval,
        "range": [min(values), max(values)],
        "values": list(values),
    }


def _judge(
    config: TrainConfig, names: Sequence[str], members: list[int], runs: Sequence[Run]
) -> Setting:
    """A member whose loss isn't finite at the end has diverged."""
    last = {index: runs[index].history[-1] for index in members}
    finite = [index for index in members if last[index]["validation_loss"] is not None]
    diverged = len(members) - len(finite)
    finite = finite or members
    accuracies = [last[index]["validation_accuracy"] for index in finite]
    epochs = min(len(runs[index].history) - 1 for index in members)
    dropped = epochs if epochs < (runs[members[0]].config.epochs or 0) else None
    name = describe_setting(config, names)
    return Setting(name, members, accuracies, finite, diverged, dropped)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
