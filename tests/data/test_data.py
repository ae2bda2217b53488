"""Datasets from files: what is loaded, and what happens to files that are not right."""

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Terminal, emnist_arrays, replace_remote, write_emnist, write_idx
from tensorflow_datasets.core import registered

from jaxdigits import data
from jaxdigits.data import arrays, builders, overview, sources, specs
from jaxdigits.data.dataset import check_class_names
from jaxdigits.data.idx import read_idx
from jaxdigits.data.preparation import prepared_folder
from jaxdigits.data.specs import SPECS, RemoteFile
from jaxdigits.data.splits import validation_mask
from jaxdigits.errors import DataError, DataUnavailableError

LETTERS = SPECS["emnist/letters"]


def test_addresses_sizes_and_sums_are_those_of_tensorflow_datasets():
    from tensorflow_datasets.core.download import checksums

    recorded = checksums.get_all_url_infos()
    for spec in SPECS.values():
        for remote in spec.remote.values():
            info = recorded[remote.url]
            assert (info.size, info.checksum) == (remote.size, remote.sha256)


def test_class_names_are_the_characters():
    assert "".join(SPECS["emnist/letters"].class_names) == "abcdefghijklmnopqrstuvwxyz"
    balanced = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert "".join(SPECS["emnist/balanced"].class_names) == balanced
    assert "".join(SPECS["emnist/bymerge"].class_names) == balanced
    assert len(set(SPECS["emnist/byclass"].class_names)) == 62
    assert len(SPECS["kmnist"].class_names) == len(SPECS["fashion_mnist"].class_names) == 10


def test_emnist_is_upright_and_labelled_from_0(emnist_files):
    stored = emnist_arrays()
    test = data.load("emnist/letters", "test", manual_dir=emnist_files)
    np.testing.assert_array_equal(test.images, stored["test-images"].transpose(0, 2, 1))
    np.testing.assert_array_equal(test.labels, stored["test-labels"] - 1)
    assert test.images.dtype == np.uint8
    assert test.labels.dtype == np.int32
    assert test.class_names[test.labels[0]] == "a"
    assert test.fingerprint.counts == {"train": 238, "validation": 22, "test": 52}


def test_a_split_of_two_is_opened_from_local_files(emnist_files):
    stored = data.open_split("emnist/letters", "train+validation", manual_dir=emnist_files)
    assert len(stored) == 238 + 22


def test_validation_is_held_out_of_the_official_training_data(emnist_files):
    data.prepare("emnist/letters", manual_dir=emnist_files)
    whole, train, validation = (
        data.load("emnist/letters", split) for split in ("train+validation", "train", "validation")
    )
    mask = validation_mask(len(whole))
    np.testing.assert_array_equal(whole.images[mask], validation.images)
    np.testing.assert_array_equal(whole.labels[~mask], train.labels)
    assert len(train) + len(validation) == len(whole) == 260


def test_validation_is_the_same_images_every_time():
    held_out = np.flatnonzero(validation_mask(60_000))
    assert held_out[:5].tolist() == [17, 28, 50, 66, 72]
    assert len(held_out) == 5_000


def test_records_of_tensorflow_datasets_hold_the_same(emnist_files, tmp_path):
    import tensorflow_datasets as tfds

    import jaxdigits.data.builders  # noqa: F401 (registers the builders)

    data.prepare("emnist/letters", manual_dir=emnist_files)
    source: Any = tfds.data_source(
        "jaxdigits_emnist/letters", split="train", data_dir=tmp_path / "datasets", download=False
    )
    whole = data.load("emnist/letters", "train+validation")
    records = [source[index] for index in range(len(source))]
    np.testing.assert_array_equal(np.stack([r["image"] for r in records]), whole.images)
    assert [r["label"] for r in records] == whole.labels.tolist()


