"""What a function computes inside, operation by operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jax import lax

import jaxdigits as jd
from jaxdigits.training.observe import digest, observe
from jaxdigits.training.state import Batch
from jaxdigits.training.trainer import make_trainer


def test_each_result():
    """Also of what is called inside, and of a loop's steps, backwards too."""

    @jax.jit
    def double(x):
        return x * 2

    def function(x):
        carry, rows = lax.scan(lambda c, row: (c + row, c - row), x[0], x, reverse=True)
        return carry, double(rows)

    operations, results = observe(function)
    x = jnp.array([1.0, 10.0, 100.0])
    found = results(x)
    named = [(one.name, value.tolist()) for one, value in zip(operations, found, strict=True)]
    steps = [named[number : number + 2] for number, one in enumerate(named) if one[0] == "add"]
    assert steps == [
        [("add", 101.0), ("sub", -99.0)],
        [("add", 111.0), ("sub", 91.0)],
        [("add", 112.0), ("sub", 110.0)],
    ]
    assert named[-1] == ("mul", [220.0, 182.0, -198.0])
    assert operations[-1].shape == (3,)
    assert operations[-1].place.startswith("test_each_result.<locals>.double (training/test_obs")


@pytest.mark.parametrize("model", ["linear", "mlp", "convnet"])
def test_a_step_s_results_lead_to_its_end(model):
    """The last that has each parameter's shape is that parameter, but for rounding."""
    data = jd.load_training_data("digits")
    config = jd.TrainConfig(model=model, optimizer="sgd", batch_size=32, epochs=1)
    trainer = make_trainer(config, data)
    state = trainer.init(jax.random.key(0), data.train)
    batch = Batch(data.train.images[:32], data.train.labels[:32], np.full(32, 1 / 32, np.float32))
    after, _ = jax.jit(trainer.step)(state, batch)
    operations, results = observe(trainer.step)
    found = jax.jit(results)(state, batch)
    assert len(operations) > 50
    for leaf in jax.tree.leaves(after.params):
        same = [value for value in found if value.shape == leaf.shape and value.dtype == leaf.dtype]
        assert min(float(jnp.abs(value - leaf).max()) for value in same) < 1e-5


@given(arrays.arrays(np.float32, 7, elements=st.floats(-9, 9, width=32)), st.integers(0, 6))
def test_digests_tell_arrays_apart(values, place):
    other = values.copy()
    other[place] += 1
    assert int(digest(values)) == int(digest(values.copy()))
    assert int(digest(values)) != int(digest(other))


def test_digests_of_changes_that_cancel_in_sums():
    """Two signs, or a one that has moved far."""
    ones = np.zeros(1000, np.float32)
    ones[[3, 259]] = 1
    changed = [np.array(values, np.float32) for values in ([1, 2], [-1, -2], [2, 1], [-2, -1])]
    changed += [ones, np.roll(ones, 256), -ones]
    assert len({int(digest(one)) for one in changed}) == len(changed)


@pytest.mark.parametrize(
    "value",
    [
        np.array([True, False]),
        np.float64(2),
        np.array([[1, 2]], np.int8),
        jnp.bfloat16(1),
        jax.random.key(3),
    ],
)
def test_digests_of_any_kind(value):
    assert int(digest(value)) == int(digest(value))
    assert int(digest(value)) > 0
