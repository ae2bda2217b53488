"""A convolution by the fastest method for its backend and shapes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdigits.environment import target_platform
from jaxdigits.ops import canonical, im2col, winograd

Method = Literal["auto", "lax", "canonical", "im2col", "winograd"]


def conv(
    images: Float[Array, "n height width inputs"],
    kernel: Float[Array, "k l inputs outputs"],
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "VALID",
    method: Method = "auto",
) -> Float[Array, "n rows columns outputs"]:
    """Convolve images with a kernel, as networks do: without flipping the kernel.

    Args:
        images: channels last.
        kernel: rows, columns, channels in, channels out.
        strides: of rows and columns.
        padding: `VALID`, `SAME`, or zeros before and after, of rows and of columns.
        method: see `jaxdigits.ops`. `auto` chooses by backend and shapes.

    Raises:
        ValueError: the method is unknown, or cannot do this kernel or these strides.

    Example:
        >>> import jax.numpy as jnp
        >>> conv(jnp.ones((1, 6, 6, 16)), jnp.ones((3, 3, 16, 4)))[0, 0, 0].tolist()
        [144.0, 144.0, 144.0, 144.0]
    """
    spans = kernel.shape[:2]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(images.shape[1:3], spans, strides, padding)
    rows, columns = ((int(low), int(high)) for low, high in padding)
    pads = rows, columns
    if method == "auto":
        exact = images.dtype != jnp.bfloat16
        method = _choose(images.shape[1:3], kernel.shape, strides, pads, exact=exact)
    if method == "winograd":
        if spans != (3, 3) or strides != (1, 1):
            raise ValueError(
                "method winograd is for a kernel of 3x3 and strides of 1, not for "
                f"{spans[0]}x{spans[1]} and {strides}"
            )
        return winograd.conv(images, kernel, pads)
    functions = {
        "canonical": canonical.conv,
        "im2col": im2col.conv,
        "lax": partial(lax.conv_general_dilated, dimension_numbers=canonical.FORM),
    }
    if method not in functions:
        raise ValueError(f"unknown method {method!r}; choose from {', '.join(get_args(Method))}")
    return functions[method](images, kernel, strides, pads)


def _choose(
    sides: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, int],
    padding: canonical.Padding,
    *,
    exact: bool = True,
) -> Method:
    """Choose the method that measured fastest for these shapes.

    Winograd's loses six more bits, so that of bfloat16's eight too few would be left.
    """
    if target_platform() != "cpu":
        return "lax"
    rows, columns = (
        (size + low + high - span) // stride + 1
        for size, (low, high), span, stride in zip(sides, padding, kernel[:2], strides, strict=True)
    )
    # Winograd's tiles have 4x4 outputs. With few input channels its transforms cost more than they
    # save.
    spans, inputs = kernel[:2], kernel[2]
    if exact and spans == (3, 3) and strides == (1, 1) and inputs >= 8 and min(rows, columns) > 2:
        return "winograd"
    return "im2col" if rows * columns <= 16 or spans == (1, 1) else "canonical"


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    **options: Any,
) -> Array:
    """Call `conv` with the arguments of `lax.conv_general_dilated`, for flax's `nn.Conv`.

    What `conv` cannot do (dilation, groups, other layouts, other precision) is left to `lax`.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp
        >>> layer = nn.Conv(4, (3, 3), conv_general_dilated=conv_general_dilated)
        >>> params = layer.init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> layer.apply(params, jnp.ones((2, 28, 28, 1))).shape
        (2, 28, 28, 4)
    """
    layout = partial(lax.conv_dimension_numbers, lhs.shape, rhs.shape)
    # flax passes dilations, groups and precision even where nobody asked for them.
    special = (*(lhs_dilation or ()), *(rhs_dilation or ()), *options.values())
    if (
        lhs.ndim == 4
        and layout(dimension_numbers) == layout(canonical.FORM)
        and all(value in (None, 1) for value in special)
    ):
        rows, columns = window_strides
        return conv(lhs, rhs, strides=(rows, columns), padding=padding)
    return lax.conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **options
    )
