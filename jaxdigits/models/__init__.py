"""Networks as pairs of pure functions: `init(key) -> params`, `apply(params, images) -> logits`.

Each model has a file of its own. `make_model` binds the settings of a `TrainConfig` to one of
them; a `Model` of your own, with flax or without, goes through the same door.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int, Key

from jaxdigits.config import TrainConfig
from jaxdigits.models import convnet, linear, mlp, pixel
from jaxdigits.models.activations import ACTIVATIONS
from jaxdigits.models.hints import Hints
from jaxdigits.models.initializers import INITIALIZERS

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "Hints",
    "Model",
    "convnet",
    "count_params",
    "linear",
    "make_model",
    "mlp",
    "pixel",
]

Params = Any
"""A pytree of arrays.

A network that keeps statistics, as batch normalization does, has flax's collections at the top:
`{"params": ..., "batch_stats": ...}`.
"""


Apply = Callable[[Params, Float[Array, "n ..."]], Any]
"""`apply(params, images) -> logits`; `Any` because flax declares that it may return more."""

Fit = Callable[[Float[Array, "n ..."], Int[Array, " n"]], Params]
"""`fit(images, labels) -> params`, for a model that has a closed form in place of training."""

ApplyTrain = Callable[[Params, Float[Array, "n ..."], Key[Array, ""]], tuple[Any, Any]]
"""`apply_train(params, images, key) -> (logits, changed)`, where training differs.

`changed` are the collections of `params` that the batch has changed, such as `{"batch_stats": ...}`
or `{}`: what flax's `apply` gives with `mutable`.
"""


class Model(NamedTuple):
    """A network as pure functions.

    Attributes:
        init: `init(key) -> params`.
        apply: `apply(params, images) -> logits`, images scaled as the config says: floats
            [n, height, width] or [n, height, width, channels].
        fit: for a model without gradient steps, `fit(images, labels) -> params`.
        apply_train: for one that is applied otherwise in training, by dropout or by statistics of
            the batch, `apply_train(params, images, key) -> (logits, changed)`.
        hints: what suits it.

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
    apply_train: ApplyTrain | None = None
    hints: Hints = Hints()


def make_model(
    config: TrainConfig,
    num_classes: int,
    image_shape: tuple[int, ...] = (28, 28),
    axis_name: str | None = None,
) -> Model:
    """The model that a config names, its settings bound.

    Equal arguments give the same object, so what is jitted with it is compiled once.

    Args:
        config: the settings.
        num_classes: the number of logits.
        image_shape: (height, width) or (height, width, channels).
        axis_name: of the devices that share a batch in training, if any.

    Raises:
        ConfigError: the network does not take images of that shape.

    Example:
        >>> import jax
        >>> model = make_model(TrainConfig(model="mlp", hidden=(30,)), num_classes=10)
        >>> count_params(model.init(jax.random.key(0)))
        23860
    """
    settings = {name: getattr(config, name) for name in _SETTINGS}
    return _cached_model(TrainConfig(**settings), num_classes, tuple(image_shape), axis_name)


_SETTINGS = (
    *("model", "hidden", "activation", "pool_activation", "stem", "dropout", "initializer"),
    "distance",
)
"""Those that a network depends on."""


@lru_cache(maxsize=64)
def _cached_model(
    config: TrainConfig, num_classes: int, image_shape: tuple[int, ...], axis_name: str | None
) -> Model:
    shape = {"num_classes": num_classes, "image_shape": image_shape}
    if config.model == "pixel":
        return Model(
            partial(pixel.init, **shape),
            partial(pixel.apply, distance=config.distance),
            partial(pixel.fit, num_classes=num_classes),
        )
    if config.model == "resnet18":
        from jaxdigits.models import resnet  # flax takes a fifth of a second

        settings = {"num_classes": num_classes, "stem": config.stem}
        return Model(
            partial(resnet.init, **shape, stem=config.stem),
            partial(resnet.apply, **settings),
            apply_train=partial(
                resnet.apply_train, **settings, dropout=config.dropout, axis_name=axis_name
            ),
            hints=resnet.HINTS,
        )
    if config.model == "convnet":
        init = partial(convnet.init, **shape, initializer=config.initializer)
        apply = partial(convnet.apply, pool_activation=config.pool_activation)
        convnet.flat_size(image_shape)
        return Model(init, apply, None, _with_dropout(apply, config), convnet.HINTS)
    inputs = {"num_classes": num_classes, "inputs": math.prod(image_shape)}
    if config.model == "linear":
        return Model(partial(linear.init, **inputs, initializer=config.initializer), linear.apply)
    init = partial(mlp.init, **inputs, hidden=config.hidden, initializer=config.initializer)
    apply = partial(mlp.apply, activation=config.activation)
    return Model(init, apply, apply_train=_with_dropout(apply, config))


def _with_dropout(apply: Callable[..., Any], config: TrainConfig) -> ApplyTrain | None:
    if not config.dropout:
        return None
    return lambda params, images, key: (
        apply(params, images, dropout=config.dropout, key=key),
        {},
    )


def count_params(params: Params) -> int:
    """The number of numbers in a pytree of parameters (or of their shapes).

    Statistics (the collection `batch_stats`) are not counted. Post A row A8: 7,850 for the linear
    model, 23,860 for 784-30-10.
    """
    if isinstance(params, Mapping) and "batch_stats" in params:
        params = params["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))
