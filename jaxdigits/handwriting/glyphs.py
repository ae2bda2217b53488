"""Characters and signs that a pen draws, as functions of where and how: see `scenes`.

Lengths are in pixels of what is drawn on, unless stated otherwise. Places are rows before columns.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, Int8, UInt8
from scipy import ndimage

from jaxdigits.transforms.skeleton import skeletonize

SIGNS = "-+=.,/:"
"""The signs that are told from characters, in the order of their classes."""

SCRIBBLE = len(SIGNS)
"""The number, among shapes, of what is no character."""

WIDTHS = np.array([0.5, 0.55, 0.5, 0.12, 0.15, 0.5, 0.12, 0.9], np.float32)
"""Of shapes, in heights of characters."""


_DEEP = 4.0  # distances beyond this are clipped, in pixels of 28
_NOWHERE = 1000.0  # pixels
_SEGMENTS = 8


class Characters(NamedTuple):
    """Characters to put on pages.

    Attributes:
        distances: how far it is to the edge of a stroke, positive in it; 127 is 4 pixels.
        middles: how far it is to the middle of a stroke, below 0; -127 is 4 pixels or more.
        boxes: top, left, bottom, right of its ink, in pixels.
        depths: the largest distance in it, in pixels.
        edges: of each row where its ink begins and ends, in pixels; of a row without ink that is
            far to the right and far to the left.
    """

    distances: Int8[Array, "n 28 28"]
    middles: Int8[Array, "n 28 28"]
    boxes: Float[Array, "n 4"]
    depths: Float[Array, " n"]
    edges: Float[Array, "n 28 2"]


class Glyph(NamedTuple):
    """How one character or sign is drawn.

    Attributes:
        which: of the characters.
        shape: -1 for a character, else the number of a sign.
        size: rows and columns, pixels for one of the character's image.
        angle: by which it is turned, counter-clockwise.
        slant: columns to the right for each row up.
        bend: how its strokes wave, [2, 2].
        ends: of the lines that a sign is made of.
        radius: half of the width of a stroke.
        thick: the width of a character's strokes, over what it was.
        thin: whether its strokes have one width instead, that of the pen.
    """

    which: Array
    shape: Array
    size: Array
    angle: Array
    slant: Array
    bend: Array
    ends: Array
    radius: Array
    thick: Array
    thin: Array


def prepare(images: UInt8[np.ndarray, "n 28 28"]) -> Characters:
    """Measure characters: bright on 0, of any form."""
    fine = 3
    distances, middles = np.empty(images.shape, np.int8), np.full(images.shape, -127, np.int8)
    boxes = np.zeros((len(images), 4), np.float32)
    depths = np.zeros(len(images), np.float32)
    edges = np.tile(np.array([_NOWHERE, -_NOWHERE], np.float32), (len(images), 28, 1))
    for number, image in enumerate(images):
        padded = np.pad(image.astype(np.float32), 1)
        large = np.asarray(ndimage.zoom(padded, fine, order=1, grid_mode=True, mode="nearest"))
        inked = large[fine:-fine, fine:-fine] > 110
        inside = np.asarray(ndimage.distance_transform_edt(inked))
        outside = np.asarray(ndimage.distance_transform_edt(~inked)) if inked.any() else 99.0
        signed = np.where(inked, inside - 0.5, 0.5 - outside)[1::fine, 1::fine] / fine
        distances[number] = np.round(np.clip(signed / _DEEP, -1, 1) * 127)
        skeleton = skeletonize(inked)
        if skeleton.any():
            away = np.asarray(ndimage.distance_transform_edt(~skeleton))[1::fine, 1::fine] / fine
            middles[number] = np.round(np.clip(-away / _DEEP, -1, 0) * 127)
        rows, columns = (np.flatnonzero(inked.any(axis=axis)) for axis in (1, 0))
        if len(rows):
            boxes[number] = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / fine
        depths[number] = max(float(signed.max()), 0.3)
        for row, part in enumerate(inked.reshape(28, -1)):
            columns = np.flatnonzero(part.reshape(fine, -1).any(axis=0))
            if len(columns):
                edges[number, row] = columns[0] / fine, (columns[-1] + 1) / fine
    return Characters(*map(jnp.asarray, (distances, middles, boxes, depths, edges)))


def draw(
    characters: Characters, glyph: Glyph, rows: Array, columns: Array, height: Array | float
) -> Array:
    """How much of each pixel its ink covers, 0..1.

    Args:
        characters: to choose from.
        glyph: what to draw.
        rows: of pixels, from its middle.
        columns: likewise.
        height: of characters.
    """
    cosine, sine = jnp.cos(glyph.angle), jnp.sin(glyph.angle)
    v, u = cosine * rows + sine * columns, -sine * rows + cosine * columns
    u = u + glyph.slant * v
    waves, bend = 0.035 * height * glyph.bend, glyph.bend
    v, u = (
        v + waves[0, 0] * jnp.sin(u / height * 3 + 9 * bend[0, 1]),
        u + waves[1, 0] * jnp.sin(v / height * 3 + 9 * bend[1, 1]),
    )
    box = characters.boxes[glyph.which]
    y = v / glyph.size[0] + (box[0] + box[2]) / 2 - 0.5
    x = u / glyph.size[1] + (box[1] + box[3]) / 2 - 0.5
    image = jnp.where(
        glyph.thin, characters.middles[glyph.which], characters.distances[glyph.which]
    )
    inside = _bilinear(image, y, x) * (_DEEP / 127)
    wider = (glyph.thick - 1) * 0.75 * characters.depths[glyph.which]
    scale = glyph.size.mean()
    written = jnp.where(glyph.thin, inside * scale + glyph.radius, (inside + wider) * scale)
    away = jax.vmap(lambda two: _to_segment(v / height, u / height, two))(glyph.ends)
    drawn = glyph.radius - away.min(axis=0) * height
    return jnp.clip(jnp.where(glyph.shape < 0, written, drawn) + 0.5, 0, 1)


def _bilinear(image: Array, y: Array, x: Array) -> Array:
    """Values between pixels; -127 outside."""
    padded = jnp.pad(image.astype(jnp.float32), 1, constant_values=-127.0)
    y, x = jnp.clip(y + 1, 0, 28.999), jnp.clip(x + 1, 0, 28.999)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    dy, dx = y - top, x - left
    flat = padded.reshape(-1)
    at = lambda r, c: flat[r * 30 + c]  # noqa: E731
    upper = at(top, left) * (1 - dx) + at(top, left + 1) * dx
    lower = at(top + 1, left) * (1 - dx) + at(top + 1, left + 1) * dx
    return upper * (1 - dy) + lower * dy


def sign_lines(keys: Array, shapes: Array) -> Array:
    """Lines that make up signs, a little different each time; see `Glyph`.

    Args:
        keys: three.
        shapes: numbers of signs; those of characters mean nothing.
    """
    lines = jnp.asarray(_shape_lines())[shapes]
    scales = jnp.exp(0.22 * random.normal(keys[0], (*shapes.shape, 1, 1, 2)))
    lines = lines * scales + 0.025 * random.normal(keys[1], lines.shape)
    return jnp.where(
        (shapes == SCRIBBLE)[..., None, None, None],
        lines + 0.1 * random.normal(keys[2], lines.shape),
        lines,
    )


def _shape_lines() -> np.ndarray:
    """Lines that make up each sign: [shapes, lines, 2 ends, 2], in heights of characters."""
    shapes = [
        [[(0, -0.25), (0, 0.25)]],
        [[(0, -0.26), (0, 0.26)], [(-0.26, 0), (0.26, 0)]],
        [[(-0.14, -0.25), (-0.14, 0.25)], [(0.14, -0.25), (0.14, 0.25)]],
        [[(0.46, 0), (0.46, 0.01)]],
        [[(0.42, 0.03), (0.6, -0.07)]],
        [[(0.62, -0.24), (-0.62, 0.24)]],
        [[(-0.12, 0), (-0.12, 0.01)], [(0.32, 0), (0.32, 0.01)]],
        [[(-0.4, -0.4), (0.4, -0.25)], [(0.4, -0.25), (-0.4, -0.1)], [(-0.4, -0.1), (0.4, 0.05)],
         [(0.4, 0.05), (-0.4, 0.2)], [(-0.4, 0.2), (0.4, 0.4)], [(-0.3, -0.45), (0.1, 0.45)],
         [(0.4, -0.45), (-0.4, 0.35)], [(0.0, -0.45), (0.1, 0.45)]],
    ]  # fmt: skip
    return np.array(
        [[lines[n % len(lines)] for n in range(_SEGMENTS)] for lines in shapes], np.float32
    )


def _to_segment(row: Array, column: Array, ends: Array) -> Array:
    """How far places are from a line between two ends."""
    (r0, c0), (r1, c1) = ends
    dr, dc = r1 - r0, c1 - c0
    t = ((row - r0) * dr + (column - c0) * dc) / jnp.maximum(dr**2 + dc**2, 1e-6)
    t = jnp.clip(t, 0, 1)
    return jnp.sqrt((row - r0 - t * dr) ** 2 + (column - c0 - t * dc) ** 2 + 1e-9)


def reach(
    edges: Array,
    boxes: Array,
    drop: Array,
    sizes: Array,
    widths: Array,
    height: Array,
    drawn: Array,
) -> Array:
    """How far the middle of each character is from that of the next where their ink just touches.

    Args:
        edges: of their rows, in pixels of their images, as all that follows: of each slot.
        boxes: of their ink.
        drop: how far below the middle of the line they are.
        sizes: pixels of the scene for one of the image, down and to the right.
        widths: of their ink, in the scene.
        height: of characters.
        drawn: whether it is a character; a sign has no rows.
    """
    levels = height * jnp.linspace(-0.7, 0.7, 24)
    rows = (levels - drop[:, None]) / sizes[:, :1] + (boxes[:, :1] + boxes[:, 2:3]) / 2
    within = (rows >= 0) & (rows < 28) & drawn[:, None]
    rows = jnp.clip(rows.astype(jnp.int32), 0, 27)
    middle = (boxes[:, 1:2] + boxes[:, 3:4]) / 2
    left, right = (
        (jnp.take_along_axis(edges[..., side], rows, axis=1) - middle) * sizes[:, 1:]
        for side in (0, 1)
    )
    half = widths[:, None] / 2
    left = jnp.where(within, left, jnp.where(drawn[:, None], _NOWHERE, -half))
    right = jnp.where(within, right, jnp.where(drawn[:, None], -_NOWHERE, half))
    found = (right - jnp.roll(left, -1, axis=0)).max(axis=1)
    beside = (widths + jnp.roll(widths, -1)) / 2
    return jnp.where(found > -_NOWHERE / 2, jnp.clip(found, 0.3 * beside, beside), beside)


def blur(side: int, sigma: Array) -> Array:
    """The matrix that blurs a side of a picture; its rows sum to 1."""
    apart = jnp.arange(side)[:, None] - jnp.arange(side)
    weights = jnp.exp(-0.5 * (apart / sigma) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def uniform(key: Array, low: float | int, high: float | int, shape: tuple[int, ...] = ()) -> Array:
    """Random numbers between two."""
    return random.uniform(key, shape, minval=low, maxval=high)


def chance(key: Array, share: float, shape: tuple[int, ...] = ()) -> Array:
    """Whether something happens that does so in this share of cases."""
    return random.bernoulli(key, share, shape)
