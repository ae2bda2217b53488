"""A convolution as one matrix product over the patches of the image that the kernel sees.

The patches of all outputs are a matrix [outputs, patch], the kernel is a matrix [patch, channels],
and matrix products are what XLA:CPU does best, also inside a loop. The price is memory traffic: a
pixel is copied once per position of the kernel. So this is for small images, as in the last stages
of a ResNet, and for 1x1 kernels.

Positions of the kernel that see only padding are dropped first: of a 3x3 kernel on a 1x1 image, one
of nine remains. This makes the last stage of ResNet-18 on 28x28 pixels, forward and backward, 50x
faster than the other methods (0.9 ms instead of 41 and 48 for 32 images).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdigits.ops.canonical import Padding


def conv(
    images: Float[Array, "n height width inputs"],
    kernel: Float[Array, "k l inputs outputs"],
    strides: tuple[int, int],
    padding: Padding,
) -> Float[Array, "n rows columns outputs"]:
    """Convolve with any kernel, strides and padding."""
    used, starts, ends, counts = [], [], [], []
    for size, span, stride, (low, high) in zip(
        images.shape[1:3], kernel.shape[:2], strides, padding, strict=True
    ):
        count = (size + low + high - span) // stride + 1
        seeing = [i for i in range(span) if _sees(i - low, size, stride, count)] or [0]
        used.append(slice(seeing[0], seeing[-1] + 1))
        starts.append(seeing[0] - low)
        ends.append(seeing[-1] - low + (count - 1) * stride + 1)
        counts.append(count)
    # From the first pixel seen to the last; zeros outside the image.
    edges = [
        (-start, end - size, 0)
        for start, end, size in zip(starts, ends, images.shape[1:3], strict=True)
    ]
    images = lax.pad(images, jnp.zeros((), images.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    kernel = kernel[used[0], used[1]]
    spans, (inputs, outputs) = kernel.shape[:2], kernel.shape[2:]
    reach = [(count - 1) * stride + 1 for count, stride in zip(counts, strides, strict=True)]
    patches = jnp.concatenate(
        [
            images[:, i : i + reach[0] : strides[0], j : j + reach[1] : strides[1]]
            for i in range(spans[0])
            for j in range(spans[1])
        ],
        axis=-1,
    )
    product = patches.reshape(-1, spans[0] * spans[1] * inputs) @ kernel.reshape(-1, outputs)
    return product.reshape(len(images), *counts, outputs)


def _sees(offset: int, size: int, stride: int, count: int) -> bool:
    """Return whether the kernel sees the image at this offset, for some output."""
    return any(0 <= offset + stride * output < size for output in range(count))
