"""Optimizers and learning-rate schedules by name; all of them are optax's.

Learning rate, weight decay, and momentum are arrays in the optimizer's state
(`optax.inject_hyperparams`), so that runs which differ in them share a compiled program.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdigits.config import TrainConfig
from jaxdigits.models import Params


def make_schedule(config: TrainConfig, num_steps: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
        config: `schedule` and `learning_rate`.
        num_steps: of the whole run.

    Returns:
        `constant`; `cosine`, from the peak to 0; or `one_cycle`, from a 25th of the peak to it in
        the first three tenths of the steps, then to nearly 0, both by a cosine.

    Example:
        >>> schedule = make_schedule(TrainConfig(schedule="cosine", learning_rate=0.5), 100)
        >>> [round(float(schedule(step)), 4) for step in (0, 50, 100)]
        [0.5, 0.25, 0.0]
    """
    num_steps = max(num_steps, 1)
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(config.learning_rate, num_steps)
    if config.schedule == "one_cycle":
        return optax.cosine_onecycle_schedule(num_steps, config.learning_rate)
    return optax.constant_schedule(config.learning_rate)


def is_weight(params: Params) -> Any:
    """Mark the parameters that decay: True for weights, which have two axes or more.

    Biases, the scales and offsets of normalizations, and their statistics have one.

    Example:
        >>> is_weight({"weight": jnp.zeros((10, 784)), "bias": jnp.zeros(10)})
        {'bias': False, 'weight': True}
    """
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(config: TrainConfig, num_steps: int) -> optax.GradientTransformation:
    """The optimizer of a run of `num_steps` steps, with its schedule.

    Its state has `hyperparams`: `learning_rate` (the peak), and `weight_decay` for adamw or
    `momentum` for sgd with momentum.

    Example:
        >>> sgd = make_optimizer(
        ...     TrainConfig(optimizer="sgd", schedule="constant", learning_rate=0.5), num_steps=10
        ... )
        >>> updates, _ = sgd.update(jnp.array([2.0]), sgd.init(jnp.array([0.0])))
        >>> updates.tolist()
        [-1.0]
    """
    # All schedules are the peak times a function of the step. A plain number where the rate is
    # constant: the schedule would count steps for nothing.
    shape = make_schedule(config.replace(learning_rate=1.0), num_steps)

    def rate(peak: Any) -> Any:
        if config.schedule == "constant":
            return peak
        return lambda step: peak * jnp.float32(shape(step))

    def adam(learning_rate: Any) -> optax.GradientTransformation:
        return optax.adam(rate(learning_rate))

    def adamw(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
        return optax.adamw(rate(learning_rate), weight_decay=weight_decay, mask=is_weight)

    def sgd(learning_rate: Any, momentum: Any = None) -> optax.GradientTransformation:
        return optax.sgd(rate(learning_rate), momentum=momentum)

    values = {name: jnp.float32(value) for name, value in config.hyperparams.items()}
    return optax.inject_hyperparams({"adam": adam, "adamw": adamw, "sgd": sgd}[config.optimizer])(
        **values
    )
