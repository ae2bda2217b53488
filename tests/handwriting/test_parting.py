"""Two networks settle what a line says."""

from collections.abc import Sequence
from dataclasses import replace

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
    assert piece.agreed == 0
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


def page_of(*found: Character, scale: float = 1.0) -> Page:
    return Page(np.full((60, 120, 3), 255, np.uint8), list(found), 0.0, scale, 1.0)


def groups_of(page: Page, read: Line, monkeypatch) -> list[parting._Group]:
    monkeypatch.setattr(parting, "read_line", lambda *_: read)
    return list(parting._groups_of(page, NAMES))


@pytest.mark.parametrize(
    ("places", "edges", "names"),
    [
        ([(20, 40), (60, 80)], [(3, 50), (50, 97)], ["14", "1"]),  # 17 beyond, or half of the way
        ([(20, 40), (47, 60)], [(3, 43.5), (43.5, 77)], ["1", "41"]),
        ([(20, 30), (70, 80), (100, 110)], [(3, 47), (53, 90), (90, 127)], ["14", "1", "4"]),
    ],
)
def test_where_the_line_network_looks_for_a_group(places, edges, names, monkeypatch) -> None:
    """What lies between two groups belongs to the nearer one."""
    page = page_of(*(character(*place) for place in places))
    read = line(("1", 25, 0.9), ("4", 43, 0.9), ("1", 72, 0.9), ("4", 105, 0.9))
    groups = groups_of(page, read, monkeypatch)
    assert [(group.left, group.right) for group in groups] == edges
    assert ["".join(group.names) for group in groups] == names


@pytest.mark.parametrize(("gap", "count"), [(2, 1), (3, 2), (-5, 1)])
def test_how_near_characters_touch(gap, count, monkeypatch) -> None:
    """Up to 6% of their size, here 2 pixels; the one that reaches furthest counts."""
    page = page_of(character(0, 40), character(10, 20), character(40 + gap, 60))
    assert len(groups_of(page, line(), monkeypatch)) == count
    assert is_alone(page.characters[2], page) == (count == 2)


@pytest.mark.parametrize(("gap", "count"), [(3, 1), (4, 2)])
def test_how_near_large_characters_touch(gap, count) -> None:
    """Of 50 pixels."""
    ink = np.zeros((4, 4), np.uint8)
    places = [(0, 30), (30 + gap, 60)]
    found = [Character(0, left, 50, right, 0, False, ink) for left, right in places]
    assert len(list(parting._groups(found, parting._size(found)))) == count


@pytest.mark.parametrize(
    ("width", "sign", "alone"), [(39, "", True), (40, "", False), (60, "-", True)]
)
def test_a_wide_character_may_be_two(width, sign, alone) -> None:
    """From 1.15 times the size of characters; signs may have any width."""
    one = character(50, 50 + width, sign=sign)
    page = page_of(character(0, 20), character(22, 40), one)
    assert is_alone(one, page) == alone
    assert parting._alone([character(0, 23)], 20.0)
    assert not parting._alone([character(0, 24)], 20.0)


def test_signs_do_not_tell_the_size_of_characters() -> None:
    dots = [character(10 * n, 10 * n + 99, sign="-") for n in range(3)]
    assert parting._size([*dots, character(0, 20)]) == 34
    assert parting._size(dots) == 99


def test_lines_are_settled_from_the_first_to_the_last(monkeypatch) -> None:
    """Each character keeps what was said of it."""
    numbers = [9, 12, 3, 8]
    page = page_of(*(character(30 * n, 30 * n + 9, line=n) for n in sorted(numbers)))
    assert [c.line for (c,) in parting._lines(page.characters[::-1])] == sorted(numbers)
    found = says(("1", 0.9), ("4", 0.8), ("7", 0.7), ("1", 0.6))
    found.images[:, 0, 0] = np.arange(4)
    settled = settle(page, line(), found, says(), monkeypatch)
    assert [int(piece.image[0, 0]) for piece in settled] == [0, 1, 2, 3]
    assert [piece.character for piece in settled] == page.characters


