"""Two networks settle what a line says."""

from collections.abc import Sequence

import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.handwriting import finding, parting
from jaxdigits.handwriting.line_network import BLANK, SYMBOLS
from jaxdigits.handwriting.lines import Line
from jaxdigits.handwriting.page import Page
from jaxdigits.handwriting.parting import Read, is_alone, part
from jaxdigits.handwriting.segmentation import Character

NAMES = ["1", "4", "7"]


def character(left: int, right: int, ink: np.ndarray | None = None, **more) -> Character:
    if ink is None:
        ink = np.pad(np.full((34, right - left), 255, np.uint8), 4)
    return Character(
        10, left, 44, right, more.pop("line", 0), more.pop("space", False), ink, **more
    )


def two_in_one() -> Page:
    """Two bars and a bridge, taken for one character, after another one."""
    ink = np.zeros((34 + 8, 50 + 8), np.uint8)
    ink[4:-4, 4:12] = ink[4:-4, 46:54] = ink[20:23, 4:54] = 255
    found = [character(0, 8), character(30, 80, ink, space=True)]
    return Page(np.full((60, 120, 3), 255, np.uint8), found, 0.0, 1.0, 1.0)


def line(*tokens: tuple[str, int, float]) -> Line:
    """A line of one place a column that reads symbols at columns, this surely; else 7."""
    shares = np.full((120, len(SYMBOLS)), 1e-9)
    shares[:, BLANK] = 1
    for name, place, sure in tokens:
        shares[place] = 1e-9
        shares[place, BLANK] = (1 - sure) / 2
        shares[place, SYMBOLS.index("7")] = (1 - sure) / 2
        shares[place, SYMBOLS.index(name)] += sure
    return Line(shares, left=0.0, step=1.0)


def says(*rows: tuple[str, float]) -> Read:
    """A reader's word on characters: which, and how surely."""
    probabilities = np.array(
        [[sure if name == said else (1 - sure) / 2 for name in NAMES] for said, sure in rows]
    ).reshape(-1, len(NAMES))
    images = np.zeros((len(rows), 28, 28), np.uint8)
    return Read(images, probabilities.astype(np.float32), probabilities.max(axis=1))


def settle(page: Page, read: Line, found: Read, again: Read, monkeypatch) -> list[parting.Piece]:
    monkeypatch.setattr(parting, "read_line", lambda *_: read)

    def reader(characters: Sequence[Character]) -> Read:
        assert len(characters) == len(again.each)
        return again

    return part(page, NAMES, found, reader)


def test_characters_are_cut_where_more_are_read(monkeypatch) -> None:
    """Between their places, where there is least ink; spaces and other characters stay."""
    page = two_in_one()
    read = line(("1", 4, 0.99), ("1", 34, 0.99), ("4", 72, 0.99))
    found, again = says(("1", 0.9), ("4", 0.6)), says(("1", 0.9), ("4", 0.9))
    first, second, third = settle(page, read, found, again, monkeypatch)
    assert first.character is page.characters[0]
    box, last = second.character, third.character
    assert (box.top, box.left, box.bottom) == (10, 30, 44)
    assert 38 <= box.right <= last.left + 1 <= 72
    assert last.right == 80
    assert (box.after_space, last.after_space) == (True, False)
    names = [NAMES[int(piece.probabilities.argmax())] for piece in (first, second, third)]
    assert names == ["1", "1", "4"]
    assert third.agreed == pytest.approx(0.99 * 0.99 / 0.995, abs=1e-4)  # of what is no blank


@pytest.mark.parametrize(
    "read",
    [
        line(("1", 4, 0.99), ("4", 50, 0.99)),  # as many
        line(("1", 4, 0.99)),  # nothing there
        line(("1", 4, 0.99), ("1", 34, 0.5), ("4", 72, 0.5)),  # not sure of the first
        line(("1", 4, 0.99), ("1", 12, 0.5), ("4", 55, 0.99)),  # not sure, and one has no room
    ],
)
def test_characters_stay_as_they_are(read, monkeypatch) -> None:
    """Where nothing else is read with confidence."""
    page = two_in_one()
    found, again = says(("1", 0.9), ("4", 0.9)), says(("7", 0.4), ("7", 0.4))
    pieces = settle(page, read, found, again, monkeypatch)
    assert [piece.character for piece in pieces] == page.characters


