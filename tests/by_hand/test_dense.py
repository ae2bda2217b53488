"""The formulas of the first post against `jax.grad`, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits import losses
from jaxdigits.by_hand import dense as gradients
from jaxdigits.models import linear, mlp


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def as_float64(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), tree)


@pytest.fixture
def batch(rng):
    images = jnp.asarray(rng.normal(size=(9, 28, 28)))
    weights = jnp.asarray(rng.uniform(size=9)).at[-2:].set(0)  # two do not count
    return images, jnp.asarray(rng.integers(0, 10, 9)), weights


def check(apply, by_hand, params, batch):
    @jax.jit
    def both(params, images, labels, weights):
        def loss(params):
            logits = apply(params, images)
            return losses.cross_entropy(logits, labels) @ weights, logits

        theirs, logits = jax.grad(loss, has_aux=True)(params)
        return theirs, logits, *by_hand(params, images, labels, weights)

    expected, expected_logits, logits, ours = both(params, *batch)
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert mine.dtype == jnp.float64
        assert np.abs(theirs).max() > 1e-4  # there is something to compare
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-12)


def test_linear(batch):
    params = as_float64(linear.init(jax.random.key(0)))
    check(linear.apply, gradients.linear, params, batch)


@pytest.mark.parametrize("hidden", [(), (30,), (20, 15, 5)])
@pytest.mark.parametrize("activation", sorted(gradients.DERIVATIVES))
def test_mlp(hidden, activation, batch):
    params = as_float64(mlp.init(jax.random.key(0), 10, hidden))
    check(
        lambda params, images: mlp.apply(params, images, activation),
        partial(gradients.mlp, activation=activation),
        params,
        batch,
    )


def test_every_activation_has_a_derivative():
    assert set(gradients.DERIVATIVES) == set(mlp.ACTIVATIONS)


@pytest.mark.parametrize("activation", sorted(gradients.DERIVATIVES))
def test_derivatives_at_zero(activation):
    """Also where a function has none: that of ReLU is 0, as `jax.grad` says."""
    zero = jnp.zeros(1)
    expected = jax.grad(lambda z: mlp.ACTIVATIONS[activation](z).sum())(zero)
    np.testing.assert_allclose(gradients.DERIVATIVES[activation](zero), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes(dtype):
    """What comes out is of the dtype of what goes in."""
    layers = [{"weight": (5, 6), "bias": (5,)}, {"weight": (3, 5), "bias": (3,)}]
    shape = {"is_leaf": lambda leaf: isinstance(leaf, tuple)}
    params = jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, dtype), layers, **shape)
    images = jax.ShapeDtypeStruct((4, 2, 3), dtype)
    labels, weights = jax.ShapeDtypeStruct((4,), jnp.int32), jax.ShapeDtypeStruct((4,), dtype)
    found = [jax.eval_shape(gradients.mlp, params, images, labels, weights)]
    images = jax.ShapeDtypeStruct((4, 5), dtype)
    found.append(jax.eval_shape(gradients.linear, params[1], images, labels, weights))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}


def test_relu_unless_asked_otherwise(batch):
    params = as_float64(mlp.init(jax.random.key(0), 10, (5,)))
    logits, _ = gradients.mlp(params, *batch)
    np.testing.assert_array_equal(logits, mlp.apply(params, batch[0], "relu"))
