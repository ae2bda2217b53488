"""Optimisers and learning-rate schedules by name; all of them are optax's."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxdigits.config import TrainConfig
from jaxdigits.models import Params


class Rates(NamedTuple):
    """Settings of the optimiser as arrays, so that trainings which differ in them share a program.

    Attributes:
        learning_rate: float32, its peak.
        weight_decay: float32.
        momentum: float32.
    """

    learning_rate: Float[Array | np.ndarray, "*members"]
    weight_decay: Float[Array | np.ndarray, "*members"]
    momentum: Float[Array | np.ndarray, "*members"]


def make_schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
        config: `schedule` and `learning_rate`.
        steps: of the whole run.

    Returns:
        `constant`; `cosine`, from the peak to 0; or `one_cycle`, from a 25th of the peak to it in
        the first three tenths of the steps, then to nearly 0, both by a cosine.

    Example:
        >>> schedule = make_schedule(TrainConfig(schedule="cosine", learning_rate=0.5), steps=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 50, 100)]
        [0.5, 0.25, 0.0]
    """
    steps = max(steps, 1)
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(config.learning_rate, steps)
    if config.schedule == "one_cycle":
        return optax.cosine_onecycle_schedule(steps, config.learning_rate)
    return optax.constant_schedule(config.learning_rate)


def decays(params: Params) -> Any:
    """Which parameters weight decay is for: True for weights, which have two axes or more.

    Biases, the scales and offsets of normalisations and their statistics have one.

    Example:
        >>> import jax.numpy as jnp
        >>> decays({"weight": jnp.zeros((10, 784)), "bias": jnp.zeros(10)})
        {'bias': False, 'weight': True}
    """
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(
    config: TrainConfig, steps: int, rates: Rates | None = None
) -> optax.GradientTransformation:
    """The optimiser of a run of `steps` steps, with its schedule.

    Args:
        config: `optimizer`, `schedule` and their settings.
        steps: of the whole run.
        rates: of one training, in the place of the config's; the result is the same but for
            rounding.

    Example:
        >>> import jax.numpy as jnp
        >>> sgd = make_optimizer(
        ...     TrainConfig(optimizer="sgd", schedule="constant", learning_rate=0.5), steps=10
        ... )
        >>> updates, _ = sgd.update(jnp.array([2.0]), sgd.init(jnp.array([0.0])))
        >>> updates.tolist()
        [-1.0]
    """
    # A plain number where the rate is constant: the schedule would count steps for nothing.
    rate: Any = config.learning_rate
    if config.schedule != "constant":
        rate = make_schedule(config, steps)
    if rates is not None:
        # All schedules are the peak times a function of the step.
        shape = make_schedule(dataclasses.replace(config, learning_rate=1.0), steps)
        rate = rates.learning_rate
        if config.schedule != "constant":
            rate = lambda step: rates.learning_rate * shape(step)  # noqa: E731
    settings: Any = rates or config
    if config.optimizer == "adam":
        return optax.adam(rate)
    if config.optimizer == "adamw":
        return optax.adamw(rate, weight_decay=settings.weight_decay, mask=decays)
    if config.optimizer == "momentum":
        return optax.sgd(rate, momentum=settings.momentum)
    return optax.sgd(rate)
