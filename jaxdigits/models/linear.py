"""One linear layer: logits = x W^T + b. Post A rows A4 to A8, post B rows B3 to B5."""

from typing import TypedDict

from jaxtyping import Array, Float, Key

from jaxdigits.models.initializers import INITIALIZERS


class LinearParams(TypedDict):
    """The parameters of one layer.

    The weight has a row for each output, as in `torch.nn.Linear`. On a CPU an epoch is 1.3 to 1.6
    times faster so than with a column for each output: the gradient of the weight is then the
    product `dlogits^T x`, whose transposed operand is the small one.
    """

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]


def init(
    key: Key[Array, ""], num_classes: int = 10, inputs: int = 784, initializer: str = "uniform"
) -> LinearParams:
    """Starting parameters.

    Args:
        key: a random key.
        num_classes: the number of outputs.
        inputs: the number of inputs: 784 pixels.
        initializer: `normal` or `uniform`, for the weight and the bias.

    Example:
        >>> import jax
        >>> {name: p.shape for name, p in init(jax.random.key(0)).items()}
        {'weight': (10, 784), 'bias': (10,)}
    """
    # The bias as one more column: each draw takes a tenth of a second to compile.
    drawn = INITIALIZERS[initializer](key, (num_classes, inputs + 1), inputs)
    return {"weight": drawn[:, :-1], "bias": drawn[:, -1]}


def apply(params: LinearParams, images: Float[Array, "n ..."]) -> Float[Array, "n classes"]:
    """The logits of images, of whatever shape: they are flattened.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> apply(init(jax.random.key(0)), jnp.zeros((5, 28, 28))).shape
        (5, 10)
    """
    return images.reshape(images.shape[0], -1) @ params["weight"].T + params["bias"]