def test_tensorflow_is_never_imported(emnist_files, python):
    code = (
        "import sys, pathlib; from jaxdigits import data;"
        "import tensorflow_datasets as tfds, jaxdigits.data.builders;"
        f"data.load('emnist/letters', manual_dir=pathlib.Path({str(emnist_files)!r}));"
        "tfds.data_source('jaxdigits_emnist/letters', split='test')[0];"
        "assert 'tensorflow' not in sys.modules"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_loading_does_not_wait_for_jax(emnist_files, python):
    data.prepare("emnist/letters", manual_dir=emnist_files)
    code = (
        "import sys; from jaxdigits import data;"
        "print(len(data.load('emnist/letters', 'test')), len(data.load('digits', 'test')));"
        "print([m for m in ('jax', 'tensorflow_datasets', 'matplotlib') if m in sys.modules])"
    )
    assert python("-c", code).stdout == "52 360\n[]\n"


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"test_labels": np.full(52, 27)}, "labels beside .* from 27 to 27, those of .* 1 to 26"),
        ({"test_labels": np.zeros(52)}, "run from 0 to 0"),
        ({"train_labels": np.ones(259)}, "holds 260 images, .* 259 labels"),
        ({"test_images": np.zeros((52, 27, 28))}, r"images of \(27, 28\) pixels"),
        ({"test_images": np.zeros((0, 28, 28)), "test_labels": np.zeros(0)}, "holds no image"),
        ({"test_images": np.zeros(52)}, r"test-images.* expected it to begin with 00000803"),
    ],
)
def test_files_that_do_not_fit(tmp_path, replaced, message):
    write_emnist(tmp_path / "files", **replaced)
    if "test_images" in replaced and replaced["test_images"].ndim == 1:
        misnamed = tmp_path / "files" / "emnist-letters-test-images-idx1-ubyte.gz"
        misnamed.rename(misnamed.with_name(LETTERS.files["test-images"]))
    with pytest.raises(DataError, match=message):
        data.load("emnist/letters", manual_dir=tmp_path / "files")
    assert not prepared_folder(LETTERS).exists()


def test_a_truncated_file_is_named_with_expected_and_found(tmp_path):
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"x" * 100)
    with pytest.raises(
        DataError, match=r"t10k-labels.* is truncated: expected 4,542 bytes, found 100"
    ):
        data.prepare("mnist", manual_dir=tmp_path)


def test_a_corrupted_file_is_named_with_expected_and_found(tmp_path):
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"x" * 4542)
    with pytest.raises(DataError, match=r"t10k-labels.*expected the SHA-256 hash f7ae60f9.*found "):
        data.prepare("mnist", manual_dir=tmp_path)


