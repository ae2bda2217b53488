"""Pictures of other people's handwriting: drawn and photographed here, read by what is shipped."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import skimage
from drawn import SHAPES, SMALL, canvas, photo
from PIL import Image
from skimage.filters import apply_hysteresis_threshold

import jaxdigits as jd
from jaxdigits.data.images import MOST_PIXELS, MOST_PIXELS_HELD_TWICE
from jaxdigits.errors import ConfigError, DataError
from jaxdigits.evaluation.calibration import Calibration
from jaxdigits.handwriting import (
    Character,
    Reading,
    classify_files,
    draw_reading,
    find_characters,
    open_picture,
    read,
    segmentation,
)
from jaxdigits.handwriting.ink import _level, find_ink, strokes
from jaxdigits.handwriting.opening import SIDE
from jaxdigits.handwriting.segmentation import _own_ink, _Piece
from jaxdigits.transforms import to_emnist, to_mnist, to_plain
from jaxdigits.transforms.form import stroke_width

DIGITS = "0123456789"
LETTERS = "".join(character for character in SHAPES if character not in DIGITS)


@pytest.fixture(scope="module")
def digits_run():
    return jd.load("digits")


@pytest.fixture(scope="module")
def letters_run():
    return jd.load("letters")


def colored(gray):
    return np.repeat(gray[..., None], 3, axis=2)


def read_text(picture, run):
    try:
        return read(picture if picture.ndim == 3 else colored(picture), run).text
    except DataError as error:
        return str(error)


def share_read(characters, run, each=3, **style):
    """Of drawings of each character the share that is read right."""
    found = [
        read_text(canvas(character, seed, **style), run).upper() == character.upper()
        for character in characters
        for seed in range(each)
    ]
    return np.mean(found)


@pytest.mark.parametrize(
    "style",
    [
        {},
        {"dark": True},
        {"pen": 1},
        {"pen": 30, "dark": True},
        {"share": 0.2, "pen": 5},
        {"side": 28, "share": 0.7, "pen": 2.5, "dark": True},
        {"side": 28, "share": 0.7, "pen": 1},
        {"side": 600, "pen": 1},
    ],
    ids=lambda style: " ".join(f"{key}={value}" for key, value in style.items()) or "as it is",
)
def test_digits_drawn_with_a_mouse(style, digits_run):
    """Off the centre, in either polarity, hairlines and brushes, small canvases and large ones."""
    assert share_read(DIGITS, digits_run, **style) >= 0.9


def test_letters_drawn_with_a_mouse(letters_run):
    """52 drawings, in two styles; those with a dot are the hardest."""
    styles = [{"pen": 6.3}, {"share": 0.2, "pen": 2.25}]
    shares = [share_read(LETTERS, letters_run, each=1, side=126, **style) for style in styles]
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize(
    "style",
    [
        {},
        {"ruled": True},
        {"squared": True},
        {"shadow": 0.8, "pen": 0.03},
        {"color": (190, 40, 40)},
    ],
    ids=str,
)
def test_photos_of_digits(style, digits_run):
    """Pen on paper, several lines, turned, in bad light: place and order of all, most are right."""
    right = total = 0
    for seed, lines in enumerate((["31", "4159"], ["2718", "28"], ["60", "2", "214"])):
        picture = photo(lines, seed, shape=SMALL, **style)
        found = read_text(picture, digits_run).replace(" ", "").split("\n")
        assert [len(line) for line in found] == [len(line) for line in lines]
        total += sum(map(len, lines))
        right += sum(a == b for a, b in zip("".join(found), "".join(lines), strict=True))
    assert right >= 0.9 * total


def test_a_photo_of_letters(letters_run):
    """By their looks: "jij" is no English."""
    found = read(photo(["HELLO", "jij"], 3, shape=SMALL), letters_run, spelling="none")
    assert found.text.upper() == "HELLO\nJIJ"


def test_digits_and_letters_on_one_page():
    """Neighbors settle what looks alike; what it might be alone is kept."""
    run = jd.load("characters")
    found = read(photo(["ROOM 12"], 3, shape=SMALL), run)
    assert found.text == "room 12"
    both = [(one["character"], one["second"]) for one in found.as_dict()["characters"]]
    assert both[1:3] == [("o", "0")] * 2
    assert read_text(photo(["FUNK 97"], 3, shape=SMALL), run) == "funk 97"


def test_what_is_drawn_says_what_is_sure(digits_run):
    """In green, or in orange: the box, and the label below; of gray pictures too."""
    page = 255 - canvas("7", 1)
    found = read(page, digits_run)
    for threshold, color in ((0.0, (10, 125, 50)), (1.0, (194, 80, 10))):
        drawn = np.asarray(draw_reading(page, dataclasses.replace(found, threshold=threshold)))
        rows = np.flatnonzero((drawn == color).all(axis=2).any(axis=1))
        below = len(drawn) - 28  # a label, and a margin below it
        assert rows[0] < below <= rows[-1]


def test_words_are_parted():
    found = find_characters(photo(["12 34", "5 67"], 0, turned=0))
    assert [character.line for character in found] == [0, 0, 0, 0, 1, 1, 1]
    assert [n for n, character in enumerate(found) if character.after_space] == [2, 5]


def test_light_and_ground_make_no_difference():
    """The same strokes on white, in a gradient of light, and inverted: the same ink, nearly."""
    page = colored(canvas("3", 0)).astype(np.float32)
    light = np.linspace(0.4, 1, page.shape[1])[None, :, None]
    plain, dim = (find_ink(np.round(p).astype(np.uint8)) for p in (page, page * light))
    assert np.abs(plain - dim).mean() < 0.005
    np.testing.assert_allclose(find_ink((255 - page).astype(np.uint8)), plain, atol=1e-6)


def test_strokes_against_scikit_image(rng):
    for _ in range(20):
        ink = rng.random((30, 40), np.float32) ** 2
        np.testing.assert_array_equal(strokes(ink), apply_hysteresis_threshold(ink, 0.25, 0.5))


def test_boxes_are_around_the_characters():
    page = np.full((100, 200, 3), 240, np.uint8)
    page[20:80, 30:40] = page[10:90, 120:132] = 20
    boxes = [(c.left, c.top, c.right, c.bottom) for c in find_characters(page)]
    assert boxes == [(30, 20, 40, 80), (120, 10, 132, 90)]


def test_strokes_that_nearly_touch_are_one_character():
    page = np.full((120, 200, 3), 255, np.uint8)
    page[20:100, 40:48] = 0  # the stem of a T, one pixel below its bar
    page[12:19, 20:70] = 0
    page[20:100, 150:158] = 0
    assert len(find_characters(page)) == 2


def test_dots_belong_to_what_is_below():
    page = np.full((120, 200, 3), 255, np.uint8)
    page[50:100, 40:47] = page[25:33, 41:48] = 0
    page[20:100, 120:127] = 0
    assert [(c.top, c.bottom) for c in find_characters(page)] == [(25, 100), (20, 100)]


@pytest.mark.parametrize(
    ("strong", "level"), [(70, 0.9), (55, 0.9), (50, 0.3), (45, 0.3), (0, 0.3)]
)
def test_a_few_specks_do_not_set_the_level_of_ink(strong, level):
    """Strokes of 1,000 pixels, some much darker: less than a twentieth are specks."""
    contrast = np.zeros(10_000, np.float32)
    contrast[:1000] = 0.3
    contrast[:strong] = 0.9
    assert _level(contrast.reshape(100, 100)) == pytest.approx(level)


def test_a_neighbors_ink_is_not_taken_along():
    page = np.full((100, 100, 3), 255, np.uint8)
    page[20:80, 20:26] = 0
    page[74:80, 20:42] = 0  # an L
    page[20:60, 40:46] = 0  # partly over its foot
    first, second = (character.ink for character in find_characters(page))
    assert first.shape[1] == 26
    assert (first[:50, 12:] == 0).all()
    assert second.shape == (44, 10)
    assert (second[:, 3:7] == 255).any()


def page_of(*boxes, shape=(120, 200)):
    """Dark boxes on white paper: top, bottom, left, right of each."""
    page = np.full((*shape, 3), 255, np.uint8)
    for top, bottom, left, right in boxes:
        page[top:bottom, left:right] = 0
    return page


def bars(count):
    """Strokes side by side, too short for the lines of ruled paper."""
    return page_of(*((40, 70, left, left + 4) for left in range(10, 10 + 30 * count, 30)))


@pytest.mark.parametrize(("height", "joined"), [(100, 4), (200, 6)])
def test_how_near_strokes_touch(height, joined):
    """Nearer than 3% of their height, to a pixel on each side."""
    for gap, count in ((joined, 1), (joined + 1, 2)):
        strokes = [(20, 20 + height, left, left + 10) for left in (100, 110 + gap)]
        assert len(find_characters(page_of(*strokes, shape=(240, 240)))) == count


def test_how_far_apart_words_are():
    """From 60% of a line's height."""
    for gap, spaces in ((47, 0), (50, 1)):
        found = find_characters(page_of((20, 100, 30, 38), (20, 100, 38 + gap, 46 + gap)))
        assert sum(character.after_space for character in found) == spaces


