"""How far to trust probabilities: calibration error, and temperature scaling.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32
from scipy.special import log_softmax, softmax

from jaxdigits.evaluation.promises import AnswerCounts, count_probabilities

BINS = 15
"""Of confidence, as in the paper."""


class Reliability(NamedTuple):
    """How often a network is right, by how confident it is.

    Attributes:
        confidence: the mean in each bin, 0..1; nan in an empty bin.
        accuracy: in each bin, 0..1; nan in an empty bin.
        counts: the number of images in each bin.
    """

    confidence: Float64[np.ndarray, " bins"]
    accuracy: Float64[np.ndarray, " bins"]
    counts: Int[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean over images of |confidence - accuracy|."""
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float(gaps @ self.counts / self.counts.sum())


def reliability(
    probabilities: Float32[np.ndarray, "n classes"], labels: Int32[np.ndarray, " n"]
) -> Reliability:
    """Sort predictions by confidence into `BINS` equal parts of 0..1.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7]], np.float32)
        >>> found = reliability(probabilities, np.array([0, 1, 1], np.int32))
        >>> found.accuracy[13].item(), found.accuracy[10].item(), round(found.error, 3)
        (0.5, 1.0, 0.367)
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((np.nan_to_num(confidences) * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, confidences, BINS) / counts
        accuracy = np.bincount(bins, right, BINS) / counts
    return Reliability(confidence, accuracy, counts)


@dataclass(frozen=True)
class Calibration:
    """How far to trust a network, from its answers on images that it was not trained on.

    The default leaves probabilities as they are.

    Attributes:
        temperature: divides the logits, so that probabilities are as likely as they say.
        counts: of the answers to validation images, at this temperature.
        pages: of the answers to characters of whole pages, where these were counted.
    """

    temperature: float = 1.0
    counts: AnswerCounts | None = None
    pages: AnswerCounts | None = None

    def probabilities(
        self, logits: Float32[np.ndarray, "n classes"]
    ) -> Float32[np.ndarray, "n classes"]:
        """Return the softmax of logits at this temperature."""
        return softmax(logits / np.float32(self.temperature), axis=1)

    @property
    def answers(self) -> AnswerCounts | None:
        """What promises are made from: the answers on pages, or else those to single images."""
        return self.pages or self.counts

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        counts = {"counts": self.counts, "pages": self.pages}
        found = {name: value._asdict() for name, value in counts.items() if value}
        return {"temperature": self.temperature, **found}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Restore what `as_dict` gave."""
        found = {
            name: AnswerCounts.from_dict(values[name])
            for name in ("counts", "pages")
            if name in values
        }
        return cls(float(values["temperature"]), **found)


def calibrate(
    logits: Float32[np.ndarray, "n classes"], labels: Int32[np.ndarray, " n"]
) -> Calibration:
    """Fit the temperature with the least cross-entropy, and count the answers at it.

    Args:
        logits: of images that the network was not trained on.
        labels: the right classes.

    Example:
        >>> logits = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]], np.float32)
        >>> found = calibrate(logits, np.array([0, 0, 0, 0], np.int32))
        >>> round(4 / found.temperature, 2), found.counts.wrong[0]    # odds of 3 to 1: log 3
        (1.1, 1)
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        return float(-log_softmax(scaled, axis=1)[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(-4, 4), method="bounded")
    temperature = float(np.exp(found.x))
    probabilities = Calibration(temperature).probabilities(logits)
    return Calibration(temperature, count_probabilities(probabilities, labels))