def test_the_score_of_a_text(monkeypatch) -> None:
    """How probable the line network finds it, and half of the reader's doubts, up to 95%."""
    (group,) = groups_of(page_of(character(40, 60)), line(("4", 50, 0.8)), monkeypatch)
    found = parting.pieces(group.characters * 2, says(("4", 0.6), ("1", 0.5)))
    found = [piece._replace(each=each) for piece, each in zip(found, (0.5, 0.01), strict=True)]
    symbols = [SYMBOLS.index(name) for name in "41"]
    likely = group.line.likelihood(symbols, group.left, group.right)
    expected = 0.5 * (np.log(0.5) + np.log(0.05)) + likely
    assert parting._score(found, group, NAMES) == pytest.approx(expected)
    sure = np.exp(likely / 2)
    for piece, doubted in zip(found, parting._doubted(found, group, NAMES), strict=True):
        spread = sure * piece.probabilities + (1 - sure) / 3
        np.testing.assert_allclose(doubted.probabilities, spread, rtol=1e-5)
    assert list(parting._doubted([], group, NAMES)) == []


def test_signs_are_doubted_too(monkeypatch) -> None:
    """Where the line network reads them less surely than the page network found them."""
    one = character(40, 60, sign="/", certainty=0.8)
    (group,) = groups_of(page_of(one), line(("/", 50, 0.9)), monkeypatch)
    found = parting.pieces([one], says(("1", 0.5)))
    likely = group.line.likelihood([SYMBOLS.index("/")], group.left, group.right)
    (doubted,) = parting._doubted(found, group, NAMES)
    assert doubted.character.certainty == pytest.approx(0.8 * np.exp(likely))
    assert (doubted.character.sign, doubted.character.left) == ("/", 40)


@pytest.mark.parametrize(
    ("theirs", "mine", "more"), [("-1/", "1-1", 1), ("11", "--", 0), ("-", "-", 0), ("--", "1", 2)]
)
def test_how_many_more_signs_there_are(theirs, mine, more) -> None:
    def found(names: str) -> list[parting.Piece]:
        signs = [name if name in "-/" else "" for name in names]
        return parting.pieces(
            [character(0, 9, sign=sign) for sign in signs], says(*[("1", 0.9)] * len(names))
        )

    assert parting._more_signs(found(theirs), found(mine)) == more


@pytest.mark.parametrize(
    ("certainty", "line_says", "reader_says", "sign"),
    [
        (0.8, 0.1, 0.39, True),  # 0.08 and 0.2 times that
        (0.8, 0.1, 0.41, False),
        (0.5, 0.5, 0.5, True),  # in doubt it is one
        (1.0, 0.04, 0.75, True),  # it is never surer than 95%
        (1.0, 0.04, 0.77, False),
    ],
)
def test_a_sign_is_one_where_that_is_more_probable(certainty, line_says, reader_says, sign) -> None:
    """By what both networks say of it and of all characters that it may be."""
    one = parting.pieces([character(0, 9, sign="/", certainty=certainty)], says(("1", 1.0)))[0]
    shares = np.zeros(len(SYMBOLS))
    shares[SYMBOLS.index("/")], shares[SYMBOLS.index("1")] = line_says, reader_says
    numbers = [SYMBOLS.index(name) for name in NAMES]
    assert parting._is_sign(one, shares, numbers) == sign


def test_how_the_line_network_votes(monkeypatch) -> None:
    """A sign that it sees too stays; of another one, nothing is known but what it says now."""
    characters = [
        character(0, 20, sign="/", certainty=0.8),
        character(30, 50),
        character(60, 80),
        character(90, 110, sign="-", certainty=0.6),
    ]
    read = line(("/", 10, 0.9), ("4", 40, 0.8), ("1", 70, 0.6), ("1", 100, 0.98))
    shares = [np.array(token.probabilities) for token in read.tokens]
    shares[1] /= 2
    shares[1][SYMBOLS.index("b")] = 0.5  # what may not be read here
    tokens = [
        token._replace(probabilities=share)
        for token, share in zip(read.tokens, shares, strict=True)
    ]
    groups = groups_of(page_of(*characters), read, monkeypatch)
    group = replace(groups[0], characters=characters, tokens=tokens)
    said = says(("1", 0.9), ("7", 0.5), ("1", 0.8), ("1", 0.9))._replace(each=np.full(4, 0.6))
    found = parting.pieces(characters, said)
    slash, four, one, dash = parting._voted(found, group, NAMES, 0.6)
    assert slash == found[0]._replace(agreed=slash.agreed)
    assert slash.agreed == pytest.approx(0.9 * 0.9 / 0.95)
    numbers = [SYMBOLS.index(name) for name in NAMES]
    both = 0.4 * np.array([0.25, 0.25, 0.5]) + 0.6 * shares[1][numbers]
    np.testing.assert_allclose(four.probabilities, both / both.sum(), rtol=1e-5)
    assert four.each == pytest.approx(0.6 * 0.25 / 0.5)  # the reader takes it for a 7
    assert four.agreed == pytest.approx(0.8 * shares[1][SYMBOLS.index("4")])
    assert one.each == pytest.approx(0.6)
    assert (dash.character.sign, dash.each) == ("", 0.6)
    assert parting._voted(found[:3], group, NAMES, 0.6) == found[:3]


