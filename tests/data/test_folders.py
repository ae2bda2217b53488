"""Folders of images: written and read unchanged, or of any kind, and those that are refused."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import Terminal, notes
from PIL import Image
from tqdm import tqdm

from jaxdigits import data
from jaxdigits.data import Dataset, Examples
from jaxdigits.data.exported import INDEX
from jaxdigits.data.images import read_images
from jaxdigits.data.splits import SPLITS, Split
from jaxdigits.errors import DataError, OutputError


def ink(seed: int = 0) -> np.ndarray:
    """A bright character on a dark ground, uint8 [28, 28], each one another."""
    image = np.zeros((28, 28), np.uint8)
    image[6:22, 6:22] = np.random.default_rng(seed).integers(1, 256, (16, 16))
    image[6, 6:8] = 1, 255
    return image


def save(path: Path, image: np.ndarray | Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(path, **options)
    return path


def write_tree(
    root: Path,
    splits: Sequence[str] = ("train", "test"),
    classes: Sequence[str] = ("a", "b"),
    count: int = 3,
) -> Path:
    """A small tree of images, `count` of each class; `splits=[""]` for one without splits."""
    for split in splits:
        for label, name in enumerate(classes):
            for number in range(count):
                save(root / split / name / f"{number}.png", ink(100 * label + number))
    return root


def read(path: Path) -> np.ndarray:
    return read_images([path], exact=False)[0][0]


def drawings(count: int, classes: int, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return Examples(images, random.permutation(count) % classes)


def assert_same(found: dict[Split, Dataset], expected: dict[Split, Dataset]) -> None:
    assert set(found) == set(SPLITS)
    for split in SPLITS:
        np.testing.assert_array_equal(found[split].images, expected[split].images)
        np.testing.assert_array_equal(found[split].labels, expected[split].labels)
        assert found[split].images.dtype == np.uint8
        assert found[split].labels.dtype == np.int32
        assert found[split].class_names == expected[split].class_names
        assert found[split].split == split
        assert found[split].fingerprint.sha256 == expected[split].fingerprint.sha256
        assert found[split].fingerprint.counts == expected[split].fingerprint.counts


def whole(name: str, **places) -> dict[Split, Dataset]:
    return dict(zip(SPLITS, data.load_splits(name, SPLITS, **places), strict=True))


# Exported folders.


def test_digits_come_back(tmp_path):
    folder = data.export_folder(whole("digits"), tmp_path / "digits")
    assert sorted(path.name for path in folder.iterdir()) == [INDEX, "test", "train"]
    first = np.asarray(Image.open(folder / "train" / "0" / "00000.png"))
    np.testing.assert_array_equal(first, data.load("digits", "train+validation").images[0])
    assert_same(data.load_folder(folder), whole("digits"))
    # Without the index too: the names of classes are folders', and no image was inverted. Only
    # validation is another: of a folder's, some of each class.
    (folder / INDEX).unlink()
    again, expected = data.load_folder(folder), whole("digits")
    for split in ("test", "train+validation"):
        np.testing.assert_array_equal(again[split].images, expected[split].images)
        np.testing.assert_array_equal(again[split].labels, expected[split].labels)


NAMES = ("T-shirt/top", "a", "A", "..", "", "ß\\", "Ankle boot", "10", "2")


def test_any_names_of_classes_and_any_images_come_back(tmp_path):
    # Noise has no ground, the images of one class are all white, and no 2 is in the test split.
    train, test = drawings(90, 9), drawings(40, 8, seed=1)
    train.images[train.labels == 1] = 255
    expected = data.from_arrays("own", train, test, NAMES)
    folder = data.export_folder(expected, tmp_path / "own")
    assert len({path.name.casefold() for path in (folder / "train").iterdir()}) == 9
    assert not (folder / "test" / "2").exists()
    assert_same(data.load_folder(folder), expected)


def test_names_of_many_images_are_in_their_order(tmp_path, monkeypatch):
    """So that they are read back in it. (Nothing is written: that takes long.)"""
    names = []
    nothing = SimpleNamespace(save=lambda path, **options: names.append(path.name))
    monkeypatch.setattr(Image, "fromarray", lambda _: nothing)
    many, few = (Examples(np.zeros((n, 1, 1), np.uint8), np.zeros(n, int)) for n in (100_001, 2))
    splits = data.from_arrays("own", many, few, ("a", "b"))
    data.export_folder(splits, tmp_path / "own")
    assert names[:100_001] == sorted(names[:100_001])


def test_a_validation_split_of_ones_own_comes_back(tmp_path):
    train, test, validation = (drawings(count, 3, seed=count) for count in (20, 10, 7))
    expected = data.from_arrays("own", train, test, ("a", "b", "c"), validation)
    assert {split: len(part) for split, part in expected.items()} == {
        "train": 20, "validation": 7, "test": 10, "train+validation": 27,
    }  # fmt: skip
    np.testing.assert_array_equal(expected["validation"].images, validation.images)
    np.testing.assert_array_equal(expected["train+validation"].images[:20], train.images)
    folder = data.export_folder(expected, tmp_path / "own")
    assert (folder / "validation").is_dir()
    assert_same(data.load_folder(folder), expected)


def test_emnist_comes_back(emnist_files, tmp_path):
    expected = whole("emnist/letters", manual_dir=emnist_files)
    assert_same(data.load_folder(data.export_folder(expected, tmp_path / "letters")), expected)


def test_mnist_comes_back(mnist_dir, tmp_path):
    """Every fiftieth image: all 70,000 files would take long to write."""
    splits = whole("mnist", data_dir=mnist_dir)
    train, test = (
        Examples(*(array[::50] for array in splits[split].examples))
        for split in ("train+validation", "test")
    )
    expected = data.from_arrays("mnist", train, test, splits["test"].class_names)
    folder = data.export_folder(expected, tmp_path / "mnist")
    found = data.load_folder(folder)
    assert_same(found, expected)
    assert found["test"].fingerprint == expected["test"].fingerprint


@pytest.mark.parametrize("shape", [(28, 28), (20, 31), (28, 28, 1), (9, 12, 3)])
def test_form_ground_and_shape_come_back(tmp_path, rng, shape):
    train, test = (
        Examples(rng.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % 2)
        for count in (24, 6)
    )
    form = "emnist" if shape[:2] == (28, 28) else "plain"
    expected = data.from_arrays("own", train, test, ("x", "y"), form=form, light_ground=True)
    assert expected["test"].image_shape == shape
    folder = data.export_folder(expected, tmp_path / "own")
    found = data.load_folder(folder)
    assert_same(found, expected)
    for split in SPLITS:
        for dataset in (found[split], expected[split], data.open_split(folder, split)):
            assert (dataset.form, dataset.light_ground) == (form, True)
            assert dataset.image_shape == shape
    with pytest.raises(DataError, match=r"holds images of shape .*, as exported, not \(5, 5\)"):
        data.load_folder(folder, image_shape=(5, 5))
    # Without the index, light images are inverted, and nothing is known of the form.
    (folder / INDEX).unlink()
    plain = data.load_folder(folder, image_shape=shape)["test"]
    assert (plain.form, plain.light_ground, plain.image_shape) == ("plain", False, shape)


def test_an_export_of_a_named_dataset_holds_out_what_it_did(tmp_path):
    """A twelfth whatever the classes; also as older versions wrote it, which did not say so."""
    expected = data.from_arrays(
        "own", drawings(60, 2), drawings(6, 2), ("x", "y"), stratified=False
    )
    assert_same(data.load_folder(data.export_folder(expected, tmp_path / "own")), expected)
    document = json.loads((tmp_path / "own" / INDEX).read_text())
    del document["stratified"]
    (tmp_path / "own" / INDEX).write_text(json.dumps(document))
    assert_same(data.load_folder(tmp_path / "own"), expected)


def test_progress_of_an_export_is_shown_on_a_terminal_alone(tmp_path, monkeypatch, capsys):
    splits = data.from_arrays("own", drawings(24, 2), drawings(6, 2), ("x", "y"))
    data.export_folder(splits, tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    terminal, counted, close = Terminal(), set(), tqdm.close

    def watched(bar: tqdm) -> None:
        counted.add(bar.n)
        close(bar)

    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(tqdm, "close", watched)
    data.export_folder(splits, tmp_path / "own")
    assert terminal.bars == ["writing: 0/30 image"]
    assert counted == {30}


def test_an_index_can_be_read_by_people(exported):
    text = (exported / INDEX).read_text()
    assert text.startswith('{\n "format": 1,\n "ink": "bright",\n "form": "plain",\n')


def test_a_folder_that_appears_while_images_are_written(tmp_path, monkeypatch):
    """It is kept, although all in it is called as in an export."""
    folder = tmp_path / "own"
    picture = SimpleNamespace(
        save=lambda path, **options: (folder / "train" / "x").mkdir(parents=True, exist_ok=True)
    )
    monkeypatch.setattr(Image, "fromarray", lambda _: picture)
    splits = data.from_arrays("own", drawings(24, 2), drawings(6, 2), ("x", "y"))
    with pytest.raises(OutputError, match="own is taken"):
        data.export_folder(splits, folder)
    assert [path.name for path in folder.rglob("*")] == ["train", "x"]


@pytest.mark.parametrize("name", ["..", ". ", "//", "a/b", "a:b", "CON\x1f", " a. "])
def test_names_of_classes_become_names_of_folders(tmp_path, name):
    """Two alike differ by a number."""
    names = (name, name.replace("/", ":"), "other", f"{name}!")
    names = tuple(dict.fromkeys(names))
    expected = data.from_arrays("own", drawings(40, len(names)), drawings(8, len(names)), names)
    folder = data.export_folder(expected, tmp_path / "own")
    for path in (folder / "train").iterdir():
        assert not set(path.name) & set('<>:"/\\|?*\x1f')
        assert path.name.strip(". ") == path.name
    assert_same(data.load_folder(folder), expected)


def test_an_older_export_is_of_plain_form(exported):
    document = json.loads((exported / INDEX).read_text())
    del document["form"], document["image_shape"]
    (exported / INDEX).write_text(json.dumps(document))
    found = data.load_folder(exported)["test"]
    assert (found.form, found.light_ground, found.image_shape) == ("plain", False, (28, 28))


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.full((24, 28, 28), 0.5, np.float32), r"float32 of shape \[28, 28\]"),
        (np.zeros((24, 8, 8, 4), np.uint8), r"uint8 of shape \[8, 8, 4\]"),
    ],
)
def test_what_no_png_holds_is_not_exported(tmp_path, images, found):
    part = Examples(images, np.arange(24) % 2)
    splits = data.from_arrays("own", part, part, ("x", "y"))
    with pytest.raises(DataError, match=f"uint8 images of 1 or 3 channels; these are {found}"):
        data.export_folder(splits, tmp_path / "own")
    assert not list(tmp_path.iterdir())


def test_a_folder_read_in_another_shape(tmp_path):
    root = write_tree(tmp_path / "own")
    large = data.load_folder(root, image_shape=(40, 30))["train"].images
    assert large.shape == (4, 40, 30)
    assert (large.reshape(4, -1).max(axis=1) == 255).all()
    assert not large[:, :5].any()  # fitted into the width
    save(root / "train" / "a" / "red.png", np.full((50, 50, 3), [200, 10, 10], np.uint8))
    colors = data.load_folder(root, image_shape=(20, 20, 3))["train+validation"].images
    np.testing.assert_array_equal(colors[-1], np.tile([200, 10, 10], (20, 20, 1)))
    with pytest.raises(DataError, match=r"image files have 1 or 3 channels, not .* 28, 2"):
        data.load_folder(root, image_shape=(28, 28, 2))


@pytest.fixture
def exported(tmp_path) -> Path:
    splits = data.from_arrays("own", drawings(24, 2), drawings(6, 2), ("x", "y"))
    return data.export_folder(splits, tmp_path / "exported")


def test_an_exported_folder_that_is_not_whole(exported):
    image = min((exported / "train" / "x").iterdir())
    content = image.read_bytes()
    image.unlink()
    with pytest.raises(DataError, match=r"does not hold what was exported to it: .*21/2/6 images"):
        data.load_folder(exported)
    save(image, ink())
    with pytest.raises(DataError, match=r"22/2/6 images.* is not .*22/2/6 .*export it again"):
        data.load_folder(exported)
    image.write_bytes(content)
    assert len(data.load_folder(exported)["train"]) == 22
    save(exported / "train" / "z" / "0.png", ink())
    with pytest.raises(DataError, match=f"a class z in train that is not in {INDEX}"):
        data.load_folder(exported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "another version of jaxdigits"),
        ({"ink": "blue"}, "another version of jaxdigits"),
        ({"classes": ["x"]}, "cannot be read"),
        ({"data": {"name": "own"}}, "cannot be read"),
        (None, r"jaxdigits.json cannot be read .*export the dataset again, or delete that file"),
    ],
)
def test_a_damaged_index(exported, change, message):
    text = (exported / INDEX).read_text()
    changed = json.dumps({**json.loads(text), **change}) if change else text[:-20]
    (exported / INDEX).write_text(changed)
    with pytest.raises(DataError, match=message):
        data.load_folder(exported)


EXPORT = (
    "import sys, numpy as np; from jaxdigits import data;"
    "part = data.Examples(np.zeros((40_000, 28, 28), np.uint8), np.arange(40_000) % 2);"
    "data.export_folder(data.from_arrays('own', part, part, ('x', 'y')), sys.argv[1])"
)


def test_a_killed_export_leaves_nothing_that_looks_whole(tmp_path):
    folder, unfinished = tmp_path / "own", tmp_path / "own.unfinished"
    process = subprocess.Popen([sys.executable, "-c", EXPORT, str(folder)])
    deadline = time.monotonic() + 60
    while not (unfinished / "train/y/01001.png").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not folder.exists()
    (unfinished / "test/x").mkdir(parents=True)
    for name in ("x", "y"):  # as if killed later
        save(unfinished / "test" / name / "00000.png", ink())
        for image in sorted((unfinished / "train" / name).iterdir())[20:]:
            image.unlink()
    with pytest.raises(DataError, match="does not hold what was exported"):
        data.load_folder(unfinished)
    splits = data.from_arrays("own", drawings(24, 2), drawings(6, 2), ("x", "y"))
    assert_same(data.load_folder(data.export_folder(splits, folder)), splits)
    assert not unfinished.exists()


def test_a_taken_folder_is_kept(tmp_path):
    splits = data.from_arrays("own", drawings(24, 2), drawings(6, 2), ("x", "y"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("years of work")
    for name in ("taken", "file"):
        with pytest.raises(OutputError, match=f"{name} is taken; choose a folder that is new"):
            data.export_folder(splits, tmp_path / name)
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "taken" / "thesis.txt").unlink()
    assert_same(data.load_folder(data.export_folder(splits, tmp_path / "taken")), splits)


# Images of any kind.


def transparent(mode: str, value: int, alpha: np.ndarray) -> Image.Image:
    """Ink of one value that covers as much as `alpha` says, in LA or RGBA."""
    colors = [np.full_like(alpha, value)] * (len(mode) - 1)
    return Image.fromarray(np.dstack([*colors, alpha]))


def palette() -> Image.Image:
    """A picture whose palette runs from white to black: its values are not its grays."""
    picture = Image.fromarray(255 - ink())
    picture.putpalette([value for gray in range(255, -1, -1) for value in (gray,) * 3])
    return picture


EXACT = {
    "gray.png": (lambda: Image.fromarray(ink()), {}),
    "palette.png": (palette, {}),
    "palette.GIF": (palette, {}),
    "color.bmp": (lambda: Image.fromarray(ink()).convert("RGB"), {}),
    "color.WebP": (lambda: Image.fromarray(ink()).convert("RGB"), {"lossless": True}),
    "opaque.png": (lambda: Image.fromarray(ink()).convert("RGBA"), {}),
    "sixteen.png": (lambda: Image.fromarray(ink().astype(np.uint16) * 257), {}),
    "sixteen.tif": (
        lambda: Image.fromarray(ink() * np.uint16(257) - np.uint16(100) * (ink() > 0)),
        {},
    ),
    "float.tiff": (lambda: Image.fromarray(ink() / np.float32(255)), {}),
    "int.tiff": (lambda: Image.fromarray(ink().astype(np.int32) * 1000 - 7), {}),
    "dark ink.png": (lambda: transparent("RGBA", 0, ink()), {}),
    "bright ink.png": (lambda: transparent("RGBA", 255, ink()), {}),
    "dark ink, LA.png": (lambda: transparent("LA", 0, ink()), {}),
    "bright ink, LA.png": (lambda: transparent("LA", 255, ink()), {}),
    "paper.png": (lambda: Image.fromarray(255 - ink()), {}),
    "paper, sixteen.png": (lambda: Image.fromarray((255 - ink()).astype(np.uint16) * 257), {}),
}


@pytest.mark.parametrize("name", EXACT)
def test_images_of_28x28_stay_as_they_are(tmp_path, name):
    picture, options = EXACT[name]
    np.testing.assert_array_equal(read(save(tmp_path / name, picture(), **options)), ink())


def test_faint_images_of_28x28_are_not_stretched(tmp_path):
    np.testing.assert_array_equal(read(save(tmp_path / "faint.png", ink() // 4)), ink() // 4)


def test_bits(tmp_path):
    picture = Image.fromarray(ink()).convert("1", dither=Image.Dither.NONE)
    expected = np.where(ink() > 127, 255, 0)
    np.testing.assert_array_equal(read(save(tmp_path / "bits.png", picture)), expected)


def test_colors_of_print(tmp_path):
    smooth = np.zeros((28, 28), np.uint8)
    smooth[8:20, 8:20] = 200
    picture = Image.fromarray(smooth).convert("RGB").convert("CMYK")
    found = read(save(tmp_path / "print.jpg", picture, quality=95))
    np.testing.assert_allclose(found.astype(int), smooth, atol=8)


def test_a_transparent_color(tmp_path):
    """A GIF in which the paper is the transparent color, and the ink dark."""
    picture = Image.fromarray(np.where(ink() > 127, 1, 0).astype(np.uint8))
    picture = picture.convert("P")
    picture.putpalette([0, 0, 0, 30, 30, 30])
    found = read(save(tmp_path / "a.gif", picture, transparency=0))
    np.testing.assert_array_equal(found, np.where(ink() > 127, 225, 0))


def test_the_first_frame_is_taken(tmp_path):
    frames = [Image.fromarray(ink(seed)) for seed in range(2)]
    for name in ("a.gif", "a.tif"):
        path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(read(path), ink(0))


def test_images_are_turned_as_their_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    path = save(tmp_path / "turned.png", np.rot90(ink()), exif=exif)
    np.testing.assert_array_equal(read(path), ink())


@pytest.mark.parametrize("inverted", [False, True])
def test_a_large_image_is_resized(tmp_path, inverted):
    large = ink().repeat(4, axis=0).repeat(4, axis=1)
    page = 180 - large // 2 if inverted else 30 + large // 2  # neither ground is quite clean
    found = read(save(tmp_path / "large.png", page))
    assert (found.min(), found.max()) == (0, 255)
    np.testing.assert_allclose(found[8:20, 8:20].mean(), ink()[8:20, 8:20].mean(), rtol=0.1)
    assert (found[:5] == 0).all()  # clean again


def test_a_tall_image_is_not_distorted(tmp_path):
    stroke = np.full((300, 100), 250, np.uint8)
    stroke[50:250, 40:60] = 20
    found = read(save(tmp_path / "tall.jpg", stroke, quality=95))
    ink_rows, ink_columns = np.nonzero(found > 127)
    assert (np.ptp(ink_rows) + 1, np.ptp(ink_columns) + 1) == (18, 1)
    assert (found[:, :9] == 0).all()
    assert (found[:, 19:] == 0).all()
    across = read(save(tmp_path / "across.jpg", stroke.T, quality=95))
    np.testing.assert_allclose(across.T.astype(int), found, atol=40)


def test_tiny_and_extreme_images(tmp_path):
    for shape in ((1, 1), (1, 3000), (3000, 1), (2, 2)):
        blank = read(save(tmp_path / "a.png", np.full(shape, 200, np.uint8)))
        assert (blank == 0).all()
    line = np.zeros((3000, 1), np.uint8)
    line[1000:2000] = 255
    found = read(save(tmp_path / "line.png", line))
    assert found.max() == 255
    assert np.count_nonzero(found.any(axis=0)) == 1


def test_the_ground_is_told_image_by_image(tmp_path):
    bright, dark, even = ink(0), 255 - ink(1), ink(2)
    even[:, :14] = 255  # half of its border is bright
    for name, image in (("0", bright), ("1", dark), ("2", even)):
        save(tmp_path / f"{name}.png", image)
    paths = [tmp_path / f"{name}.png" for name in "012"]
    found, _ = read_images([paths[0], paths[0], *paths], exact=False)
    np.testing.assert_array_equal(found[2:], [bright, ink(1), even])
    found, _ = read_images([paths[1], paths[1], *paths], exact=False)
    np.testing.assert_array_equal(found[2:], [bright, ink(1), 255 - even])
    np.testing.assert_array_equal(read_images(paths, exact=True)[0], [bright, dark, even])


def test_large_files_are_read_in_order(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 120, 120), dtype=np.uint8)
    noise[:, :10] = 0
    paths = [save(tmp_path / f"{number}.png", image) for number, image in enumerate(noise)]
    assert paths[0].stat().st_size > 4096  # threads
    np.testing.assert_array_equal(read_images(paths, exact=True)[0], [read(path) for path in paths])


# Trees.


def test_splits_in_any_case_of_letters(tmp_path):
    for names in (("train", "test"), ("Training", "TESTING", "val"), ("TRAIN", "Test", "valid")):
        found = data.load_folder(write_tree(tmp_path / names[0], names))
        counts = {"train": 6, "validation": 6, "test": 6} if len(names) == 3 else None
        assert found["test"].fingerprint.counts == (
            counts or {"train": 4, "validation": 2, "test": 6}
        )
        assert found["test"].fingerprint.name == names[0]


def test_images_are_in_the_order_of_file_names(tmp_path):
    root = write_tree(tmp_path / "own", count=0)
    for number, name in enumerate("baab"):
        for split in ("train", "test"):
            save(root / split / name / f"{number}.png", ink(number))
    save(root / "train" / "a" / "0.png", ink(9))
    found = data.load_folder(root)
    np.testing.assert_array_equal(found["test"].images, [ink(seed) for seed in range(4)])
    assert found["test"].labels.tolist() == [1, 0, 0, 1]
    assert found["train+validation"].labels.tolist() == [0, 1, 0, 0, 1]
    np.testing.assert_array_equal(found["train+validation"].images[0], ink(9))


def test_classes_are_in_natural_order(tmp_path):
    names = ("10", "2", "b", "C", "a10", "a9", "a9b10", "a9b9")
    root = write_tree(tmp_path / "own", classes=names, count=2)
    expected = ("2", "10", "a9", "a9b9", "a9b10", "a10", "b", "C")
    assert data.load_folder(root)["test"].class_names == expected


def test_without_splits_a_seventh_of_each_class_is_for_test(tmp_path):
    root = write_tree(tmp_path / "own", [""], count=21)
    for number in range(2):
        save(root / "rare" / f"{number}.png", ink(500 + number))
    found = data.load_folder(root)
    assert np.bincount(found["test"].labels).tolist() == [3, 3, 1]
    assert np.bincount(found["train+validation"].labels).tolist() == [18, 18, 1]
    together = [*found["test"].images, *found["train+validation"].images]
    assert len({image.tobytes() for image in together}) == 44
    # The same ones every time, whatever other classes there are.
    held_out = np.random.RandomState(0).permutation(21)[:3]
    of_a = sorted((f"{number}.png", number) for number in range(21))
    expected = {ink(of_a[place][1]).tobytes() for place in held_out}
    assert {
        image.tobytes() for image in found["test"].images[found["test"].labels == 0]
    } == expected
    # And then a twelfth of each class for validation, but never its last image.
    assert np.bincount(found["validation"].labels).tolist() == [2, 2]
    assert np.bincount(found["train"].labels).tolist() == [16, 16, 1]
    as_split = write_tree(tmp_path / "split", ["train"], count=21)
    assert len(data.load_folder(as_split)["test"]) == 6


def test_shares_are_rounded(tmp_path):
    """Of 11 images a seventh is two, of 10 one; of the other 18 a twelfth is two."""
    root = tmp_path / "own"
    for name, count in (("a", 11), ("b", 10)):
        write_tree(root, [""], [name], count)
    found = data.load_folder(root)
    assert np.bincount(found["test"].labels).tolist() == [2, 1]
    assert (len(found["train"]), len(found["validation"])) == (16, 2)


def test_a_validation_folder_is_used_as_it_is(tmp_path):
    root = write_tree(tmp_path / "own", ("train", "test"))
    save(root / "valid" / "b" / "x.png", ink(77))
    found = data.load_folder(root)
    np.testing.assert_array_equal(found["validation"].images, [ink(77)])
    assert found["validation"].labels.tolist() == [1]
    assert (len(found["train"]), len(found["train+validation"])) == (6, 7)


def test_other_files_are_not_looked_at(tmp_path):
    root = write_tree(tmp_path / "own")
    expected = data.load_folder(root)
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "._0.png", "train/a/._0.png", "train/a/x"):
        (root / name).write_text("no image")
    (root / ".git" / "a").mkdir(parents=True)
    (root / "train" / "a" / "empty").mkdir()
    (root / "train" / "a" / "notes").mkdir()
    (root / "train" / "a" / "notes" / "pen.txt").write_text("no image")
    assert_same(data.load_folder(root), expected)


@pytest.mark.parametrize(("count", "more"), [(1, False), (5, False), (6, True)])
def test_five_other_files_are_named(tmp_path, caplog, count, more):
    """Of each split, those in its classes together."""
    root = write_tree(tmp_path / "own")
    names = [f"{number}.txt" for number in range(count)]
    for number, name in enumerate(names):
        (root / "train" / "ab"[number // 3] / name).write_text("no image")
    data.load_folder(root)
    listed = ", ".join(names[:5]) + (", ..." if more else "")
    assert caplog.messages == [
        f"{count} files in {root / 'train'} are no images by their names, and are skipped: {listed}"
    ]


@pytest.mark.parametrize("name", ["test", "Train", "valid"])
def test_a_class_may_be_called_as_a_split_is(tmp_path, name):
    """Its images are not a level deeper."""
    root = write_tree(tmp_path / "own", [""], classes=("other", name))
    assert set(data.load_folder(root)["test"].class_names) == {"other", name}
    root = write_tree(tmp_path / "split", ("train", "test"), classes=("a", name))
    assert set(data.load_folder(root)["test"].class_names) == {"a", name}


def test_every_suffix_of_an_image_is_one(tmp_path):
    """In any case; a name that begins with a dot is hidden, one that is nothing else no suffix."""
    root = write_tree(tmp_path / "own")
    for name in ("x.PNG", "x.y.png", "x.Jpeg.png"):
        save(root / "train" / "a" / name, ink(50))
    for name in (".x.png", "png", "x.png.txt"):
        (root / "train" / "b" / name).write_text("no image")
    assert np.bincount(data.load_folder(root)["train+validation"].labels).tolist() == [6, 3]


@pytest.mark.parametrize("light", [False, True])
def test_a_folder_knows_the_ground_of_its_files(tmp_path, light):
    """In each split: files to be classified are read alike."""
    root = write_tree(tmp_path / "own", count=0)
    for split in ("train", "test"):
        for name in "ab":
            for number in range(3):
                image = ink(number)
                save(root / split / name / f"{number}.png", 255 - image if light else image)
    found = data.load_folder(root)
    assert [found[split].light_files for split in SPLITS] == [light] * 4
    assert not any(found[split].light_ground for split in SPLITS)
    np.testing.assert_array_equal(found["test"].images[0], ink(0))


def test_names_with_blanks_and_of_other_alphabets(tmp_path):
    root = write_tree(tmp_path / "große Schrift", classes=("ä ö", "文字"))
    assert data.load(str(root), "test").class_names == ("ä ö", "文字")
    assert data.load(root, "test").fingerprint.name == "große Schrift"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


REFUSED = {
    "not a folder": (lambda r: save(r, ink(), format="PNG"), "own cannot be .*: Not a directory"),
    "not there": (lambda r: None, "own cannot be read .*: No such file or directory"),
    "empty": (lambda r: r.mkdir(), r"no class folder in .*own: .* split/class/image.png"),
    "one class": (lambda r: write_tree(r, classes=["a"]), "only one class, a; there must be two"),
    "empty class": (lambda r: (write_tree(r), (r / "test/c").mkdir()), "test/c: it holds nothing"),
    "beside splits": (
        lambda r: (write_tree(r), save(r / "x.png", ink())),
        r"own/x.png is in no class folder; move it into one",
    ),
    "in a split": (
        lambda r: (write_tree(r), save(r / "test/x.JPG", ink())),
        "test/x.JPG is in no class",
    ),
    "beside classes": (
        lambda r: (write_tree(r, [""]), save(r / "x.png", ink())),
        "own/x.png is in no class",
    ),
    "in a class": (
        lambda r: (write_tree(r), save(r / "train/a/more/x.png", ink())),
        "train/a/more holds images, but lies in .*train/a, which is taken for a class",
    ),
    "one too deep": (
        lambda r: write_tree(r / "inner"),
        "inner/test holds images, but lies in .*inner, which is taken for a class",
    ),
    "no train": (lambda r: write_tree(r, ["test"]), "has no folder train beside test"),
    "two of train": (
        lambda r: write_tree(r, ["train", "training"]),
        "has two folders of train images; put them together",
    ),
    "class not in train": (
        lambda r: (write_tree(r), save(r / "test/c/x.png", ink())),
        "a class c in test that is not in train; rename or delete",
    ),
    "case": (
        lambda r: (write_tree(r, [""]), save(r / "A/x.png", ink())),
        "the classes A and a of .* differ only in case; rename one",
    ),
    "case in another split": (
        lambda r: (write_tree(r), save(r / "test/A/x.png", ink())),
        "the classes a and A of .* differ only in case",
    ),
    "no text": (
        lambda r: (write_tree(r), save(r / "train" / os.fsdecode(b"\xe4") / "x.png", ink())),
        r"'\\udce4' cannot be printed; rename that folder",
    ),
    "too few for test": (
        lambda r: (write_tree(r, [""]), save(r / "c/x.png", ink())),
        "class c of .* has only one image, but a seventh of each class becomes the test split; add",
    ),
    "text": (
        lambda r: (write_tree(r) / "train/a/x.png").write_text("not an image"),
        r"train/a/x.png cannot be read: it is not an image, or .*; replace or delete it",
    ),
    "no bytes": (
        lambda r: (write_tree(r) / "train/a/x.png").touch(),
        r"train/a/x.png is empty",
    ),
    "truncated": (
        lambda r: truncate(save(write_tree(r) / "train/a/x.png", ink())),
        r"train/a/x.png cannot be read: .*; replace or delete it",
    ),
    "truncated jpeg": (
        lambda r: truncate(save(write_tree(r) / "train/a/x.jpg", ink())),
        r"train/a/x.jpg cannot be read: image file is truncated",
    ),
    "no longer there": (
        lambda r: (write_tree(r) / "train/a/x.png").symlink_to("nowhere"),
        r"there is no file .*train/a/x.png",
    ),
    "a pipe": (
        lambda r: os.mkfifo(write_tree(r) / "train/a/x.png"),
        r"train/a/x.png is not a file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    make, message = REFUSED[name]
    make(tmp_path / "own")
    with pytest.raises(DataError, match=message) as caught:
        data.load_folder(tmp_path / "own")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [3000, 1000])  # below twice its limit, Pillow only warns
def test_an_image_like_a_bomb_is_refused(tmp_path, monkeypatch, limit):
    root = write_tree(tmp_path / "own")
    save(root / "train" / "a" / "x.png", np.zeros((60, 60), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"train/a/x.png has more than .* make it smaller"):
        data.load_folder(root)


def test_without_permission(tmp_path, read_only):
    root = write_tree(tmp_path / "own")
    (root / "train" / "a" / "0.png").chmod(0)
    with pytest.raises(DataError, match=r"0.png cannot be read: Permission denied; replace or"):
        data.load_folder(root)
    (root / "train" / "b").chmod(0)
    with pytest.raises(DataError, match=r"train/b cannot be read .*: Permission denied"):
        data.load_folder(root)
    (root / "train" / "b").chmod(0o700)
    splits = data.from_arrays("own", drawings(24, 2), drawings(6, 2), ("x", "y"))
    with pytest.raises(OutputError, match="Permission denied; choose another place"):
        data.export_folder(splits, read_only / "own")


# Where a dataset is named.


def test_a_known_name_wins(tmp_path):
    write_tree(tmp_path / "digits")
    assert data.load("digits").fingerprint == whole("digits")["test"].fingerprint
    assert data.load("./digits").class_names == ("a", "b")
    assert data.find_folder("nowhere") is None
    for name in ("", "~nobody", "x" * 5000):
        with pytest.raises(DataError, match=r"there is no dataset .*path of a folder of images"):
            data.load(name)


def test_train_on_a_folder_and_evaluate_from_elsewhere(cli, tmp_path, monkeypatch):
    write_tree(tmp_path / "my letters", count=20)
    settings = ("--model", "mlp", "--epochs", "2", "--json")
    code, out, err = cli("train", "--dataset", "my letters", *settings)
    assert (code, notes(err)) == (0, "")
    document = json.loads(out)
    assert document["config"]["dataset"] == str(tmp_path / "my letters")
    assert document["class_names"] == ["a", "b"]
    assert document["data"]["name"] == "my letters"
    run = tmp_path / "runs" / "my letters-mlp"
    assert document["run"] == str(run)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, out, err = cli("evaluate", run)
    assert (code, err) == (0, "")
    assert "mlp on my letters (36/4/40 images" in out
    assert "the same figures as at the end of training" in out


def test_a_wrong_folder_makes_no_run_folder(cli, tmp_path):
    truncate(save(write_tree(tmp_path / "own") / "train/a/x.png", ink()))
    for name, message in (("own", "cannot be read"), ("nowhere", "path of a folder of images")):
        code, out, err = cli("train", "--dataset", name)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["own"]


def test_prepare_and_show_a_folder(cli, tmp_path):
    write_tree(tmp_path / "deep" / "own")
    code, out, err = cli("data", "prepare", "deep/own")
    assert (code, err) == (0, "")
    assert out.startswith("own (4/2/6 images, sha256 ")
    assert out.endswith("needs no preparation\n")
    code, out, err = cli("data", "show", "deep/own", "--split", "test")
    assert (code, err) == (0, "")
    assert "drawn to own-test.png" in out
    assert Path("own-test.png").is_file()


def test_export(cli, tmp_path):
    code, out, err = cli("data", "export", "digits", "new/digits", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["folder"] == str(tmp_path / "new" / "digits")
    assert document["counts"] == {"train": 1317, "validation": 120, "test": 360}
    assert_same(whole("new/digits"), whole("digits"))
    code, out, err = cli("data", "export", "digits", "new/digits")
    assert (code, out) == (2, "")
    assert err.endswith("new/digits is taken; choose a folder that is new or empty\n")
    # A folder of one's own, brought to one form.
    save(write_tree(tmp_path / "own") / "train/a/x.png", np.full((90, 50), 255, np.uint8))
    expected = data.load_folder("own")
    assert cli("data", "export", "own", "new/own")[0] == 0
    assert_same(data.load_folder("new/own"), expected)
    code, _, err = cli("data", "export", "nowhere", "new/nowhere")
    assert code == 2
    assert "there is no dataset 'nowhere'" in err
    assert not Path("new/nowhere.unfinished").exists()