def test_files_of_the_same_name_are_told_apart_by_folder(tmp_path):
    for name, size in (("mnist", 4542), ("kmnist", 5120)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t10k-labels-idx1-ubyte.gz").write_bytes(b"x" * size)
    with pytest.raises(DataError, match=r"/kmnist/t10k.*SHA-256 hash 20bb9a0e"):
        data.prepare("kmnist", manual_dir=tmp_path)


def test_missing_files_are_listed_with_sums():
    with pytest.raises(DataUnavailableError) as caught:
        data.load("mnist")
    message = str(caught.value)
    for remote in SPECS["mnist"].remote.values():
        assert remote.name in message
        assert remote.sha256 in message
    assert "--manual-dir" in message
    assert "JAXDIGITS_MANUAL_DIR" in message


def test_other_files_than_those_it_was_prepared_from(emnist_files, tmp_path):
    data.prepare("emnist/letters", manual_dir=emnist_files)
    data.prepare("emnist/letters", manual_dir=emnist_files)
    write_emnist(tmp_path / "fuller", train_images=emnist_arrays()["train-images"][::-1])
    with pytest.raises(DataError, match="was prepared from another emnist-letters-train-images"):
        data.prepare("emnist/letters", manual_dir=tmp_path / "fuller")
    with pytest.raises(DataError, match="nowhere is not a folder"):
        data.prepare("emnist/letters", manual_dir=tmp_path / "nowhere")


def test_a_file_that_cannot_be_read(emnist_files):
    path = emnist_files / LETTERS.files["test-labels"]
    path.unlink()
    path.mkdir()
    with pytest.raises(DataUnavailableError):  # a folder is no file
        data.prepare("emnist/letters", manual_dir=emnist_files)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_idx(path, 1)
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        data.prepare("emnist/letters", manual_dir=emnist_files / ("x" * 300))
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        data.is_prepared("emnist/letters", data_dir=emnist_files / ("x" * 300))


def test_the_environment_names_the_folder(emnist_files, monkeypatch):
    monkeypatch.setenv("JAXDIGITS_MANUAL_DIR", str(emnist_files))
    assert len(data.load("emnist/letters", "test")) == 52


def test_unknown_names(tmp_path):
    with pytest.raises(DataError, match="there is no dataset 'minst'; there are digits"):
        data.load("minst")
    with pytest.raises(DataError, match="nowhere is not a folder"):
        data.prepare("mnist", manual_dir=tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written(emnist_files, tmp_path):
    (tmp_path / "occupied").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"could not be prepared in .*choose another place"):
        data.prepare("emnist/letters", data_dir=tmp_path / "occupied", manual_dir=emnist_files)


def test_a_folder_without_write_permission(emnist_files, read_only):
    for place in (read_only, read_only / "deeper"):
        with pytest.raises(DataError, match=r"Permission denied; choose another place"):
            data.prepare("emnist/letters", data_dir=place, manual_dir=emnist_files)


PREPARE = (
    "import sys; from pathlib import Path; from jaxdigits import data;"
    "data.prepare('emnist/letters', manual_dir=Path(sys.argv[1]))"
)


def test_a_killed_preparation_is_cleaned_up(tmp_path):
    count = 200_000
    write_emnist(
        tmp_path / "files",
        train_images=np.zeros((count, 28, 28)),
        train_labels=np.arange(count) % 26 + 1,
    )
    process = subprocess.Popen([sys.executable, "-c", PREPARE, str(tmp_path / "files")])
    folder = prepared_folder(LETTERS)
    deadline = time.monotonic() + 60
    # Killed while it writes records: the arrays are in the unfinished folder already.
    while not list(folder.parent.glob(f"*/{arrays.INDEX}")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [path.name for path in folder.parent.iterdir() if path.name != ".lock"] != []
    assert not folder.exists()
    assert not data.is_prepared("emnist/letters")

    write_emnist(tmp_path / "files")
    assert len(data.load("emnist/letters", "test", manual_dir=tmp_path / "files")) == 52
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock", folder.name]


def test_two_processes_prepare_at_once(emnist_files):
    processes = [
        subprocess.Popen([sys.executable, "-c", PREPARE, str(emnist_files)]) for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(data.load("emnist/letters", "test")) == 52


def test_damaged_arrays_are_found(emnist_files):
    folder = data.prepare("emnist/letters", manual_dir=emnist_files)
    path = folder / "test-images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test-images.npy should have the hash .* prepare again"):
        data.load("emnist/letters", "test")
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"test-images.npy cannot be read"):
        data.load("emnist/letters", "test")
    (folder / arrays.INDEX).write_text("{")
    with pytest.raises(DataError, match=r"arrays.json cannot be read"):
        data.load("emnist/letters", "train")


def test_fingerprints_tell_data_apart(emnist_files, tmp_path):
    first = data.load("emnist/letters", "test", manual_dir=emnist_files).fingerprint
    changed = emnist_arrays()["train-images"]
    changed[0, 0, 0] ^= 1
    write_emnist(tmp_path / "changed", train_images=changed)
    second = data.load(
        "emnist/letters",
        "test",
        data_dir=str(tmp_path / "other"),
        manual_dir=str(tmp_path / "changed"),
    ).fingerprint
    assert first.counts == second.counts
    assert first.sha256 != second.sha256


def test_an_archive_beside_its_unpacked_files_is_not_read(emnist_files):
    (emnist_files / "gzip.zip").write_bytes(b"not looked at")
    assert set(sources.local_files(LETTERS, emnist_files)) == set(LETTERS.files.values())


def test_emnist_from_its_archive(emnist_files, tmp_path, monkeypatch):
    import hashlib
    import zipfile

    folder = tmp_path / "downloaded"
    folder.mkdir()
    path = folder / "gzip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in LETTERS.files.values():
            archive.write(emnist_files / name, f"gzip/{name}")
    remote = RemoteFile(
        specs.SPECS["emnist/letters"].remote["gzip.zip"].url,
        path.stat().st_size,
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    replace_remote(monkeypatch, LETTERS, {"gzip.zip": remote})
    assert len(data.load("emnist/letters", "test", manual_dir=folder)) == 52
    data.prepare("emnist/letters", manual_dir=emnist_files)  # those of the archive may be compared


def test_embedded_digits():
    from scipy.ndimage import center_of_mass

    whole, test = data.load("digits", "train+validation"), data.load("digits", "test")
    centers = np.array([center_of_mass(image) for image in whole.images])
    assert np.abs(centers - 13.5).max() <= 0.6  # in the middle, as MNIST's are, to a pixel
    assert whole.images.max() == 255
    assert (whole.images[:, 0] == 0).all()
    # What results were recorded on, when the digits still came from scikit-learn.
    sum_of_all = "96aaa2129e69995ef79c81fd97645dd02e2f846021cda66bf7afd7bb8ea58c72"
    assert test.fingerprint.sha256 == sum_of_all


@pytest.mark.parametrize("name", ["digits", "emnist/letters"])
def test_what_was_loaded_is_the_caller_s(name, emnist_files):
    """Who changes it in place changes it for nobody else."""
    first = data.load(name, "test", manual_dir=emnist_files)
    before = first.images.copy(), first.labels.copy()
    first.images[:] = first.labels[:] = 7
    again = data.load(name, "test")
    np.testing.assert_array_equal(again.images, before[0])
    np.testing.assert_array_equal(again.labels, before[1])
    own = data.from_arrays("own", again.examples, again.examples, again.class_names)
    again.images[:] = 7
    np.testing.assert_array_equal(own["test"].images, before[0])


def test_the_digits_inside_are_made_once(monkeypatch):
    first = data.load("digits", "test")
    monkeypatch.setattr(np, "load", pytest.fail)
    np.testing.assert_array_equal(data.load("digits", "test").images, first.images)


def test_a_name_may_be_a_path():
    for read in (data.load, data.open_split):
        assert len(read(Path("digits"), "test")) == 360


def test_the_embedded_file_is_scikit_learns():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    with resources.files(data).joinpath("digits.npz").open("rb") as file:
        stored = np.load(file)
        np.testing.assert_array_equal(stored["images"].reshape(-1, 64), images)
        np.testing.assert_array_equal(stored["labels"], labels)


def test_arrays_of_your_own_are_checked():
    images, labels = np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 2])
    good = data.Examples(images, labels)

    def refuse(message: str, images: np.ndarray, labels: np.ndarray) -> None:
        with pytest.raises(DataError, match=message):
            data.from_arrays("own", data.Examples(images, labels), good, ("a", "b", "c"))

    refuse("label 3 of image 1 is out of range: labels must be 0..2", images, np.array([0, 3, 1]))
    refuse("label -1 of image 0", images, np.array([-1, 0, 1]))
    refuse(r"integers of shape \[3\]", images, np.array([0, 1]))
    refuse("integers", images, np.array([0.0, 1.0, 2.0]))
    refuse("these are int64 of shape", images.astype(np.int64), labels)
    refuse(r"one dtype and shape; these are uint8 \[28, 27\], uint8", images[:, :, :27], labels)
    refuse(r"one dtype and shape; these are float32 .*, uint8", images.astype(np.float32), labels)
    refuse("floats must be 0..1; these are 200 to 200: divide", images + np.float32(200), labels)
    refuse("floats must be 0..1; these are -1 to -1", images - np.float32(1), labels)
    refuse("floats must be 0..1; these are nan", images + np.float32(np.nan), labels)
    refuse(r"\[n, height, width, channels\], .* uint8 of shape \[3, 28\]", images[0, :3], labels)
    refuse(r"uint8 of shape \[3, 0, 28\]", images[:, :0], labels)
    refuse(r"uint8 of shape \[3, 28, 0\]", images[:, :, :0], labels)
    refuse(r"uint8 of shape \[3, 28, 28, 1, 1\]", images[..., None, None], labels)
    refuse("floats must be 0..1; these are 0 to 1.5", scaled(images, 0, 1.5), labels)
    refuse("floats must be 0..1; these are -0.5 to 1", scaled(images, -0.5, 1), labels)
    refuse("there is no image", images[:0], labels[:0])
    refuse("only one training image", images[:1], labels[:1])
    refuse("only one training image", images, labels)
    two = data.Examples(images, np.array([0, 2, 2]))
    few = data.from_arrays("own", two, good, ("a", "b", "c"))
    assert few["validation"].labels.tolist() == [2]
    assert {split: len(part) for split, part in few.items()} == {
        "train": 2, "validation": 1, "test": 3, "train+validation": 3,
    }  # fmt: skip


