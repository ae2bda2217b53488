import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, sem, t
from sklearn import metrics as reference

import jaxdigits as jd
from jaxdigits.evaluation import metrics
from jaxdigits.models import make_model, pixel
from jaxdigits.transforms.scaling import Scaling, unit_pixels


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
        metrics.per_class_accuracy(counts),
        reference.recall_score(labels, guesses, average=None),  # pyright: ignore[reportArgumentType]
        rtol=1e-6,
    )
    for k in range(1, 7):
        expected = reference.top_k_accuracy_score(labels, logits, k=k)
        assert metrics.top_k_accuracy(logits, labels, k) == pytest.approx(expected)


def test_a_class_without_images_has_no_accuracy():
    counts = metrics.confusion_matrix(jnp.eye(3), jnp.array([0, 1, 1]))
    shares = metrics.per_class_accuracy(counts)
    np.testing.assert_array_equal(shares, [1, 0.5, np.nan])


@given(
    st.integers(1, 6).flatmap(lambda n: arrays(np.int32, (n, n), elements=st.integers(0, 9))),
    st.integers(1, 8),
)
def test_most_confused_by_brute_force(counts, wanted):
    pairs = []
    for first in range(len(counts)):
        for second in range(first + 1, len(counts)):
            times = int(counts[first, second]) + int(counts[second, first])
            if times:
                pairs.append((first, second, times))
    pairs.sort(key=lambda pair: -pair[2])  # equals keep their order
    assert metrics.most_confused(counts, wanted) == pairs[:wanted]


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_against_scipy(sample):
    interval = binomtest(*sample).proportion_ci(method="wilson")
    np.testing.assert_allclose(metrics.wilson_interval(*sample), interval, atol=1e-12)


@pytest.fixture(scope="module")
def scored_run() -> tuple[jd.Run, jd.data.Dataset]:
    """The pixel baseline on the digits, and their test split."""
    train, test = jd.data.load_splits("digits", ("train", "test"))
    config = jd.TrainConfig(model="pixel", scale="unit")
    scaling = Scaling(jnp.float32(0), jnp.float32(1))
    params = pixel.fit(unit_pixels(jnp.asarray(train.images)), jnp.asarray(train.labels))
    model = make_model(config, 10)
    return jd.Run(config, model, params, scaling, test.class_names, test.fingerprint, {}, {}), test


def test_an_evaluation_takes_any_loss(scored):
    """By name, or as a function: a focal loss (Lin et al. 2017), by hand in NumPy."""

    def focal(logits, labels):
        log_p = jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]
        return -((1 - jnp.exp(log_p)) ** 2) * log_p

    logits, labels = (np.asarray(array) for array in scored)
    labels = labels.astype(np.int32)
    powers = np.exp(logits.astype(np.float64))
    right = (powers / powers.sum(axis=1, keepdims=True))[np.arange(200), labels]
    for loss, expected in (
        ("cross_entropy", -np.log(right)),
        (focal, -((1 - right) ** 2) * np.log(right)),
    ):
        found = metrics.evaluate(logits, labels, tuple("abcdefg"), loss, split="validation")
        assert found.loss == pytest.approx(expected.mean(), rel=1e-5)
        assert (found.split, found.count) == ("validation", 200)
        assert found.low < found.accuracy < found.high


def test_the_mean_loss_is_taken_in_float64():
    """One large loss does not swallow the others."""
    logits = np.array([[2.0**25, 0], [1, 0], [1, 0], [1, 0]], np.float32)
    found = metrics.evaluate(
        logits, np.zeros(4, np.int32), ("a", "b"), lambda logits, _: logits[:, 0]
    )
    assert found.loss == 2.0**23 + 0.75


