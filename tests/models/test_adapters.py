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
