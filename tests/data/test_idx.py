import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from helpers import idx_bytes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from jaxdigits import data
from jaxdigits.data.idx import find_idx_files, read_idx
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


def test_a_page_in_its_place():
    with pytest.raises(DataError, match=r"not an IDX file of 1 dimensions: .* found 3c68746d"):
        read_idx(io.BytesIO(b"<html>404</html>"), 1)


def write_pair(root, images: str, labels: str, count: int = 24, first: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    for name, array in ((images, pixels), (labels, np.arange(count) % 3 + first)):
        content = idx_bytes(array)
        (root / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return pixels


@pytest.mark.parametrize("names", [
    ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
    ("images.idx", "labels.idx"),
    ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    ("TRAIN.IDX3-UBYTE", "TRAIN.IDX1-UBYTE"),
])  # fmt: skip
def test_a_folder_of_idx_files_under_any_names(tmp_path, names):
    pixels = write_pair(tmp_path, *names)
    found = data.load_splits(tmp_path, ("train+validation", "test", "validation"))
    assert [len(part) for part in found] == [21, 3, 3]  # a seventh of each class, then a twelfth
    assert found[0].class_names == ("0", "1", "2")
    assert {image.tobytes() for part in found[:2] for image in part.images} == {
        image.tobytes() for image in pixels
    }


def test_idx_files_with_a_test_part_and_labels_from_one(tmp_path):
    write_pair(
        tmp_path, "emnist-x-train-images-idx3-ubyte", "emnist-x-train-labels-idx1-ubyte", 24, 1
    )
    pixels = write_pair(tmp_path, "emnist-x-test-images-idx3-ubyte", "emnist-x-test-labels", 6, 1)
    test = data.load(tmp_path, "test")
    np.testing.assert_array_equal(test.images, pixels.transpose(0, 2, 1))
    assert test.images.flags.c_contiguous
    assert test.class_names == ("1", "2", "3")
    assert test.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_idx_files_that_do_not_fit(tmp_path):
    write_pair(tmp_path, "images.idx", "labels.idx")
    labels = (tmp_path / "labels.idx").read_bytes()
    (tmp_path / "labels.idx").unlink()
    with pytest.raises(DataError, match=r"images.idx of the train part has no file of labels"):
        data.load(tmp_path)
    (tmp_path / "labels.idx").write_bytes(idx_bytes(np.zeros(5)))
    with pytest.raises(DataError, match=r"24 images, and labels.idx 5 labels"):
        data.load(tmp_path)
    for name in ("labels.idx", "labels-2.idx"):
        (tmp_path / name).write_bytes(labels)
    with pytest.raises(
        DataError, match=r"labels-2.idx and labels.idx are both labels of the train"
    ):
        data.load(tmp_path)


def test_idx_files_are_looked_at_in_the_order_of_their_names(tmp_path, monkeypatch):
    """Whatever the order in which the system lists them."""
    paths = [tmp_path / f"labels-{letter}" for letter in "cba"]
    for path in paths:
        path.write_bytes(idx_bytes(LABELS))
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(paths))
    with pytest.raises(DataError, match="labels-a and labels-b are both labels of the train part"):
        find_idx_files(tmp_path)


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_three_parts_of_idx_files(tmp_path, validation):
    """The names tell the parts; images are as they are in the files."""
    written = [
        write_pair(tmp_path, f"{part}-images.idx", f"{part}-labels.idx", count)
        for part, count in (("train", 24), ("t10k", 6), (validation, 9))
    ]
    found = data.load_splits(tmp_path, ("train", "test", "validation", "train+validation"))
    for dataset, pixels in zip(found, written, strict=False):
        np.testing.assert_array_equal(dataset.images, pixels)
        assert dataset.labels.tolist() == [number % 3 for number in range(len(pixels))]
    assert len(found[3]) == 33


def test_what_else_lies_beside_idx_files(tmp_path):
    """Hidden files, other files, and folders, whatever their names."""
    pixels = write_pair(tmp_path, "images.idx", "labels.idx")
    (tmp_path / "._images.idx").write_bytes(idx_bytes(LABELS))
    (tmp_path / "README").write_text("no images")
    (tmp_path / "images.png").write_bytes(b"\x89PNG")
    (tmp_path / "more images").mkdir()
    (tmp_path / "labels").mkdir()
    found = data.load_splits(tmp_path, ("train+validation", "test"))
    assert sum(map(len, found)) == len(pixels)


def test_a_folder_of_images_may_be_called_as_idx_files_are(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(3):
            gray = np.full((28, 28), number, np.uint8)
            Image.fromarray(gray).save(tmp_path / "own" / name / f"images-{number}.png")
    assert data.load("./own", "test").class_names == ("images", "labels")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["images.idx"], "images.idx of the train part has no file of labels beside it"),
        (["t10k-labels.idx"], "t10k-labels.idx of the test part has no file of images beside it"),
        (["test-images", "test-labels"], "has IDX files of test, but none to train on"),
        (["val-images", "val-labels"], "has IDX files of validation, but none to train on"),
    ],
)
def test_idx_files_that_are_not_enough(tmp_path, names, message):
    for name in names:
        array = np.zeros((3, 28, 28)) if "images" in name else LABELS
        (tmp_path / name).write_bytes(idx_bytes(array))
    with pytest.raises(DataError, match=message):
        data.load(tmp_path)


def test_labels_that_the_training_part_lacks(tmp_path):
    write_pair(tmp_path, "images", "labels", 24, first=1)
    write_pair(tmp_path, "test-images", "test-labels", 6, first=2)
    with pytest.raises(DataError, match=r"label 4 of the test part of .* is not in train"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"\x1f\x8bdamaged", b"\x1f\x8b", gzip.compress(b"", mtime=0)[:-3]]
)
def test_damaged_idx_files_are_named(tmp_path, content):
    """Not passed over as if they were something else."""
    write_pair(tmp_path, "images.idx", "labels.idx")
    (tmp_path / "images.idx").write_bytes(content)
    with pytest.raises(DataError, match=r"images.idx is (truncated|not an intact gzip)"):
        data.load(tmp_path)


@pytest.mark.parametrize("damaged", [b"\1\0\x08\1", b"\0\1\x08\1", b"\0\0\x09\1", b"\0\0\x08\2"])
def test_each_byte_of_the_kind_counts(damaged):
    with pytest.raises(DataError, match=f"begin with 00000801, found {damaged.hex()}"):
        read_idx(io.BytesIO(damaged + idx_bytes(LABELS)[4:]), 1)
    with pytest.raises(DataError, match="found nothing"):
        read_idx(io.BytesIO(b""), 1)
