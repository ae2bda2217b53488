"""What is ink, and what is ground: on both sides of each limit."""

import numpy as np
import pytest
from PIL import Image

from jaxdigits.errors import DataError
from jaxdigits.handwriting import ink
from jaxdigits.handwriting.ink import check_picture, find_ink


def colored(gray: np.ndarray) -> np.ndarray:
    """Three equal channels."""
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (1, 5, 3), (5, 1, 3), (3, 3, 3)])
def test_what_is_a_picture(shape, rng):
    """Gray or in color, of any size."""
    picture = rng.integers(0, 256, shape, np.uint8)
    found = check_picture(picture)
    np.testing.assert_array_equal(found, colored(picture) if len(shape) == 2 else picture)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros(5, np.uint8), r"this is uint8 of shape \[5\]"),
        (np.zeros((5, 5, 1), np.uint8), r"this is uint8 of shape \[5, 5, 1\]"),
        (np.zeros((5, 5, 4), np.uint8), r"this is uint8 of shape \[5, 5, 4\]"),
        (np.zeros((2, 5, 5, 3), np.uint8), r"this is uint8 of shape \[2, 5, 5, 3\]"),
        (np.zeros((5, 5)), r"a picture must be an array of uint8 .* this is float64"),
        ([[1, 2]], "a picture must be an array of uint8 .* this is list"),
        (np.zeros((0, 5), np.uint8), r"the picture has no pixels: it is of shape \[0, 5\]"),
        (np.zeros((5, 0, 3), np.uint8), r"the picture has no pixels: it is of shape \[5, 0, 3\]"),
    ],
)
def test_what_is_no_picture(picture, message):
    with pytest.raises(DataError, match=message):
        check_picture(picture)


@pytest.mark.parametrize(
    ("shape", "reduced"),
    [((10, 40), (2, 10)), ((11, 40), (3, 10)), ((40, 40, 3), (10, 10, 3)), ((1, 40), (1, 10))],
)
def test_a_picture_is_averaged_down(shape, reduced):
    """To as many pixels along its longer side."""
    assert ink._reduce(np.zeros(shape, np.uint8), 10).shape == reduced
    same = np.zeros((10, 7), np.uint8)
    assert ink._reduce(same, 10) is same
    gray = np.zeros((20, 20), np.uint8)
    gray[::2] = 100
    assert (ink._reduce(gray, 10) == 50).all()


