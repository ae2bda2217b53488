"""Characters in the form of MNIST and EMNIST, against the files of both."""

import inspect

import numpy as np
import pytest
from drawn import canvas
from PIL import Image
from scipy.ndimage import center_of_mass, gaussian_filter

import jaxdigits as jd
from jaxdigits.data.dataset import FORM_NAMES
from jaxdigits.errors import DataError
from jaxdigits.transforms import FORMS, to_emnist, to_form, to_mnist, to_plain
from jaxdigits.transforms.form import _cut, _with_strokes, measure_extent, stroke_width


def enlarged(image, rng, method=None):
    """Four times as large, somewhere on a larger ground."""
    large = Image.fromarray(image).resize((112, 112), method or Image.Resampling.NEAREST)
    return np.pad(np.asarray(large), rng.integers(0, 60, (2, 2)))


def difference(found, images):
    """The mean of the difference, in gray levels a pixel."""
    return np.abs(np.stack(found).astype(float) - images).mean()


@pytest.fixture(scope="module")
def mnist(mnist_dir):
    return jd.data.load("mnist", "test", data_dir=mnist_dir)


@pytest.fixture(scope="module")
def letters(real_data, shared):
    return jd.data.load(
        "emnist/letters",
        "test",
        data_dir=shared / "letters",  # prepared once, also for other files
        manual_dir=real_data / "emnist-letters-subset",
    )


def test_an_image_of_mnist_comes_back(mnist, rng):
    """Most exactly; or their values are stretched by 1, or a faint row at the edge is lost."""
    images = mnist.images[:300]
    found = [to_mnist(enlarged(image, rng)) for image in images]
    assert difference(found, images) < 0.4
    assert np.mean([np.array_equal(a, b) for a, b in zip(found, images, strict=True)]) > 0.5


def test_a_smooth_enlargement_comes_back_nearly(mnist, rng):
    images = mnist.images[:300]
    found = [to_mnist(enlarged(image, rng, Image.Resampling.BICUBIC)) for image in images]
    assert difference(found, images) < 8


def test_a_network_reads_what_comes_back(mnist, letters, rng):
    """Converted images are classified as well as the official ones: 300, within two points."""
    for network, dataset, convert in (("digits", mnist, to_mnist), ("letters", letters, to_emnist)):
        run, images = jd.load(network), dataset.images[:300]
        labels = dataset.labels[:300]
        found = np.stack([convert(enlarged(i, rng, Image.Resampling.BICUBIC)) for i in images])
        before, after = (np.mean(run.predict(x) == labels) for x in (images, found))
        assert after > before - 0.02


def test_an_image_of_emnist_comes_back_nearly(letters, rng):
    """How large a letter is among its like is lost: most of the difference is that."""
    images = letters.images[:300]
    found = [to_emnist(enlarged(image, rng)) for image in images]
    assert difference(found, images) < 16
    same = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(found, images, strict=True)]
    assert np.median(same) > 0.9


