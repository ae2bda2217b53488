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
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxdigits.config import parse_augmentation

Augment = Callable[..., Float[Array, "n height width"]]
"""From a random key, images, and perhaps a strength, to images changed at random."""


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
    draw = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1, jnp.int32)
    return translate(images, draw - pixels, pixels)


def translate(
    images: Float[Array, "n height width"], moves: Int[Array, "n 2"], most: int
) -> Float[Array, "n height width"]:
    """Shows each image from another place on: above 0 what it shows moves up and left.

    Args:
        images: values 0..1; zeros come in.
        moves: by rows and by columns, for each image, whole numbers.
        most: no move is larger.

    Example:
        >>> import jax.numpy as jnp
        >>> translate(jnp.array([[[1.0, 2.0, 3.0]]]), jnp.array([[0, 1]]), most=1)[0].tolist()
        [[2.0, 3.0, 0.0]]
    """
    height, width = images.shape[1:]
    edges = ((0, 0), (most, most), (most, most))

    def window(image: Array, start: Int[Array, " 2"]) -> Array:
        return jax.lax.dynamic_slice(image, (start[0], start[1]), (height, width))

    return jax.vmap(window)(jnp.pad(images, edges), moves + most)


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
    return _resampled(images, matrices=matrices)


def rotate(
    key: Key[Array, ""], images: Float[Array, "n height width"], degrees: float = 10.0
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
    key: Key[Array, ""], images: Float[Array, "n height width"], share: float = 0.1
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
    key: Key[Array, ""], images: Float[Array, "n height width"], share: float = 0.1
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


def elastic(
    key: Key[Array, ""], images: Float[Array, "n height width"], pixels: float = 1.0
) -> Float[Array, "n height width"]:
    """Bends each image: every place moves a little, and neighbours nearly alike.

    Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to
    visual document analysis" (2003), smooth a random move of every pixel. Here the moves of a grid
    of 7x7 places are random, with a cubic B-spline between them: smooth too, with a sixteenth of
    the random numbers.

    Args:
        key: a random key.
        images: values 0..1.
        pixels: the standard deviation of how far a place moves, along rows and along columns.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> bar = jnp.zeros((1, 5, 5)).at[0, :, 2].set(1)
        >>> tenths = 10 * elastic(jax.random.key(0), bar, pixels=0.5)[0]
        >>> tenths.round().astype(int)
        Array([[0, 0, 5, 0, 0],
               [0, 0, 7, 0, 0],
               [0, 2, 5, 0, 0],
               [0, 3, 9, 0, 0],
               [0, 5, 8, 0, 0]], dtype=int32)
    """
    return _resampled(images, _bends(key, images.shape, pixels))


def thickness(
    key: Key[Array, ""], images: Float[Array, "n height width"], share: float = 0.5
) -> Float[Array, "n height width"]:
    """Makes the strokes of each image thicker or thinner, by up to a pixel on each side.

    Args:
        key: a random key.
        images: values 0..1.
        share: 0..1. A number t is uniform in -share..share; above 0, each pixel goes the share t of
            the way to the largest of itself and its four neighbours, below 0 the share -t of the
            way to the smallest.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> bar = jnp.zeros((2, 3, 5)).at[:, :, 2].set(1)
        >>> tenths = 10 * thickness(jax.random.key(3), bar, share=1.0)[:, 1]
        >>> tenths.round().astype(int)
        Array([[ 0,  0,  1,  0,  0],
               [ 0,  9, 10,  9,  0]], dtype=int32)
    """
    return thicken(images, _uniform(key, len(images), share))


def blur(
    key: Key[Array, ""], images: Float[Array, "n height width"], deviation: float = 1.0
) -> Float[Array, "n height width"]:
    """Blurs each image by a Gaussian.

    Args:
        key: a random key.
        images: values 0..1.
        deviation: the Gaussian's is uniform in 0..deviation, in pixels.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> dot = jnp.zeros((1, 3, 3)).at[0, 1, 1].set(1)
        >>> hundredths = 100 * blur(jax.random.key(0), dot)[0]
        >>> hundredths.round().astype(int)
        Array([[ 6, 10,  6],
               [10, 18, 10],
               [ 6, 10,  6]], dtype=int32)
    """
    drawn = jax.random.uniform(key, (len(images),), jnp.float32, 0, deviation)
    return soften(images, drawn)


def contrast(
    key: Key[Array, ""], images: Float[Array, "n height width"], share: float = 0.5
) -> Float[Array, "n height width"]:
    """Makes the ink of each image paler.

    Args:
        key: a random key.
        images: values 0..1.
        share: less than 1; values are multiplied by a number uniform in 1 - share..1.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> tenths = 10 * contrast(jax.random.key(1), jnp.ones((2, 1, 1)))
        >>> tenths.ravel().round().astype(int)
        Array([8, 7], dtype=int32)
    """
    drawn = jax.random.uniform(key, (len(images), 1, 1), jnp.float32, 0, share)
    return (1 - drawn) * images


def noise(
    key: Key[Array, ""], images: Float[Array, "n height width"], deviation: float = 0.1
) -> Float[Array, "n height width"]:
    """Adds normal noise to each image, and cuts off what leaves 0..1.

    Args:
        key: a random key.
        images: values 0..1.
        deviation: the noise's is uniform in 0..deviation, another one for each image.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> grey = jnp.full((1, 28, 28), 0.5)
        >>> bool(0 < noise(jax.random.key(0), grey).std() < 0.1)
        True
    """
    level_key, noise_key = jax.random.split(key)
    levels = jax.random.uniform(level_key, (len(images), 1, 1), jnp.float32, 0, deviation)
    drawn = jax.random.normal(noise_key, images.shape, jnp.float32)
    return jnp.clip(images + levels * drawn, 0, 1)


def erase(
    key: Key[Array, ""], images: Float[Array, "n height width"], pixels: int = 8
) -> Float[Array, "n height width"]:
    """Sets a rectangle of each image to 0.

    Args:
        key: a random key.
        images: values 0..1.
        pixels: height and width of the rectangle are 0..pixels, all equally likely, and its first
            pixel is any of the image.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> erase(jax.random.key(3), jnp.ones((1, 3, 5)), pixels=2)[0].astype(int)
        Array([[1, 1, 1, 0, 0],
               [1, 1, 1, 0, 0],
               [1, 1, 1, 1, 1]], dtype=int32)
    """
    inside = []
    for axis_key, size in zip(jax.random.split(key), images.shape[1:], strict=True):
        start_key, length_key = jax.random.split(axis_key)
        starts = jax.random.randint(start_key, (len(images), 1), 0, size, jnp.int32)
        lengths = jax.random.randint(length_key, (len(images), 1), 0, pixels + 1, jnp.int32)
        places = jnp.arange(size, dtype=jnp.int32)
        inside.append((places >= starts) & (places < starts + lengths))
    rows, columns = inside
    return jnp.where(rows[:, :, None] & columns[:, None, :], 0, images)


def thicken(
    images: Float[Array, "n height width"], shares: Float[Array, " n"]
) -> Float[Array, "n height width"]:
    """Makes the strokes of each image thicker or thinner by a given share: see `thickness`.

    Args:
        images: values 0..1.
        shares: one for each image, -1..1.

    Example:
        >>> import jax.numpy as jnp
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


def soften(
    images: Float[Array, "n height width"], deviations: Float[Array, " n"]
) -> Float[Array, "n height width"]:
    """Blurs each image by a Gaussian of a given deviation, by products with a matrix on both sides.

    Args:
        images: values 0..1.
        deviations: one for each image, in pixels.

    Example:
        >>> import jax.numpy as jnp
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
    {
        "shift": shift,
        "rotate": rotate,
        "scale": scale,
        "shear": shear,
        "invert": invert,
        "elastic": elastic,
        "thickness": thickness,
        "blur": blur,
        "contrast": contrast,
        "noise": noise,
        "erase": erase,
    }
)
"""What `make_augment` knows, by name, each at its default strength."""