def test_the_channels(rng):
    """Gray, red, green, and blue."""
    picture = rng.integers(0, 256, (4, 6, 3), np.uint8)
    gray, *colors = ink._channels(picture)
    np.testing.assert_array_equal(np.stack(colors, axis=-1), picture)
    np.testing.assert_allclose(gray, picture @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize(("gray", "light"), [(127, False), (128, True)])
def test_the_ground_of_a_blank_page(gray, light):
    """Light if it is brighter than half."""
    assert ink._on_light_ground(np.full((20, 30, 3), gray, np.uint8)) == light


def test_the_ground_is_what_most_pixels_show():
    """Beside thin strokes, or wide ones, whichever differ more clearly from what is around them."""
    lamp = np.full((120, 120), 100, np.uint8)  # and thin dark strokes
    lamp[45:65, 45:65] = 235
    lamp[10:110, [10, 30, 80, 100]] = 20
    marker = np.full((120, 120), 160, np.uint8)  # and paper that glitters
    marker[45:65, 45:65] = 20
    marker[np.random.default_rng(0).random(marker.shape) < 0.02] = 230
    stripes = np.full((120, 120), 200, np.uint8)  # two fifths of the page
    stripes[:, np.arange(120) % 10 < 4] = 60
    for page in (lamp, marker, stripes):
        assert ink._on_light_ground(colored(page))
        assert not ink._on_light_ground(colored(255 - page))


def test_gray_decides_on_the_ground():
    """Red ink on a cyan page is darker, though there is more red in it."""
    page = np.full((60, 60, 3), (100, 200, 200), np.uint8)
    page[10:50, [20, 40]] = 200, 40, 40
    assert ink._on_light_ground(page)


@pytest.mark.parametrize(
    ("ground", "stroke", "contrast"), [(200, 100, 0.5), (100, 20, 0.8), (80, 40, 0.4)]
)
def test_the_contrast_of_a_stroke(ground, stroke, contrast):
    """A share of the ground, or of 100 where that is darker; what is brighter is negative."""
    channel = np.full((60, 60), ground, np.uint8)
    channel[:, 30:34], channel[:, 50] = stroke, ground + 10
    found = ink._contrast(channel, 0.2)
    np.testing.assert_allclose(found[:, 30:34], contrast, atol=0.01)
    np.testing.assert_allclose(found[:, :25], 0, atol=0.01)
    assert found[30, 50] < -0.02


@pytest.mark.parametrize(
    ("widest", "width", "inked"),
    [(0.16, 9, True), (0.16, 10, False), (0.01, 2, True), (0.01, 3, False)],
)
def test_what_is_wide_and_dark_is_ground(widest, width, inked):
    """Of 60 pixels 10, rounded, or at least 3."""
    channel = np.full((60, 60), 200, np.uint8)
    channel[:, 20 : 20 + width] = 100
    found = ink._contrast(channel, widest)[:, 20 + width // 2]
    assert (found > 0.4).all() if inked else (found < 0.3).all()


def test_the_ground_is_smooth():
    """By a bell of deviation 1.5."""
    channel = np.full((60, 60), 200, np.uint8)
    channel[:, 30:] = 100
    row = ink._contrast(channel, 0.2)[30]
    distances = np.arange(-8, 9)
    bell = np.exp(-(distances**2) / (2 * 1.5**2))
    bell /= bell.sum()
    expected = 100 * bell[distances < 0].sum()  # of light ground within the first dark column
    assert row[30] == pytest.approx(expected / (100 + expected), abs=0.005)


@pytest.mark.parametrize(("side", "share"), [(384, 1.0), (385, 0.249)])
def test_noise_is_smoothed_in_large_pictures(side, share):
    """By a bell of deviation 0.8."""
    channel = np.full((40, side), 200, np.uint8)
    channel[20, 200] = 100
    assert ink._contrast(channel, 0.3)[20, 200] == pytest.approx(0.5 * share, abs=0.01)


def contrasts(*counts: tuple[float, int]) -> np.ndarray:
    """The number of pixels of each contrast, of 10,000; the others are 0."""
    found = np.zeros(10_000, np.float32)
    start = 0
    for value, count in counts:
        found[start : start + count] = value
        start += count
    return found.reshape(100, 100)


@pytest.mark.parametrize(
    ("counts", "level"),
    [
        ([(0.19, 1000)], 0.0),  # 2.5 times 8%
        ([(0.21, 1000)], 0.21),
        ([(0.5, 7000)], 0.5),  # a character that fills its box
        ([(0.4, 300), (0.9, 100)], 0.9),  # the darker half
        ([(0.4, 6000), (0.9, 1000)], 0.0),  # most of the ground is as dark as half of the ink
        # Noise of 0.02 in both directions is ground up to 6 deviations, of 1.4826 times that.
        ([(0.44, 1000), (0.02, 4500), (-0.02, 4500)], 0.0),
        ([(0.45, 1000), (0.02, 4500), (-0.02, 4500)], 0.45),
        ([(0.56, 1000), (0.07, 4500), (0.03, 4500)], 0.0),
        ([(0.58, 1000), (0.07, 4500), (0.03, 4500)], 0.58),
        ([], 0.0),
    ],
)
def test_the_level_of_strokes(counts, level):
    """Where they stand out clearly from noise."""
    assert ink._level(contrasts(*counts)) == pytest.approx(level)


def test_ink_is_0_to_1():
    """From 20% to 80% of the level of strokes."""
    shares = [(0.1, 1), (0.2, 1), (0.35, 1), (0.5, 1), (0.8, 1), (0.9, 1)]
    found = ink._ink(contrasts((1.0, 1000), *shares)).ravel()
    np.testing.assert_allclose(found[1000:1006], [0, 0, 0.25, 0.5, 1, 1], atol=1e-6)
    assert (found[:1000] == 1).all()
    assert (found[1006:] == 0).all()
    with pytest.raises(DataError, match="nothing stands out from the ground"):
        ink._ink(contrasts((0.1, 1000)))


@pytest.mark.parametrize("width", [1, 3, 5, 9])
def test_the_median_width(width):
    """Of strokes; a blob counts as its center line."""
    marked = np.zeros((100, 80), bool)
    marked[:, :width] = True
    assert ink._median_width(marked) == width + 1
    marked[40:60, 50:70] = True
    assert ink._median_width(marked) == width + 1


@pytest.mark.parametrize(("share", "gray"), [(0.666, True), (0.61, False)])
def test_gray_is_looked_at_unless_a_color_shows_a_third_more(share, gray):
    """Its contrast is 1.3 and 1.4 times that of gray; a mark that red alone shows tells which."""
    page = np.full((90, 90, 3), 200, np.uint8)
    page[20:70, 20:24] = page[20:70, 60:64] = np.round(200 * (1 - np.array([share, share, 0.9])))
    page[30:36, 40:44, 0] = 40
    mark = find_ink(page)[33, 42]
    assert mark > 0.15 if gray else mark < 0.05


@pytest.mark.parametrize(
    ("pen", "blob", "inked"),
    [(3, 21, True), (3, 27, False), (5, 27, True), (5, 31, False)],
)
def test_how_wide_ink_is(pen, blob, inked):
    """Six widths of strokes, and a little, or three tenths of the picture: of 96 pixels."""
    page = np.full((96, 96, 3), 220, np.uint8)
    for left in (4, 16, 28):
        page[4:92, left : left + pen] = 60
    page[30 : 30 + blob, 50 : 50 + blob] = 60
    found = find_ink(page)
    middle = found[30 + blob // 2, 50 + blob // 2]
    assert middle > 0.9 if inked else middle < 0.5
    assert (found[10:86, 5] == 1).all()


@pytest.mark.parametrize("tall", [True, False])
def test_a_character_without_ground_around_it(tall):
    """Its edges are soft: there is ground only if some is added."""
    shares = np.array([0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.1])[None, :, None]
    colors = np.array([200, 190, 170]), np.array([30, 40, 90])
    crop = np.round(colors[0] * (1 - shares) + colors[1] * shares).astype(np.uint8)
    crop = np.repeat(crop, 60, axis=0)
    found = find_ink(crop if tall else np.ascontiguousarray(crop.transpose(1, 0, 2)))
    expected = [0, 0, 0.12, 0.54, 0.95, 1, 1, 1, 1, 0.94, 0.53, 0.1, 0, 0]
    rows = found if tall else found.T
    np.testing.assert_allclose(rows, np.tile(expected, (60, 1)), atol=0.1)
    np.testing.assert_allclose(rows[20:40], np.tile(expected, (20, 1)), atol=0.03)
    wide = np.tile(crop, (1, 3, 1))  # no single character: it is as it is, and has no ground
    faint = np.full_like(crop, 200)
    for page in (faint, wide):
        with pytest.raises(DataError, match="nothing stands out from the ground"):
            find_ink(page)


def test_pieces_touch_at_corners_too():
    marked = np.asarray(Image.fromarray(np.eye(4, dtype=np.uint8)), bool)
    assert ink.connected(marked).max() == 1
    marked[1, 1] = False
    assert ink.connected(marked).max() == 2
