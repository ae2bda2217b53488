"""A small convolutional network that reads a line of writing without cutting it into characters.

    ink                   [n, 32, width]
    convolutions 3x3      [n, 16, width/2, 16], [n, 8, width/2, 32], [n, 4, width/2, 64]
    the rows together     [n, width/2, 64]
    convolutions of 5     [n, width/2, 96], three times, the last two added to what they are given
    symbols               [n, width/2, symbols]

It says of each place along the line which symbol is there, or that none is; Graves et al.,
"Connectionist Temporal Classification" (ICML 2006), makes a text of that. It has no memory beyond
its windows, so it knows strokes and no language.
"""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float, Key

from jaxdigits.handwriting.glyphs import SIGNS
from jaxdigits.ops import conv

HEIGHT = 32
"""Rows of a line; characters are `TALL` high, in the middle."""

TALL = 20.0

STEP = 2
"""Pixels along the line from one place to the next."""

BLANK, UNKNOWN = 0, 1
"""The symbols of no character, and of what is none of the others."""

SYMBOLS = ("", "?", *SIGNS, *"0123456789", *"abcdefghijklmnopqrstuvwxyz")
"""What it tells; a letter stands for both of its cases."""

_PLANES = (1, 16, 32, 64)
_WIDTH, _SPAN, _DEEP = 96, 5, 3


def init(key: Key[Array, ""]) -> dict[str, Any]:
    """Initial parameters."""
    keys = iter(random.split(key, 9))

    def layer(shape: tuple[int, ...], gain: float = 2.0) -> dict[str, Array]:
        fan_in = 1
        for side in shape[:-1]:
            fan_in *= side
        kernel = (gain / fan_in) ** 0.5 * random.normal(next(keys), shape)
        return {"kernel": kernel, "bias": jnp.zeros(shape[-1])}

    return {
        "planes": [layer((3, 3, *both)) for both in pairwise(_PLANES)],
        "rows": layer((4 * _PLANES[-1], _PLANES[-1])),
        "along": [
            layer((_SPAN, before, _WIDTH)) for before in (_PLANES[-1], *[_WIDTH] * (_DEEP - 1))
        ],
        "last": layer((_WIDTH, len(SYMBOLS)), 0.1),
    }


def apply(
    params: dict[str, Any], ink: Float[Array, "n 32 width"]
) -> Float[Array, "n places symbols"]:
    """The logits of symbols at each place.

    Args:
        params: from `init`.
        ink: 0..1; the width is a multiple of `STEP`.
    """
    values = ink[..., None] - 0.2
    for number, part in enumerate(params["planes"]):
        values = conv(values, part["kernel"], padding="SAME", method="canonical") + part["bias"]
        values = _halve(jax.nn.relu(values), both=number == 0)
    n, rows, places, planes = values.shape
    values = values.transpose(0, 2, 1, 3).reshape(n, places, rows * planes)
    values = jax.nn.relu(values @ params["rows"]["kernel"] + params["rows"]["bias"])
    for number, part in enumerate(params["along"]):
        found = jax.nn.relu(_along(values, part["kernel"]) + part["bias"])
        values = values + found if number else found
    return values @ params["last"]["kernel"] + params["last"]["bias"]


def _halve(values: Array, *, both: bool) -> Array:
    """Of two rows the larger value, and of two columns."""
    values = jnp.maximum(values[:, ::2], values[:, 1::2])
    return jnp.maximum(values[:, :, ::2], values[:, :, 1::2]) if both else values


def _along(values: Array, kernel: Array) -> Array:
    """A convolution along the line, as one product."""
    half, places = len(kernel) // 2, values.shape[1]
    padded = jnp.pad(values, ((0, 0), (half, half), (0, 0)))
    windows = [padded[:, at : at + places] for at in range(len(kernel))]
    return jnp.concatenate(windows, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
