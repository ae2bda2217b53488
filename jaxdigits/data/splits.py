"""Which images make a split: the same for every run."""

from typing import Literal, get_args

import numpy as np

Split = Literal["train", "validation", "test", "train+validation"]
SPLITS: tuple[Split, ...] = get_args(Split)

TEST_FRACTION = 1 / 7
"""The share of each class that becomes the test split where there is none: MNIST's 1 in 7."""

VALIDATION_FRACTION = 1 / 12
"""The share of the official training data that is held out: 5,000 of MNIST's 60,000."""


def split_counts(train_count: int, test_count: int) -> dict[str, int]:
    """Count the images of each split, given the counts of the official parts.

    Example:
        >>> split_counts(60_000, 10_000)
        {'train': 55000, 'validation': 5000, 'test': 10000}
    """
    held_out = max(round(train_count * VALIDATION_FRACTION), 1)
    return {"train": train_count - held_out, "validation": held_out, "test": test_count}


def validation_mask(count: int) -> np.ndarray:
    """Mark which of `count` official training images are held out for validation: bool [count].

    The same for every run and every version of numpy: `RandomState` is frozen by numpy's own
    compatibility policy.

    Example:
        >>> int(validation_mask(60_000).sum())
        5000
    """
    mask = np.zeros(count, bool)
    held_out = split_counts(count, 0)["validation"]
    mask[np.random.RandomState(0).permutation(count)[:held_out]] = True
    return mask


def held_out_mask(labels: np.ndarray, share: float) -> np.ndarray:
    """Mark a share of each class, at least one image but never its last: bool [n].

    The same for every run and every version of numpy, as in `validation_mask`.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 2])
        >>> np.bincount(labels[held_out_mask(labels, 1 / 12)]).tolist()
        [1, 1]
    """
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(len(members) * share), 1), len(members) - 1)
        mask[np.random.RandomState(0).permutation(members)[:count]] = True
    return mask


def split_rows(count: int, split: Split, held_out: np.ndarray | None = None) -> np.ndarray:
    """List which of the `count` images of its official part make a split: integers, ascending.

    Args:
        count: images in that part.
        split: which split of it.
        held_out: which training images are the validation split. Default: the usual ones.

    Example:
        >>> len(split_rows(60_000, "train")), split_rows(3, "test").tolist()
        (55000, [0, 1, 2])
    """
    if split in ("test", "train+validation"):
        return np.arange(count)
    mask = validation_mask(count) if held_out is None else held_out
    return np.flatnonzero(mask if split == "validation" else ~mask)
