"""A split of a dataset in memory, and the fingerprint that says exactly which data it is."""

import hashlib
import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8

from jaxdigits.data.splits import (
    SPLITS,
    TEST_FRACTION,
    VALIDATION_FRACTION,
    Split,
    held_out_mask,
    split_rows,
    validation_mask,
)
from jaxdigits.errors import DataError

FORM_NAMES = ("mnist", "emnist", "plain")
"""What `Dataset.form` can be: see `jaxdigits.transforms.form`."""


class Examples(NamedTuple):
    """Images and labels, and nothing else: a pytree that jitted functions take.

    Attributes:
        images: [n, height, width] or [n, height, width, channels]; uint8, pixels 0..255, or
            float32, 0..1.
        labels: int32 [n], from 0.
    """

    # Of numpy or, on a device, of jax.
    images: UInt8[Any, "n height width *channels"] | Float32[Any, "n height width *channels"]
    labels: Int[Any, " n"]


@dataclass(frozen=True)
class Fingerprint:
    """Says exactly which data a result was measured on.

    Attributes:
        name: the dataset.
        counts: the numbers of images in `train`, `validation` and `test`.
        sha256: a hash, in hex, of every pixel and label of all splits.
    """

    name: str
    counts: Mapping[str, int]
    sha256: str

    def __str__(self) -> str:
        """One line for people."""
        counts = "/".join(f"{count:,}" for count in self.counts.values())
        return f"{self.name} ({counts} images, sha256 {self.sha256[:12]})"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"name": self.name, "counts": dict(self.counts), "sha256": self.sha256}


_Images = (
    UInt8[np.ndarray, "n height width *channels"] | Float32[np.ndarray, "n height width *channels"]
)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Split:
    """What a split knows apart from its images and labels."""

    class_names: tuple[str, ...]
    split: Split
    fingerprint: Fingerprint
    form: str = "plain"
    light_ground: bool = False
    light_files: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """These, to make another split of the same dataset."""
        return {field.name: getattr(self, field.name) for field in fields(_Split)}


@dataclass(frozen=True, eq=False)
class Dataset(_Split):
    """One split of a dataset.

    Attributes:
        images: uint8 [n, 28, 28], pixels 0..255, upright, in every named dataset; your own may be
            [n, height, width] or [n, height, width, channels], uint8, 0..255, or float32, 0..1.
        labels: int32 [n], from 0.
        class_names: the name of each class, by label.
        split: `train`, `validation`, `test` or `train+validation`.
        fingerprint: of the whole dataset; the same for each of its splits.
        form: how a picture of a character becomes an image like these; see
            `jaxdigits.transforms.form`.
        light_ground: whether strokes are dark on a light ground. In named datasets, and where image
            files are read, they are bright on a dark one.
        light_files: of image files, whether those whose border does not tell were read as dark
            strokes on a light ground.
    """

    images: _Images
    labels: Int32[np.ndarray, " n"]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def examples(self) -> Examples:
        """The images and labels alone, for jitted functions."""
        return Examples(self.images, self.labels)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width) or (height, width, channels)."""
        return self.images.shape[1:]


@dataclass(frozen=True, eq=False)
class StoredSplit(_Split):
    """A split whose images stay in their file, to be read a few at a time.

    Attributes:
        part: images and labels of the official part that the split lies in, memory-mapped.
        rows: which of them make the split, in its order: integers [n]. Others: see `Dataset`.
    """

    part: Examples
    rows: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.rows)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width) or (height, width, channels)."""
        return self.part.images.shape[1:]

    def read(self, indices: Int[np.ndarray, "..."]) -> Examples:
        """Read some images and their labels: [..., *image_shape] and int32 [...].

        Args:
            indices: 0..n-1, of any shape.
        """
        rows = self.rows[indices]
        return Examples(np.take(self.part.images, rows, axis=0), np.take(self.part.labels, rows))

    def load(self) -> Dataset:
        """Read the whole split."""
        return Dataset(*self.read(np.arange(len(self))), **self.facts)


