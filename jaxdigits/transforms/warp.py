"""Geometry of images: pure functions, without randomness.

Images are float [n, height, width], or [n, height, width, channels], whose channels all change
alike. The ground is 0, and so is everything outside of an image.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int

from jaxdigits.environment import target_platform

Images = Float[Array, "n height width"]

Change = TypeVar("Change", bound=Callable[..., Array])


def per_channel(change: Change) -> Change:
    """Let a function of images [n, height, width] take channels too, and change them alike."""

    @functools.wraps(change)
    def changed(images: Array, *args: Any, **kwargs: Any) -> Array:
        if images.ndim == 3:
            return change(images, *args, **kwargs)
        return jax.vmap(lambda channel: change(channel, *args, **kwargs), 3, 3)(images)

    return cast(Change, changed)


@per_channel
def translate(images: Images, moves: Int[Array, "n 2"], most: int) -> Images:
    """Show each image from another place on: moves above 0 go up and left.

    Args:
        images: zeros come in.
        moves: by rows and by columns, for each image, whole numbers.
        most: no move is larger.

    Example:
        >>> translate(jnp.array([[[1.0, 2.0, 3.0]]]), jnp.array([[0, 1]]), most=1)[0].tolist()
        [[2.0, 3.0, 0.0]]
    """
    if target_platform() == "tpu":  # which would take the windows one after the other
        for axis in (1, 2):
            images = _select(images, moves[:, axis - 1], most, axis)
        return images
    height, width = images.shape[1:]
    edges = ((0, 0), (most, most), (most, most))

    def window(image: Array, start: Int[Array, " 2"]) -> Array:
        return lax.dynamic_slice(image, (start[0], start[1]), (height, width))

    return jax.vmap(window)(jnp.pad(images, edges), moves + most)


def _select(images: Images, moves: Int[Array, " n"], most: int, axis: int) -> Images:
    """Move along an axis, by choosing among all the ways that there are."""
    edges = [(0, 0)] * images.ndim
    edges[axis] = (most, most)
    padded, size = jnp.pad(images, edges), images.shape[axis]
    chosen = images
    for move in range(-most, most + 1):
        moved = lax.slice_in_dim(padded, move + most, move + most + size, axis=axis)
        chosen = jnp.where((moves == move)[:, None, None], moved, chosen)
    return chosen


class Warp(NamedTuple):
    """Where in an image each place of the result lies, in pixels from the center.

    Attributes:
        matrices: of places, as row and column; None leaves them where they are.
        bends: what is added to each place before that, by rows and by columns; or None.
    """

    matrices: Float[Array, "n 2 2"] | None = None
    bends: Float[Array, "n 2 height width"] | None = None


@per_channel
def resample(images: Images, warp: Warp) -> Images:
    """Warp each image by one bilinear resampling. Values stay in 0..1, up to rounding."""
    height, width = images.shape[1:]
    rows = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
    columns = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2

    def resample_one(image: Array, bend: Array | None, matrix: Array | None) -> Array:
        row, column = jnp.broadcast_arrays(rows, columns)
        if bend is not None:
            row, column = row + bend[0], column + bend[1]
        if matrix is not None:
            # Written out: as a matrix product it would be rounded to few bits on a GPU or a TPU.
            row, column = (
                matrix[0, 0] * row + matrix[0, 1] * column,
                matrix[1, 0] * row + matrix[1, 1] * column,
            )
        row, column = row - rows[0, 0], column - columns[0]
        if target_platform() == "tpu":
            return _interpolate(image, row, column)
        return map_coordinates(image, [row, column], order=1, mode="constant")

    return jax.vmap(resample_one)(images, warp.bends, warp.matrices)


def _interpolate(
    image: Float[Array, "height width"], row: Float[Array, "a b"], column: Float[Array, "a b"]
) -> Float[Array, "a b"]:
    """Bilinear values at places as a matrix product: a TPU gathers single numbers slowly."""
    height, width = image.shape
    of_rows, of_columns = (
        jnp.maximum(1 - jnp.abs(place.reshape(-1, 1) - jnp.arange(size, dtype=jnp.float32)), 0)
        for place, size in ((row, height), (column, width))
    )
    values = jnp.matmul(of_rows, image, precision="highest") * of_columns
    return values.sum(axis=-1).reshape(row.shape)


def affine(images: Array, matrices: Float[Array, "n 2 2"]) -> Array:
    """Resample each image by a linear map about its center: see `Warp`.

    Example:
        >>> quarter_turn = jnp.array([[[0.0, 1.0], [-1.0, 0.0]]])
        >>> affine(jnp.array([[[0.1, 0.2], [0.3, 0.4]]]), quarter_turn)[0]
        Array([[0.2, 0.4],
               [0.1, 0.3]], dtype=float32)
    """
    return resample(images, Warp(matrices))


def compose(first: Warp, last: Warp) -> Warp:
    """Join two warps, of which one at most bends, in one. Bends of either come last."""
    # From the result back to the image, so the last change comes last in the product.
    given = [warp.matrices for warp in (first, last) if warp.matrices is not None]
    product = functools.partial(jnp.matmul, precision="highest")
    matrices = functools.reduce(product, given) if given else None
    return Warp(matrices, first.bends if last.bends is None else last.bends)


def rotation(degrees: Float[Array, " n"]) -> Warp:
    """Turn by angles, counter-clockwise."""
    angles = jnp.deg2rad(degrees)
    cosines, sines = jnp.cos(angles), jnp.sin(angles)
    return Warp(_matrices([[cosines, sines], [-sines, cosines]]))


def scaling(factors: Float[Array, " n"]) -> Warp:
    """Multiply height and width by factors above 0."""
    inverses, zeros = 1 / factors, jnp.zeros_like(factors)
    return Warp(_matrices([[inverses, zeros], [zeros, inverses]]))


def shear(slants: Float[Array, " n"]) -> Warp:
    """Move each row right by its distance below the center times a slant."""
    ones, zeros = jnp.ones_like(slants), jnp.zeros_like(slants)
    return Warp(_matrices([[ones, zeros], [-slants, ones]]))


def _matrices(entries: Sequence[Sequence[Float[Array, " n"]]]) -> Float[Array, "n 2 2"]:
    return jnp.stack([jnp.stack(row, axis=-1) for row in entries], axis=-2)


GRID = 7
"""Places along each side between which `bend` interpolates."""


def bend(moves: Float[Array, "n 2 7 7"], shape: tuple[int, int]) -> Warp:
    """Move every place a little, and neighbors nearly alike.

    Args:
        moves: in pixels, by rows and by columns, of the places of a grid; a cubic B-spline lies
            between them. Independent moves give every place their variance.
        shape: (height, width) of the images.
    """
    rows, columns = (_spline(size) for size in shape)
    return Warp(bends=jnp.einsum("hi,nkij,wj->nkhw", rows, moves, columns))


def _spline(size: int) -> Float[Array, "{size} 7"]:
    """Cubic B-splines over a side, one for each place of the grid; unit variance everywhere."""
    places = np.linspace(1, GRID - 2, size)[:, None] - np.arange(GRID)
    away = np.abs(places)
    near, far = 2 / 3 - away**2 + away**3 / 2, np.maximum(2 - away, 0) ** 3 / 6
    weights = np.where(away < 1, near, far)
    return jnp.asarray(weights / np.sqrt((weights**2).sum(axis=1, keepdims=True)), jnp.float32)
