"""Finding what is written: tiles, votes, lines, scale, and turn."""

import numpy as np
import pytest
from drawn import canvas, photo
from settled import read_pages, settled

import jaxdigits as jd
from jaxdigits.errors import DataError
from jaxdigits.handwriting import marks, page
from jaxdigits.handwriting.glyphs import SIGNS
from jaxdigits.handwriting.marks import Mark, Seen
from jaxdigits.handwriting.scenes import NUM_CLASSES


def colored(gray: np.ndarray) -> np.ndarray:
    """Three equal channels."""
    return np.repeat(gray[..., None], 3, axis=2) if gray.ndim == 2 else gray


def seen_of(
    labels: np.ndarray, middles: dict[int, tuple[float, float]], classes: dict[int, int]
) -> Seen:
    """What a perfect network would say of numbered pieces of ink."""
    shares = np.zeros((*labels.shape, NUM_CLASSES), np.float32)
    shares[..., 0] = labels == 0
    points = np.zeros((*labels.shape, 2), np.float32)
    likely = np.zeros(labels.shape, np.float32)
    for number, middle in middles.items():
        row, column = (int(place) // 2 * 2 for place in middle)
        likely[row : row + 2, column : column + 2] = 1
        shares[labels == number, classes.get(number, 1)] = 1
        points[labels == number] = middle
    up = np.zeros_like(points)
    up[..., 0] = 1
    return Seen(shares, points, likely, up)


def test_marks_that_touch_are_told_apart_by_where_they_point() -> None:
    """Two bars side by side, without a gap, are two, and a distant dot is a sign."""
    labels = np.zeros((64, 96), int)
    labels[10:44, 20:28], labels[10:44, 28:36], labels[40:44, 60:64] = 1, 2, 3
    seen = seen_of(labels, {1: (27, 24), 2: (27, 32), 3: (42, 62)}, {3: 2 + SIGNS.index(".")})
    found = sorted(marks.marks(seen, 34.0), key=lambda mark: mark.left)
    boxes = [(mark.top, mark.left, mark.bottom, mark.right) for mark in found]
    assert boxes == [(10, 20, 44, 28), (10, 28, 44, 36), (40, 60, 44, 64)]
    assert [mark.sign for mark in found] == ["", "", "."]
    assert all((mark.ink == 1).all() for mark in found)
    assert marks.usual_size(found) == 34


@pytest.mark.parametrize(
    ("share", "height", "sign"),
    [
        (0.95, 34, "/"),
        (0.5, 34, ""),  # rather a 1, as that is more frequent
        (0.5, 42, "/"),  # but no 1 is so tall
        (0.2, 42, ""),
        (0.2, 50, "/"),
        (0.01, 50, ""),
        (0.02, 54, ""),  # it counts no more than 1.5 times the usual height
        (1.0, 34, "/"),
    ],
)
def test_a_stroke_is_a_1_or_a_slash(share: float, height: int, sign: str) -> None:
    """By what the network says of it, and by its height beside that of others."""
    labels = np.zeros((64, 128), int)
    labels[10:44, 20:28], labels[10:44, 50:58], labels[6 : 6 + height, 90:98] = 1, 2, 3
    seen = seen_of(labels, {1: (27, 24), 2: (27, 54), 3: (6 + height / 2, 94)}, {})
    slash = 2 + SIGNS.index("/")
    seen.classes[labels == 3, 1], seen.classes[labels == 3, slash] = 1 - share, share
    *others, stroke = sorted(marks.marks(seen, 34.0), key=lambda mark: mark.left)
    assert [mark.sign for mark in others] == ["", ""]
    assert stroke.sign == sign
    if sign:
        share = min(share, 1 - 1e-6)
        odds = np.log(share / (1 - share)) + 12 * (height / 34 - 1.1)
        assert stroke.probability == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-4)


