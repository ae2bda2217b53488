"""The convnet with few channels against plain NumPy in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxdigits.errors import ConfigError
from jaxdigits.models import convnet

CHANNELS, HIDDEN = (3, 8, 4), (5, 6)


def plain_gelu(values):
    return values * scipy.special.ndtr(values)


def plain_logits(params, images, pool_activation):
    """Convolution, bias, pooling, as in the post: an odd last row or column is pooled alone."""
    values = np.asarray(images if images.ndim == 4 else images[..., None], np.float64)
    for layer in params["conv"]:
        rows, columns = (side - 2 for side in values.shape[1:3])
        values = layer["bias"] + sum(
            values[:, i : i + rows, j : j + columns] @ layer["kernel"][i, j]
            for i in range(3)
            for j in range(3)
        )
        edges = [(0, 0), (0, rows % 2), (0, columns % 2), (0, 0)]
        values = np.pad(values, edges, constant_values=-np.inf)
        values = np.max([values[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
        values = plain_gelu(values) if pool_activation == "gelu" else values
    values = values.reshape(len(values), -1)
    for index, layer in enumerate(params["dense"]):
        values = plain_gelu(values) if index else values
        values = values @ layer["weight"].T + layer["bias"]
    return values


@pytest.mark.parametrize("pool_activation", ["gelu", "none"])
@pytest.mark.parametrize("shape", [(28, 28), (15, 17), (16, 19, 3)])
def test_against_plain_numpy(shape, pool_activation, rng):
    params = convnet.init(jax.random.key(1), 7, "normal", CHANNELS, HIDDEN, shape)
    images = rng.normal(size=(3, *shape)).astype(np.float32)
    expected = plain_logits(
        jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params), images, pool_activation
    )
    logits = jax.jit(partial(convnet.apply, pool_activation=pool_activation))(params, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("shape", "size"),
    [((15, 15), 128), ((15, 22), 128), ((15, 23), 256), ((23, 24, 3), 512), ((31, 30), 768)],
)
def test_values_of_the_last_pooling(shape, size):
    """15 pixels give 13, 7, 5, 3, 1, and 1; 23 give 21, 11, 9, 5, 3, and 2."""
    assert convnet.flat_size(shape) == size
    assert convnet.flat_size(shape, (1, 1, 1)) == size // 128


@pytest.mark.parametrize("shape", [(14, 28), (28, 14), (14, 14, 3), (1, 1)])
def test_images_that_are_too_small(shape):
    message = f"15x15 pixels or more, not {shape[0]}x{shape[1]}; choose model mlp"
    with pytest.raises(ConfigError, match=message):
        convnet.flat_size(shape)


def test_starting_values_are_as_large_as_the_layer_has_inputs():
    """Uniform within 1/sqrt(fan_in), a kernel's fan-in being nine times its channels."""
    params = convnet.init(jax.random.key(0))
    for layer, inputs in zip(params["conv"], (9, 288, 576), strict=True):
        most = np.abs(layer["kernel"]).max() * np.sqrt(inputs)
        assert 0.96 < most <= 1.0001
        assert np.abs(layer["bias"]).max() * np.sqrt(inputs) <= 1.0001
    for layer, inputs in zip(params["dense"], (512, 64, 128), strict=True):
        assert layer["weight"].shape[1] == inputs
        assert 0.96 < np.abs(layer["weight"]).max() * np.sqrt(inputs) <= 1.0001


def test_no_bias_repeats_a_weight():
    """All numbers of a layer are drawn for themselves."""
    params = convnet.init(jax.random.key(0))
    layers = [(layer["kernel"].reshape(-1, len(layer["bias"])), layer) for layer in params["conv"]]
    layers += [(layer["weight"].T, layer) for layer in params["dense"]]
    for rows, layer in layers:
        assert not (layer["bias"] == rows).all(axis=1).any()
        assert np.unique(layer["bias"]).size == len(layer["bias"])


def test_nothing_is_dropped_without_a_share_or_a_key(rng):
    params = convnet.init(jax.random.key(1), 7, "normal", CHANNELS, HIDDEN, (15, 15))
    values = jnp.asarray(rng.normal(size=(2, 1, 1, 4)), jnp.float32)
    key, plain = jax.random.key(0), convnet.dense(params["dense"], values)
    np.testing.assert_array_equal(convnet.dense(params["dense"], values, key=key), plain)
    np.testing.assert_array_equal(convnet.dense(params["dense"], values, dropout=0.5), plain)
    dropped = convnet.dense(params["dense"], values, dropout=0.5, key=key)
    assert not np.array_equal(dropped, plain)
    images = jnp.asarray(rng.normal(size=(2, 15, 15)), jnp.float32)
    apply = jax.jit(convnet.apply)
    np.testing.assert_array_equal(apply(params, images, key=key), apply(params, images))
