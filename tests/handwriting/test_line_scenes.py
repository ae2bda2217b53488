"""Lines of writing that are made, and the symbols in them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from settled import compiled_line, draw_lines, outline_lines, settled, stack

from jaxdigits.handwriting import glyphs, line_scenes
from jaxdigits.handwriting.line_network import HEIGHT, SYMBOLS, TALL, UNKNOWN
from jaxdigits.handwriting.line_scenes import MOST, WIDTH, Line

ZERO, FIRST = SYMBOLS.index("0"), SYMBOLS.index("a")


def bars(height: int, width: int) -> glyphs.Characters:
    """200 bars that are alike: as many as in other tests, so that all use one program."""
    image = np.zeros((1, 28, 28), np.uint8)
    top, left = (28 - height) // 2, (28 - width) // 2
    image[0, top : top + height, left : left + width] = 255
    return jax.tree.map(lambda leaf: np.repeat(leaf, 200, axis=0), glyphs.prepare(image))


@pytest.fixture(scope="module")
def lines() -> Line:
    """200 lines of bars 6 pixels wide; half of the bars are digits, the others letters."""
    characters = bars(20, 6)
    labels = jnp.asarray([*(ZERO + np.arange(100) % 10), *(FIRST + np.arange(100) % 26)])
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


def test_no_character_is_cut_off(monkeypatch) -> None:
    """With room for wider ones a line is the same, also of characters twice as wide as high."""
    characters, labels = bars(12, 24), jnp.asarray(ZERO + np.arange(200) % 10)
    keys = jax.random.split(jax.random.key(3), 30)
    drawn = [compiled_line()(key, characters, labels).ink for key in keys]
    monkeypatch.setattr(line_scenes, "_PATCH", 80)
    wider = jax.jit(lambda *given: line_scenes.line(*given).ink)
    widened = [wider(key, characters, labels) for key in keys]
    np.testing.assert_allclose(np.asarray(drawn), np.asarray(widened), atol=1e-5)


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


@pytest.fixture(scope="module")
def dots_of() -> Callable[[int], list[np.ndarray]]:
    """Rows and columns in 60 lines, each of one shape: of signs, or of bars 6 wide and 10 high."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 9:19, 11:17] = 255
    short, labels = glyphs.prepare(image), jnp.array([ZERO])

    def line(key: jax.Array, shape: jax.Array) -> Line:
        chosen = jnp.full(MOST, shape), jnp.zeros(MOST, jnp.int32)

        def dot(*given: jax.Array) -> jax.Array:
            return 1.0 * (jnp.abs(given[2]) < 0.5) * (jnp.abs(given[3]) < 0.5)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(line_scenes, "_choose", lambda *_: chosen)
            patch.setattr(line_scenes, "draw", dot)
            patch.setattr(line_scenes, "blur", lambda side, _: jnp.eye(side))
            return line_scenes.line(key, short, labels)

    compiled, keys = jax.jit(line), jax.random.split(jax.random.key(4), 60)

    def dots(shape: int) -> list[np.ndarray]:
        lines = [compiled(key, jnp.array(shape)) for key in keys]
        found = [np.argwhere(np.asarray(line.ink).T > 0.5)[:, ::-1] + 0.5 for line in lines]
        for line, places in zip(lines, found, strict=True):
            assert len(places) == (line.symbols > 0).sum()
        return found

    return dots


def test_short_characters_stand_on_the_line(dots_of: Callable[[int], list[np.ndarray]]) -> None:
    """In half of the lines, a quarter of the height below the middle. Dashes never do."""
    found = np.array([places[:, 0].mean() for places in dots_of(-1)]) - HEIGHT / 2
    low = found > TALL / 8
    assert low.mean() == pytest.approx(0.5, abs=0.15)
    assert np.median(found[low]) == pytest.approx(TALL / 4, abs=0.8)
    assert np.median(found[~low]) == pytest.approx(0, abs=0.8)
    dashes = np.array([places[:, 0].mean() for places in dots_of(0)]) - HEIGHT / 2
    assert np.abs(dashes).max() < 0.2 * TALL


def test_dashes_touch_at_their_ends(dots_of: Callable[[int], list[np.ndarray]]) -> None:
    """Half a height apart, or a tenth less; what a character would reach is nothing to them."""
    steps = np.array([np.diff(places[:, 1]).mean() for places in dots_of(0) if len(places) > 4])
    assert len(steps) > 30
    assert 0.37 * TALL < steps.min() < 0.5 * TALL


def test_points_are_apart(dots_of: Callable[[int], list[np.ndarray]]) -> None:
    """By a fifth of the height at least."""
    steps = np.concatenate([np.diff(places[:, 1]) for places in dots_of(3)])
    assert 0.2 * TALL - 1 <= steps.min() <= 0.2 * TALL


def test_no_symbol_is_cut_off(dots_of: Callable[[int], list[np.ndarray]]) -> None:
    """A line ends before the first that would be, of scribbles 0.9 heights wide."""
    lasts = np.array([places[-1, 1] for places in dots_of(glyphs.SCRIBBLE)])
    assert WIDTH - 0.45 * TALL - 2 < lasts.max() < WIDTH - 0.45 * TALL + 1
