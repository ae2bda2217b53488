import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxdigits import losses

LOGITS = arrays(np.float32, (3, 5), elements=st.floats(-1000, 1000, width=32))
LABELS = arrays(np.int32, (3,), elements=st.integers(0, 4))


@given(LOGITS)
def test_softmax(logits):
    """Row A2: the largest logit is subtracted, and the sum is 1."""
    probabilities = np.asarray(losses.softmax(jnp.asarray(logits)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        probabilities, scipy.special.softmax(logits.astype(np.float64), axis=1), atol=1e-5
    )


def test_cross_entropies_of_post_a():
    """Row A3, to the digits posted."""
    probabilities = jnp.array([[0.8, 0.2, 0.2], [0.2, 0.6, 0.2]])
    first, second = losses.cross_entropy_from_probabilities(probabilities, jnp.array([0, 0]))
    assert f"{first:.4f} {second:.4f}" == "0.2231 1.6094"
    wrong = jnp.eye(10)[jnp.array([1, 2, 3, 4])]
    four = losses.cross_entropy_from_probabilities(wrong, jnp.zeros(4, jnp.int32))
    assert f"{four.sum():.4f}" == "92.1034"


@given(LOGITS, LABELS)
def test_cross_entropy_against_scipy(logits, labels):
    expected = -scipy.special.log_softmax(logits.astype(np.float64), axis=1)[range(3), labels]
    ours = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-4)


@given(LOGITS, LABELS, st.floats(0, 0.99))
def test_smoothed_cross_entropy_is_a_mean_of_cross_entropies(logits, labels, smoothing):
    """Of the label's, and of all classes' alike: in float64, by scipy."""
    each = -scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    expected = (1 - smoothing) * each[range(3), labels] + smoothing * each.mean(axis=1)
    ours = losses.smoothed_cross_entropy(jnp.asarray(logits), jnp.asarray(labels), smoothing)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-3)


