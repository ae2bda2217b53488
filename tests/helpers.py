"""What several test files need."""

import gzip
import struct
from pathlib import Path

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format, not yet gzipped."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(idx_bytes(array), mtime=0))


def emnist_arrays(train_count: int = 260, test_count: int = 52) -> dict[str, np.ndarray]:
    """Arrays as they stand in the files of emnist/letters: transposed, labels 1..26."""
    random = np.random.default_rng(1)
    arrays = {}
    for part, count in (("train", train_count), ("test", test_count)):
        arrays[f"{part}-images"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels"] = (np.arange(count) % 26 + 1).astype(np.uint8)
    return arrays


def write_emnist(folder: Path, **replaced: np.ndarray) -> None:
    """Files of emnist/letters; `train_images=...` and so on put other arrays into them."""
    arrays = emnist_arrays()
    arrays.update({name.replace("_", "-"): array for name, array in replaced.items()})
    for role, array in arrays.items():
        write_idx(folder / f"emnist-letters-{role}-idx{array.ndim}-ubyte.gz", array)
