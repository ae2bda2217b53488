"""Convolution and max-pooling that are fast on a CPU too, also inside `lax.scan`.

    from jaxdigits.ops import conv, max_pool
    x = max_pool(conv(images, kernel))          # images [n, height, width, channels]

| file | method | what for |
|---|---|---|
| | `lax` | `lax.conv_general_dilated` as it is: GPU, TPU, and the reference |
| `winograd.py` | `winograd` | 3x3 with stride 1, on a CPU |
| `im2col.py` | `im2col` | small images and kernels of 1x1, on a CPU |
| `canonical.py` | `canonical` | anything else, on a CPU |
| `pooling.py` | | max-pooling |
| `by_hand.py` | | forward and backward written out, to be read beside the third post |

All compose with jit, grad, vmap, scan, shard_map and flax's `nn.Conv`.

What each is worth: how many times as long the training of the default network takes without it, on
two cores, by `python experiments/worth_of_tricks.py`.

| instead | times as long |
|---|---|
| `lax` for all convolutions | 25 (23 to 27) |
| `canonical` in the place of `winograd` | 1.7 (1.5 to 1.9) |
| `winograd` for the one channel of the first layer, too | 2.0 (1.5 to 2.7) |
| `lax.reduce_window` in the place of `max_pool` | 2.3 (1.9 to 2.7) |
| `jnp.max` in the place of `max_pool` | 1.2 (1.03 to 1.5) |
| one device in the place of two, `jaxdigits.training.trainer` | 1.8 (1.4 to 2.4) |
| a sum over devices for each array, the same | 1.15 (1.03 to 1.3) |
| `jax.nn.gelu` in the place of `jaxdigits.models.activations.gelu` | 1.1 (0.9 to 1.3) |
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
from jax import lax
from jaxtyping import Array, Float

from jaxdigits.ops import canonical, im2col, winograd
from jaxdigits.ops.pooling import max_pool, max_pool_3x3

__all__ = ["Method", "conv", "conv_general_dilated", "max_pool", "max_pool_3x3"]

Method = Literal["auto", "lax", "canonical", "im2col", "winograd"]


def conv(
    images: Float[Array, "n height width inputs"],
    kernel: Float[Array, "k l inputs outputs"],
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "VALID",
    method: Method = "auto",
) -> Float[Array, "n rows columns outputs"]:
    """A convolution (in mathematics, a correlation: the kernel is not turned around).

    Args:
        images: channels last.
        kernel: rows, columns, channels in, channels out.
        strides: of rows and columns.
        padding: `VALID`, `SAME`, or zeros before and after, of rows and of columns.
        method: `auto` chooses by backend and shapes; the table above has the others.

    Raises:
        ValueError: there is no such method, or it cannot do this kernel or these strides.

    Example:
        >>> import jax.numpy as jnp
        >>> conv(jnp.ones((1, 6, 6, 16)), jnp.ones((3, 3, 16, 4)))[0, 0, 0].tolist()
        [144.0, 144.0, 144.0, 144.0]
    """
    spans = kernel.shape[:2]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(images.shape[1:3], spans, strides, padding)
    (rows, columns) = ((int(low), int(high)) for low, high in padding)
    if method == "auto":
        method = _choose(images.shape, kernel.shape, strides, (rows, columns))
    if method == "winograd":
        if spans != (3, 3) or strides != (1, 1):
            raise ValueError(
                "method winograd is for a kernel of 3x3 and strides of 1, not for "
                f"{spans[0]}x{spans[1]} and {strides}"
            )
        return winograd.conv(images, kernel, (rows, columns))
    if method == "im2col":
        return im2col.conv(images, kernel, strides, (rows, columns))
    if method == "canonical":
        return canonical.conv(images, kernel, strides, (rows, columns))
    if method != "lax":
        raise ValueError(f"there is no method {method!r}; there are {', '.join(get_args(Method))}")
    return lax.conv_general_dilated(
        images, kernel, strides, (rows, columns), dimension_numbers=canonical.FORM
    )


def _choose(
    images: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, int],
    padding: canonical.Padding,
) -> Method:
    """The fastest method, as far as it was measured."""
    if jax.default_backend() != "cpu":
        return "lax"
    sides = [
        (size + low + high - span) // stride + 1
        for size, (low, high), span, stride in zip(
            images[1:3], padding, kernel[:2], strides, strict=True
        )
    ]
    spans, inputs = kernel[:2], kernel[2]
    # Winograd's tiles have 4x4 outputs; with few input channels the transforms cost more than they
    # save.
    if spans == (3, 3) and strides == (1, 1) and inputs >= 8 and min(sides) > 2:
        return "winograd"
    small = sides[0] * sides[1] <= 16 or spans == (1, 1)
    return "im2col" if small else "canonical"


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    **options: Any,
) -> Array:
    """The same with the arguments of `lax.conv_general_dilated`, for flax's `nn.Conv`.

    What `conv` cannot do (dilation, groups, other dimensions, other precision) is left to `lax`.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp
        >>> layer = nn.Conv(4, (3, 3), conv_general_dilated=conv_general_dilated)
        >>> params = layer.init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> layer.apply(params, jnp.ones((2, 28, 28, 1))).shape
        (2, 28, 28, 4)
    """
    plain = all(step == 1 for step in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    usual = lax.conv_dimension_numbers(lhs.shape, rhs.shape, canonical.FORM) if lhs.ndim == 4 else 0
    # flax names precision and the like even where nobody has asked for them.
    options = {name: value for name, value in options.items() if value not in (None, 1)}
    if plain and numbers == usual and feature_group_count == 1 and not options:
        rows, columns = window_strides
        return conv(lhs, rhs, strides=(rows, columns), padding=padding)
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        dimension_numbers,
        feature_group_count,
        **options,
    )
