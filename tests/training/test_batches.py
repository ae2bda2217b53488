import itertools

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from jaxdigits.training import batches
from jaxdigits.training.batches import (
    cut,
    epoch_batches,
    filled_batches,
    permutation,
    shuffled_batches,
    steps_per_epoch,
)

KEYS = st.integers(0, 2**32 - 1).map(jax.random.key)


shuffled = jax.jit(permutation, static_argnums=1)
jitted_batches = jax.jit(shuffled_batches, static_argnums=(1, 2))


def test_large_counts():
    for count in (60_000, 65_536, 65_537, 814_255):
        order = np.asarray(shuffled(jax.random.key(0), count))
        assert order.dtype == np.int32
        assert (np.bincount(order, minlength=count) == np.ones(count)).all()
        # Neighbours before are no neighbours after: 2 pairs of `count` by chance.
        assert (np.abs(np.diff(order)) == 1).sum() < 20
        # Each second one is larger than the one before, within five standard deviations: equals
        # of a single round would keep their order.
        assert abs((np.diff(order) > 0).mean() - 1 / 2) < 5 / np.sqrt(12 * count)


def test_rounds_do_not_share_a_key():
    """By jax's own checker."""
    with jax.debug_key_reuse(True):
        permutation(jax.random.key(0), 60_000)


def test_the_order_does_not_depend_on_the_float_type():
    plain = shuffled(jax.random.key(0), 1000)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(shuffled(jax.random.key(0), 1000), plain)


def test_all_orders_are_equally_likely():
    keys = jax.random.split(jax.random.key(1), 24_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, 4)))(keys))
    counts = [np.all(orders == order, axis=1).sum() for order in itertools.permutations(range(4))]
    assert sum(counts) == 24_000
    assert chisquare(counts).pvalue > 0.001


def test_places_are_equally_likely_where_random_bits_are_few():
    """60,000 needs two rounds: does any image come early or late too often?"""
    keys = jax.random.split(jax.random.key(2), 200)
    orders = np.asarray(jax.lax.map(lambda key: permutation(key, 60_000), keys))
    places = np.empty_like(orders)  # of each image, in each of 200 shuffles
    np.put_along_axis(places, orders, np.arange(60_000, dtype=np.int32)[None], axis=1)
    means = places[:, ::100].mean(axis=0)
    expected, error = 59_999 / 2, 60_000 / np.sqrt(12 * 200)
    assert chisquare(np.histogram(places[:, :50], bins=20)[0]).pvalue > 0.001
    assert np.abs(means - expected).max() < 5 * error


@settings(max_examples=20)
@given(KEYS, st.integers(1, 300), st.integers(1, 70))
@example(jax.random.key(0), 1, 1)
def test_every_example_counts_once(key, count, batch_size):
    indices, valid = jitted_batches(key, count, batch_size)
    assert indices.dtype == np.int32
    used = min(batch_size, count)
    assert indices.shape == valid.shape == (-(-count // used), used)
    counted = np.asarray(indices)[np.asarray(valid) == 1]
    np.testing.assert_array_equal(np.sort(counted), np.arange(count))
    assert (np.asarray(indices) < count).all()
    # What fills up the last batch are other images, so that no statistics lean to one.
    assert all(len(set(batch)) == used for batch in np.asarray(indices).tolist())


@pytest.mark.parametrize("more", [False, True])
def test_more_than_the_fast_way_can_shuffle(monkeypatch, more):
    """Above 2^24 there would be too few random bits: here the limit is 2^9."""
    asked, other = [], jax.random.permutation
    monkeypatch.setattr(batches, "_MOST_INDEX_BITS", 9)
    monkeypatch.setattr(jax.random, "permutation", lambda *a: asked.append(a) or other(*a))
    count = 2**9 + more
    order = np.asarray(permutation(jax.random.key(0), count))
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    assert (order[:100] != np.arange(100)).any()
    assert len(asked) == more


@pytest.mark.parametrize("more", [False, True])
def test_the_limit_of_the_fast_way(monkeypatch, more):
    """2^24 numbers, traced but not shuffled."""
    asked, other = [], jax.random.permutation
    monkeypatch.setattr(jax.random, "permutation", lambda *a: asked.append(a) or other(*a))
    order = jax.eval_shape(lambda key: permutation(key, 2**24 + more), jax.random.key(0))
    assert order.shape == (2**24 + more,)
    assert len(asked) == more


@pytest.mark.parametrize(
    ("count", "rounds"),
    [(1024, 1), (1025, 2), (65_536, 2), (65_537, 3), (2**21, 4), (2**21 + 1, 5), (2**24, 6)],
)
def test_rounds_have_twice_the_bits_of_an_index(monkeypatch, count, rounds):
    """Of 32 bits an index of 1025 numbers leaves 21 a round, and needs 22."""
    drawn, bits = [], jax.random.bits
    monkeypatch.setattr(jax.random, "bits", lambda *a: drawn.append(a) or bits(*a))
    jax.eval_shape(lambda key: permutation(key, count), jax.random.key(0))
    assert len(drawn) == rounds


def test_the_slow_way_gives_int32_too(monkeypatch):
    monkeypatch.setattr(batches, "_MOST_INDEX_BITS", 2)
    with jax.enable_x64(True):
        order = permutation(jax.random.key(0), 5)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("count", "batch", "steps"), [(1, 1, 1), (6, 3, 2), (7, 3, 3), (2, 3, 1)])
def test_steps_of_an_epoch(count, batch, steps):
    assert steps_per_epoch(count, batch) == steps


def test_weights_of_an_epoch():
    """The mean is over the images that count; a sum has a weight of 1 for each."""
    key = jax.random.key(0)
    for reduction, weights in (("mean", [[0.5, 0.5], [1, 0]]), ("sum", [[1, 1], [1, 0]])):
        indices, found = epoch_batches(key, 3, 3, 2, reduction)
        assert found.tolist() == weights
        np.testing.assert_array_equal(indices, epoch_batches(key, 3, 3, 2, "sum")[0])


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_batches_of_one_size(count, shape):
    """Zeros fill up the last one, and nothing else."""
    array = np.arange(1, 1 + count * int(np.prod(shape))).reshape(count, *shape)
    found = list(filled_batches(array, 3))
    assert len(found) == steps_per_epoch(count, 3)
    assert {batch.shape for batch in found} == {(3, *shape)}
    joined = np.concatenate(found)
    np.testing.assert_array_equal(joined[:count], array)
    assert not joined[count:].any()


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize(
    ("count", "most", "batches", "size"),
    [(1, 4, 1, 1), (4, 4, 1, 4), (5, 4, 2, 3), (9, 4, 3, 3), (10, 4, 3, 4)],
)
def test_batches_of_equal_size(count, most, batches, size, shape):
    """As few as they can be, and as even."""
    array = np.arange(1, 1 + count * int(np.prod(shape))).reshape(count, *shape)
    found = np.asarray(jax.jit(cut, static_argnums=1)(array, most))
    assert found.shape == (batches, size, *shape)
    joined = found.reshape(-1, *shape)
    np.testing.assert_array_equal(joined[:count], array)
    assert not joined[count:].any()
