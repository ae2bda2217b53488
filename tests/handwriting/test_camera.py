"""How scenes are lit, taken, and cut: over many keys, on small pictures."""

import itertools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.handwriting import camera

SIDE, MANY = 32, 512
GRAY = 0.4


@pytest.fixture(scope="module")
def small():
    """Pictures of 32x32 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camera, "SIZE", SIDE)
        patch.setattr(camera, "noise", partial(camera.noise, shape=(SIDE, SIDE)))
        yield


@pytest.fixture(scope="module")
def lit(small: None) -> np.ndarray:
    """A gray page in many lights, eight columns of it black."""
    page = jnp.full((SIDE, SIDE, 3), GRAY).at[:, :8].set(0)
    each = jax.jit(jax.vmap(camera.light, (0, None)))
    return np.asarray(each(jax.random.split(jax.random.key(0), MANY), page))


@pytest.fixture(scope="module")
def cut(small: None) -> Callable[[jax.Array], np.ndarray]:
    """What is within pictures, of ink whose characters are 2 pixels high."""
    each = jax.jit(jax.vmap(camera.crop, (0, None, None)))
    keys = jax.random.split(jax.random.key(1), MANY)
    return lambda ink: np.asarray(each(keys, ink, jnp.asarray(2.0)))


def test_noise_is_smooth(small: None) -> None:
    """Random numbers at the middles of cells, lines between them, and the last up to the border."""
    key = jax.random.key(3)
    cells = np.asarray(jax.random.normal(key, (4, 4)))
    middles, places = np.arange(4) * 8 + 3.5, np.arange(SIDE)
    expected = np.array([np.interp(places, middles, line) for line in cells.T])
    expected = np.array([np.interp(places, middles, line) for line in expected.T])
    np.testing.assert_allclose(camera.noise(key, 4), expected, atol=1e-5)


def test_light(lit: np.ndarray) -> None:
    """A quarter of the pictures are dim, a third have a shadow, all have a slope of light."""
    assert lit.min() == 0
    assert lit.max() <= 1
    page = lit[:, :, 12:].mean(axis=-1)
    bright = np.sort(page.mean(axis=(1, 2)) / GRAY)
    assert 0.17 < bright[MANY // 100] < 0.27  # dim, and in a shadow
    assert np.quantile(bright, 0.9) == pytest.approx(1.06, abs=0.05)
    assert np.mean(bright < 0.7) == pytest.approx(0.25 + 0.75 * 0.35 * 0.4, abs=0.06)
    assert np.mean(bright > 0.75) == pytest.approx(0.75 * (0.65 + 0.35 * 0.3), abs=0.08)
    ends = page.reshape(MANY, 4, 8, 4, 5).mean(axis=(2, 4)).reshape(MANY, 16)
    uneven = ends.min(axis=1) / ends.max(axis=1)
    assert uneven.min() == pytest.approx(0.2, abs=0.05)
    assert np.median(uneven) == pytest.approx(0.69, abs=0.04)
    assert uneven.max() < 0.95


def test_blur_and_noise(lit: np.ndarray) -> None:
    """A step is as sharp as a pixel, or as a bell of deviation 1.3; noise is gray and colored."""
    profile = lit.mean(axis=(1, 3))
    sharp = (profile[:, 8] - profile[:, 7]) / profile[:, 11:15].mean(axis=1)
    # Half of such a bell's step is between two pixels 1 apart.
    low, middle, high = np.quantile(sharp, [0.05, 0.5, 0.85])
    assert low == pytest.approx(0.31, abs=0.02)
    assert middle == pytest.approx(0.52, abs=0.05)  # of a deviation of 0.75
    assert high == pytest.approx(0.95, abs=0.08)  # of 0.365
    page = lit[:, :, 12:]
    gray = page.mean(axis=-1, keepdims=True)
    colored = (page - gray).std(axis=(1, 2, 3)) * np.sqrt(1.5)
    fine = np.diff(gray, 2, axis=1).std(axis=(1, 2, 3)) / np.sqrt(6)
    assert colored.min() < 1e-3
    assert fine.min() < 3e-3
    assert np.median(colored) == pytest.approx(0.85 * 0.015, abs=0.004)
    assert np.median(fine) == pytest.approx(0.85 * 0.0225, abs=0.004)
    assert 0.9 * 0.03 < colored.max() < 1.1 * 0.03
    assert 0.9 * 0.048 < fine.max() < 1.12 * 0.048  # a little of it is colored noise


def test_pictures_are_cut_around_what_is_written(cut) -> None:
    """40% of them, 0.03 to 2.5 heights away, as far on all sides in half of those."""
    ink = jnp.zeros((SIDE, SIDE)).at[12:20, 10:15].set(0.31).at[2, 2].set(0.3)
    valid = cut(ink)
    part = valid.min(axis=(1, 2)) == 0
    assert part.mean() == pytest.approx(0.4, abs=0.06)
    whole = valid[part]
    rows, columns = whole.max(axis=2), whole.max(axis=1)
    np.testing.assert_array_equal(whole, rows[:, :, None] * columns[:, None])
    beyond = np.stack([
        12 - rows.argmax(axis=1), 12 - rows[:, ::-1].argmax(axis=1),
        10 - columns.argmax(axis=1), 17 - columns[:, ::-1].argmax(axis=1),
    ])  # fmt: skip
    assert beyond.min() == 0
    np.testing.assert_array_equal(beyond.max(axis=1), [4, 4, 4, 4])
    # Margins of less than a pixel show nothing more: from 0.06 to 5 pixels, logarithmically.
    share = np.log(1 / 0.06) / np.log(5 / 0.06)
    np.testing.assert_allclose((beyond == 0).mean(axis=1), share, atol=0.08)
    for first, second in itertools.combinations(beyond, 2):
        assert (first == second).mean() < 0.85
    assert (beyond == beyond[0]).all(axis=0).mean() == pytest.approx(0.5 + 0.5 * share**4, abs=0.1)


def test_what_shows_no_ink_is_not_cut(cut) -> None:
    """There is nothing that it could be cut around."""
    assert cut(jnp.full((SIDE, SIDE), 0.3)).min() == 1


@pytest.fixture
def draws(small: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    """A page half black, half gray, lit with all draws at their lower or upper ends."""

    def lit(gray: float, *, upper: bool, happens: bool, slope: float = 0.0) -> np.ndarray:
        def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            del key
            return jnp.full(shape, slope if shape == (2,) else 0.0)

        with monkeypatch.context() as patch:
            patch.setattr(camera.random, "normal", normal)
            patch.setattr(camera, "uniform", lambda _, *ends: jnp.asarray(ends[upper], float))
            patch.setattr(camera, "chance", lambda *_: jnp.asarray(happens))
            page = jnp.full((SIDE, SIDE, 3), gray).at[:, : SIDE // 2].set(0)
            return np.asarray(camera.light(jax.random.key(0), page))

    return lit


@pytest.mark.parametrize(("gray", "bright"), [(0.4, 0.4 * 1.6 * 1.1), (0.9, 1.0)])
def test_light_falls_within_limits(gray, bright, draws) -> None:
    """It is 0.15 to 1.6 times as usual, and nothing is brighter than 1, before it is blurred."""
    lit = draws(gray, upper=True, happens=False, slope=10.0)
    np.testing.assert_allclose(lit[-1, 20:], bright, rtol=1e-3)
    # What a step loses on one side it has on the other.
    np.testing.assert_allclose(lit[-1, 15] + lit[-1, 16], bright, rtol=1e-3)
    lit = draws(gray, upper=True, happens=False, slope=-10.0)
    np.testing.assert_allclose(lit[-1, 20:], gray * 0.15 * 1.1, rtol=1e-3)


@pytest.mark.parametrize("happens", [False, True])
def test_the_least_light_of_a_scene(happens, draws) -> None:
    """Where there is a shadow, it takes a tenth of it, and begins seven tenths above the middle."""
    lit = draws(0.4, upper=False, happens=happens)
    grid = np.linspace(-1, 1, SIDE)[:, None]
    shadow = 1 / (1 + np.exp(-np.e * (grid + 0.7)))
    expected = 0.4 * (0.3 * (1 - 0.1 * shadow) if happens else np.full_like(grid, 0.75))
    np.testing.assert_allclose(lit[:, 16:, 0], np.tile(expected, (1, SIDE // 2)), rtol=1e-3)
    assert lit[:, :16].max() < 1e-3


def test_the_deepest_shadow_of_a_scene(draws) -> None:
    """It takes 55% of the light, seven tenths below the middle, and is sharp but for the blur."""
    grid = np.linspace(-1, 1, SIDE)
    edge = np.cos(6.3) * grid[:, None] + np.sin(6.3) * grid - 0.7
    page = 0.4 * 0.65 * (1 - 0.55 / (1 + np.exp(-edge * np.exp(4))))
    page[:, :16] = 0
    apart = np.arange(SIDE)[:, None] - np.arange(SIDE)
    blur = np.exp(-0.5 * (apart / 1.3) ** 2)
    blur /= blur.sum(axis=1, keepdims=True)
    lit = draws(0.4, upper=True, happens=True)
    np.testing.assert_allclose(lit[..., 0], blur @ page @ blur.T, atol=1e-4)