def scaled(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """Floats of which one pixel has the lowest value, all others the highest."""
    found = np.full(images.shape, high, np.float32)
    found[0, 0, 0] = low
    return found


@pytest.mark.parametrize("shape", [(3, 1, 28), (3, 28, 1), (3, 1, 1, 1), (1, 2, 2), (3, 2, 2, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_images_that_are_just_allowed(shape, dtype):
    """The least sizes, and both ends of the range."""
    images = np.zeros(shape, dtype)
    images[-1] = 255 if dtype == np.uint8 else 1
    data.check_images(images)
    data.check_images(images, shape[1:])
    with pytest.raises(DataError, match=rf"of shape \[n, 9, 9\], .* these are {images.dtype} of"):
        data.check_images(images, (9, 9))
    with pytest.raises(DataError, match=f"these are {np.dtype(int)} of shape"):
        data.check_images(images.astype(int))


@pytest.mark.parametrize(
    ("given", "kind"),
    [(None, "None"), ([[0.0]], "a list"), (memoryview(b"0"), "a memoryview"), (7, "a int")],
)
def test_what_is_not_an_array_is_named(given, kind):
    with pytest.raises(DataError, match=rf"must be an array, of shape \[n, .*; this is {kind}$"):
        data.check_images(given)


@pytest.mark.parametrize(
    "names", [None, 7, [], [1, 2], ["a", 1], np.array([["a", "b"]]), np.array("ab"), {"a": 1, 2: 3}]
)
def test_what_is_no_list_of_class_names(names):
    with pytest.raises(DataError, match="class_names must be a list of strings, one a class, not"):
        check_class_names(names)


def test_class_names_are_strings_that_differ():
    for good in (("a", "b"), np.array(["a", "b"]), iter(["a", "b"])):
        assert check_class_names(good) == ("a", "b")
    with pytest.raises(DataError, match="class names must differ; 'b' appears twice"):
        check_class_names(("a", "b", "c", "b"))
    with pytest.raises(DataError, match=r"one a class, not 7$"):
        check_class_names(7)
    with pytest.raises(DataError) as caught:
        check_class_names(np.array([["a", "b"], ["c", "d"]]))
    assert "\n" not in str(caught.value)


def test_splits_of_one_dataset_belong_together():
    splits = data.load_splits("digits", ("train", "validation", "test"))
    given = {split.split: split for split in splits}
    data.check_splits(given, ["train", "test"])
    data.check_splits({"test": given["test"]}, [])
    with pytest.raises(DataError, match="data has no split train and validation: give a mapping"):
        data.check_splits({"test": given["test"]}, ["train", "test", "validation"])
    test = given["test"]
    for other in (
        dataclasses.replace(test, class_names=tuple("abcdefghij")),
        dataclasses.replace(test, images=test.images[:, :20]),
    ):
        for order in ({"train": given["train"], "test": other}, {"test": other, **given}):
            if order["test"] is other:
                with pytest.raises(DataError, match="differ in their classes or in the shape"):
                    data.check_splits(order, ["train"])


def test_the_fingerprint_is_of_what_arrays_hold(rng):
    """However they lie in memory; each dtype, shape, value, and label counts."""
    images = rng.integers(0, 256, (24, 6, 6), dtype=np.uint8)
    labels = np.arange(24) % 2

    def found(images: np.ndarray, labels: np.ndarray) -> str:
        part = data.Examples(images, labels)
        return data.from_arrays("own", part, part, ("a", "b"))["test"].fingerprint.sha256

    stored = np.asfortranarray(images)
    assert found(stored, np.repeat(labels, 2)[::2]) == found(images, labels)
    changed = images.copy()
    changed[-1, -1, -1] ^= 1
    others = [
        (changed, labels),
        (images.reshape(24, 4, 9), labels),
        ((images / 255).astype(np.float32), labels),
        (images, labels[::-1]),
        (images[::-1], labels),
    ]
    assert len({found(images, labels), *(found(*other) for other in others)}) == 6


@pytest.mark.parametrize("form", ["mnist", "emnist"])
def test_forms_are_of_28x28_pixels(form):
    """Of any channels, and no side may differ."""
    for shape, fits in {
        (28, 28): True,
        (28, 28, 3): True,
        (28, 29): False,
        (29, 28): False,
    }.items():
        part = data.Examples(np.zeros((4, *shape), np.uint8), np.arange(4) % 2)
        if fits:
            found = data.from_arrays("own", part, part, ("a", "b"), form=form)["test"]
            assert (found.form, found.light_ground, found.light_files) == (form, False, False)
            continue
        with pytest.raises(DataError, match=f"the form {form} is of 28x28 pixels; for"):
            data.from_arrays("own", part, part, ("a", "b"), form=form)


def test_a_single_image_cannot_be_held_out():
    part = data.Examples(np.zeros((1, 28, 28), np.uint8), np.zeros(1, int))
    for stratified in (True, False):
        with pytest.raises(DataError, match="only one training image, so none can be held out"):
            data.from_arrays("own", part, part, ("a", "b"), stratified=stratified)
    splits = data.from_arrays("own", part, part, ("a", "b"), part)
    assert [len(split) for split in splits.values()] == [1, 1, 1, 2]


@pytest.mark.parametrize("name", SPECS)
def test_files_of_each_dataset_become_upright_images_from_0(tmp_path, name):
    """EMNIST's lie on their side, and its letters count from 1, as its makers say."""
    spec, first = SPECS[name], int(name == "emnist/letters")
    count = len(spec.class_names)
    files, stored = {}, {}
    for role, rank in (("train-images", 3), ("train-labels", 1)):
        shape = (count, 28, 28) if rank == 3 else (count,)
        array = np.random.default_rng(0).integers(0, 256, shape) if rank == 3 else np.arange(count)
        stored[role] = array + (first if rank == 1 else 0)
        for part in ("train", "test"):
            path = tmp_path / f"{part}-{role}"
            write_idx(path, stored[role])
            files[spec.files[role.replace("train", part)]] = path
    for images, labels in builders.read_splits(spec, files).values():
        lying = stored["train-images"].transpose(0, 2, 1)
        expected = lying if name.startswith("emnist/") else stored["train-images"]
        np.testing.assert_array_equal(images, expected)
        assert labels.tolist() == list(range(count))
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    for label in (first - 1, first + count) if first else (count,):
        write_idx(files[spec.files["test-labels"]], np.full(count, label))
        with pytest.raises(
            DataError, match=f"from {label} to {label}, those of {name} from {first}"
        ):
            builders.read_splits(spec, files)


def test_official_counts_are_those_of_the_papers():
    """Cohen et al. 2017 give EMNIST's of each class, and 814,255 characters by class."""
    counts = {name: spec.counts for name, spec in SPECS.items()}
    assert counts["mnist"] == counts["fashion_mnist"] == counts["kmnist"] == (60_000, 10_000)
    of_each_class = {"letters": (4800, 800), "balanced": (2400, 400), "digits": (24_000, 4000)}
    for name, (train, test) in {**of_each_class, "mnist": (6000, 1000)}.items():
        classes = len(SPECS[f"emnist/{name}"].class_names)
        assert counts[f"emnist/{name}"] == (train * classes, test * classes)
    assert counts["emnist/byclass"] == counts["emnist/bymerge"]
    assert sum(counts["emnist/byclass"]) == 814_255
    assert counts["emnist/byclass"][0] == 697_932


def test_only_as_many_images_as_its_makers_say_are_official():
    counts = {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert specs.is_official(data.Fingerprint("mnist", counts, ""))
    assert not specs.is_official(data.Fingerprint("mnist", {**counts, "test": 9_999}, ""))
    assert not specs.is_official(data.Fingerprint("own", counts, ""))


def test_a_builder_tells_what_it_builds(tmp_path):
    """To tensorflow-datasets, and to who asks for inputs and targets."""
    builder = builders.builder_for(LETTERS, tmp_path)
    info: Any = builder.info
    assert info.full_name == "jaxdigits_emnist/letters/1.0.0"
    assert info.description.startswith("letters, both cases in one class (Cohen et al.). Upright,")
    assert info.supervised_keys == ("image", "label")
    assert info.features["image"].shape == (28, 28)
    assert info.features["image"].np_dtype == np.uint8
    assert info.features["label"].names == list("abcdefghijklmnopqrstuvwxyz")
    assert {config.name: config.description for config in builder.BUILDER_CONFIGS} == {
        name.removeprefix("emnist/"): spec.title
        for name, spec in SPECS.items()
        if name.startswith("emnist/")
    }
    assert builders.builder_for(SPECS["mnist"], tmp_path).info.full_name == "jaxdigits_mnist/1.0.0"


def test_only_datasets_have_builders():
    """What these have in common is none by itself."""
    imported = set(registered.list_imported_builders())
    assert {name for name in imported if name.startswith("jaxdigits_")} == {
        f"jaxdigits_{name.partition('/')[0]}" for name in SPECS
    }
    assert not imported & {"_idx_builder", "__idx_builder"}


def written(folder: Path) -> Path:
    """Prepared arrays: two parts of 24 images each."""
    pair = np.zeros((24, 28, 28), np.uint8), np.arange(24, dtype=np.int32)
    arrays.write(folder, LETTERS, {"train": pair, "test": pair}, {"file": "hash"})
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.pop("sources"), "arrays.json lacks sources; delete that folder and"),
        (lambda index: index["sha256"].pop("test-images"), "arrays.json lacks test-images;"),
        (
            lambda index: [index.pop("sources"), index["sha256"].pop("test-labels")],
            "arrays.json lacks test-labels;",
        ),
        (lambda index: index.pop("sha256"), "arrays.json cannot be read .*'sha256'"),
        (lambda index: index["counts"].update(train="many"), "arrays.json cannot be read"),
        (lambda index: index["counts"].update(test=None), "arrays.json cannot be read"),
    ],
)
def test_an_index_of_arrays_that_lacks_something(tmp_path, change, message):
    folder = written(tmp_path / "a" / "b")
    assert arrays.read_source_sums(folder) == {"file": "hash"}
    index = json.loads((folder / arrays.INDEX).read_text())
    change(index)
    (folder / arrays.INDEX).write_text(json.dumps(index))
    with pytest.raises(DataError, match=f"b is damaged: {message}"):
        arrays.read_fingerprint(folder, LETTERS)


def test_each_file_of_arrays_is_read_once(tmp_path, monkeypatch):
    """However many splits lie in it."""
    opened, load = [], np.load

    def watched(path: Path, **options: Any) -> np.ndarray:
        opened.append(path.name)
        return load(path, **options)

    monkeypatch.setattr(np, "load", watched)
    splits = ("train", "train+validation", "validation")
    found = arrays.open_splits(written(tmp_path), LETTERS, splits)
    assert [len(split) for split in found] == [22, 24, 2]
    assert sorted(opened) == ["train-images.npy", "train-labels.npy"]


def test_an_index_of_arrays_can_be_read_by_people(tmp_path):
    text = (written(tmp_path) / arrays.INDEX).read_text()
    assert text.startswith('{\n "name": "emnist/letters",\n "counts": {\n  "train": 24,\n')


def test_a_pickle_instead_of_an_array_is_not_loaded(tmp_path):
    (written(tmp_path) / "test-labels.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match=r"damaged: test-labels.npy cannot be read"):
        arrays.open_splits(tmp_path, LETTERS, ("test",))


def test_images_of_an_open_split_stay_in_their_file(emnist_files):
    data.prepare("emnist/letters", manual_dir=emnist_files)
    stored = data.open_split("emnist/letters", "validation")
    assert isinstance(stored.part.images, np.memmap)
    whole = data.load("emnist/letters", "validation")
    rows = np.array([[3, 0], [7, 7]])
    images, labels = stored.read(rows)
    np.testing.assert_array_equal(images, whole.images[rows])
    np.testing.assert_array_equal(labels, whole.labels[rows])
    assert (stored.split, stored.class_names) == ("validation", whole.class_names)


@pytest.mark.parametrize("place", ["", "emnist", "emnist/letters"])
def test_files_may_lie_in_a_folder_of_the_dataset(emnist_files, tmp_path, place):
    """The nearest to the dataset's name is taken."""
    root = tmp_path / "given"
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    emnist_files.rename(root / place) if place else emnist_files.rename(root)
    found = sources.local_files(LETTERS, root)
    assert {path.parent for path in found.values()} == {root / place}
    (root / "emnist" / "letters").mkdir(parents=True, exist_ok=True)
    name = LETTERS.files["test-labels"]
    (root / "emnist" / "letters" / name).write_bytes(b"nearer")
    assert sources.local_files(LETTERS, root)[name].read_bytes() == b"nearer"


def test_a_file_that_is_too_long_is_another_one(tmp_path):
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"x" * 4543)
    with pytest.raises(
        DataError, match="is not the right file: expected 4,542 bytes, found 4,543; copy it again"
    ):
        data.prepare("mnist", manual_dir=tmp_path)


def test_an_archive_is_named_with_the_files_in_it():
    remote = list(LETTERS.remote.values())
    message = sources.how_to_get(LETTERS, remote)
    assert message.endswith("or only these, unpacked from it: " + ", ".join(LETTERS.files.values()))
    assert "gzip.zip  561,753,746 bytes" in message
    mnist = SPECS["mnist"]
    assert "unpacked" not in sources.how_to_get(mnist, list(mnist.remote.values()))


def test_the_dataset_to_train_on(emnist_files, tmp_path):
    """A folder is meant by its absolute path; who names a folder of files wants MNIST itself."""
    (tmp_path / "own").mkdir()
    assert data.choose_dataset("own") == str(tmp_path / "own")
    assert data.choose_dataset("kmnist") == "kmnist"
    assert data.choose_dataset("nowhere") == "nowhere"
    with pytest.raises(DataUnavailableError, match="mnist is not prepared"):
        data.choose_dataset(manual_dir=emnist_files)


def test_places_are_handed_on(emnist_files, tmp_path):
    """Where data lie, and files: to all that loads."""
    places: Any = {"data_dir": tmp_path / "there", "manual_dir": emnist_files}
    assert len(data.open_split("emnist/letters", "test", **places)) == 52
    assert data.is_prepared("emnist/letters", places["data_dir"])
    assert not data.is_prepared("emnist/letters")
    assert len(data.load_splits("emnist/letters", ["test"], data_dir=places["data_dir"])[0]) == 52
    found = data.read_fingerprint("emnist/letters", places["data_dir"])
    assert found is not None
    assert found.counts["test"] == 52
    assert data.read_fingerprint("emnist/letters") is None


def test_splits_that_there_are_not(python):
    """In another process, where the annotations are not checked by other means."""
    code = (
        "from jaxdigits import data\n"
        "for read in (data.load, data.open_split):\n"
        "    try: read('digits', 'all')\n"
        "    except data.DataError as error: print(error)"
    )
    message = "there is no split 'all'; there are train, validation, test, train+validation\n"
    assert python("-c", code).stdout == 2 * message


def test_each_dataset_is_listed_with_its_state(emnist_files, tmp_path):
    data.prepare("emnist/letters", manual_dir=emnist_files)
    data.prepare("emnist/letters", tmp_path / "other", emnist_files)
    index = prepared_folder(LETTERS, tmp_path / "other") / arrays.INDEX
    index.write_text("{")
    found = {entry.name: entry for entry in overview.overview()}
    assert tuple(found) == data.names()
    digits, letters, mnist = found["digits"], found["emnist/letters"], found["mnist"]
    assert digits[2:] == (10, "always there", {"train": 1317, "validation": 120, "test": 360}, "")
    assert letters[2:] == (26, "prepared", {"train": 238, "validation": 22, "test": 52}, "")
    official = {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert mnist[2:] == (10, "not prepared", official, "")
    (damaged,) = (one for one in overview.overview(tmp_path / "other") if one.state == "damaged")
    assert (damaged.name, damaged.counts["test"]) == ("emnist/letters", 20_800)
    assert "arrays.json cannot be read" in damaged.problem
    with pytest.raises(DataError, match="is an address"):
        overview.overview("gs://bucket")


def test_nothing_is_printed_while_data_are_prepared(emnist_files, tmp_path, capsys, monkeypatch):
    """But on a terminal, where tensorflow-datasets announces itself beside the results."""
    data.prepare("emnist/letters", manual_dir=emnist_files)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    data.prepare("emnist/letters", tmp_path / "other", emnist_files)
    assert capsys.readouterr().out == ""
    assert "Downloading and preparing dataset" in terminal.getvalue()


def test_tensorflow_datasets_looks_for_no_copy_elsewhere(emnist_files, monkeypatch):
    """On the hosts of Google, where it has prepared its own."""
    looked: list[bool] = []

    def prepare(_: object, *, download_config: Any) -> None:
        looked.append(download_config.try_download_gcs)

    monkeypatch.setattr(builders.JaxdigitsEmnist, "download_and_prepare", prepare)
    data.prepare("emnist/letters", manual_dir=emnist_files)
    assert looked == [False]


def test_named_datasets_have_a_form():
    forms = {name: spec.form for name, spec in SPECS.items()}
    assert {name for name, form in forms.items() if form == "emnist"} == {
        name for name in forms if name.startswith("emnist/")
    }
    assert set(forms.values()) == {"mnist", "emnist"}
    digits = data.load("digits", "test")
    assert (digits.form, digits.light_ground, digits.image_shape) == ("mnist", False, (28, 28))


def test_a_prepared_dataset_has_its_form(emnist_files):
    loaded = data.load("emnist/letters", "test", manual_dir=emnist_files)
    stored = data.open_split("emnist/letters", "test")
    for split in (loaded, stored):
        assert (split.form, split.light_ground, split.image_shape) == ("emnist", False, (28, 28))


@pytest.mark.parametrize("shape", [(28, 28), (32, 20), (8, 8, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_images_of_any_size(rng, shape, dtype):
    """Floats of any kind become float32."""
    images = rng.integers(0, 256, (24, *shape), dtype=np.uint8)
    if dtype != np.uint8:
        images = (images / 255).astype(dtype)
    part = data.Examples(images, np.arange(24) % 2)
    splits = data.from_arrays("own", part, part, ("a", "b"), light_ground=True)
    kept = np.uint8 if dtype == np.uint8 else np.float32
    for dataset in splits.values():
        assert (dataset.form, dataset.light_ground) == ("plain", True)
        assert (dataset.image_shape, dataset.images.dtype) == (shape, kept)
    np.testing.assert_array_equal(splits["test"].images, images.astype(kept))


def test_forms_that_do_not_fit():
    part = data.Examples(np.zeros((4, 32, 32), np.uint8), np.arange(4) % 2)
    with pytest.raises(DataError, match=r"mnist is of 28x28 pixels; for \(32, 32\) choose plain"):
        data.from_arrays("own", part, part, ("a", "b"), form="mnist")
    with pytest.raises(DataError, match="form must be one of mnist, emnist, plain, not 'round'"):
        data.from_arrays("own", part, part, ("a", "b"), form="round")


def test_mnist_is_the_official_one(mnist_dir):
    whole = data.load("mnist", "train+validation", data_dir=mnist_dir)
    test = data.load("mnist", "test", data_dir=mnist_dir)
    assert (len(whole), len(test)) == (60_000, 10_000)
    assert np.bincount(test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # The patch that post A prints of the first training image.
    assert whole.labels[0] == 5
    assert whole.images[0, 6:12, 6:12].tolist()[1] == [0, 49, 238, 253, 253, 253]


def test_emnist_letters_takes_the_counts_of_the_header(real_data, shared):
    source = real_data / "emnist-letters-subset"
    letters = data.load("emnist/letters", "test", data_dir=shared / "letters", manual_dir=source)
    assert letters.fingerprint.counts == {"train": 54_058, "validation": 4_914, "test": 5_200}
    assert np.bincount(letters.labels).tolist() == [200] * 26
    # Upright: an "l" or "i" is taller than it is wide.
    tall = letters.images[np.isin(letters.labels, [8, 11])].mean(axis=0)
    assert tall.sum(axis=0).std() > 2 * tall.sum(axis=1).std()


def test_the_fingerprint_is_read_without_the_images(emnist_files):
    data.prepare("emnist/letters", manual_dir=emnist_files)
    expected = data.load("emnist/letters", "train").fingerprint
    assert data.read_fingerprint("emnist/letters") == expected
    assert data.read_fingerprint("digits") == data.load("digits", "test").fingerprint
    assert data.read_fingerprint("mnist") is None
