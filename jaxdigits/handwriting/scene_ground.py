"""What the characters of a scene stand on: paper, rulings, forms, a table, stains, lines of a pen.

Each part draws its keys from one iterator, in the order of `draw_ground`: another order gives other
scenes, for which the page network was not trained.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array

from jaxdigits.handwriting.camera import noise
from jaxdigits.handwriting.glyphs import chance, uniform
from jaxdigits.handwriting.scene_layout import SIZE, Layout

_Keys = Iterator[Array]


def draw_ground(key: Array, layout: Layout) -> tuple[Array, Array]:
    """Draw what is written on, and what else a pen drew.

    Args:
        key: decides all of it.
        layout: of the scene.

    Returns:
        pixels, 0..1; and the ink of the pen's lines, 0..1, which is not on them yet.
    """
    keys = iter(random.split(key, 80))
    dark = chance(next(keys), 0.22)
    light = ~dark

    def draw(pixels: Array, covered: Array, key: Array, low: float, high: float) -> Array:
        color, strength = random.split(key)
        strength = uniform(strength, low, high)
        takes = ink_color(color, light) * strength * covered[..., None]
        return put_ink(pixels, takes, light)

    pixels = _paper(keys, dark)
    across, along = _coordinates(layout, 0.01 * random.normal(next(keys), ()))
    pixels = draw(pixels, _ruling(keys, layout, across, along), next(keys), 0.08, 0.7)
    pixels = draw(pixels, _form(keys, layout, across, along), next(keys), 0.25, 1.0)
    pixels = _on_a_table(keys, layout, pixels)
    for _ in range(2):
        pixels = draw(pixels, _stain(keys, layout), next(keys), 0.1, 0.9)
    return jnp.clip(pixels, 0, 1), _pen_lines(keys, layout, across, along)


def ink_color(key: Array, light: Array) -> Array:
    """A color of ink: what it takes of each of red, green, and blue, up to 1."""
    takes = jnp.array(
        [[1, 1, 1], [1, 0.8, 0.3], [0.35, 1, 1], [1, 0.45, 0.9], [0.25, 0.6, 1], [0.9, 0.95, 1]]
    )
    first, second = random.split(key)
    chosen = takes[random.randint(first, (), 0, len(takes))]
    chosen = jnp.where(chance(second, 0.5), jnp.ones(3), chosen)
    return jnp.where(light, chosen, 0.6 + 0.4 * chosen)


def put_ink(pixels: Array, takes: Array, light: Array) -> Array:
    """Put ink on a page: it darkens a light one by what it takes, and brightens a dark one."""
    return jnp.where(light, pixels * (1 - takes), pixels + (1 - pixels) * takes)


def _coverage(away: Array, half: Array) -> Array:
    """How much of a pixel a line covers, from the distance to its middle."""
    return jnp.clip(half - jnp.abs(away) + 0.5, 0, 1)


def _coordinates(layout: Layout, tilt: Array) -> tuple[Array, Array]:
    """Across and along of every pixel, from the center of the block."""
    grid = jnp.arange(SIZE) + 0.5
    rows, columns = (grid - layout.center[0])[:, None], (grid - layout.center[1])[None, :]
    cosine, sine = jnp.cos(layout.angle + tilt), jnp.sin(layout.angle + tilt)
    return cosine * rows + sine * columns, -sine * rows + cosine * columns


def _first_line(layout: Layout) -> Array:
    """How far across the middle of the first line is."""
    return -layout.block[0] + layout.height / 2


def _paper(keys: _Keys, dark: Array) -> Array:
    """Paper, or a board."""
    tint = 0.05 * random.normal(next(keys), (3,))
    paper = jnp.where(dark, uniform(next(keys), 0.04, 0.35), uniform(next(keys), 0.62, 1.0))
    paper = jnp.clip(paper + tint, 0.02, 1)
    return paper * (
        1 + 0.02 * noise(next(keys), 64)[..., None] + 0.04 * noise(next(keys), 9)[..., None]
    )


def _ruling(keys: _Keys, layout: Layout, across: Array, along: Array) -> Array:
    """Lines of ruled or squared paper, and its margin."""
    height = layout.height
    bent = across + 2.0 * uniform(next(keys), 0, 1) * jnp.sin(
        along / 60 + uniform(next(keys), 0, 6)
    )
    period = height * jnp.exp(uniform(next(keys), np.log(0.3), np.log(2.2)))
    phase = uniform(next(keys), 0, 1)
    half = uniform(next(keys), 0.25, 1.1) * jnp.clip(height / 40, 0.6, 1.2)

    def nearest(x: Array) -> Array:
        turns = x / period + phase
        return (turns - jnp.floor(turns) - 0.5) * period

    level = _coverage(nearest(bent), half)
    squared = jnp.maximum(level, _coverage(nearest(along), half))
    kind = random.uniform(next(keys), ())
    ruling = jnp.select([kind < 0.2, kind < 0.35], [level, squared], 0.0)
    margin = _coverage(along + layout.block[1] + uniform(next(keys), -1, 2) * height, half)
    return jnp.maximum(ruling, (kind < 0.25) * chance(next(keys), 0.3) * margin)


def _form(keys: _Keys, layout: Layout, across: Array, along: Array) -> Array:
    """Boxes, a comb, or a table around the characters."""
    height = layout.height
    first = _first_line(layout)
    row = jnp.clip(jnp.round((across - first) / layout.spacing), -1, layout.lines)
    origin = layout.pitch * (layout.per_line - 1) / 2
    column = jnp.clip(jnp.round((along + origin) / layout.pitch), -1, layout.per_line)
    y, x = across - first - row * layout.spacing, along + origin - column * layout.pitch
    tall = jnp.minimum(
        layout.spacing * uniform(next(keys), 0.42, 0.5), height * uniform(next(keys), 0.62, 1.2)
    )
    wide = layout.pitch * jnp.where(chance(next(keys), 0.5), 0.5, uniform(next(keys), 0.42, 0.5))
    edge = jnp.maximum(jnp.abs(y) - tall, jnp.abs(x) - wide)
    half = uniform(next(keys), 0.4, 1.6) * jnp.clip(height / 40, 0.6, 1.3)
    box = _coverage(edge, half)
    reach = tall * uniform(next(keys), -0.6, 0.9)
    comb = jnp.maximum(
        _coverage(y - tall, half),
        _coverage(jnp.abs(x) - wide, half) * (y > reach) * (y < tall + half),
    )
    comb = jnp.where(jnp.abs(x) < wide + 2, comb, 0)
    inside = (row >= 0) & (row < layout.lines) & (column >= 0) & (column < layout.per_line)
    style = random.uniform(next(keys), ())
    return jnp.select([style < 0.5, style < 0.95], [box, comb], 0.0) * inside * layout.cells


def _on_a_table(keys: _Keys, layout: Layout, pixels: Array) -> Array:
    """Around the sheet, a table or the frame of a board, in some scenes."""
    tilted = _coordinates(layout, 0.06 * random.normal(next(keys), ()))
    room = layout.block + layout.height * uniform(next(keys), 0.3, 2.0, (2,))
    sides = random.uniform(next(keys), (2, 2)) * layout.height
    outside = jnp.maximum(
        jnp.maximum(tilted[0] - room[0] - sides[0, 0], -room[0] - sides[0, 1] - tilted[0]),
        jnp.maximum(tilted[1] - room[1] - sides[1, 0], -room[1] - sides[1, 1] - tilted[1]),
    )
    table = uniform(next(keys), 0.05, 0.9) + 0.12 * random.normal(next(keys), (3,))
    grain = jnp.stack([noise(next(keys), 6) + 0.5 * noise(next(keys), 40)] * 3, axis=-1)
    table = jnp.clip(table + uniform(next(keys), 0, 0.08) * grain, 0, 1)
    stripes = 1 - 0.25 * chance(next(keys), 0.3) * (
        jnp.sin(tilted[1] / uniform(next(keys), 2, 12)) > 0.8
    )
    table = table * stripes[..., None]
    frame = jnp.clip(uniform(next(keys), 0.1, 0.95) + 0.15 * random.normal(next(keys), (3,)), 0, 1)
    framed = uniform(next(keys), 2, 14) * chance(next(keys), 0.5)
    beyond = jnp.where((outside < framed)[..., None], frame, table)
    shade = 1 - uniform(next(keys), 0, 0.6) * jnp.exp(
        -jnp.maximum(outside, 0) / uniform(next(keys), 1, 6)
    )
    lying = chance(next(keys), 0.35)
    away = jnp.clip(outside + 0.5, 0, 1)[..., None] * lying
    return pixels * (1 - away) + beyond * shade[..., None] * away


def _stain(keys: _Keys, layout: Layout) -> Array:
    """A stain, in some scenes."""
    place = random.uniform(next(keys), (2,), maxval=float(SIZE))
    radii = layout.height * uniform(next(keys), 0.15, 1.5, (2,))
    grid = jnp.arange(SIZE) + 0.5
    far = jnp.sqrt(
        ((grid - place[0]) / radii[0])[:, None] ** 2 + ((grid - place[1]) / radii[1])[None] ** 2
    )
    far = far + 0.15 * noise(next(keys), 24)
    return jax.nn.sigmoid((1 - far) * uniform(next(keys), 3, 30)) * chance(next(keys), 0.12)


def _pen_lines(keys: _Keys, layout: Layout, across: Array, along: Array) -> Array:
    """Lines that a pen drew: below, through, around."""
    height = layout.height
    half = height * uniform(next(keys), 0.025, 0.08)
    below = _first_line(layout) + (
        random.randint(next(keys), (), 0, 8) % layout.lines * layout.spacing
    )
    below = below + height * uniform(next(keys), 0.56, 0.85)
    sloping = 0.03 * random.normal(next(keys), ()) * along + 0.03 * height * jnp.sin(
        along / height * 2 + uniform(next(keys), 0, 6)
    )
    ends = layout.block[1] * random.uniform(next(keys), (2,), minval=0.4, maxval=1.3)
    within = (along > -ends[0]) & (along < ends[1])
    stroke = _coverage(across - below + sloping, half) * within
    through = _coverage(across - below + height * 0.7 + sloping, half) * within
    radii = layout.block * uniform(next(keys), 1.1, 1.5) + height * 0.4
    ring = (jnp.sqrt((across / radii[0]) ** 2 + (along / radii[1]) ** 2 + 1e-6) - 1) * radii.min()
    around = jnp.maximum(jnp.abs(across) - radii[0], jnp.abs(along) - radii[1])
    # Its ends may be turned up, as a bracket's, or be an arrow's head.
    rise = height * uniform(next(keys), 0.1, 0.4)
    up = _coverage(jnp.minimum(jnp.abs(along + ends[0]), jnp.abs(along - ends[1])), half)
    up = up * (across < below) * (across > below - rise)
    head = _coverage((jnp.abs(across - below) - 0.7 * (ends[1] - along)) * 0.8, half) * within
    head = head * (along > ends[1] - rise)
    end = random.uniform(next(keys), ())
    stroke = jnp.maximum(stroke, jnp.select([end < 0.2, end < 0.35], [up, head], 0.0))
    which = random.uniform(next(keys), ())
    bulge = 0.25 * height * (across / radii[0]) ** 2
    bracket = _coverage(jnp.abs(along) - radii[1] + bulge, half)
    bracket = bracket * (jnp.abs(across) < radii[0] * 0.9)
    chances = np.cumsum([0.13, 0.04, 0.04, 0.04, 0.06])
    drawn = [stroke, through, _coverage(ring, half), _coverage(around, half), bracket]
    return jnp.select([which < chance for chance in chances], drawn, 0.0)
