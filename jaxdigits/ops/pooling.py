"""Max-pooling that remembers which pixel won."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int8

from jaxdigits.environment import target_platform


def max_pool(
    images: Float[Array, "n height width channels"],
) -> Float[Array, "n rows columns channels"]:
    """Return the maximum of each 2x2 pixels; an odd last row or column is pooled alone.

    The gradient goes to the first maximum in reading order, as with `lax.reduce_window`, whose
    gradient is slow on CPUs; `jnp.max` would share it among equals. A byte per output remembers
    which of the four won. A TPU has an instruction for that gradient, so there it is
    `lax.reduce_window`: by XLA's estimate 5 to 8 times as fast.

    Example:
        >>> import jax.numpy as jnp
        >>> max_pool(jnp.arange(9.0).reshape(1, 3, 3, 1))[0, :, :, 0].tolist()
        [[4.0, 5.0], [7.0, 8.0]]
    """
    if target_platform() == "tpu":
        window = (1, 2, 2, 1)
        return lax.reduce_window(images, -jnp.inf, lax.max, window, window, "SAME")
    height, width = images.shape[1:3]

    def forward(images: Array) -> tuple[Array, Int8[Array, "n rows columns channels"]]:
        edges = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
        padded = jnp.pad(images, edges, constant_values=-jnp.inf)
        count, rows, columns, channels = padded.shape
        split = padded.reshape(count, rows // 2, 2, columns // 2, 2, channels)
        corners = [split[:, :, i, :, j] for i in range(2) for j in range(2)]
        largest = jnp.maximum(jnp.maximum(*corners[:2]), jnp.maximum(*corners[2:]))
        first, second, third, _ = (corner == largest for corner in corners)
        winner = jnp.where(first, 0, jnp.where(second, 1, jnp.where(third, 2, 3)))
        return largest, winner.astype(jnp.int8)

    def backward(winner: Array, d_largest: Array) -> tuple[Array]:
        count, rows, columns, channels = winner.shape
        corner = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 2, 1, 2, 1)
        won = winner[:, :, None, :, None] == corner
        d_images = jnp.where(won, d_largest[:, :, None, :, None], 0)
        return (d_images.reshape(count, 2 * rows, 2 * columns, channels)[:, :height, :width],)

    function = jax.custom_vjp(lambda images: forward(images)[0])
    function.defvjp(forward, backward)
    return function(images)


def max_pool_3x3(
    images: Float[Array, "n height width channels"],
) -> Float[Array, "n rows columns channels"]:
    """Return the maximum of 3x3 pixels, with stride 2 and padding 1: ResNet's pooling.

    Rows first, then columns. Equals share a gradient, where `lax.reduce_window` gives it to the
    first. Forward and backward take a tenth of its time on a CPU; on a TPU it is that.

    Example:
        >>> import jax.numpy as jnp
        >>> max_pool_3x3(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """
    edges = ((0, 0), (1, 1), (1, 1), (0, 0))
    if target_platform() == "tpu":
        return lax.reduce_window(images, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), edges)
    values = jnp.pad(images, edges, constant_values=-jnp.inf)
    for axis in (1, 2):
        size = (images.shape[axis] - 1) // 2 * 2 + 1
        parts = [lax.slice_in_dim(values, i, i + size, 2, axis) for i in range(3)]
        values = jnp.maximum(jnp.maximum(parts[0], parts[1]), parts[2])
    return values
