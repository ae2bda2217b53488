"""A step from its parts, on arrays of a few numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdigits as jd
from jaxdigits.losses import cross_entropy
from jaxdigits.models import linear
from jaxdigits.training.state import Batch, init_state
from jaxdigits.training.step import STEPS, make_step, microbatched

MODEL = jd.Model(lambda key: linear.init(key, 3, 4), linear.apply)


def batch_of(rng, count: int = 6) -> Batch:
    """Floats in 0..1, of which the last example only fills up."""
    images = rng.uniform(size=(count, 2, 2)).astype(np.float32)
    weights = np.full(count, 1 / (count - 1), np.float32)
    weights[-1] = 0
    return Batch(images, rng.integers(0, 3, count).astype(np.int32), weights)


def test_no_epoch_has_the_key_of_the_steps():
    """Their number is folded in too, and is at most a million."""
    jd.TrainConfig(epochs=10**6)
    assert STEPS == 2**32 - 1 > 10**6  # another number would draw other images and other dropout
    key = jax.random.key(0)
    others = [jax.random.fold_in(key, epoch) for epoch in (0, 1, 63, 10**6)]
    assert not any(other == jax.random.fold_in(key, STEPS) for other in others)


def test_without_a_memory_the_average_is_the_last_parameters(rng):
    """So it is unless `ema_decay` is given."""
    optimizer = optax.sgd(0.1)
    step = jax.jit(make_step(MODEL, optimizer, cross_entropy))
    state = init_state(MODEL, optimizer, jax.random.key(0), ema=True)
    after, _ = step(state, batch_of(rng))
    assert after.ema_params is not None
    np.testing.assert_allclose(after.ema_params["weight"], after.params["weight"], rtol=1e-6)
    assert not np.array_equal(after.params["weight"], state.params["weight"])


def test_sums_count_what_has_a_weight(rng):
    """Whatever the weight; the example that fills up is in neither sum."""
    optimizer, batch = optax.sgd(0.1), batch_of(rng)
    state = init_state(MODEL, optimizer, jax.random.key(0))
    _, sums = jax.jit(make_step(MODEL, optimizer, cross_entropy))(state, batch)
    logits = linear.apply(state.params, jnp.asarray(batch.images))
    right = np.asarray(logits).argmax(axis=1) == batch.labels
    assert float(sums.correct) == right[:-1].sum()
    losses = np.asarray(cross_entropy(logits, jnp.asarray(batch.labels)))
    assert float(sums.loss) == pytest.approx(losses[:-1].sum(), rel=1e-5)


def sums_and_first(params, inputs, labels, weights, key):
    """Logits that show the inputs, sums, and a collection that shows the first input."""
    del labels, key
    return inputs[:, None] * jnp.ones(2), params + inputs @ weights, {"first": inputs[0]}


@pytest.mark.parametrize(
    ("size", "first"),
    [(1, 7.0), (2, 7.0), (3, 7.0), (4, 5.0), (6, 5.0), (7, 1.0), (8, 1.0)],
)
def test_microbatches_of_seven(size, first):
    """In batches of equal size: logits in their order, and the last one's statistics."""
    inputs = np.arange(1, 8, dtype=np.float32)
    weights = np.arange(8, 15, dtype=np.float32)
    logits, grads, collections = jax.jit(microbatched(sums_and_first, size))(
        np.float32(0), inputs, np.arange(7), weights, jax.random.key(0)
    )
    assert logits.tolist() == [[value, value] for value in range(1, 8)]
    assert float(grads) == float(inputs @ weights)
    assert float(collections["first"]) == first


def first_drawn(params, inputs, labels, weights, key):
    """Logits that show a number drawn with the key."""
    del labels, weights
    return jnp.full((len(inputs), 1), jax.random.uniform(key)), params, {}


def test_microbatches_draw_from_keys_of_their_own():
    arrays = jnp.zeros(6), jnp.arange(6), jnp.ones(6)
    logits, *_ = microbatched(first_drawn, 2)(jnp.float32(0), *arrays, jax.random.key(0))
    assert len(set(logits[::2, 0].tolist())) == 3


@pytest.mark.parametrize(("size", "whole"), [(5, False), (6, True), (7, True)])
def test_a_batch_no_larger_than_a_microbatch_is_taken_whole(size, whole):
    """With the key of the step, as without microbatches."""
    arrays, key = (jnp.zeros(6), jnp.arange(6), jnp.ones(6)), jax.random.key(0)
    logits, *_ = microbatched(first_drawn, size)(jnp.float32(0), *arrays, key)
    assert (float(logits[0, 0]) == float(jax.random.uniform(key))) == whole