def test_a_stroke_alone_is_a_1() -> None:
    """There is nothing to be taller than."""
    labels = np.zeros((64, 64), int)
    labels[10:44, 20:28] = 1
    (stroke,) = marks.marks(seen_of(labels, {1: (27, 24)}, {1: 2 + SIGNS.index("/")}), 34.0)
    assert stroke.sign == ""


def test_a_page_is_looked_at_from_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """From afar as well as from near."""
    picture = np.zeros((64, 32, 3), np.uint8)
    seen, looked = [], []
    monkeypatch.setattr(page, "see", lambda _, pixels: seen.append(pixels.shape))
    monkeypatch.setattr(page, "marks", lambda *_: ["a mark"])
    monkeypatch.setattr(page, "usual_size", lambda _: 2 * page.USUAL)
    monkeypatch.setattr(page, "turn", lambda _: 3.0)
    monkeypatch.setattr(page, "slope", lambda _, degrees: degrees + 1)
    monkeypatch.setattr(page, "look", lambda _, *way, thin: looked.append((*way, thin)))
    page.find_at(picture, 1.0, quarters=1)
    page.find_at(picture, 1.0, thin=True)
    assert seen == [(32, 64, 4), (64, 32, 4)]
    assert looked == [(0.5, 94.0, False), (0.5, 4.0, True)]


def test_scales_that_are_alike_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tenth, and in the same way."""
    picture = np.zeros((64, 64, 3), np.uint8)

    def known(scale: float, thin: bool = False) -> page.Page:
        return page.Page(picture, [], 0.0, scale, 1.0, thin)

    looked = known(1.0)
    monkeypatch.setattr(page, "see", lambda *_: None)
    monkeypatch.setattr(page, "marks", lambda *_: ["a mark"])
    monkeypatch.setattr(page, "usual_size", lambda _: page.USUAL)
    monkeypatch.setattr(page, "turn", lambda _: 90.0)
    monkeypatch.setattr(page, "look", lambda *_, **__: looked)
    for scale in (0.92, 1.0, 1.09):
        assert page.find_at(picture, 1.0, [known(3.0), known(scale)]) is None
        assert page.find_at(picture, 1.0, [known(scale)], thin=True) is looked
    for scale in (0.89, 1.12):
        assert page.find_at(picture, 1.0, [known(scale)]) is looked


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_higher_of_two_peaks_is_one(mirrored: bool) -> None:
    """Within the distance rounded, on either side."""
    values = np.zeros((4, 12), np.float32)
    values[1, 2], values[1, 5], values[1, 9] = 0.9, 0.95, 0.9
    found = marks._peaks(values[:, ::-1] if mirrored else values, 2.9)
    places = sorted(11 - column if mirrored else column for _, column in found.tolist())
    assert places == [5, 9]


def test_no_ink_gives_no_marks() -> None:
    """Where nothing is written there is nothing to find."""
    assert marks.marks(seen_of(np.zeros((32, 32), int), {}, {}), 34.0) == []


def test_pieces_that_point_to_one_place_are_one_character() -> None:
    """The bar of a 5 and its body, 4 pixels apart."""
    labels = np.zeros((64, 64), int)
    labels[10:14, 20:40] = labels[18:44, 20:40] = 1
    (mark,) = marks.marks(seen_of(labels, {1: (27, 30)}, {}), 34.0)
    assert (mark.top, mark.left, mark.bottom, mark.right) == (10, 20, 44, 40)
    assert (mark.ink[4:8] == 0).all()


@pytest.mark.parametrize("shape", [(30, 40), (256, 256), (257, 500), (700, 300)])
def test_tiles_cover_a_picture(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tiles overlap they are averaged: what is the same everywhere stays so."""

    def apply(params: object, tile: np.ndarray) -> np.ndarray:
        del params
        assert tile.shape == (marks.TILE, marks.TILE, 4)
        red = tile[..., :1] / 255
        rest = [0 * red] * (NUM_CLASSES - 2) + [0 * red + 8] * 5
        return np.concatenate([1 - red, red, *rest], axis=-1).astype(np.float32)

    monkeypatch.setattr(marks, "_apply", apply)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 4), np.uint8)
    seen = marks.see(None, pixels)
    np.testing.assert_allclose(seen.ink, pixels[..., 0] / 255, atol=1e-5)
    # Of each block of 2x2 the middle, and 8 pixels.
    np.testing.assert_allclose(seen.points[:4:3, :4:3], [[(9, 9), (9, 11)], [(11, 9), (11, 11)]])


