"""Warps that are joined: the same as one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.transforms.augment import make_augment
from jaxdigits.transforms.warp import Warp, compose, resample, rotation, scaling, shear


def floats(*values: float) -> jnp.ndarray:
    return jnp.array(values, jnp.float32)


def test_warps_by_hand() -> None:
    """From a place of the result to one of the image: rows before columns."""
    root = np.sqrt(0.5)
    for warp, expected in (
        (rotation(floats(90.0, 45.0)), [[[0, 1], [-1, 0]], [[root, root], [-root, root]]]),
        (scaling(floats(2.0, 0.5)), [[[0.5, 0], [0, 0.5]], [[2, 0], [0, 2]]]),
        (shear(floats(0.25, -1.0)), [[[1, 0], [-0.25, 1]], [[1, 0], [1, 1]]]),
    ):
        assert warp.bends is None
        assert warp.matrices is not None
        np.testing.assert_allclose(warp.matrices, expected, atol=1e-6)


def test_bends_and_matrices_are_joined(rng) -> None:
    """Whichever comes first, bends come last; what does nothing changes nothing."""
    bends = Warp(bends=jnp.asarray(rng.normal(size=(2, 2, 5, 6)).astype(np.float32)))
    slanted, wide = shear(floats(0.5, 0.25)), scaling(floats(2.0, 0.8))
    for pair in ((slanted, bends), (bends, slanted)):
        joined = compose(*pair)
        np.testing.assert_array_equal(joined.matrices, slanted.matrices)
        np.testing.assert_array_equal(joined.bends, bends.bends)
    joined = compose(compose(slanted, wide), bends)
    assert slanted.matrices is not None
    assert wide.matrices is not None
    assert joined.matrices is not None
    expected = np.asarray(slanted.matrices) @ np.asarray(wide.matrices)
    np.testing.assert_allclose(joined.matrices, expected, rtol=1e-6)
    assert compose(bends, Warp()).matrices is None
    np.testing.assert_array_equal(compose(bends, Warp()).bends, bends.bends)
    images = jnp.asarray(rng.random((2, 5, 6), np.float32))
    np.testing.assert_allclose(resample(images, compose(Warp(), Warp())), images, atol=1e-6)


@pytest.mark.parametrize("names", [["rotate=90", "elastic=2"], ["elastic=2", "shear=0.5"]])
def test_an_image_is_bent_and_turned_at_once(names, rng) -> None:
    """Each with its part in it: without one of them, another image comes out."""
    key, images = jax.random.key(1), jnp.asarray(rng.random((3, 9, 9), np.float32))
    both = make_augment(names)(key, images)
    for name in names:
        assert np.abs(make_augment([name])(key, images) - both).max() > 0.05
