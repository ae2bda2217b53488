"""A prepared dataset as plain arrays, which load in a fraction of a second.

They lie beside the records that tensorflow-datasets writes: four `.npy` files, and `arrays.json`
with their hashes, which every load compares.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxdigits.data.dataset import (
    Examples,
    Fingerprint,
    StoredSplit,
    array_sum,
    combined_sum,
)
from jaxdigits.data.specs import ROLES, DatasetSpec
from jaxdigits.data.splits import Split, split_counts, split_rows
from jaxdigits.errors import DataError

INDEX = "arrays.json"

VERSION = "1.0.0"
"""The version of the prepared form: raise it when the images or their order change."""


def write(
    folder: Path,
    spec: DatasetSpec,
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    source_sums: Mapping[str, str],
) -> None:
    """Write images and labels of `train` and `test`, and their hashes, into a staged directory.

    `source_sums` are the SHA-256 hashes of the files that they were read from, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sums, counts = {}, {}
    for split, (images, labels) in splits.items():
        counts[split] = len(labels)
        for kind, array in (("images", images), ("labels", labels)):
            np.save(folder / f"{split}-{kind}.npy", array)
            sums[f"{split}-{kind}"] = array_sum(array)
    index = {"name": spec.name, "counts": counts, "sha256": sums, "sources": dict(source_sums)}
    (folder / INDEX).write_text(json.dumps(index, indent=1))


def open_splits(folder: Path, spec: DatasetSpec, splits: Sequence[Split]) -> list[StoredSplit]:
    """Open splits of a prepared dataset, each file once, without reading images into memory.

    Raises:
        DataError: a file is missing, or its hash is another one than when it was written.
    """
    index = _read_index(folder)
    names = ["test" if split == "test" else "train" for split in splits]
    parts = {name: _open_part(folder, name, index) for name in set(names)}
    return [
        StoredSplit(
            parts[name],
            split_rows(len(parts[name].labels), split),
            class_names=spec.class_names,
            split=split,
            fingerprint=_fingerprint(index, spec),
            form=spec.form,
        )
        for name, split in zip(names, splits, strict=True)
    ]


def read_fingerprint(folder: Path, spec: DatasetSpec) -> Fingerprint:
    """Read the fingerprint of a prepared dataset, but not its images.

    Raises:
        DataError: the folder is damaged.
    """
    return _fingerprint(_read_index(folder), spec)


def read_source_sums(folder: Path) -> dict[str, str]:
    """Read the SHA-256 hashes of the files that a dataset was prepared from, by name.

    Raises:
        DataError: the folder is damaged.
    """
    return _read_index(folder)["sources"]


def _fingerprint(index: Mapping, spec: DatasetSpec) -> Fingerprint:
    counts = split_counts(index["counts"]["train"], index["counts"]["test"])
    return Fingerprint(spec.name, counts, combined_sum(index["sha256"][role] for role in ROLES))


def _open_part(folder: Path, part: str, index: Mapping) -> Examples:
    """Map the images and labels of an official part into memory, and compare their hashes."""
    loaded = []
    for role in (f"{part}-images", f"{part}-labels"):
        path = folder / f"{role}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(folder, f"{path.name} cannot be read ({error})") from None
        found, expected = array_sum(array), index["sha256"][role]
        if found != expected:
            raise _damaged(folder, f"{path.name} should have the hash {expected} but has {found}")
        loaded.append(array)
    return Examples(*loaded)


def _read_index(folder: Path) -> dict:
    try:
        index = json.loads((folder / INDEX).read_text())
        missing = set(ROLES) - set(index["sha256"]) or {"sources"} - set(index)
        split_counts(index["counts"]["train"] + 0, index["counts"]["test"] + 0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{INDEX} cannot be read ({error})") from None
    if missing:
        raise _damaged(folder, f"{INDEX} lacks {', '.join(sorted(missing))}")
    return index


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(
        f"the prepared dataset in {folder} is damaged: {what}; delete that folder and prepare again"
    )
