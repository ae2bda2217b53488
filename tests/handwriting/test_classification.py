"""Files of one character each, read as the images that the network was trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import canvas
from PIL import Image

import jaxdigits as jd
from jaxdigits.data.images import read_images
from jaxdigits.errors import DataError
from jaxdigits.handwriting import classification, classify_files, read_files
from jaxdigits.handwriting.classification import _read_files
from jaxdigits.runs.fit import fit

CONFIG = jd.TrainConfig(model="linear", epochs=3, learning_rate=0.3)


def folder_of_drawings(folder: Path) -> Path:
    """Digits on paper and on slate, small and large, also as JPEG and with transparency."""
    for part, seeds in (("train", range(8)), ("test", range(8, 12))):
        for digit in "0123":
            (folder / part / digit).mkdir(parents=True)
            for seed in seeds:
                image = Image.fromarray(
                    canvas(digit, seed, side=28 + 9 * seed, pen=3, dark=seed % 3 == 0)
                )
                suffix = "jpg" if seed % 2 else "png"
                image.save(folder / part / digit / f"{digit}{seed}.{suffix}")
    alpha = Image.fromarray(255 - canvas("3", 20))
    clear = Image.new("LA", alpha.size)
    clear.putalpha(alpha)
    clear.save(folder / "test" / "3" / "clear.png")
    # A border half light and half dark: the majority of the folder decides, not the file itself.
    even = np.asarray(canvas("2", 21)).copy()
    even[:, : even.shape[1] // 2] = 255 - even[:, : even.shape[1] // 2]
    Image.fromarray(even).save(folder / "test" / "2" / "even.png")
    return folder


def labels_of(run, files):
    return [found.class_name for found in classify_files(run, files)]


def check_test_files(run, folder, split):
    """Each file of the test split, alone and with the others, gets the label of `evaluate`."""
    files = sorted((folder / "test").glob("*/*.*"), key=lambda path: path.name)
    expected = [run.class_names[label] for label in run.predict(split.images)]
    assert len(set(expected)) > 1
    assert labels_of(run, files) == expected
    assert [labels_of(run, [file])[0] for file in files] == expected
    probabilities = [found.probability for found in classify_files(run, files)]
    np.testing.assert_allclose(
        probabilities, run.predict_proba(split.images).max(axis=1), rtol=1e-5
    )


def test_a_folder_of_ones_own(tmp_path):
    folder = folder_of_drawings(tmp_path / "drawings")
    run = fit(CONFIG.replace(dataset=str(folder)))
    assert run.form == "plain"
    check_test_files(run, folder, jd.data.load(folder, "test"))


def test_what_a_network_gets_right_is_read_right(tmp_path):
    """Trained on files, it reads them as pictures too, brought to what those files are like."""
    folder = tmp_path / "cards"
    digits = {"train": jd.data.load("digits", "train"), "test": jd.data.load("digits", "test")}
    for part, count in (("train", 800), ("test", 100)):
        for number in range(count):
            image, label = digits[part].images[number], digits[part].labels[number]
            card = Image.new("L", (90, 90), 240)
            card.paste(Image.fromarray(240 - image // 4 * 3).resize((56, 56)), (17, 17))
            (folder / part / str(label)).mkdir(parents=True, exist_ok=True)
            card.save(folder / part / str(label) / f"{number}.png")
    run = fit(jd.TrainConfig(dataset=str(folder), model="convnet", batch_size=16, epochs=4))
    assert 0.4 < run.extent < 0.5  # 20 of 28 pixels, on a larger card
    files = sorted((folder / "test").glob("*/*.png"))
    right = [path for path in files if labels_of(run, [path]) == [path.parent.name]]
    assert len(right) > 0.9 * len(files)
    run.save(tmp_path / "run")
    right = right[::3]
    found = list(read_files(jd.load(tmp_path / "run"), right))
    texts = ["" if isinstance(one, DataError) else one[1].text for one in found]
    expected = [path.parent.name for path in right]
    assert np.mean([a == b for a, b in zip(texts, expected, strict=True)]) > 0.9


@pytest.mark.parametrize("form", ["mnist", "plain"])
@pytest.mark.parametrize("light_ground", [False, True])
def test_an_exported_dataset(tmp_path, rng, form, light_ground):
    """Taken as it is, even where the border of an image looks like a light ground."""
    images = rng.integers(0, 256, (80, 28, 28), np.uint8)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 250
    labels = np.arange(80, dtype=np.int32) % 2
    images[labels == 1, 10:18, 10:18] = 255
    images[labels == 0, 10:18, 10:18] = 0
    train, test = (jd.Examples(images[part], labels[part]) for part in (slice(60), slice(60, 80)))
    splits = jd.data.from_arrays(
        "boxes", train, test, ("no", "yes"), form=form, light_ground=light_ground
    )
    folder = jd.data.export_folder(splits, tmp_path / "boxes")
    run = fit(CONFIG.replace(dataset=str(folder)))
    assert (run.form, run.light_ground) == (form, light_ground)
    check_test_files(run, folder, jd.data.load(folder, "test"))


def test_photos_and_scans_come_to_the_form_of_mnist(tmp_path):
    run = jd.load("digits")
    files = []
    for number, digit in enumerate("0123456789"):
        files.append(tmp_path / f"{digit}.png")
        page = canvas(digit, number, side=200 + number, dark=number % 2 == 0)
        Image.fromarray(page).save(files[-1])
    assert "".join(labels_of(run, files)) == "0123456789"
    assert classify_files(run, []) == []


def test_files_of_the_datasets_own_size_are_in_its_form(tmp_path):
    """As they are, or inverted where they are dark on a light ground."""
    run, test = jd.load("digits"), jd.data.load("digits", "test")
    expected = [run.class_names[label] for label in run.predict(test.images[:20])]
    for name, images in (("dark", test.images[:20]), ("light", 255 - test.images[:20])):
        files = [tmp_path / f"{name}-{number}.png" for number in range(20)]
        for file, image in zip(files, images, strict=True):
            Image.fromarray(image).save(file)
        assert labels_of(run, [str(file) for file in files]) == expected


def test_files_that_are_refused(tmp_path):
    Image.new("L", (100, 100), 255).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("7")
    run = jd.load("digits")
    for name, message in (
        ("blank", "blank.png: there is no writing"), ("text", "text.png cannot be read"),
        ("none", "none.png"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            classify_files(run, [tmp_path / f"{name}.png"])


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1)])
def test_a_file_of_the_networks_own_size_is_not_moved(tmp_path, shape):
    """Whatever stands in it: brought to the form of MNIST, it would be centered."""
    image = np.zeros((28, 28), np.uint8)
    image[2:12, 2:5] = 255
    Image.fromarray(image).save(tmp_path / "corner.png")
    run = replace(jd.load("digits"), image_shape=shape)
    found = _read_files(run, [tmp_path / "corner.png"])
    np.testing.assert_array_equal(found, image.reshape(1, *shape))


@pytest.mark.parametrize(("depth", "exported"), [(0, False), (1, True), (2, True), (3, False)])
def test_which_files_are_of_an_exported_dataset(tmp_path, depth, exported):
    """Those one or two folders below its index; only these stay light on dark."""
    file = tmp_path / "a" / "b" / "c" / "d.png"
    file.parent.mkdir(parents=True)
    (file.parents[depth] / "jaxdigits.json").touch()
    image = np.full((28, 28), 250, np.uint8)
    image[10:20, 12:16] = 20
    Image.fromarray(image).save(file)
    (found,) = _read_files(jd.load("digits"), [file])
    np.testing.assert_array_equal(found, image if exported else 255 - image)


@pytest.mark.parametrize("light_ground", [False, True])
@pytest.mark.parametrize("light_files", [False, True])
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 3)])
def test_files_are_read_as_those_of_the_training_folder(tmp_path, shape, light_files, light_ground):
    """Of its shape; where their border does not tell, as most of its files; on its ground."""
    run = replace(jd.load("digits"), form="plain", image_shape=shape)
    run = replace(run, light_files=light_files, light_ground=light_ground)
    image = np.zeros((8, 6), np.uint8)
    image[:, :3] = 255
    Image.fromarray(image).save(tmp_path / "even.png")
    expected, _ = read_images(
        [tmp_path / "even.png"], exact=False, image_shape=shape, light_files=light_files
    )
    expected = 255 - expected if light_ground else expected
    found = _read_files(run, [tmp_path / "even.png"] * 2)
    np.testing.assert_array_equal(found, np.concatenate([expected] * 2))
    (tmp_path / "set" / "c").mkdir(parents=True)
    (tmp_path / "set" / "jaxdigits.json").touch()
    Image.fromarray(image).save(tmp_path / "set" / "c" / "even.png")
    found = _read_files(run, [tmp_path / "set" / "c" / "even.png"])
    np.testing.assert_array_equal(found.reshape(8, 6, -1)[..., 0], image)


def test_ink_of_a_photo_is_rounded_to_pixels(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(classification, "find_ink", lambda _: np.array([[0.0, 0.5, 0.999]]))
    monkeypatch.setattr(classification, "to_image", lambda ink, _: seen.append(ink) or ink)
    Image.new("L", (9, 9)).save(tmp_path / "photo.png")
    _read_files(jd.load("digits"), [tmp_path / "photo.png"])
    assert seen[0].dtype == np.uint8
    assert seen[0].tolist() == [[0, 128, 255]]