def from_arrays(
    name: str,
    train: Examples,
    test: Examples,
    class_names: Sequence[str],
    validation: Examples | None = None,
    *,
    form: str = "plain",
    light_ground: bool = False,
    stratified: bool = True,
) -> dict[Split, Dataset]:
    """Make a dataset of arrays: check them, hold out validation, take the fingerprint.

    Args:
        name: what to call the data in results.
        train: the training part, of which a twelfth becomes the validation split.
        test: the test part.
        class_names: the name of each class, by label.
        validation: the validation split; nothing else is held out then.
        form, light_ground: see `Dataset`.
        stratified: hold out a twelfth of each class, at least one image and never its last. False
            holds out those of the named datasets, whatever their classes.

    Returns:
        The splits `train`, `validation`, `test` and `train+validation`, as `load` gives them.

    Raises:
        DataError: an array has the wrong shape or dtype, a label is out of range, a class name
            appears twice, or no class has two training images, so that none can be held out.

    Example:
        >>> import numpy as np
        >>> drawings = Examples(np.zeros((24, 28, 28), np.uint8), np.arange(24) % 2)
        >>> shapes = from_arrays("shapes", drawings, drawings, ("box", "disc"))
        >>> {split: len(dataset) for split, dataset in shapes.items()}
        {'train': 22, 'validation': 2, 'test': 24, 'train+validation': 24}
    """
    class_names = check_class_names(class_names)
    parts = [train, test] if validation is None else [train, test, validation]
    for images, labels in parts:
        check_examples(images, labels, num_classes=len(class_names))
    _check_alike([images for images, _ in parts], form)
    whole, test, *given = (Examples(_pixels(x), np.asarray(y, np.int32)) for x, y in parts)
    if given:
        held_out = np.repeat([False, True], [len(whole.labels), len(given[0].labels)])
        whole = Examples(*map(np.concatenate, zip(whole, given[0], strict=True)))
    else:
        held_out = validation_mask(len(whole.labels))
        if stratified:
            held_out = held_out_mask(whole.labels, VALIDATION_FRACTION)
        if not held_out.any() or held_out.all():
            raise DataError(
                "each class has only one training image, so none can be held out for validation; "
                "add images, or give a validation split"
            )
    counts = {
        "train": int((~held_out).sum()),
        "validation": int(held_out.sum()),
        "test": len(test.labels),
    }
    fingerprint = Fingerprint(name, counts, combined_sum(map(array_sum, (*whole, *test))))
    return {
        split: StoredSplit(
            part := test if split == "test" else whole,
            split_rows(len(part.labels), split, held_out),
            class_names=class_names,
            split=split,
            fingerprint=fingerprint,
            form=form,
            light_ground=light_ground,
        ).load()
        for split in SPLITS
    }


def check_splits(splits: Any, needed: Collection[str]) -> None:
    """Raise DataError unless these are the splits of one dataset, by name, as `from_arrays` gives.

    Args:
        splits: to be checked.
        needed: the names without which it will not do.

    Example:
        >>> import jaxdigits as jd
        >>> check_splits({"test": jd.data.load("digits", "test")}, ["test"])
    """
    way = "such as jaxdigits.data.from_arrays makes"
    if not isinstance(splits, Mapping):
        raise DataError(
            f"data must be a mapping from splits to datasets, {way}, not {type(splits).__name__}"
        )
    if missing := [name for name in needed if name not in splits]:
        raise DataError(f"data has no split {' and '.join(missing)}: give a mapping {way}")
    for name, dataset in splits.items():
        if not isinstance(dataset, Dataset):
            raise DataError(
                f"the split {name} must be a Dataset, {way}, not {type(dataset).__name__}"
            )
    first, *others = splits.values()
    for other in others:
        if other.class_names != first.class_names or other.image_shape != first.image_shape:
            raise DataError(
                f"the splits {first.split} and {other.split} differ in their classes or in the "
                "shape of their images: take those of one dataset"
            )


