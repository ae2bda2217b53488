"""Error rates that are promised, and sets that hold the right class."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest, gamma

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.evaluation.promises import (
    DOUBTS,
    RISK,
    AnswerCounts,
    count_answers,
    count_probabilities,
)


def alike(answers: int, wrong: int, confidence: float) -> AnswerCounts:
    """Answers of one confidence, the last ones wrong."""
    confidences = np.full(answers, confidence)
    right = np.arange(answers) < answers - wrong
    return count_answers(confidences, right, np.where(right, confidence, 1 - confidence))


def test_counts_by_hand():
    """Doubts of 0.001, 0.3, and 0.3; of these the last is wrong, the right class being at 0.05."""
    probabilities = np.array([[0.999, 0.001], [0.3, 0.7], [0.7, 0.05]], np.float32)
    counts = count_probabilities(probabilities, np.array([0, 1, 1], np.int32))
    assert counts.answers == 3
    given, wrong, missed = (dict(zip(DOUBTS.tolist(), row, strict=True)) for row in counts[1:])
    assert [given[doubt] for doubt in (1.0, 0.1, 0.01, 1e-4)] == [3, 1, 1, 0]
    assert [wrong[doubt] for doubt in (1.0, 0.1, 0.01)] == [1, 0, 0]
    assert [missed[doubt] for doubt in (1.0, 0.1, 0.01)] == [3, 1, 0]


def test_doubts_run_from_1_to_a_hundred_thousandth():
    """Twenty to each power of ten: counts in run folders are by them."""
    np.testing.assert_allclose(DOUBTS[::20], [1, 0.1, 0.01, 1e-3, 1e-4, 1e-5], rtol=1e-12)
    np.testing.assert_allclose(DOUBTS[1:] / DOUBTS[:-1], np.full(100, 10**-0.05), rtol=1e-12)


def test_the_ends_of_what_is_counted():
    """An answer of just 1 - doubt is given; a right class at just the doubt is not missed."""
    counts = count_answers(np.array([0.0, 0.9]), np.array([True, False]), np.array([0.1, 1.0]))
    assert [counts.given[number] for number in (0, 1, 20, 21)] == [2, 1, 1, 0]
    assert [counts.wrong[number] for number in (0, 20, 21)] == [1, 1, 0]
    assert [counts.missed[number] for number in (0, 19, 20, 21)] == [1, 1, 0, 0]


@pytest.mark.parametrize("doubt", [0.1, 0.01, 1e-3, 1e-4])
def test_a_quarter_of_the_risk_enters_at_each_power_of_ten(doubt):
    """There are answers just as sure as that, all right, and others less so, all wrong."""
    confidences = 1 - np.repeat([0.97 * doubt, 3 * doubt], 5000)
    counts = count_answers(confidences, np.arange(10_000) < 5000, confidences)
    loosest = 1 - counts.threshold(0.002)
    assert loosest == pytest.approx(doubt * 10**0.45)  # the last doubt below the others'
    confidences = 1 - np.repeat([1.03 * doubt, 3 * doubt], 5000)
    counts = count_answers(confidences, np.arange(10_000) < 5000, confidences)
    with pytest.raises(ConfigError):
        counts.threshold(0.002)


@pytest.mark.parametrize(
    ("answers", "wrong", "rate"),
    [(10, 0, 0.36), (42, 0, 0.10), (43, 0, 0.097), (438, 0, 0.01), (10, 10, 1.0), (10**7, 0, 1e-5)],
)
def test_the_least_error_rate_to_two_digits(answers, wrong, rate):
    """Of n answers without a mistake, 1 - 0.0125 ** (1 / n), rounded up; 0.00001 at least."""
    counts = AnswerCounts(answers, (answers,) * 101, (wrong,) * 101, (0,) * 101)
    assert counts.least_error_rate() == pytest.approx(rate, rel=1e-9)
    if rate < 1:
        assert counts.threshold(rate) == 0.0


@pytest.mark.parametrize(
    ("answers", "rate", "needed"), [(3000, 0.001, "4,400"), (10, 1e-4, "44,000"), (10, 3e-5, "")]
)
def test_how_many_answers_it_would_take(answers, rate, needed):
    """A little more, or many more; beyond 10,000 times as many, nothing is said."""
    with pytest.raises(ConfigError) as told:
        alike(answers, 0, 0.9999999).threshold(rate)
    least = alike(answers, 0, 0.9999999).least_error_rate()
    words = f"; it would take about {needed}" if needed else ""
    assert str(told.value) == (
        f"an error rate of {rate:.12g} cannot be promised from {answers:,} answers{words}; "
        f"accept {least:.12g} or more"
    )


@pytest.mark.parametrize(
    ("answers", "mistakes", "needed"), [(1000, 3, "2,400"), (1050, 2, "2,000")]
)
def test_mistakes_grow_with_the_answers(answers, mistakes, needed):
    """One in 1,000 or 1,050: up to twice the answers would have two, and more would have three."""
    with pytest.raises(ConfigError, match=f"; it would take about {needed}; accept"):
        alike(answers, 1, 0.9999999).threshold(0.004)
    least = float(gamma.ppf(1 - RISK / 4, mistakes + 1)) / 0.004  # by Poisson's distribution
    assert f"{float(f'{least:.2g}'):,.0f}" == needed
    assert np.ceil(least / answers) == mistakes


@pytest.mark.parametrize(("answers", "wrong"), [(500, 0), (500, 3), (5000, 20)])
def test_the_bound_is_clopper_and_pearsons(answers, wrong):
    """Where all are alike, the risk of one start is all that counts; two implementations."""
    counts = alike(answers, wrong, 0.95)
    bound = float(beta.ppf(1 - RISK / 4, wrong + 1, answers - wrong))
    interval = binomtest(wrong, answers).proportion_ci(1 - RISK / 2, "exact")
    assert interval.high == pytest.approx(bound)
    assert counts.threshold(1.001 * bound) == 0.0  # there are no others
    with pytest.raises(ConfigError, match="cannot be promised"):
        counts.threshold(0.999 * bound)


def test_the_risk_is_handed_on():
    """At 0.9 a quarter of it does not do; half, with what 0.99 hands on, does."""
    confidences = np.array([0.995] * 2000 + [0.9] * 100)
    right = np.array([True] * 2085 + [False] * 15)
    quarter, half = (float(beta.ppf(1 - part * RISK, 16, 2085)) for part in (0.25, 0.5))
    rate = (quarter + half) / 2
    assert count_answers(confidences, right, confidences).threshold(rate) == 0.0
    with pytest.raises(ConfigError):
        alike(2100, 15, 0.9).threshold(rate)


@pytest.mark.parametrize("error_rate", [0.05, 0.03, 0.015])
def test_few_promises_are_broken(error_rate, rng):
    """The true error rate from a doubt on is known: 0.8 times the mean doubt below it."""
    broken, runs = 0, 300
    for _ in range(runs):
        doubt = 10 ** rng.uniform(-4, 0, 2000)
        right = rng.random(2000) > 0.8 * doubt
        least = count_answers(1 - doubt, right, 1 - doubt).threshold(error_rate)
        most = 1 - least
        mean = (most - 1e-4) / np.log(most / 1e-4)
        broken += 0.8 * mean > error_rate
    assert broken <= 24  # 15 are expected at most; 25 or more are as unlikely as 1 in 100
    assert broken > 0


def test_coverage(rng):
    """Sets hold the right class as often as was asked for, and hardly oftener."""
    held = []
    for _ in range(200):
        right = rng.beta(4, 1, 1001)
        counts = count_answers(right, right > 0.5, right)
        held.append(1 - beta.cdf(counts.least_probability(0.9), 4, 1))
    assert 0.897 < np.mean(held) < 0.93


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_at_most_that_many_are_missed(right, coverage):
    """Of the images themselves, and one more that may be missed."""
    probabilities = np.array(right)
    counts = count_answers(probabilities, probabilities > 0.5, probabilities)
    most = int((len(right) + 1) * (1 - coverage) + 1e-9)
    if not most or (probabilities < DOUBTS[-1]).sum() >= most:
        with pytest.raises(ConfigError, match=r"ask for less|out of the question"):
            counts.least_probability(coverage)
        return
    assert (probabilities < counts.least_probability(coverage)).sum() < most


def test_what_would_do_instead():
    counts = alike(300, 0, 0.999)
    with pytest.raises(ConfigError) as told:
        counts.threshold(0.001)
    message = str(told.value)
    assert message.startswith("an error rate of 0.001 cannot be promised from 300 answers; ")
    # 4,380 without a mistake: 0.999 ** 4380 is a quarter of 0.05.
    assert message.endswith("it would take about 4,400; accept 0.015 or more")
    assert counts.threshold(0.015) < 0.999
    with pytest.raises(ConfigError, match=r"of 0\.014 cannot"):
        counts.threshold(0.014)
    with pytest.raises(ConfigError, match="of 0 cannot be promised from 300 answers; accept"):
        counts.threshold(0.0)
    with pytest.raises(ConfigError, match="from 300 answers; 999 would do"):
        counts.least_probability(0.999)
    with pytest.raises(ConfigError, match="no number would do"):
        counts.least_probability(1.0)
    none = count_answers(
        np.full(300, 0.9), np.arange(300) > 4, np.where(np.arange(300) > 4, 1.0, 0.0)
    )
    assert none.least_probability(0.98) == 1.0
    with pytest.raises(ConfigError, match="300 answers: for 5 it was out of the question"):
        none.least_probability(0.99)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_impossible_rates(rate):
    counts = alike(10, 0, 0.9)
    with pytest.raises(ConfigError, match="the error rate must be 0 to 1, not"):
        counts.threshold(rate)
    with pytest.raises(ConfigError, match="must be 0 to 1, not"):
        counts.least_probability(rate)


def test_everything_is_given_if_all_may_be_wrong():
    assert alike(10, 10, 0.9).threshold(1.0) == 0.0


def test_nothing_counted():
    """As in a run folder of an older version."""
    run = jd.load("digits")
    assert run.calibration is not None
    for calibration in (None, dataclasses.replace(run.calibration, counts=None, pages=None)):
        old = dataclasses.replace(run, calibration=calibration)
        for ask in (jd.handwriting.threshold, jd.handwriting.least_probability):
            with pytest.raises(ConfigError, match="nothing can be promised of this network"):
                ask(old, 0.5)
