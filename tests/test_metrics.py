import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as reference

from jaxdigits import metrics


@pytest.fixture
def scored(rng):
    """Logits without ties, and labels."""
    return jnp.asarray(rng.normal(size=(200, 7)), jnp.float32), jnp.asarray(rng.integers(0, 7, 200))


def test_against_scikit_learn(scored):
    logits, labels = scored
    guesses = np.argmax(logits, axis=1)
    assert jax.jit(metrics.accuracy)(logits, labels) == pytest.approx(
        reference.accuracy_score(labels, guesses)
    )
    counts = jax.jit(metrics.confusion_matrix)(logits, labels)
    np.testing.assert_array_equal(counts, reference.confusion_matrix(labels, guesses))
    np.testing.assert_allclose(
        metrics.per_class_accuracy(logits, labels),
        reference.recall_score(labels, guesses, average=None),  # pyright: ignore[reportArgumentType]
        rtol=1e-6,
    )
    for k in range(1, 7):
        expected = reference.top_k_accuracy_score(labels, logits, k=k)
        assert metrics.top_k_accuracy(logits, labels, k) == pytest.approx(expected)


def test_a_class_without_images_has_no_accuracy():
    shares = metrics.per_class_accuracy(jnp.eye(3), jnp.array([0, 1, 1]))
    np.testing.assert_array_equal(shares, [1, 0.5, np.nan])


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_against_scipy(sample):
    interval = binomtest(*sample).proportion_ci(method="wilson")
    np.testing.assert_allclose(metrics.wilson_interval(*sample), interval, atol=1e-12)
