"""Optimizers and their schedules against plain NumPy in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.training.optimizers import make_optimizer, make_schedule

STEPS = 20


def cosine(low: float, high: float, share: float) -> float:
    """From `low` to `high` by half a cosine."""
    return low + (high - low) * (1 - math.cos(math.pi * share)) / 2


def expected_rate(schedule: str, peak: float, step: int, steps: int) -> float:
    """By the formulas of the docstring."""
    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return cosine(peak, 0, step / steps)
    rising = int(0.3 * steps)
    if step < rising:
        return cosine(peak / 25, peak, step / rising)
    return cosine(peak, peak / 25e4, (step - rising) / (steps - rising))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_each_step_has_the_rate_of_its_schedule(schedule):
    config = jd.TrainConfig(model="mlp", schedule=schedule, learning_rate=0.5)
    rates = make_schedule(config, STEPS)
    for step in range(STEPS + 1):
        expected = expected_rate(schedule, 0.5, step, STEPS)
        assert float(np.asarray(rates(step))) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("steps", [0, 1])
def test_the_schedule_of_a_run_of_one_step_or_none(steps):
    rates = make_schedule(jd.TrainConfig(schedule="cosine", learning_rate=0.5), steps)
    assert [float(np.asarray(rates(step))) for step in (0, 1)] == pytest.approx([0.5, 0], abs=1e-7)


def update_of(optimizer: str, momentum: float, decay: float):
    """`update(gradient, parameter, step)`, of a run that remembers its moments."""
    first = second = 0.0

    def update(gradient, parameter, step):
        nonlocal first, second
        if optimizer == "sgd":
            first = momentum * first + gradient
            return first
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        return unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8) + decay * parameter

    return update


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("sgd", {}),
        ("sgd", {"momentum": 0.9}),
        ("adam", {}),
        ("adamw", {"weight_decay": 0.0}),
        ("adamw", {"weight_decay": 0.3}),
    ],
)
def test_optimizers_against_plain_numpy(optimizer, settings, schedule, rng):
    """Weights, which have two axes, decay; the bias does not."""
    config = jd.TrainConfig(
        model="mlp", optimizer=optimizer, schedule=schedule, learning_rate=0.02, **settings
    )
    params = {"weight": rng.normal(size=(2, 3)), "bias": rng.normal(size=3)}
    decay = config.weight_decay if optimizer == "adamw" else 0.0
    updates = {
        name: update_of(optimizer, config.momentum, decay * (name == "weight")) for name in params
    }
    found = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    transform = make_optimizer(config, STEPS)
    state, run = transform.init(found), jax.jit(transform.update)
    for step in range(STEPS):
        grads = {name: rng.normal(size=leaf.shape) for name, leaf in params.items()}
        rate = expected_rate(schedule, 0.02, step, STEPS)
        params = {
            name: leaf - rate * updates[name](grads[name], leaf, step)
            for name, leaf in params.items()
        }
        changes, state = run(
            jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), grads), state, found
        )
        found = jax.tree.map(jnp.add, found, changes)
    for name, leaf in params.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-5)