@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 5, 90])
def test_the_turn_is_that_of_the_ink(degrees: float) -> None:
    """What is no ink has no say."""
    labels = np.zeros((32, 32), int)
    labels[8:24, 8:24] = 1
    seen = seen_of(labels, {1: (16, 16)}, {})
    angle = np.radians(degrees)
    seen.up[:] = (-np.cos(angle), -np.sin(angle))
    seen.up[8:24, 8:24] = (0.3 * np.cos(angle), 0.3 * np.sin(angle))
    assert marks.turn(seen) == pytest.approx(degrees, abs=1e-3)


def test_a_page_is_turned_whole() -> None:
    """By a quarter it loses nothing; else the color of its border is around it."""
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(page.turned(picture, 90.0), np.rot90(picture))
    assert page.turned(picture, 0.0) is picture
    plain = np.full((40, 60, 3), (200, 180, 160), np.uint8)
    assert (page.turned(plain, 30.0) == (200, 180, 160)).all()


def test_lines_and_spaces() -> None:
    """Middles decide on the line, gaps on spaces; a point hangs at the line's foot."""

    def mark(top: int, left: int, height: int = 34, width: int = 20, sign: str = "") -> Mark:
        ink = np.ones((height, width), np.float32)
        return Mark(
            top, left, top + height, left + width, ink, sign, 0.9, np.pad(ink, marks.MARGIN) < 0
        )

    found = [
        mark(70, 0),
        mark(0, 90),
        mark(8, 30),
        mark(2, 0),
        mark(30, 54, 5, 5, "."),
        mark(72, 24),
    ]
    characters = page._in_lines(found, 2.0, np.zeros((100, 200, 3), np.uint8))
    assert [c.line for c in characters] == [0, 0, 0, 0, 1, 1]
    assert [c.after_space for c in characters] == [False, False, False, True, False, False]
    assert [c.sign for c in characters] == ["", "", ".", "", "", ""]
    last = characters[-1]
    assert (last.top, last.left, last.bottom, last.right) == (36, 12, 53, 22)
    assert last.ink.shape == (34 + 2 * marks.MARGIN, 20 + 2 * marks.MARGIN)


def test_ink_is_as_fine_as_the_picture_and_has_its_own_color() -> None:
    """A red bar beside a blue one: edges are those of the picture, values 0 or 255."""
    picture = np.full((200, 200, 3), (240, 235, 220), np.uint8)
    picture[41:159, 61:79] = 180, 40, 40
    picture[41:159, 101:119] = 30, 40, 160
    labels = np.zeros((50, 50), int)
    labels[10:40, 15:20], labels[10:40, 25:30] = 1, 2
    found = marks.marks(seen_of(labels, {1: (25, 17.5), 2: (25, 27.5)}, {}), 34.0)
    for mark, left in zip(sorted(found, key=lambda mark: mark.left), (60, 100), strict=True):
        ink = page._own_ink(mark, 0.25, picture)
        assert ink.shape == (120 + 32, 20 + 32)
        expected = np.zeros(ink.shape)
        expected[17:135, 17:35] = 255
        assert mark.left * 4 == left
        assert np.abs(ink - expected).mean() < 4


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (300, 400, 3)])
def test_blank_pages(shape: tuple[int, ...]) -> None:
    """One sentence, whatever the size."""
    with pytest.raises(DataError, match="there is no writing in it"):
        page.find_page(np.full(shape, 255, np.uint8))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_reads_as_it_did(quarters: int) -> None:
    """Quarters and halves; the picture shown is the upright one."""
    run = jd.load("digits")
    picture = photo(["31", "4159"], 0)
    reading = jd.handwriting.read(
        np.ascontiguousarray(np.rot90(picture, quarters)), run, find="network"
    )
    assert reading.text.replace(" ", "") == "31\n4159"
    assert abs((reading.degrees - 90 * quarters + 180) % 360 - 180) < 8


