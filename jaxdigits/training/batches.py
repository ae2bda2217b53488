"""Shuffle an epoch and cut it into batches, on the device."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

EVALUATION_BATCH = 200
"""Images at a time where nothing is learned: more would not stay in a CPU's cache."""


_MOST_INDEX_BITS = 24


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many batches `count` examples make, the last one perhaps smaller.

    Example:
        >>> steps_per_epoch(60_000, 64)
        938
    """
    return -(-count // batch_size)


def permutation(key: Key[Array, ""], count: int) -> Int[Array, " count"]:
    """A random order of 0..count-1, int32, 4 to 5 times faster on a CPU than jax.random's.

    XLA:CPU sorts single 32-bit numbers 5 times faster than pairs of key and value, and a shuffle
    is most of what an epoch of a small model does besides its products. So each number carries an
    index in its low bits and random bits above it: sorting them shuffles the indices, but with
    few random bits, between equals of which the order stays. Further rounds sort by fresh random
    bits, equals by the order of the round before, as a radix sort does. The rounds together give
    at least twice the index's bits, so that at most half a pair of indices in an epoch, on
    average, is equal in all of them and keeps its order. (Above 2^24 too few random bits would be
    left: those take jax.random's way.)

    Args:
        key: a random key.
        count: 1 to 2^31 - 1.

    Example:
        >>> import jax
        >>> sorted(permutation(jax.random.key(0), 5).tolist())
        [0, 1, 2, 3, 4]
    """
    index_bits = max((count - 1).bit_length(), 1)
    if index_bits > _MOST_INDEX_BITS:
        return jax.random.permutation(key, jnp.arange(count, dtype=jnp.int32))
    random_bits = 32 - index_bits
    rounds = -(-2 * index_bits // random_bits)
    positions = jnp.arange(count, dtype=jnp.uint32)
    order = positions
    for round_key in jax.random.split(key, rounds):
        random = jax.random.bits(round_key, (count,), jnp.uint32) << index_bits
        picked = jnp.sort(random | positions) & jnp.uint32(2**index_bits - 1)
        order = order[picked]
    return order.astype(jnp.int32)


def shuffled_batches(
    key: Key[Array, ""], count: int, batch_size: int
) -> tuple[Int[Array, "steps batch"], Float[Array, "steps batch"]]:
    """An epoch as batches of indices, all of one shape.

    The last batch is filled up with indices that do not count, so that it is used, and needs no
    second compilation.

    Args:
        key: a random key.
        count: the number of examples.
        batch_size: indices a batch, or all of them where there are fewer.

    Returns:
        Indices, int32, and weights, float32: 1 for an index that counts, 0 for one that does not.
        Each of 0..count-1 counts once.

    Example:
        >>> import jax
        >>> indices, valid = shuffled_batches(jax.random.key(0), count=5, batch_size=2)
        >>> indices.shape, valid.tolist()
        ((3, 2), [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    """
    batch_size = min(batch_size, count)
    steps = steps_per_epoch(count, batch_size)
    order = jnp.resize(permutation(key, count), (steps, batch_size))
    valid: Bool[Array, " slots"] = jnp.arange(steps * batch_size) < count
    return order, valid.astype(jnp.float32).reshape(steps, batch_size)


def epoch_batches(
    key: Key[Array, ""], epoch: Int[Array, ""] | int, count: int, batch_size: int, reduction: str
) -> tuple[Int[Array, "steps batch"], Float[Array, "steps batch"]]:
    """The batches of an epoch: which examples, and the weight of each one's loss in the sum.

    Args:
        key: `TrainState.key`.
        epoch: from 0.
        count: the number of examples.
        batch_size: as for `shuffled_batches`.
        reduction: `mean` or `sum`, of the losses of a batch.

    Returns:
        Indices, int32, and weights, float32; 0 for an index that only fills up the last batch.

    Example:
        >>> indices, weights = epoch_batches(jax.random.key(0), 0, 3, 2, reduction="mean")
        >>> indices.shape, weights.tolist()
        ((2, 2), [[0.5, 0.5], [1.0, 0.0]])
    """
    indices, valid = shuffled_batches(jax.random.fold_in(key, epoch), count, batch_size)
    mean = reduction == "mean"
    return indices, valid / valid.sum(axis=1, keepdims=True) if mean else valid


def filled_batches(
    array: Shaped[np.ndarray, "n ..."], size: int
) -> Iterator[Shaped[np.ndarray, "size ..."]]:
    """Batches of one size, so that one program serves arrays of any length; zeros fill up the last.

    Example:
        >>> [batch.tolist() for batch in filled_batches(np.array([1, 2, 3]), 2)]
        [[1, 2], [3, 0]]
    """
    for start in range(0, len(array), size):
        batch = array[start : start + size]
        more = [(0, size - len(batch))] + [(0, 0)] * (array.ndim - 1)
        yield np.pad(batch, more)


def cut(array: Shaped[Array, "n ..."], most: int) -> Shaped[Array, "batches size ..."]:
    """Cut into batches of equal size, at most `most`; zeros fill up the last one.

    Example:
        >>> cut(jnp.arange(5), most=3).tolist()
        [[0, 1, 2], [3, 4, 0]]
    """
    batches = -(-len(array) // most)
    size = -(-len(array) // batches)
    padding = [(0, batches * size - len(array))] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding).reshape(batches, size, *array.shape[1:])
