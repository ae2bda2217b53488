import gzip
import io

import numpy as np
import pytest
from helpers import idx_bytes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from jaxdigits.data.idx import read_idx
from jaxdigits.errors import DataError

LABELS = np.array([3, 1, 2], np.uint8)


def packed(content: bytes) -> io.BytesIO:
    return io.BytesIO(gzip.compress(content))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_reads_what_was_written(array):
    np.testing.assert_array_equal(read_idx(packed(idx_bytes(array)), array.ndim), array)


@given(st.integers(0, len(idx_bytes(LABELS)) - 1))
def test_any_truncation_is_named(length):
    with pytest.raises(DataError, match=r"labels\.gz"):
        read_idx(packed(idx_bytes(LABELS)[:length]), 1, "labels.gz")


@given(st.integers(1, 60))
def test_any_truncation_of_the_gzip_stream_is_named(cut):
    content = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)), mtime=0)[:-cut]
    with pytest.raises(DataError, match=r"labels\.gz is (truncated|not an intact gzip)"):
        read_idx(io.BytesIO(content), 1, "labels.gz")


def test_a_flipped_bit_is_found():
    content = bytearray(gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)), mtime=0))
    content[-6] ^= 1  # in the checksum that gzip keeps
    with pytest.raises(DataError, match="not an intact gzip file"):
        read_idx(io.BytesIO(bytes(content)), 1)


def test_surplus_bytes_are_found():
    with pytest.raises(DataError, match="expected 3 bytes for 3, found 4"):
        read_idx(packed(idx_bytes(LABELS) + b"x"), 1)


def test_images_in_the_place_of_labels():
    with pytest.raises(DataError, match="expected it to begin with 00000801, found 00000803"):
        read_idx(packed(idx_bytes(np.zeros((1, 2, 2), np.uint8))), 1)


def test_not_gzipped():
    with pytest.raises(DataError, match="not an intact gzip file"):
        read_idx(io.BytesIO(b"<html>404</html>"), 1)
