"""Runs that are measured again."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.errors import DataError
from jaxdigits.evaluation.calibration import calibrate
from jaxdigits.runs import evaluation
from jaxdigits.runs.evaluation import check_same_data, evaluate_run


@pytest.fixture(scope="module")
def run() -> jd.Run:
    return jd.fit(jd.TrainConfig(dataset="digits", model="linear", epochs=1))


def test_the_same_figures(run):
    """Of the same data only; what an older version did not measure is left out."""
    found = evaluate_run(run)
    assert (found.same, found.changes, found.members, found.jittered) == (True, [], [], ())
    assert found.robustness is None
    assert found.results == run.results
    assert found.as_dict() == {
        "data": run.fingerprint.as_dict(), "results": run.results, "same_as_recorded": True,
    }  # fmt: skip
    older = {"test": {"accuracy": run.results["test"]["accuracy"]}}
    assert evaluate_run(dataclasses.replace(run, results=older)).same
    for wrong in ({"test": {"accuracy": 0.5}}, {"validation": {"count": 1}}):
        assert not evaluate_run(dataclasses.replace(run, results=wrong)).same


def test_versions_that_differ(run):
    older = {**run.environment, "versions": {**run.environment["versions"], "jax": "0.1"}}
    (change,) = evaluate_run(dataclasses.replace(run, environment=older)).changes
    assert change.startswith("jax 0.1, now ")


def test_another_dataset(run, tmp_path):
    """By its folder; there is nothing recorded of it, and it need not be the run's."""
    test = jd.data.load("digits", "test")
    few = jd.Examples(test.images[:60] // 2, test.labels[:60])
    darker = jd.data.from_arrays("darker", few, few, run.class_names, form="mnist")
    folder = jd.data.export_folder(darker, tmp_path / "darker")
    found = evaluate_run(run, folder)
    assert found.same is None
    assert found.fingerprint == darker["test"].fingerprint
    assert "same_as_recorded" not in found.as_dict()
    assert found.results["test"]["count"] == 60
    assert found.results["test"]["accuracy"] != run.results["test"]["accuracy"]


def test_data_in_other_folders(emnist_files, tmp_path):
    there = {"data_dir": tmp_path / "prepared"}
    config = jd.TrainConfig(dataset="emnist/letters", model="linear", epochs=0)
    run = jd.fit(config, manual_dir=emnist_files, **there)
    with pytest.raises(DataError, match="emnist"):
        evaluate_run(run)
    assert evaluate_run(run, **there).same
    assert evaluate_run(run, manual_dir=emnist_files, data_dir=tmp_path / "other").same


def test_other_data_and_what_to_do(run, tmp_path):
    check_same_data(run, run.fingerprint)
    other = dataclasses.replace(run.fingerprint, sha256="0" * 64)
    with pytest.raises(DataError, match=r"; give the folder of the same data with --data-dir$"):
        check_same_data(run, other)
    config = run.config.replace(dataset=str(tmp_path))
    sentence = rf"but here is digits .*; put the same images into {tmp_path}, or train again$"
    with pytest.raises(DataError, match=sentence):
        check_same_data(dataclasses.replace(run, config=config), other)


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_robustness_is_measured_with(run, monkeypatch, calibrated):
    """The calibration of the run, or one to the validation images; the test images."""
    asked: list[Any] = []
    monkeypatch.setattr(evaluation.robust, "measure", lambda *given: asked.append(given))
    known = dataclasses.replace(run.calibration, temperature=3.0) if calibrated else None
    found = evaluate_run(dataclasses.replace(run, calibration=known), robustness=True)
    ((_, images, labels, logits, calibration),) = asked
    validation, test = jd.data.load_splits("digits", ("validation", "test"))
    np.testing.assert_array_equal(images, test.images)
    np.testing.assert_array_equal(labels, test.labels)
    np.testing.assert_array_equal(logits, run.predict_logits(test.images))
    fitted = calibrate(run.predict_logits(validation.images), validation.labels)
    assert calibration.temperature == (3.0 if calibrated else fitted.temperature)
    assert found.jittered == ()


def test_an_ensemble_and_its_members(run):
    other = jd.fit(run.config.replace(seed=1))
    ensemble = jd.stack([run, other])
    found = evaluate_run(ensemble, jittered=True)
    accuracies = [one.results["test"]["accuracy"] for one in (run, other)]
    assert found.members == accuracies
    document = found.as_dict()
    assert document["members"] == {"test_accuracy": accuracies}
    draws = document["jittered"]["draws"]
    assert len(draws) == 10
    assert document["jittered"]["accuracy"] == pytest.approx(np.mean(draws))
    low, high = document["jittered"]["interval_95"]
    assert low < np.mean(draws) < high
    assert list(Path().iterdir()) == []
