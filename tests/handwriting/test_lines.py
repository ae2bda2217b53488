"""Lines read without cuts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.handwriting import line_network, lines
from jaxdigits.handwriting.glyphs import SIGNS
from jaxdigits.handwriting.line_network import BLANK, HEIGHT, STEP, SYMBOLS, TALL
from jaxdigits.handwriting.lines import Line, paste, read_line
from jaxdigits.handwriting.page import Page
from jaxdigits.handwriting.scene_layout import USUAL
from jaxdigits.handwriting.segmentation import Character


def number(name: str) -> int:
    return SYMBOLS.index(name)


def test_what_is_moved_is_read_elsewhere() -> None:
    """By as many places, away from the ends."""
    params = line_network.init(jax.random.key(0))
    ink = jax.random.uniform(jax.random.key(1), (1, HEIGHT, 192))
    first = line_network.apply(params, ink)
    second = line_network.apply(params, jnp.roll(ink, 8 * STEP, axis=2))
    assert first.shape == (1, 96, len(SYMBOLS))
    np.testing.assert_allclose(first[:, 20:60], second[:, 28:68], atol=1e-4)


def saying(path: dict[int, str]):
    """A network that sees symbols where columns have these values, in hundredths."""

    def apply(params: object, windows: np.ndarray) -> np.ndarray:
        del params
        seen = np.round(100 * windows[:, 0, ::STEP]).astype(int)
        logits = np.zeros((*seen.shape, len(SYMBOLS)), np.float32)
        logits[..., BLANK] = 3
        for value, name in path.items():
            logits[seen == value, number(name)] = 6
        return logits

    return apply


@pytest.mark.parametrize("start", [0, 40, 100, 150, 170, 300])
def test_the_best_path(start, monkeypatch) -> None:
    """Wherever it is in the windows, repetitions are one, and a blank parts two of a kind."""
    monkeypatch.setattr(lines, "shipped_params", lambda *_: None)
    monkeypatch.setattr(lines, "_apply", saying({1: "7", 2: "x", 3: "1"}))
    ink = np.zeros((HEIGHT, 400), np.float32)
    for place, value in ((0, 1), (2, 1), (4, 1), (8, 1), (10, 3), (14, 2)):
        ink[:, start + place : start + place + STEP] = value / 100
    allowed = np.array([name in {"", "7", "1"} for name in SYMBOLS])
    found = Line(lines._shares(ink, allowed), left=5.0, step=float(STEP)).tokens
    assert [SYMBOLS[token.symbol] for token in found] == ["7", "7", "1"]
    assert [token.place - start - 5 for token in found] == pytest.approx([3, 9, 11])
    chance = np.exp(6) / (np.exp(6) + np.exp(3) + 1)
    assert [token.certainty for token in found] == pytest.approx([chance] * 3)
    assert found[0].probabilities[number("1")] == pytest.approx(1 / (np.exp(6) + 1), rel=0.01)


@pytest.mark.parametrize("text", [[], [2], [2, 3], [2, 2], [3, 2, 3], [2, 2, 2]])
def test_the_likelihood_of_a_text_is_that_of_all_its_paths(text) -> None:
    """Those that give it when repetitions and blanks are left out (Graves et al., equation 3)."""
    places = 5
    shares = np.random.default_rng(0).dirichlet(np.ones(4), places)

    def says(path: tuple[int, ...]) -> list[int]:
        return [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK]

    total = sum(
        shares[range(places), path].prod()
        for path in itertools.product(range(4), repeat=places)
        if says(path) == text
    )
    around = np.vstack([np.full((3, 4), 0.25), shares, np.full((2, 4), 0.25)])
    line = Line(around, left=100.0, step=2.0)
    assert line.likelihood(text, 106.0, 116.0) == pytest.approx(np.log(total))


def test_a_text_longer_than_its_place_is_nearly_impossible() -> None:
    """There are no more symbols than places."""
    line = Line(np.full((3, 4), 0.25), left=0.0, step=1.0)
    assert line.likelihood([2, 3, 2, 3], 0.0, 3.0) < -50


def test_a_text_in_half_a_place_and_none() -> None:
    """Ends are rounded to places; there is at least one, and none before the first."""
    shares = np.random.default_rng(1).dirichlet(np.ones(4), 6)
    line = Line(shares, left=10.0, step=4.0)
    assert line.likelihood([2], 15.9, 24.1) == line.likelihood([2], 14.0, 26.0)
    assert line.likelihood([2], -50.0, 18.0) == line.likelihood([2], 10.0, 18.0)
    assert line.likelihood([2], 18.0, 99.0) == line.likelihood([2], 18.0, 34.0)
    for right in (2.0, 18.0):
        assert line.likelihood([3], 18.0, right) == pytest.approx(np.log(shares[2, 3]))


def test_what_is_never_seen_is_one_in_a_million() -> None:
    line = Line(np.array([[0.5, 0.0, 0.5]]), left=0.0, step=1.0)
    assert line.likelihood([1], 0.0, 1.0) == pytest.approx(np.log(1e-6))


def test_where_and_how_certain_a_symbol_is() -> None:
    """In the middle of its places, by what each says; as certain as the surest of them."""
    shares = np.array(
        [
            [0.1, 0.1, 0.8, 0.0],
            [0.1, 0.3, 0.6, 0.0],
            [0.8, 0.1, 0.1, 0.0],
            [0.0, 0.4, 0.1, 0.5],
            [0.2, 0.1, 0.0, 0.7],
            [0.4, 0.0, 0.0, 0.6],
        ]
    )
    first, second = Line(shares, left=100.0, step=4.0).tokens
    assert first.place == pytest.approx(100 + 4 * (0.5 * 0.8 + 1.5 * 0.6) / 1.4)
    assert second.place == pytest.approx(100 + 4 * (3.5 * 0.5 + 4.5 * 0.7 + 5.5 * 0.6) / 1.8)
    assert (first.symbol, first.certainty) == (2, 0.8)
    assert (second.symbol, second.certainty) == (3, 0.7)
    # Of each symbol the most that any of the places says, but of none.
    np.testing.assert_allclose(first.probabilities, np.array([0, 0.3, 0.8, 0]) / 1.1)
    np.testing.assert_allclose(second.probabilities, np.array([0, 0.4, 0.1, 0.7]) / 1.2)


@pytest.mark.parametrize("width", [2, 40, 64, 66, 190, 192, 194, 256, 258, 320, 322, 450])
def test_a_line_is_read_to_its_end(width, monkeypatch) -> None:
    """Each place once, and of what two windows see, the one that it is further from the end of."""

    def apply(params: object, windows: np.ndarray) -> np.ndarray:
        """Sees columns as they are; within 31 columns of an end it is unsure."""
        del params
        count, _, columns = windows.shape
        logits = np.zeros((count, columns // STEP, len(SYMBOLS)), np.float32)
        logits[..., 2] = 100 * windows[:, 0, ::STEP]
        place = np.arange(0, columns, STEP)
        logits[..., 3] = np.maximum(31 - np.minimum(place, columns - STEP - place), 0)
        return logits + (place[:, None] % 4 * 100).astype(np.float32)  # only differences count

    monkeypatch.setattr(lines, "shipped_params", lambda *_: None)
    monkeypatch.setattr(lines, "_apply", apply)
    ink = np.zeros((HEIGHT, width), np.float32)
    ink[0] = np.arange(width) / 10_000
    shares = lines._shares(ink, np.arange(len(SYMBOLS)) > 1)
    assert shares.shape[0] >= width / STEP
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert (shares[:, :2] == 0).all()
    seen, unsure, other = np.log(shares[: width // STEP, 2:5]).T
    np.testing.assert_allclose(seen - other, 100 * ink[0, ::STEP], atol=1e-4)
    unsure = unsure - other
    np.testing.assert_allclose(unsure[:16], np.arange(31, 0, -2)[: len(unsure)], atol=1e-4)
    assert (np.abs(unsure[16 : (width - 32) // STEP]) < 1e-4).all()


def character(top: int, left: int, bottom: int, right: int, ink: np.ndarray, sign: str = ""):
    return Character(top, left, bottom, right, 0, False, ink, sign)


def page(*characters: Character, scale: float = 1.0) -> Page:
    blank = np.zeros((8, 8, 3), np.uint8)
    return Page(blank, list(characters), degrees=0.0, scale=scale, clarity=1.0)


@pytest.mark.parametrize("corner", [(2, 5), (12, 20), (-8, -15), (-16, -40), (40, 5), (2, 60)])
def test_ink_is_put_where_it_was(corner, rng) -> None:
    """With its margin of 4 pixels, cut off where the canvas ends; larger and smaller."""
    ink = rng.integers(0, 256, (14, 12), np.uint8)
    one = character(10, 20, 16, 24, ink)
    whole = np.zeros((120, 160), np.float32)
    whole[50 + 6 : 50 + 20, 60 + 16 : 60 + 28] = ink / 255
    top, left = corner
    expected = whole[50 + top : 80 + top, 60 + left : 95 + left]
    found = paste([one], page(one), float(top), float(left), (30, 35), 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    double = paste([one], page(one), float(top), float(left), (60, 70), 2.0)
    np.testing.assert_allclose(double, expected.repeat(2, axis=0).repeat(2, axis=1), rtol=1e-6)
    half = paste([one], page(one), float(top), float(left), (15, 18), 0.5)
    if corner == (2, 60):
        assert not half.any()
    if corner == (2, 5):  # from row 2 and column 5.5 on
        blocks = ink.reshape(7, 2, 6, 2).mean(axis=(1, 3)) / 255
        np.testing.assert_allclose(half[2:9, 6:12], blocks, atol=1.01 / 255)  # rounded twice
        assert np.count_nonzero(half) <= 42


def test_a_margin_is_as_wide_as_it_was_seen() -> None:
    """4 pixels at the scale of the network: 2 of the picture, if that was enlarged twice."""
    one = character(10, 20, 16, 24, np.full((20, 16), 255, np.uint8))
    found = paste([one], page(one, scale=2.0), 0.0, 0.0, (30, 40), 1.0)
    expected = np.zeros((30, 40))
    expected[8:18, 18:26] = 1
    np.testing.assert_array_equal(found, expected)


def test_where_ink_overlaps_the_darker_counts() -> None:
    faint = character(4, 4, 8, 8, np.full((12, 12), 51, np.uint8))
    dark = character(8, 8, 12, 12, np.full((12, 12), 204, np.uint8))
    expected = np.zeros((20, 20))
    expected[:12, :12], expected[4:16, 4:16] = 0.2, 0.8
    for order in ([faint, dark], [dark, faint]):
        found = paste(order, page(*order), 0.0, 0.0, (20, 20), 1.0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_is_tiny_is_a_pixel() -> None:
    one = character(100, 100, 104, 104, np.full((12, 12), 255, np.uint8))
    found = paste([one], page(one), 0.0, 0.0, (6, 6), 0.03)
    assert np.argwhere(found).tolist() == [[3, 3]]
    assert found[3, 3] == 1


def test_a_line_is_brought_to_the_networks_height(monkeypatch) -> None:
    """Characters 20 pixels high, their middle in that of the line, half a height on each side."""
    seen: list[np.ndarray] = []

    def shares(*given: np.ndarray) -> np.ndarray:
        seen.extend(given)
        return np.full((given[0].shape[1] // STEP, len(SYMBOLS)), 1 / len(SYMBOLS))

    monkeypatch.setattr(lines, "_shares", shares)
    full = np.full((8, 8), 255, np.uint8)
    boxes = [(100, 200, 140, 220), (100, 260, 140, 270), (60, 280, 100, 311)]
    signs = [character(136, top, 140, top + 4, full, ".") for top in (230, 235, 240)]
    characters = [*signs, *(character(*box, full) for box in boxes)]
    # The usual height of 34 at a scale of 0.85 is 40 of the picture: twice as high.
    seen_at = page(*characters, scale=USUAL / 40)
    line = read_line(characters, seen_at, ["1", "a"])
    assert (line.left, line.step) == (180, 2 * STEP)
    ink, allowed = seen
    # From 20 before the first to 20 behind the last are 151, which is 75.5 at half the size.
    assert ink.shape == (HEIGHT, 76)
    rows = np.flatnonzero(ink[:, 15])
    assert (rows[0] + rows[-1] + 1) / 2 == HEIGHT / 2
    # A margin of 4 pixels at that scale is 4.7 of the picture.
    assert len(rows) == pytest.approx(TALL + 2 * 4.7 / 2, abs=1)
    inked = np.flatnonzero(ink[16])
    assert inked[0] == pytest.approx(10 - 4.7 / 2, abs=0.6)
    assert inked[-1] + 1 == pytest.approx(45 + 4.7 / 2, abs=0.6)
    assert {SYMBOLS[symbol] for symbol in np.flatnonzero(allowed)} == {"", "?", *SIGNS, "1", "a"}
    assert line.shares.shape == (38, len(SYMBOLS))
