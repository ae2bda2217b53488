"""A convolution, 2x2 max-pooling and GELU with their gradients by hand, to read beside post C.

This is post C row C8: its section "Deeper background on how convolutional networks work". For use
in a network, `jaxdigits.ops` has faster ones. A test compares every gradient with `jax.grad`, in
float64, to 1e-9. Arrays are of any float dtype, images with channels last.

With images x, a kernel K and a bias b, the convolution of one image is

    y[r,c,o] = b[o] + sum over i,j,m of x[r+i,c+j,m] K[i,j,m,o]

for output row r and column c, kernel row i and column j, input channel m and output channel o.
Pixel x[p,q,m] is in y[p-i,q-j,o], wherever there is such an output, multiplied by K[i,j,m,o]. So
the chain rule gives

    dL/dx[p,q,m]   = sum over i,j,o of dL/dy[p-i,q-j,o] K[i,j,m,o]
    dL/dK[i,j,m,o] = sum over images and r,c of x[r+i,c+j,m] dL/dy[r,c,o]
    dL/db[o]       = sum over images and r,c of dL/dy[r,c,o]

Max-pooling is y = x[winner], so dL/dx is dL/dy for the winner and 0 for the others. GELU is
y = x Phi(x), with Phi the normal distribution function and phi its density, Phi' = phi. So
dL/dx = dL/dy (Phi(x) + x phi(x)).

The post's program differs:

- It loops over the positions of the output, and at each multiplies a block of the image by the
  kernel. Here the loop is over the positions of the kernel, and computes all outputs at once. The
  products are the same; only the order of the sum changes.
- Its gradient of the input is right. The text calls it a matrix product, but it is the kernel
  times one number, the gradient of one output, added to the block that this output saw.
- Its gradient of the kernel is wrong: see `post_kernel_gradient`.
- It adds the bias once per input channel, where once per output channel is meant.
"""

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def conv(
    images: Float[Array, "n h w inputs"],
    kernel: Float[Array, "k l inputs outputs"],
    bias: Float[Array, " outputs"],
) -> Float[Array, "n 1+h-k 1+w-l outputs"]:
    """Convolve with stride 1 and no padding.

    Args:
        images: at least as large as the kernel.
        kernel: rows, columns, channels in, channels out.
        bias: of each output channel.

    Example:
        The post's image holds 1 to 64 and its kernel 1 to 9. These are its A, B and C. (The post
        begins C with 22*2, and means 22*1.)

        >>> image = jnp.arange(1.0, 65).reshape(1, 8, 8, 1)
        >>> kernel = jnp.arange(1.0, 10).reshape(3, 3, 1, 1)
        >>> output = conv(image, kernel, jnp.zeros(1))[0, :, :, 0]
        >>> output.shape
        (6, 6)
        >>> float(output[0, 0])  # 1*1 + 2*2 + 3*3 + 9*4 + 10*5 + 11*6 + 17*7 + 18*8 + 19*9
        600.0
        >>> float(output[1, 1])  # 10*1 + 11*2 + 12*3 + 18*4 + 19*5 + 20*6 + 26*7 + 27*8 + 28*9
        1005.0
        >>> float(output[2, 5])  # 22*1 + 23*2 + 24*3 + 30*4 + 31*5 + 32*6 + 38*7 + 39*8 + 40*9
        1545.0
    """
    rows, columns = 1 + images.shape[1] - kernel.shape[0], 1 + images.shape[2] - kernel.shape[1]
    outputs = jnp.zeros((len(images), rows, columns, len(bias)), images.dtype)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            # What this position sees as the kernel slides over the images.
            block = images[:, i : i + rows, j : j + columns]
            outputs += block @ kernel[i, j]  # a matrix: channels in, channels out
    return outputs + bias


