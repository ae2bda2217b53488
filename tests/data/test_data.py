"""Datasets from files: what is loaded, and what happens to files that are not right."""

import os
import signal
import subprocess
import sys
import time
from importlib import resources
from typing import Any

import numpy as np
import pytest
from helpers import emnist_arrays, replace_remote, write_emnist

from jaxdigits import data
from jaxdigits.data import arrays, sources, specs
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
    refuse("there is no image", images[:0], labels[:0])
    refuse("only one training image", images[:1], labels[:1])
    refuse("only one training image", images, labels)
    two = data.Examples(images, np.array([0, 2, 2]))
    few = data.from_arrays("own", two, good, ("a", "b", "c"))
    assert few["validation"].labels.tolist() == [2]
    assert {split: len(part) for split, part in few.items()} == {
        "train": 2, "validation": 1, "test": 3, "train+validation": 3,
    }  # fmt: skip


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


def test_emnist_letters_takes_the_counts_of_the_header(real_data):
    letters = data.load("emnist/letters", "test", manual_dir=real_data / "emnist-letters-subset")
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