def test_a_small_picture_is_enlarged() -> None:
    """A drawing of 28x28 pixels has characters of 20."""
    found = page.find_page(colored(canvas("5", 0, side=28, share=0.7, pen=2.5)))
    assert len(found.characters) == 1
    assert found.picture.shape == (28, 28, 3)


def test_a_minus_is_no_digit() -> None:
    """Nor is it left out."""
    page_of = np.full((160, 460, 3), 245, np.uint8)
    for left, character in zip((30, 130, 330), "235", strict=True):
        ink = 255 - canvas(character, 0, side=100, pen=7)
        page_of[30:130, left : left + 100] -= (ink * 0.85).astype(np.uint8)[..., None]
    page_of[76:84, 255:295] = 40
    reading = jd.handwriting.read(page_of, jd.load("digits"), find="network")
    assert reading.text.replace(" ", "") == "23-5"
    assert [found.sign for found in reading.characters] == ["", "", "-", ""]


def test_there_are_three_ways_to_find() -> None:
    """Another one is refused."""
    with pytest.raises(
        jd.errors.ConfigError, match="find must be one of auto, strokes, network, not 'x'"
    ):
        jd.handwriting.read(np.full((9, 9, 3), 255, np.uint8), jd.load("digits"), find="x")


def test_auto_takes_what_reads_more_clearly() -> None:
    """A drawing by its strokes, a turned page by the network; nothing is nothing in all ways."""
    run = jd.load("digits")
    drawing, page = colored(canvas("5", 0)), np.ascontiguousarray(np.rot90(photo(["2457"], 0)))
    assert jd.handwriting.read(drawing, run, find="auto").text == "5"
    assert jd.handwriting.read(page, run, find="auto").text.replace(" ", "") == "2457"
    with pytest.raises(DataError, match="there is no writing in it"):
        jd.handwriting.read(np.full((90, 90, 3), 255, np.uint8), run, find="auto")


def test_pages_say_what_they_said() -> None:
    """With the same boxes, and as surely."""
    now, before = read_pages(), settled("pages")
    assert now.keys() == before.keys()
    for kind, reading in now.items():
        known = before[kind]
        assert reading.keys() == known.keys(), kind
        assert reading.get("text") == known.get("text"), kind
        assert reading.get("error") == known.get("error"), kind
        for name, within in (("degrees", 0.2), ("boxes", 1), ("confidences", 0.01), ("ink", 0.2)):
            np.testing.assert_allclose(
                reading.get(name, []), known.get(name, []), 0, within, err_msg=f"{name} of {kind}"
            )


@pytest.mark.parametrize(("larger", "step"), [(5.0, 2.0), (0.1, 0.5), (1.5, 1.5)])
def test_the_scale_changes_by_no_more_than_twice_at_once(monkeypatch, larger, step) -> None:
    """Where characters look far larger, or smaller, than they should, something else was seen."""
    scales = []

    def resized(picture, scale, *_, **__):
        scales.append(scale)
        return picture

    found = [Mark(0, 0, 4, 4, np.ones((4, 4)), "", 1.0, np.ones((4, 4), bool))]
    for name, value in {
        "resized": resized,
        "see": lambda *_: None,
        "marks": lambda *_: found,
        "usual_size": lambda _: larger * page.USUAL,
        "slope": lambda *_: 0.0,
        "turn": lambda _: 0.0,
    }.items():
        monkeypatch.setattr(page, name, value)
    assert page.look(np.zeros((8, 8, 3), np.uint8), 1.0, 0.0) is None
    np.testing.assert_allclose(scales, [1, 1 / step, 1 / step**2])
