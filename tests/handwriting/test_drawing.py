"""The drawing that shows what was read: every part of it where it should be."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from jaxdigits.handwriting.drawing import draw_reading, save_reading
from jaxdigits.handwriting.reading import Reading
from jaxdigits.handwriting.segmentation import Character

GREEN, ORANGE = (10, 125, 50), (194, 80, 10)
BOXES = [(20, 5, 40, 15), (1, 20, 21, 30), (30, 35, 50, 45), (60, 5, 80, 12), (60, 20, 80, 29)]


def reading(boxes: list[tuple[int, int, int, int]], degrees: float = 0.0) -> Reading:
    """Characters in boxes: 0 of 60%, 1 of 65%, and so on; half of them are sure."""
    ink = np.zeros((28, 28), np.uint8)
    probabilities = np.full((len(boxes), 10), 0.01, np.float32)
    numbers = np.arange(len(boxes))
    probabilities[numbers, numbers] = 0.6 + 0.05 * numbers
    return Reading(
        [Character(*box, line=0, after_space=False, ink=ink) for box in boxes],
        np.random.default_rng(0).integers(0, 256, (len(boxes), 28, 28, 1), np.uint8),
        probabilities,
        tuple("0123456789"),
        threshold=0.67,
        degrees=degrees,
    )


def test_a_small_picture_is_enlarged() -> None:
    """Six times, to 600 pixels, with a box of 2 pixels and a name around each character."""
    picture = np.random.default_rng(1).integers(0, 256, (100, 60, 3), np.uint8)
    found = reading(BOXES)
    drawn = draw_reading(picture, found)
    # Four images fit in a row of 386 pixels, each with 10 around it: two rows of 84 + 18 + 10.
    assert drawn.size == (386, 600 + 2 * 112 + 10)
    expected = Image.new("RGB", drawn.size, "white")
    expected.paste(Image.fromarray(picture).resize((360, 600)), (0, 0))
    brush = ImageDraw.Draw(expected)
    font = ImageFont.load_default(14)
    outlined = {"font": font, "anchor": "lb", "stroke_width": 2, "stroke_fill": "white"}
    box = {"width": 2}
    brush.rectangle([28, 118, 92, 242], outline=ORANGE, **box)
    brush.text((30, 116), "0", ORANGE, **outlined)
    brush.rectangle([118, 4, 182, 128], outline=ORANGE, **box)
    brush.text((120, 14), "1", ORANGE, **outlined)  # there is no room above it
    brush.rectangle([208, 178, 272, 302], outline=GREEN, **box)
    brush.text((210, 176), "2", GREEN, **outlined)
    brush.rectangle([28, 358, 74, 482], outline=GREEN, **box)
    brush.text((30, 356), "3", GREEN, **outlined)
    brush.rectangle([118, 358, 176, 482], outline=GREEN, **box)
    brush.text((120, 356), "4", GREEN, **outlined)
    labels = ["0? 60.0%", "1? 65.0%", "2 70.0%", "3 75.0%", "4 80.0%"]
    places = [(10, 610), (104, 610), (198, 610), (292, 610), (10, 722)]
    for number, (label, (left, top)) in enumerate(zip(labels, places, strict=True)):
        seen = found.images[number, ..., 0].repeat(3, axis=0).repeat(3, axis=1)
        expected.paste(Image.fromarray(seen), (left, top))
        color = ORANGE if "?" in label else GREEN
        brush.text((left, top + 86), label, color, font)
    np.testing.assert_array_equal(drawn, expected)


def test_a_large_picture_keeps_its_size() -> None:
    """Ten images fit in 1000 pixels; names grow with the picture, from 14 pixels on."""
    gray = np.full((300, 1000), 180, np.uint8)
    found = reading([(100, 10 + 90 * number, 150, 40 + 90 * number) for number in range(10)])
    drawn = draw_reading(gray, found)
    assert drawn.size == (1000, 300 + 112 + 10)
    alone = draw_reading(np.pad(gray, ((0, 0), (0, 50))), found)
    assert alone.size == (1050, 300 + 112 + 10)
    expected = Image.new("RGB", (60, 60), (180, 180, 180))
    brush = ImageDraw.Draw(expected)
    font = ImageFont.load_default(16)
    brush.rectangle([8, 48, 42, 102], outline=ORANGE, width=2)
    brush.text((10, 46), "0", ORANGE, font, "lb", stroke_width=2, stroke_fill="white")
    np.testing.assert_array_equal(drawn.crop((0, 50, 60, 110)), expected)
    assert drawn.getpixel((10 + 9 * 94, 310)) == (int(found.images[9, 0, 0, 0]),) * 3
    assert draw_reading(np.zeros((20, 1201), np.uint8), reading([])).size == (1201, 30)
    # From 400 pixels on, nothing is enlarged; below that, twice.
    assert [draw_reading(np.zeros((20, side), np.uint8), reading([])).width
            for side in (399, 401)] == [798, 401]  # fmt: skip


@pytest.mark.parametrize(("side", "factor"), [(239, 3), (240, 2), (241, 2), (600, 1), (900, 1)])
def test_how_much_a_picture_is_enlarged(side: int, factor: int) -> None:
    """To 600 pixels, by the nearest whole number."""
    for shape in ((side, 20), (20, side)):
        drawn = draw_reading(np.zeros(shape, np.uint8), reading([]))
        width = max(factor * shape[1], 386)
        assert drawn.size == (width, factor * shape[0] + 10)


@pytest.mark.parametrize(("width", "size"), [(899, 14), (900, 15), (1199, 19), (1200, 20)])
def test_names_grow_with_the_picture(width: int, size: int) -> None:
    """A sixtieth of its width."""
    drawn = draw_reading(np.full((90, width), 255, np.uint8), reading([(60, 10, 80, 30)]))
    expected = Image.new("RGB", (40, 50), "white")
    font = ImageFont.load_default(size)
    ImageDraw.Draw(expected).text((10, 46), "0", ORANGE, font, "lb")
    np.testing.assert_array_equal(drawn.crop((0, 10, 40, 58)), expected.crop((0, 0, 40, 48)))


@pytest.mark.parametrize(("degrees", "quarters"), [(90.0, 3), (-90.0, 1)])
def test_the_page_is_shown_upright(degrees: float, quarters: int) -> None:
    """A page that was turned counter-clockwise is turned back."""
    picture = np.random.default_rng(1).integers(0, 256, (400, 500, 3), np.uint8)
    drawn = draw_reading(picture, reading([], degrees))
    assert drawn.size == (400, 510)
    np.testing.assert_array_equal(np.asarray(drawn)[:500], np.rot90(picture, quarters))
    assert (np.asarray(drawn)[500:] == 255).all()


def test_a_drawing_is_written_as_it_is(tmp_path) -> None:
    """As a PNG file, whatever its name."""
    picture = np.full((100, 60, 3), 200, np.uint8)
    found = reading(BOXES)
    save_reading(tmp_path / "drawn.jpg", picture, found)
    with Image.open(tmp_path / "drawn.jpg") as written:
        assert written.format == "PNG"
        np.testing.assert_array_equal(written, draw_reading(picture, found))
