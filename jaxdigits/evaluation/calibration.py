"""How far to trust probabilities: calibration error, temperature scaling, and when to abstain.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32
from scipy.special import log_softmax, softmax

from jaxdigits.errors import ConfigError

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
    """How far to trust a network, from its answers on validation images.

    The default leaves probabilities as they are.

    Attributes:
        temperature: divides the logits, so that probabilities are as likely as they say.
        images: the number of validation images.
        mistakes: for each wrong answer, the most confident first, its probability (at this
            temperature) and the number of answers more confident than that.
    """

    temperature: float = 1.0
    images: int = 0
    mistakes: tuple[tuple[float, int], ...] = ()

    def probabilities(
        self, logits: Float32[np.ndarray, "n classes"]
    ) -> Float32[np.ndarray, "n classes"]:
        """Return the softmax of logits at this temperature."""
        return softmax(logits / np.float32(self.temperature), axis=1)

    def threshold(self, error_rate: float) -> float:
        """Return the probability above which at most this share of validation answers is wrong.

        Args:
            error_rate: 0..1.

        Raises:
            ConfigError: it is not.

        Example:
            >>> calibration = Calibration(1.0, 100, ((0.9, 60), (0.5, 95)))
            >>> calibration.threshold(0.0) > 0.9, calibration.threshold(0.02)
            (True, 0.0)
            >>> 0.5 < calibration.threshold(0.011) < 0.51          # 1 wrong of 95
            True
        """
        if not 0 <= error_rate <= 1:
            raise ConfigError(f"the error rate must be 0 to 1, not {error_rate}")
        if len(self.mistakes) <= error_rate * self.images:
            return 0.0
        for wrong in range(len(self.mistakes) - 1, -1, -1):
            probability, surer = self.mistakes[wrong]
            if wrong <= error_rate * surer:
                return float(np.nextafter(np.float32(probability), np.float32(2)))
        raise AssertionError("unreachable: no answers at all are wrong in none")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "mistakes": [list(mistake) for mistake in self.mistakes]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Restore what `as_dict` gave."""
        mistakes = tuple((float(p), int(surer)) for p, surer in values["mistakes"])
        return cls(float(values["temperature"]), int(values["images"]), mistakes)


def calibrate(
    logits: Float32[np.ndarray, "n classes"], labels: Int32[np.ndarray, " n"]
) -> Calibration:
    """Fit the temperature with the least cross-entropy, and note the mistakes at it.

    Args:
        logits: of images that the network was not trained on.
        labels: the right classes.

    Example:
        >>> logits = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]], np.float32)
        >>> found = calibrate(logits, np.array([0, 0, 0, 0], np.int32))
        >>> round(4 / found.temperature, 2), len(found.mistakes)      # odds of 3 to 1: log 3
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
    confidences = probabilities.max(axis=1)
    wrong = np.sort(confidences[probabilities.argmax(axis=1) != labels])[::-1]
    mistakes = tuple((float(p), int((confidences > p).sum())) for p in wrong)
    return Calibration(temperature, len(labels), mistakes)
