"""The file of a hand: whole, or refused in a sentence."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

import jaxdigits as jd
from jaxdigits import files
from jaxdigits.errors import DataError, OutputError
from jaxdigits.files import changing
from jaxdigits.handwriting import (
    Correction,
    Hand,
    open_hand,
    open_or_new,
    save_hand,
)

DOCUMENT = {
    "format": "jaxdigits-hand",
    "class_names": ["a", "b"],
    "form": "plain",
    "names": ["a"],
    "read": ["b"],
    "sources": [""],
}


def write(path, images, metadata) -> None:
    safetensors.numpy.save_file({"images": images}, path, metadata)


def test_it_is_read_as_it_was_written(tmp_path) -> None:
    run, rng = jd.load("digits"), np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 28, 28), dtype=np.uint8)
    given = [Correction(images[0], "7", "1", "note \u2713"), Correction(images[1], "0", "6")]
    save_hand(Hand.of(run).add(given), tmp_path / "new" / "mine.hand")
    found = open_hand(tmp_path / "new" / "mine.hand")
    assert (found.class_names, found.image_shape) == (run.class_names, (28, 28))
    assert found.form == "mnist"
    for one, other in zip(found.corrections, given, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert (one.name, one.read, one.source) == (other.name, other.read, other.source)
    with pytest.raises(OutputError):
        save_hand(found, tmp_path / "new")


@pytest.mark.parametrize(
    ("changes", "images", "message"),
    [
        ({}, np.zeros((2, 4, 4), np.uint8), "parts do not fit together"),
        ({}, np.zeros((1, 4, 4), np.float32), "parts do not fit together"),
        ({"names": ["c"]}, np.zeros((1, 4, 4), np.uint8), "parts do not fit together"),
        ({"read": ["\x1b[2J"]}, np.zeros((1, 4, 4), np.uint8), "parts do not fit together"),
        ({}, np.zeros((), np.uint8), "parts do not fit together"),
        ({}, np.zeros(1, np.uint8), "parts do not fit together"),
        ({"read": []}, np.zeros((1, 4, 4), np.uint8), "parts do not fit together"),
        ({"format": "other"}, np.zeros((1, 4, 4), np.uint8), "is not a file of corrections"),
        ({"class_names": []}, np.zeros((1, 4, 4), np.uint8), "is not a file of corrections"),
        ({"form": 3}, np.zeros((1, 4, 4), np.uint8), "is not a file of corrections"),
        ({"names": "a"}, np.zeros((1, 4, 4), np.uint8), "is not a file of corrections"),
        ({"sources": ["x" * 1001]}, np.zeros((1, 4, 4), np.uint8), "is not a file of corrections"),
        ({}, np.zeros((1, 4), np.uint8), "parts do not fit together"),
        ({}, np.zeros((1, 4, 4, 1, 1), np.uint8), "parts do not fit together"),
    ],
)
def test_a_damaged_file(tmp_path, changes, images, message) -> None:
    path = tmp_path / "mine.hand"
    write(path, np.zeros((1, 4, 4), np.uint8), {"hand": json.dumps(DOCUMENT)})
    assert open_hand(path).corrections[0].name == "a"
    write(path, images, {"hand": json.dumps(DOCUMENT | changes)})
    with pytest.raises(DataError, match=message):
        open_hand(path)


def test_words_and_images_as_large_as_there_may_be(tmp_path) -> None:
    """Of any number of channels, of all classes; what a source is too long for is left out."""
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    given = [Correction(image, *words) for image, words in zip(images, ("ab", "ba"), strict=True)]
    given[0] = replace(given[0], source="x" * 1001)
    hand = Hand(("a", "b"), (4, 5, 3), "plain").add(given)
    save_hand(hand, tmp_path / "mine.hand")
    found = open_hand(tmp_path / "mine.hand")
    assert (found.class_names, found.image_shape) == (("a", "b"), (4, 5, 3))
    assert [(one.name, one.read, one.source) for one in found.corrections] == [
        ("a", "b", "x" * 1000), ("b", "a", ""),
    ]  # fmt: skip
    for one, image in zip(found.corrections, images, strict=True):
        np.testing.assert_array_equal(one.image, image)


def test_a_thousand_corrections(tmp_path, monkeypatch) -> None:
    """And no more, in memory and in a file."""
    one = Correction(np.zeros((1, 1), np.uint8), "a", "b")
    hand = Hand(("a", "b"), (1, 1), "plain")
    assert len(hand.add([one] * 1000).corrections) == 1000
    with pytest.raises(DataError, match="a hand holds up to 1,000 corrections; take some back"):
        hand.add([one] * 1001)
    save_hand(hand.add([one, one]), tmp_path / "two.hand")
    monkeypatch.setattr("jaxdigits.handwriting.hand.MOST", 2)
    assert len(open_hand(tmp_path / "two.hand").corrections) == 2
    monkeypatch.setattr("jaxdigits.handwriting.hand.MOST", 1)
    with pytest.raises(DataError, match=r"two\.hand is damaged: its parts do not fit together"):
        open_hand(tmp_path / "two.hand")


def test_files_of_others(tmp_path) -> None:
    other = tmp_path / "params.safetensors"
    safetensors.numpy.save_file({"images": np.zeros(3, np.uint8)}, other)
    # A dtype that NumPy does not have.
    kinds = {"images": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}
    header = json.dumps(kinds | {"__metadata__": {"hand": json.dumps(DOCUMENT)}}).encode()
    (tmp_path / "odd").write_bytes(len(header).to_bytes(8, "little") + header + b"x")
    for path in (other, tmp_path, tmp_path / "odd"):
        with pytest.raises(DataError, match=r"is not a file|cannot be read|do not fit"):
            open_hand(path)
    (tmp_path / "large").touch()
    with (tmp_path / "large").open("r+b") as file:
        file.truncate(100_000_001)
    with pytest.raises(DataError, match="too large to be a hand"):
        open_hand(tmp_path / "large")
    os.truncate(tmp_path / "large", 100_000_000)
    with pytest.raises(DataError, match="large is not a file of corrections, or damaged"):
        open_hand(tmp_path / "large")


def test_two_that_change_a_hand_lose_nothing(tmp_path) -> None:
    """Each waits until the other has written."""
    path, names = tmp_path / "mine.hand", ("0", "1")
    run = jd.load("digits")

    def teach(label: int) -> None:
        for number in range(5):
            image = np.full((28, 28), 10 * number + label, np.uint8)
            with changing(path):
                found = open_or_new(path, run)
                time.sleep(0.01)
                save_hand(found.add([Correction(image, names[label], "7")]), path)

    with ThreadPoolExecutor() as pool:
        list(pool.map(teach, (0, 1)))
    assert sorted(one.name for one in open_hand(path).corrections) == ["0"] * 5 + ["1"] * 5


def test_who_changes_a_hand_for_long(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    path = tmp_path / "mine.hand"
    with (
        changing(path),
        pytest.raises(OutputError, match="another process is changing"),
        changing(path),
    ):
        pass
    with pytest.raises(OutputError, match="name a file"), changing("/"):
        pass