@settings(max_examples=20)
@given(LOGITS, LABELS, st.floats(0, 0.99))
def test_smoothed_cross_entropy_against_torch(logits, labels, smoothing):
    """Values, and gradients."""
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(labels).long(), reduction="none", label_smoothing=smoothing
    )
    expected.sum().backward()

    def total(logits):
        values = losses.smoothed_cross_entropy(logits, jnp.asarray(labels), smoothing)
        return values.sum(), values

    gradients, ours = jax.grad(total, has_aux=True)(jnp.asarray(logits))
    np.testing.assert_allclose(ours, expected.detach().numpy(), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(gradients, theirs.grad.numpy(), atol=1e-5)


def test_a_tenth_of_the_label_is_spread_by_default():
    """Of a certain and right answer, at 100 to 0: half of a tenth costs 100."""
    sure = jnp.array([[100.0, 0.0]])
    assert float(losses.smoothed_cross_entropy(sure, jnp.array([0]))[0]) == pytest.approx(5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_losses_are_of_the_type_of_the_logits(dtype):
    """Types do not mix: a step in bfloat16 stays one."""
    logits, labels = jax.ShapeDtypeStruct((2, 3), dtype), jax.ShapeDtypeStruct((2,), jnp.int32)
    for loss in (*losses.LOSSES.values(), losses.smoothed_cross_entropy):
        found = jax.eval_shape(loss, logits, labels)
        assert (found.shape, found.dtype) == ((2,), dtype)


def test_smoothed_cross_entropy_refuses_what_cross_entropy_refuses(python):
    code = (
        "import jax.numpy as jnp; from jaxdigits.losses import smoothed_cross_entropy\n"
        "try: smoothed_cross_entropy(jnp.zeros((2, 4)), jnp.zeros(2))\n"
        "except TypeError as error: print(error)"
    )
    assert python("-c", code).stdout.startswith("labels must be whole numbers of shape [2]")


@given(LOGITS, LABELS)
def test_the_clamp_only_matters_below_it(logits, labels):
    free = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    clamped = losses.clamped_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(clamped, np.minimum(free, -np.log(1e-10)), rtol=1e-4, atol=1e-4)


def test_nothing_flows_back_through_the_clamp():
    def loss(logits):
        return losses.clamped_cross_entropy(logits[None], jnp.array([0]))[0]

    assert not jax.grad(loss)(jnp.array([0.0, 30.0])).any()  # probability 1e-13
    assert jax.grad(loss)(jnp.array([0.0, 20.0]))[0] < -0.99  # probability 2e-9


@pytest.mark.parametrize(
    ("probability", "slope"), [(1e-11, 0), (1e-10, -1e10), (0.5, -2), (1.0, -1), (1.5, 0)]
)
def test_the_ends_of_the_clamp_are_inside(probability, slope):
    """As in PyTorch; beyond them the loss is that of the end."""

    def loss(p):
        return losses.cross_entropy_from_probabilities(p[None, None], jnp.array([0]))[0]

    found, gradient = jax.value_and_grad(loss)(jnp.float32(probability))
    assert gradient == pytest.approx(slope, rel=1e-5)
    assert found == pytest.approx(-math.log(min(max(probability, 1e-10), 1)), rel=1e-5)


def test_a_tenth_is_smoothed_by_default():
    logits, labels = jnp.array([[3.0, 0.0, 1.0]]), jnp.array([0])
    expected = losses.smoothed_cross_entropy(logits, labels, 0.1)
    np.testing.assert_array_equal(losses.smoothed_cross_entropy(logits, labels), expected)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_one_finite_value_and_gradient_per_example(name, rng):
    logits = jnp.asarray(rng.normal(size=(6, 4)) * 100, jnp.float32)
    labels = jnp.asarray(rng.integers(0, 4, 6))
    function = losses.LOSSES[name]
    values = function(logits, labels)
    assert values.shape == (6,)
    gradients = jax.jit(jax.grad(lambda z: function(z, labels).sum()))(logits)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    alone = [function(logits[i : i + 1], labels[i : i + 1])[0] for i in range(6)]
    np.testing.assert_allclose(values, alone, rtol=1e-5)


def test_labels_that_are_none_are_refused(python):
    code = (
        "import jax.numpy as jnp; from jaxdigits.losses import LOSSES\n"
        "for loss in LOSSES.values():\n"
        "    for labels in (jnp.zeros(2), jnp.zeros((2, 1), int), jnp.zeros(3, int)):\n"
        "        try: loss(jnp.zeros((2, 4)), labels)\n"
        "        except TypeError as error: print(error)"
    )
    lines = python("-c", code).stdout.splitlines()
    assert len(lines) == 3 * len(losses.LOSSES)
    assert all(line.startswith("labels must be whole numbers of shape [2]") for line in lines)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_against_torch(name, rng):
    """The posts' own lines, in PyTorch: values and gradients."""
    torch = pytest.importorskip("torch")
    array = rng.normal(size=(8, 10)).astype(np.float32) * 8
    labels = rng.integers(0, 10, 8)
    logits = torch.tensor(array, requires_grad=True)
    onehot = torch.eye(10)[labels]
    softmax = torch.softmax(logits, axis=1)
    theirs = {
        "cross_entropy": lambda: torch.nn.functional.cross_entropy(
            logits, torch.tensor(labels), reduction="sum"
        ),
        "clamped_cross_entropy": lambda: (
            -torch.sum(onehot * torch.log(torch.clamp(softmax, 1e-10, 1.0)))
        ),
        "sigmoid_mse": lambda: ((onehot - logits.sigmoid()) ** 2).mean(axis=1).sum(),
        "softmax_mse": lambda: ((onehot - softmax) ** 2).mean(axis=1).sum(),
    }[name]()
    theirs.backward()
    ours, gradients = jax.value_and_grad(
        lambda z: losses.LOSSES[name](z, jnp.asarray(labels)).sum()
    )(jnp.asarray(array))
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-5)
    np.testing.assert_allclose(gradients, logits.grad.numpy(), rtol=1e-3, atol=1e-5)
