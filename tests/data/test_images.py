"""Image files as people have them: more than 8 bits, turned, transparent, of any suffix."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxdigits import data
from jaxdigits.data.images import fit, opaque, open_image, read_images
from jaxdigits.errors import DataError
from jaxdigits.handwriting.opening import open_picture


def stroke(seed: int = 0) -> np.ndarray:
    """A bright stroke on a dark ground, uint8 [28, 28]."""
    image = np.zeros((28, 28), np.uint8)
    image[6:22, 12:15] = np.random.default_rng(seed).integers(100, 256, (16, 3))
    return image


@pytest.mark.parametrize(("largest", "range_"), [(255, 255), (4000, 4095), (60000, 65535)])
def test_sixteen_bits_share_the_range_of_the_folder(tmp_path, largest, range_):
    # The second file alone would be taken for one of fewer bits.
    values = [stroke(seed).astype(np.float64) / 255 * largest for seed in range(2)]
    values[1] /= 20
    paths = []
    for number, pixels in enumerate(values):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels.astype(np.uint16)).save(paths[-1])
    images, _ = read_images(paths, exact=False)
    expected = [np.round(pixels.astype(np.uint16) * (255 / range_)) for pixels in values]
    np.testing.assert_array_equal(images, np.array(expected, np.uint8))


def test_floats_below_zero_are_stretched_together(tmp_path):
    for number, low in enumerate((-2.0, 0.0)):
        pixels = np.full((28, 28), low, np.float32)
        pixels[10:20, 10:20] = 6.0
        Image.fromarray(pixels).save(tmp_path / f"{number}.tiff")
    images, _ = read_images(sorted(tmp_path.iterdir()), exact=False)
    assert [image[0, 0] for image in images] == [0, 64]
    assert [image[15, 15] for image in images] == [255, 255]


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("suffix", ["tiff", "png"])
def test_a_turned_file_is_upright_for_both_readers(tmp_path, mode, suffix):
    if mode == "CMYK" and suffix == "png":
        pytest.skip("PNG knows no CMYK")
    page = np.full((60, 40), 230, np.uint8)
    page[5:50, 10:14] = page[46:50, 10:30] = 20  # an L
    wide = Image.fromarray(page.astype(np.uint16) * 257)
    image = (
        wide
        if mode == "I;16"
        else Image.fromarray(page).convert("L" if mode == "P" else "RGB").convert(mode)
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right makes it upright
    path = tmp_path / f"turned.{suffix}"
    sideways = image.transpose(Image.Transpose.ROTATE_90)
    sideways.save(path, exif=exif)
    seen = np.asarray(Image.fromarray(open_picture(path)).convert("L"))
    read = open_image(path, lambda found: np.asarray(ImageOps.exif_transpose(found).convert("RGB")))
    assert seen.shape == page.shape
    assert np.abs(seen.astype(int) - page).max() < 30  # of 16 bits, the contrast is stretched
    assert read.shape[:2] == page.shape
    (image,), _ = read_images([path], exact=False, image_shape=page.shape)
    assert (image[20, 12], image[48, 28], image[20, 28]) == pytest.approx((235, 235, 25), abs=30)


def test_a_card_with_a_transparent_margin_is_continued():
    card = np.zeros((80, 80, 4), np.uint8)
    card[10:70, 10:70] = 250, 250, 240, 255
    card[25:55, 38:43] = 20, 20, 20, 255
    card[70:74, 14:74] = 0, 0, 0, 90  # the shadow of a window
    seen = np.asarray(opaque(Image.fromarray(card)))
    expected = np.full((80, 80, 3), (250, 250, 240), np.uint8)
    expected[25:55, 38:43] = 20
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("ink", [0, 255])
def test_strokes_on_nothing_are_laid_on_the_other_color(ink):
    drawing = np.full((80, 80, 4), ink, np.uint8)
    drawing[..., 3] = 0
    drawing[20:60, 38:43, 3] = 255
    seen = np.asarray(opaque(Image.fromarray(drawing)).convert("L"))
    assert (seen[0, 0], seen[40, 40]) == (255 - ink, ink)


SUFFIXES = {"jpg": "JPEG", "jfif": "JPEG", "webp": "WEBP", "pgm": "PPM", "heic": "HEIF"}


def folder(root: Path, suffixes: dict[str, str]) -> Path:
    for suffix, kind in suffixes.items():
        for name in ("a", "b"):
            for number in range(3):
                path = root / name / f"{number}-{suffix}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(stroke(number)).save(path, kind)
    return root


def test_every_format_is_read_and_what_is_not_is_named(tmp_path, notes):
    import pillow_heif

    pillow_heif.register_heif_opener()
    root = folder(tmp_path / "own", SUFFIXES)
    (root / "a" / "notes.txt").write_text("not an image")
    found = data.load_folder(root)
    assert len(found["test"]) + len(found["train+validation"]) == 6 * len(SUFFIXES)
    assert len(notes) == 1
    assert "1 files" in notes[0]
    assert "notes.txt" in notes[0]


def test_all_unreadable_files_are_named(tmp_path):
    root = folder(tmp_path / "own", {"png": "PNG"})
    for number in range(12):
        (root / "a" / f"bad{number:02}.png").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        data.load_folder(root)
    lines = str(caught.value).splitlines()
    assert [f"bad{number:02}.png" in lines[number] for number in range(10)] == [True] * 10
    assert lines[10] == "and 2 more"


def test_a_class_of_other_files_is_not_to_be_deleted(tmp_path):
    root = folder(tmp_path / "own", {"png": "PNG"})
    (root / "c").mkdir()
    (root / "c" / "drawing.svg").write_text("<svg/>")
    with pytest.raises(DataError, match=r"it holds only files such as drawing.svg") as caught:
        data.load_folder(root)
    assert "delete" not in str(caught.value)


def test_the_most_pixels_of_a_file_are_named_as_they_are(tmp_path, monkeypatch):
    Image.new("1", (2000, 2000)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000_000)
    with pytest.raises(DataError, match="has more than 3 megapixels; make it smaller"):
        read_images([tmp_path / "large.png"], exact=False)


def test_a_bar_beside_strokes_is_no_sheet():
    """The bar fills the box around itself, but not the box around all strokes."""
    drawing = np.zeros((40, 40, 4), np.uint8)
    drawing[5:35, 4:6] = (30, 30, 30, 255)
    drawing[10:12, 20:36] = (120, 120, 120, 255)
    seen = np.asarray(opaque(Image.fromarray(drawing)).convert("L"))
    assert seen[0, 0] == 255
    assert seen[11, 30] == 120


def test_the_ground_is_that_of_the_border_where_strokes_fill_the_image():
    gray = np.full((40, 20), 200, np.uint8)
    gray[0], gray[-1], gray[:, 0], gray[:, -1] = 20, 20, 20, 20
    seen = fit(gray)
    assert seen[:, 0].max() == 0
    assert seen[14, 14] == 255
