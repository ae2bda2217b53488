"""The state before the first step, and its hyperparameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.models import linear
from jaxdigits.training.state import init_state, with_hyperparams

MODEL = jd.Model(lambda key: linear.init(key, 2, 3), linear.apply)


def test_a_state_keeps_no_average_unless_asked():
    plain = init_state(MODEL, optax.sgd(0.1), jax.random.key(0))
    assert plain.ema_params is None
    assert (plain.step.dtype, int(plain.step)) == (jnp.int32, 0)
    averaging = init_state(MODEL, optax.sgd(0.1), jax.random.key(0), ema=True)
    assert averaging.ema_params is not None
    np.testing.assert_array_equal(averaging.ema_params["weight"], plain.params["weight"])


def test_the_run_draws_from_another_key_than_the_start():
    key = jax.random.key(0)
    seen = []
    model = MODEL._replace(init=lambda key: seen.append(key) or linear.init(key, 2, 3))
    state = init_state(model, optax.sgd(0.1), key)
    keys = [tuple(jax.random.key_data(one).tolist()) for one in (key, seen[0], state.key)]
    assert len(set(keys)) == 3


def test_parameters_that_are_given_need_no_start():
    model = MODEL._replace(init=lambda _: pytest.fail("not to be called"))
    params = {"weight": jnp.ones((2, 3)), "bias": jnp.zeros(2)}
    state = init_state(model, optax.sgd(0.1), jax.random.key(0), params)
    assert state.params["weight"].tolist() == params["weight"].tolist()


@pytest.mark.parametrize(
    ("optimizer", "has"),
    [
        (optax.sgd(0.1), "none"),
        (optax.inject_hyperparams(optax.sgd)(learning_rate=0.1, momentum=0.5), "learning_rate, m"),
    ],
)
def test_hyperparameters_that_the_optimizer_does_not_have(optimizer, has):
    """All of them are named, in the order of the alphabet."""
    state = init_state(MODEL, optimizer, jax.random.key(0))
    assert with_hyperparams(state) is state
    message = f"no hyperparameter a, b, c, d, e, f; it has {has}"
    with pytest.raises(ConfigError, match=message):
        with_hyperparams(state, d=1, b=1, f=1, a=1, e=1, c=1)


def test_hyperparameters_that_are_not_named_stay():
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5, momentum=0.25)
    state = with_hyperparams(init_state(MODEL, optimizer, jax.random.key(0)), learning_rate=2.0)
    found = state.opt_state.hyperparams  # pyright: ignore[reportAttributeAccessIssue]
    assert {name: float(value) for name, value in found.items()} == {
        "learning_rate": 2.0,
        "momentum": 0.25,
    }


def test_training_data_from_files_downloaded_by_hand(emnist_files, tmp_path):
    """Both folders are passed on: where the files lie, and where the dataset is kept."""
    kept = tmp_path / "kept"
    data = jd.load_training_data("emnist/letters", data_dir=kept, manual_dir=emnist_files)
    assert data.num_classes == 26
    assert len(data.train.labels) + len(data.validation.labels) == 260
    assert list(kept.iterdir())
