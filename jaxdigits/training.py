"""A whole training run as a pure function of a key and the data.

    train = jd.make_train(config)
    result = jax.jit(train)(key, data)                            # one run
    results = jax.jit(jax.vmap(train, in_axes=(0, None)))(keys, data)   # many, one program

`make_train` is `make_trainer` with a scan over its epochs. A trainer's `epoch` is one XLA program:
the images stay on the device as uint8, are shuffled there, gathered and scaled batch by batch, and
nothing comes back to the host before the epoch ends. The command line runs a trainer epoch by
epoch, to show its progress.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxdigits import gradients, metrics
from jaxdigits.batches import shuffled_batches, steps_per_epoch
from jaxdigits.config import TrainConfig
from jaxdigits.data import Dataset, Examples, load_splits
from jaxdigits.data.preparation import StrPath
from jaxdigits.errors import ConfigError
from jaxdigits.losses import LOSSES, Loss
from jaxdigits.models import Apply, Model, Params, make_model
from jaxdigits.optimizers import make_optimizer
from jaxdigits.preprocess import UNIT, Scaling, pixel_statistics, scale_pixels

EVALUATION_BATCH = 1000
"""Images at a time where nothing is learned."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a training run sees: a pytree that jitted functions take.

    Attributes:
        train: examples to learn from.
        validation: held-out examples to choose by.
        num_classes: labels are 0..num_classes-1. `from_datasets` and `load_training_data` see to
            it; a compiled program cannot, and would give a silent `nan`.
    """

    train: Examples
    validation: Examples
    num_classes: int = field(metadata={"static": True})

    @classmethod
    def from_datasets(cls, train: Dataset, validation: Dataset) -> "TrainingData":
        """Two splits of a data set; arrays of your own come from `jaxdigits.data.from_arrays`."""
        return cls(train.examples, validation.examples, len(train.class_names))


def load_training_data(
    name: str, *, data_dir: StrPath | None = None, manual_dir: StrPath | None = None
) -> TrainingData:
    """The `train` and `validation` splits of a data set; arguments as of `jaxdigits.data.load`.

    Example:
        >>> data = load_training_data("digits")
        >>> data.train.images.shape, data.validation.labels.shape, data.num_classes
        ((1317, 28, 28), (120,), 10)
    """
    splits = load_splits(name, ("train", "validation"), data_dir=data_dir, manual_dir=manual_dir)
    return TrainingData.from_datasets(*splits)


class TrainState(NamedTuple):
    """All that changes in training, and the scaling, which does not.

    Attributes:
        params: the model's parameters.
        opt_state: the optimiser's state.
        scaling: of the pixels, from the training images.
        key: of the run; an epoch's own is folded from it.
        epoch: int32, how many epochs are done.
    """

    params: Params
    opt_state: optax.OptState
    scaling: Scaling
    key: Key[Array, ""]
    epoch: Int[Array, ""]


class Metrics(NamedTuple):
    """Means over examples.

    Attributes:
        loss: float32, the mean of the config's loss over examples, whatever its reduction.
        accuracy: float32, 0..1.
    """

    loss: Float[Array, "*epochs"]
    accuracy: Float[Array, "*epochs"]


class EpochMetrics(NamedTuple):
    """What an epoch gave.

    Attributes:
        train: over the epoch's batches, each before the step that it led to.
        validation: after the epoch.
    """

    train: Metrics
    validation: Metrics


class TrainResult(NamedTuple):
    """What a run gives.

    Attributes:
        state: the last state, with the trained parameters.
        untrained: validation metrics of the starting parameters.
        history: a value for each epoch.
    """

    state: TrainState
    untrained: Metrics
    history: EpochMetrics


class Trainer(NamedTuple):
    """The pure functions of which a run consists.

    Attributes:
        init: `init(key, data, params=None) -> state`; it starts from `params`, or from the model's
            own starting values.
        epoch: `epoch(state, data) -> (state, metrics)`; jit it, and donate the state.
        evaluate: `evaluate(state, examples) -> metrics`.
        epochs: how often to call `epoch`.
    """

    init: Callable[..., TrainState]
    epoch: Callable[[TrainState, TrainingData], tuple[TrainState, EpochMetrics]]
    evaluate: Callable[[TrainState, Examples], Metrics]
    epochs: int


LossAndGradients = Callable[
    [Params, Float[Array, "n 28 28"], Int[Array, " n"], Float[Array, " n"]],
    tuple[Float[Array, "n classes"], Params],
]
"""`(params, images, labels, weights) -> (logits, gradients)` of the weighted sum of losses."""


def make_train(
    config: TrainConfig,
    *,
    model: Model | None = None,
    optimizer: optax.GradientTransformation | None = None,
) -> Callable[..., TrainResult]:
    """A training run as one pure function of a key and data, to be jitted, or vmapped over keys.

    Args:
        config: the settings; `dataset` and `seed` are the caller's and not looked at here.
        model: a network of your own in the place of the config's.
        optimizer: an optimiser of your own in the place of the config's.

    Returns:
        `train(key, data, params=None) -> TrainResult`: it goes on from `params`, or begins with the
        model's own starting values.

    Raises:
        ConfigError: gradients by hand are asked for with a model of your own, or (when the
            function is traced) that model does not give a logit for each class.

    Example:
        >>> import jax, jaxdigits as jd
        >>> data = jd.load_training_data("digits")
        >>> train = jax.jit(jd.make_train(jd.TrainConfig(epochs=5)))
        >>> result = train(jax.random.key(0), data)
        >>> result.history.validation.accuracy.shape
        (5,)
        >>> bool(result.history.validation.accuracy[-1] > 0.9)
        True
    """
    _check_gradients(config, model)

    def train(key: Key[Array, ""], data: TrainingData, params: Params | None = None) -> TrainResult:
        trainer = make_trainer(config, data.num_classes, model=model, optimizer=optimizer)
        state = trainer.init(key, data, params)
        untrained = trainer.evaluate(state, data.validation)
        state, history = lax.scan(
            lambda state, _: trainer.epoch(state, data), state, length=trainer.epochs
        )
        return TrainResult(state, untrained, history)

    return train


def make_trainer(
    config: TrainConfig,
    num_classes: int,
    *,
    model: Model | None = None,
    optimizer: optax.GradientTransformation | None = None,
) -> Trainer:
    """The parts of which `make_train` makes a run; arguments and errors are the same.

    `num_classes` must be that of the data. A model with a `fit` is fitted by `init`, and has no
    epochs.
    """
    _check_gradients(config, model)
    net = model or make_model(config, num_classes)
    loss = LOSSES[config.loss]
    loss_and_gradients = _make_loss_and_gradients(config, net, loss)

    def optimizer_for(images: Array) -> optax.GradientTransformation:
        steps = config.epochs * steps_per_epoch(len(images), config.batch_size)
        return optimizer or make_optimizer(config, steps)

    def init(key: Key[Array, ""], data: TrainingData, params: Params | None = None) -> TrainState:
        if data.num_classes != num_classes:
            raise ConfigError(
                f"the trainer is for {num_classes} classes, the data have {data.num_classes}"
            )
        images, labels = jax.tree.map(jnp.asarray, data.train)
        init_key, epochs_key = jax.random.split(key)
        standardized = config.scale == "standardized"
        scaling = pixel_statistics(images) if standardized else Scaling(*map(jnp.float32, UNIT))
        start: Params
        if params is not None:
            start = jax.tree.map(jnp.copy, params)  # whoever donates the state keeps these
        elif net.fit is not None:
            start = net.fit(scale_pixels(images, scaling), labels)
        else:
            start = net.init(init_key)
        found = jax.eval_shape(net.apply, start, jax.ShapeDtypeStruct((2, 28, 28), jnp.float32))
        if found.shape != (2, num_classes):
            raise ConfigError(
                f"the model gives logits of shape {list(found.shape)} for 2 images; "
                f"for {num_classes} classes it should be [2, {num_classes}]"
            )
        opt_state = optimizer_for(images).init(start)
        return TrainState(start, opt_state, scaling, epochs_key, jnp.int32(0))

    def train_epoch(state: TrainState, examples: Examples) -> tuple[TrainState, Metrics]:
        images, labels = jax.tree.map(jnp.asarray, examples)
        transform = optimizer_for(images)
        batches = shuffled_batches(
            jax.random.fold_in(state.key, state.epoch), len(images), config.batch_size
        )

        def step(carry, batch):
            params, opt_state, loss_sum, correct = carry
            indices, valid = batch
            batch_labels = labels[indices]
            weights = valid / valid.sum() if config.reduction == "mean" else valid
            logits, grads = loss_and_gradients(
                params, scale_pixels(images[indices], state.scaling), batch_labels, weights
            )
            updates, opt_state = transform.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            loss_sum += loss(logits, batch_labels) @ valid
            correct += (logits.argmax(axis=-1) == batch_labels) @ valid
            return (params, opt_state, loss_sum, correct), None

        start = (state.params, state.opt_state, jnp.float32(0), jnp.float32(0))
        (params, opt_state, loss_sum, correct), _ = lax.scan(step, start, batches)
        state = state._replace(params=params, opt_state=opt_state, epoch=state.epoch + 1)
        return state, Metrics(loss_sum / len(images), correct / len(images))

    def evaluate(state: TrainState, examples: Examples) -> Metrics:
        images, labels = jax.tree.map(jnp.asarray, examples)
        logits = compute_logits(net.apply, state.params, state.scaling, images)
        return Metrics(loss(logits, labels).mean(), metrics.accuracy(logits, labels))

    def epoch(state: TrainState, data: TrainingData) -> tuple[TrainState, EpochMetrics]:
        state, train = train_epoch(state, data.train)
        return state, EpochMetrics(train, evaluate(state, data.validation))

    return Trainer(init, epoch, evaluate, 0 if net.fit else config.epochs)


def compute_logits(
    apply: Apply, params: Params, scaling: Scaling, images: UInt8[Array, "n 28 28"]
) -> Float[Array, "n classes"]:
    """The logits of any number of images, pixels 0..255, a thousand at a time."""

    def logits_of(batch: UInt8[Array, "n 28 28"]) -> Float[Array, "n classes"]:
        return apply(params, scale_pixels(batch, scaling))

    whole = len(images) // EVALUATION_BATCH * EVALUATION_BATCH
    batches = images[:whole].reshape(-1, EVALUATION_BATCH, *images.shape[1:])
    parts = []
    if whole:
        logits = lax.map(logits_of, batches)
        parts.append(logits.reshape(whole, -1))
    if whole < len(images):
        parts.append(logits_of(images[whole:]))
    return jnp.concatenate(parts)


def _check_gradients(config: TrainConfig, model: Model | None) -> None:
    if model is not None and config.gradients == "hand":
        raise ConfigError("gradients by hand are for linear and mlp, not for your own model")


def _make_loss_and_gradients(config: TrainConfig, model: Model, loss: Loss) -> LossAndGradients:
    """Logits and gradients of the weighted sum of losses, by `jax.grad` or by hand."""
    if config.gradients == "hand":
        if config.model == "linear":
            return gradients.linear
        return partial(gradients.mlp, activation=config.activation)

    def weighted_loss(params, images, labels, weights):
        logits = model.apply(params, images)
        return loss(logits, labels) @ weights, logits

    def loss_and_gradients(params, images, labels, weights):
        grads, logits = jax.grad(weighted_loss, has_aux=True)(params, images, labels, weights)
        return logits, grads

    return loss_and_gradients
