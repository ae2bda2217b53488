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
        return -carry, double(rows)

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
    assert named[-2:] == [("neg", -112.0), ("mul", [220.0, 182.0, -198.0])]
    assert operations[-1].shape == (3,)
    assert operations[-1].place.startswith("test_each_result.<locals>.double (training/test_obs")


def test_a_step_s_results_lead_to_its_end():
    """The last that has each parameter's shape is that parameter, but for rounding."""
    data = jd.load_training_data("digits")
    config = jd.TrainConfig(model="convnet", optimizer="sgd", batch_size=32, augment=("shift",))
    trainer = make_trainer(config, data)
    state = jax.jit(trainer.init)(jax.random.key(0))
    batch = Batch(data.train.images[:32], data.train.labels[:32], np.full(32, 1 / 32, np.float32))
    after, _ = jax.jit(trainer.step)(state, batch)
    operations, results = observe(trainer.step)
    found, after = jax.device_get((jax.jit(results)(state, batch), after))
    assert len(operations) > 50
    for leaf in jax.tree.leaves(after.params):
        same = [value for value in found if value.shape == leaf.shape and value.dtype == leaf.dtype]
        assert min(float(np.abs(value - leaf).max()) for value in same) < 1e-5


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
        np.ones((2, 1), jnp.bfloat16),
        jax.random.key(3),
    ],
)
def test_digests_of_any_kind(value):
    assert int(digest(value)) == int(digest(value))
    assert int(digest(value)) > 0


def run(function, *given):
    """The operations of a function, and their results."""
    operations, results = observe(function)
    return operations, results(*given)


def test_inputs_are_numbers_of_operations():
    """Each once, the first one too; what was given has none."""
    operations, found = run(lambda x, y: (x * y) * (x * y + x) - (y - x), 3.0, 5.0)
    named = [(one.name, one.inputs) for one in operations]
    # The product stands there twice, and is computed twice.
    assert named == [
        ("mul", ()),
        ("mul", ()),
        ("add", (1,)),
        ("mul", (0, 2)),
        ("sub", ()),
        ("sub", (3, 4)),
    ]
    assert [float(value) for value in found] == [15, 15, 18, 270, 2, 268]
    operations, _ = run(lambda x: jnp.sin(x) * jnp.sin(x), 1.0)
    assert operations[-1].inputs == (0, 1)
    operations, _ = run(lambda x: (lambda y: y * y)(jnp.sin(x)), 1.0)
    assert operations[-1].inputs == (0,)


def test_observed_twice():
    """The list is of the last time."""
    operations, results = observe(lambda x: x + 1)
    for _ in range(2):
        assert [int(value) for value in results(1)] == [2]
        assert len(operations) == 1


def test_a_loop_with_constants_and_two_values_on_the_way():
    """Forward, each step by hand: what it takes, carries, and collects."""

    def function(first, factor, rows):
        def body(carry, row):
            one, other = carry
            return (one * factor + row, other - one), (one, other + row)

        return lax.scan(body, (first, 0 * first), rows)

    given = jnp.float32(1), jnp.float32(2), jnp.array([10.0, 20.0])
    operations, found = run(function, *given)
    named = [(one.name, value.tolist()) for one, value in zip(operations, found, strict=True)]
    assert named == [
        ("mul", 0),
        *[("mul", 2), ("add", 12), ("sub", -1), ("add", 10)],
        *[("mul", 24), ("add", 44), ("sub", -13), ("add", 19)],
        *[("stack", [1, 12]), ("stack", [10, 19])],
    ]
    assert [one.inputs for one in operations] == [
        (),
        *[(), (1,), (0,), (0,)],
        *[(2,), (5,), (3, 2), (3,)],
        *[(2,), (4, 8)],
    ]


@pytest.mark.parametrize(("length", "names"), [(64, ["add"] * 64), (65, ["scan"])])
def test_loops_of_few_steps_are_opened(length, names):
    def function(x):
        return lax.scan(lambda carry, _: (carry + x, None), x, length=length)

    operations, found = run(function, jnp.float32(1))
    assert [one.name for one in operations] == names
    assert float(found[-1]) == length + 1


def test_other_loops_and_conditions_are_one_operation():
    operations, found = run(lambda x: lax.while_loop(lambda x: x < 9, lambda x: x * 2, x), 3)
    assert [(one.name, int(value)) for one, value in zip(operations, found, strict=True)] == [
        ("while", 12)
    ]
    operations, found = run(lambda x: lax.cond(x > 0, lambda: x + 1, lambda: x - 1), 3)
    assert operations[-1].name == "cond"
    assert int(found[-1]) == 4


def mixed(word: int) -> int:
    """The end of MurmurHash3, in whole numbers."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word = (word ^ word >> shift) * factor % 2**32
    return word ^ word >> 16


@pytest.mark.parametrize("dtype", [np.float32, np.uint32, np.float16, np.uint8, np.int8, bool])
def test_a_digest_in_whole_numbers(dtype, rng):
    """Each word gets its place times the golden ratio of 2^32."""
    array = rng.integers(0, 100, (3, 5)).astype(dtype)
    words = array.view(f"uint{8 * array.dtype.itemsize}").ravel().tolist()
    golden = int(2**32 * (np.sqrt(5) - 1) / 2)
    expected = sum(mixed((word + golden * place) % 2**32) for place, word in enumerate(words))
    for digested in (digest(array), digest(jnp.asarray(array))):  # by NumPy, and by JAX
        assert int(digested) == expected % 2**32


def test_digests_of_64_bits():
    """Both halves of a number count, and the digest has 32 bits."""
    with jax.enable_x64(True):
        ones = np.array([1, 1 + 2**40, 2**40], np.int64)
        cut = [ones[number : number + 1] for number in range(3)]
        found = [digest(one) for one in [*cut, *map(jnp.asarray, cut)]]
        assert {one.dtype.name for one in found} == {"uint32"}
        assert len({int(one) for one in found}) == 3
        assert [int(one) for one in found[:3]] == [int(one) for one in found[3:]]
        assert digest(np.array([1.0, 1.0 + 1e-12])) != digest(np.array([1.0, 1.0]))
