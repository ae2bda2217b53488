"""What is held out, of arrays and folders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdigits import data
from jaxdigits.data.preparation import data_root
from jaxdigits.data.splits import held_out_mask, split_counts, split_rows, validation_mask
from jaxdigits.errors import DataError


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0.01, 0.6))
def test_of_each_class_some_but_never_the_last(labels, share):
    array = np.array(labels)
    mask = held_out_mask(array, share)
    for label in set(labels):
        count, held = (array == label).sum(), mask[array == label].sum()
        assert held == min(max(round(count * share), 1), count - 1)
    np.testing.assert_array_equal(mask, held_out_mask(array, share))


@pytest.mark.parametrize(
    ("count", "held_out"),
    [(1, 1), (2, 1), (12, 1), (17, 1), (19, 2), (29, 2), (31, 3), (1200, 100)],
)
def test_a_twelfth_is_held_out(count, held_out):
    """Rounded, and at least one; whatever the test part holds."""
    expected = {"train": count - held_out, "validation": held_out, "test": 7}
    assert split_counts(count, 7) == expected
    mask = validation_mask(count)
    assert (mask.shape, mask.sum()) == ((count,), held_out)
    assert split_rows(count, "validation").tolist() == np.flatnonzero(mask).tolist()
    assert split_rows(count, "train").tolist() == np.flatnonzero(~mask).tolist()
    assert split_rows(count, "test").tolist() == list(range(count))
    assert split_rows(count, "train+validation").tolist() == list(range(count))


@pytest.mark.parametrize("count", [2, 10])
def test_small_classes_are_in_both_parts(count):
    labels = np.repeat(np.arange(10), count)
    images = np.zeros((len(labels), 28, 28), np.uint8)
    names = tuple("abcdefghij")
    splits = data.from_arrays(
        "own", data.Examples(images, labels), data.Examples(images, labels), names
    )
    for split in ("train", "validation"):
        assert set(splits[split].labels.tolist()) == set(range(10))


def test_named_datasets_hold_out_what_they_did():
    # Recorded figures stand on these very images; of the digits inside the counts tell.
    validation = data.load("digits", "validation")
    counts = np.bincount(validation.labels).tolist()
    assert counts == [11, 18, 14, 13, 14, 11, 9, 11, 7, 12]


def test_an_address_is_no_folder(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/data")
    with pytest.raises(DataError, match="gs://bucket/data is an address"):
        data_root(None)
    with pytest.raises(DataError, match="is an address"):
        data.prepare("mnist")


def test_where_prepared_datasets_are_kept(monkeypatch, tmp_path):
    """As given, or else as the environment says, or else at home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_root("given/../here") == tmp_path / "here"
    assert data_root(None) == tmp_path / "datasets"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data_root(tmp_path / "given") == tmp_path / "given"
    for nothing in (None, ""):
        assert data_root(nothing) == tmp_path / "home" / "tensorflow_datasets"


def test_without_a_home_data_are_kept_among_temporary_files(monkeypatch, tmp_path):
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert data_root(None) == tmp_path / "tensorflow_datasets"
