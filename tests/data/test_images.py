"""Image files as people have them: more than 8 bits, turned, transparent, of any suffix."""

import logging
import struct
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import Terminal
from PIL import Image, ImageOps

from jaxdigits import data
from jaxdigits.data.images import fit, on_light_ground, opaque, open_image, read_images
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


@pytest.mark.parametrize(
    ("largest", "white"),
    [
        *((1, 1), (2, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095)),
        *((4096, 16383), (16383, 16383), (16384, 65535), (65535, 65535), (65536, 65536)),
    ],
)
def test_the_range_is_the_first_that_no_value_exceeds(tmp_path, caplog, largest, white):
    pixels = np.zeros((28, 28), np.int32)
    pixels[10:20, 10:20] = largest
    Image.fromarray(pixels).save(tmp_path / "a.tiff")
    with caplog.at_level(logging.INFO, "jaxdigits"):
        (image,), _ = read_images([tmp_path / "a.tiff"], exact=True)
    assert caplog.messages == [f"1 images of more than 8 bits: 0..{white} become 0..255"]
    assert np.unique(image).tolist() == [0, round(255 * largest / white)]


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever the caller does with Pillow's
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


def test_the_ground_is_a_value_that_the_border_has():
    """Not one between two of them: 5 of 18 pixels are dark."""
    gray = np.full((4, 7), 200, np.uint8)
    gray[0, :5] = 0
    assert np.unique(fit(gray, (4, 11))[:, [0, 1, -1]]).tolist() == [0]


@pytest.mark.parametrize(("dark", "ground"), [(8, 255), (9, 0)])
def test_a_quarter_of_the_border_is_ground(dark, ground):
    """Of 36 pixels."""
    gray = with_border(np.where(np.arange(36) < dark, 0, 200), (10, 10), inside=200)
    assert fit(gray, (10, 20))[0, 0] == ground


def with_border(values: np.ndarray, shape: tuple[int, int] = (5, 5), inside: int = 0) -> np.ndarray:
    """A gray image with these values along its border, in the order of its pixels."""
    gray = np.full(shape, inside, np.uint8)
    edge = np.ones(shape, bool)
    edge[1:-1, 1:-1] = False
    gray[edge] = values
    return gray


@pytest.mark.parametrize(
    ("bright", "light"),
    [(0, False), (4, False), (5, None), (11, None), (12, True), (16, True)],
)
def test_three_quarters_of_the_border_tell_the_ground(rng, bright, light):
    """Of its 16 pixels, wherever they are; above the middle of 40 and 200, which is 120."""
    for _ in range(20):
        values = np.where(np.arange(16) < bright, 121, 120)
        gray = with_border(rng.permutation(values), inside=40)
        gray[2, 2] = 200
        assert on_light_ground(gray) is light


@pytest.mark.parametrize(("value", "light"), [(0, False), (127, False), (128, True), (255, True)])
def test_a_single_value_is_the_ground(value, light):
    assert on_light_ground(np.full((3, 3), value, np.uint8)) is light


