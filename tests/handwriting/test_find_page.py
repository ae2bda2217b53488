"""Finding what is written: tiles, votes, lines, scale, and turn."""

from typing import Any

import numpy as np
import pytest
from drawn import SMALL, canvas, photo
from PIL import Image
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
        (0.6, 34, ""),
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
    assert page.find_at(picture, 2.0, [known(2.1)]) is None
    assert page.find_at(picture, 2.0, [known(0.5)]) is looked
    assert page.find_at(picture, 1.0, [page.Page(picture, [], 0.0, 1.0, 1.0)]) is None  # not thin


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


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 255, 3), (170, 255, 3)])
def test_blank_pages(shape: tuple[int, ...]) -> None:
    """One sentence, whatever the size."""
    with pytest.raises(DataError, match="there is no writing in it"):
        page.find_page(np.full(shape, 255, np.uint8))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_reads_as_it_did(quarters: int) -> None:
    """Quarters and halves; the picture shown is the upright one."""
    run = jd.load("digits")
    picture = photo(["31", "4159"], 0, shape=SMALL)
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
    drawing, page = colored(canvas("5", 0)), photo(["2457"], 0, shape=SMALL)
    assert jd.handwriting.read(drawing, run, find="auto").text == "5"
    page = np.ascontiguousarray(np.rot90(page))
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


@pytest.mark.parametrize(
    ("scale", "method"),
    [
        (0.4, Image.Resampling.BOX),
        (0.49, Image.Resampling.BOX),
        (0.5, Image.Resampling.BILINEAR),
        (1.5, Image.Resampling.BILINEAR),
    ],
)
def test_a_picture_at_another_scale(scale, method, rng) -> None:
    """Averaged below half its size, else interpolated; the fourth channel says what is known."""
    picture = rng.integers(0, 256, (61, 91, 3), np.uint8)
    size = round(91 * scale), round(61 * scale)
    expected = np.asarray(Image.fromarray(picture).resize(size, method))
    for known, alpha in ((False, 128), (True, 255)):
        found = page.resized(picture, scale, known=known)
        np.testing.assert_array_equal(found[..., :3], expected)
        assert (found[..., 3] == alpha).all()
    found = page.resized(picture, scale)
    assert (found[..., 3] == 128).all()


def test_a_picture_has_at_least_8_pixels_a_side() -> None:
    """However small it becomes."""
    assert page.resized(np.zeros((30, 400, 3), np.uint8), 0.1).shape == (8, 40, 4)
    assert page.resized(np.zeros((90, 30, 3), np.uint8), 0.1).shape == (9, 8, 4)


def test_a_picture_is_turned_for_the_network(rng) -> None:
    """Counter-clockwise; what is outside it is not known to be upright, or anything."""
    picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
    found = page.resized(picture, 1.0, 90.0, known=True)
    np.testing.assert_array_equal(found[..., :3], np.rot90(picture))
    assert (found[..., 3] == 255).all()
    slanted = page.resized(picture, 1.0, 45.0)
    assert min(slanted.shape[:2]) > 30
    assert (slanted[0, 0] == 0).all()


def test_thin_lines_are_kept() -> None:
    """Where the picture is reduced; else there is nothing to keep."""
    picture = np.full((40, 80, 3), 250, np.uint8)
    picture[:, 33] = 20
    thin, plain = (page.resized(picture, 0.25, thin=thin)[..., 0] for thin in (True, False))
    assert (thin[:, 8] == 20).all()
    assert (np.delete(thin, 8, axis=1) == 250).all()
    assert plain.min() > 180
    for scale in (1.0, 1.5):
        np.testing.assert_array_equal(
            page.resized(picture, scale, thin=True), page.resized(picture, scale)
        )