def make_augment(names: Sequence[str]) -> Augment:
    """A function that changes images in all the ways named, each once.

    Their order is always the same: thickness; shear, scale, rotate and elastic, in one resampling,
    which blurs only once; then shift, blur, erase, contrast, noise and invert. What one of them
    draws does not depend on the others.

    Args:
        names: of AUGMENTATIONS, in any order, each with a strength if it is not the default's:
            `rotate=15`. None leaves the images as they are.

    Raises:
        ConfigError: there is no such augmentation, or it cannot be so strong.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> augment = jax.jit(make_augment(["rotate=15", "shift"]))
        >>> augment(jax.random.key(0), jnp.zeros((64, 28, 28))).shape
        (64, 28, 28)
    """
    strengths = dict(map(parse_augmentation, names))

    def augment(
        key: Key[Array, ""], images: Float[Array, "n height width"]
    ) -> Float[Array, "n height width"]:
        keys = dict(zip(AUGMENTATIONS, jax.random.split(key, len(AUGMENTATIONS)), strict=True))
        if "thickness" in strengths:
            images = thickness(keys["thickness"], images, strengths["thickness"])
        # From the result back to the image, so the last change comes last in the product.
        matrices = [
            draw(keys[name], len(images), strengths[name])
            for name, draw in (("shear", _shears), ("scale", _scalings), ("rotate", _rotations))
            if name in strengths
        ]
        product = functools.reduce(_product, matrices) if matrices else None
        bends = None
        if "elastic" in strengths:
            bends = _bends(keys["elastic"], images.shape, strengths["elastic"])
        if product is not None or bends is not None:
            images = _resampled(images, bends, product)
        for name in ("shift", "blur", "erase", "contrast", "noise", "invert"):
            if name in strengths:
                images = AUGMENTATIONS[name](keys[name], images, strengths[name])
        return images

    return augment


