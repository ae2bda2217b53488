"""Read the IDX format of MNIST and EMNIST, from a file or from inside an archive.

A folder of one's own may hold such files under other names: an images file (in its name `images` or
`idx3`) beside a labels file (`labels` or `idx1`), gzipped or not. Names with `t10k` or `test` are
the test part, with `val` the validation split, all others the training part. Without a test part, a
seventh of each class becomes one. Where `emnist` is in the name, rows and columns are exchanged, as
in its files.

An IDX file is a big-endian header (two zero bytes, a type code, the number of dimensions, each
dimension as 32 bits) and then the numbers. The counts are taken from the header.
"""

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxdigits.data.dataset import Dataset, Examples, from_arrays, hold_out_test
from jaxdigits.data.splits import Split
from jaxdigits.errors import DataError

_UNSIGNED_BYTE = 8


def read_idx(file: Path | io.BufferedIOBase, rank: int, name: str = "") -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Args:
        file: a path, or an open binary file that holds the bytes.
        rank: the number of dimensions that the file must have: 3 for images, 1 for labels.
        name: what to call the file in an error; its path if not given.

    Returns:
        The numbers, uint8, with the shape that the header gives.

    Raises:
        DataError: the file is cut short, is damaged, or holds something else.

    Example:
        >>> import gzip, io
        >>> labels = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(io.BytesIO(labels), rank=1)
        array([7, 2, 1], dtype=uint8)
    """
    name = name or str(file)
    try:
        content = file.read_bytes() if isinstance(file, Path) else file.read()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except EOFError:
        raise DataError(
            f"{name} is truncated: its gzip stream ends too early; copy it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name} is not an intact gzip file ({error}); copy or download it again"
        ) from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from None
    header = io.BytesIO(content)
    magic = header.read(4)
    expected_magic = bytes([0, 0, _UNSIGNED_BYTE, rank])
    if magic != expected_magic:
        raise DataError(
            f"{name} is not an IDX file of {rank} dimensions: expected it to begin with "
            f"{expected_magic.hex()}, found {magic.hex() or 'nothing'}"
        )
    dimensions = header.read(4 * rank)
    if len(dimensions) < 4 * rank:
        raise DataError(f"{name} is truncated: its header ends after {len(content)} bytes")
    shape = struct.unpack(f">{rank}I", dimensions)
    expected, found = math.prod(shape), len(content) - header.tell()
    if found != expected:
        size = "x".join(map(str, shape))
        raise DataError(
            f"{name} does not hold what its header says: expected {expected} bytes for {size}, "
            f"found {found}; copy or download it again"
        )
    return np.frombuffer(content, np.uint8, offset=header.tell()).reshape(shape)


def find_idx_files(root: Path) -> dict[str, dict[str, Path]]:
    """Find the IDX files in a folder: by part, those of `images` and `labels`; empty without any.

    Raises:
        DataError: a file has no partner, or two are of one part.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(root.iterdir()) if os.access(root, os.R_OK) and root.is_dir() else ():
        name = path.name.lower()
        images = "images" in name or "idx3" in name
        if name[0] == "." or not (images or "labels" in name or "idx1" in name):
            continue
        if not path.is_file() or not _is_idx(path):
            continue
        part = "test" if "t10k" in name or "test" in name else "train"
        part = "validation" if "val" in name else part
        kind = "images" if images else "labels"
        other = found.setdefault(part, {}).setdefault(kind, path)
        if other != path:
            raise DataError(
                f"{other} and {path.name} are both {kind} of the {part} part; keep one of them"
            )
    for part, files in found.items():
        if len(files) < 2:
            present = next(iter(files.values()))
            wanted = "labels" if "images" in files else "images"
            raise DataError(f"{present} of the {part} part has no file of {wanted} beside it")
    if found and "train" not in found:
        raise DataError(f"{root} has IDX files of {' and '.join(found)}, but none to train on")
    return found


def load_idx_folder(root: Path, files: dict[str, dict[str, Path]]) -> dict[Split, Dataset]:
    """Load a dataset from the IDX files that `find_idx_files` found.

    The classes are the labels there are in the training part, in their order.

    Raises:
        DataError: a file is damaged, or images and labels differ in number.
    """
    parts: dict[str, Examples] = {}
    for part, paths in files.items():
        images, labels = read_idx(paths["images"], 3), read_idx(paths["labels"], 1)
        if len(images) != len(labels):
            raise DataError(
                f"{paths['images']} holds {len(images):,} images, and {paths['labels'].name} "
                f"{len(labels):,} labels; they must be as many"
            )
        if "emnist" in paths["images"].name.lower():
            images = images.transpose(0, 2, 1)
        parts[part] = Examples(images, labels)
    known = np.unique(parts["train"].labels)
    for part, examples in parts.items():
        strange = np.setdiff1d(examples.labels, known)
        if strange.size:
            raise DataError(f"label {strange[0]} of the {part} part of {root} is not in train")
        labels = np.searchsorted(known, examples.labels).astype(np.int32)
        parts[part] = Examples(np.ascontiguousarray(examples.images), labels)
    if "test" not in parts:
        parts["train"], parts["test"] = hold_out_test(parts["train"])
    names = tuple(map(str, known.tolist()))
    return from_arrays(root.name, parts["train"], parts["test"], names, parts.get("validation"))


def _is_idx(path: Path) -> bool:
    """Tell by its first bytes, gzipped or not, whether a file is of the IDX format."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                head = file.read(4)
    except (OSError, EOFError, zlib.error):
        return True  # by its name it is; reading it says what is wrong with it
    return head[:3] == bytes([0, 0, _UNSIGNED_BYTE])
