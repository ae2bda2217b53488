"""How good predictions are. Those that take logits and labels can be jitted."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int


def accuracy(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """The share of examples whose largest logit is that of the label.

    Example:
        >>> import jax.numpy as jnp
        >>> float(accuracy(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])))
        0.5
    """
    return jnp.mean(logits.argmax(axis=-1) == labels)


def top_k_accuracy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], k: int
) -> Float[Array, ""]:
    """The share of examples whose label is among the k largest logits. Post C row C2 has k = 2.

    Args:
        logits: any scale.
        labels: 0..classes-1.
        k: 1..classes.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
        >>> float(top_k_accuracy(logits, jnp.array([1, 2]), k=2))
        0.5
    """
    _, best = lax.top_k(logits, k)
    return jnp.mean(jnp.any(best == labels[:, None], axis=-1))


def confusion_matrix(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Int[Array, "classes classes"]:
    """How often each class (row) was taken for each class (column): int32 counts.

    Example:
        >>> import jax.numpy as jnp
        >>> confusion_matrix(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])).tolist()
        [[1, 0], [1, 0]]
    """
    classes = logits.shape[-1]
    pairs = labels * classes + logits.argmax(axis=-1)
    return jnp.bincount(pairs, length=classes**2).reshape(classes, classes)


def most_confused(
    counts: Int[np.ndarray, "classes classes"], wanted: int = 5
) -> list[tuple[int, int, int]]:
    """The pairs of classes that are most often taken for each other, in either direction.

    Post C row C3 names g and q, i and l, h and n.

    Args:
        counts: a confusion matrix.
        wanted: at most so many pairs.

    Returns:
        Two classes and how often one was taken for the other, worst first; pairs that never were
        are left out.

    Example:
        >>> most_confused(np.array([[8, 2, 0], [1, 9, 0], [0, 4, 6]]))
        [(1, 2, 4), (0, 1, 3)]
    """
    either = np.triu(counts + counts.T, k=1)
    order = np.argsort(-either, axis=None, kind="stable")[:wanted]
    pairs = zip(*np.unravel_index(order, either.shape), strict=True)
    return [(int(a), int(b), int(either[a, b])) for a, b in pairs if either[a, b] > 0]


def per_class_accuracy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Float[Array, " classes"]:
    """The accuracy on the examples of each class; nan for a class without any.

    Example:
        >>> import jax.numpy as jnp
        >>> per_class_accuracy(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])).tolist()
        [1.0, 0.0]
    """
    counts = confusion_matrix(logits, labels)
    return jnp.diagonal(counts) / counts.sum(axis=1)


def wilson_interval(correct: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """The interval for the accuracy on images drawn like these, from `correct` of `count` right.

    Wilson's score interval (Wilson 1927), which stays within 0..1 and holds for accuracies near 1.
    scipy has it too, in a module that takes most of a second to import.

    Args:
        correct: 0..count.
        count: 1 or more.
        level: of confidence, 0..1.

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(98, 100)]
        [0.93, 0.9945]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = correct / count, 1 / (1 + z**2 / count)
    middle = shrink * (share + z**2 / (2 * count))
    half = shrink * z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """The mean over runs with different seeds, and the interval in which the true mean lies.

    Student's t interval.

    Args:
        values: one for each run, two or more.
        level: of confidence, 0..1.

    Returns:
        The mean, and the ends of its interval.

    Raises:
        ValueError: there are fewer than two values.

    Example:
        >>> [round(x, 3) for x in mean_interval([0.91, 0.92, 0.93])]
        [0.92, 0.895, 0.945]
    """
    half = _t_half_width(values, level) / math.sqrt(len(values))
    return fmean(values), fmean(values) - half, fmean(values) + half


def prediction_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The interval in which one more run with another seed lies; arguments as of `mean_interval`.

    It is wider than that of the mean, and stays so however many runs there are: it holds the
    scatter of a single run, such as the one that somebody reports.

    Example:
        >>> [round(x, 3) for x in prediction_interval([0.91, 0.92, 0.93])]
        [0.87, 0.97]
    """
    half = _t_half_width(values, level) * math.sqrt(1 + 1 / len(values))
    return fmean(values) - half, fmean(values) + half


def _t_half_width(values: Sequence[float], level: float) -> float:
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs two values or more, not {len(values)}")
    from scipy.special import stdtrit  # a fifth of a second that training need not wait for

    return float(stdtrit(len(values) - 1, (1 + level) / 2)) * stdev(values)
