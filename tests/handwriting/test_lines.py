"""Characters that touch: lines made, read, and cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.handwriting import line_network, line_scenes, lines
from jaxdigits.handwriting.glyphs import prepare
from jaxdigits.handwriting.line_network import BLANK, HEIGHT, STEP, SYMBOLS, TALL
from jaxdigits.handwriting.lines import Part, Token
from jaxdigits.handwriting.page import Page
from jaxdigits.handwriting.scene_layout import USUAL
from jaxdigits.handwriting.segmentation import Character


def number(name: str) -> int:
    return SYMBOLS.index(name)


def test_lines_are_functions_of_their_keys() -> None:
    """Symbols from the left, then none; as much ink as there are of them; the same each time."""
    digits = jd.data.load("digits", "train")
    labels = jnp.asarray(digits.labels[:200] + number("0"))
    characters = prepare(digits.images[:200])
    draw = jax.jit(lambda key: line_scenes.line(key, characters, labels))
    few, many = [], []
    for seed in range(12):
        line, again = draw(jax.random.key(seed)), draw(jax.random.key(seed))
        np.testing.assert_array_equal(line.ink, again.ink)
        symbols = np.asarray(line.symbols)
        count = int((symbols > 0).sum())
        assert (symbols[:count] > 0).all()
        assert (symbols[count:] == 0).all()
        assert symbols.max() < len(SYMBOLS)
        assert 0 <= float(line.ink.min()) <= float(line.ink.max()) <= 1
        (few if count < 4 else many).append(float(line.ink.sum()))
    assert np.mean(few) < np.mean(many)


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
    found = lines.tokens(ink, allowed)
    assert [SYMBOLS[token.symbol] for token in found] == ["7", "7", "1"]
    assert [token.place - start for token in found] == pytest.approx([3, 9, 11])
    chance = np.exp(6) / (np.exp(6) + np.exp(3) + 1)
    assert [token.certainty for token in found] == pytest.approx([chance] * 3)
    assert found[0].probabilities[number("1")] == pytest.approx(1 / (np.exp(6) + 1), rel=0.01)


def two_in_one() -> Page:
    """Two bars and a bridge, taken for one character, after another one."""
    ink = np.zeros((34 + 8, 50 + 8), np.uint8)
    ink[4:-4, 4:12] = ink[4:-4, 46:54] = ink[20:23, 4:54] = 255
    first = Character(10, 0, 44, 8, 0, False, np.pad(np.full((34, 8), 255, np.uint8), 4))
    both = Character(10, 30, 44, 80, 0, True, ink)
    page = Page(np.full((60, 120, 3), 255, np.uint8), [first, both], 0.0, 1.0, 1.0)
    assert TALL < USUAL
    return page


def token(name: str, place: float, certainty: float = 0.9) -> Token:
    row = np.zeros(len(SYMBOLS))
    row[number(name)] = 0.75
    row[number("7")] += 0.25
    return Token(place, row, certainty)


def test_characters_are_cut_where_more_are_read(monkeypatch) -> None:
    """Between their places, where there is least ink; spaces and other characters stay."""
    page = two_in_one()
    monkeypatch.setattr(lines, "_read", lambda *_: [token("1", 4), token("1", 34), token("-", 72)])
    first, second, third = lines.part(page, ["1", "7"])
    assert first is page.characters[0]
    assert isinstance(second, Part)
    assert isinstance(third, Part)
    box = second.character
    assert (box.top, box.left, box.bottom) == (10, 30, 44)
    assert 38 <= box.right <= third.character.left + 1 <= 72
    assert third.character.right == 80
    assert (box.after_space, third.character.after_space) == (True, False)
    assert (box.sign, third.character.sign) == ("", "-")
    np.testing.assert_allclose(second.probabilities, [0.75, 0.25])


@pytest.mark.parametrize(
    "read",
    [
        [token("1", 34)],  # as many
        [],
        [token("1", 34, 0.5), token("1", 72, 0.5)],  # not sure
        [token("1", 4), token("1", 20), token("1", 34)],  # the others are elsewhere
    ],
)
def test_characters_stay_as_they_are(read, monkeypatch) -> None:
    """Where nothing else is read with confidence."""
    page = two_in_one()
    monkeypatch.setattr(lines, "_read", lambda *_: read)
    assert lines.part(page, ["1", "7"]) == page.characters


def test_other_alphabets_are_left_alone() -> None:
    """The line network does not know them."""
    page = two_in_one()
    assert lines.part(page, ["cat", "dog"]) == page.characters
