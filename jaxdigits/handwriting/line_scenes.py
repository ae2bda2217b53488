"""Lines of writing as pure functions of a key, with the symbols in them: see `scenes`."""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax, random
from jaxtyping import Array, Float, Int, Key

from jaxdigits.handwriting.glyphs import (
    SCRIBBLE,
    SIGNS,
    WIDTHS,
    Characters,
    Glyph,
    blur,
    chance,
    draw,
    reach,
    sign_lines,
    uniform,
)
from jaxdigits.handwriting.line_network import HEIGHT, TALL, UNKNOWN

WIDTH = 192
"""Columns of a line."""

MOST = 12
"""Symbols in a line."""

_PATCH = 48  # columns that are drawn of one


class Line(NamedTuple):
    """A line of writing.

    Attributes:
        ink: 0..1.
        symbols: numbers of `SYMBOLS`, from the left; 0 after the last.
    """

    ink: Float[Array, "32 192"]
    symbols: Int[Array, "12"]


def line(key: Key[Array, ""], characters: Characters, labels: Int[Array, " n"]) -> Line:
    """Draw a line.

    Args:
        key: decides all of it.
        characters: to choose from; the first half are digits, the others letters.
        labels: numbers of `SYMBOLS`, of the characters.
    """
    keys = iter(random.split(key, 40))
    count = random.randint(next(keys), (), jnp.where(chance(next(keys), 0.3), 1, 5), MOST + 1)
    shapes, which = _choose(keys, labels)
    boxes = characters.boxes[which]
    tall, wide = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    scale = TALL / 20 * jnp.exp(0.1 * random.normal(next(keys), ()))
    scale = scale * jnp.exp(0.1 * random.normal(next(keys), (MOST,)))
    aspect = 0.15 * random.normal(next(keys), ()) + 0.05 * random.normal(next(keys), (MOST,))
    sizes = jnp.stack([scale, scale * jnp.exp(aspect)], axis=1)
    widths = jnp.where(shapes < 0, wide * sizes[:, 1], TALL * jnp.asarray(WIDTHS)[shapes])
    drop = jnp.where(shapes < 0, (20 - tall) * scale / 2 * chance(next(keys), 0.5), 0)
    drop = drop + TALL * 0.06 * random.normal(next(keys), (MOST,))
    gap = uniform(next(keys), -0.1, 0.5)
    space = chance(next(keys), 0.1, (MOST,)) * uniform(next(keys), 0.4, 1.5, (MOST,))
    gaps = TALL * (gap + 0.06 * random.normal(next(keys), (MOST,)) + space)
    steps = (widths + jnp.roll(widths, -1)) / 2 + gaps
    touch = chance(next(keys), 0.5) & chance(next(keys), 0.75, (MOST,))
    closer = TALL * uniform(next(keys), -0.1, 0.05, (MOST,))
    reaches = reach(
        characters.edges[which], boxes, drop, sizes, widths, jnp.asarray(TALL), shapes < 0
    )
    steps = jnp.maximum(jnp.where(touch, reaches + closer, steps), 0.2 * TALL)
    first = widths[0] / 2 + uniform(next(keys), 0, 1.5 * TALL)
    places = first + jnp.cumsum(steps) - steps
    used = (jnp.arange(MOST) < count) & (places + widths / 2 < WIDTH)
    used = jnp.cumprod(used).astype(bool)
    slope = 0.03 * random.normal(next(keys), ())
    middle = HEIGHT / 2 + 0.06 * TALL * random.normal(next(keys), ())
    across = middle + drop + slope * (places - WIDTH / 2)

    thin = chance(next(keys), 0.4)
    pen = uniform(next(keys), 0.02, 0.075) * TALL
    thick = uniform(next(keys), 0.5, 1.2)
    slants = 0.15 * random.normal(next(keys), ()) + 0.04 * random.normal(next(keys), (MOST,))
    angles = 0.05 * random.normal(next(keys), (MOST,))
    bends = random.normal(next(keys), (MOST, 2, 2))
    ends = sign_lines(random.split(next(keys), 3), shapes)
    rows = jnp.arange(HEIGHT) + 0.5
    grid = jnp.arange(_PATCH) + 0.5

    def put(number: Array, canvas: Array) -> Array:
        start = jnp.floor(places[number]).astype(jnp.int32) + _PATCH // 2
        glyph = Glyph(
            which[number], shapes[number], sizes[number], angles[number], slants[number],
            bends[number], ends[number], pen, thick, thin,
        )  # fmt: skip
        columns = start - _PATCH + grid - places[number]
        found = draw(characters, glyph, (rows - across[number])[:, None], columns[None], TALL)
        old = lax.dynamic_slice_in_dim(canvas, start, _PATCH, axis=1)
        return lax.dynamic_update_slice_in_dim(canvas, jnp.maximum(old, found), start, axis=1)

    canvas = jnp.zeros((HEIGHT, WIDTH + 2 * _PATCH))
    ink = lax.fori_loop(0, used.sum(), put, canvas)[:, _PATCH:-_PATCH]
    sigma = uniform(next(keys), 0.2, 0.9)
    down, along = (blur(side, sigma).T for side in ink.shape)
    ink = down @ ink @ along
    ink = ink * (1 - uniform(next(keys), 0, 0.3) * random.uniform(next(keys), ink.shape))
    symbols = jnp.where(
        shapes < 0,
        labels[which],
        jnp.where(shapes == SCRIBBLE, UNKNOWN, UNKNOWN + 1 + shapes),
    )
    return Line(jnp.clip(ink, 0, 1), jnp.where(used, symbols, 0))


def _choose(keys: Iterator[Array], labels: Int[Array, " n"]) -> tuple[Array, Array]:
    """What is written: -1 or the number of a sign, and which of the characters."""
    signed = chance(next(keys), 0.4)
    is_sign = signed & chance(next(keys), 0.3, (MOST,))
    shapes = jnp.where(is_sign, random.randint(next(keys), (MOST,), 0, len(SIGNS)), -1)
    shapes = jnp.where(chance(next(keys), 0.01, (MOST,)), SCRIBBLE, shapes)
    # Digits, letters, or both, which are seldom read together.
    half, style = len(labels) // 2, random.choice(next(keys), 3, p=jnp.array([0.45, 0.45, 0.1]))
    low, high = jnp.array([0, half, 0])[style], jnp.array([half, len(labels), len(labels)])[style]
    which = (low + (high - low) * random.uniform(next(keys), (MOST,))).astype(jnp.int32)
    # Twice the same in a row is to be told, too.
    again = chance(next(keys), 0.15, (MOST,))
    same = labels[which] == labels[jnp.roll(which, 1)]
    which = jnp.where(again & ~same, jnp.roll(which, 1), which)
    return shapes, which
