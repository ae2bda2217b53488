"""Random changes of images, on the device: pure functions of a key.

Each image of a batch gets its own random draw. The ground is 0, and so is all that lies outside
of the image; ink is bright, up to 1.
"""

# Measured inside a jitted scan over batches of 32 images of 28x28, on one thread of XLA:CPU, in
# microseconds an image, with the random draws:
#   bilinear resampling: map_coordinates 1.8, flat gathers of the 4 corners 2.8, of 2 pairs packed
#     into complex numbers 2.9, one gather of slices of 4 values 4.5, two passes of batched
#     hat-function matrices 13 (and a slightly different interpolation);
#   shift: dynamic_slice 1.6, selects 2.1, one gather 2.4, products with 0/1 matrices 2.4;
#   invert: 5 updates one after the other 0.5, scattered counts 0.6, compared counts 0.6;
#   rotation, scale, shear and shift: 4.2, or 0.14 ms a batch; 2.2 with the shift inside the
#     resampling, which would no longer cut off what the rotation moves out of the image. With
#     invert 5.6. On a busy machine all of this doubles.
# So the simplest is fast enough throughout.

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxdigits.errors import ConfigError

Augment = Callable[[Key[Array, ""], Float[Array, "n height width"]], Float[Array, "n height width"]]
"""From a random key and images to images changed at random."""

DEGREES = 10.0
"""By default images are turned by up to so much, to either side."""

SHARE = 0.1
"""By default images grow, shrink and slant by up to this share."""


def shift(
    key: Key[Array, ""], images: Float[Array, "n height width"], pixels: int = 2
) -> Float[Array, "n height width"]:
    """Moves each image by whole pixels, up or down and left or right. Post C row C5.

    Zeros come in; what leaves on one side does not come back on the other.

    Args:
        key: a random key.
        images: values 0..1.
        pixels: rows and columns each move by a number of -pixels..pixels, all equally likely.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> ink = jnp.ones((1, 2, 2))
        >>> shift(jax.random.key(0), ink, pixels=1)[0].tolist()
        [[0.0, 1.0], [0.0, 1.0]]
    """
    height, width = images.shape[1:]
    draw = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1, jnp.int32)
    edges = ((0, 0), (pixels, pixels), (pixels, pixels))

    def window(image: Array, start: Int[Array, " 2"]) -> Array:
        return jax.lax.dynamic_slice(image, (start[0], start[1]), (height, width))

    return jax.vmap(window)(jnp.pad(images, edges), draw)


