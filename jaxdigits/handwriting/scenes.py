"""Pages of handwriting as pure functions of a key, with the truth about every pixel.

Real characters stand in lines on paper, in forms, on boards; a pen, a hand, a lamp, and a camera
change them. What is known of each: which pixels are ink of a character or of a sign, how far it is
from there to the middle of that character, and which way is up.

    characters = prepare(dataset.images)
    pixels, truth = jax.jit(partial(scene, characters=characters))(jax.random.key(0))

Lengths are in pixels of the scene. Places are rows before columns.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jaxtyping import Array, Float, Int, Key

from jaxdigits.handwriting.camera import crop, light, noise
from jaxdigits.handwriting.glyphs import (
    SCRIBBLE,
    SIGNS,
    Characters,
    Glyph,
    chance,
    draw,
    sign_lines,
    uniform,
)
from jaxdigits.handwriting.scene_ground import draw_ground, ink_color, put_ink
from jaxdigits.handwriting.scene_layout import (
    LARGEST,
    SIZE,
    SLOTS,
    SMALLEST,
    USUAL,
    Layout,
    make_layout,
)

GROUND, CHARACTER = 0, 1
"""The first classes of pixels; those of `SIGNS` follow."""

NUM_CLASSES = 2 + len(SIGNS)

UNIT = 16.0
"""Pixels that a distance of 1 stands for in `Truth.offsets`."""

_PATCH = 96  # pixels along the side of what is drawn of one
_SPREAD = 0.07  # of middles, in heights of characters
_BLOCKS = np.arange(1, SIZE, 2, dtype=np.float32)  # the middles of blocks of 2x2


class Truth(NamedTuple):
    """What is known of the pixels of a scene.

    Attributes:
        ink: how much of a pixel is covered by ink of a character or a sign, 0..1.
        classes: of which, if it is.
        offsets: the way to its middle, rows and columns, in `UNIT`.
        middles: of blocks of 2x2, how near the middle of a character or a sign is, 1 at it; below 0
            where that is not to be learned.
        up: (cosine, sine) of the angle by which the page is turned.
        valid: 1 within the picture, 0 beyond its border.
        counts: 1 where the truth is to be learned; 0 where characters are nearly too small.
        written: like `ink`, also of characters that are too small or too large to count.
        size: the logarithm of their height, over that of `USUAL`.
        known: 1 if the page is upright and characters are nearly of the usual size; a picture that
            was brought to that says so.
    """

    ink: Float[Array, "height width"]
    classes: Int[Array, "height width"]
    offsets: Float[Array, "height width 2"]
    middles: Float[Array, "rows columns"]
    up: Float[Array, " 2"]
    valid: Float[Array, "height width"]
    counts: Float[Array, "height width"]
    written: Float[Array, "height width"]
    size: Float[Array, ""]
    known: Float[Array, ""]


def scene(key: Key[Array, ""], characters: Characters) -> tuple[Float[Array, "256 256 3"], Truth]:
    """Draw a scene.

    Args:
        key: decides all of it.
        characters: to choose from.

    Returns:
        its pixels, red, green, and blue of 0..1, 0 beyond the picture's border; and the truth.
    """
    keys = random.split(key, 7)
    layout = make_layout(keys[0], characters)
    ink, classes, offsets, middles, second = _write(keys[1], layout, characters)
    pixels, rest = draw_ground(keys[2], layout)
    pixels = _ink(keys[3], pixels, ink, rest, second)
    pixels = light(keys[4], pixels)
    valid = crop(keys[5], ink, layout.height)
    up = jnp.stack([jnp.cos(layout.angle), jnp.sin(layout.angle)])
    # Seen from near, strokes are no characters: those are to be found at another scale.
    near = (layout.height > 0.68 * LARGEST) & chance(keys[6], 0.4) & ~layout.known
    height = jnp.where(near, 2 * layout.height, layout.height)
    pixels = jnp.where(near, _nearer(pixels), pixels)
    valid = jnp.where(near, _nearer(valid[..., None])[..., 0], valid)
    far, close = height < SMALLEST - 3, height > 1.3 * LARGEST
    fit = (height >= SMALLEST) & (height <= LARGEST)
    counts = jnp.where(far | close, 1.0, fit)
    counts = jnp.where(counts > 0, 1.0, ink < 0.05)
    written = jnp.where(near, _nearer(ink[..., None])[..., 0], ink) * valid
    ink = jnp.where(far | close, 0.0, ink)
    middles = jnp.where(far | close, 0.0, jnp.where(fit, middles, -1.0))
    truth = Truth(
        ink * valid,
        classes,
        offsets,
        middles,
        up,
        valid,
        valid * counts,
        written,
        jnp.log(height / USUAL),
        layout.known.astype(jnp.float32),
    )
    return pixels * valid[..., None], truth


def network_input(pixels: Float[Array, "*n 3"], truth: Truth) -> Float[Array, "*n 4"]:
    """What the network is given of a scene: a half beyond what is known of scale and turn."""
    where = truth.valid * (0.5 + 0.5 * truth.known[..., None, None])
    return jnp.concatenate([pixels, where[..., None]], axis=-1)


def _nearer(pixels: Array) -> Array:
    """The middle of a scene, twice as large."""
    half = SIZE // 2
    middle = lax.dynamic_slice(pixels, (half // 2, half // 2, 0), (half, half, pixels.shape[-1]))
    return jax.image.resize(middle, pixels.shape, "linear")


def _write(
    key: Array, layout: Layout, characters: Characters
) -> tuple[Array, Array, Array, Array, Array]:
    """Draw the characters: ink, classes, offsets, middles, and which of two pens wrote them."""
    keys = random.split(key, 13)
    thin = chance(keys[12], 0.4)  # strokes of one width, not those of the dataset
    pen = uniform(keys[0], 0.015, 0.075) * layout.height  # half of its stroke, and of signs'
    thick = uniform(keys[1], 0.5, 1.15)
    slant = 0.12 * random.normal(keys[2], ())
    slants = slant + 0.05 * random.normal(keys[3], (SLOTS,))
    angles = layout.angle + 0.05 * random.normal(keys[4], (SLOTS,))
    wobble = random.normal(keys[5], (SLOTS, 2, 2))
    seconds = chance(keys[6], 0.5, (SLOTS,))
    per_line = chance(keys[7], 0.5)
    seconds = jnp.where(per_line, seconds[jnp.arange(SLOTS) // layout.per_line], seconds)
    lines = sign_lines(keys[8:11], layout.shapes)
    pens = pen * jnp.exp(0.15 * random.normal(keys[11], (SLOTS,)))
    dots = (layout.shapes == 3) | (layout.shapes == 6)
    pens = jnp.where(dots, 1.25 * pens, pens)
    cosine, sine = jnp.cos(layout.angle), jnp.sin(layout.angle)
    across, along = layout.places[:, 0], layout.places[:, 1]
    # Counter-clockwise as seen: along goes to the right and up.
    middles = layout.center + jnp.stack(
        [cosine * across - sine * along, sine * across + cosine * along], axis=1
    )
    grid = jnp.arange(_PATCH) + 0.5

    def put(number: Array, canvas: Array) -> Array:
        slot = (leaf[order[number]] for leaf in slots)
        middle, angle, slant, bend, shape, size, which, ends, radius, second = slot
        start = jnp.floor(middle).astype(jnp.int32) + _PATCH // 2  # of the patch, in the canvas
        start = jnp.clip(start, 0, SIZE + _PATCH)
        rows = (start[0] - _PATCH + grid - middle[0])[:, None]
        columns = (start[1] - _PATCH + grid - middle[1])[None, :]
        glyph = Glyph(which, shape, size, angle, slant, bend, ends, radius, thick, thin)
        found = draw(characters, glyph, rows, columns, layout.height)
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        kind = jnp.where(shape < 0, CHARACTER, jnp.where(shape == SCRIBBLE, GROUND, shape + 2))
        # Dots and commas are not where their slot is.
        aside = jnp.where(shape < 0, 0.0, layout.height * ends.mean(axis=(0, 1)))
        down = cosine * aside[0] - sine * aside[1] - rows
        right = sine * aside[0] + cosine * aside[1] - columns
        layers = jnp.stack(
            [found, *(jnp.broadcast_to(x, found.shape) for x in (kind, down, right, second))]
        )
        old = lax.dynamic_slice(canvas, (0, *start), (5, _PATCH, _PATCH))
        new = jnp.where(found > old[0], layers, old)
        return lax.dynamic_update_slice(canvas, new, (0, *start))

    canvas = jnp.zeros((5, SIZE + 2 * _PATCH, SIZE + 2 * _PATCH))
    slots = (
        middles, angles, slants, wobble, layout.shapes, layout.sizes, layout.which, lines,
        pens, seconds,
    )  # fmt: skip
    order = jnp.argsort(~layout.used)  # those first, so that no others are drawn
    canvas = lax.fori_loop(0, layout.used.sum(), put, canvas)
    canvas = canvas[:, _PATCH:-_PATCH, _PATCH:-_PATCH]
    offsets = jnp.moveaxis(canvas[2:4], 0, -1) / UNIT
    # Dots and commas are not where their slot is.
    aside = jnp.where(layout.shapes[:, None] < 0, 0.0, layout.height * lines.mean(axis=(1, 2)))
    aside = jnp.stack([cosine * aside[:, 0] - sine * aside[:, 1],
                       sine * aside[:, 0] + cosine * aside[:, 1]], axis=1)  # fmt: skip
    seen = layout.used & (layout.shapes != SCRIBBLE)
    places = jnp.where(seen[:, None], middles + aside, -float(SIZE))
    heat = _heat(places, layout.height)
    return canvas[0], canvas[1].astype(jnp.int32), offsets, heat, canvas[4]


def _heat(places: Array, height: Array) -> Array:
    """How near blocks of 2x2 are to one of the places, 1 at it."""
    near = jnp.exp(-0.5 * ((places[..., None] - _BLOCKS) / (_SPREAD * height)) ** 2)
    return jnp.minimum(jnp.einsum("nr,nc->rc", near[:, 0], near[:, 1]), 1)


def _ink(key: Array, pixels: Array, ink: Array, rest: Array, second: Array) -> Array:
    """Put the ink on the page, of one color or of two."""
    keys = random.split(key, 8)
    inside = (ink > 0.3)[..., None]
    # Ink is darker than most of what it stands on, or brighter.
    ground = jnp.sum(pixels * inside, axis=(0, 1)) / jnp.maximum(inside.sum(), 1)
    light = ground.mean() > 0.45
    one, two = ink_color(keys[0], light), ink_color(keys[1], light)
    weak, strong = random.split(keys[2])
    strength = jnp.where(chance(weak, 0.15), uniform(strong, 0.25, 0.45), uniform(strong, 0.4, 1))
    first = strength * one
    other = jnp.where(chance(keys[3], 0.3), uniform(keys[4], 0.4, 1.0) * two, first)
    takes = jnp.where((second > 0.5)[..., None], other, first)
    texture = 1 - uniform(keys[5], 0, 0.5) * jnp.clip(0.5 + 0.7 * noise(keys[6], 128), 0, 1)
    texture = jnp.where(chance(keys[7], 0.4), texture, 1.0)
    takes = takes * (jnp.maximum(ink, rest) * texture)[..., None]
    return put_ink(pixels, takes, light)
