"""Where the characters of a scene are: lines, cells, gaps, and the turn of the page."""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array

from jaxdigits.handwriting.glyphs import SCRIBBLE, SIGNS, WIDTHS, Characters, chance, reach, uniform

SIZE = 256
"""Pixels along each side of a scene."""

SMALLEST, LARGEST = 16.0, 54.0
"""The height of characters that count; smaller and larger ones are for other scales to see."""

USUAL = 34.0
"""The height that suits the network best."""

SLOTS = 40
"""The most characters in a scene."""


class Layout(NamedTuple):
    """Where everything is; slots have an axis in front, places are along and across the lines."""

    known: Array  # whether it is upright and of the usual size
    height: Array  # of characters
    angle: Array  # by which the page is turned, counter-clockwise
    center: Array  # of the block of writing, in the scene
    pitch: Array  # of cells
    spacing: Array  # of lines
    per_line: Array
    lines: Array
    cells: Array  # whether characters are in cells, one each
    block: Array  # half the height and half the width of the block of writing
    used: Array
    shapes: Array  # -1 for a character, else the number of a sign
    which: Array  # of the characters
    places: Array  # [slots, 2], of middles, from the center of the block
    sizes: Array  # [slots, 2], pixels of the scene for one of the character's image


def make_layout(key: Array, characters: Characters) -> Layout:
    """Choose what is where.

    Args:
        key: decides all of it.
        characters: to choose from.
    """
    keys = iter(random.split(key, 48))
    known, height = _height(keys)
    cells = chance(next(keys), 0.3)
    most = jnp.clip(SIZE / (1.1 * height), 1, 14).astype(jnp.int32)
    per_line = random.randint(next(keys), (), 1, most + 1)
    per_line = jnp.where(chance(next(keys), 0.1), 1, per_line)
    fit = jnp.clip(SIZE / (1.6 * height), 1, 8).astype(jnp.int32)
    lines = jnp.where(chance(next(keys), 0.45), 1, random.randint(next(keys), (), 1, fit + 1))
    lines = jnp.minimum(lines, SLOTS // per_line)
    spacing = height * uniform(next(keys), 1.25, 2.4)
    number = jnp.arange(SLOTS)
    row, column = number // per_line, number % per_line
    used = (row < lines) & ~chance(next(keys), 0.03, (SLOTS,)) & ~chance(next(keys), 0.05)
    shapes, which, sizes, drop, widths = _characters(keys, characters, height)
    steps = _steps(keys, characters, height, shapes, which, sizes, drop, widths)
    ends = jnp.cumsum(steps) - steps
    along = ends - ends[jnp.clip(row * per_line, 0, SLOTS - 1)]
    pitch = height * uniform(next(keys), 1.05, 1.9)
    along = jnp.where(
        cells, column * pitch + 0.08 * height * random.normal(next(keys), (SLOTS,)), along
    )
    ragged = chance(next(keys), 0.5) * height * random.normal(next(keys), (SLOTS,))
    along = jnp.where(cells, along, along + ragged[row])
    across = row * spacing + drop
    slope = 0.03 * random.normal(next(keys), (SLOTS,))[row] * (1 - cells)
    across = across + slope * along
    middle, block = _block(along, across, widths, used, height)
    angle = _angle(keys, known)
    room = jnp.maximum(SIZE / 2 - block, 0.1 * SIZE)
    center = SIZE / 2 + room * random.uniform(next(keys), (2,), minval=-1.0, maxval=1.0)
    return Layout(
        known=known,
        height=height,
        angle=angle,
        center=center,
        pitch=pitch,
        spacing=spacing,
        per_line=per_line,
        lines=lines,
        cells=cells,
        block=block,
        used=used,
        shapes=shapes,
        which=which,
        places=jnp.stack([across, along], axis=1) - middle,
        sizes=sizes,
    )


def _height(keys: Iterator[Array]) -> tuple[Array, Array]:
    """Whether the page is as it is seen from near, and the height of its characters."""
    low = jnp.where(chance(next(keys), 0.14), np.log(4.0), np.log(SMALLEST))
    high = jnp.where(low < np.log(SMALLEST), np.log(SMALLEST), np.log(1.05 * LARGEST))
    known = chance(next(keys), 0.6)
    low = jnp.where(known, np.log(22.0), low)
    high = jnp.where(known, np.log(50.0), high)
    return known, jnp.exp(low + (high - low) * random.uniform(next(keys), ()))


def _characters(
    keys: Iterator[Array], characters: Characters, height: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """For each slot its shape, which character, its size, how far it drops, and its width."""
    signed = chance(next(keys), 0.5)
    share = uniform(next(keys), 0.1, 0.5)
    is_sign = signed & (random.uniform(next(keys), (SLOTS,)) < share)
    shapes = jnp.where(is_sign, random.randint(next(keys), (SLOTS,), 0, len(SIGNS)), -1)
    shapes = jnp.where(chance(next(keys), 0.015, (SLOTS,)), SCRIBBLE, shapes)
    which = random.randint(next(keys), (SLOTS,), 0, len(characters.boxes))
    boxes = characters.boxes[which]
    tall, wide = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    scale = height / 20 * jnp.exp(0.1 * random.normal(next(keys), (SLOTS,)))
    # Some scenes have all characters of one height, as print has.
    aspect = jnp.exp(
        0.15 * random.normal(next(keys), ()) + 0.05 * random.normal(next(keys), (SLOTS,))
    )
    sizes = jnp.stack([scale, scale * aspect], axis=1)
    widths = jnp.where(shapes < 0, wide * sizes[:, 1], height * jnp.asarray(WIDTHS)[shapes])
    # Digits stand on the line or in the middle of it.
    drop = jnp.where(shapes < 0, (20 * scale - tall * scale) / 2 * chance(next(keys), 0.5), 0)
    drop = drop + 0.05 * height * random.normal(next(keys), (SLOTS,))
    return shapes, which, sizes, drop, widths


def _steps(
    keys: Iterator[Array],
    characters: Characters,
    height: Array,
    shapes: Array,
    which: Array,
    sizes: Array,
    drop: Array,
    widths: Array,
) -> Array:
    """How far it is from the middle of each to that of the next."""
    style = random.uniform(next(keys), ())
    gap = jnp.select(
        [style < 0.1, style < 0.3],
        [uniform(next(keys), -0.1, 0.06), uniform(next(keys), 0.4, 1.2)],
        uniform(next(keys), 0.06, 0.4),
    )
    space = chance(next(keys), 0.12, (SLOTS,)) * uniform(next(keys), 0.4, 1.2, (SLOTS,))
    gaps = height * (gap + 0.05 * random.normal(next(keys), (SLOTS,)) + space)
    steps = (widths + jnp.roll(widths, -1)) / 2 + gaps
    # In some scenes neighbors touch, as far as their strokes reach, or go on into one another.
    touch = (style > 0.7) & chance(next(keys), 0.75, (SLOTS,))
    closer = height * uniform(next(keys), -0.1, 0.03, (SLOTS,))
    boxes = characters.boxes[which]
    reaches = reach(characters.edges[which], boxes, drop, sizes, widths, height, shapes < 0)
    return jnp.where(touch, reaches + closer, steps)


def _block(
    along: Array, across: Array, widths: Array, used: Array, height: Array
) -> tuple[Array, Array]:
    """The middle of all that is used, and half of its height and width."""
    left, right = along - widths / 2, along + widths / 2
    low = jnp.where(used, left, jnp.inf).min(), jnp.where(used, across, jnp.inf).min()
    high = jnp.where(used, right, -jnp.inf).max(), jnp.where(used, across, -jnp.inf).max()
    middle = jnp.stack([(low[1] + high[1]) / 2, (low[0] + high[0]) / 2])
    block = jnp.stack([(high[1] - low[1]) / 2 + height / 2, (high[0] - low[0]) / 2])
    any_used = used.any()
    return jnp.where(any_used, middle, 0.0), jnp.where(any_used, block, height)


def _angle(keys: Iterator[Array], known: Array) -> Array:
    """By how much the page is turned: little where that is known."""
    turned = random.uniform(next(keys), ())
    return jnp.select(
        [known, turned < 0.3, turned < 0.6],
        [
            jnp.deg2rad(3.5) * jnp.clip(random.normal(next(keys), ()), -3, 3),
            jnp.deg2rad(3.0) * random.normal(next(keys), ()),
            jnp.deg2rad(uniform(next(keys), -35, 35)),
        ],
        jnp.deg2rad(uniform(next(keys), -180, 180)),
    )
