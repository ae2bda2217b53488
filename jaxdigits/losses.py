"""The losses of the posts.

Each takes logits, float [n, classes], and labels, int [n] in 0..classes-1, and gives one value per
example, float [n]; the caller takes the mean or the sum. Each raises TypeError where the labels are
not whole numbers, one for each example. Whether they are in range a compiled program cannot say:
`jaxdigits.data` sees to it where data come in.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Loss = Callable[[Float[Array, "n classes"], Int[Array, " n"]], Float[Array, " n"]]


def softmax(logits: Float[Array, "*n classes"]) -> Float[Array, "*n classes"]:
    """Probabilities exp(z_i) / sum_j exp(z_j), the largest logit subtracted first. Post A row A2.

    Example:
        >>> import jax.numpy as jnp
        >>> softmax(jnp.array([1000.0, 1000.0])).tolist()
        [0.5, 0.5]
    """
    return jax.nn.softmax(logits)


def _check(scores: Array, labels: Array) -> None:
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != scores.shape[:-1]:
        raise TypeError(
            f"labels must be whole numbers of shape {list(scores.shape[:-1])}, one for each row of "
            f"{list(scores.shape)}; these are {labels.dtype} of shape {list(labels.shape)}"
        )


def cross_entropy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Float[Array, " n"]:
    """Minus the logarithm of the probability of the right class, stable for any logits.

    log(sum_j exp(z_j)) - z_label; post B row B5.

    Example:
        >>> import jax.numpy as jnp
        >>> losses = cross_entropy(jnp.array([[0.0, 0.0], [1000.0, 0.0]]), jnp.array([0, 1]))
        >>> [f"{x:.4f}" for x in losses]
        ['0.6931', '1000.0000']
    """
    import optax  # takes a tenth of a second, which prediction can do without

    _check(logits, labels)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def smoothed_cross_entropy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], smoothing: float = 0.1
) -> Float[Array, " n"]:
    """The cross-entropy with a share of each label given to all classes alike.

    Szegedy et al., arXiv 1512.00567, section 7: the target is 1 - smoothing + smoothing / classes
    for the label's class and smoothing / classes for the others.

    Args:
        logits: any scale.
        labels: 0..classes-1.
        smoothing: the share, 0..1; 0 gives `cross_entropy`.

    Example:
        >>> import jax.numpy as jnp
        >>> sure = jnp.array([[100.0, 0.0]])
        >>> float(smoothed_cross_entropy(sure, jnp.array([0]), smoothing=0.1)[0])
        5.0
    """
    import optax

    _check(logits, labels)
    onehot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(onehot, smoothing))


def cross_entropy_from_probabilities(
    probabilities: Float[Array, "n classes"], labels: Int[Array, " n"], floor: float = 1e-10
) -> Float[Array, " n"]:
    """Minus the logarithm of the right class's probability, clamped to [floor, 1]. Post A row A3.

    As in PyTorch's `clamp`, nothing flows back from outside the interval and everything from
    inside, the ends included. So a confidently wrong example, its probability below the floor,
    teaches nothing.

    Args:
        probabilities: rows that need not add up to 1.
        labels: 0..classes-1.
        floor: the least probability.

    Example:
        >>> import jax.numpy as jnp
        >>> p = jnp.array([[0.8, 0.2, 0.2], [0.2, 0.6, 0.2], [0.0, 1.0, 0.0]])
        >>> [f"{x:.4f}" for x in cross_entropy_from_probabilities(p, jnp.array([0, 0, 0]))]
        ['0.2231', '1.6094', '23.0259']
    """
    _check(probabilities, labels)
    right = jnp.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    inside = (right >= floor) & (right <= 1)
    clamped = jnp.where(inside, right, jax.lax.stop_gradient(jnp.clip(right, floor, 1)))
    return -jnp.log(clamped)


def clamped_cross_entropy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Float[Array, " n"]:
    """The cross-entropy of post A: softmax, clamp, logarithm. Rows A4 to A9.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> wrong = jnp.array([[0.0, 100.0]])
        >>> jax.grad(lambda z: clamped_cross_entropy(z, jnp.array([0])).sum())(wrong).tolist()
        [[0.0, 0.0]]
    """
    return cross_entropy_from_probabilities(softmax(logits), labels)


def _mean_squared_error(
    scores: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Float[Array, " n"]:
    _check(scores, labels)
    onehot = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
    return jnp.mean((onehot - scores) ** 2, axis=-1)


def sigmoid_mse(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    """The mean over classes of (onehot - sigmoid(z))^2. Post B row B3.

    Example:
        >>> import jax.numpy as jnp
        >>> sigmoid_mse(jnp.zeros((1, 2)), jnp.array([0])).tolist()
        [0.25]
    """
    return _mean_squared_error(jax.nn.sigmoid(logits), labels)


def softmax_mse(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    """The mean over classes of (onehot - softmax(z))^2. Post B row B4.

    Example:
        >>> import jax.numpy as jnp
        >>> softmax_mse(jnp.zeros((1, 4)), jnp.array([0])).tolist()
        [0.1875]
    """
    return _mean_squared_error(softmax(logits), labels)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "cross_entropy": cross_entropy,
        "clamped_cross_entropy": clamped_cross_entropy,
        "sigmoid_mse": sigmoid_mse,
        "softmax_mse": softmax_mse,
    }
)
