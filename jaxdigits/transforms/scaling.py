"""From pixels of 0..255 to what a network sees.

Images are uint8 or float32 [n, height, width] or [n, height, width, channels].
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Num


class Scaling(NamedTuple):
    """How pixels are scaled: `(pixel / 255 - mean) / std`.

    Attributes:
        mean: of pixels / 255; 0 leaves them in 0..1.
        std: their standard deviation; 1 leaves them in 0..1.
    """

    mean: Float[Array, ""]
    std: Float[Array, ""]


UNIT = (0.0, 1.0)
"""The mean and deviation that leave pixels / 255 as they are, as posts B and C have them."""


def pixel_statistics(images: Num[Array, "n height width *channels"]) -> Scaling:
    """Measure the mean and the standard deviation of pixels / 255. Post A row A1.

    For the 60,000 training images of MNIST they are 0.1307 and 0.3081.

    Example:
        >>> half_black = jnp.zeros((1, 28, 28), jnp.uint8).at[0, :14].set(255)
        >>> [float(x) for x in pixel_statistics(half_black)]
        [0.5, 0.5]
    """
    count = images[0].size
    # Whole numbers within an image, exact where they fit; floats only over the images.
    exact = images.dtype == jnp.uint8 and count * 255**2 < 2**31
    pixels = images.astype(jnp.int32 if exact else jnp.float32)
    within = tuple(range(1, images.ndim))
    most = 255 if jnp.issubdtype(images.dtype, jnp.integer) else 1

    def mean_of(values: Array) -> Array:
        return (values.sum(within, values.dtype).astype(jnp.float32) / count).mean()

    mean, mean_square = mean_of(pixels) / most, mean_of(pixels**2) / most**2
    # All pixels alike: nothing to standardize, and no division by zero.
    variance = mean_square - mean**2
    return Scaling(mean, jnp.where(variance > 0, jnp.sqrt(jnp.maximum(variance, 0)), 1.0))


def unit_pixels(images: Num[Array, "..."]) -> Float[Array, "..."]:
    """Scale pixels of 0..255, uint8, to floats of 0..1; floats are taken to be 0..1 already.

    Example:
        >>> float(unit_pixels(jnp.full((1, 28, 28), 255, jnp.uint8))[0, 0, 0])
        1.0
    """
    pixels = images.astype(jnp.float32)
    return pixels / 255 if jnp.issubdtype(images.dtype, jnp.integer) else pixels


def standardize(images: Float[Array, "..."], scaling: Scaling) -> Float[Array, "..."]:
    """Scale pixels of 0..1: `(images - mean) / std`."""
    return (images - scaling.mean) / scaling.std


def scale_pixels(images: Num[Array, "..."], scaling: Scaling) -> Float[Array, "..."]:
    """Scale pixels of 0..255: `(images / 255 - mean) / std`.

    Example:
        >>> white = jnp.full((1, 28, 28), 255, jnp.uint8)
        >>> float(scale_pixels(white, Scaling(jnp.float32(0.5), jnp.float32(0.25)))[0, 0, 0])
        2.0
    """
    return standardize(unit_pixels(images), scaling)


IMAGE_MEAN, IMAGE_STD = 0.172575, 0.25
"""What the third post's program gives each image; the mean is that of EMNIST's letters."""


def rescale_each(images: Float[Array, "n height width *channels"]) -> Float[Array, "..."]:
    """Scale each image to a mean of 0.172575 and a standard deviation of 0.25. Post C row C1.

    Its program does so, its text does not say it. An image of one gray becomes 0.172575.

    Example:
        >>> images = jnp.zeros((1, 28, 28)).at[0, :14].set(1.0)
        >>> rescale_each(images)[0, ::27, 0].tolist()
        [0.42257499..., -0.0774250...]
    """
    within = tuple(range(1, images.ndim))
    mean = images.mean(axis=within, keepdims=True)
    std = images.std(axis=within, keepdims=True)
    varies = std > 1e-6  # more than rounding makes of an image of one gray
    return (
        jnp.where(varies, (images - mean) / jnp.where(varies, std, 1), 0) * IMAGE_STD + IMAGE_MEAN
    )


def scale_inputs(
    images: Float[Array, "n ..."], *, scaling: Scaling, scale: str
) -> Float[Array, "n ..."]:
    """Scale pixels of 0..1 as `TrainConfig.scale` says: `standardized`, `unit`, or `image`."""
    if scale == "image":
        return rescale_each(images)
    return standardize(images, scaling) if scale == "standardized" else images
