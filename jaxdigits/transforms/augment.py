"""Random changes of images, on the device: pure functions of a key.

| name | what it does with each image, given a strength s |
|---|---|
| `thickness` | makes strokes thicker or thinner by a share uniform in -s..s: see `thicken` |
| `shear` | moves rows right by their distance below the center times a number uniform in -s..s |
| `scale` | multiplies height and width by a factor uniform in 1 - s..1 + s; s is less than 1 |
| `rotate` | turns it counter-clockwise by an angle uniform in -s..s degrees |
| `elastic` | bends it: every place moves with a standard deviation of s pixels, neighbors alike |
| `shift` | moves it by whole pixels, rows and columns each uniform in -s..s. Post C row C5 |
| `blur` | blurs it by a Gaussian of a deviation uniform in 0..s pixels |
| `erase` | sets a rectangle to 0 whose sides are uniform in 0..s pixels, anywhere |
| `contrast` | multiplies it by a number uniform in 1 - s..1; s is less than 1 |
| `noise` | adds normal noise of a deviation uniform in 0..s, and clips to 0..1 |
| `invert` | inverts s pixels, v to 1 - v, drawn with replacement. Post C row C5 |

They are applied in this order; shear, scale, rotate and elastic in one bilinear resampling, which
blurs only once. Images are float [n, height, width], or [n, height, width, channels], whose
channels all change alike, of any size. The ground is 0, and so is all that lies outside of the
image; strokes are bright, up to 1. `jaxdigits.config.AUGMENT` has the default strengths.

Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual
document analysis" (2003), smooth a random move of every pixel. In `elastic` the moves of a grid of
7x7 places are random, with a cubic B-spline between them: smooth too, with a sixteenth of the
random numbers.
"""

# Measured inside a jitted scan over batches of 32 images of 28x28, on one thread of XLA:CPU, in
# microseconds an image, with the random draws:
#   bilinear resampling: map_coordinates 1.8, flat gathers of the 4 corners 2.8, of 2 pairs packed
#     into complex numbers 2.9, one gather of slices of 4 values 4.5, batched matrices 13;
#   shift: dynamic_slice 1.6, selects 2.1, one gather 2.4, products with 0/1 matrices 2.4;
#   invert: 5 updates one after the other 0.5, scattered counts 0.6, compared counts 0.6;
#   rotation, scale, shear and shift 4.2; 2.2 with the shift inside the resampling, which would no
#     longer cut off what the rotation moves out of the image.
# So the simplest is fast enough throughout.

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from jaxdigits.config import AUGMENT, parse_augmentation
from jaxdigits.programs import jit_few
from jaxdigits.transforms import warp
from jaxdigits.transforms.warp import GRID, Images, Warp, per_channel

Augment = Callable[..., Float[Array, "n height width *channels"]]
"""From a random key and images, values 0..1, to images changed at random."""

Shape = tuple[int, int, int]
"""The number of images, their height, and their width."""


class Augmentation(NamedTuple):
    """A random change: what is drawn for each image, and what that does to it.

    Attributes:
        draw: `draw(key, (n, height, width), strength) -> drawn`.
        apply: `apply(images, drawn) -> images`.

    Example:
        >>> bar = jnp.zeros((1, 5, 5)).at[0, :, 2].set(1)
        >>> turned = AUGMENTATIONS["rotate"](jax.random.key(0), bar, 45.0)[0]
        >>> (10 * turned).round().astype(int)
        Array([[ 1,  4,  0,  0,  0],
               [ 1,  9,  4,  0,  0],
               [ 0,  2, 10,  2,  0],
               [ 0,  0,  4,  9,  1],
               [ 0,  0,  0,  4,  1]], dtype=int32)
    """

    draw: Callable[[Key[Array, ""], Shape, Any], Any]
    apply: Callable[..., Array]

    def __call__(
        self,
        key: Key[Array, ""],
        images: Float[Array, "n height width *channels"],
        strength: float | int,
    ) -> Float[Array, "n height width *channels"]:
        """Change images, values 0..1."""
        return self.apply(images, self.draw(key, _shape(images), strength))


def _shape(images: Array) -> Shape:
    count, height, width = images.shape[:3]
    return count, height, width


def _uniform(key: Key[Array, ""], shape: Shape, bound: float) -> Float[Array, " n"]:
    return jax.random.uniform(key, shape[:1], jnp.float32, -bound, bound)


