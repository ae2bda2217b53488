"""The prepared form of a data set as plain arrays, which load in a fraction of a second.

They lie beside the records that tensorflow-datasets writes, in the same folder: four `.npy` files
and `arrays.json`, which holds their sums. Every load compares the sums.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxdigits.data.dataset import (
    Dataset,
    Examples,
    Fingerprint,
    Split,
    StoredSplit,
    array_sum,
    combined_sum,
    split_counts,
    split_rows,
    take_split,
)
from jaxdigits.data.specs import ROLES, DatasetSpec
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
    """Writes the arrays of the official splits and their sums into a folder that is being made.

    Args:
        folder: where to write.
        spec: the data set.
        splits: images and labels of `train` and `test`.
        source_sums: SHA-256 sums of the files that they were read from, by name.
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


def read_fingerprint(folder: Path, spec: DatasetSpec) -> Fingerprint:
    """The fingerprint of a prepared data set, without reading its images.

    Raises:
        DataError: the folder is damaged.
    """
    return _fingerprint(_read_index(folder), spec)


def _fingerprint(index: Mapping, spec: DatasetSpec) -> Fingerprint:
    counts = split_counts(index["counts"]["train"], index["counts"]["test"])
    return Fingerprint(spec.name, counts, combined_sum([index["sha256"][role] for role in ROLES]))


def read_source_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 sums of the files that a data set was prepared from, by name.

    Raises:
        DataError: the folder is damaged.
    """
    return _read_index(folder)["sources"]


def read(folder: Path, spec: DatasetSpec, splits: Sequence[Split]) -> list[Dataset]:
    """Reads splits of a prepared data set, each file once, and compares the sums.

    Raises:
        DataError: a file is missing, or its content is not what was written.
    """
    parts, fingerprint = _open_parts(folder, spec, splits)
    return [
        Dataset(*take_split(part, split), spec.class_names, split, fingerprint)
        for part, split in zip(parts, splits, strict=True)
    ]


def open_split(folder: Path, spec: DatasetSpec, split: Split) -> StoredSplit:
    """A split that stays on the disk; errors as of `read`."""
    (part,), fingerprint = _open_parts(folder, spec, (split,))
    rows = split_rows(len(part.labels), split)
    return StoredSplit(part, rows, spec.class_names, split, fingerprint)


def _open_parts(
    folder: Path, spec: DatasetSpec, splits: Sequence[Split]
) -> tuple[list[Examples], Fingerprint]:
    """For each split the official part that it lies in, on the disk, and the fingerprint."""
    index = _read_index(folder)
    names = [_part_of(split) for split in splits]
    parts = {part: _open_part(folder, part, index["sha256"]) for part in set(names)}
    return [parts[name] for name in names], _fingerprint(index, spec)


def _part_of(split: Split) -> str:
    """The official part that a split lies in."""
    return "test" if split == "test" else "train"


def _open_part(folder: Path, part: str, sums: Mapping[str, str]) -> Examples:
    """The images and labels of an official part, `train` or `test`, as arrays on the disk."""
    loaded = []
    for role in (f"{part}-images", f"{part}-labels"):
        path = folder / f"{role}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(folder, f"{path.name} cannot be read ({error})") from None
        found = array_sum(array)
        if found != sums[role]:
            raise _damaged(folder, f"{path.name} should have the sum {sums[role]} but has {found}")
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
        f"the prepared data in {folder} are damaged: {what}; delete that folder and prepare again"
    )
