"""How a scene is lit and taken: shadows, blur, noise, and what is cut off: see `scenes`."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array

from jaxdigits.handwriting.glyphs import blur, chance, uniform
from jaxdigits.handwriting.scene_layout import SIZE


def noise(key: Array, cells: int, shape: tuple[int, int] = (SIZE, SIZE)) -> Array:
    """Smooth noise of deviation 1 or less."""
    return jax.image.resize(random.normal(key, (cells, cells)), shape, "linear")


def light(key: Array, pixels: Array) -> Array:
    """Light the page, and take a picture of it."""
    keys = iter(random.split(key, 20))
    grid = jnp.linspace(-1, 1, SIZE)
    fall = random.normal(next(keys), (2,)) * uniform(next(keys), 0, 0.3)
    level = 1 + fall[0] * grid[:, None] + fall[1] * grid[None]
    level = level * (1 + 0.08 * noise(next(keys), 4))
    way = uniform(next(keys), 0, 6.3)
    edge = jnp.cos(way) * grid[:, None] + jnp.sin(way) * grid[None] - uniform(next(keys), -0.7, 0.7)
    shadow = jax.nn.sigmoid(edge * jnp.exp(uniform(next(keys), 1.0, 4.0)))
    level = level * (1 - shadow * uniform(next(keys), 0.1, 0.55) * chance(next(keys), 0.35))
    pixels = pixels * jnp.clip(level, 0.15, 1.6)[..., None]
    dim = jnp.where(
        chance(next(keys), 0.25), uniform(next(keys), 0.3, 0.65), uniform(next(keys), 0.75, 1.1)
    )
    pixels = jnp.clip(pixels * dim, 0, 1)
    sigma = uniform(next(keys), 0.2, 1.3)
    smooth = blur(SIZE, sigma)
    pixels = jnp.einsum("hi,ijc,wj->hwc", smooth, pixels, smooth)
    gray = dim * uniform(next(keys), 0, 0.045) * random.normal(next(keys), (SIZE, SIZE, 1))
    colored = dim * uniform(next(keys), 0, 0.03) * random.normal(next(keys), (SIZE, SIZE, 3))
    return jnp.clip(pixels + gray + colored, 0, 1)


def crop(key: Array, ink: Array, height: Array) -> Array:
    """Where the picture is: all of the scene, or a part around what is written."""
    keys = random.split(key, 4)
    margins = height * jnp.exp(uniform(keys[0], np.log(0.03), np.log(2.5), (4,)))
    margins = jnp.where(chance(keys[1], 0.5), margins[0], margins)
    near = chance(keys[2], 0.4)
    grid = jnp.arange(SIZE)
    inked = ink > 0.3
    rows, columns = inked.any(axis=1), inked.any(axis=0)
    low = lambda marks: jnp.where(marks, grid, SIZE).min()  # noqa: E731
    high = lambda marks: jnp.where(marks, grid, -1).max()  # noqa: E731
    some = inked.any() & near
    top, bottom = low(rows) - margins[0], high(rows) + margins[1]
    left, right = low(columns) - margins[2], high(columns) + margins[3]
    within = ((grid >= top) & (grid <= bottom))[:, None] & ((grid >= left) & (grid <= right))[None]
    return jnp.where(some, within, True).astype(jnp.float32)
