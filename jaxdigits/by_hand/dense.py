"""The gradients of the first post by hand, for the linear model and the MLP.

The loss is L = sum_i w_i CE(softmax(z_i), label_i): weights of 1/n give the mean over a batch,
weights of 1 the sum. Softmax and cross-entropy together have a simple derivative,

    dL/dz = w * (softmax(z) - onehot(label)),

because CE = log(sum_j exp(z_j)) - z_label: the derivative of the first term is the softmax, that of
the second the one-hot vector. The rest is the chain rule, from the last layer to the first. For a
layer z = x W^T + b,

    dL/dW = (dL/dz)^T x        dL/db = sum over examples of dL/dz        dL/dx = dL/dz W

and for an activation a = f(z), dL/dz = dL/da * f'(z).

A test compares every gradient with `jax.grad`, in float64, to 1e-10.
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
    """Differentiate z P(z), where P is the normal distribution function."""
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
    """Return dL/dz = w * (softmax(z) - onehot(label)).

    Example:
        >>> cross_entropy_of_logits(jnp.zeros((1, 2)), jnp.array([0]), jnp.ones(1)).tolist()
        [[-0.5, 0.5]]
    """
    onehot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return weights[:, None] * (softmax(logits) - onehot)


def layer(inputs: Float[Array, "n inputs"], d_outputs: Float[Array, "n outputs"]) -> LinearParams:
    """Return the gradients of a layer's parameters from its inputs and its outputs' gradient.

    Example:
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
    """Return logits and gradients of the linear model: post A row A4.

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
    """Return logits and gradients of a multilayer perceptron of any depth.

    Args: see `linear`; the activation is one of `DERIVATIVES`.
    """
    function, derivative = ACTIVATIONS[activation], DERIVATIVES[activation]
    # Forward. Keep each layer's inputs, and its outputs before the activation.
    inputs = [images.reshape(len(images), -1)]
    outputs = [layer_forward(params[0], inputs[0])]
    for params_of_layer in params[1:]:
        inputs.append(function(outputs[-1]))
        outputs.append(layer_forward(params_of_layer, inputs[-1]))
    # Backward.
    d_outputs = cross_entropy_of_logits(outputs[-1], labels, weights)
    gradients = []
    for index in reversed(range(len(params))):
        gradients.append(layer(inputs[index], d_outputs))
        if index > 0:
            d_inputs = d_outputs @ params[index]["weight"]
            d_outputs = d_inputs * derivative(outputs[index - 1])
    return outputs[-1], gradients[::-1]