def invert(
    key: Key[Array, ""], images: Float[Array, "n height width"], count: int = 5
) -> Float[Array, "n height width"]:
    """Inverts single pixels of each image, v to 1 - v. Post C row C5.

    Args:
        key: a random key.
        images: values 0..1.
        count: pixels drawn in each image, with replacement, all equally likely. They are
            inverted one after the other, so that a pixel drawn twice is as before.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> invert(jax.random.key(0), jnp.zeros((2, 2, 3)), count=1).tolist()
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    height, width = images.shape[1:]
    places = jnp.arange(height * width, dtype=jnp.int32)
    drawn = jax.random.randint(key, (len(images), count, 1), 0, height * width, jnp.int32)
    odd = (drawn == places).sum(axis=1) % 2 == 1
    return jnp.where(odd.reshape(images.shape), 1 - images, images)


def affine(
    images: Float[Array, "n height width"], matrices: Float[Array, "n 2 2"]
) -> Float[Array, "n height width"]:
    """Resamples each image by a linear map about its centre, bilinearly.

    Args:
        images: values 0..1; they stay there, up to rounding.
        matrices: one for each image. It maps a place in the result, as row and column counted
            from the centre, to the place in the image that is shown there.

    Example:
        >>> import jax.numpy as jnp
        >>> quarter_turn = jnp.array([[[0.0, 1.0], [-1.0, 0.0]]])
        >>> affine(jnp.array([[[0.1, 0.2], [0.3, 0.4]]]), quarter_turn)[0]
        Array([[0.2, 0.4],
               [0.1, 0.3]], dtype=float32)
    """
    height, width = images.shape[1:]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    rows = jnp.arange(height, dtype=jnp.float32)[:, None] - middle_row
    columns = jnp.arange(width, dtype=jnp.float32) - middle_column

    def resample(image: Array, matrix: Float[Array, "2 2"]) -> Array:
        # Written out: as a matrix product it would be rounded to few bits on a GPU or a TPU.
        from_row = matrix[0, 0] * rows + matrix[0, 1] * columns + middle_row
        from_column = matrix[1, 0] * rows + matrix[1, 1] * columns + middle_column
        return map_coordinates(image, [from_row, from_column], order=1, mode="constant")

    return jax.vmap(resample)(images, matrices)


def rotate(
    key: Key[Array, ""], images: Float[Array, "n height width"], degrees: float = DEGREES
) -> Float[Array, "n height width"]:
    """Turns each image about its centre, bilinearly.

    Args:
        key: a random key.
        images: values 0..1.
        degrees: the angle is uniform in -degrees..degrees; above 0 is counter-clockwise.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> bar = jnp.zeros((1, 5, 5)).at[0, :, 2].set(1)
        >>> tenths = 10 * rotate(jax.random.key(0), bar, degrees=45.0)[0]
        >>> tenths.round().astype(int)
        Array([[ 1,  4,  0,  0,  0],
               [ 1,  9,  4,  0,  0],
               [ 0,  2, 10,  2,  0],
               [ 0,  0,  4,  9,  1],
               [ 0,  0,  0,  4,  1]], dtype=int32)
    """
    return affine(images, _rotations(key, len(images), degrees))


def scale(
    key: Key[Array, ""], images: Float[Array, "n height width"], share: float = SHARE
) -> Float[Array, "n height width"]:
    """Enlarges or shrinks what each image shows, about its centre, bilinearly.

    Args:
        key: a random key.
        images: values 0..1.
        share: less than 1; height and width are multiplied by one factor, uniform in
            1 - share..1 + share.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> square = jnp.zeros((1, 5, 5)).at[0, 1:4, 1:4].set(1)
        >>> tenths = 10 * scale(jax.random.key(0), square, share=0.5)[0]
        >>> tenths.round().astype(int)
        Array([[ 4,  6,  6,  6,  4],
               [ 6, 10, 10, 10,  6],
               [ 6, 10, 10, 10,  6],
               [ 6, 10, 10, 10,  6],
               [ 4,  6,  6,  6,  4]], dtype=int32)
    """
    return affine(images, _scalings(key, len(images), share))


def shear(
    key: Key[Array, ""], images: Float[Array, "n height width"], share: float = SHARE
) -> Float[Array, "n height width"]:
    """Slants each image: each row moves sideways, bilinearly, the middle one stays.

    Args:
        key: a random key.
        images: values 0..1.
        share: a row moves right by its distance below the centre times a number uniform in
            -share..share.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> bar = jnp.zeros((1, 5, 5)).at[0, :, 2].set(1)
        >>> tenths = 10 * shear(jax.random.key(0), bar, share=0.5)[0]
        >>> tenths.round().astype(int)
        Array([[ 0,  9,  1,  0,  0],
               [ 0,  4,  6,  0,  0],
               [ 0,  0, 10,  0,  0],
               [ 0,  0,  6,  4,  0],
               [ 0,  0,  1,  9,  0]], dtype=int32)
    """
    return affine(images, _shears(key, len(images), share))


def moved(
    key: Key[Array, ""], images: Float[Array, "n height width"]
) -> Float[Array, "n height width"]:
    """Shifts each image by up to 2 pixels, then inverts five: the test of post C row C5.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> changed = moved(jax.random.key(0), jnp.zeros((1, 28, 28)))
        >>> changed.shape, float(changed.sum())
        ((1, 28, 28), 5.0)
    """
    shift_key, invert_key = jax.random.split(key)
    return invert(invert_key, shift(shift_key, images))


def moved_pixels(
    key: Key[Array, ""], images: UInt8[Array, "n height width"]
) -> UInt8[Array, "n height width"]:
    """`moved` for pixels of 0..255, exactly: an inverted one is 255 less what it was.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> blank = jnp.zeros((1, 28, 28), jnp.uint8)
        >>> int(moved_pixels(jax.random.key(0), blank).astype(int).sum()) == 5 * 255
        True
    """
    changed = moved(key, images.astype(jnp.float32) / 255)
    return jnp.round(255 * changed).astype(jnp.uint8)


def moved_otherwise(
    images: UInt8[Array, "n height width"], draws: int
) -> Iterator[UInt8[Array, "n height width"]]:
    """The same images moved so many times, each time otherwise, by keys that are always the same.

    Example:
        >>> import jax.numpy as jnp
        >>> len(list(moved_otherwise(jnp.zeros((1, 28, 28), jnp.uint8), draws=2)))
        2
    """
    move = jax.jit(moved_pixels)
    return (move(jax.random.key(draw), images) for draw in range(draws))


AUGMENTATIONS: Mapping[str, Augment] = MappingProxyType(
    {"shift": shift, "rotate": rotate, "scale": scale, "shear": shear, "invert": invert}
)
"""What `make_augment` knows, by name, each at its default strength."""


def make_augment(names: Sequence[str]) -> Augment:
    """A function that changes images in all the ways named, each once, at its default strength.

    Their order is always the same: shear, scale and rotate, in one resampling, which blurs only
    once; then shift; then invert. What one of them draws does not depend on the others.

    Args:
        names: of AUGMENTATIONS, in any order. None leaves the images as they are.

    Raises:
        ConfigError: there is no such augmentation.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> augment = jax.jit(make_augment(["rotate", "shift"]))
        >>> augment(jax.random.key(0), jnp.zeros((64, 28, 28))).shape
        (64, 28, 28)
    """
    for name in names:
        if name not in AUGMENTATIONS:
            raise ConfigError(
                f"there is no augmentation {name!r}; there are {', '.join(AUGMENTATIONS)}"
            )
    chosen = frozenset(names)

    def augment(
        key: Key[Array, ""], images: Float[Array, "n height width"]
    ) -> Float[Array, "n height width"]:
        count = len(images)
        keys = dict(zip(AUGMENTATIONS, jax.random.split(key, len(AUGMENTATIONS)), strict=True))
        # From the result back to the image, so the last change comes last in the product.
        matrices = []
        if "shear" in chosen:
            matrices.append(_shears(keys["shear"], count, SHARE))
        if "scale" in chosen:
            matrices.append(_scalings(keys["scale"], count, SHARE))
        if "rotate" in chosen:
            matrices.append(_rotations(keys["rotate"], count, DEGREES))
        if matrices:
            images = affine(images, functools.reduce(_product, matrices))
        if "shift" in chosen:
            images = shift(keys["shift"], images)
        if "invert" in chosen:
            images = invert(keys["invert"], images)
        return images

    return augment


def _product(left: Float[Array, "n 2 2"], right: Float[Array, "n 2 2"]) -> Float[Array, "n 2 2"]:
    return jnp.matmul(left, right, precision="highest")


def _rotations(key: Key[Array, ""], count: int, degrees: float) -> Float[Array, "{count} 2 2"]:
    """Random matrices for `affine` that turn by up to `degrees` to either side."""
    angles = jnp.deg2rad(_uniform(key, count, degrees))
    cosines, sines = jnp.cos(angles), jnp.sin(angles)
    return _matrices([[cosines, sines], [-sines, cosines]])


def _scalings(key: Key[Array, ""], count: int, share: float) -> Float[Array, "{count} 2 2"]:
    """Random matrices for `affine` that multiply lengths by 1 - share..1 + share."""
    inverses, zeros = 1 / (1 + _uniform(key, count, share)), jnp.zeros(count, jnp.float32)
    return _matrices([[inverses, zeros], [zeros, inverses]])


def _shears(key: Key[Array, ""], count: int, share: float) -> Float[Array, "{count} 2 2"]:
    """Random matrices for `affine` that move rows by up to `share` of their distance."""
    slants = _uniform(key, count, share)
    ones, zeros = jnp.ones(count, jnp.float32), jnp.zeros(count, jnp.float32)
    return _matrices([[ones, zeros], [-slants, ones]])


def _uniform(key: Key[Array, ""], count: int, bound: float) -> Float[Array, " {count}"]:
    return jax.random.uniform(key, (count,), jnp.float32, -bound, bound)


def _matrices(entries: Sequence[Sequence[Float[Array, " n"]]]) -> Float[Array, "n 2 2"]:
    return jnp.stack([jnp.stack(row, axis=-1) for row in entries], axis=-2)