def _below(key: Key[Array, ""], shape: Shape, bound: float) -> Float[Array, " n"]:
    return jax.random.uniform(key, shape[:1], jnp.float32, 0, bound)


def _draw_bend(key: Key[Array, ""], shape: Shape, pixels: float) -> Warp:
    drawn = jax.random.normal(key, (shape[0], 2, GRID, GRID), jnp.float32)
    bends = warp.bend(drawn, shape[1:]).bends
    assert bends is not None
    return Warp(bends=pixels * bends)


def _draw_shift(key: Key[Array, ""], shape: Shape, pixels: int) -> tuple[Array, int]:
    return jax.random.randint(key, (shape[0], 2), 0, 2 * pixels + 1, jnp.int32) - pixels, pixels


def _draw_rectangle(
    key: Key[Array, ""], shape: Shape, pixels: int
) -> Bool[Array, "n height width"]:
    inside = []
    for axis_key, size in zip(jax.random.split(key), shape[1:], strict=True):
        start_key, length_key = jax.random.split(axis_key)
        starts = jax.random.randint(start_key, (shape[0], 1), 0, size, jnp.int32)
        lengths = jax.random.randint(length_key, (shape[0], 1), 0, pixels + 1, jnp.int32)
        places = jnp.arange(size, dtype=jnp.int32)
        inside.append((places >= starts) & (places < starts + lengths))
    rows, columns = inside
    return rows[:, :, None] & columns[:, None, :]


def _draw_noise(key: Key[Array, ""], shape: Shape, deviation: float) -> Images:
    level_key, noise_key = jax.random.split(key)
    levels = _below(level_key, shape, deviation)[:, None, None]
    return levels * jax.random.normal(noise_key, shape, jnp.float32)


def _draw_pixels(key: Key[Array, ""], shape: Shape, count: int) -> Bool[Array, "n height width"]:
    """Draw pixels with replacement; a pixel inverted twice is as before."""
    size = shape[1] * shape[2]
    drawn = jax.random.randint(key, (shape[0], count, 1), 0, size, jnp.int32)
    odd = (drawn == jnp.arange(size, dtype=jnp.int32)).sum(axis=1) % 2 == 1
    return odd.reshape(shape)


@per_channel
def thicken(images: Images, shares: Float[Array, " n"]) -> Images:
    """Make the strokes of each image thicker or thinner, by up to a pixel on each side.

    Args:
        images: values 0..1.
        shares: -1..1. Above 0, each pixel goes this share of the way to the largest of itself and
            its four neighbors, below 0 to the smallest.

    Example:
        >>> bar = jnp.zeros((2, 1, 5)).at[:, :, 2].set(1)
        >>> thicken(bar, jnp.array([1.0, -1.0]))[:, 0].astype(int)
        Array([[0, 1, 1, 1, 0],
               [0, 0, 0, 0, 0]], dtype=int32)
    """
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1)))
    height, width = images.shape[1:]
    near = [
        padded[:, row : row + height, column : column + width]
        for row, column in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    ]
    shares = shares[:, None, None]
    largest, smallest = functools.reduce(jnp.maximum, near), functools.reduce(jnp.minimum, near)
    return images + jnp.where(shares > 0, shares * (largest - images), shares * (images - smallest))


@per_channel
def soften(images: Images, deviations: Float[Array, " n"]) -> Images:
    """Blur each image by a Gaussian of a deviation in pixels, by matrix products on both sides.

    Example:
        >>> dot = jnp.zeros((1, 3, 3)).at[0, 1, 1].set(1)
        >>> (100 * soften(dot, jnp.array([1.0]))[0]).round().astype(int)
        Array([[ 6, 10,  6],
               [10, 16, 10],
               [ 6, 10,  6]], dtype=int32)
    """
    # So narrow a Gaussian is 1 on the pixel itself, and 0 elsewhere.
    narrow = jnp.maximum(deviations, 0.05)[:, None]

    def gaussian(distances: np.ndarray) -> Array:
        return jnp.exp(-((distances / narrow) ** 2) / 2)

    def matrix(size: int) -> Array:
        apart = np.arange(size, dtype=np.float32)
        whole = np.arange(-2 * size, 2 * size + 1, dtype=np.float32)
        weights = gaussian(apart) / gaussian(whole).sum(axis=1, keepdims=True)
        return weights[:, np.abs(apart[:, None] - apart).astype(np.int32)]

    height, width = images.shape[1:]
    rows = jnp.matmul(matrix(height), images, precision="highest")
    return jnp.matmul(rows, matrix(width), precision="highest")


AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    {
        "thickness": Augmentation(_uniform, thicken),
        "shear": Augmentation(lambda *draw: warp.shear(_uniform(*draw)), warp.resample),
        "scale": Augmentation(lambda *draw: warp.scaling(1 + _uniform(*draw)), warp.resample),
        "rotate": Augmentation(lambda *draw: warp.rotation(_uniform(*draw)), warp.resample),
        "elastic": Augmentation(_draw_bend, warp.resample),
        "shift": Augmentation(_draw_shift, lambda images, moves: warp.translate(images, *moves)),
        "blur": Augmentation(_below, soften),
        "erase": Augmentation(
            _draw_rectangle, per_channel(lambda images, inside: jnp.where(inside, 0, images))
        ),
        "contrast": Augmentation(
            lambda *draw: 1 - _below(*draw)[:, None, None],
            per_channel(lambda images, factors: factors * images),
        ),
        "noise": Augmentation(
            _draw_noise, per_channel(lambda images, noise: jnp.clip(images + noise, 0, 1))
        ),
        "invert": Augmentation(
            _draw_pixels, per_channel(lambda images, odd: jnp.where(odd, 1 - images, images))
        ),
    }
)
"""The augmentations by name, in the order in which `make_augment` applies them."""


def make_augment(names: Sequence[str]) -> Augment:
    """Make a function that changes images in all the ways named, each once.

    The order is always that of `AUGMENTATIONS`. What one of them draws does not depend on others.

    Args:
        names: of AUGMENTATIONS, in any order, each with a strength if it is not the default:
            `rotate=15`. None leaves the images as they are.

    Raises:
        ConfigError: there is no such augmentation, or it cannot be so strong.

    Example:
        >>> augment = jax.jit(make_augment(["rotate=15", "shift"]))
        >>> augment(jax.random.key(0), jnp.zeros((64, 28, 28))).shape
        (64, 28, 28)
    """
    strengths = dict(map(parse_augmentation, names))
    chosen = [name for name in AUGMENTATIONS if name in strengths]

    def augment(
        key: Key[Array, ""], images: Float[Array, "n height width *channels"]
    ) -> Float[Array, "n height width *channels"]:
        keys = dict(zip(AUGMENT, jax.random.split(key, len(AUGMENT)), strict=True))
        shape = _shape(images)
        # Only warps follow one another with the same `apply`: they become one.
        for apply, group in itertools.groupby(chosen, lambda name: AUGMENTATIONS[name].apply):
            drawn = [AUGMENTATIONS[name].draw(keys[name], shape, strengths[name]) for name in group]
            images = apply(images, functools.reduce(warp.compose, drawn))
        return images

    return augment


def jitter(
    key: Key[Array, ""], images: Float[Array, "n height width *channels"]
) -> Float[Array, "n height width *channels"]:
    """Shift each image by up to 2 pixels, then invert five: post C row C5 calls it slightly moved.

    Example:
        >>> changed = jitter(jax.random.key(0), jnp.zeros((1, 28, 28)))
        >>> changed.shape, float(changed.sum())
        ((1, 28, 28), 5.0)
    """
    shift_key, invert_key = jax.random.split(key)
    shifted = AUGMENTATIONS["shift"](shift_key, images, 2)
    return AUGMENTATIONS["invert"](invert_key, shifted, 5)


def jittered_copies(
    images: UInt8[Array, "n height width *channels"], draws: int
) -> Iterator[UInt8[Array, "n height width *channels"]]:
    """Jitter images, pixels 0..255, once per draw, with the same keys every time.

    Example:
        >>> copies = jittered_copies(jnp.zeros((1, 28, 28), jnp.uint8), draws=2)
        >>> [int(copy.astype(int).sum()) == 5 * 255 for copy in copies]
        [True, True]
    """
    return (_jitter_pixels(jax.random.key(draw), images) for draw in range(draws))


@jit_few(maxsize=4)
def _jitter_pixels(
    key: Key[Array, ""], images: UInt8[Array, "n height width *channels"]
) -> UInt8[Array, "n height width *channels"]:
    changed = jitter(key, images.astype(jnp.float32) / 255)
    return jnp.round(255 * changed).astype(jnp.uint8)  # exact: an inverted pixel is 255 less it
