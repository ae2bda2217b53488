"""How much accuracy is left when the images change.

Each condition changes every image by the same strength, in a random direction that is the same
every time, so that networks can be compared.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, UInt8

from jaxdigits.evaluation.calibration import Calibration, Reliability, reliability
from jaxdigits.programs import jit_few
from jaxdigits.transforms import augment, warp

Images = Float[Array, "n height width"]
Strength = Float[Array, ""] | Int[Array, ""]
Change = Callable[[Key[Array, ""], Images, Strength], Images]
Predict = Callable[[UInt8[Array, "n height width"]], Int[np.ndarray, " n"]]
"""From images, pixels 0..255, to labels; `Run.predict` is one."""

_MAX_SHIFT = 5
"""In pixels."""


def _shift(key: Key[Array, ""], images: Images, pixels: Strength) -> Images:
    """Shift in one of eight directions, as a king moves."""
    ways = jnp.array([(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)])
    moves = pixels * ways[jax.random.randint(key, (len(images),), 0, len(ways))]
    return warp.translate(images, moves, _MAX_SHIFT)


def _rotate(key: Key[Array, ""], images: Images, degrees: Strength) -> Images:
    """Rotate to either side."""
    angles = jnp.deg2rad(degrees) * jax.random.rademacher(key, (len(images),), jnp.float32)
    cosines, sines = jnp.cos(angles), jnp.sin(angles)
    matrices = jnp.stack([cosines, sines, -sines, cosines], axis=-1).reshape(-1, 2, 2)
    return warp.affine(images, matrices)


def _scale(_: Key[Array, ""], images: Images, factor: Strength) -> Images:
    return warp.affine(images, jnp.broadcast_to(jnp.eye(2) / factor, (len(images), 2, 2)))


def _thicken(_: Key[Array, ""], images: Images, share: Strength) -> Images:
    return augment.thicken(images, jnp.full(len(images), share, jnp.float32))


def _noise(key: Key[Array, ""], images: Images, deviation: Strength) -> Images:
    return jnp.clip(images + deviation * jax.random.normal(key, images.shape, jnp.float32), 0, 1)


def _blur(_: Key[Array, ""], images: Images, deviation: Strength) -> Images:
    return augment.soften(images, jnp.full(len(images), deviation, jnp.float32))


def _invert(key: Key[Array, ""], images: Images, _: Strength, *, count: int) -> Images:
    return augment.AUGMENTATIONS["invert"](key, images, count)


class Condition(NamedTuple):
    """A change of the test images.

    Attributes:
        kind: such as `rotation`.
        strength: as text.
        change: `change(key, images, value) -> images`, pixels 0..1.
        value: the strength as a number; one compiled program serves all of a kind.
    """

    kind: str
    strength: str
    change: Change
    value: float | int = 0


def _conditions(
    kind: str, text: str, change: Change, values: Iterable[float | int]
) -> list[Condition]:
    return [Condition(kind, text.format(value), change, value) for value in values]


CONDITIONS = (
    Condition("clean", "", lambda _, images, strength: images),
    Condition("jitter", "as in post C", lambda key, images, _: augment.jitter(key, images)),
    *_conditions("shift", "{} pixels", _shift, range(1, _MAX_SHIFT + 1)),
    *_conditions("rotation", "{:g} degrees", _rotate, map(float, range(5, 31, 5))),
    *_conditions("scale", "{:g}x", _scale, (0.7, 0.8, 0.9, 1.1, 1.2, 1.3)),
    *_conditions("strokes", "{:+g}", _thicken, (-1.0, -0.5, 0.5, 1.0)),
    *_conditions("noise", "deviation {:g}", _noise, (0.1, 0.2, 0.3)),
    *_conditions("blur", "deviation {:g} pixels", _blur, (0.5, 1.0, 1.5)),
    *_conditions("contrast", "{:g}x", lambda _, images, factor: factor * images, (0.75, 0.5, 0.25)),
    *(Condition("inverted", f"{n} pixels", partial(_invert, count=n)) for n in (5, 10, 20, 40)),
)
"""Each kind's weaker conditions first; the strokes' strength is that of `augment.thicken`."""


class ConditionAccuracy(NamedTuple):
    """The accuracy, 0..1, on images changed by a condition."""

    kind: str
    strength: str
    accuracy: float


class Robustness(NamedTuple):
    """How a network does on changed images, and how far to trust its probabilities.

    Attributes:
        conditions: the accuracy under each.
        uncalibrated: the reliability of the softmax of its logits.
        calibrated: that of its probabilities at the temperature.
        temperature: divides the logits there.
    """

    conditions: Sequence[ConditionAccuracy]
    uncalibrated: Reliability
    calibrated: Reliability
    temperature: float

    @property
    def mean(self) -> float:
        """The mean accuracy on changed images: all but the clean ones."""
        return fmean(c.accuracy for c in self.conditions if c.kind != "clean")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "robustness": [condition._asdict() for condition in self.conditions],
            "robustness_mean": self.mean,
            "calibration": {
                "error": self.uncalibrated.error,
                "temperature": self.temperature,
                "error_at_temperature": self.calibrated.error,
            },
        }


def changed(condition: Condition, images: UInt8[Array, "n 28 28"]) -> UInt8[Array, "n 28 28"]:
    """Change images, pixels 0..255, the same way every time.

    Example:
        >>> bright = jnp.full((1, 28, 28), 200, jnp.uint8)
        >>> paler = [condition for condition in CONDITIONS if condition.kind == "contrast"]
        >>> [int(changed(condition, bright).max()) for condition in paler]
        [150, 100, 50]
    """
    return _changed(condition.change, np.asarray(condition.value), images)


@jit_few(maxsize=16, static=1)
def _changed(
    change: Change, value: Strength, images: UInt8[Array, "n 28 28"]
) -> UInt8[Array, "n 28 28"]:
    found = change(jax.random.key(0), images.astype(jnp.float32) / 255, value)
    return jnp.round(255 * found).astype(jnp.uint8)


def accuracies(
    predict: Predict,
    images: UInt8[np.ndarray, "n 28 28"],
    labels: Int[np.ndarray, " n"],
    conditions: Sequence[Condition] = CONDITIONS,
) -> list[ConditionAccuracy]:
    """Measure the accuracy under each condition.

    Args:
        predict: from images to labels.
        images: pixels 0..255; 10,000 take a second per condition.
        labels: the right ones.
        conditions: all, or some.

    Example:
        >>> import jaxdigits as jd
        >>> test = jd.data.load("digits", "test")
        >>> predict = jd.load("digits").predict
        >>> results = accuracies(predict, test.images, test.labels, CONDITIONS[:1])
        >>> results[0].kind, results[0].accuracy > 0.8
        ('clean', True)
    """
    pixels = jax.device_put(images)
    return [
        ConditionAccuracy(c.kind, c.strength, float(np.mean(predict(changed(c, pixels)) == labels)))
        for c in conditions
    ]


def measure(
    predict: Predict,
    images: UInt8[np.ndarray, "n 28 28"],
    labels: Int[np.ndarray, " n"],
    logits: Float32[np.ndarray, "n classes"],
    calibration: Calibration,
) -> Robustness:
    """Measure robustness and calibration on a split.

    Args:
        predict: from images to labels.
        images: pixels 0..255.
        labels: the right ones.
        logits: of these images.
        calibration: of the network, from other images.
    """
    return Robustness(
        accuracies(predict, images, labels),
        reliability(Calibration().probabilities(logits), labels),
        reliability(calibration.probabilities(logits), labels),
        calibration.temperature,
    )


def accuracies_jittered(
    predict: Predict,
    images: UInt8[np.ndarray, "n 28 28"],
    labels: Int[np.ndarray, " n"],
    draws: int = 10,
) -> list[float]:
    """Measure the accuracy on jittered images, once per draw: post C row C5, "slightly moved".

    Rows and columns shift by -2..2 pixels each, then five pixels are inverted, with the same keys
    for every network. Arguments: see `accuracies`.
    """
    copies = augment.jittered_copies(jax.device_put(images), draws)
    return [float(np.mean(predict(copy) == labels)) for copy in copies]
