"""Which way up a page is."""

import inspect

import numpy as np
import pytest
from drawn import canvas

from jaxdigits.handwriting import turns
from jaxdigits.handwriting.segmentation import Character
from jaxdigits.transforms import to_mnist


def character(top: int, left: int, ink: np.ndarray | None = None, sign: str = "") -> Character:
    ink = np.zeros((30, 20), np.uint8) if ink is None else ink
    return Character(top, left, top + 30, left + 20, 0, False, ink, sign)


def test_drawn_digits_are_seen_in_all_turns() -> None:
    """Of those that are no others when they are turned, nearly all."""
    digits = {name: 255 - canvas(name, 0, pen=8) for name in "23457"}
    right = [
        turns.turns([np.rot90(ink, quarters)], ["digit"]).argmax() == quarters
        for ink in digits.values()
        for quarters in range(4)
    ]
    assert np.mean(right) >= 0.9
    sums = turns.turns(list(digits.values())).sum(axis=1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_kinds_make_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 6 may be a 9 upside down, or a b."""
    row = np.zeros((32, len(turns.NAMES)), np.float32)
    row[:, turns.NAMES.index("digit turned by 180")] = 0.3
    row[:, turns.NAMES.index("letter turned by 0")] = 0.6
    row[:, -1] = 0.1
    monkeypatch.setattr(turns, "_probabilities", lambda *_: row)
    ink = [np.eye(20, dtype=np.uint8) * 255]
    np.testing.assert_allclose(turns.turns(ink, ["digit"]), [[0, 0, 0.75, 0, 0.25]], atol=1e-6)
    np.testing.assert_allclose(turns.turns(ink), [[0.6, 0, 0.3, 0, 0.1]], atol=1e-6)


@pytest.mark.parametrize(("rows", "columns", "quarters"), [(1, 6, {0, 2}), (6, 1, {1, 3})])
def test_lines_are_level(rows, columns, quarters, monkeypatch) -> None:
    """Where characters say nothing, one line of six is more probable than six of one."""
    found = [character(50 * row, 40 * column) for row in range(rows) for column in range(columns)]
    shares = np.full((len(found), 5), 0.2)
    monkeypatch.setattr(turns, "_GIVEN", 0.0)
    assert int(turns.page_turns(found, shares).argmax()) in quarters


def test_signs_say_nothing() -> None:
    """Nor does an empty page, or a single character; it stays as it was given."""
    sure = np.eye(5)[[2]]
    assert turns.page_turns([character(0, 0, sign="-")], sure).argmax() == 0
    assert turns.page_turns([], sure[:0]).argmax() == 0
    np.testing.assert_array_equal(turns.page_turns([character(0, 0)], sure, 1), [0, 4, 0, 0])
    assert turns.page_turns([character(0, 0)] * 3, np.repeat(sure, 3, axis=0)).argmax() == 2


def test_each_character_says_how_probable_each_turn_is() -> None:
    """What is no character says the same of all; none is believed beyond 97%."""
    shares = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [0.9, 0.0, 0.1, 0.0, 0.0]])
    characters = [character(0, 0), character(0, 40)]
    by_turn = shares[:, :4] + shares[:, 4:] / 4
    expected = np.log(0.97 * by_turn + 0.03 / 4).sum(axis=0)
    expected += [4.0, 0, 0, 0]  # most pages are upright
    expected -= 0.7 * np.array([1, 2, 1, 2])  # lines
    np.testing.assert_allclose(turns.page_turns(characters, shares), expected)


def test_what_the_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its classes are kinds in turns, and none; what it says is of each image in turn."""
    inks = [np.eye(20 + 5 * number, dtype=np.uint8) * 200 for number in range(3)]
    said = np.random.default_rng(0).random((32, len(turns.NAMES)), np.float32)
    seen = []

    def probabilities(_, images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return said

    monkeypatch.setattr(turns, "_probabilities", probabilities)
    for kinds in (("letter",), ("digit",), ("digit", "letter")):
        found = turns.turns(inks, kinds)
        for row, shares in enumerate(found):
            names = [[f"{kind} turned by {turn}" for kind in kinds] for turn in (0, 90, 180, 270)]
            each = [sum(said[row, turns.NAMES.index(name)] for name in same) for same in names]
            expected = np.array([*each, said[row, turns.NAMES.index("none")]])
            np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-5)
    images = np.stack([to_mnist(ink) for ink in inks])
    np.testing.assert_array_equal(seen[0], np.pad(images, ((0, 29), (0, 0), (0, 0))))


def test_the_network_sees_pixels_of_0_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it says becomes probabilities."""
    first = lambda params, images: params * images[:, 0, :9]  # noqa: E731
    monkeypatch.setattr(turns, "NETWORK", turns.NETWORK._replace(apply=first))
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)
    found = inspect.unwrap(turns._probabilities)(3.0, images)
    expected = np.exp(images[:, 0, :9] * (3 / 255))
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(("gap", "lines"), [(15, 1), (16, 2)])
def test_lines_are_half_a_size_apart(gap, lines) -> None:
    """The size is the longer side, as of half of the characters: here 30 pixels."""
    places = [(50, 20, 30, 20), (50 + gap, 120, 30, 20), (50, 220, 20, 30)]
    places += [(50 + gap, 320, 10, 10), (50, 120, 20, 100)]  # middles, height, width
    found = [
        Character(
            *(row - height // 2, column - width // 2, row + height // 2, column + width // 2),
            *(0, False, np.zeros((4, 4), np.uint8)),
        )
        for row, column, height, width in places
    ]
    each = 5 * np.log(0.97 / 4 + 0.03 / 4)
    by_rows, by_columns = each - 0.7 * lines, each - 0.7 * 4
    np.testing.assert_allclose(
        turns.page_turns(found, np.full((5, 5), 0.2), given=2),
        [by_rows, by_columns, by_rows + 4, by_columns],
    )
