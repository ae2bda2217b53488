"""Networks of flax and equinox, trained, saved, and loaded."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxdigits as jd
from jaxdigits.errors import RunError
from jaxdigits.models import adapters

CONFIG = jd.TrainConfig(dataset="digits", epochs=2, learning_rate=0.01)


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, images, train):
        values = linen.BatchNorm(use_running_average=not train)(images.reshape(len(images), -1))
        values = linen.Dropout(0.2, deterministic=not train)(linen.relu(linen.Dense(32)(values)))
        return linen.Dense(10)(values)


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(784, 32, rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.last = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, images):
        values = self.norm(self.first(images.reshape(len(images), -1)))
        return self.last(self.drop(nnx.relu(values)))


def equinox_model() -> jd.Model:
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        mlp: Any
        drop: Any

        def __init__(self, key):
            self.mlp = eqx.nn.MLP(784, 10, 32, 1, key=key)
            self.drop = eqx.nn.Dropout(0.2)

        def __call__(self, image, key=None):
            return self.mlp(self.drop(image.reshape(-1), key=key))

    return adapters.from_equinox(Net)


MODELS = {
    "linen": lambda: adapters.from_linen(LinenNet()),
    "nnx": lambda: adapters.from_nnx(NnxNet),
    "equinox": equinox_model,
}


@pytest.mark.parametrize("library", MODELS)
def test_trained_saved_and_loaded(library, tmp_path):
    model = MODELS[library]()
    run = jd.fit(CONFIG, model=model, folder=tmp_path / "run")
    assert run.config.augment == ()  # nothing that suits the convnet alone
    assert run.results["test"]["accuracy"] > 0.8
    images = jd.data.load("digits", "test").images
    loaded = jd.load(tmp_path / "run", model=MODELS[library]())
    np.testing.assert_array_equal(loaded.predict_logits(images), run.predict_logits(images))
    with pytest.raises(RunError, match=r"is your own: give it to jaxdigits\.load\(folder, model="):
        jd.load(tmp_path / "run")


@pytest.mark.parametrize("library", MODELS)
def test_dropout_in_training_only(library):
    model = MODELS[library]()
    params = model.init(jax.random.key(0))
    images = jax.random.uniform(jax.random.key(1), (4, 28, 28))
    np.testing.assert_array_equal(model.apply(params, images), model.apply(params, images))
    assert model.apply_train is not None
    one, again, other = (model.apply_train(params, images, jax.random.key(n))[0] for n in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not jnp.array_equal(one, other)


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_statistics_follow_the_batch(library):
    """As flax does it: nine tenths or more of what was, the rest of the batch."""
    model = MODELS[library]()
    params = model.init(jax.random.key(0))
    images = jax.random.uniform(jax.random.key(1), (64, 28, 28))
    assert model.apply_train is not None
    _, changed = model.apply_train(params, images, jax.random.key(0))
    (mean,) = (
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(changed["batch_stats"])
        if jax.tree_util.keystr(path).endswith("['mean']")
    )
    values = images.reshape(64, -1)
    if library == "nnx":
        first = params["params"]["first"]
        values = values @ first["kernel"] + first["bias"]
    np.testing.assert_allclose(mean, 0.01 * values.mean(axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("library", MODELS)
def test_an_image_alone_is_what_it_is_among_others(library):
    """Where nothing is learned: no statistics of the batch, no dropout."""
    model = MODELS[library]()
    params = model.init(jax.random.key(0))
    images = jax.random.uniform(jax.random.key(1), (3, 28, 28))
    together = model.apply(params, images)
    np.testing.assert_allclose(model.apply(params, images[1:2]), together[1:2], atol=1e-5)
    assert model.apply_train is not None
    trained, _ = model.apply_train(params, images, jax.random.key(2))
    assert not jnp.allclose(trained, together, atol=1e-2)


class Deterministic(linen.Module):
    """A module whose argument is the opposite of `train`."""

    @linen.compact
    def __call__(self, images, deterministic):
        return linen.Dropout(0.5)(images.reshape(len(images), -1), deterministic=deterministic)


class Plain(linen.Module):
    """A module that is the same in training."""

    @linen.compact
    def __call__(self, images):
        return linen.Dense(3)(images.reshape(len(images), -1))


def test_linen_modules_are_told_what_they_ask_for():
    images, key = jnp.ones((2, 4, 5)), jax.random.key(0)
    model = adapters.from_linen(Deterministic(), (4, 5))
    assert model.apply_train is not None
    assert (model.apply({}, images) == 1).all()
    dropped, changed = model.apply_train({}, images, key)
    assert set(dropped.ravel().tolist()) == {0, 2}
    assert changed == {}
    model = adapters.from_linen(Plain(), (4, 5))
    params = model.init(key)
    assert params["params"]["Dense_0"]["kernel"].shape == (20, 3)
    assert model.apply_train is not None
    logits, changed = model.apply_train(params, images, key)
    np.testing.assert_array_equal(logits, model.apply(params, images))
    assert changed == {}


def test_an_nnx_module_of_parameters_only():
    """Whatever mode it is made in."""

    def make(rngs):
        module = nnx.Sequential(nnx.Linear(5, 40, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))
        module.eval()
        return module

    model = adapters.from_nnx(make)
    params = model.init(jax.random.key(0))
    assert list(params) == ["params"]
    images = jnp.ones((2, 5))
    assert (model.apply(params, images) != 0).all()
    assert model.apply_train is not None
    logits, changed = model.apply_train(params, images, jax.random.key(0))
    assert 0 < (logits == 0).mean() < 1
    assert changed == {}


def test_an_equinox_module_without_a_key():
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        dense: Any

        def __init__(self, key):
            self.dense = eqx.nn.Linear(6, 3, key=key)

        def __call__(self, image):
            return self.dense(image.reshape(-1))

    model = adapters.from_equinox(Net)
    assert model.apply_train is None
    params = model.init(jax.random.key(0))
    images = jax.random.uniform(jax.random.key(1), (4, 2, 3))
    expected = images.reshape(4, 6) @ params.dense.weight.T + params.dense.bias
    np.testing.assert_allclose(model.apply(params, images), expected, rtol=1e-5, atol=1e-6)


def test_what_suits_a_network_is_kept():
    hints = jd.Hints(examples=600)
    made = [
        lambda **more: adapters.from_linen(Plain(), (2, 2), **more),
        lambda **more: adapters.from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs), **more),
    ]
    eqx = pytest.importorskip("equinox")
    made.append(lambda **more: adapters.from_equinox(lambda key: eqx.nn.Identity(), **more))
    for make in made:
        assert make(hints=hints).hints is hints
        assert make().hints == jd.Hints()
