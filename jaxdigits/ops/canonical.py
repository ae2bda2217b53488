"""`lax.conv_general_dilated`, with gradients in a layout that XLA:CPU keeps fast inside a loop.

XLA:CPU has a fast routine for images [batch, height, width, channels] and kernels [height, width,
in, out]. It brings other layouts to that one, but only in the outermost computation of a program,
not in the body of a `lax.scan`. The gradients of autodiff have other layouts, and are slow there.
Here they are written in the fast one, and transposed before and after.
"""

from functools import partial

import jax
from jax import lax
from jaxtyping import Array, Float

Padding = tuple[tuple[int, int], tuple[int, int]]

FORM = ("NHWC", "HWIO", "NHWC")


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(
    images: Float[Array, "n height width inputs"],
    kernel: Float[Array, "k l inputs outputs"],
    strides: tuple[int, int],
    padding: Padding,
) -> Float[Array, "n rows columns outputs"]:
    """Convolve with any kernel, strides and padding."""
    return lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=FORM)


def _forward(images: Array, kernel: Array, strides: tuple[int, int], padding: Padding):
    return conv(images, kernel, strides, padding), (images, kernel)


def _backward(strides: tuple[int, int], padding: Padding, residuals, dy: Array):
    images, kernel = residuals
    sizes, spans = images.shape[1:3], kernel.shape[:2]
    # How far the dilated outputs reach: strides may leave the last pixels unused.
    reach = [(n - 1) * stride + 1 for n, stride in zip(dy.shape[1:3], strides, strict=True)]

    # An input pixel gets what the outputs that saw it send back: a convolution with the flipped
    # kernel, its channels swapped.
    around = [
        (span - 1 - low, size + low - far)
        for span, (low, _), size, far in zip(spans, padding, sizes, reach, strict=True)
    ]
    d_images = lax.conv_general_dilated(
        dy,
        kernel[::-1, ::-1].transpose(0, 1, 3, 2),
        (1, 1),
        around,
        lhs_dilation=strides,
        dimension_numbers=FORM,
    )
    # A weight gets the sum over images of pixel times output: a convolution with the outputs as
    # kernel, in which batch and channels are swapped.
    seen = [
        (low, span - 1 + far - size - low)
        for span, (low, _), size, far in zip(spans, padding, sizes, reach, strict=True)
    ]
    d_kernel = lax.conv_general_dilated(
        images.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        seen,
        rhs_dilation=strides,
        dimension_numbers=FORM,
    )
    return d_images, d_kernel.transpose(1, 2, 0, 3)


conv.defvjp(_forward, _backward)