def save_all(root: Path, images: list[np.ndarray]) -> list[Path]:
    paths = [root / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize(
    ("others", "light"), [("", False), ("ld", False), ("lldd", False), ("lld", True), ("lld dd", 0)]
)
def test_images_without_a_clear_ground_follow_the_majority(tmp_path, others, light):
    """Those on a light ground must be more than half; each file that does not tell has no vote."""
    unclear = with_border(np.arange(16) % 2 * 255, inside=255)
    page = with_border(np.full(16, 255), inside=10)
    images = [{"l": page, "d": 255 - page, " ": unclear}[kind] for kind in f" {others}"]
    found, taken = read_images(save_all(tmp_path, images), exact=False, image_shape=(5, 5))
    assert taken == light
    np.testing.assert_array_equal(found[0], 255 - unclear if light else unclear)
    for image in (image for image, kind in zip(found[1:], others, strict=True) if kind != " "):
        np.testing.assert_array_equal(image, 255 - page)


@pytest.mark.parametrize("light", [False, True])
def test_the_caller_may_know_the_ground(tmp_path, light):
    """Of files whose border does not tell; others keep their own."""
    unclear = with_border(np.arange(16) % 2 * 255, inside=255)
    page = with_border(np.full(16, 0 if light else 255), inside=100)
    found, taken = read_images(
        save_all(tmp_path, [unclear, page]), exact=False, image_shape=(5, 5), light_files=light
    )
    assert taken is light
    np.testing.assert_array_equal(found[0], 255 - unclear if light else unclear)
    np.testing.assert_array_equal(found[1], page if light else 255 - page)


def test_colors_are_fitted_into_the_shape(tmp_path):
    """Height and width are not mixed up, and nothing is inverted; the rest is black."""
    colors = np.full((20, 60, 3), (250, 240, 10), np.uint8)
    Image.fromarray(colors).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(np.rot90(colors)).save(tmp_path / "b.png", exif=exif)
    found, light = read_images(
        [tmp_path / "a.png", tmp_path / "b.png"], exact=False, image_shape=(10, 12, 3)
    )
    expected = np.zeros((10, 12, 3), np.uint8)
    expected[3:7] = 250, 240, 10
    np.testing.assert_array_equal(found, [expected, expected])
    assert light is False


@pytest.mark.parametrize("channels", [(2,), (4,), (1, 1), (3, 3)])
def test_channels_that_image_files_do_not_have(tmp_path, channels):
    path = tmp_path / "a.png"
    Image.fromarray(stroke()).save(path)
    with pytest.raises(DataError, match=r"1 or 3 channels, not those of the shape \(28, 28, "):
        read_images([path], exact=True, image_shape=(28, 28, *channels))
    found, _ = read_images([path], exact=True, image_shape=(28, 28, 1))
    np.testing.assert_array_equal(found, stroke()[None, :, :, None])


@pytest.mark.parametrize(("count", "more"), [(9, []), (10, []), (11, ["and 1 more"])])
def test_ten_unreadable_files_are_named(tmp_path, count, more):
    paths = [tmp_path / f"bad{number:02}.png" for number in range(count)]
    for path in paths:
        path.write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        read_images(paths, exact=False)
    lines = str(caught.value).splitlines()
    assert ["cannot be read" in line for line in lines] == [True] * min(count, 10) + [False] * len(
        more
    )
    assert lines[10:] == more


def wide_header(width: int) -> bytes:
    """The beginning of a JPEG 2000 file of that width, one pixel high; nothing is decoded yet."""
    sizes = struct.pack(">HIIIIIIIIH", 0, width, 1, 0, 0, width, 1, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(sizes) + 5) + sizes + b"\x07\x01\x01"


@pytest.mark.parametrize(
    ("most", "header"),
    [
        (120_000_000, lambda width: b"P5 %d 1 255\n" % width),
        (45_000_000, wide_header),  # whose decoder holds a picture several times
    ],
)
def test_the_most_pixels_are_allowed(tmp_path, monkeypatch, most, header):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "a.png"
    path.write_bytes(header(most))
    assert open_image(path, lambda image: image.size) == (most, 1)
    path.write_bytes(header(most + 1))
    with pytest.raises(DataError, match=f"has more than {most // 10**6} megapixels; make it"):
        open_image(path, lambda image: image.size)


def test_pixels_are_counted_over_rows_and_columns(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxdigits.data.images.MOST_PIXELS", 12)
    for shape, allowed in {(3, 4): True, (2, 6): True, (1, 13): False, (13, 1): False}.items():
        Image.new("L", shape).save(tmp_path / "a.png")
        if allowed:
            assert open_image(tmp_path / "a.png", lambda image: image.size) == shape
            continue
        with pytest.raises(DataError, match="has more than 0 megapixels"):
            open_image(tmp_path / "a.png", lambda image: image.size)


def test_what_is_not_a_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"is a folder; name the pictures in it, such as .*/\*.png"):
        open_image(tmp_path, lambda image: image.size)
    with pytest.raises(DataError, match=r"there is no file .*a.png; name a picture"):
        open_image(tmp_path / "a.png", lambda image: image.size)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(DataError, match=r"a.pdf is a PDF; save its page as a PNG or JPEG picture"):
        open_image(tmp_path / "a.pdf", lambda image: image.size)


def test_formats_that_are_not_listed_are_not_opened(tmp_path):
    """Whatever the suffix: some of them run other programs."""
    path = tmp_path / "a.png"
    Image.fromarray(stroke()).save(path, "PCX")
    with pytest.raises(DataError, match=r"not an image, or is of another format than PNG, .*HEIC;"):
        open_image(path, lambda image: image.size)


def test_heic_needs_another_package(tmp_path, monkeypatch):
    """Which is registered where it is needed; AVIF, which begins alike, does without."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    for name, kind in (("a.heic", "HEIF"), ("a.avif", "AVIF")):
        Image.fromarray(stroke()).save(tmp_path / name, kind)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    assert open_image(tmp_path / "a.heic", lambda image: image.format) == "HEIF"
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"a.heic is in HEIC format; pip install 'jaxdigits\[heic"):
        open_image(tmp_path / "a.heic", lambda image: image.format)
    assert open_image(tmp_path / "a.avif", lambda image: image.format) == "AVIF"


def test_progress_is_shown_on_a_terminal_alone(tmp_path, monkeypatch, capsys):
    paths = save_all(tmp_path, [stroke(seed) for seed in range(3)])
    read_images(paths, exact=False)
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    read_images(paths, exact=False)
    assert terminal.bars == ["reading: 0/3 image"]


@pytest.mark.parametrize(("rows", "parallel"), [(4082, False), (4083, True)])
def test_large_files_are_read_side_by_side(tmp_path, monkeypatch, rows, parallel):
    """Those of more than 4096 bytes on average; threads would make small ones slower."""
    threads = set()

    def watched(*arguments):
        threads.add(threading.current_thread())
        return open_image(*arguments)

    monkeypatch.setattr("jaxdigits.data.images.open_image", watched)
    paths = [tmp_path / "a.pgm", tmp_path / "b.pgm"]
    for path, count in zip(paths, (4082, rows), strict=True):
        path.write_bytes(b"P5 1 %d 255\n" % count + bytes(count))
    assert paths[0].stat().st_size == 4096
    read_images(paths, exact=True)
    assert (threading.current_thread() not in threads) == parallel


def sheet(holes: int, edge: int = 5) -> Image.Image:
    """A beige one of 10x10 pixels on 24x24, with white inside its edge; some of it is cut out.

    Its outermost row and column are never cut.
    """
    card = np.zeros((24, 24, 4), np.uint8)
    whole = card[9:19, 3:13]
    whole[...] = 200, 180, 160, 255
    whole[edge : 10 - edge, edge : 10 - edge, :3] = 255
    inner = whole[1:9, 1:9, 3].reshape(-1).copy()
    inner[32 - holes // 2 : 32 + (holes + 1) // 2] = 0
    whole[1:9, 1:9, 3] = inner.reshape(8, 8)
    whole[9, 9, :3] = 0  # something is drawn on it
    return Image.fromarray(card)


@pytest.mark.parametrize(("holes", "continued"), [(0, True), (29, True), (30, False)])
def test_a_sheet_fills_seven_tenths_of_its_box(holes, continued):
    found = np.asarray(opaque(sheet(holes)).convert("RGB"))
    corner = (200, 180, 160) if continued else (0, 0, 0)
    assert tuple(found[0, 0].tolist()) == corner


def test_a_sheet_is_continued_in_the_color_of_its_edge():
    card = np.asarray(sheet(0, edge=3))
    found = np.asarray(opaque(Image.fromarray(card)))
    solid = card[..., 3] == 255
    np.testing.assert_array_equal(found[solid], card[solid][:, :3])
    np.testing.assert_array_equal(found[~solid], np.tile([200, 180, 160], ((~solid).sum(), 1)))


@pytest.mark.parametrize(("ink", "continued"), [(134, False), (136, False), (135, True)])
def test_a_sheet_shows_something(ink, continued):
    """A range of gray of more than 64; what is not opaque does not count."""
    card = np.zeros((24, 24, 4), np.uint8)
    card[4:20, 4:20] = 200, 200, 200, 255
    card[10, 8:12, :3] = ink
    if ink == 134:
        card[10, 8:12, 3] = 249
    found = np.asarray(opaque(Image.fromarray(card)).convert("L"))
    assert found[0, 0] == (200 if continued else 0)


def test_nearly_opaque_pixels_belong_to_a_sheet():
    card = np.asarray(sheet(0)).copy()
    for alpha, corner in ((250, (200, 180, 160)), (249, (0, 0, 0))):
        card[..., 3] = np.where(card[..., 3] > 0, alpha, 0)
        assert opaque(Image.fromarray(card)).getpixel((0, 0)) == corner


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (120, 255), (130, 0), (255, 0)])
@pytest.mark.parametrize("alpha", [100, 255])
def test_strokes_are_laid_on_the_color_farther_from_theirs(ink, ground, alpha):
    drawing = np.full((12, 12, 4), ink, np.uint8)
    drawing[..., 3] = 0
    drawing[3:9, 5:7, 3] = alpha
    seen = np.asarray(opaque(Image.fromarray(drawing)).convert("L"))
    assert seen[0, 0] == ground
    assert seen[5, 5] == pytest.approx((ink * alpha + ground * (255 - alpha)) / 255, abs=1)


def test_nothing_at_all_is_laid_on_black():
    assert not np.asarray(opaque(Image.new("RGBA", (4, 4)))).any()


@pytest.mark.parametrize("width", [7, 8])
def test_a_narrow_image_is_padded_with_its_ground(width):
    """By hand: nothing is resized, 10 becomes 0 and 110 becomes 255; an odd pixel goes right."""
    gray = np.full((4, 2), 10, np.uint8)
    gray[1, 1] = 110
    gray[2, 1] = 30
    left = (width - 2) // 2
    expected = np.zeros((4, width), np.uint8)
    expected[1, left + 1] = 255
    expected[2, left + 1] = 51
    np.testing.assert_array_equal(fit(gray, (4, width)), expected)
    np.testing.assert_array_equal(fit(gray.T, (width, 4)), expected.T)


def test_a_quarter_of_the_border_is_enough_for_the_ground():
    """26 of its 100 pixels; the others are ink of 200."""
    gray = with_border(np.where(np.arange(100) < 26, 0, 200), (22, 30), inside=100)
    found = fit(gray, (22, 60))
    assert not found[:, :15].any()
    assert not found[:, -15:].any()
    assert fit(gray).shape == (28, 28)
