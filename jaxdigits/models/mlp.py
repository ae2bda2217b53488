"""A multi-layer perceptron: linear layers with an activation between them.

Post A row A9 is 784-30-10 with ReLU, post B row B6 is 784-64-10 with a sigmoid.
"""

from collections.abc import Callable, Sequence

import jax
from jaxtyping import Array, Float, Key

from jaxdigits.models import linear
from jaxdigits.models.activations import ACTIVATIONS
from jaxdigits.models.dropout import drop
from jaxdigits.models.linear import LinearParams


def init(
    key: Key[Array, ""],
    num_classes: int = 10,
    hidden: Sequence[int] = (128,),
    inputs: int = 784,
    initializer: str = "uniform",
) -> list[LinearParams]:
    """Starting parameters, a layer an item.

    Args:
        key: a random key.
        num_classes: the number of outputs of the last layer.
        hidden: the widths of the hidden layers, any number of them.
        inputs: the number of inputs: 784 pixels.
        initializer: `normal` or `uniform`, for weights and biases.

    Example:
        >>> import jax
        >>> [layer["weight"].shape for layer in init(jax.random.key(0), hidden=(30,))]
        [(30, 784), (10, 30)]
    """
    widths = [inputs, *hidden, num_classes]
    keys = jax.random.split(key, len(widths) - 1)
    return [
        linear.init(layer_key, fan_out, fan_in, initializer)
        for layer_key, fan_in, fan_out in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def apply(
    params: Sequence[LinearParams],
    images: Float[Array, "n ..."],
    activation: str | Callable[[Array], Array] = "relu",
    *,
    dropout: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "n classes"]:
    """The logits of images, which are flattened.

    Args:
        params: what `init` gives.
        images: floats of whatever scale the network was trained on.
        activation: `relu`, `sigmoid`, `tanh`, `gelu` (its exact form), or any function.
        dropout: share of each hidden layer's values that training sets to 0.
        key: in training, of the dropout; without it nothing is left out.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> apply(init(jax.random.key(0)), jnp.zeros((5, 28, 28))).shape
        (5, 10)
    """
    function = ACTIVATIONS[activation] if isinstance(activation, str) else activation
    values = images
    for index, layer in enumerate(params[:-1]):
        values = function(linear.apply(layer, values))
        if key is not None and dropout:
            values = drop(jax.random.fold_in(key, index), values, dropout)
    return linear.apply(params[-1], values)
