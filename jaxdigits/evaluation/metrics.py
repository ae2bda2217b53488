"""How good predictions are: metrics, their intervals, and an `Evaluation` of a whole split.

Logits are of any scale, labels are 0..classes-1. Metrics of logits and labels can be jitted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Float64, Int, Int32

from jaxdigits.losses import LOSSES, Loss
from jaxdigits.programs import filled, jit_few


def accuracy(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Return the share of examples whose largest logit is the label's.

    Example:
        >>> float(accuracy(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])))
        0.5
    """
    return jnp.mean(logits.argmax(axis=-1) == labels)


def top_k_accuracy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], k: int
) -> Float[Array, ""]:
    """Return the share of examples whose label is among the k largest logits, as in post C row C2.

    Args:
        logits: of each example.
        labels: the right classes.
        k: 1..classes.

    Example:
        >>> logits = jnp.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
        >>> float(top_k_accuracy(logits, jnp.array([1, 2]), k=2))
        0.5
    """
    return jnp.mean(_in_top_k(logits, labels, k))


def _in_top_k(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], k: int
) -> Bool[Array, " n"]:
    _, best = lax.top_k(logits, k)
    return jnp.any(best == labels[:, None], axis=-1)


def confusion_matrix(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Int[Array, "classes classes"]:
    """Count how often each class (row) is predicted as each class (column): int32.

    A label that is no class is not counted.

    Example:
        >>> confusion_matrix(jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([0, 1])).tolist()
        [[1, 0], [1, 0]]
    """
    classes = logits.shape[-1]
    pairs = labels * classes + logits.argmax(axis=-1)
    return jnp.bincount(pairs, length=classes**2).reshape(classes, classes)


def count_confusions(
    logits: Float32[np.ndarray, "n classes"], labels: Int32[np.ndarray, " n"]
) -> Int32[np.ndarray, "classes classes"]:
    """`confusion_matrix` of arrays on the host, with few programs for all numbers of images.

    Example:
        >>> logits = np.array([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]], np.float32)
        >>> count_confusions(logits, np.array([0, 1, 1], np.int32)).tolist()
        [[1, 0], [2, 0]]
    """
    no_class = logits.shape[1]
    return np.asarray(_confusion_matrix(filled(logits), filled(labels, value=no_class)))


_confusion_matrix = jit_few(maxsize=8)(confusion_matrix)


def most_confused(
    counts: Int[np.ndarray, "classes classes"], wanted: int = 5
) -> list[tuple[int, int, int]]:
    """Return the pairs of classes most often confused, in either direction, worst first.

    Post C row C3 names g and q, i and l, h and n.

    Args:
        counts: a confusion matrix.
        wanted: the number of pairs; fewer where fewer are ever confused.

    Returns:
        Two classes, and how often one was predicted as the other.

    Example:
        >>> most_confused(np.array([[8, 2, 0], [1, 9, 0], [0, 4, 6]]))
        [(1, 2, 4), (0, 1, 3)]
    """
    either = np.triu(counts + counts.T, k=1)
    order = np.argsort(-either, axis=None, kind="stable")[:wanted]
    pairs = zip(*np.unravel_index(order, either.shape), strict=True)
    return [(int(a), int(b), int(either[a, b])) for a, b in pairs if either[a, b] > 0]


def per_class_accuracy(
    counts: Int[Array | np.ndarray, "classes classes"],
) -> Float64[np.ndarray, " classes"]:
    """Return the accuracy on each class, from a confusion matrix; nan for a class without examples.

    Example:
        >>> per_class_accuracy(np.array([[3, 1], [0, 2]])).tolist()
        [0.75, 1.0]
    """
    matrix = np.asarray(counts)
    with np.errstate(invalid="ignore"):
        return matrix.diagonal() / matrix.sum(axis=1)


@dataclass(frozen=True)
class Evaluation:
    """How good a network is on a split.

    Attributes:
        split: the name of the split.
        count: the number of images.
        loss: the mean over images.
        accuracy: 0..1.
        low: the lower end of the accuracy's 95% Wilson interval, for images drawn like these.
        high: the upper end.
        top_2: the top-2 accuracy, 0..1.
        confused: the most confused pairs of classes, and how often.
        per_class: the accuracy on each class's images, by class name; None without images.
    """

    split: str
    count: int
    loss: float
    accuracy: float
    low: float
    high: float
    top_2: float
    confused: Sequence[tuple[str, str, int]]
    per_class: Mapping[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; a loss that isn't finite becomes None."""
        return {
            "count": self.count,
            "loss": self.loss if np.isfinite(self.loss) else None,
            "accuracy": self.accuracy,
            "interval_95": [self.low, self.high],
            "top_2_accuracy": self.top_2,
            "most_confused": [list(pair) for pair in self.confused],
            "per_class_accuracy": dict(self.per_class),
        }


def evaluate(
    logits: Float32[np.ndarray, "n classes"],
    labels: Int32[np.ndarray, " n"],
    class_names: Sequence[str],
    loss: str | Loss = "cross_entropy",
    *,
    split: str = "test",
) -> Evaluation:
    """Measure the logits of a split.

    Args:
        logits: of each image.
        labels: the right classes.
        class_names: by label.
        loss: a name in `LOSSES`, or a function from logits and labels to a loss per image.
        split: the name of the split.

    Example:
        >>> logits = np.array([[2.0, 1.0], [2.0, 1.0]], np.float32)
        >>> result = evaluate(logits, np.array([0, 1], np.int32), ["a", "b"])
        >>> result.accuracy, result.confused, result.per_class
        (0.5, [('a', 'b', 1)], {'a': 1.0, 'b': 0.0})
    """
    counts = count_confusions(logits, labels)
    correct, count = int(np.trace(counts)), len(labels)
    loss_of = LOSSES[loss] if isinstance(loss, str) else loss
    losses, top_2 = map(np.asarray, _measure(loss_of, filled(logits), filled(labels)))
    low, high = wilson_interval(correct, count)
    return Evaluation(
        split,
        count,
        float(losses[:count].mean(dtype=np.float64)),
        correct / count,
        low,
        high,
        int(top_2[:count].sum()) / count,
        [(class_names[a], class_names[b], times) for a, b, times in most_confused(counts)],
        {
            name: None if np.isnan(share) else float(share)
            for name, share in zip(class_names, per_class_accuracy(counts), strict=True)
        },
    )


@jit_few(maxsize=8, static=1)
def _measure(
    loss: Loss, logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """The loss of each image, and whether its label is among the two largest logits."""
    return loss(logits, labels), _in_top_k(logits, labels, 2)


def wilson_interval(correct: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the accuracy on images drawn like these, `correct` of `count` right.

    Wilson's score interval (Wilson 1927), which stays within 0..1 and holds for accuracies near 1.
    scipy's is in a module that takes most of a second to import.

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
    """Return the mean over runs with different seeds, and the ends of its Student's t interval.

    Args:
        values: one per run, two or more.
        level: of confidence, 0..1.

    Raises:
        ValueError: there are fewer than two values.

    Example:
        >>> [round(x, 3) for x in mean_interval([0.91, 0.92, 0.93])]
        [0.92, 0.895, 0.945]
    """
    half = _t_half_width(values, level) / math.sqrt(len(values))
    return fmean(values), fmean(values) - half, fmean(values) + half


def accuracy_interval(accuracies: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of accuracies, and the ends of its 95% interval, within 0..1.

    Example:
        >>> accuracy_interval([0.9, 1.0])[1:]
        (0.31..., 1.0)
    """
    mean, low, high = mean_interval(accuracies)
    return mean, max(low, 0.0), min(high, 1.0)


def prediction_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the interval that one more run, with another seed, falls in.

    It is wider than the mean's, however many runs there are: it holds the scatter of a single run,
    such as a published one. Arguments: see `mean_interval`.

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