def _resampled(
    images: Float[Array, "n height width"],
    bends: Float[Array, "n 2 height width"] | None = None,
    matrices: Float[Array, "n 2 2"] | None = None,
) -> Float[Array, "n height width"]:
    """Each place shows what the image has where it is bent to, and where a matrix then maps that.

    Bilinear; 0 outside of the image. Rows and columns are counted from its centre.
    """
    height, width = images.shape[1:]
    rows = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
    columns = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2

    def resample(image: Array, bend: Array | None, matrix: Array | None) -> Array:
        row, column = jnp.broadcast_arrays(rows, columns)
        if bend is not None:
            row, column = row + bend[0], column + bend[1]
        if matrix is not None:
            # Written out: as a matrix product it would be rounded to few bits on a GPU or a TPU.
            row, column = (
                matrix[0, 0] * row + matrix[0, 1] * column,
                matrix[1, 0] * row + matrix[1, 1] * column,
            )
        places = [row - rows[0, 0], column - columns[0]]
        return map_coordinates(image, places, order=1, mode="constant")

    return jax.vmap(resample)(images, bends, matrices)


GRID = 7
"""Places along each side whose moves are drawn by `elastic`."""


def _bends(
    key: Key[Array, ""], shape: tuple[int, ...], pixels: float
) -> Float[Array, "n 2 height width"]:
    """Random smooth moves of all places, by rows and by columns, with this standard deviation."""
    count, height, width = shape
    drawn = jax.random.normal(key, (count, 2, GRID, GRID), jnp.float32)
    from_rows, from_columns = _spline(height), _spline(width)
    return pixels * jnp.einsum("hi,nkij,wj->nkhw", from_rows, drawn, from_columns)


def _spline(size: int) -> Float[Array, "{size} 7"]:
    """Cubic B-splines over a side, one for each place of the grid; unit variance everywhere."""
    places = np.linspace(1, GRID - 2, size)[:, None] - np.arange(GRID)
    away = np.abs(places)
    near, far = 2 / 3 - away**2 + away**3 / 2, np.maximum(2 - away, 0) ** 3 / 6
    weights = np.where(away < 1, near, far)
    return jnp.asarray(weights / np.sqrt((weights**2).sum(axis=1, keepdims=True)), jnp.float32)


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