def check_examples(images: Any, labels: Any, num_classes: int) -> None:
    """Raise DataError for arrays that training could not use, before they reach a compiled program.

    A label out of range would make integer cross-entropy a silent `nan`.

    Args:
        images: see `check_images`.
        labels: should be integers [n], 0..num_classes-1.
        num_classes: the number of classes.

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


def check_images(images: Any, image_shape: tuple[int, ...] | None = None) -> None:
    """Raise DataError for anything but arrays of one image or more.

    Args:
        images: should be [n, height, width] or [n, height, width, channels]; uint8, pixels
            0..255, or floats, 0..1.
        image_shape: what each image must have. Default: any.

    Example:
        >>> check_images(np.zeros((2, 28, 27), np.uint8), image_shape=(28, 28))
        Traceback (most recent call last):
        jaxdigits.errors.DataError: images must be of shape [n, 28, 28], uint8 (pixels 0..255) or
        floats (0..1); these are uint8 of shape [2, 28, 27]
    """
    wanted = "[n, height, width] or [n, height, width, channels]"
    if image_shape:
        wanted = f"[n, {', '.join(map(str, image_shape))}]"
    wanted = f"of shape {wanted}, uint8 (pixels 0..255) or floats (0..1)"
    if not hasattr(images, "dtype") or not hasattr(images, "shape"):
        kind = "None" if images is None else f"a {type(images).__name__}"
        raise DataError(f"images must be an array, {wanted}; this is {kind}")
    dtype, shape = np.dtype(images.dtype), tuple(images.shape)
    fits = shape[1:] == image_shape if image_shape else len(shape) in (3, 4) and 0 not in shape[1:]
    whole = dtype == np.uint8
    if not (whole or np.issubdtype(dtype, np.floating)) or not fits:
        raise DataError(f"images must be {wanted}; these are {dtype} of shape {list(shape)}")
    if shape[0] == 0:
        raise DataError(f"there is no image: the array has shape {list(shape)}")
    # Written so that a nan is refused too.
    if not whole and not (images.min() >= 0 and images.max() <= 1):
        found = f"{float(images.min()):g} to {float(images.max()):g}"
        raise DataError(f"floats must be 0..1; these are {found}: divide them by their range")


def kind_of(found: Any) -> str:
    """The dtype and shape of an array, or the type of what is given instead of one.

    Example:
        >>> kind_of(np.zeros((2, 3))), kind_of([0])
        ('float64 of shape [2, 3]', 'list')
    """
    dtype = getattr(found, "dtype", None)
    return type(found).__name__ if dtype is None else f"{dtype} of shape {list(np.shape(found))}"


def _pixels(images: Any) -> np.ndarray:
    """The images as uint8 or float32."""
    array = np.asarray(images)
    return array if array.dtype == np.uint8 else array.astype(np.float32)


def _check_alike(parts: Sequence[np.ndarray], form: str) -> None:
    """Raise DataError where images differ in shape or dtype, or are of another form."""
    kinds = {f"{images.dtype} {list(images.shape[1:])}": None for images in parts}
    if len(kinds) > 1:
        raise DataError(f"all images must have one dtype and shape; these are {', '.join(kinds)}")
    if form not in FORM_NAMES:
        raise DataError(f"form must be one of {', '.join(FORM_NAMES)}, not {form!r}")
    shape = tuple(parts[0].shape[1:])
    if form != "plain" and shape[:2] != (28, 28):
        raise DataError(f"the form {form} is of 28x28 pixels; for {shape} choose plain")


def check_class_names(class_names: Any) -> tuple[str, ...]:
    """Return names as a tuple; raise DataError if one is not a string, or appears twice."""
    several = isinstance(class_names, Iterable) and getattr(class_names, "ndim", 1) == 1
    names = tuple(class_names) if several else ()
    if not names or not all(isinstance(name, str) for name in names):
        found = " ".join(reprlib.repr(class_names).split())
        raise DataError(f"class_names must be a list of strings, one a class, not {found}")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise DataError(f"class names must differ; {name!r} appears twice")
    return names


def array_sum(array: np.ndarray) -> str:
    """Hash an array's dtype, shape and bytes: SHA-256, in hex."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def combined_sum(sums: Iterable[str]) -> str:
    """Hash the hashes of several arrays, in order."""
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()


def hold_out_test(examples: Examples) -> tuple[Examples, Examples]:
    """Take the test split, a seventh of each class, from the training examples; they come first."""
    held_out = held_out_mask(examples.labels, TEST_FRACTION)
    train, test = (Examples(*(array[mask] for array in examples)) for mask in (~held_out, held_out))
    return train, test
