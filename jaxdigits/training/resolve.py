"""From names to parts: the only place that reads the names in a config."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxdigits.by_hand import dense
from jaxdigits.config import TrainConfig
from jaxdigits.errors import ConfigError
from jaxdigits.losses import LOSSES, Loss, smoothed_cross_entropy
from jaxdigits.models import Hints, Model, make_model
from jaxdigits.programs import jit_few
from jaxdigits.training.batches import steps_per_epoch
from jaxdigits.training.optimizers import make_optimizer
from jaxdigits.training.precision import in_precision
from jaxdigits.training.state import TrainingData
from jaxdigits.training.step import Gradients, autodiff
from jaxdigits.transforms.augment import Augment, make_augment
from jaxdigits.transforms.scaling import UNIT, Scaling, pixel_statistics, scale_inputs


class DataSpec(NamedTuple):
    """What the parts of a run must know of its data.

    Attributes:
        num_examples: to train on.
        image_shape: (height, width) or (height, width, channels).
        num_classes: labels are 0..num_classes-1.
        scaling: of the pixels.
    """

    num_examples: int
    image_shape: tuple[int, ...]
    num_classes: int
    scaling: Scaling

    @classmethod
    def of(cls, data: TrainingData, scale: str) -> "DataSpec":
        """Describe data, also inside a jitted function. `scale` is `TrainConfig.scale`."""
        images = data.train.images
        scaling = fit_scaling(scale, images)
        return cls(len(images), tuple(images.shape[1:]), data.num_classes, scaling)


class Parts(NamedTuple):
    """What a run is made of: what was passed in wins, the rest is looked up by name.

    Attributes:
        config: with everything filled in that `auto` or None stood for.
        model: the network.
        loss: that is reported, one value per example.
        optimizer: with its schedule.
        augment: changes pixels of 0..1 at random; None for no change.
        scaling: from pixels of 0..1 to the model's inputs.
        gradients: of the loss that is minimized.
        num_steps: of the whole run.
        own: the names of the parts that were passed in, which no config can bring back.
    """

    config: TrainConfig
    model: Model
    loss: Loss
    optimizer: optax.GradientTransformation
    augment: Augment | None
    scaling: Callable[[Float[Array, "n ..."]], Float[Array, "n ..."]]
    gradients: Gradients
    num_steps: int
    own: tuple[str, ...]


def resolve(
    config: TrainConfig,
    spec: DataSpec,
    *,
    model: Model | None = None,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    augment: Augment | None = None,
    axis_name: str | None = None,
) -> Parts:
    """Look up the parts that a config names.

    Args:
        config: the settings.
        spec: of the data.
        model: a network of your own. What its `hints` do not say it does without.
        loss: `loss(logits, labels)`, one value per example.
        optimizer: any of optax's.
        augment: `augment(key, images)`, images with pixels of 0..1.
        axis_name: of the devices that share a batch, if any.

    Raises:
        ConfigError: parts do not go together, or the model does not give a logit per class.

    Example:
        >>> spec = DataSpec(60_000, (28, 28), 10, Scaling(*map(jnp.float32, UNIT)))
        >>> parts = resolve(TrainConfig(model="mlp"), spec)
        >>> parts.num_steps, parts.config.epochs, parts.config.augment, parts.own
        (9380, 10, (), ())
    """
    own = own_parts(config, model=model, loss=loss, optimizer=optimizer, augment=augment)
    net = model or make_model(config, spec.num_classes, spec.image_shape, axis_name)
    _check_logits(net, spec)
    epochs = 0 if net.fit else count_epochs(config, net.hints, spec.num_examples)
    names = net.hints.augment if config.augment == ("auto",) else config.augment
    num_steps = epochs * steps_per_epoch(spec.num_examples, config.batch_size)
    reported = loss or LOSSES[config.loss]
    minimized = reported
    if config.label_smoothing:
        minimized = partial(smoothed_cross_entropy, smoothing=config.label_smoothing)
    trained = in_precision(net, config.precision)
    return Parts(
        config=replace(config, epochs=epochs, augment=() if augment else names),
        model=net,
        loss=reported,
        optimizer=optimizer or make_optimizer(config, num_steps),
        augment=augment or (make_augment(names) if names else None),
        scaling=partial(scale_inputs, scaling=spec.scaling, scale=config.scale),
        gradients=_by_hand(config) if config.gradients == "hand" else autodiff(trained, minimized),
        num_steps=num_steps,
        own=own,
    )


def own_parts(config: TrainConfig, **parts: Any) -> tuple[str, ...]:
    """The names of the parts that are not None, if they go together with the config.

    Raises:
        ConfigError: they do not.

    Example:
        >>> own_parts(TrainConfig(), model=None, loss=LOSSES["cross_entropy"])
        ('loss',)
    """
    own = tuple(name for name, part in parts.items() if part is not None)
    if config.gradients == "hand" and {"model", "loss"} & set(own):
        raise ConfigError("gradients by hand are for linear and mlp, not for parts of your own")
    if config.label_smoothing and "loss" in own:
        raise ConfigError("label_smoothing is for cross_entropy; build it into your own loss")
    return own


def count_epochs(config: TrainConfig, hints: Hints, num_examples: int) -> int:
    """The epochs of a run: the config's, or as many as suit the network, else 10.

    Example:
        >>> hints = Hints(examples=275_000)
        >>> count_epochs(TrainConfig(), hints, 55_000), count_epochs(TrainConfig(), Hints(), 55_000)
        (5, 10)
    """
    if config.epochs is not None:
        return config.epochs
    if hints.examples is None:
        return 10
    return min(max(round(hints.examples / max(num_examples, 1)), 5), 60)


def fit_scaling(scale: str, images: Any) -> Scaling:
    """The scaling of pixels for `TrainConfig.scale`: fitted to the images, or none."""
    if scale == "standardized":  # jitted, as one program takes a third of the time
        return _statistics(images)
    return Scaling(*map(jnp.float32, UNIT))


_statistics = jit_few(maxsize=8)(pixel_statistics)


def _check_logits(model: Model, spec: DataSpec) -> None:
    """Raise ConfigError where a model does not give a logit for each class."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, *spec.image_shape), jnp.float32)
    logits = jax.eval_shape(model.apply, params, images)
    if logits.shape != (2, spec.num_classes):
        raise ConfigError(
            f"the model gives logits of shape {list(logits.shape)} for 2 images; "
            f"for {spec.num_classes} classes it should be [2, {spec.num_classes}]"
        )


def _by_hand(config: TrainConfig) -> Gradients:
    by_hand = dense.linear
    if config.model == "mlp":
        by_hand = partial(dense.mlp, activation=config.activation)

    def gradients(params, inputs, labels, weights, _):
        logits, grads = by_hand(params, inputs, labels, weights)
        return logits, grads, {}

    return gradients
