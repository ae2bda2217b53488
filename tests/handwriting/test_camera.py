"""How scenes are lit, taken, and cut: over many keys, on small pictures."""

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
    assert (beyond == beyond[0]).all(axis=0).mean() == pytest.approx(0.5 + 0.5 * share**4, abs=0.1)


def test_what_shows_no_ink_is_not_cut(cut) -> None:
    """There is nothing that it could be cut around."""
    assert cut(jnp.full((SIDE, SIDE), 0.3)).min() == 1