@pytest.mark.parametrize(
    ("width", "second", "better", "cut"),
    [
        (39, "4", 6.9, False),  # what touches no other
        (39, "4", 7.1, True),
        (50, "4", 0.0, False),
        (50, "4", 0.1, True),
        (50, "-", 3.9, False),
        (50, "-", 4.1, True),
        (39, "-", 10.9, False),
        (39, "-", 11.1, True),
    ],
)
def test_how_much_better_more_characters_are(width, second, better, cut, monkeypatch) -> None:
    """As logarithms; then both networks say how clear each is."""
    ink = np.zeros((34 + 8, width + 8), np.uint8)
    ink[4:-4, 4:12] = ink[4:-4, width - 4 : width + 4] = ink[20:23, 4:-4] = 255
    others = [character(100, 110, line=1), character(116, 119, line=2)]
    page = page_of(character(30, 30 + width, ink), *others)
    read = line(("1", 34, 0.9), (second, 26 + width, 0.7))
    monkeypatch.setattr(parting, "_score", lambda found, *_: better * (len(found) == 2))
    again = says(("1", 0.8), ("4", 0.6))
    *pieces, _, _ = settle(page, read, says(*[("4", 0.6)] * 3), again, monkeypatch)
    assert len(pieces) == 1 + cut
    if cut:
        first, last = pieces
        assert first.each == pytest.approx((0.8 + 0.9) / 2)
        # Of cuts, three quarters of the word are the line network's.
        both = 0.25 * np.array([0.8, 0.1, 0.1]) + 0.75 * np.array([0.9, 0, 0.05]) / 0.95
        ahead = first.probabilities.max() - first.probabilities
        assert ahead[1] / ahead[2] == pytest.approx((both[0] - both[1]) / (both[0] - both[2]))
        assert last.character.sign == ("-" if second == "-" else "")
        assert last.each == pytest.approx((0.6 + 0.7) / 2)


def test_each_group_gets_its_own_cuts(monkeypatch) -> None:
    """In their order."""
    found = [character(0, 50, two_in_one().characters[1].ink)]
    found.append(replace(found[0], left=60, right=110))
    read = line(*((name, place, 0.9) for name, place in zip("1417", (4, 46, 64, 106), strict=True)))
    monkeypatch.setattr(parting, "_score", lambda found, *_: 10.0 * len(found))
    again = says(("1", 0.6), ("4", 0.7), ("1", 0.8), ("7", 0.9))
    again.images[:, 0, 0] = np.arange(4)
    pieces = settle(page_of(*found), read, says(("4", 0.6), ("4", 0.6)), again, monkeypatch)
    assert [int(piece.image[0, 0]) for piece in pieces] == [0, 1, 2, 3]
    assert [piece.character.left for piece in pieces] == [0, 15, 60, 75]


@pytest.mark.parametrize(
    ("found", "read", "said"),
    [
        ([(40, 60)], [("4", 50)], [("7", 0.99)]),  # one, whatever it is
        ([(0, 20), (20, 40)], [("1", 10), ("4", 30)], [("1", 0.9), ("4", 0.9)]),  # the same
    ],
)
def test_the_reader_is_not_asked_again(found, read, said, monkeypatch) -> None:
    """Where a cut would change nothing."""
    page = page_of(*(character(*place) for place in found))
    tokens = line(*((name, place, 0.5) for name, place in read))

    def reader(_) -> Read:
        raise AssertionError

    monkeypatch.setattr(parting, "read_line", lambda *_: tokens)
    pieces = part(page, NAMES, says(*said), reader)
    assert [piece.character for piece in pieces] == page.characters


