"""A convolution as one matrix product over the patches of the image that the kernel sees.

The patches of all outputs, side by side, are a matrix [outputs, patch], the kernel is a matrix
[patch, channels], and matrix products are what XLA:CPU does best, wherever they stand. The price is
memory traffic: a pixel is copied once for each position of the kernel. So it is for images that are
small by now, as in the last stages of a ResNet, and for kernels of 1x1.

Positions of the kernel that see nothing but padding are left out first. A kernel of 3x3 on an image
of 1x1 has one position of nine that counts; the last stage of ResNet-18 on 28x28 pixels, forward
and backward, is 50 times faster so than with the other methods (0.9 ms in the place of 41 and 48
for 32 images).
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
    """The convolution, of any kernel, stride and padding."""
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
    # From the first pixel that is seen to the last one: zeros where that is outside.
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
    """Whether some output has a pixel of the image at this offset from its first one."""
    return any(0 <= offset + stride * output < size for output in range(count))
