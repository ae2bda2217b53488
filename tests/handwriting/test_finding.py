"""Which way, scale, and turn reads best, and what is left out: on both sides of each limit."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drawn import canvas
from PIL import Image

import jaxdigits as jd
from jaxdigits.errors import DataError
from jaxdigits.handwriting import finding
from jaxdigits.handwriting.finding import _Found, _is_outline
from jaxdigits.handwriting.page import Page
from jaxdigits.handwriting.parting import Piece, Read, pieces
from jaxdigits.handwriting.segmentation import Character

PICTURE = np.full((60, 200, 3), 255, np.uint8)


def character(left: int, width: int = 20, **more) -> Character:
    ink = np.zeros((42, width + 8), np.uint8)
    return Character(10, left, 44, left + width, more.pop("line", 0), False, ink, **more)


def read(*clear: float) -> Read:
    """That each of ten classes is as probable, and how clear each character is."""
    count = len(clear)
    shares = np.full((count, 10), 0.1, np.float32)
    return Read(np.zeros((count, 28, 28), np.uint8), shares, np.array(clear))


def none(*shares: float) -> np.ndarray:
    """How probable it is that each is no character; else it is upright."""
    return np.array([[1 - share, 0, 0, 0, share] for share in shares])


def found(
    characters: list[Character],
    clear: list[float],
    turned: np.ndarray | None = None,
    clarity: float = 0.9,
    scale: float = 1.0,
) -> _Found:
    turned = none(*[0.0] * len(clear)) if turned is None else turned
    return _Found(Page(PICTURE, characters, 0.0, scale, clarity), read(*clear), turned)


def test_how_clear_a_page_is() -> None:
    """The mean of logarithms, none of them below that of 1%."""
    one = found([character(0), character(30)], [0.5, 0.001])
    assert one.clear == pytest.approx((math.log(0.5) + math.log(0.01)) / 2)
    assert one.score == pytest.approx(0.9 + 0.1 * one.clear + 0.05 * math.log(2))


@pytest.mark.parametrize(
    ("clear", "clarity", "enough"),
    [(0.94, 0.86, True), (0.92, 0.86, False), (0.94, 0.84, False), (0.94, 0.85, False)],
)
def test_when_no_other_scale_is_tried(clear, clarity, enough) -> None:
    assert found([character(0)], [clear], clarity=clarity).is_clear == enough


@pytest.mark.parametrize(
    ("sign", "certainty", "share", "left", "stray"),
    [
        ("", 0.95, 0.91, 60, True),  # alone, and no character
        ("", 0.95, 0.9, 60, True),
        ("", 0.95, 0.89, 60, False),
        ("", 0.95, 0.91, 21, False),  # beside another one, and certain
        ("", 0.79, 0.91, 21, True),
        ("", 0.8, 0.91, 21, False),
        ("-", 0.64, 0.0, 60, True),
        ("-", 0.65, 1.0, 60, False),
        (".", 0.1, 1.0, 60, False),  # too small to be sure of
    ],
)
def test_stray_marks(sign, certainty, share, left, stray) -> None:
    """Beside a character that is clear."""
    characters = [character(0), character(left, sign=sign, certainty=certainty)]
    one = found(characters, [0.94, 0.5], none(0.0, share))
    assert one.strays == characters[1:] * stray
    assert found(characters, [0.93, 0.5], none(0.0, share)).strays == one.strays
    unclear = found(characters, [0.92, 0.5], none(0.0, share))
    assert unclear.strays == []


def test_a_turned_character_is_no_stray() -> None:
    """Only what is none of the characters is."""
    turned = np.array([[1.0, 0, 0, 0, 0], [0, 0, 0, 0.95, 0.05]])
    assert found([character(0), character(60)], [0.94, 0.5], turned).strays == []


def test_strays_are_left_out_unless_the_line_says_what_they_are(monkeypatch) -> None:
    """And lines of which nothing is left do not count."""
    characters = [character(0, line=0), character(60, line=1), character(60, line=2)]
    one = found(characters, [0.94, 0.5, 0.5], none(0.0, 0.95, 0.95))

    def settled(*agreed: float) -> list[tuple[int, int]]:
        parted = [
            piece._replace(agreed=share)
            for piece, share in zip(pieces(characters, one.read), agreed, strict=True)
        ]
        monkeypatch.setattr(finding, "part", lambda *_: parted)
        kept = finding._settled(one, jd.load("digits"))
        return [(piece.character.left, piece.character.line) for piece in kept]

    assert settled(0.0, 0.91, 0.91) == [(0, 0), (60, 1), (60, 2)]
    assert settled(0.0, 0.89, 0.91) == [(0, 0), (60, 1)]
    assert settled(0.0, 0.91, 0.9) == [(0, 0), (60, 1)]
    assert settled(0.0, 0.89, 0.89) == [(0, 0)]


def test_strays_that_make_a_word_are_none(monkeypatch) -> None:
    """An i without its dot looks like nothing; with it, the rest is a word."""
    names = jd.load("letters").class_names
    characters = [character(40 * number) for number in range(5)]
    one = found(characters, [0.94, 0.5, 0.94, 0.94, 0.94], none(0.0, 0.95, 0.0, 0.0, 0.0))

    def settled(text: str, looks: float) -> int:
        shares = np.full((5, 26), (1 - looks) / 25, np.float32)
        shares[range(5), [names.index(letter) for letter in text]] = looks
        parted = [
            piece._replace(probabilities=row)
            for piece, row in zip(pieces(characters, one.read), shares, strict=True)
        ]
        monkeypatch.setattr(finding, "part", lambda *_: parted)
        return len(finding._settled(one, jd.load("letters")))

    assert settled("night", 0.9) == 5
    assert settled("night", 0.41) == 5
    assert settled("night", 0.39) == 4  # it does not look like it
    assert settled("xqzjk", 0.9) == 4


def test_how_clear_characters_are() -> None:
    """Signs are as certain as the page network is; a very wide one is no character."""
    characters = [
        *(character(0), character(30, width=68), character(30, width=69)),
        character(110, sign="-", certainty=0.7),
    ]
    shares = np.tile(np.array([[0.8, 0.2]], np.float32), (4, 1))
    clear = finding._clear(characters, shares, none(0.25, 0.0, 0.0, 0.9))
    np.testing.assert_allclose(clear, [0.8 * 0.75, 0.8, 0, 0.7], rtol=1e-6)


class Search:
    """Pages as they are at each scale: clarity, and how clear its character is."""

    def __init__(self, monkeypatch, pages: dict[tuple[float, bool], tuple[float, float]]) -> None:
        self.tried: list[tuple[float, bool]] = []
        self.pages = pages
        scales = sorted({scale for scale, _ in pages})
        monkeypatch.setattr(finding, "scales", lambda _: scales)
        monkeypatch.setattr(finding, "find_at", self.find_at)
        monkeypatch.setattr(finding, "_look_at", self.look_at)
        monkeypatch.setattr(finding, "_upright", lambda picture, one, run: one)

    def find_at(self, picture, scale, known, *, thin, quarters) -> Page | None:
        if quarters:
            return None
        assert [page.scale for page in known] == [s for s, t in self.tried if (s, t) in self.pages]
        self.tried.append((scale, thin))
        if (scale, thin) not in self.pages:
            return None
        clarity, _ = self.pages[scale, thin]
        return Page(picture, [character(0)], 0.0, scale, clarity, thin)

    def look_at(self, page, run) -> _Found:
        return _Found(page, read(self.pages[page.scale, page.thin][1]), none(0.0))

    def best(self) -> tuple[float, bool]:
        best = finding._best(PICTURE, jd.load("digits"))
        return best.page.scale, best.page.thin


@pytest.mark.parametrize(
    ("pages", "tried", "best"),
    [
        # The first that is clear ends the search.
        (
            {(1.0, False): (0.9, 0.5), (1.5, False): (0.9, 0.95), (1.8, False): (0.9, 0.99)},
            [(1.0, False), (1.5, False)],
            (1.5, False),
        ),
        # More than twice as fine ones are not tried where one can be read.
        (
            {(1.0, False): (0.8, 0.31), (2.1, False): (0.9, 0.95)},
            [(1.0, False)],
            (1.0, False),
        ),
        (
            {(1.0, False): (0.8, 0.31), (2.0, False): (0.9, 0.95)},
            [(1.0, False), (2.0, False)],
            (2.0, False),
        ),
        (
            {(0.5, False): (0.8, 0.31), (1.1, False): (0.9, 0.95)},
            [(0.5, False)],
            (0.5, False),
        ),
        (
            {(0.5, False): (0.8, 0.5), (0.9, False): (0.8, 0.31), (1.1, False): (0.9, 0.95)},
            [(0.5, False), (0.9, False), (1.1, False)],
            (1.1, False),
        ),
        (
            {(1.0, False): (0.8, 0.29), (2.1, False): (0.9, 0.95)},
            [(1.0, False), (2.1, False)],
            (2.1, False),
        ),
        # A clear character on an unclear page may be the outline of a sheet.
        (
            {(1.0, False): (0.69, 0.94), (2.1, False): (0.9, 0.95)},
            [(1.0, False), (2.1, False)],
            (2.1, False),
        ),
        (
            {(1.0, False): (0.69, 0.92), (2.1, False): (0.9, 0.95)},
            [(1.0, False), (1.0, True)],
            (1.0, False),
        ),
        (
            {(1.0, False): (0.7, 0.94), (2.1, False): (0.9, 0.95)},
            [(1.0, False), (1.0, True)],
            (1.0, False),
        ),
        # Thin lines are looked for where nothing is seen well.
        (
            {(1.0, False): (0.77, 0.31), (1.0, True): (0.8, 0.5)},
            [(1.0, False), (1.0, True)],
            (1.0, True),
        ),
        ({(1.0, False): (0.78, 0.31), (1.0, True): (0.8, 0.5)}, [(1.0, False)], (1.0, False)),
        ({(1.0, True): (0.5, 0.3)}, [(1.0, False), (1.0, True)], (1.0, True)),
    ],
)
def test_the_scales_that_are_tried(pages, tried, best, monkeypatch) -> None:
    search = Search(monkeypatch, pages)
    assert search.best() == best
    assert search.tried == tried


def test_no_scale_shows_anything(monkeypatch) -> None:
    search = Search(monkeypatch, {})
    monkeypatch.setattr(finding, "scales", lambda _: [1.0])
    with pytest.raises(DataError, match="there is no writing in it"):
        search.best()


@pytest.mark.parametrize(
    ("first", "again", "degrees"),
    [(0, 0, 10.0), (1, 0, 100.0), (2, 0, 190.0), (1, 2, 10.0), (3, None, 10.0)],
)
def test_a_page_is_turned_by_quarters(first, again, degrees, monkeypatch) -> None:
    """If it is upright then; else it stays as it is."""

    def turned(quarters: int) -> np.ndarray:
        return np.eye(5)[[quarters] * 3]

    characters = [character(left) for left in (0, 30, 60)]
    page = Page(PICTURE, characters, 10.0, 1.5, 0.9, thin=True)
    one = _Found(page, read(0.9, 0.9, 0.9), turned(first))
    monkeypatch.setattr(finding, "page_turns", lambda _, shares, given: shares.sum(axis=0)[:4])

    def look(picture, scale, way, *, thin) -> Page | None:
        assert (scale, thin) == (1.5, True)
        return None if again is None else replace(page, degrees=way)

    monkeypatch.setattr(finding, "look", look)
    monkeypatch.setattr(
        finding, "_look_at", lambda page, _: _Found(page, read(0.5, 0.5, 0.5), turned(again))
    )
    assert finding._upright(PICTURE, one, jd.load("digits")).page.degrees == degrees


def test_a_page_is_turned_until_it_is_upright(monkeypatch) -> None:
    """The way up that the picture has counts as such, however the page is looked at."""
    page = Page(PICTURE, [character(0)], 92.0, 1.5, 0.9)
    ways, given = [], []

    def page_turns(_, shares, beforehand) -> np.ndarray:
        given.append(beforehand)
        return shares[0, :4]

    def look(picture, scale, way, *, thin) -> Page:
        ways.append(way)
        return replace(page, degrees=way)

    def look_at(page, _) -> _Found:
        return _Found(page, read(0.9), np.eye(5)[[{2.0: 3, 272.0: 0}[page.degrees]]])

    monkeypatch.setattr(finding, "page_turns", page_turns)
    monkeypatch.setattr(finding, "look", look)
    monkeypatch.setattr(finding, "_look_at", look_at)
    first = _Found(page, read(0.9), np.eye(5)[[3]])
    assert finding._upright(PICTURE, first, jd.load("digits")).page.degrees == 272.0
    assert ways == [2.0, 272.0]
    assert given == [3, 0, 1]  # of 90 + 270, 0, and 270 + 90 degrees


@pytest.mark.parametrize(
    ("upright", "sideways", "way", "degrees"),
    [
        ((0.9, 0.71), (0.9, 0.99), 90.0, 0.0),  # it reads well
        ((0.9, 0.69), (0.9, 0.99), 90.0, 90.0),
        ((0.9, 0.69), (0.9, 0.99), -1.0, 0.0),  # it is upright from there, too
        ((0.9, 0.69), (0.9, 0.99), 45.0, 0.0),
        ((0.9, 0.69), (0.9, 0.92), 90.0, 0.0),  # it reads no better from there
        ((0.9, 0.69), (0.84, 0.99), 90.0, 0.0),
        ((0.99, 0.69), (0.86, 0.99), 90.0, 0.0),
        (None, (0.9, 0.99), 90.0, 90.0),
        (None, (0.9, 0.99), -1.0, None),
        ((0.9, 0.1), None, 90.0, 0.0),
    ],
)
def test_what_reads_badly_may_lie_on_its_side(upright, sideways, way, degrees, monkeypatch) -> None:
    """Clarity and confidence of the best scale each way, and which way up it is in the second."""

    def best_of_scales(picture, run, quarters=0) -> _Found | None:
        seen = sideways if quarters else upright
        if seen is None:
            return None
        page = Page(PICTURE, [character(0)], way * quarters, 1.0, seen[0])
        return _Found(page, read(seen[1]), none(0.0))

    monkeypatch.setattr(finding, "_best_of_scales", best_of_scales)
    if degrees is None:
        with pytest.raises(DataError, match="no writing"):
            finding._best(PICTURE, jd.load("digits"))
    else:
        assert finding._best(PICTURE, jd.load("digits")).page.degrees == degrees


@pytest.mark.parametrize(("parts", "drawing"), [(1, True), (3, True), (4, False)])
def test_a_column_of_characters_is_no_drawing(parts, drawing) -> None:
    """Whose strokes lie one above the other, and are as clear as a single character."""
    ink = np.zeros((100, 20), np.uint8)
    for part in range(parts):
        ink[20 * part : 20 * part + 10] = 255
    page = Page(PICTURE, [Character(0, 0, 100, 20, 0, False, ink)], 0.0, 1.0, 1.0)
    assert finding._is_drawing(_Found(page, read(0.99), none(0.0))) == drawing
    assert not finding._is_drawing(_Found(page, read(0.9), none(0.0)))


@pytest.mark.parametrize(("gray", "drawing"), [(127, True), (128, False)])
def test_parts_of_a_drawing_are_at_least_half_black(gray, drawing) -> None:
    """What is fainter does not count."""
    ink = np.zeros((100, 20), np.uint8)
    ink[:15], ink[20:35], ink[40:55], ink[60:75] = 255, 255, 255, gray
    page = Page(PICTURE, [Character(0, 0, 100, 20, 0, False, ink)], 0.0, 1.0, 1.0)
    assert finding._is_drawing(_Found(page, read(0.99), none(0.0))) == drawing


def test_a_page_is_looked_at_three_times_at_most(monkeypatch) -> None:
    """One that is never upright stays as it was seen first."""
    page = Page(PICTURE, [character(0)], 0.0, 1.5, 0.9)
    ways = []

    def look(picture, scale, way, *, thin) -> Page:
        ways.append(way)
        return replace(page, degrees=way)

    monkeypatch.setattr(finding, "page_turns", lambda _, shares, given: shares[0, :4])
    monkeypatch.setattr(finding, "look", look)
    monkeypatch.setattr(
        finding, "_look_at", lambda page, _: _Found(page, read(0.9), np.eye(5)[[1]])
    )
    first = _Found(page, read(0.9), np.eye(5)[[1]])
    assert finding._upright(PICTURE, first, jd.load("digits")) is first
    assert ways == [90.0, 180.0, 270.0]


def piece(box: tuple[int, int, int, int], probability: float) -> Piece:
    top, left, bottom, right = box
    character = Character(top, left, bottom, right, 0, False, np.zeros((4, 4), np.uint8))
    rest = np.full(9, (1 - probability) / 9, np.float32)
    probabilities = np.array([probability, *rest], np.float32)
    return Piece(character, np.zeros((28, 28), np.uint8), probabilities, probability, 1.0)


@pytest.mark.parametrize(
    ("boxes", "written", "outline"),
    [
        ([(0, 0, 60, 200)], [((20, 20, 40, 40), 0.81)], True),
        ([(0, 0, 60, 200)], [((20, 20, 40, 40), 0.79)], False),
        ([(0, 0, 60, 200)], [((0, 0, 60, 99), 0.9)], True),
        ([(0, 0, 60, 200)], [((0, 0, 60, 100), 0.9)], False),  # the drawing itself
        ([(0, 0, 60, 200)], [((0, 0, 60, 60), 0.9), ((0, 60, 60, 101), 0.9)], False),
        ([(0, 0, 60, 90), (0, 100, 60, 200)], [((20, 20, 40, 40), 0.9)], False),
    ],
)
def test_the_outline_of_a_sheet_is_no_character(boxes, written, outline) -> None:
    ink = np.zeros((60, 200), np.uint8)
    characters = [
        Character(top, left, bottom, right, 0, False, ink) for top, left, bottom, right in boxes
    ]
    plain = found(characters, [0.95] * len(boxes))
    assert _is_outline(plain, [piece(*one) for one in written]) == outline


def boxed(*boxes: tuple[int, int, int, int], clear: float) -> _Found:
    """What strokes show: characters in boxes, each as clear."""
    ink = np.zeros((20, 20), np.uint8)
    return found([Character(*box, 0, False, ink) for box in boxes], [clear] * len(boxes))


SHEET = [((20, 20, 40, 40), 0.9)]
DRAWN = [((0, 0, 60, 200), 0.9)]
LEFT, RIGHT = (0, 0, 60, 20), (0, 40, 60, 60)


@pytest.mark.parametrize(
    ("plain", "network", "settled", "by_strokes"),
    [
        # A clear drawing of less than two fifths of the picture: the network is not asked.
        (boxed((0, 0, 60, 79), clear=0.94), 0.9, SHEET, True),
        (boxed((0, 0, 60, 80), clear=0.94), 0.9, SHEET, False),  # the outline of a sheet
        (boxed((0, 0, 60, 80), clear=0.94), 0.9, DRAWN, True),  # no outline
        (boxed((0, 0, 60, 80), clear=0.94), None, [], True),  # nothing to be found
        (boxed((0, 0, 60, 79), clear=0.92), 0.9, SHEET, False),
        (None, 0.9, DRAWN, False),
        # One character.
        (boxed((0, 0, 60, 79), clear=0.92), 0.81, DRAWN, False),
        (boxed((0, 0, 60, 79), clear=0.92), 0.79, DRAWN, True),
        (boxed((0, 0, 60, 79), clear=0.78), 0.79, DRAWN, False),
        # Several, as clear as the page network or the line network says.
        (boxed(LEFT, RIGHT, clear=0.92), 0.1, [(LEFT, 0.51), (RIGHT, 0.51)], False),
        (boxed(LEFT, RIGHT, clear=0.92), 0.1, [(LEFT, 0.49), (RIGHT, 0.49)], True),
        (boxed(LEFT, RIGHT, clear=0.92), 0.51, [(LEFT, 0.3), (RIGHT, 0.3)], False),
        # One in the eyes of either.
        (boxed(LEFT, RIGHT, clear=0.92), 0.6, [(LEFT, 0.9)], True),
        (boxed(LEFT, clear=0.92), 0.6, [(LEFT, 0.9), (RIGHT, 0.9)], True),
    ],
)
def test_strokes_or_the_network(plain, network, settled, by_strokes, monkeypatch) -> None:
    """Of a picture of 60x200 pixels: how clear what the network finds is, and what that says."""
    best = None if network is None else found([character(0)], [network])
    pieces_of = [piece(*one) for one in settled]

    def find_characters(_) -> list[Character]:
        if plain is None:
            raise DataError("no strokes")
        return plain.page.characters

    def find_best(*_) -> _Found:
        if best is None:
            raise DataError("nothing")
        return best

    monkeypatch.setattr(finding, "find_characters", find_characters)
    monkeypatch.setattr(finding, "_look_at", lambda *_: plain)
    monkeypatch.setattr(finding, "_best", find_best)
    monkeypatch.setattr(finding, "_settled", lambda one, _: [] if one.by_strokes else pieces_of)
    assert finding.find_pieces(PICTURE, jd.load("digits"), "auto") == (
        [] if by_strokes else pieces_of,
        0.0,
        by_strokes,
    )


def test_what_strokes_say(monkeypatch) -> None:
    """Each is as clear as the network is sure of it; the page stays as it is."""
    picture = PICTURE.copy()
    picture[10:50, 20:26] = picture[10:50, 60:66] = 30
    shares = np.full((2, 10), 0.05, np.float32)
    shares[0, 3], shares[1, 7] = 0.55, 0.65
    monkeypatch.setattr(
        finding, "_classify", lambda inks, _: (np.zeros((len(inks), 28, 28), np.uint8), shares)
    )
    run = jd.load("digits")
    settled, degrees, by_strokes = finding.find_pieces(picture, run, "strokes")
    assert [one.character.left for one in settled] == [20, 60]
    assert [one.each for one in settled] == pytest.approx([0.55, 0.65])
    assert (degrees, by_strokes) == (0.0, True)
    one, _ = finding._find(picture, run, "strokes")
    assert one.read.each.tolist() == pytest.approx([0.55, 0.65])
    assert (one.page.scale, one.page.clarity) == (1.0, 1.0)
    assert one.page.picture is picture


def test_strokes_are_as_clear_as_the_network_is_sure() -> None:
    """Once they are taken, whatever else they might be."""
    one = found([character(0), character(30)], [0.99, 0.5])._replace(by_strokes=True)
    assert [piece.each for piece in finding._settled(one, jd.load("digits"))] == pytest.approx(
        [0.1, 0.1]
    )


def test_images_are_like_those_that_a_network_was_trained_on() -> None:
    """In form, shape, ground, and extent."""
    like = {"form": "plain", "image_shape": (20, 30), "light_ground": True, "extent": 0.5}
    run = replace(jd.load("digits"), **like)
    image = finding.to_image(np.full((40, 10), 200, np.uint8), run)
    assert image.shape == (20, 30)
    assert np.flatnonzero((image < 128).any(axis=1)).tolist() == list(range(5, 15))


@pytest.mark.parametrize(
    ("network", "kinds"),
    [("digits", {"digit"}), ("letters", {"letter"}), ("characters", {"digit", "letter"})],
)
def test_what_the_networks_are_asked(network, kinds, monkeypatch) -> None:
    """The ink of characters; the classes say which kinds there may be."""
    characters, asked = [character(0), character(30)], []
    run, said = jd.load(network), read(0.9, 0.9)
    said.probabilities[1, 4] = 0.6
    turned = none(0.25, 0.5)

    def classify(inks, _) -> tuple[np.ndarray, np.ndarray]:
        asked.append(inks)
        return said.images, said.probabilities

    def turns(inks, kinds) -> np.ndarray:
        asked.append((inks, set(kinds)))
        return turned

    monkeypatch.setattr(finding, "_classify", classify)
    monkeypatch.setattr(finding, "turns", turns)
    answer, turned_so = finding._ask(characters, run)
    inks = [one.ink for one in characters]
    assert asked == [inks, (inks, kinds)]
    np.testing.assert_allclose(answer.each, [0.1 * 0.75, 0.6 * 0.5], rtol=1e-6)
    assert turned_so is turned
    # Lines are settled with the same reader.
    readers = []
    monkeypatch.setattr(finding, "part", lambda *given: readers.append(given[-1]) or [])
    finding._settled(found(characters, [0.5, 0.5]), run)
    np.testing.assert_array_equal(readers[0](characters).each, answer.each)


@pytest.mark.parametrize("table", [60, 120])
@pytest.mark.parametrize("degrees", [-20, 0, 12])
def test_a_sheet_on_a_table(table, degrees) -> None:
    """Its outline is as clear a 0 as any."""
    sheet = np.full((300, 520, 3), 245, np.uint8)
    for number, digit in enumerate("3526"):
        ink = canvas(digit, 3, side=110, pen=8, share=0.7)
        sheet[90:200, 50 + 105 * number : 160 + 105 * number] = ink[..., None]
    color = (table, table - 10, table - 20)
    page = Image.new("RGB", (700, 560), color)
    page.paste(Image.fromarray(sheet), (90, 130))
    page = page.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=color)
    assert jd.handwriting.read(np.asarray(page), jd.load("digits")).text.replace(" ", "") == "3526"