@pytest.mark.parametrize("shape", [(12, 20), (13, 23), (3, 9), (9, 3), (6, 30)])
def test_the_most_different_pixel_of_each_block(shape, rng) -> None:
    """Blocks are of that size or a little larger, so that there is a whole number of them."""
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
    found = page._most_different(picture, 4)
    rows, columns = max(shape[0] // 4, 1), max(shape[1] // 4, 1)
    assert found.shape == (rows, columns, 3)
    high, wide = shape[0] // rows, shape[1] // columns
    for row, column in np.ndindex(rows, columns):
        block = picture[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        pixels = block.reshape(-1, 3)
        away = np.abs(pixels.mean(axis=1) - np.median(pixels.mean(axis=1)))
        same = (pixels == found[row, column]).all(axis=1)
        assert away[same].max() == away.max()


@pytest.mark.parametrize(
    ("shape", "levels"),
    [
        ((100, 60), [128, 64]),  # at most twice as large
        ((60, 100), [128, 64]),
        ((20, 31), [64]),  # but for the smallest
        ((128, 5), [256, 128, 64]),
        ((127, 5), [128, 64]),
        ((512, 512), [256, 128, 64, 512, 1024]),
        ((511, 9), [256, 128, 64, 512]),
        ((3000, 9), [256, 128, 64, 512, 1024]),
    ],
)
def test_the_scales_from_afar(shape, levels) -> None:
    """Of the longer side."""
    found = page.scales(np.zeros((*shape, 3), np.uint8))
    np.testing.assert_allclose(found, np.array(levels) / max(shape))


def test_the_clearest_of_all_scales_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are looked at as they are, then for thin lines; the next look knows what was found."""
    clarity = {(1.28, False): 0.5, (1.28, True): 0.8, (0.64, True): 0.7}
    tried = []

    def find_at(picture, scale, known, *, thin) -> page.Page | None:
        tried.append((scale, thin, [one.clarity for one in known]))
        if (scale, thin) not in clarity:
            return None
        return page.Page(picture, [], 0.0, scale, clarity[scale, thin], thin)

    monkeypatch.setattr(page, "find_at", find_at)
    assert page.find_page(np.zeros((100, 60, 3), np.uint8)).clarity == 0.8
    assert tried == [
        *((1.28, False, []), (0.64, False, [0.5])),
        *((1.28, True, [0.5]), (0.64, True, [0.5, 0.8])),
    ]


class Views:
    """What the network shows in turn: how much larger characters are, how far turned, how many."""

    def __init__(self, patch: pytest.MonkeyPatch, *views: tuple[float, float, int]) -> None:
        self.views = list(views)
        self.looks: list[tuple[float, float, bool, bool]] = []
        one = Mark(0, 0, 4, 4, np.ones((4, 4), np.float32), "", 1.0, np.ones((12, 12), bool))
        shown = lambda: self.views[min(len(self.looks), len(self.views)) - 1]  # noqa: E731

        def resized(picture, scale, degrees, *, known, thin) -> np.ndarray:
            self.looks.append((scale, degrees, known, thin))
            return np.zeros((8, 8, 4), np.uint8)

        seen = seen_of(np.ones((8, 8), int), {1: (4, 4)}, {})
        replaced: dict[str, Any] = {
            "resized": resized,
            "see": lambda *_: seen,
            "marks": lambda *_: [one] * shown()[2],
            "usual_size": lambda _: shown()[0] * page.USUAL,
            "turn": lambda one: shown()[1] if one is seen else np.nan,
            "slope": lambda _, otherwise: otherwise,
        }
        for name, value in replaced.items():
            patch.setattr(page, name, value)


@pytest.mark.parametrize(
    ("larger", "more", "enough"),
    [
        (1.24, 3.9, True),
        (0.81, -3.9, True),
        (1.26, 0.0, False),
        (0.79, 0.0, False),
        (1.0, 4.0, False),
        (1.0, -4.0, False),
    ],
)
def test_characters_are_nearly_of_the_usual_size(larger, more, enough, monkeypatch) -> None:
    """And nearly upright; else the page is looked at again."""
    views = Views(monkeypatch, (larger, more, 1), (1.0, 0.0, 1))
    found = page.look(np.zeros((40, 60, 3), np.uint8), 0.5, 30.0, thin=True)
    assert found is not None
    assert found.thin
    assert views.looks[0] == (0.5, -30.0, True, True)
    assert len(views.looks) == (1 if enough else 2)
    assert found.scale == pytest.approx(0.5 if enough else 0.5 / larger)
    assert found.degrees == pytest.approx(30.0 if enough else 30.0 + more)


@pytest.mark.parametrize(("count", "found"), [(0, False), (1, True), (500, True), (501, False)])
def test_a_page_has_at_most_500_characters(count, found, monkeypatch) -> None:
    """What has more shows something else."""
    Views(monkeypatch, (1.0, 0.0, count))
    monkeypatch.setattr(page, "_own_ink", lambda mark, *_: mark.ink.astype(np.uint8))
    looked = page.look(np.zeros((40, 60, 3), np.uint8), 1.0, 0.0)
    assert (looked is not None) == found
    assert looked is None or len(looked.characters) == count
    assert looked is None or not looked.thin


@pytest.mark.parametrize(
    ("given", "seen"), [(1.9, 0.0), (-1.9, 0.0), (2.0, 2.0), (-2.0, -2.0), (50.0, 50.0)]
)
def test_people_write_nearly_level(given, seen, monkeypatch) -> None:
    """A page that is turned by less than 2 degrees is taken for upright."""
    views = Views(monkeypatch, (1.0, 0.0, 1))
    found = page.look(np.zeros((40, 60, 3), np.uint8), 1.0, given)
    assert found is not None
    assert found.degrees == seen
    assert views.looks == [(1.0, -seen, True, False)]


@pytest.mark.parametrize(("more", "step"), [(30.0, 15.0), (-30.0, -15.0), (9.0, 9.0), (-9.0, -9.0)])
def test_a_page_is_turned_by_at_most_15_degrees_at_once(more, step, monkeypatch) -> None:
    """Three times, and then no more."""
    views = Views(monkeypatch, (1.0, more, 1))
    assert page.look(np.zeros((40, 60, 3), np.uint8), 1.0, 0.0) is None
    assert [look[1] for look in views.looks] == [0.0, -step, -2 * step]


def test_the_page_that_was_found_is_upright(monkeypatch, rng) -> None:
    """By the turn at which the network saw it so."""
    picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
    Views(monkeypatch, (1.0, 0.0, 1))
    found = page.look(picture, 1.0, 90.0)
    assert found is not None
    np.testing.assert_array_equal(found.picture, np.rot90(picture, -1))


@pytest.mark.parametrize(
    ("degrees", "way"),
    [(44.0, 14.0), (-44.0, -14.0), (45.0, 45.0), (-45.0, -45.0), (170.0, 170.0)],
)
def test_lines_tell_how_a_page_is_turned(degrees, way, monkeypatch) -> None:
    """Unless the network says that it is another way up."""
    monkeypatch.setattr(page, "see", lambda *_: None)
    monkeypatch.setattr(page, "marks", lambda *_: ["a mark"])
    monkeypatch.setattr(page, "usual_size", lambda _: page.USUAL)
    monkeypatch.setattr(page, "turn", lambda _: degrees)
    monkeypatch.setattr(page, "slope", lambda _, otherwise: 14.0 if otherwise > 0 else -14.0)
    look = lambda picture, scale, degrees, **_: page.Page(picture, [], degrees, scale, 1.0)  # noqa: E731
    monkeypatch.setattr(page, "look", look)
    found = page.find_at(np.zeros((40, 60, 3), np.uint8), 0.5)
    assert found is not None
    assert (found.scale, found.degrees) == (0.5, way)


def test_what_is_seen_from_afar(monkeypatch, rng) -> None:
    """The page from its side, with thin lines kept; where it shows nothing there is nothing."""
    picture = rng.integers(0, 256, (80, 120, 3), np.uint8)
    seen = []
    monkeypatch.setattr(page, "see", lambda _, pixels: seen.append(pixels))
    monkeypatch.setattr(page, "marks", lambda *_: [])
    for quarters, thin in ((0, False), (1, False), (2, True)):
        assert page.find_at(picture, 0.25, thin=thin, quarters=quarters) is None
        small = page._most_different(picture, 4) if thin else page.resized(picture, 0.25)[..., :3]
        np.testing.assert_array_equal(seen[-1][..., :3], np.rot90(small, -quarters))
        assert (seen[-1][..., 3] == 128).all()


def mark_at(top: int, left: int, *, height: int = 34, width: int = 20, sign: str = "") -> Mark:
    """A mark that is all ink."""
    ink = np.ones((height, width), np.float32)
    free = np.pad(ink, marks.MARGIN) < 0
    return Mark(top, left, top + height, left + width, ink, sign, 0.9, free)


@pytest.mark.parametrize(("lower", "lines"), [(20, 1), (21, 2), (-20, 1), (-21, 2)])
def test_middles_of_a_line_differ_by_three_fifths_of_a_size(lower, lines) -> None:
    """At most; 20.4 pixels."""
    found = [mark_at(40 + lower, 30), mark_at(40, 0)]
    characters = page._in_lines(found, 1.0, np.zeros((120, 120, 3), np.uint8))
    assert max(c.line for c in characters) + 1 == lines
    if lines == 2:
        assert characters[0].top < characters[1].top


def test_a_line_may_rise() -> None:
    """Each character is compared with the last three, and joins the nearest line."""
    found = [mark_at(80 - 10 * number, 30 * number) for number in range(6)]
    upright = np.zeros((200, 220, 3), np.uint8)
    assert {c.line for c in page._in_lines(found, 1.0, upright)} == {0}
    two = [mark_at(0, 0), mark_at(36, 2)]
    for top, line in ((17, 0), (19, 1)):
        characters = page._in_lines([*two, mark_at(top, 50)], 1.0, upright)
        assert [c.line for c in characters if c.left == 50] == [line]


def test_lines_are_in_the_order_of_their_middles() -> None:
    """A line may begin with something low, the next one with something high."""
    upper = [mark_at(40, 0, height=5, width=5, sign="."), mark_at(10, 10), mark_at(10, 40)]
    lower = [mark_at(35, 12, height=60), mark_at(48, 42)]
    characters = page._in_lines([*lower, *upper], 1.0, np.zeros((120, 120, 3), np.uint8))
    assert [c.sign for c in characters] == [".", "", "", "", ""]
    assert [c.line for c in characters] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(("gap", "space"), [(20, False), (21, True)])
def test_a_space_is_wider_than_three_fifths_of_the_usual_size(gap, space) -> None:
    found = [mark_at(0, 0), mark_at(0, 20 + gap)]
    characters = page._in_lines(found, 1.0, np.zeros((60, 90, 3), np.uint8))
    assert [c.after_space for c in characters] == [False, space]


def test_boxes_lie_within_the_picture() -> None:
    """Rounded to its pixels, from the first to the last."""
    (character,) = page._in_lines([mark_at(0, 0, width=26)], 1.5, np.zeros((20, 60, 3), np.uint8))
    box = character.top, character.left, character.bottom, character.right
    assert box == (0, 0, 20, 17)  # 34 / 1.5 is 22.7, 26 / 1.5 is 17.3
    (character,) = page._in_lines([mark_at(3, 44)], 1.5, np.zeros((60, 35, 3), np.uint8))
    box = character.top, character.left, character.bottom, character.right
    assert box == (2, 29, 25, 35)
    assert (character.sign, character.certainty) == ("", 0.9)


@pytest.mark.parametrize("inner", [0, 200])
def test_the_border_of_a_turned_page_has_the_color_of_all_sides(inner) -> None:
    """As in the middle of its pixels, whatever is within: half of them and a few are at most 20."""
    picture = np.full((50, 50, 3), inner, np.uint8)
    picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1] = 10, 20, 30, 40
    picture[..., 2] //= 2
    assert page.turned(picture, 45.0)[0, 0].tolist() == [20, 20, 10]


def inked(
    height: int, width: int, top: int = 6, left: int = 6, free: np.ndarray | None = None
) -> Mark:
    """A mark whose box is full of ink, with nothing written around it, or where `free` says so."""
    ink = np.ones((height, width), np.float32)
    around = np.pad(ink, marks.MARGIN) == 0
    place = top, left, top + height, left + width
    return Mark(*place, ink, "", 0.9, around if free is None else free)


def on_paper(scale: float, mark: Mark, shape: tuple[int, int] = (60, 60)) -> np.ndarray:
    """A picture of a mark in blue on yellow paper."""
    picture = np.full((*shape, 3), (200, 180, 160), np.uint8)
    top, left, bottom, right = (round(edge / scale) for edge in mark[:4])
    picture[top:bottom, left:right] = 0, 80, 40
    return picture


@pytest.mark.parametrize(
    ("scale", "shape"), [(1.3, (18, 13)), (0.8, (18, 13)), (0.79, (22, 16)), (0.5, (36, 26))]
)
def test_from_which_scale_on_ink_is_as_the_network_saw_it(scale, shape) -> None:
    """From 0.8 times the picture on, in 256 levels; else as the picture shows it."""
    mark = inked(10, 5)
    ink = page._own_ink(mark, scale, on_paper(scale, mark))
    assert ink.shape == shape
    assert ink.max() == 255
    if scale >= 0.8:
        gray = page._own_ink(mark._replace(ink=0.61 * mark.ink), scale, on_paper(scale, mark))
        np.testing.assert_array_equal(gray, np.pad(np.full((10, 5), 156), marks.MARGIN))


def test_the_gray_of_ink_is_how_far_it_is_from_the_ground() -> None:
    """In the direction of the ink's own color, a little steeper; other colors are none."""
    mark = inked(10, 5, top=0, left=0)
    picture = on_paper(0.25, mark)
    ground, pen = picture[-1, -1].astype(float), picture[0, 0].astype(float)
    for row, share in enumerate((0.08, 0.2, 0.4, 0.5, 0.88, 0.95), 4):
        picture[row, 4:16] = np.round(ground + share * (pen - ground))
    picture[10, 4:16] = 250, 80, 160  # darker, but not at all like the pen
    ink = page._own_ink(mark, 0.25, picture)[16 + 4 : 16 + 11, 16 + 4 : 16 + 16]
    expected = np.array([0, 38, 102, 134, 255, 255, 0])
    np.testing.assert_allclose(ink, np.repeat(expected[:, None], 12, axis=1), atol=2)
    assert (ink[3] == 134).all()  # 133.9


def test_ink_fades_where_the_network_sees_no_more_of_it() -> None:
    """An eighth of ink counts three eighths."""
    free = np.zeros((18, 13), bool)
    free[:3] = free[-3:] = free[:, :3] = free[:, -3:] = True
    mark = inked(10, 5, free=free)
    picture = on_paper(0.25, mark, (100, 100))
    picture[24 - 4 : 64 + 4, 24 - 4 : 44 + 4] = picture[30, 30]  # a thicker pen
    row = page._own_ink(mark, 0.25, picture)[36]
    expected = np.array([*[0] * 14, 96, *[255] * 22, 96, *[0] * 14])
    np.testing.assert_allclose(row, expected, atol=1)


@pytest.mark.parametrize(("width", "fine"), [(6, True), (5, False)])
def test_how_much_ink_tells_its_color(width, fine) -> None:
    """Twenty pixels in the middle of it; and as many of the ground."""
    few = inked(2, width)
    assert page._own_ink(few, 0.5, on_paper(0.5, few)).shape == (
        (20, 28) if fine else (10, width + 8)
    )
    free = np.zeros((18, 13), bool)
    free[1:3, 1 : 1 + width] = True
    mark = inked(10, 5, free=free)
    assert page._own_ink(mark, 0.5, on_paper(0.5, mark)).shape == ((36, 26) if fine else (18, 13))


@pytest.mark.parametrize(("share", "fine"), [(0.902, True), (0.898, False)])
def test_what_is_surely_ink_tells_its_color(share, fine) -> None:
    """From nine tenths on."""
    mark = inked(10, 5)
    ink = page._own_ink(mark._replace(ink=share * mark.ink), 0.5, on_paper(0.5, mark))
    assert ink.shape == ((36, 26) if fine else (18, 13))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (20, 25)])
def test_ink_in_the_corner_of_a_picture(top, left) -> None:
    """Beyond it there is none."""
    mark = inked(10, 5, top=top, left=left)
    ink = page._own_ink(mark, 0.5, on_paper(0.5, mark, (60, 60)))
    np.testing.assert_array_equal(ink, np.pad(np.full((20, 10), 255), 8))


@pytest.mark.parametrize(("darker", "seen"), [(0, False), (1, True), (3, True)])
def test_ink_may_be_faint_but_not_without_color(darker, seen) -> None:
    """A level of gray is enough; where the picture shows nothing, what the network saw stays."""
    mark = inked(10, 5)
    picture = np.full((60, 60, 3), 200, np.uint8)
    picture[12:32, 12:22, 1] -= darker
    ink = page._own_ink(mark, 0.5, picture)
    expected = np.pad(np.full((20, 10) if seen else (10, 5), 255), 8 if seen else 4)
    np.testing.assert_array_equal(ink, expected)
