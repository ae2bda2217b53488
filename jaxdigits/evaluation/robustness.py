"""How much of a network's accuracy is left when images change: a figure beside the accuracy.

Each condition changes every image by the same strength, in a direction that is random and always
the same, so that networks can be compared.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxdigits.data.dataset import Dataset
from jaxdigits.runs.run import Run
from jaxdigits.transforms import augment as augmentation
from jaxdigits.transforms.augment import affine, invert, soften, thicken, translate

Images = Float[Array, "n height width"]
Strength = Float[Array, ""] | Int[Array, ""]

_FURTHEST = 5
"""Pixels that images are shifted by."""


def _clean(key: Key[Array, ""], images: Images, _: Strength) -> Images:
    del key
    return images


def _moved(key: Key[Array, ""], images: Images, _: Strength) -> Images:
    return augmentation.moved(key, images)


def _shift(key: Key[Array, ""], images: Images, pixels: Strength) -> Images:
    """In one of eight directions, as a king moves."""
    ways = jnp.array([(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)])
    moves = pixels * ways[jax.random.randint(key, (len(images),), 0, len(ways))]
    return translate(images, moves, _FURTHEST)


def _rotate(key: Key[Array, ""], images: Images, degrees: Strength) -> Images:
    """To either side."""
    angles = jnp.deg2rad(degrees) * jax.random.rademacher(key, (len(images),), jnp.float32)
    cosines, sines = jnp.cos(angles), jnp.sin(angles)
    matrices = jnp.stack([cosines, sines, -sines, cosines], axis=-1).reshape(-1, 2, 2)
    return affine(images, matrices)


def _scale(key: Key[Array, ""], images: Images, factor: Strength) -> Images:
    del key
    return affine(images, jnp.broadcast_to(jnp.eye(2) / factor, (len(images), 2, 2)))


def _thicken(key: Key[Array, ""], images: Images, share: Strength) -> Images:
    del key
    return thicken(images, jnp.full(len(images), share, jnp.float32))


def _noise(key: Key[Array, ""], images: Images, deviation: Strength) -> Images:
    drawn = jax.random.normal(key, images.shape, jnp.float32)
    return jnp.clip(images + deviation * drawn, 0, 1)


def _blur(key: Key[Array, ""], images: Images, deviation: Strength) -> Images:
    del key
    return soften(images, jnp.full(len(images), deviation, jnp.float32))


def _contrast(key: Key[Array, ""], images: Images, factor: Strength) -> Images:
    del key
    return factor * images


def _invert(key: Key[Array, ""], images: Images, _: Strength, *, count: int) -> Images:
    return invert(key, images, count)


class Condition(NamedTuple):
    """A change of the test images.

    Attributes:
        kind: such as `rotation`.
        strength: as text.
        change: `change(key, images, value) -> images`, values 0..1.
        value: the strength as a number; programs are compiled for all of them at once.
    """

    kind: str
    strength: str
    change: Callable[[Key[Array, ""], Images, Strength], Images]
    value: float | int = 0


CONDITIONS = (
    Condition("clean", "", _clean),
    Condition("moved", "as the third post does", _moved),
    *(Condition("shift", f"{n} pixels", _shift, n) for n in range(1, _FURTHEST + 1)),
    *(Condition("rotation", f"{n} degrees", _rotate, float(n)) for n in range(5, 31, 5)),
    *(
        Condition("scale", f"{factor:g} times", _scale, factor)
        for factor in (0.7, 0.8, 0.9, 1.1, 1.2, 1.3)
    ),
    *(Condition("strokes", f"{share:+g}", _thicken, share) for share in (-1.0, -0.5, 0.5, 1.0)),
    *(Condition("noise", f"deviation {level:g}", _noise, level) for level in (0.1, 0.2, 0.3)),
    *(Condition("blur", f"deviation {level:g} pixels", _blur, level) for level in (0.5, 1.0, 1.5)),
    *(
        Condition("contrast", f"{factor:g} times", _contrast, factor)
        for factor in (0.75, 0.5, 0.25)
    ),
    *(
        Condition("inverted", f"{count} pixels", partial(_invert, count=count))
        for count in (5, 10, 20, 40)
    ),
)
"""All of them, weaker ones first within a kind; strokes are as of `augmentation.thickness`."""


class Measured(NamedTuple):
    """The accuracy, 0..1, on images changed by a condition."""

    kind: str
    strength: str
    accuracy: float


def changed(condition: Condition, images: UInt8[Array, "n 28 28"]) -> UInt8[Array, "n 28 28"]:
    """The images so changed, pixels 0..255; always the same.

    Example:
        >>> bright = jnp.full((1, 28, 28), 200, jnp.uint8)
        >>> paler = [condition for condition in CONDITIONS if condition.kind == "contrast"]
        >>> [int(changed(condition, bright).max()) for condition in paler]
        [150, 100, 50]
    """
    return _changed(condition.change, jnp.asarray(condition.value), images)


@jax.jit(static_argnums=0)
def _changed(
    change: Callable[..., Images], value: Strength, images: UInt8[Array, "n 28 28"]
) -> UInt8[Array, "n 28 28"]:
    found = change(jax.random.key(0), images.astype(jnp.float32) / 255, value)
    return jnp.round(255 * found).astype(jnp.uint8)


def measure(
    run: Run, dataset: Dataset, conditions: Sequence[Condition] = CONDITIONS
) -> list[Measured]:
    """A network's accuracy under each of the conditions.

    Args:
        run: the network.
        dataset: the images; 10,000 take a second for each condition.
        conditions: all of them, or some.

    Raises:
        DataError: the data have other classes than the network.

    Example:
        >>> import jaxdigits as jd
        >>> found = measure(jd.load("digits"), jd.data.load("digits", "test"), CONDITIONS[:1])
        >>> found[0].kind, found[0].accuracy > 0.8
        ('clean', True)
    """
    run.check_classes(dataset)
    images = jnp.asarray(dataset.images)
    results = []
    for condition in conditions:
        predicted = run.predict(changed(condition, images))
        accuracy = float(np.mean(predicted == dataset.labels))
        results.append(Measured(condition.kind, condition.strength, accuracy))
    return results


def mean(results: Sequence[Measured]) -> float:
    """The mean accuracy on changed images: all but the clean ones.

    Example:
        >>> mean([Measured("clean", "", 0.99), Measured("blur", "1", 0.5)])
        0.5
    """
    return fmean(result.accuracy for result in results if result.kind != "clean")


def table(results: Sequence[Measured]) -> str:
    """A line for each kind, its strengths beside one another, and the mean of all but the clean.

    Example:
        >>> print(table([Measured("clean", "", 0.99), Measured("blur", "1", 0.5)]))
        clean        99.0 %
        blur         50.0 %  (1)
        mean         50.0 %  of all changes
    """
    lines = []
    for kind in dict.fromkeys(result.kind for result in results):
        mine = [result for result in results if result.kind == kind]
        figures = "  ".join(f"{100 * result.accuracy:5.1f}" for result in mine)
        strengths = ", ".join(result.strength for result in mine if result.strength)
        lines.append(f"{kind:11}{figures} %" + f"  ({strengths})" * bool(strengths))
    lines.append(f"{'mean':11}{100 * mean(results):5.1f} %  of all changes")
    return "\n".join(lines)
