"""The convolutional network of the third post: post C row C1.

    28x28x1   convolution 3x3, 32    26x26x32    max-pool 2x2    13x13x32
    13x13x32  convolution 3x3, 64    11x11x64    max-pool 2x2    6x6x64     (rounding up)
    6x6x64    convolution 3x3, 128   4x4x128     max-pool 2x2    2x2x128
    512       dense 64, GELU, dense 128, GELU, dense classes

137,178 parameters for 26 classes. GELU is the exact one, x times the normal distribution function.

The post's text and its program differ; here is what can be chosen, and what cannot:

| | text | program | here |
|---|---|---|---|
| GELU after each pooling | yes | no | `pool_activation`: `gelu`, or `none` |
| dropout of 0.5 before the first dense GELU | no | later | `dropout` |
| starting values | | U(-1, 1) / sqrt(fan-in) | `uniform`; `normal` is there too |
| each image rescaled to mean 0.172575, deviation 0.25 | no | yes | `TrainConfig(scale="image")` |
| a convolution's bias | added once | once for each input channel | added once |
| gradient of a kernel | the true one | not a gradient | the true one |

The last is told in `jaxdigits.by_hand.convolution`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxdigits.errors import ConfigError
from jaxdigits.models import linear
from jaxdigits.models.activations import gelu
from jaxdigits.models.dropout import drop
from jaxdigits.models.hints import Hints
from jaxdigits.models.initializers import draw_layers
from jaxdigits.models.linear import LinearParams
from jaxdigits.ops import conv, max_pool

CHANNELS = (32, 64, 128)
"""Out of each convolution."""

DENSE = (64, 128)
"""Widths of the dense layers but the last."""

HINTS = Hints(
    augment=("shift", "rotate", "scale"),
    examples=275_000,
    microbatch_size=32,
    shard_on_cpu=True,
    members_at_once_on_cpu=1,
)

PoolActivation = Literal["gelu", "none"]


class ConvParams(TypedDict):
    """The parameters of a convolution."""

    kernel: Float[Array, "3 3 inputs outputs"]
    bias: Float[Array, " outputs"]


class ConvnetParams(TypedDict):
    """Three convolutions and three dense layers."""

    conv: list[ConvParams]
    dense: list[LinearParams]


def flat_size(image_shape: Sequence[int], channels: Sequence[int] = CHANNELS) -> int:
    """How many values the last pooling gives for an image.

    Raises:
        ConfigError: the image is too small for three convolutions and poolings.

    Example:
        >>> flat_size((28, 28)), flat_size((32, 32, 3))
        (512, 1152)
    """
    sides = list(image_shape[:2])
    for _ in channels:
        sides = [-(-(side - 2) // 2) for side in sides]  # pooling rounds up
    if min(sides) < 1:
        raise ConfigError(
            f"convnet takes images of 15x15 pixels or more, not {image_shape[0]}x{image_shape[1]}; "
            "choose model mlp, linear, or resnet18"
        )
    return sides[0] * sides[1] * channels[-1]


def init(
    key: Key[Array, ""],
    num_classes: int = 26,
    initializer: str = "uniform",
    channels: tuple[int, int, int] = CHANNELS,
    hidden: tuple[int, int] = DENSE,
    image_shape: tuple[int, ...] = (28, 28),
) -> ConvnetParams:
    """Starting parameters.

    Args:
        key: a random key.
        num_classes: the number of outputs.
        initializer: `normal` or `uniform`, for weights and biases.
        channels: out of each convolution.
        hidden: widths of the dense layers but the last.
        image_shape: (height, width) or (height, width, channels).

    Raises:
        ConfigError: the images are too small.

    Example:
        >>> import jax
        >>> sum(leaf.size for leaf in jax.tree.leaves(init(jax.random.key(0))))
        137178
    """
    conv_key, dense_key = jax.random.split(key)
    colors = image_shape[2] if len(image_shape) > 2 else 1
    planes = list(pairwise((colors, *channels)))
    widths = list(pairwise((flat_size(image_shape, channels), *hidden, num_classes)))
    # The bias as one more row, or column in dense layers.
    drawn = draw_layers(
        initializer,
        jnp.concatenate([jax.random.split(conv_key, 3), jax.random.split(dense_key, 3)]),
        [(9 * inputs + 1, outputs) for inputs, outputs in planes]
        + [(outputs, inputs + 1) for inputs, outputs in widths],
        [9 * inputs for inputs, _ in planes] + [inputs for inputs, _ in widths],
    )
    convolutions: list[ConvParams] = [
        {"kernel": layer[:-1].reshape(3, 3, inputs, outputs), "bias": layer[-1]}
        for layer, (inputs, outputs) in zip(drawn[:3], planes, strict=True)
    ]
    dense: list[LinearParams] = [
        {"weight": layer[:, :-1], "bias": layer[:, -1]} for layer in drawn[3:]
    ]
    return {"conv": convolutions, "dense": dense}


def apply(
    params: ConvnetParams,
    images: Float[Array, "n ..."],
    pool_activation: PoolActivation = "gelu",
    *,
    dropout: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "n classes"]:
    """The logits of images.

    Args:
        params: what `init` gives.
        images: floats of whatever scale the network was trained on.
        pool_activation: after each pooling.
        dropout: share of the first dense layer's outputs that training sets to 0; the others grow
            by 1 / (1 - dropout).
        key: in training, of the dropout; without it nothing is left out.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> apply(init(jax.random.key(0)), jnp.zeros((5, 28, 28))).shape
        (5, 26)
    """
    values = images if images.ndim == 4 else images[..., None]
    for layer in params["conv"]:
        # The bias after the pooling, where it is added to a quarter of the values: the largest
        # stays the largest.
        values = max_pool(conv(values, layer["kernel"])) + layer["bias"]
        if pool_activation == "gelu":
            values = gelu(values)
    return dense(params["dense"], values, dropout=dropout, key=key)


def dense(
    params: Sequence[LinearParams],
    values: Float[Array, "n ..."],
    *,
    dropout: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "n classes"]:
    """The dense part: from what the last pooling gives to the logits; arguments as of `apply`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> dense(init(jax.random.key(0))["dense"], jnp.zeros((5, 2, 2, 128))).shape
        (5, 26)
    """
    first, second, third = params
    values = linear.apply(first, values)
    if key is not None and dropout:
        values = drop(key, values, dropout)
    return linear.apply(third, gelu(linear.apply(second, gelu(values))))
