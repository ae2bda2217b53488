"""A split of a data set in memory, and the fingerprint that says exactly which data it is."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Int, Int32, UInt8

from jaxdigits.errors import DataError

Split = Literal["train", "validation", "test", "train+validation"]
SPLITS: tuple[Split, ...] = get_args(Split)

VALIDATION_FRACTION = 1 / 12
"""The share of the official training data that is held out: 5,000 of MNIST's 60,000."""


class Examples(NamedTuple):
    """Images and labels, and nothing else: a pytree that jitted functions take.

    Attributes:
        images: uint8 [n, 28, 28], pixels 0..255, ink bright on a dark ground.
        labels: int32 [n], from 0.
    """

    images: UInt8[Any, "n 28 28"]  # of numpy or, on a device, of jax
    labels: Int[Any, " n"]


@dataclass(frozen=True)
class Fingerprint:
    """Says exactly which data a result was measured on.

    Attributes:
        name: the data set.
        counts: the numbers of images in `train`, `validation` and `test`.
        sha256: a sum, in hex, over every pixel and label of all splits.
    """

    name: str
    counts: Mapping[str, int]
    sha256: str

    def __str__(self) -> str:
        """One line for people."""
        counts = "/".join(f"{count:,}" for count in self.counts.values())
        return f"{self.name} ({counts} images, sha256 {self.sha256[:12]})"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {"name": self.name, "counts": dict(self.counts), "sha256": self.sha256}


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    Attributes:
        images: uint8 [n, 28, 28], pixels 0..255, upright, ink bright on a dark ground.
        labels: int32 [n], from 0.
        class_names: the name of each class, by label.
        split: `train`, `validation`, `test` or `train+validation`.
        fingerprint: of the whole data set; the same for each of its splits.
    """

    images: UInt8[np.ndarray, "n 28 28"]
    labels: Int32[np.ndarray, " n"]
    class_names: tuple[str, ...]
    split: Split
    fingerprint: Fingerprint
    form: str = "plain"
    light_ground: bool = False

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def examples(self) -> Examples:
        """The images and labels alone, for jitted functions."""
        return Examples(self.images, self.labels)


@dataclass(frozen=True, eq=False)
class StoredSplit:
    """A split whose images stay in their file, to be read a few at a time.

    Attributes:
        part: images and labels of the official part that it lies in, as arrays on the disk.
        rows: which of them make the split, in its order: integers [n].
        class_names: the name of each class, by label.
        split: which one it is.
        fingerprint: of the whole data set.
    """

    part: Examples
    rows: Int[np.ndarray, " n"]
    class_names: tuple[str, ...]
    split: Split
    fingerprint: Fingerprint

    def __len__(self) -> int:
        """The number of images."""
        return len(self.rows)

    def read(self, indices: Int[np.ndarray, "..."]) -> Examples:
        """Some images and their labels: uint8 [..., 28, 28] and int32 [...].

        Args:
            indices: 0..n-1, of any shape.
        """
        rows = self.rows[indices]
        return Examples(np.take(self.part.images, rows, axis=0), np.take(self.part.labels, rows))


def check_examples(images: Any, labels: Any, num_classes: int) -> None:
    """Refuses arrays that a training run could not use, before they reach a compiled program.

    A label out of range would make integer cross-entropy a silent `nan`.

    Args:
        images: should be uint8 [n, 28, 28], pixels 0..255.
        labels: should be integers [n], 0..num_classes-1.
        num_classes: the number of classes.

    Raises:
        DataError: says what is wrong.

    Example:
        >>> import numpy as np
        >>> images = np.zeros((2, 28, 28), np.uint8)
        >>> check_examples(images, np.array([0, 10]), num_classes=10)
        Traceback (most recent call last):
        jaxdigits.errors.DataError: label 10 of image 1 is out of range: labels must be 0..9
    """
    check_images(images)
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
        raise DataError(
            f"labels must be integers of shape [{len(images)}], one for each image; "
            f"these are {labels.dtype} of shape {list(labels.shape)}"
        )
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        first = int(outside[0])
        raise DataError(
            f"label {labels[first]} of image {first} is out of range: "
            f"labels must be 0..{num_classes - 1}"
        )


def check_images(images: Any) -> None:
    """Refuses arrays that are not uint8 [n, 28, 28] with at least one image.

    Raises:
        DataError: says what is wrong.
    """
    if not hasattr(images, "dtype") or not hasattr(images, "shape"):
        raise DataError(
            "images must be an array, uint8 of shape [n, 28, 28] with pixels 0..255; "
            f"this is {_kind_of(images)}"
        )
    dtype, shape = np.dtype(images.dtype), tuple(images.shape)
    if dtype != np.uint8 or len(shape) != 3 or shape[1:] != (28, 28):
        raise DataError(
            "images must be uint8 of shape [n, 28, 28], pixels 0..255; "
            f"these are {dtype} of shape {list(shape)}"
        )
    if shape[0] == 0:
        raise DataError("there is no image: the array has shape [0, 28, 28]")


def _kind_of(value: Any) -> str:
    """What a value is, in words."""
    return "None" if value is None else f"a {type(value).__name__}"


def check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple, if each is a text and none stands twice.

    Raises:
        DataError: says which is not.

    Example:
        >>> check_class_names(["box", "disc", "box"])
        Traceback (most recent call last):
        jaxdigits.errors.DataError: class names must differ; 'box' appears twice
    """
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
        raise DataError(f"class_names must be a list of texts, one per class, not {class_names!r}")
    names = tuple(class_names)
    for index, name in enumerate(names):
        if name in names[:index]:
            raise DataError(f"class names must differ; {name!r} appears twice")
    return names