def test_both_networks_vote(monkeypatch) -> None:
    """By about the mean of what they say, and no surer than the line network is of all it says."""
    page = Page(np.full((60, 120, 3), 255, np.uint8), [character(40, 60)], 0.0, 1.0, 1.0)
    (piece,) = settle(page, line(("4", 50, 0.8)), says(("7", 0.6)), says(), monkeypatch)
    by_line = np.array([0, 0.8 / 0.9, 0.1 / 0.9])
    expected = 0.45 * np.array([0.2, 0.2, 0.6]) + 0.55 * by_line
    np.testing.assert_allclose(piece.probabilities, 0.8 * expected + 0.2 / 3, atol=1e-5)


def test_what_the_line_network_does_not_see_is_doubted(monkeypatch) -> None:
    """It stays as it is, but no threshold lets it through."""
    page = Page(np.full((60, 120, 3), 255, np.uint8), [character(40, 60)], 0.0, 1.0, 1.0)
    found = says(("7", 0.99))
    (piece,) = settle(page, line(), found, says(), monkeypatch)
    assert piece.probabilities.argmax() == found.probabilities[0].argmax()
    assert 1 / 3 < piece.probabilities.max() < 0.5
    np.testing.assert_allclose(piece.probabilities.sum(), 1, atol=1e-6)


def test_a_sign_is_a_character_where_the_line_says_so(monkeypatch) -> None:
    """And stays one where both networks take it for one."""
    page = Page(
        np.full((60, 120, 3), 255, np.uint8),
        [character(40, 60, sign="/", certainty=0.8)],
        *(0.0, 1.0, 1.0),
    )
    found = says(("1", 0.98))
    (piece,) = settle(page, line(("1", 50, 0.99)), found, says(), monkeypatch)
    assert (piece.character.sign, piece.probabilities.argmax()) == ("", 0)
    (piece,) = settle(page, line(("/", 50, 0.9)), found, says(), monkeypatch)
    assert piece.character.sign == "/"


def test_other_alphabets_are_left_alone() -> None:
    """The line network does not know them."""
    page = two_in_one()
    pieces = part(page, ["cat", "dog"], says(("1", 0.9), ("4", 0.9)), lambda _: says())
    assert [piece.character for piece in pieces] == page.characters


def test_what_is_alone() -> None:
    """What touches no other one of its line, and is no wider than a character."""
    found = [character(0, 20), character(19, 40), character(60, 80), character(0, 80, line=1)]
    page = Page(np.full((60, 120, 3), 255, np.uint8), found, 0.0, 1.0, 1.0)
    assert [is_alone(one, page) for one in found] == [False, False, True, False]


@pytest.mark.parametrize(
    ("by_network", "strokes", "wins"),
    [
        ((0.95, 0.95), 0.9, "network"),  # the line network has settled what touches
        ((0.3, 0.3), 0.9, "strokes"),
        ((0.3, 0.3), 0.2, "network"),
        ((0.95,), 0.9, "strokes"),  # of one character the line network knows no more
    ],
)
def test_what_is_settled_competes_with_strokes(by_network, strokes, wins, monkeypatch) -> None:
    """Where the page network's own characters were unclear."""
    picture = np.full((60, 120, 3), 255, np.uint8)
    bars = [character(0, 8), character(40, 48)]
    count = len(by_network)
    unclear = says(*[("7", 0.5)] * count)._replace(each=np.full(count, 0.1))
    found = finding._Found(Page(picture, bars[:count], 0.0, 0.5, 0.9), unclear, np.zeros((2, 5)))
    clear = says(*[("1", 0.9)] * 2)._replace(each=np.full(2, strokes))
    plain = finding._Found(Page(picture, bars, 0.0, 1.0, 1.0), clear, np.zeros((2, 5)))
    settled = parting.pieces(bars[:count], says(*[("7", sure) for sure in by_network]))
    monkeypatch.setattr(finding, "find_characters", lambda _: bars)
    monkeypatch.setattr(finding, "_look_at", lambda *_: plain)
    monkeypatch.setattr(finding, "_best", lambda *_: found)
    monkeypatch.setattr(finding, "_settled", lambda one, _: [] if one.by_strokes else settled)
    taken, pieces = finding._find(picture, jd.load("digits"), "auto")
    assert taken.by_strokes == (wins == "strokes")
    assert pieces == ([] if wins == "strokes" else settled)
