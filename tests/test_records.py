"""The scripts of `experiments/records`, on the digits inside."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxdigits as jd

FOLDER = Path(__file__).parents[1] / "experiments" / "records"


@pytest.fixture
def record(monkeypatch):
    """The part that the scripts share."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("record")


def test_five_looks(record) -> None:
    """Their mean is that of images moved by a pixel, the border repeated."""
    run = jd.fit(jd.TrainConfig(dataset="digits", model="linear", epochs=1))
    images = jd.data.load("digits", "test").images[:50]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    moved = [padded[:, 1 + r : 29 + r, 1 + c : 29 + c]
             for r, c in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))]  # fmt: skip
    logs = [np.log(run.predict_uncalibrated_proba(look)) for look in moved]
    validation = jd.data.load("digits", "validation")
    averaged = record.averaged(run, validation)
    np.testing.assert_allclose(averaged.predict_logits(images), np.mean(logs, axis=0), atol=1e-4)
    right = averaged.predict(validation.images) == validation.labels
    assert averaged.results["validation"]["accuracy"] == pytest.approx(right.mean())


def test_a_record_is_kept_beside_the_others(record, tmp_path, monkeypatch, capsys) -> None:
    """With each seed's figures; and what all networks read wrong is drawn."""
    results = tmp_path / "records.json"
    results.write_text('{"other": {}}')
    monkeypatch.setattr(record, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["mine.py", "--seeds", "2", "--results", str(results)])
    config = jd.TrainConfig(dataset="digits", model="linear", epochs=1)
    record.measure(record.Record("mine", "a linear network", config, looks=False))
    found = json.loads(results.read_text())
    assert set(found) == {"other", "mine"}
    mine, test = found["mine"], jd.data.load("digits", "test")
    assert (mine["params"], mine["command"]) == (
        7850,
        "python experiments/records/mine.py --seeds 2",
    )
    for seed, row in enumerate(mine["seeds"]):
        run = jd.fit(config.replace(seed=seed))
        read = run.predict(test.images)
        assert row["test"] == pytest.approx(np.mean(read == test.labels))
        expected = {str(n): int(read[n]) for n in np.flatnonzero(read != test.labels)}
        assert row["wrong"] == expected
    monkeypatch.setattr(sys, "argv", ["left.py", "mine"])
    importlib.import_module("left").main()
    both = set(mine["seeds"][0]["wrong"]) & set(mine["seeds"][1]["wrong"])
    assert f"{len(both)} of {len(test):,} test images" in capsys.readouterr().out
    assert (tmp_path / "records-mine-left.png").stat().st_size > 0