STEM = (30, 110, 20, 28)


@pytest.mark.parametrize(
    ("boxes", "count"),
    [
        ([STEM, (0, 8, 40, 190)], 1),  # the edge of a sheet, above
        ([STEM, (0, 8, 100, 190)], 2),  # a dash that is cut off
        ([(20, 100, 90, 98), (10, 110, 0, 8)], 1),  # an edge at the side
        ([(20, 100, 90, 98), (20, 90, 192, 200)], 2),
        ([(0, 60, 20, 28), (0, 8, 20, 180), (0, 60, 172, 180)], 1),  # a wide character
    ],
)
def test_what_lies_at_the_border(boxes, count):
    assert len(find_characters(page_of(*boxes))) == count


def test_dirt_is_no_character():
    """What is smaller than 15% of a stroke."""
    for size, count in ((11, 1), (13, 2)):
        found = find_characters(page_of((20, 100, 90, 98), (96, 100, 130, 130 + size)))
        assert len(found) == count


def test_stains_are_passed_over_where_they_are_few():
    """Squares of 400 pixels beside a stroke of 640: up to four times its area."""
    places = [(top, left) for top in (20, 80, 140) for left in (30, 90, 230)]
    squares = [(top, top + 20, left, left + 20) for top, left in places]
    few, many = (
        page_of((60, 140, 160, 168), *squares[:count], shape=(200, 300)) for count in (6, 7)
    )
    assert len(find_characters(few)) == 1
    with pytest.raises(DataError, match="there is no writing in it"):
        find_characters(many)


