"""How far probabilities can be trusted."""

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


def test_it_comes_back_from_json(answers):
    calibration = calibrate(answers[0][:100], answers[1][:100])
    assert Calibration.from_dict(calibration.as_dict()) == calibration