@pytest.mark.parametrize("shape", [(5, 5), (28, 28), (200, 30), (30, 200), (700, 500)])
def test_form_of_mnist(shape, rng):
    """A box of 20, the center of mass in the middle, the brightest 255, whatever comes in."""
    page = np.zeros(shape, np.uint8)
    page[1:-1, shape[1] // 2] = 100
    page[shape[0] // 2, 1:-1] = 100
    image = to_mnist(page)
    rows, columns = (np.ptp(places) + 1 for places in image.nonzero())
    assert max(rows, columns) == 20
    middle = np.array(center_of_mass(image))
    assert (np.abs(middle - 14) <= 0.5).all()
    assert image.max() > 200


@pytest.mark.parametrize("form", FORMS)
def test_a_faint_drawing_becomes_as_bright_as_any(form):
    faint = canvas("4", 0, dark=True) // 5
    found, expected = (to_form(page, form).astype(int) for page in (faint, 5 * faint))
    assert np.abs(found - expected).max() <= 1
    assert expected.max() > 250


@pytest.mark.parametrize("form", ["mnist", "emnist"])
@pytest.mark.parametrize("height", [10, 20, 40, 200])
def test_strokes_of_a_usual_width_stay_as_they_are(form, height):
    """However small or large they were drawn."""
    for share in (0.1, 0.2):
        bar, large = (
            np.pad(np.full((size, round(share * size)), 255, np.uint8), 4) for size in (height, 400)
        )
        np.testing.assert_array_equal(to_form(bar, form), to_form(large, form))
        if form == "mnist":
            assert to_mnist(bar).sum() == 255 * 20 * 20 * share


@pytest.mark.parametrize("height", [20, 40, 100, 200])
def test_hairlines_become_wider(height):
    """Of a pixel in MNIST's box, more or less."""
    bar = np.pad(np.full((height, height // 20), 255, np.uint8), 4)
    assert 1.05 < to_mnist(bar).sum() / (20 * 255) < 2.4


@pytest.mark.parametrize("height", [40, 100, 200])
def test_bars_become_narrower(height):
    """Of eight pixels in MNIST's box, more than any stroke there."""
    bar = np.pad(np.full((height, 2 * height // 5), 255, np.uint8), 4)
    assert to_mnist(bar).sum() / (20 * 255) < 4


def test_no_ink():
    for convert in FORMS.values():
        with pytest.raises(DataError, match="there is no ink"):
            convert(np.zeros((10, 10), np.uint8))
        with pytest.raises(DataError, match="there is no ink"):
            convert(np.zeros((0, 10), np.uint8))


def test_extremes_of_form():
    """One pixel, a full square, a line: no error, something to see, 28x28."""
    for page in (np.full((1, 1), 9, np.uint8), np.full((50, 50), 255, np.uint8), np.eye(60) * 255):
        for convert in FORMS.values():
            image = convert(page.astype(np.uint8))
            assert image.shape == (28, 28)
            assert image.max() > 100


def test_every_form_has_its_function():
    assert tuple(FORMS) == FORM_NAMES


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3), (28, 28, 1)])
@pytest.mark.parametrize("form", FORMS)
def test_images_of_a_form(form, shape, rng):
    page = rng.integers(0, 256, (90, 60), dtype=np.uint8)
    dark, light = (to_form(page, form, shape, light_ground=light) for light in (False, True))
    assert dark.shape == light.shape == shape
    np.testing.assert_array_equal(light, 255 - dark)
    for channel in dark.reshape(28, 28, -1).transpose(2, 0, 1):
        np.testing.assert_array_equal(channel, FORMS[form](page))


def test_plain_is_fitted_into_any_shape():
    page = np.zeros((60, 30), np.uint8)
    page[10:50, 10:20] = 200
    for shape in ((28, 28), (30, 60), (120, 31)):
        image = to_plain(page, shape)
        rows, columns = (np.ptp(places) + 1 for places in np.nonzero(image > 127))
        assert image.shape == shape
        assert abs(rows / columns - 4) < 0.6  # not distorted


@pytest.mark.parametrize("width", [1, 2, 3, 5, 10, 20])
def test_widths_of_strokes(width):
    bar = np.zeros((210, 60), np.uint8)
    bar[5:205, 20 : 20 + width] = 255
    assert width - 0.01 <= stroke_width(bar) <= 1.12 * width
    slanted = np.zeros((300, 300), np.uint8)
    for step in range(240):  # across: the width over the square root of 2, counted along rows
        slanted[step + 30, step + 20 : step + 20 + width] = 255
    if width == 2:  # the skeleton gets short, as scikit-image's does
        assert stroke_width(slanted) == pytest.approx(3.93, abs=0.01)
    else:
        assert 0.9 * width <= stroke_width(slanted) <= 1.2 * width or width > 10


def test_a_stroke_is_what_is_brighter_than_half():
    bar = np.zeros((60, 40), np.uint8)
    bar[5:55, 10:16] = 254
    width = stroke_width(bar)
    bar[5:55, 16:20] = 127  # half
    assert stroke_width(bar) == width
    bar[5:55, 16:20] = 128
    assert stroke_width(bar) > width + 2


def test_the_extent_of_characters():
    """As in half of the images; of blank ones, whatever there is."""
    images = np.zeros((3, 20, 40), np.uint8)
    assert measure_extent(images) == 1.0
    images[0, 5:10, 5:15] = 90  # a quarter of both
    images[1, :, 5:15] = 90
    assert measure_extent(images[:2]) == (0.25 + 1.0) / 2
    assert measure_extent(255 - images[:1], light_ground=True) == 0.25
    images[0, 0, 0] = 45  # half as bright: an edge
    assert measure_extent(images[:1]) == 0.25
    images[0, 0, 0] = 46
    assert measure_extent(images[:1]) == 0.5


@pytest.mark.parametrize(
    ("turned", "rows", "columns"),
    [(0, (8, 28), (4, 24)), (2, (0, 20), (4, 24)), (1, (4, 24), (8, 28)), (3, (4, 24), (0, 20))],
)
def test_the_center_of_mass_may_be_near_a_side(turned, rows, columns):
    """Then the box touches the border: nothing is cut off."""
    page = np.zeros((20, 20), np.uint8)
    page[[0, 1, 3, 4, 6, 7]] = page[8:, 9:11] = 255
    image = to_mnist(np.ascontiguousarray(np.rot90(page, turned)))
    expected = np.zeros((28, 28))
    expected[slice(*rows), slice(*columns)] = np.rot90(page, turned)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(("faint", "rows"), [(25, 20), (26, 10)])
def test_what_is_brighter_than_a_tenth_belongs_to_the_strokes(faint, rows):
    """The rest is cut off."""
    page = np.zeros((60, 30), np.uint8)
    page[10:30, 10:13] = 255
    page[30:50, 11] = faint
    assert np.count_nonzero((to_mnist(page) > 127).any(axis=1)) == rows


@pytest.mark.parametrize("convert", [to_mnist, to_emnist])
def test_strokes_come_to_the_usual_width(convert):
    """Hairlines, and what is wider than any pen's; what is within the range stays."""

    def width(share: float) -> float:
        """Of a bar of that share of its height."""
        bar = np.pad(np.full((200, round(200 * share)), 255, np.uint8), 4)
        return convert(bar)[14].sum() / 255

    usual = width(0.11 if convert is to_mnist else 0.122)
    assert [width(0.01), width(0.04)] == pytest.approx([usual] * 2, abs=0.15)
    # Of 20 pixels 1.2 to 7, of 36 pixels 2.8 to 12.
    assert width(0.06 if convert is to_mnist else 0.08) < usual - 0.4
    assert width(0.2) > 1.5 * usual
    assert width(0.4) < usual


@pytest.mark.parametrize("shape", [(36, 3), (36, 4), (36, 8), (36, 9), (7, 36)])
def test_the_steps_of_emnist(shape):
    """A Gaussian, the middle of a square, two pixels around it, bicubic, stretched to 0..255."""
    soft = np.round(gaussian_filter(np.pad(np.full(shape, np.float32(255)), 20), 1))
    rows, columns = (np.flatnonzero(soft.any(axis=axis)) for axis in (1, 0))
    region = soft[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    region = np.round(region * np.float32(255 / region.max()))
    side = max(region.shape) + 4
    square = np.zeros((side, side), np.uint8)
    top, left = ((side - length) // 2 for length in region.shape)
    square[top : top + len(region), left : left + region.shape[1]] = region
    tall = Image.fromarray(square).resize((side, 28), Image.Resampling.BICUBIC)
    small = np.asarray(tall.resize((28, 28), Image.Resampling.BICUBIC), float)
    found = to_emnist(np.pad(np.full(shape, 200, np.uint8), 3))
    np.testing.assert_array_equal(found, np.round(small * 255 / small.max()))


@pytest.mark.parametrize(("edge", "width"), [(127, 4), (128, 6)])
def test_emnist_knows_strokes_and_ground_alone(edge, width):
    """What is brighter than half is stroke."""
    page = np.full((36, 6), 255, np.uint8)
    page[:, [0, -1]] = edge
    expected = to_emnist(np.full((36, width), 255, np.uint8))
    np.testing.assert_array_equal(to_emnist(np.pad(page, 2)), expected)


def test_the_ground_of_emnist_is_0():
    """Wherever no stroke is near."""
    page = np.zeros((40, 40), np.uint8)
    page[:, :4] = page[-4:] = 255
    image = to_emnist(page)
    assert (image[:18, 10:] == 0).all()
    assert image.max() == 255


def test_faint_edges_do_not_count_for_the_place_of_plain():
    """Up to half as bright as strokes; they may be cut off."""
    page = np.zeros((60, 60), np.uint8)
    page[5:45, 12:52] = 99
    page[15:25, 22:32] = 200
    assert (to_plain(page, (20, 20)) == 255).all()
    half = to_plain(page, (20, 20), extent=0.5)
    np.testing.assert_array_equal(np.flatnonzero((half > 200).any(axis=1)), np.arange(5, 15))
    np.testing.assert_array_equal(np.flatnonzero((half > 200).any(axis=0)), np.arange(5, 15))


def test_plain_is_cut_out_in_whole_pixels():
    """A square of six, which fills 0.36: of 16.67 it is 17, and from -5.5 it begins at -6."""
    window = np.zeros((17, 17), np.uint8)
    window[6:12, 6:12] = 255
    tall = Image.fromarray(window).resize((17, 10), Image.Resampling.HAMMING)
    small = np.asarray(tall.resize((10, 10), Image.Resampling.HAMMING), float)
    found = to_plain(np.full((6, 6), 200, np.uint8), (10, 10), extent=0.36)
    np.testing.assert_array_equal(found, np.round(small * 255 / small.max()))


def test_the_extent_of_characters_in_color():
    """As in the mean of their channels, rounded."""
    images = np.zeros((1, 10, 20, 3), np.uint8)
    images[0, 2:4, 2:4] = 100, 101, 101
    assert measure_extent(images) == 0.2
    images[0, 4:6, 2:4] = 50, 51, 51
    assert measure_extent(images) == 0.4
    assert measure_extent(255 - images, light_ground=True) == 0.4


@pytest.mark.parametrize("form", FORMS)
def test_strokes_are_bright_unless_the_ground_is_light(form):
    page = canvas("4", 0, dark=True)
    np.testing.assert_array_equal(to_form(page, form), FORMS[form](page))


@pytest.mark.parametrize("shape", [(40, 24), (24, 40)])
def test_mnist_is_reduced_by_averages(shape):
    """Of two by two pixels, where strokes are four pixels wide."""
    page = np.zeros(shape, np.uint8)
    page[9:13] = page[:, 9:13] = 255
    expected = np.round(page.reshape(shape[0] // 2, 2, shape[1] // 2, 2).mean(axis=(1, 3)))
    image = to_mnist(page)
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    found = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.testing.assert_allclose(found, expected, atol=1)


def test_mnist_is_enlarged_smoothly():
    """By less than twice, and by more: bicubic."""
    for side in (16, 8):
        page = np.zeros((side, side), np.uint8)
        middle = side // 2
        page[middle - 1 : middle + 1] = page[:, middle - 1 : middle + 1] = 255
        tall = Image.fromarray(page).resize((side, 20), Image.Resampling.BICUBIC)
        expected = np.asarray(tall.resize((20, 20), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(to_mnist(page)[4:24, 4:24], expected)


def test_levels_of_gray_are_rounded():
    """When the brightest becomes 255."""
    page = np.array([[200, 100], [99, 51]], np.uint8)
    assert to_plain(page, (2, 2)).tolist() == [[255, 128], [126, 65]]
    page = np.array([[100, 50], [90, 0]], np.uint8)  # 127.5 and 229.5, to the even ones
    assert to_plain(page, (2, 2)).tolist() == [[255, 128], [230, 0]]


def test_the_width_of_almost_nothing():
    assert stroke_width(np.zeros((0, 5), np.uint8)) == 0
    assert stroke_width(np.full((1, 1), 9, np.uint8)) == 1


def across(ink, usual, side=None, widest=1000.0):
    """The middle row of a stroke that is brought to a usual width."""
    widths = {"narrowest": usual if usual < widest else 0.0, "usual": usual, "widest": widest}
    found = _with_strokes(ink, side or max(ink.shape), **widths)
    return found[len(found) // 2].astype(int)


def test_a_thin_stroke_grows_on_both_sides():
    """By what it lacks but for half a pixel; the part of a pixel, too."""
    bar = np.full((100, 4), 255, np.uint8)
    row = across(bar, stroke_width(bar) + 6.3)
    assert row.tolist() == [0, 166, *[255] * 8, 166, 0]
    for height, width in ((200, 3), (400, 5), (20, 1)):
        bar = np.full((height, width), 255, np.uint8)
        grown = across(bar, 2.2, side=20).sum() / 255 - width + 1
        assert (grown + stroke_width(bar)) * 20 / height == pytest.approx(2.2, abs=0.01)


@pytest.mark.parametrize(("edge", "width"), [(127, 2), (128, 4)])
def test_what_is_darker_than_half_does_not_grow(edge, width):
    """Beside a stroke of two pixels."""
    bar = np.full((100, 4), 255, np.uint8)
    bar[:, [0, -1]] = edge
    row = across(bar, stroke_width(bar) + 6)
    assert np.count_nonzero(row > 250) == width + 4


def test_a_thick_stroke_shrinks_on_both_sides():
    """By what it has too much; something stays, whatever its form."""
    bar = np.full((200, 20), 255, np.uint8)
    row = across(bar, stroke_width(bar) - 12.6, widest=stroke_width(bar) - 1)
    assert row.tolist() == [51, *[255] * 8, 51]
    row = across(bar, 0.1, widest=stroke_width(bar) - 1)
    assert row.tolist() == [128, 255, 255, 128]


@pytest.mark.parametrize("image", [np.ones((3, 3)), np.ones((3, 3, 1), np.uint8), [[1]]])
def test_what_is_no_character(image):
    """The error says so where annotations are not checked."""
    with pytest.raises(DataError, match="a character must be an array of uint8"):
        inspect.unwrap(_cut)(image, 0.5)


def test_forms_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        FORMS["mnist"] = to_plain  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize(("side", "brightest"), [(150, 255), (250, 255), (300, 255), (500, 0)])
def test_specks_are_bright_unless_they_are_averaged_away(side, brightest):
    """In opposite corners of a large image."""
    page = np.zeros((side, side), np.uint8)
    page[0, 0] = page[-1, -1] = 255
    assert to_plain(page).max() == brightest