def array_sum(array: np.ndarray) -> str:
    """The SHA-256 sum, in hex, of an array's dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def combined_sum(sums: Sequence[str]) -> str:
    """One sum for several arrays: that of their sums in order."""
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()


def held_out_count(train_count: int) -> int:
    """How many official training images are held out for validation: a twelfth, at least one."""
    return max(round(train_count * VALIDATION_FRACTION), 1)


def split_counts(train_count: int, test_count: int) -> dict[str, int]:
    """How many images each split has, given the counts of the official parts."""
    held_out = held_out_count(train_count)
    return {"train": train_count - held_out, "validation": held_out, "test": test_count}


def validation_mask(count: int) -> np.ndarray:
    """Which of `count` official training images are held out for validation: bool [count].

    The same for every run and every version of numpy: `RandomState` is frozen by numpy's own
    compatibility policy.

    Example:
        >>> int(validation_mask(60_000).sum())
        5000
    """
    mask = np.zeros(count, bool)
    mask[np.random.RandomState(0).permutation(count)[: held_out_count(count)]] = True
    return mask


def split_rows(count: int, split: Split, held_out: np.ndarray | None = None) -> np.ndarray:
    """Which images of the official part that it lies in make a split: integers, ascending.

    Args:
        count: images in that part.
        split: which split of it.
        held_out: which training images are the validation split; the usual ones if not given.

    Example:
        >>> len(split_rows(60_000, "train")), split_rows(3, "test").tolist()
        (55000, [0, 1, 2])
    """
    if split in ("test", "train+validation"):
        return np.arange(count)
    mask = validation_mask(count) if held_out is None else held_out
    return np.flatnonzero(mask if split == "validation" else ~mask)


def take_split(
    part: Examples, split: Split, held_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of a split from the official part; arguments as of `split_rows`."""
    rows = split_rows(len(part.labels), split, held_out)
    return np.take(part.images, rows, axis=0), np.take(part.labels, rows)


def from_arrays(
    name: str,
    train: Examples,
    test: Examples,
    class_names: Sequence[str],
    validation: Examples | None = None,
) -> dict[Split, Dataset]:
    """A data set of your own: checks the arrays, holds out validation, takes the fingerprint.

    Args:
        name: what to call the data in results.
        train: the training part, of which a twelfth becomes the validation split.
        test: the test part.
        class_names: the name of each class, by label.
        validation: the validation split, if there is one already: nothing is held out then.

    Returns:
        The splits `train`, `validation`, `test` and `train+validation`, as `load` gives them.

    Raises:
        DataError: an array has the wrong shape or dtype, a label is out of range, a class name
            appears twice, or there is only one training image, of which none can be held out.

    Example:
        >>> import numpy as np
        >>> drawings = Examples(np.zeros((24, 28, 28), np.uint8), np.arange(24) % 2)
        >>> shapes = from_arrays("shapes", drawings, drawings, ("box", "disc"))
        >>> {split: len(dataset) for split, dataset in shapes.items()}
        {'train': 22, 'validation': 2, 'test': 24, 'train+validation': 24}
    """
    class_names = check_class_names(class_names)
    parts = []
    for images, labels in (train, test) if validation is None else (train, test, validation):
        check_examples(images, labels, num_classes=len(class_names))
        parts.append(Examples(np.asarray(images), np.asarray(labels, np.int32)))
    whole, test, *given = parts
    if given:
        held_out = np.repeat([False, True], [len(whole.labels), len(given[0].labels)])
        whole = Examples(*map(np.concatenate, zip(whole, given[0], strict=True)))
    elif len(whole.labels) < 2:
        raise DataError("there must be two training images or more: one is held out")
    else:
        held_out = validation_mask(len(whole.labels))
    counts = {
        "train": int((~held_out).sum()),
        "validation": int(held_out.sum()),
        "test": len(test.labels),
    }
    sums = [array_sum(array) for array in (*whole, *test)]
    fingerprint = Fingerprint(name, counts, combined_sum(sums))
    return {
        split: Dataset(
            *take_split(test if split == "test" else whole, split, held_out),
            class_names,
            split,
            fingerprint,
        )
        for split in SPLITS
    }
