"""Networks as pairs of pure functions: `init(key) -> params`, `apply(params, images) -> logits`.

Each model has a file of its own. `make_model` binds the settings of a `TrainConfig` to one of
them; a `Model` of your own, with flax or without, goes through the same door.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int, Key

from jaxdigits.config import TrainConfig
from jaxdigits.models import linear, mlp, pixel
from jaxdigits.models.initializers import INITIALIZERS
from jaxdigits.models.mlp import ACTIVATIONS

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "Model",
    "count_params",
    "linear",
    "make_model",
    "mlp",
    "pixel",
]

Params = Any
"""A pytree of arrays."""


Apply = Callable[[Params, Float[Array, "n 28 28"]], Any]
"""`apply(params, images) -> logits`; `Any` because flax declares that it may return more."""

Fit = Callable[[Float[Array, "n 28 28"], Int[Array, " n"]], Params]
"""`fit(images, labels) -> params`, for a model that has a closed form in place of training."""


class Model(NamedTuple):
    """A network as pure functions.

    Attributes:
        init: `init(key) -> params`.
        apply: `apply(params, images) -> logits`, images scaled as the config says.
        fit: for a model without gradient steps, `fit(images, labels) -> params`.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp
        >>> class Net(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, images):
        ...         return nn.Dense(10)(images.reshape(len(images), -1))
        >>> model = Model(lambda key: Net().init(key, jnp.zeros((1, 28, 28))), Net().apply)
        >>> count_params(model.init(jax.random.key(0)))
        7850
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Apply
    fit: Fit | None = None


def make_model(config: TrainConfig, num_classes: int) -> Model:
    """The model that a config names, its settings bound.

    Example:
        >>> import jax
        >>> model = make_model(TrainConfig(model="mlp", hidden=(30,)), num_classes=10)
        >>> count_params(model.init(jax.random.key(0)))
        23860
    """
    if config.model == "pixel":
        return Model(
            partial(pixel.init, num_classes=num_classes),
            partial(pixel.apply, distance=config.distance),
            partial(pixel.fit, num_classes=num_classes),
        )
    if config.model == "linear":
        return Model(
            partial(linear.init, num_classes=num_classes, initializer=config.initializer),
            linear.apply,
        )
    return Model(
        partial(
            mlp.init,
            num_classes=num_classes,
            hidden=config.hidden,
            initializer=config.initializer,
        ),
        partial(mlp.apply, activation=config.activation),
    )


def count_params(params: Params) -> int:
    """The number of numbers in a pytree of parameters (or of their shapes).

    Post A row A8: 7,850 for the linear model, 23,860 for 784-30-10.
    """
    return sum(leaf.size for leaf in jax.tree.leaves(params))
