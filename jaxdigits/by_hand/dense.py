"""The gradients of the first post, derived by hand, for the linear model and the MLP.

The loss is L = sum_i w_i CE(softmax(z_i), label_i): weights of 1/n give the mean over a batch,
weights of 1 the sum. What makes it pleasant is that softmax and cross-entropy together have the
derivative

    dL/dz = w * (softmax(z) - onehot(label))

because CE = log(sum_j exp(z_j)) - z_label, the first term's derivative is the softmax and the
second's the one-hot vector. All else is the chain rule, layer by layer from the last to the first:
for a layer z = x W^T + b,

    dL/dW = (dL/dz)^T x        dL/db = sum over examples of dL/dz        dL/dx = dL/dz W

and for an activation a = f(z), dL/dz = dL/da * f'(z).

A test compares every line with `jax.grad`, in float64, to 1e-10.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxdigits.losses import softmax
from jaxdigits.models.activations import ACTIVATIONS
from jaxdigits.models.linear import LinearParams
from jaxdigits.models.linear import apply as layer_forward


def _sigmoid_derivative(z: Array) -> Array:
    s = jax.nn.sigmoid(z)
    return s * (1 - s)


def _gelu_derivative(z: Array) -> Array:
    """gelu(z) = z P(z), with P the normal distribution function and p its density."""
    return jax.scipy.stats.norm.cdf(z) + z * jax.scipy.stats.norm.pdf(z)


DERIVATIVES: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "relu": lambda z: (z > 0).astype(z.dtype),
        "sigmoid": _sigmoid_derivative,
        "tanh": lambda z: 1 - jnp.tanh(z) ** 2,
        "gelu": _gelu_derivative,
    }
)
"""f'(z) of each activation."""


def cross_entropy_of_logits(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], weights: Float[Array, " n"]
) -> Float[Array, "n classes"]:
    """dL/dz = w * (softmax(z) - onehot(label)).

    Example:
        >>> import jax.numpy as jnp
        >>> cross_entropy_of_logits(jnp.zeros((1, 2)), jnp.array([0]), jnp.ones(1)).tolist()
        [[-0.5, 0.5]]
    """
    onehot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return weights[:, None] * (softmax(logits) - onehot)


def layer(inputs: Float[Array, "n inputs"], d_outputs: Float[Array, "n outputs"]) -> LinearParams:
    """The gradients of a layer's parameters from its inputs and its outputs' gradient.

    Example:
        >>> import jax.numpy as jnp
        >>> layer(jnp.array([[1.0, 2.0]]), jnp.array([[3.0]]))["weight"].tolist()
        [[3.0, 6.0]]
    """
    return {"weight": d_outputs.T @ inputs, "bias": d_outputs.sum(axis=0)}


def linear(
    params: LinearParams,
    images: Float[Array, "n ..."],
    labels: Int[Array, " n"],
    weights: Float[Array, " n"],
) -> tuple[Float[Array, "n classes"], LinearParams]:
    """Logits and gradients of the linear model. Post A row A4.

    Args:
        params: of `jaxdigits.models.linear`.
        images: scaled pixels, flattened here.
        labels: 0..classes-1.
        weights: of each example in the loss.

    Returns:
        The logits, and the gradients, shaped like `params`.
    """
    inputs = images.reshape(len(images), -1)
    logits = layer_forward(params, inputs)
    return logits, layer(inputs, cross_entropy_of_logits(logits, labels, weights))


def mlp(
    params: Sequence[LinearParams],
    images: Float[Array, "n ..."],
    labels: Int[Array, " n"],
    weights: Float[Array, " n"],
    activation: str = "relu",
) -> tuple[Float[Array, "n classes"], list[LinearParams]]:
    """Logits and gradients of a multi-layer perceptron, of any depth.

    Args:
        params: of `jaxdigits.models.mlp`.
        images: scaled pixels, flattened here.
        labels: 0..classes-1.
        weights: of each example in the loss.
        activation: one of `DERIVATIVES`.

    Returns:
        The logits, and the gradients, shaped like `params`.
    """
    function, derivative = ACTIVATIONS[activation], DERIVATIVES[activation]
    # Forward, keeping each layer's inputs, and its outputs before the activation.
    inputs, outputs = [], []
    values = images.reshape(len(images), -1)
    for index, params_of_layer in enumerate(params):
        inputs.append(values if index == 0 else function(values))
        values = layer_forward(params_of_layer, inputs[-1])
        outputs.append(values)
    logits = values
    # Backward.
    d_outputs = cross_entropy_of_logits(logits, labels, weights)
    gradients = []
    for index in reversed(range(len(params))):
        gradients.append(layer(inputs[index], d_outputs))
        if index > 0:
            d_inputs = d_outputs @ params[index]["weight"]
            d_outputs = d_inputs * derivative(outputs[index - 1])
    return logits, gradients[::-1]