@pytest.mark.parametrize(
    ("value", "kept"), [(0.25, 0.25), (float("inf"), None), (float("nan"), None)]
)
def test_an_evaluation_as_json(value, kept):
    """A loss that is no number is None, and a class without images has no accuracy."""
    logits = np.array([[2, 1, 0], [2, 1, 0], [0, 1, 2], [1, 2, 0]], np.float32)
    labels = np.array([0, 1, 1, 1], np.int32)
    found = metrics.evaluate(
        logits, labels, ("a", "b", "c"), lambda logits, _: jnp.full(len(logits), value)
    )
    low, high = binomtest(2, 4).proportion_ci(method="wilson")
    document = found.as_dict()
    assert document.pop("interval_95") == pytest.approx([low, high])
    assert document == {
        "count": 4,
        "loss": kept,
        "accuracy": 0.5,
        "top_2_accuracy": 1.0,
        "most_confused": [["a", "b", 1], ["b", "c", 1]],
        "per_class_accuracy": {"a": 1.0, "b": pytest.approx(1 / 3), "c": None},
    }
    assert (found.split, found.confused) == ("test", [("a", "b", 1), ("b", "c", 1)])


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("values", [[0.9, 0.8], [0.91, 0.92, 0.95, 0.94]])
def test_intervals_over_seeds_against_scipy(values, level):
    """Student's t; that of one more run is wider by its own scatter."""
    mean, error = np.mean(values), sem(values)
    low, high = t.interval(level, len(values) - 1, mean, error)
    np.testing.assert_allclose(metrics.mean_interval(values, level), [mean, low, high])
    wider = error * np.sqrt(len(values) + 1)
    expected = t.interval(level, len(values) - 1, mean, wider)
    np.testing.assert_allclose(metrics.prediction_interval(values, level), expected)
    if level == 0.95:
        np.testing.assert_allclose(metrics.mean_interval(values), [mean, low, high])
        np.testing.assert_allclose(metrics.prediction_interval(values), expected)
        found = metrics.accuracy_interval(values)
        np.testing.assert_allclose(found, [mean, max(low, 0), min(high, 1)])
    correct, count = 9, 20
    low, high = binomtest(correct, count).proportion_ci(level, "wilson")
    np.testing.assert_allclose(metrics.wilson_interval(correct, count, level), [low, high])


def test_intervals_stay_within_0_and_1():
    assert metrics.accuracy_interval([0.0, 0.1])[1] == 0.0
    assert metrics.accuracy_interval([1.0, 0.9])[2] == 1.0
    for count in (1, 6, 9):  # of six, or of nine, rounding would lead beyond them
        assert metrics.wilson_interval(0, count)[0] == 0.0
        assert metrics.wilson_interval(count, count)[1] == 1.0
    for few in ([], [0.5]):
        with pytest.raises(ValueError, match=f"two values or more, not {len(few)}"):
            metrics.mean_interval(few)


def test_figures_of_an_evaluation(scored_run):
    run, test = scored_run
    found = run.evaluate(test)
    logits = run.predict_logits(test.images)
    within_two = (np.argsort(-logits, axis=1)[:, :2] == test.labels[:, None]).any(axis=1)
    assert found.top_2 == pytest.approx(within_two.mean())
    assert found.accuracy < found.top_2 < 1
    guesses = logits.argmax(axis=1)
    assert 1 <= len(found.confused) <= 5
    for first, second, times in found.confused:
        a, b = int(first), int(second)
        either = (test.labels == a) & (guesses == b) | (test.labels == b) & (guesses == a)
        assert times == either.sum() > 0
    plain = found.as_dict()
    assert plain["top_2_accuracy"] == found.top_2
    assert plain["most_confused"] == [list(pair) for pair in found.confused]


def test_accuracy_on_jittered_images(scored_run):
    """Row C5: another jitter in each draw, the same ones each time."""
    run, test = scored_run
    before = test.images.copy()
    found = run.accuracies_jittered(test, draws=4)
    assert len(set(found)) > 1
    assert run.accuracies_jittered(test, draws=4) == found
    assert run.accuracies_jittered(test, draws=2) == found[:2]
    np.testing.assert_array_equal(test.images, before)
    assert max(found) < run.evaluate(test).accuracy
    assert min(found) > 0.2
    letters = jd.data.Examples(np.zeros((30, 28, 28), np.uint8), np.arange(30) % 2)
    other = jd.data.from_arrays("other", letters, letters, ("a", "b"))["test"]
    with pytest.raises(jd.errors.DataError, match="the network knows the classes 0, 1"):
        run.accuracies_jittered(other)