def test_as_many_pieces_as_writing_has(monkeypatch):
    monkeypatch.setattr(segmentation, "MOST_CHARACTERS", 5)
    assert len(find_characters(bars(5))) == 5
    with pytest.raises(DataError, match="there is no writing in it"):
        find_characters(bars(6))


def guessing(confidences, run):
    """A network of given confidence in each of the images that it sees."""

    def apply(_, images):
        first = jnp.asarray(confidences, jnp.float32)[: len(images)]
        first = jnp.pad(first, (0, len(images) - len(first)), constant_values=1)
        others = jnp.broadcast_to((1 - first[:, None]) / 9, (len(images), 9))
        return jnp.log(jnp.concatenate([first[:, None], others], axis=1))

    return dataclasses.replace(run, model=jd.Model(run.model.init, apply), calibration=None)


@pytest.mark.parametrize(
    ("confidences", "refused"),
    [
        ([0.5] * 4, False),  # too few to say
        ([0.5] * 5, True),
        ([0.79] * 3 + [0.99] * 2, True),
        ([0.5] * 2 + [0.81] * 3, False),
    ],
)
def test_what_the_network_can_only_guess(confidences, refused, digits_run):
    picture, run = bars(len(confidences)), guessing(confidences, digits_run)
    if not refused:
        found = read(picture, run, find="strokes").confidences
        np.testing.assert_allclose(found, confidences, rtol=1e-5)
        return
    message = "is not like 0, 1, 2 and so on: of 5 pieces the network's median confidence is "
    with pytest.raises(DataError, match=f"{message}{np.median(confidences):.0%}"):
        read(picture, run, find="strokes")


