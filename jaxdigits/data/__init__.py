"""Datasets of handwritten characters as plain arrays.

    import jaxdigits as jd
    train = jd.data.load("mnist", "train")     # images uint8 [55000, 28, 28], labels int32 [55000]

| file | subject |
|---|---|
| `dataset.py` | `Dataset`, `Examples`, fingerprints, checks of arrays |
| `splits.py` | which images make a split |
| `specs.py` | every named dataset: files, addresses, hashes, classes |
| `sources.py` | finding the files in a folder of the user's, and what is missing |
| `downloads.py` | downloading what is missing |
| `idx.py` | reading the IDX format |
| `builders.py` | builders for tensorflow-datasets, without TensorFlow |
| `arrays.py` | the prepared arrays |
| `preparation.py` | preparing: once, safely |
| `embedded.py` | the digits that need no download |
| `folders.py` | folders of images or of IDX files: your own, or exported ones |
| `exported.py` | writing a dataset as a folder of images, and its index |
| `images.py` | image files of any kind, brought to one shape |

Nothing here imports jax.
"""

import functools
import logging
import os
from collections.abc import Sequence

import numpy as np

from jaxdigits.data import arrays, embedded
from jaxdigits.data.dataset import (
    Dataset,
    Examples,
    Fingerprint,
    StoredSplit,
    check_examples,
    check_images,
    check_splits,
    from_arrays,
)
from jaxdigits.data.exported import export_folder
from jaxdigits.data.folders import find_folder, load_folder
from jaxdigits.data.preparation import StrPath, find_spec, is_prepared, prepare, prepared_folder
from jaxdigits.data.specs import SPECS
from jaxdigits.data.splits import SPLITS, Split
from jaxdigits.errors import DataError, DataUnavailableError

logger = logging.getLogger("jaxdigits")

__all__ = [
    "Dataset",
    "Examples",
    "Fingerprint",
    "StoredSplit",
    "check_examples",
    "check_images",
    "check_splits",
    "choose_dataset",
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
]


def names() -> tuple[str, ...]:
    """List the names of all datasets.

    Example:
        >>> names()[:3]
        ('digits', 'mnist', 'fashion_mnist')
    """
    return (embedded.NAME, *SPECS)


def choose_dataset(
    name: str = "auto", data_dir: StrPath | None = None, manual_dir: StrPath | None = None
) -> str:
    """The dataset to train on: `auto` is MNIST, or the digits inside where it is unavailable.

    The path of a folder of images becomes absolute, so that the run's config means it everywhere.

    Raises:
        DataUnavailableError: `manual_dir` was given, and lacks files of MNIST.
    """
    if name != "auto":
        return str(find_folder(name) or name)
    try:
        prepare("mnist", data_dir, manual_dir)
    except DataUnavailableError as error:
        if manual_dir is not None:
            raise
        logger.warning(
            f"MNIST is not prepared, and {error.reason}: training on the 1,797 digits that come "
            "with the package. For MNIST, give a folder that holds its four files with "
            "--manual-dir (`jaxdigits data prepare mnist` names them)."
        )
        return "digits"
    return "mnist"


def load(
    name: StrPath,
    split: Split = "train",
    *,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> Dataset:
    """Load a split of a dataset, by its name or from a folder of images.

    A twelfth of the official training data, the same images every time, is held out as
    `validation`; `train+validation` is the official training data in the official order.

    Args:
        name: one of `names()`, which is prepared first where necessary; or the path of a folder,
            such as `./mnist` if it is called like a dataset: see `load_folder`.
        split: `train`, `validation`, `test` or `train+validation`.
        data_dir: where prepared datasets are kept; `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
        manual_dir: a folder with files downloaded by hand.

    Returns:
        Images uint8 [n, 28, 28], pixels 0..255 (exported folders: as exported), labels int32 [n].

    Raises:
        DataError: unknown name or split, or damaged files.
        DataUnavailableError: files are missing and cannot be downloaded.

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
    """Load several splits, reading each file once. Arguments and errors: see `load`.

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
    opened = arrays.open_splits(prepare(name, data_dir, manual_dir), spec, splits)
    return [split.load() for split in opened]


def open_split(
    name: StrPath,
    split: Split = "train",
    *,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> StoredSplit:
    """Open a split whose images stay on disk. Arguments and errors: see `load`.

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
        return StoredSplit(whole.examples, np.arange(len(whole)), **whole.facts)
    return arrays.open_splits(prepare(name, data_dir, manual_dir), find_spec(name), (split,))[0]


def read_fingerprint(name: str, data_dir: StrPath | None = None) -> Fingerprint | None:
    """Read the fingerprint of a dataset; None where it is not prepared."""
    if name == embedded.NAME or find_folder(name):
        return load(name, "test").fingerprint
    spec = find_spec(name)
    if not is_prepared(name, data_dir):
        return None
    return arrays.read_fingerprint(prepared_folder(spec, data_dir), spec)


def _embedded() -> dict[Split, Dataset]:
    images, labels = _read_embedded()
    cut = embedded.TRAIN_COUNT
    return from_arrays(
        embedded.NAME,
        Examples(images[:cut], labels[:cut]),
        Examples(images[cut:], labels[cut:]),
        embedded.CLASS_NAMES,
        form="mnist",
        stratified=False,
    )


_read_embedded = functools.cache(embedded.read)  # of which every caller gets a copy
