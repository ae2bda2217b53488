"""The pixel baseline: the nearest of the classes' mean images. Post B rows B1 and B2.

There is nothing to train: `fit` takes the mean of each class.
"""

from typing import Literal, TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

Distance = Literal["absolute", "squared"]


class PixelParams(TypedDict):
    """The mean image of each class."""

    means: Float[Array, "classes ..."]


def init(
    key: Key[Array, ""], num_classes: int = 10, image_shape: tuple[int, ...] = (28, 28)
) -> PixelParams:
    """Blank mean images, to be replaced by `fit`; the key is not used.

    Example:
        >>> import jax
        >>> init(jax.random.key(0))["means"].shape
        (10, 28, 28)
    """
    del key
    return {"means": jnp.zeros((num_classes, *image_shape))}


def fit(
    images: Float[Array, "n ..."], labels: Int[Array, " n"], num_classes: int = 10
) -> PixelParams:
    """The mean image of each class; all zeros for a class without images.

    Example:
        >>> import jax.numpy as jnp
        >>> images = jnp.array([[[1.0]], [[3.0]], [[8.0]]])
        >>> fit(images, jnp.array([0, 0, 1]), num_classes=2)["means"].ravel().tolist()
        [2.0, 8.0]
    """
    sums = jax.ops.segment_sum(images, labels, num_classes)
    counts = jnp.bincount(labels, length=num_classes)
    return {"means": sums / jnp.maximum(counts, 1).reshape(-1, *[1] * (images.ndim - 1))}


def apply(
    params: PixelParams,
    images: Float[Array, "n ..."],
    distance: Distance = "squared",
) -> Float[Array, "n classes"]:
    """Logits: minus the mean distance of an image's pixels to those of each mean image.

    Args:
        params: what `fit` gives.
        images: on the same scale as those that were fitted.
        distance: `absolute` (B1) or `squared` (B2).

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"means": jnp.array([[[0.0, 0.0]], [[1.0, 1.0]]])}
        >>> apply(params, jnp.array([[[0.0, 0.5]]]), "squared").tolist()
        [[-0.125, -0.625]]
    """
    function = jnp.abs if distance == "absolute" else jnp.square
    difference = images[:, None] - params["means"]
    return -function(difference).mean(axis=tuple(range(2, difference.ndim)))
