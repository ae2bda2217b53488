"""Lines read without cuts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.handwriting import line_network, lines
from jaxdigits.handwriting.line_network import BLANK, HEIGHT, STEP, SYMBOLS
from jaxdigits.handwriting.lines import Line


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