def conv_backward(
    images: Float[Array, "n h w inputs"],
    kernel: Float[Array, "k l inputs outputs"],
    d_outputs: Float[Array, "n 1+h-k 1+w-l outputs"],
) -> tuple[
    Float[Array, "n h w inputs"], Float[Array, "k l inputs outputs"], Float[Array, " outputs"]
]:
    """Return the gradients of images, kernel and bias from that of the outputs of `conv`.

    Example:
        An image of one row, 1 2 3, and the kernel 10 100. The outputs are 1*10 + 2*100 and
        2*10 + 3*100, with gradients 1 and 2.

        >>> image = jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
        >>> kernel = jnp.array([10.0, 100.0]).reshape(1, 2, 1, 1)
        >>> d_outputs = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
        >>> d_image, d_kernel, d_bias = conv_backward(image, kernel, d_outputs)
        >>> d_image.ravel().tolist()  # 1*10, 1*100 + 2*10, 2*100
        [10.0, 120.0, 200.0]
        >>> d_kernel.ravel().tolist()  # 1*1 + 2*2, 2*1 + 3*2
        [5.0, 8.0]
        >>> d_bias.tolist()  # 1 + 2
        [3.0]
    """
    rows, columns = d_outputs.shape[1:3]
    d_images, d_kernel = jnp.zeros_like(images), jnp.zeros_like(kernel)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            seen = (slice(None), slice(i, i + rows), slice(j, j + columns))  # as in `conv`
            # Each pixel of the block was multiplied by this weight, so it gets the weight times the
            # output's gradient. Blocks overlap, so these add up.
            d_images = d_images.at[seen].add(d_outputs @ kernel[i, j].T)
            # The weight was multiplied by each pixel of the block, so the products with the
            # outputs' gradients are summed over images, rows and columns.
            d_weights = jnp.einsum("nrcm,nrco->mo", images[seen], d_outputs)
            d_kernel = d_kernel.at[i, j].set(d_weights)
    return d_images, d_kernel, d_outputs.sum(axis=(0, 1, 2))


def _corners(height: int, width: int) -> Iterator[tuple[slice, slice, slice]]:
    """Index the four pixels of every 2x2 window, in reading order."""
    for i in range(2):
        for j in range(2):
            yield slice(None), slice(i, height, 2), slice(j, width, 2)


def _even(images: Float[Array, "n h w channels"]) -> Float[Array, "n height width channels"]:
    """Fill an odd last window with minus infinity, which never wins."""
    edges = [(0, 0), (0, images.shape[1] % 2), (0, images.shape[2] % 2), (0, 0)]
    return jnp.pad(images, edges, constant_values=-jnp.inf)


def max_pool(
    images: Float[Array, "n h w channels"],
) -> Float[Array, "n (h+1)//2 (w+1)//2 channels"]:
    """Return the maximum of each 2x2 pixels.

    An odd last row or column is pooled alone, as in the post's program from 11x11 to 6x6.

    Example:
        >>> image = jnp.array([[1.0, 5.0, 2.0], [5.0, 3.0, 2.0]])
        >>> max_pool(image.reshape(1, 2, 3, 1)).ravel().tolist()  # of 1 5 5 3, and of 2 2
        [5.0, 2.0]
    """
    even = _even(images)
    return jnp.stack([even[corner] for corner in _corners(*even.shape[1:3])]).max(axis=0)


def max_pool_backward(
    images: Float[Array, "n h w channels"], d_outputs: Float[Array, "n (h+1)//2 (w+1)//2 channels"]
) -> Float[Array, "n h w channels"]:
    """Return the gradient of the images from that of the outputs of `max_pool`.

    All of it goes to the first maximum in reading order: changing another pixel a little does not
    change the output.

    Example:
        >>> image = jnp.array([[1.0, 5.0, 2.0], [5.0, 3.0, 2.0]])
        >>> d_outputs = jnp.array([10.0, 20.0]).reshape(1, 1, 2, 1)
        >>> max_pool_backward(image.reshape(1, 2, 3, 1), d_outputs)[0, :, :, 0].tolist()
        [[0.0, 10.0, 20.0], [0.0, 0.0, 0.0]]
    """
    largest, even = max_pool(images), _even(images)
    d_even = jnp.zeros_like(even)
    found = jnp.zeros(largest.shape, bool)
    for corner in _corners(*even.shape[1:3]):
        wins = (even[corner] == largest) & ~found
        d_even = d_even.at[corner].set(jnp.where(wins, d_outputs, 0))
        found |= wins
    return d_even[:, : images.shape[1], : images.shape[2]]


