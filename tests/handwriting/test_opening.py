"""Pictures of files: of any size and mode, as they are or smaller."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxdigits.handwriting import opening
from jaxdigits.handwriting.opening import open_picture


def save(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("shape", [(1, 1, 3), (70, 90, 3), (90, 70, 3), (2, 1200, 3), (3, 1199, 3)])
def test_a_small_picture_stays_as_it_is(shape, tmp_path, rng) -> None:
    """Up to 1,200 pixels a side."""
    picture = rng.integers(0, 256, shape, np.uint8)
    found = open_picture(save(Image.fromarray(picture), tmp_path / "small.png"))
    np.testing.assert_array_equal(found, picture)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1201, 500), (500, 1200)),
        ((500, 1300), (1200, 462)),
        ((3000, 1), (1, 1200)),  # no side vanishes
        ((2400, 1801), (900, 1200)),
        ((2400, 1802), (901, 1200)),
    ],
)
def test_how_large_a_large_picture_is(size, shape, tmp_path) -> None:
    """Its longer side has 1,200 pixels; the other one is rounded."""
    path = save(Image.new("L", size, 200), tmp_path / "large.png")
    found = open_picture(path)
    assert found.shape == (*shape, 3)
    assert (found == 200).all()


def test_a_large_picture_is_averaged_band_by_band(tmp_path, rng, monkeypatch) -> None:
    """As if it were averaged at once."""
    gray = np.repeat(rng.integers(0, 256, (44, 1200), np.uint8), 4, axis=1)
    path = save(Image.fromarray(gray), tmp_path / "large.png")
    whole = open_picture(path)
    expected = gray[:, ::4].reshape(11, 4, 1200).mean(axis=1)
    np.testing.assert_allclose(whole[..., 0], expected, atol=1.01)
    for rows in (1, 2, 3, 4, 10):
        monkeypatch.setattr(opening, "_BAND", rows * 4800)
        np.testing.assert_array_equal(open_picture(path), whole)


@pytest.mark.parametrize("kind", ["P", "CMYK", "YCbCr", "RGBA"])
def test_colors_stay(kind, tmp_path) -> None:
    """Whatever the mode of the file."""
    picture = np.full((20, 30, 3), (250, 240, 230), np.uint8)
    picture[5:15, 10:12] = 200, 40, 60
    suffix = "png" if kind in ("P", "RGBA") else "tiff"
    image = Image.fromarray(picture)
    image = image.quantize(2) if kind == "P" else image.convert(kind)
    path = save(image, tmp_path / f"color.{suffix}")
    assert np.abs(open_picture(path).astype(int) - picture).max() <= 4


@pytest.mark.parametrize("kind", ["LA", "P"])
def test_transparent_pixels_show_no_color(kind, tmp_path) -> None:
    """A black page of which only a stroke is not transparent is a stroke on white."""
    alpha = np.zeros((20, 30), np.uint8)
    alpha[5:15, 10:12] = 255
    if kind == "LA":
        black, mask = Image.new("L", (30, 20)), Image.fromarray(alpha)
        path = save(Image.merge("LA", (black, mask)), tmp_path / "stroke.png")
    else:
        image = Image.fromarray(alpha // 255)
        image.putpalette([0, 0, 0, 0, 0, 0])
        path = tmp_path / "stroke.png"
        image.save(path, transparency=0)
    np.testing.assert_array_equal(open_picture(path)[..., 0], 255 - alpha)