def test_a_reading_in_words():
    """The threshold itself is sure; the second guess is the next best, whatever the others."""
    places = [(0, False), (0, True), (1, False)]
    characters = [Character(0, 0, 2, 1, *place, np.zeros((2, 1), np.uint8)) for place in places]
    reading = Reading(
        characters,
        np.zeros((3, 28, 28), np.uint8),
        np.array(
            [[0.5, 0.125, 0.375, 0], [0, 0.25, 0.75, 0], [0.4375, 0.125, 0.3125, 0.125]], np.float32
        ),
        ("a", "b", "c", "d"),
        threshold=0.5,
    )
    assert reading.sure == [True, True, False]
    assert (reading.names, reading.text) == (["a", "c", "a"], "a c\n?")
    found = reading.as_dict()["characters"]
    assert [(each["character"], each["second"], each["sure"]) for each in found] == [
        ("a", "c", True), ("c", "b", True), ("a", "c", False),
    ]  # fmt: skip
    assert [each["second_confidence"] for each in found] == [0.375, 0.25, 0.3125]
    assert "set" not in found[0]
    several = dataclasses.replace(reading, threshold=0.0, least=0.3125)
    assert several.sets == [("a", "c"), ("c",), ("a", "c")]
    assert several.text == "[ac] c\n[ac]"


@pytest.mark.parametrize(
    ("form", "convert", "shape", "light_ground"),
    [
        ("mnist", to_mnist, (28, 28), False),
        ("emnist", to_emnist, (28, 28), False),
        ("plain", partial(to_plain, shape=(30, 20)), (30, 20, 3), True),
    ],
    ids=["mnist", "emnist", "plain"],
)
def test_a_network_sees_what_it_was_trained_on(form, convert, shape, light_ground, tmp_path, rng):
    """In reading and in classifying, also when it was saved and loaded."""
    part = jd.Examples(rng.integers(0, 256, (24, *shape), np.uint8), np.arange(24) % 2)
    options = {"form": form, "light_ground": light_ground}
    splits = jd.data.from_arrays("own", part, part, ("a", "b"), **options)
    trained = jd.fit(jd.TrainConfig(model="linear", epochs=0), dict(splits))
    run = jd.load(trained.save(tmp_path / "run"))
    picture = colored(canvas("4", 0))
    (character,) = find_characters(picture)
    expected = convert(character.ink)
    expected = 255 - expected if light_ground else expected
    (seen,) = read(picture, run, find="strokes").images
    assert seen.shape == run.image_shape == shape
    for channel in seen.reshape(*shape[:2], -1).transpose(2, 0, 1):
        np.testing.assert_array_equal(channel, expected)
    # A file is not cut out first: the same to the eye.
    (found,) = classify_files(run, [save(picture, tmp_path / "four.png")])
    assert found.probability == pytest.approx(run.predict_proba(seen[None]).max(), abs=0.2)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"find": "eyes"}, "find must be one of auto, strokes, network, not 'eyes'"),
        ({"spelling": "latin"}, "spelling must be english or none, not 'latin'"),
    ],
)
def test_there_is_no_such_way(option, message, digits_run):
    with pytest.raises(jd.errors.ConfigError, match=message):
        read(colored(canvas("4", 0)), digits_run, **option)


def test_a_picture_stays_as_it_is(digits_run):
    picture = colored(canvas("4", 0))
    picture.setflags(write=False)
    draw_reading(picture, read(picture, digits_run))


def blank_photo(seed):
    """The pen writes the paper's color."""
    return photo(["1"], seed, shape=SMALL, color=(235, 232, 222), shadow=0.8)


def photograph(name):
    """A cat, or an astronaut, from scikit-image, 255 pixels wide."""
    with Image.open(Path(skimage.__path__[0]) / "data" / f"{name}.png") as image:
        size = (255, round(255 * image.height / image.width))
        return np.asarray(image.resize(size, Image.Resampling.BOX))


