"""Data sets of handwritten characters as plain arrays.

    import jaxdigits as jd
    train = jd.data.load("mnist", "train")     # images uint8 [55000, 28, 28], labels int32 [55000]

| file | subject |
|---|---|
| `dataset.py` | `Dataset`, `Examples`, fingerprints, the validation split, checks of arrays |
| `specs.py` | every data set: files, addresses, sums, classes |
| `sources.py` | finding the files: a folder of the user's, or a host that answers |
| `idx.py` | reading the IDX format |
| `builders.py` | builders for tensorflow-datasets, without TensorFlow |
| `arrays.py` | the prepared arrays |
| `preparation.py` | preparing: once, safely |
| `embedded.py` | the digits that need no download |
| `folders.py` | folders of images: your own, or exported ones |
| `images.py` | image files of any kind, brought to 28x28 |
| `conventions.py` | a drawn character, brought to the form of MNIST or EMNIST |

Nothing here imports jax.
"""

import functools
import os
from collections.abc import Sequence

import numpy as np

from jaxdigits.data import arrays, embedded
from jaxdigits.data.dataset import (
    SPLITS,
    Dataset,
    Examples,
    Fingerprint,
    Split,
    StoredSplit,
    check_examples,
    check_images,
    from_arrays,
)
from jaxdigits.data.folders import export_folder, find_folder, load_folder
from jaxdigits.data.preparation import StrPath, find_spec, is_prepared, prepare, prepared_folder
from jaxdigits.data.specs import SPECS
from jaxdigits.errors import DataError
from jaxdigits.transforms.form import to_emnist, to_mnist

__all__ = [
    "Dataset",
    "Examples",
    "Fingerprint",
    "StoredSplit",
    "check_examples",
    "check_images",
    "export_folder",
    "find_folder",
    "from_arrays",
    "is_prepared",
    "load",
    "load_folder",
    "load_splits",
    "names",
    "open_split",
    "prepare",
    "read_fingerprint",
    "to_emnist",
    "to_mnist",
]


def names() -> tuple[str, ...]:
    """The names of all data sets.

    Example:
        >>> names()[:3]
        ('digits', 'mnist', 'fashion_mnist')
    """
    return (embedded.NAME, *SPECS)


def load(
    name: StrPath,
    split: Split = "train",
    *,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> Dataset:
    """Loads a split of a data set, preparing it first where that was not done yet.

    A twelfth of the official training data, the same images every time, is held out as
    `validation`; `train+validation` is the official training data in the official order.

    Args:
        name: one of `names()`; `digits` is always there, the others come from files. Or the path of
            a folder of images (see `load_folder`), such as `./mnist` if it is called like one.
        split: `train`, `validation`, `test` or `train+validation`.
        data_dir: where prepared data sets are kept; `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
        manual_dir: a folder with files downloaded by hand.

    Returns:
        Images uint8 [n, 28, 28] (pixels 0..255, upright, ink bright), labels int32 [n] from 0,
        class names, and the fingerprint of the data set.

    Raises:
        DataError: unknown name or split, or damaged files.
        DataUnavailableError: files are missing and the host does not answer.

    Example:
        >>> validation = load("digits", "validation")
        >>> validation.images.shape, validation.images.dtype, validation.labels.dtype
        ((120, 28, 28), dtype('uint8'), dtype('int32'))
        >>> validation.fingerprint.counts
        {'train': 1317, 'validation': 120, 'test': 360}
    """
    return load_splits(name, (split,), data_dir=data_dir, manual_dir=manual_dir)[0]


def load_splits(
    name: StrPath,
    splits: Sequence[Split],
    *,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> list[Dataset]:
    """Loads several splits, reading each file once; arguments and errors as of `load`.

    Example:
        >>> [len(dataset) for dataset in load_splits("digits", ("train", "validation"))]
        [1317, 120]
    """
    for split in splits:
        if split not in SPLITS:
            raise DataError(f"there is no split {split!r}; there are {', '.join(SPLITS)}")
    name = os.fspath(name)
    if name == embedded.NAME:
        return [_embedded()[split] for split in splits]
    if folder := find_folder(name):
        loaded = load_folder(folder)
        return [loaded[split] for split in splits]
    spec = find_spec(name)
    return arrays.read(prepare(name, data_dir, manual_dir), spec, splits)


def open_split(
    name: StrPath,
    split: Split = "train",
    *,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> StoredSplit:
    """A split of which the images stay on the disk; arguments and errors as of `load`.

    (A folder of images, and `digits`, are read into memory all the same.)

    Example:
        >>> stored = open_split("digits", "validation")
        >>> images, labels = stored.read(np.array([3, 0]))
        >>> len(stored), images.shape, labels.shape
        (120, (2, 28, 28), (2,))
    """
    name = os.fspath(name)
    if split not in SPLITS or name == embedded.NAME or find_folder(name):
        whole = load(name, split, data_dir=data_dir, manual_dir=manual_dir)
        rows = np.arange(len(whole))
        return StoredSplit(whole.examples, rows, whole.class_names, split, whole.fingerprint)
    return arrays.open_split(prepare(name, data_dir, manual_dir), find_spec(name), split)


def read_fingerprint(name: str, data_dir: StrPath | None = None) -> Fingerprint | None:
    """The fingerprint of a data set, or None where it is not prepared."""
    if name == embedded.NAME or find_folder(name):
        return load(name, "test").fingerprint
    spec = find_spec(name)
    if not is_prepared(name, data_dir):
        return None
    return arrays.read_fingerprint(prepared_folder(spec, data_dir), spec)


@functools.cache
def _embedded() -> dict[Split, Dataset]:
    images, labels = embedded.read()
    cut = embedded.TRAIN_COUNT
    return from_arrays(
        embedded.NAME,
        Examples(images[:cut], labels[:cut]),
        Examples(images[cut:], labels[cut:]),
        embedded.CLASS_NAMES,
    )