@pytest.mark.parametrize(("scale", "rows"), [(0.5, 34), (0.8, 54), (1.0, 68), (2.0, 68)])
def test_cuts_are_twice_as_fine_as_the_network_saw(scale, rows, monkeypatch) -> None:
    """But not as the picture, where it was enlarged; boxes are in its pixels."""
    margin = round(4 / scale)
    ink = np.zeros((34 + 2 * margin, 50 + 2 * margin), np.uint8)
    body = ink[margin:-margin, margin:-margin]
    body[:, :8] = body[10:20, 42:] = body[14:16] = 255
    one = character(30, 80, ink, space=True, line=3)
    page = page_of(one, scale=scale)
    (group,) = groups_of(page, line(("1", 34, 0.9), ("4", 75, 0.7)), monkeypatch)
    first, last = parting._cut(group, page)
    assert first.ink.shape[0] == rows + 8
    assert (first.top, first.left, first.bottom) == (10, 30, 44)
    assert (last.top, last.bottom, last.right) == (20, 30, 80)
    assert first.right == last.left
    assert 44 <= last.left <= 45  # a quarter of the way: it is as thin everywhere between
    assert (first.after_space, last.after_space) == (True, False)
    assert (first.line, last.line) == (3, 3)
    assert (first.certainty, last.certainty) == pytest.approx((0.9, 0.7))
    for part_of in (first, last):
        assert (part_of.ink[:4] == 0).all()
        assert (part_of.ink[4] > 127).any()
        assert (part_of.ink[:, 4] > 127).any()
        assert (part_of.ink[-5] > 127).any()
        assert (part_of.ink[:, -5] > 127).any()


def test_signs_and_what_has_no_ink_in_a_cut(monkeypatch) -> None:
    """A symbol that is not known is a sign, too; what has no ink is left out."""
    ink = np.zeros((34 + 8, 50 + 8), np.uint8)
    ink[4:-4, 4:12] = ink[4:-4, 24:28] = ink[4:-4, 50:54] = 255
    read = line(("?", 34, 0.9), ("7", 42, 0.8), ("-", 52, 0.8), ("1", 78, 0.7))
    (group,) = groups_of(page_of(character(30, 80, ink)), read, monkeypatch)
    parts = parting._cut(group, page_of(character(30, 80, ink)))
    assert [found.sign for found in parts] == ["?", "-", ""]
    assert [(found.left, found.right) for found in parts] == [(30, 38), (50, 54), (76, 80)]
    assert not any(found.after_space for found in parts)
    for found in parts:
        assert (found.ink[:, [4, -5]] > 127).any(axis=0).all()
    monkeypatch.setattr(parting, "_score", lambda found, *_: 100.0 * len(found))
    again = says(("1", 0.5), ("1", 0.6), ("1", 0.7))
    page = page_of(character(30, 80, ink))
    pieces = settle(page, read, says(("4", 0.6)), again, monkeypatch)
    assert [piece.character.left for piece in pieces] == [30, 50, 76]


def test_cut_ink_is_gray_where_it_was(monkeypatch) -> None:
    """Half of a level is rounded; what is darker than half of all counts for the box."""
    ink = np.pad(np.full((34, 20), 255, np.uint8), 4)
    ink[4:8, 4:-4], ink[8:10, 4:-4] = 127, 128
    one = character(30, 50, ink)
    (group,) = groups_of(page_of(one), line(("1", 40, 0.9)), monkeypatch)
    (found,) = parting._cut(group, page_of(one))
    assert found.top == 14
    assert found.ink.shape == (68 - 8 + 8, 40 + 8)
    assert set(found.ink[4:8, 4:-4].ravel().tolist()) == {128}


def test_cut_ink_keeps_its_levels(monkeypatch, rng) -> None:
    """All of them, where the picture is as fine."""
    body = rng.integers(128, 256, (34, 20), np.uint8)
    page = page_of(character(30, 50, np.pad(body, 8)), scale=0.5)
    (group,) = groups_of(page, line(("1", 40, 0.9)), monkeypatch)
    (found,) = parting._cut(group, page)
    np.testing.assert_array_equal(found.ink, np.pad(body, 4))


@pytest.mark.parametrize(
    ("first", "second", "least", "column"),
    [
        (10.0, 30.0, 15, 15),  # the middle half
        (10.0, 30.0, 14, 16),
        (10.0, 30.0, 25, 25),
        (10.0, 30.0, 26, 16),
        (0.0, 0.0, 0, 1),  # within the canvas
        (60.0, 70.0, 38, 39),
    ],
)
def test_the_thinnest_column(first, second, least, column) -> None:
    canvas = np.ones((10, 40), np.float32)
    canvas[5:, 16] = 0
    canvas[2:, least] = 0
    assert parting._thinnest(canvas, first, second) == column
