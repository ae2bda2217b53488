"""Lines of writing that are made, and the symbols in them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from settled import compiled_line, draw_lines, outline_lines, settled, stack

from jaxdigits.handwriting import glyphs
from jaxdigits.handwriting.line_network import HEIGHT, SYMBOLS, TALL, UNKNOWN
from jaxdigits.handwriting.line_scenes import MOST, WIDTH, Line

ZERO, FIRST = SYMBOLS.index("0"), SYMBOLS.index("a")


@pytest.fixture(scope="module")
def lines() -> Line:
    """200 lines of bars 6 pixels wide; half of the bars are digits, the others letters."""
    images = np.zeros((200, 28, 28), np.uint8)
    images[:, 4:24, 11:17] = 255
    labels = jnp.asarray([*(ZERO + np.arange(100) % 10), *(FIRST + np.arange(100) % 26)])
    characters = glyphs.prepare(images)
    keys = jax.random.split(jax.random.key(2), 200)
    return stack([compiled_line()(key, characters, labels) for key in keys])


def test_lines_are_those_that_the_line_network_was_trained_on() -> None:
    """The same keys give the same lines, and all of them differ."""
    now, before = outline_lines(draw_lines()), settled("lines")
    for number, (line, known) in enumerate(zip(now, before, strict=True)):
        assert line["symbols"] == known["symbols"]
        message = f"ink of line {number}"
        np.testing.assert_allclose(line["ink"], known["ink"], 2e-3, 2e-4, err_msg=message)
    assert len({tuple(line["ink"]) for line in now}) == len(now)


def test_how_many_symbols_there_are(lines: Line) -> None:
    """One to twelve; in most lines five or more; none after the last."""
    symbols = lines.symbols
    assert symbols.shape == (200, MOST)
    counts = (symbols > 0).sum(axis=1)
    for line, count in zip(symbols, counts, strict=True):
        assert (line[:count] > 0).all()
        assert (line[count:] == 0).all()
    assert set(counts) == set(range(1, MOST + 1))
    assert np.mean(counts < 5) == pytest.approx(0.3 * 4 / 12, abs=0.05)
    ink = lines.ink.sum(axis=(1, 2))
    assert ink[counts > 6].mean() > 1.5 * ink[counts < 5].mean()


def test_which_symbols_there_are(lines: Line) -> None:
    """Digits or letters, of all kinds; seldom both; signs in some lines; some twice in a row."""
    symbols = lines.symbols
    assert {*range(UNKNOWN, len(SYMBOLS))} <= set(symbols.ravel())
    character = symbols >= ZERO
    some = character.sum(axis=1) > 3
    digits, letters = (symbols >= ZERO) & (symbols < FIRST), symbols >= FIRST
    only_digits, only_letters = ~letters[some].any(axis=1), ~digits[some].any(axis=1)
    assert only_digits.mean() == pytest.approx(0.45, abs=0.08)
    assert only_letters.mean() == pytest.approx(0.45, abs=0.08)
    sign = (symbols > UNKNOWN) & (symbols < ZERO)
    assert (symbols == UNKNOWN).sum() / (symbols > 0).sum() == pytest.approx(0.01, abs=0.007)
    assert sign.any(axis=1).mean() == pytest.approx(0.4 * 0.93, abs=0.08)
    many = sign.any(axis=1) & ((symbols > 0).sum(axis=1) > 4)
    share = sign[many].sum() / (symbols[many] > 0).sum()
    assert share == pytest.approx(0.3, abs=0.06)
    pairs = digits[:, 1:] & digits[:, :-1]
    twice = (symbols[:, 1:] == symbols[:, :-1])[pairs].mean()
    assert twice == pytest.approx(0.1 + 0.9 * 0.15, abs=0.05)


def test_where_the_ink_is(lines: Line) -> None:
    """From up to 1.5 heights from the left, in the middle rows, to where the last symbol ends."""
    ink, symbols = lines
    assert ink.shape == (200, HEIGHT, WIDTH)
    assert 0 <= ink.min() < 0.01
    assert 0.97 < ink.max() <= 1
    bars = (symbols >= ZERO).sum(axis=1) == (symbols > 0).sum(axis=1)
    inked = ink[bars] > 0.3
    left = inked.any(axis=1).argmax(axis=1)
    assert left.min() <= 2
    assert 0.9 * 1.5 * TALL < left.max() <= 1.5 * TALL + 4
    rows = inked.any(axis=2)
    top, bottom = rows.argmax(axis=1), HEIGHT - rows[:, ::-1].argmax(axis=1)
    assert np.mean((top + bottom) / 2) == pytest.approx(HEIGHT / 2, abs=0.6)
    # As tall as 20 pixels of the image, with a pen's width more, on a line that slopes.
    assert np.mean(bottom - top) == pytest.approx(TALL + 3, abs=1)
    assert np.std(bottom - top) == pytest.approx(3.8, abs=0.8)