def _normal_distribution(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return Phi(x) by the complementary error function, accurate for large negative x too."""
    return jax.lax.erfc(-x / math.sqrt(2)) / 2


def _normal_density(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return x Phi(x), the exact form.

    Example:
        Phi(-1) is 0.1587, Phi(0) is 0.5 and Phi(1) is 0.8413.

        >>> [f"{y:.4f}" for y in gelu(jnp.array([-1.0, 0.0, 1.0]))]
        ['-0.1587', '0.0000', '0.8413']
    """
    return x * _normal_distribution(x)


def gelu_backward(
    x: Float[Array, "*shape"], d_outputs: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Return the gradient of x from that of the outputs of `gelu`.

    Example:
        phi(1) is 0.2420, so the derivative at -1 is 0.1587 - 0.2420, at 0 it is 0.5, and at 1 it
        is 0.8413 + 0.2420.

        >>> [f"{d:.4f}" for d in gelu_backward(jnp.array([-1.0, 0.0, 1.0]), jnp.ones(3))]
        ['-0.0833', '0.5000', '1.0833']
    """
    return d_outputs * (_normal_distribution(x) + x * _normal_density(x))


def post_kernel_gradient(
    image: Float[Array, "h w"], d_outputs: Float[Array, "size size"]
) -> Float[Array, "1+h-size 1+w-size"]:
    """Return what the post's program takes for the gradient of a kernel. It is not the gradient.

    The post has, for one input and one output channel,

        d_rhs->d_grads(r,c) += (d_lhs->d_val.block(r, c, d_val.rows(), d_val.cols())*d_grads).sum();
        d_rhs->d_grads.array() /= sqrt(d_grads.rows()*d_grads.cols());

    Two things are wrong. In Eigen `*` is the matrix product, but the block and the outputs'
    gradients must be multiplied element by element (`cwiseProduct`, as in the forward pass). The
    sum of all elements of a matrix product is the block's column sums times the gradients' row
    sums, so pixels meet gradients of outputs they had no part in. And a gradient is not divided by
    the square root of the number of outputs.

    How far off it is depends on the images. Where the block or the outputs' gradients are constant,
    the two errors cancel. For random normal images of 13x13 and random normal gradients the mean
    cosine to the true gradient is about 0.03; for uniform images in 0..1, about 0.64: the mean
    brightness survives. In the untrained letters network it is 0.5 to 0.6 (`jaxdigits reproduce
    C8`).

    Args:
        image: one channel of one image.
        d_outputs: the gradient of one output channel. Square, or there is no matrix product.

    Example:
        With a 1x1 kernel and a gradient at the first pixel only, the true gradient is that pixel:
        1. The matrix product is [[1, 0], [3, 0]], its sum 4; divided by sqrt(2*2) it is 2.

        >>> image, d_outputs = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1.0, 0], [0, 0]])
        >>> post_kernel_gradient(image, d_outputs).tolist()
        [[2.0]]
        >>> (image * d_outputs).sum().tolist()
        1.0
    """
    rows, columns = d_outputs.shape
    sums = [
        [
            (image[i : i + rows, j : j + columns] @ d_outputs).sum()
            for j in range(1 + image.shape[1] - columns)
        ]
        for i in range(1 + image.shape[0] - rows)
    ]
    return jnp.array(sums) / math.sqrt(rows * columns)
