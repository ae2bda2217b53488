"""A 3x3 convolution by Winograd's F(4x4, 3x3), as products with constant matrices.

One dimension first. Four neighboring outputs of a filter of three, from six inputs,

    y[o] = sum_i g[i] d[o + i],    o = 0..3, i = 0..2,

need twelve multiplications, but only six if both sides are evaluated as polynomials at six points
(0, 1, -1, 2, -2 and infinity), multiplied there, and interpolated back:

    y = AT [(G g) * (BT d)]

with the constant matrices below (Lavin and Gray, arXiv 1509.09308, section 4.3). In two dimensions
this is done along rows and columns: 36 multiplications for 16 outputs instead of 144.

Summed over the input channels, the multiplications at each of the 36 points are a matrix product,
[tiles, channels in] times [channels in, channels out]. All that comes before and after is a product
with a constant matrix, which also cuts the image into overlapping tiles. XLA:CPU does matrix
products at full speed inside `lax.scan` too, where its convolutions are slow.

The price is rounding: interpolation multiplies by up to 8 and takes differences. In float32,
outputs and gradients of a layer are within 5e-6 of the exact ones, those of `lax.conv` within 5e-7,
as shares of the largest sum of absolute values; a test checks both. The gradients are computed the
same way, by the transposed products.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxdigits.ops.canonical import Padding

TILE = 4
"""Outputs of a tile in each direction; it sees 6 inputs."""

BT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def conv(
    images: Float[Array, "n height width inputs"],
    kernel: Float[Array, "3 3 inputs outputs"],
    padding: Padding,
) -> Float[Array, "n rows columns outputs"]:
    """Convolve with stride 1; padding makes no copy of the images."""
    # With the batch behind rows and columns, every transform is a product from the left. The
    # transpositions cost little: XLA turns most of them into memory layouts.
    x = images.transpose(1, 2, 0, 3)
    height, width, count, inputs = x.shape
    outputs = kernel.shape[3]
    cut_rows, join_rows = _matrices(height, *padding[0])
    cut_columns, join_columns = _matrices(width, *padding[1])
    rows, columns = len(cut_rows) // 6, len(cut_columns) // 6

    g = _from_left(np.kron(G, G), kernel.reshape(9, inputs * outputs)).reshape(36, inputs, outputs)
    if rows == columns == 1:
        d = _from_left(np.kron(cut_rows, cut_columns), x.reshape(height * width, -1))
        product = _product(g, d.reshape(36, count, inputs)).reshape(36, count * outputs)
        y = _from_left(np.kron(join_rows, join_columns), product)
    else:
        d = _from_left(cut_rows, x.reshape(height, -1)).reshape(6 * rows, width, -1)
        d = _from_left(cut_columns, d).reshape(6, rows, 6, columns, -1).transpose(0, 2, 1, 3, 4)
        product = _product(g, d.reshape(36, rows * columns * count, inputs))
        product = product.reshape(6, 6, rows, columns, -1).transpose(0, 2, 1, 3, 4)
        y = _from_left(join_columns, product.reshape(6 * rows, 6 * columns, -1))
        y = _from_left(join_rows, y.reshape(6 * rows, -1))
    y = y.reshape(len(join_rows), len(join_columns), count, outputs)
    return y.transpose(2, 0, 1, 3)


@lru_cache
def _matrices(size: int, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Return matrices for one dimension: from pixels to tiles at six points, back to outputs.

    Args:
        size: pixels.
        before: zeros before them.
        after: zeros after them.

    Returns:
        BT for every tile, [6 * tiles, pixels], and AT for every output, [outputs, 6 * tiles],
        ordered by point first, then by tile.
    """
    outputs = size + before + after - 2
    tiles = -(-outputs // TILE)
    cut = np.zeros((6, tiles, size + before + after + TILE + 2))
    join = np.zeros((outputs, 6, tiles))
    for tile in range(tiles):
        start = TILE * tile
        cut[:, tile, start : start + 6] = BT
        join[start : start + TILE, :, tile] = AT[: outputs - start]
    cut = cut[:, :, before : before + size]  # what lies outside is zero
    return cut.reshape(6 * tiles, size), join.reshape(outputs, 6 * tiles)


def _from_left(matrix: np.ndarray, x: Array) -> Array:
    """Multiply a constant matrix with x [k, n], or with each of x [batch, k, n].

    Autodiff alone would make the gradient a product with a transposed operand, for which XLA:CPU
    has a slower routine; here the constant is transposed beforehand.
    """

    def product(constant: np.ndarray, x: Array) -> Array:
        left = jnp.asarray(constant, x.dtype)
        if x.ndim == 2:
            return left @ x
        return jnp.broadcast_to(left, (len(x), *left.shape)) @ x

    transposed = np.ascontiguousarray(matrix.T)
    function = jax.custom_vjp(lambda x: product(matrix, x))
    function.defvjp(lambda x: (product(matrix, x), None), lambda _, dy: (product(transposed, dy),))
    return function(x)


def _contract(a: Array, b: Array, axis_a: int, axis_b: int) -> Array:
    """Multiply matrices at each of the 36 points, over the given axes."""
    return lax.dot_general(a, b, (((axis_a,), (axis_b,)), ((0,), (0,))))


@jax.custom_vjp
def _product(g: Float[Array, "36 i o"], d: Float[Array, "36 x i"]) -> Float[Array, "36 x o"]:
    """Sum over input channels at each point."""
    return _contract(d, g, 2, 1)


_product.defvjp(
    lambda g, d: (_contract(d, g, 2, 1), (g, d)),
    lambda residuals, dy: (_contract(residuals[1], dy, 1, 1), _contract(dy, residuals[0], 2, 2)),
)
