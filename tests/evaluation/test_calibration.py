"""How far probabilities can be trusted."""

import dataclasses

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from jaxdigits.evaluation.calibration import Calibration, calibrate, reliability


@pytest.fixture
def answers(rng):
    """Logits that are three times as large as is warranted, and labels drawn accordingly."""
    logits = rng.normal(0, 1.5, (20_000, 5)).astype(np.float32)
    labels = [rng.choice(5, p=row) for row in softmax(logits.astype(np.float64), axis=1)]
    return 3 * logits, np.array(labels, np.int32)


def test_the_temperature_is_found(answers):
    logits, labels = answers
    assert calibrate(logits, labels).temperature == pytest.approx(3, rel=0.03)


def test_it_has_the_least_loss(answers):
    logits, labels = answers
    found = calibrate(logits, labels).temperature
    losses = [
        log_loss(labels, softmax(logits.astype(np.float64) / (found * factor), axis=1))
        for factor in (0.97, 1, 1.03)
    ]
    assert losses[1] == min(losses)


def test_it_mends_the_calibration_error(answers):
    logits, labels = answers
    before = reliability(Calibration().probabilities(logits), labels).error
    after = reliability(calibrate(logits, labels).probabilities(logits), labels).error
    assert before > 0.1
    assert after < 0.02


def test_the_error_by_hand():
    """Two at 0.9, one right; two at 0.6, both right: (2 * 0.4 + 2 * 0.4) / 4."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], np.float32)
    found = reliability(probabilities, np.array([0, 1, 0, 0], np.int32))
    assert found.error == pytest.approx(0.4)
    assert found.counts.sum() == 4


def test_confidences_are_sorted_into_15_bins():
    """The ends of 0..1 belong to the first and the last; so does what is no number."""
    confidences = [0.51, 0.54, 0.66, 0.67, 0.93, 0.934, 0.999, 1.0]
    probabilities = np.array([[1 - c, c] for c in confidences], np.float32)
    found = reliability(probabilities, np.ones(8, np.int32))
    assert found.counts.tolist() == [0] * 7 + [1, 1, 1, 1, 0, 0, 1, 3]
    assert found.confidence[14] == pytest.approx((0.934 + 0.999 + 1.0) / 3)
    assert np.isnan(found.accuracy).tolist() == [count == 0 for count in found.counts]
    probabilities[0] = np.nan
    assert reliability(probabilities, np.ones(8, np.int32)).counts[[0, 7]].tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
def test_probabilities_are_softmax_of_the_logits_over_the_temperature(rng, temperature):
    logits = rng.normal(0, 3, (7, 4)).astype(np.float32)
    found = Calibration(temperature).probabilities(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, softmax(logits.astype(float) / temperature, axis=1), rtol=1e-5
    )
    if temperature == 1:
        np.testing.assert_array_equal(Calibration().probabilities(logits), found)


def test_the_temperature_is_bounded():
    """A network that is always right, or always wrong, gets one too."""
    logits = np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)
    right, wrong = np.array([0, 1], np.int32), np.array([1, 0], np.int32)
    assert calibrate(logits / 100, right).temperature == pytest.approx(np.exp(-4), rel=1e-3)
    assert calibrate(logits * 100, wrong).temperature == pytest.approx(np.exp(4), rel=1e-3)


def test_it_comes_back_from_json(answers):
    calibration = calibrate(answers[0][:100], answers[1][:100])
    assert Calibration.from_dict(calibration.as_dict()) == calibration
    assert calibration.as_dict().keys() == {"temperature", "counts"}
    assert calibration.answers is calibration.counts
    pages = calibrate(answers[0][:50], answers[1][:50]).counts
    both = dataclasses.replace(calibration, pages=pages)
    assert both.answers is pages
    assert Calibration.from_dict(both.as_dict()) == both
    assert Calibration().answers is None
    assert Calibration.from_dict({"temperature": 2}) == Calibration(2.0)