@pytest.mark.parametrize(
    "picture",
    [
        np.full((170, 255, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.random.default_rng(0).normal(200, 8, (170, 255, 3)).clip(0, 255).astype(np.uint8),
        *(blank_photo(seed) for seed in range(3)),
        *(photograph(name) for name in ("chelsea", "astronaut")),
    ],
    ids=["white", "one pixel", "noise", *(f"paper {n}" for n in range(3)), "a cat", "an astronaut"],
)
def test_what_is_no_writing(picture, digits_run):
    with pytest.raises(DataError, match=r"there is no writing|is not like"):
        read(picture, digits_run)


def save(picture, path, **options):
    Image.fromarray(picture).save(path, **options)
    return path


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "bmp", "tiff", "heic"])
def test_kinds_of_files(tmp_path, kind, digits_run):
    if kind == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path = save(colored(canvas("7", 1)), tmp_path / f"seven.{kind}")
    assert read(open_picture(path), digits_run).text == "7"


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F"], ids=lambda mode: f"mode {mode}"
)
def test_modes(tmp_path, mode, digits_run):
    gray = canvas("7", 1)
    if mode == "I;16":
        image = Image.fromarray(gray.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(gray).convert(mode)
    image.save(tmp_path / "seven.tiff")
    assert read(open_picture(tmp_path / "seven.tiff"), digits_run).text == "7"


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_pictures(tmp_path, ink, digits_run):
    alpha = 255 - canvas("7", 1)
    picture = np.dstack([np.full((*alpha.shape, 3), ink, np.uint8), alpha])
    assert read(open_picture(save(picture, tmp_path / "seven.png")), digits_run).text == "7"


@pytest.mark.parametrize(("orientation", "turned"), [(3, 2), (6, 1), (8, 3)])
def test_cameras_say_which_way_is_up(tmp_path, orientation, turned):
    """Also where the picture is made smaller."""
    upright = np.kron(canvas("7", 1), np.ones((6, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    path = save(np.rot90(upright, turned), tmp_path / "seven.jpg", exif=exif, quality=95)
    expected = open_picture(save(upright, tmp_path / "upright.png"))
    found = open_picture(path)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_a_large_scan_is_made_smaller(tmp_path, digits_run):
    """100 megapixels, in a format that has to be decoded whole."""
    large = Image.fromarray(canvas("7", 1)).resize((10_000, 10_000), Image.Resampling.NEAREST)
    large.save(tmp_path / "scan.png", compress_level=1)
    picture = open_picture(tmp_path / "scan.png")
    assert picture.shape == (SIDE, SIDE, 3)
    assert read(picture, digits_run).text == "7"


MEMORY = """
import os
import sys
from pathlib import Path
from jaxdigits.errors import DataError
from jaxdigits.handwriting.opening import open_picture
for name in sys.argv[1:]:
    if child := os.fork():  # the most memory of each
        os.waitpid(child, 0)
        continue
    try:
        print(open_picture(name).shape)
    except DataError as error:
        print(error)
    most = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    print(most, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the most memory")
def test_large_pictures_take_little_memory(tmp_path, python):
    """A gigabyte at most, also where the file ends too early."""
    whole, cut = str((SIDE, SIDE, 3)), "cannot be read: image file is truncated"
    cases = [
        ("F", "whole.tiff", MOST_PIXELS, whole),
        ("RGBA", "cut.png", MOST_PIXELS, cut),
        ("L", "whole.webp", MOST_PIXELS_HELD_TWICE, whole),
    ]
    for mode, name, most, _ in cases:
        path, side = tmp_path / name, int(most**0.5)
        Image.new(mode, (side, side)).save(path, quality=1, compress_level=1, method=0)
        if name == "cut.png":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = python("-c", MEMORY, *(str(tmp_path / name) for _, name, *_ in cases))
    lines = found.stdout.splitlines()
    for (*_, shown), said, kilobytes in zip(cases, lines[::2], lines[1::2], strict=True):
        assert shown in said
        assert int(kilobytes) < 1_000_000


def test_files_that_are_no_pictures(tmp_path):
    files = {
        "note.pdf": (b"%PDF-1.7", "is a PDF; save its page as"),
        "empty.png": (b"", "is empty"),
        "text.png": (b"hello", "it is not an image"),
        "cut.png": (save(canvas("7", 1), tmp_path / "whole.png").read_bytes()[:500], "cannot be"),
    }
    for name, (content, message) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_picture(tmp_path / name)
    with pytest.raises(DataError, match="is a folder; name the pictures in it"):
        open_picture(tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        open_picture(tmp_path / "nothing.png")
    side = int(MOST_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "large.png")
    with pytest.raises(DataError, match="has more than 120 megapixels; make it smaller"):
        open_picture(tmp_path / "large.png")
    side = int(MOST_PIXELS_HELD_TWICE**0.5) + 1
    Image.new("L", (side, side)).save(tmp_path / "large.webp", quality=1, method=0)
    with pytest.raises(DataError, match="has more than 45 megapixels; make it smaller"):
        open_picture(tmp_path / "large.webp")
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="has more than 120 megapixels"):
        open_picture(tmp_path / "bomb.png")


def test_thin_and_thick_pens_come_to_usual_widths():
    """Of a digit in MNIST's box; its own images have 1.2 to 7.2 pixels, half of them 2.2 to 3.

    Fine lines become as wide as is usual; what is in the range stays as it is.
    """
    widths = []
    for pen in (1, 4, 14, 40):
        image = jd.transforms.to_mnist(canvas("3", 0, pen=pen, dark=True))
        widths.append(stroke_width(np.kron(image, np.ones((4, 4), np.uint8))))
    *fine, broad, brush = (width / 4 for width in widths)
    assert fine == pytest.approx([2.2, 2.2], abs=0.4)
    assert 1.2 < broad < brush < 7.2


def test_predict(tmp_path, cli):
    save(canvas("7", 1), tmp_path / "seven.png")
    save(photo(["31", "4"], 0), tmp_path / "note.jpg")
    code, out, err = cli("predict", tmp_path / "seven.png")
    assert (code, out.split()[0], err) == (0, "7", "")
    code, out, err = cli(
        "predict", tmp_path / "seven.png", tmp_path / "none.png", tmp_path / "note.jpg",
        "--show", tmp_path / "seen.png",
    )  # fmt: skip
    lines = [line.split(" ")[0] for line in out.splitlines()]
    assert lines == [f"{tmp_path}/seven.png:", "7", f"{tmp_path}/note.jpg:", "31", "4"]
    assert code == 2
    assert err == f"jaxdigits: there is no file {tmp_path}/none.png; name a picture\n"
    with Image.open(tmp_path / "seen-1.png") as first, Image.open(tmp_path / "seen-3.png") as third:
        assert first.width >= 560
        assert third.width == 800
    assert not (tmp_path / "seen-2.png").exists()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("shown", ["", "."])
def test_predict_cannot_show_in_a_folder(tmp_path, cli, times, shown):
    save(canvas("7", 1), tmp_path / "seven.png")
    code, _, err = cli("predict", *[tmp_path / "seven.png"] * times, "--show", shown)
    assert (code, err) == (2, "jaxdigits: . is a folder: name a file to write to\n")


def test_predict_as_json(tmp_path, cli):
    save(canvas("7", 1), tmp_path / "seven.png")
    (tmp_path / "note.pdf").write_bytes(b"%PDF-1.7")
    code, out, _ = cli(
        "predict", tmp_path / "seven.png", tmp_path / "note.pdf", "--error-rate", "0.01", "--json"
    )
    document = json.loads(out)
    good, bad = document["pictures"]
    (found,) = good["characters"]
    assert code == 2
    assert (good["text"], found["character"], found["line"]) == ("7", "7", 0)
    assert 0 < document["threshold"] < found["confidence"] <= 1
    assert found["second_confidence"] <= 1 - found["confidence"] + 1e-6
    assert "PDF" in bad["error"]


def test_what_is_promised(digits_run):
    """From answers on pages, which the package's networks have; or else from single images."""
    calibration = digits_run.calibration
    assert calibration.pages.answers > 3000
    assert jd.handwriting.threshold(digits_run, 0.02) == calibration.pages.threshold(0.02)
    single = dataclasses.replace(
        digits_run, calibration=dataclasses.replace(calibration, pages=None)
    )
    assert jd.handwriting.threshold(single, 0.02) == calibration.counts.threshold(0.02)
    assert calibration.counts.answers == 5000


def test_a_network_of_ones_own(tmp_path, cli):
    """Its run folder says how far to trust it, from its validation images."""
    save(canvas("1", 0, side=126, pen=6.3), tmp_path / "one.png")
    cli("train", "--dataset", "digits", "--model", "linear", "--epochs", "5", "--out", "own")
    words = ["predict", "one.png", "--network", "own", "--json"]
    (plain, strict) = (json.loads(cli(*words, *more)[1]) for more in ([], ["--error-rate", "0.1"]))
    calibration = jd.load("own").calibration
    assert calibration is not None
    assert calibration.counts is not None
    assert (plain["threshold"], strict["threshold"]) == (0, calibration.counts.threshold(0.1))
    code, _, err = cli(*words, "--error-rate", "0.001")
    assert (code, "0.001 cannot be promised from 120 answers" in err) == (2, True)
    assert 0.3 < calibration.temperature < 3


def test_not_sure(tmp_path, cli):
    """Two digits in one place are less sure than an error rate demands, and may be either."""
    halves = np.minimum(*(canvas(digit, 0, side=126, pen=6) for digit in "34"))
    save(halves, tmp_path / "both.png")
    _, out, _ = cli("predict", tmp_path / "both.png", "--error-rate", "0.005")
    assert out.startswith("?")
    _, out, _ = cli("predict", tmp_path / "both.png", "--set", "0.99")
    assert out.startswith("[")
    _, out, _ = cli("predict", tmp_path / "both.png", "--set", "0.99", "--json")
    ((found,), least) = (json.loads(out)["pictures"][0]["characters"], json.loads(out)["least"])
    assert found["set"][0] == found["character"]
    assert len(found["set"]) > 1
    assert 0 < least < found["second_confidence"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a picture"),
        (["x.png", "--network", "nowhere"], "there is no run in nowhere"),
        (["x.png", "--error-rate", "2"], "the error rate must be 0 to 1, not 2"),
        (["x.png", "--error-rate", "1e-6"], "cannot be promised from"),
        (["x.png", "--set", "1"], "sets with the right class in 1 of all cases cannot be promised"),
    ],
)
def test_predict_refuses(cli, arguments, message):
    code, out, err = cli("predict", *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("mode", ["P", "L", "1", "CMYK"])
def test_every_mode_is_averaged_when_it_is_reduced(tmp_path, mode):
    """Black and white columns of one pixel become gray, also by way of a palette."""
    columns = np.tile(np.array([0, 255], np.uint8), (1200, 1200))
    suffix = "tif" if mode == "CMYK" else "png"
    Image.fromarray(columns).convert("RGB").convert(mode).save(tmp_path / f"fine.{suffix}")
    picture = open_picture(tmp_path / f"fine.{suffix}")
    assert picture.shape == (600, 1200, 3)
    assert picture.min() >= 126
    assert picture.max() <= 129


def test_gray_of_a_stroke_is_rounded():
    """To the nearest level of 0..255."""
    ink = np.zeros((20, 20), np.float32)
    ink[5:15, 8:12] = 0.5, 0.999, 0.9, 0.1
    piece = _Piece(top=5, left=8, bottom=15, right=12, area=40, labels=[1])
    found = _own_ink(piece, ink, (ink > 0).astype(np.int32))
    assert found[found.shape[0] // 2].tolist() == [0, 0, 128, 255, 230, 26, 0, 0]


@pytest.mark.parametrize("calibration", [None, Calibration(temperature=2.0)])
@pytest.mark.parametrize("promise", [jd.handwriting.threshold, jd.handwriting.least_probability])
def test_nothing_is_promised_where_answers_were_not_counted(calibration, promise):
    """As in run folders of before, or after divergence."""
    run = dataclasses.replace(jd.load("digits"), calibration=calibration)
    with pytest.raises(ConfigError, match="as its answers were not counted"):
        promise(run, 0.9)
