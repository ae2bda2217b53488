"""What a sweep says of its settings, from histories by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits import plots
from jaxdigits.sweeps import summary
from jaxdigits.sweeps.summary import Setting, SweepResult, rank, spread


def setting(name: str, accuracies: list[float], **more: Any) -> Setting:
    members = list(range(len(accuracies)))
    values = {"finite": members, "diverged": 0, **more}
    return Setting(name, members, accuracies, **values)


def test_the_order_of_settings():
    """By mean accuracy; what was dropped comes behind, the last first; what diverged is last."""
    settings = [
        setting("diverged", [0.9], diverged=1),
        setting("early", [0.8], dropped_after=1),
        setting("late", [0.3], dropped_after=2),
        setting("worse", [0.1, 0.6]),
        setting("better", [0.4, 0.5]),
    ]
    names = [settings[index].name for index in rank(settings)]
    assert names == ["better", "worse", "late", "early", "diverged"]


@pytest.mark.parametrize(
    ("values", "interval"),
    [
        ([0.5], None),
        # 0.5 and 0.7: a standard error of 0.1, times 12.71 of Student's distribution.
        ([0.5, 0.7], [0, 1]),
        # Three: a standard error of 0.01 / sqrt(3), times 4.303.
        ([0.49, 0.5, 0.51], [0.5 - 0.02484, 0.5 + 0.02484]),
    ],
)
def test_the_spread_of_accuracies(values, interval):
    found = spread(values)
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["range"] == [min(values), max(values)]
    assert found["values"] == values
    if interval is None:
        assert found["interval_95"] is None
    else:
        assert found["interval_95"] == pytest.approx(interval, abs=1e-4)


@pytest.fixture(scope="module")
def untrained() -> jd.Run:
    """A network of which only the history is looked at."""
    return jd.fit(jd.TrainConfig(dataset="digits", model="pixel"))


def run_of(untrained: jd.Run, losses: list[float | None], epochs: int | None = 3) -> jd.Run:
    """A run with these validation losses, and accuracies that follow from them."""
    history = tuple(
        {"epoch": epoch, "validation_loss": loss, "validation_accuracy": 0.1 * epoch}
        for epoch, loss in enumerate(losses)
    )
    config = untrained.config.replace(epochs=epochs)
    return dataclasses.replace(untrained, config=config, history=history)


@pytest.mark.parametrize(
    ("losses", "accuracies", "finite", "diverged", "dropped"),
    [
        ([[2, 1, 1, 1], [2, 1, 1, 1]], [0.3, 0.3], [0, 1], 0, None),
        ([[2, 1, 1, None], [2, 1, 1, 1]], [0.3], [1], 1, None),
        ([[2, 1, 1, None], [2, None, None, None]], [0.3, 0.3], [0, 1], 2, None),
        ([[2, None, 1, 1], [2, 1, 1, 1]], [0.3, 0.3], [0, 1], 0, None),  # and came back
        ([[2, 1, 1], [2, 1, 1]], [0.2, 0.2], [0, 1], 0, 2),
        ([[2, 1], [2, 1]], [0.1, 0.1], [0, 1], 0, 1),
        ([[2], [2]], [0.0, 0.0], [0, 1], 0, 0),
    ],
)
def test_a_setting_is_judged_by_its_last_epoch(
    untrained, losses, accuracies, finite, diverged, dropped
):
    """By the members that did not diverge, or by all if none did not."""
    runs = [run_of(untrained, one) for one in losses]
    found = summary._judge(runs[0].config, ["epochs"], [0, 1], runs)
    assert found.name == "epochs 3"
    assert found.accuracies == pytest.approx(accuracies)
    assert (found.finite, found.diverged, found.dropped_after) == (finite, diverged, dropped)
    assert found.as_dict()["dropped_after"] == dropped


@pytest.mark.parametrize("epochs", [0, None])
def test_what_has_no_epochs_was_not_dropped(untrained, epochs):
    found = summary._judge(untrained.config, [], [0], [run_of(untrained, [2], epochs)])
    assert (found.name, found.dropped_after) == ("all", None)


def test_the_pictures_of_a_sweep(untrained, monkeypatch, tmp_path):
    """All settings in one, the best first; the curves of the best six in the other."""
    drawn: dict[str, Any] = {}

    def settings(accuracies, intervals, heading):
        drawn.update(accuracies=accuracies, intervals=intervals, heading=heading)
        return "settings"

    def curves(panels):
        drawn.update(panels)
        return "curves"

    saved: dict[str, Any] = {}
    monkeypatch.setattr(plots, "settings", settings)
    monkeypatch.setattr(plots, "seed_curves", curves)
    monkeypatch.setattr(plots, "save", lambda figure, path: saved.update({Path(path).name: figure}))
    histories = [list(run_of(untrained, [2, 1, 1]).history) for _ in range(8)]
    histories[3][2] = {"validation_loss": None, "validation_accuracy": None}
    names = [f"{number}" for number in range(8)]
    found = [Setting(name, [index], [0.2], [index], 0) for index, name in enumerate(names)]
    found[7] = Setting("7", [6, 7], [0.2, 0.3], [7, 6], 0)
    result = SweepResult(found, [7, 3, 2, 1, 0, 4, 5, 6], untrained, [], {})
    summary._draw(result, histories, tmp_path)
    assert saved == {"settings.png": "settings", "curves.png": "curves"}
    assert drawn["heading"] == "pixel on digits"
    assert list(drawn["accuracies"]) == ["7", "3", "2", "1", "0", "4", "5", "6"]
    assert drawn["accuracies"]["7"] == [0.2, 0.3]
    assert drawn["intervals"]["7"] == (0.0, pytest.approx(0.25 + 12.706 * 0.05, abs=1e-3))
    assert drawn["intervals"]["6"] is None
    panel = drawn["validation accuracy (%)"]
    assert list(panel) == ["7", "3", "2", "1", "0", "4"]
    assert panel["7"].shape == (2, 2)
    np.testing.assert_allclose(panel["7"], [[10, 20], [10, 20]])
    np.testing.assert_allclose(panel["3"], [[10, np.nan]])
