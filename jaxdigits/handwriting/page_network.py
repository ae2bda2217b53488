"""A small fully convolutional network that finds what is written on a page.

    pixels and border     [n, height, width, 4]
    blocks of 2x2         [n, height/2, width/2, 16]
    down to an eighth of that and up again, with the details of each size added on the way

It works in blocks of 2x2 pixels, as most strokes are wider. Ronneberger et al., "U-Net" (arXiv
1505.04597), with blocks that add to what they are given, as in He et al. (arXiv 1512.03385). The
middles of characters, and the way to them, are from Cheng et al., "Panoptic-DeepLab" (arXiv
1911.10194).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float, Key

from jaxdigits.handwriting.scenes import NUM_CLASSES
from jaxdigits.ops import conv

WIDTHS = (16, 32, 64, 64)
"""Channels at each size."""

BLOCKS = (1, 1, 2, 3)
"""Residual blocks on the way down."""

MULTIPLE = 2 ** len(WIDTHS)
"""Heights and widths must be multiples of this."""


class Page(NamedTuple):
    """What the network says of each pixel.

    Attributes:
        logits: of the classes of `jaxdigits.handwriting.scenes`.
        offsets: the way to the middle of the character, of each block of 2x2.
        up: of each block of 2x2; its direction is that of the page.
        size: of each block of 2x2, the logarithm of the height of its character over the usual one.
        middles: of each block of 2x2, logits of being the middle of a character or sign.
    """

    logits: Float[Array, "n height width classes"]
    offsets: Float[Array, "n rows columns 2"]
    up: Float[Array, "n rows columns 2"]
    size: Float[Array, "n rows columns"]
    middles: Float[Array, "n rows columns"]


_OUTPUTS = 4 * NUM_CLASSES + 6


def init(key: Key[Array, ""]) -> dict[str, Any]:
    """Initial parameters."""
    keys = iter(random.split(key, 64))

    def layer(span: int, inputs: int, outputs: int, gain: float = 2.0) -> dict[str, Array]:
        deviation = (gain / (span * span * inputs)) ** 0.5
        kernel = deviation * random.normal(next(keys), (span, span, inputs, outputs))
        return {"kernel": kernel, "bias": jnp.zeros(outputs)}

    def block(width: int) -> list[dict[str, Array]]:
        return [layer(3, width, width), layer(3, width, width, 0.1)]

    params: dict[str, Any] = {"first": layer(3, 16, WIDTHS[0]), "down": [], "up": []}
    for level, width in enumerate(WIDTHS):
        shrink = {"shrink": layer(3, WIDTHS[level - 1], width)} if level else {}
        params["down"].append(shrink | {"blocks": [block(width) for _ in range(BLOCKS[level])]})
    for level in reversed(range(len(WIDTHS) - 1)):
        params["up"].append(
            {
                "widen": layer(1, WIDTHS[level + 1], WIDTHS[level], 1.0),
                "block": block(WIDTHS[level]),
            }
        )
    params["last"] = layer(1, WIDTHS[0], _OUTPUTS, 0.1)
    return params


def apply(params: dict[str, Any], images: Float[Array, "n height width 4"]) -> Page:
    """Find what is written.

    Args:
        params: from `init`.
        images: red, green, blue, of 0..1, and where the picture is: 0 beyond it; within it 1 if it
            is known to be upright, with characters nearly of the usual size, else 0.5. Sides are
            multiples of `MULTIPLE`.
    """
    values = jax.nn.relu(_layer(params["first"], _to_blocks(images - 0.5)))
    levels = []
    for part in params["down"]:
        if "shrink" in part:
            values = jax.nn.relu(_layer(part["shrink"], _halve(values)))
        for block in part["blocks"]:
            values = _residual(block, values)
        levels.append(values)
    for part, detail in zip(params["up"], levels[-2::-1], strict=True):
        values = detail + _double(_layer(part["widen"], values))
        values = _residual(part["block"], values)
    values = _layer(params["last"], values)
    logits, rest = values[..., : 4 * NUM_CLASSES], values[..., 4 * NUM_CLASSES :]
    return Page(_from_blocks(logits), rest[..., :2], rest[..., 2:4], rest[..., 4], rest[..., 5])


def _layer(params: dict[str, Array], values: Array) -> Array:
    kernel = params["kernel"]
    if kernel.shape[0] == 1:
        return values @ kernel[0, 0] + params["bias"]
    return conv(values, kernel, padding="SAME", method="canonical") + params["bias"]


def _residual(params: list[dict[str, Array]], values: Array) -> Array:
    inner = jax.nn.relu(_layer(params[0], values))
    return jax.nn.relu(values + _layer(params[1], inner))


def _to_blocks(images: Array) -> Array:
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2, width // 2, 4 * channels)


def _from_blocks(values: Array) -> Array:
    n, height, width, channels = values.shape
    blocks = values.reshape(n, height, width, 2, 2, channels // 4)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * height, 2 * width, channels // 4)


def _halve(values: Array) -> Array:
    n, height, width, channels = values.shape
    return values.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def _double(values: Array) -> Array:
    n, height, width, channels = values.shape
    wide = jnp.broadcast_to(values[:, :, None, :, None], (n, height, 2, width, 2, channels))
    return wide.reshape(n, 2 * height, 2 * width, channels)
