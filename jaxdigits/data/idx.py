"""Read the IDX format of MNIST and EMNIST, gzipped, from a file or from inside an archive.

An IDX file is a big-endian header (two zero bytes, a type code, the number of dimensions, each
dimension as 32 bits) and then the numbers. The counts are taken from the header.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxdigits.errors import DataError

_UNSIGNED_BYTE = 8


def read_idx(file: Path | io.BufferedIOBase, rank: int, name: str = "") -> UInt8[np.ndarray, "..."]:
    """Read a gzipped IDX file of unsigned bytes.

    Args:
        file: a path, or an open binary file that holds the gzipped bytes.
        rank: the number of dimensions that the file must have: 3 for images, 1 for labels.
        name: what to call the file in an error; its path if not given.

    Returns:
        The numbers, uint8, with the shape that the header gives.

    Raises:
        DataError: the file is not gzipped, is cut short, is damaged, or holds something else.

    Example:
        >>> import gzip, io
        >>> labels = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(io.BytesIO(labels), rank=1)
        array([7, 2, 1], dtype=uint8)
    """
    name = name or str(file)
    try:
        with gzip.open(file, "rb") as stream:
            content = stream.read()
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
