"""A whole training run as a pure function of a key and the data.

    train = jd.make_train(config)
    result = jax.jit(train)(key, data)                            # one run
    results = jax.jit(jax.vmap(train, in_axes=(0, None)))(keys, data)   # many, one program

`make_train` is `make_trainer` with a scan over its epochs. A trainer's `epoch` is one XLA program:
the images stay on the device as uint8, are shuffled there, gathered and scaled batch by batch, and
nothing comes back to the host before the epoch ends. The command line runs a trainer epoch by
epoch, to show its progress.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key, Shaped, UInt8

from jaxdigits.by_hand import dense as gradients
from jaxdigits.config import TrainConfig
from jaxdigits.data import Dataset, Examples, load_splits
from jaxdigits.data.preparation import StrPath
from jaxdigits.errors import ConfigError
from jaxdigits.losses import LOSSES, Loss, smoothed_cross_entropy
from jaxdigits.models import Apply, Model, Params, make_model
from jaxdigits.training.batches import EVALUATION_BATCH, shuffled_batches, steps_per_epoch
from jaxdigits.training.optimizers import Rates, make_optimizer
from jaxdigits.transforms.augment import make_augment
from jaxdigits.transforms.scaling import (
    UNIT,
    Scaling,
    pixel_statistics,
    scale_pixels,
    standardize,
    unit_pixels,
)

DEVICES = "devices"
"""The name of a mesh's axis."""


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
        params: the model's parameters, and its statistics if it keeps any.
        average: of the parameters over the steps; None if the config does not average.
        opt_state: the optimiser's state.
        scaling: of the pixels, from the training images.
        key: of the run; an epoch's own is folded from it.
        epoch: int32, how many epochs are done.
    """

    params: Params
    average: Params | None
    opt_state: optax.OptState
    scaling: Scaling
    key: Key[Array, ""]
    epoch: Int[Array, ""]

    @property
    def trained(self) -> Params:
        """The parameters to use: the average, or the last ones."""
        return self.params if self.average is None else self.average


class PartialEpoch(NamedTuple):
    """A state in the middle of an epoch.

    Attributes:
        state: as after the last step; `state.epoch` counts whole epochs.
        steps: int32, how many steps of the epoch are done.
        loss_sum: float32, of the losses over the epoch's examples so far.
        correct: float32, how many of them were right.
    """

    state: TrainState
    steps: Int[Array, ""]
    loss_sum: Float[Array, ""]
    correct: Float[Array, ""]

    @classmethod
    def begin(cls, state: TrainState) -> "PartialEpoch":
        """Before the first step of an epoch."""
        return cls(state, jnp.int32(0), jnp.float32(0), jnp.float32(0))


class Part(NamedTuple):
    """Some batches of an epoch with their images, for those that do not lie on the device.

    Attributes:
        images: uint8 [steps, batch, 28, 28], pixels 0..255.
        labels: int32 [steps, batch].
        weights: float32 [steps, batch], of the losses of a batch in their sum; 0 for an image that
            only fills the batch up.
        steps: int32, how many of the batches there are; the rest is not looked at.
    """

    images: UInt8[Any, "steps batch 28 28"]  # of jax, or on their way to it of numpy
    labels: Int[Any, "steps batch"]
    weights: Float[Any, "steps batch"]
    steps: Int[Any, ""]


def part_specs() -> Part:
    """How a part lies on a mesh: each device has its columns of every batch."""
    columns, whole = PartitionSpec(None, DEVICES), PartitionSpec()
    return Part(columns, columns, columns, whole)


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
        epoch: `epoch(state, data) -> (state, metrics)`: `train_epoch`, then `evaluate`. Jit it, and
            donate the state.
        train_epoch: `train_epoch(state, examples) -> (state, metrics)`.
        start: `start(key, scaling, count, params=None) -> state`: `init` where the images do not
            lie on the device; `count` is how many of them there are, a plain int.
        train_part: `train_part(progress, part, count) -> progress`: some steps of an epoch.
        end_epoch: `end_epoch(progress, count) -> (state, metrics)`, when all its steps are done.
        evaluate: `evaluate(state, examples) -> metrics`.
        count_epochs: `count_epochs(data)`: how often to call `epoch`.
        mesh: the devices that share each batch; None for one device.
        compiler_options: to be given to `jax.jit` with any of these functions.
    """

    init: Callable[..., TrainState]
    epoch: Callable[[TrainState, TrainingData], tuple[TrainState, EpochMetrics]]
    train_epoch: Callable[[TrainState, Examples], tuple[TrainState, Metrics]]
    start: Callable[..., TrainState]
    train_part: Callable[[PartialEpoch, Part, int], PartialEpoch]
    end_epoch: Callable[[PartialEpoch, int], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Examples], Metrics]
    count_epochs: Callable[[TrainingData], int]
    mesh: Mesh | None
    compiler_options: dict[str, bool | str]

    def put(self, data: Any) -> Any:
        """Data or a state on the device, or on all that share a batch, in all processes."""
        everywhere = self.mesh and NamedSharding(self.mesh, PartitionSpec())
        if everywhere is None or jax.process_count() == 1:
            return jax.device_put(data, everywhere)

        def place(leaf: Any) -> Array:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
            whole = np.asarray(leaf)
            return jax.make_array_from_callback(whole.shape, everywhere, lambda at: whole[at])

        return jax.tree.map(place, data)

    def jit(self, function: Callable, **options: Any) -> Any:
        """`jax.jit` of one of these functions, with the compiler options."""
        return jax.jit(function, compiler_options=self.compiler_options, **options)


LossAndGradients = Callable[
    [Params, Float[Array, "n 28 28"], Int[Array, " n"], Float[Array, " n"], Key[Array, ""]],
    tuple[Float[Array, "n classes"], Params, dict[str, Any]],
]
"""`(params, images, labels, weights, key) -> (logits, gradients, changed)`.

Gradients are of the weighted sum of losses; `changed` are collections of `params`, as
`jaxdigits.models.ApplyTrain` has them.
"""


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
        >>> train = jax.jit(jd.make_train(jd.TrainConfig(model="mlp", epochs=5)))
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
            lambda state, _: trainer.epoch(state, data), state, length=trainer.count_epochs(data)
        )
        return TrainResult(state, untrained, history)

    return train


def make_trainer(
    config: TrainConfig,
    num_classes: int,
    *,
    model: Model | None = None,
    optimizer: optax.GradientTransformation | None = None,
    mesh: Mesh | None = None,
    rates: Rates | None = None,
) -> Trainer:
    """The parts of which `make_train` makes a run; arguments and errors are the same.

    `num_classes` must be that of the data. A model with a `fit` is fitted by `init`, and has no
    epochs.

    With a `mesh` of devices along one axis, `DEVICES`, each device takes its share of every batch
    and of the images to evaluate. State and data lie on all of them. The result is that of one
    device but for rounding, and for what dropout and augmentation draw. (Where a batch cannot be
    shared evenly, the first image fills the gaps, as others fill up the last batch of an epoch:
    they count in batch normalisation, nowhere else.)

    `rates` stand in the place of the config's learning rate, weight decay and momentum.
    """
    _check_gradients(config, model)
    axis = DEVICES if mesh is not None and mesh.size > 1 else None
    net = model or make_model(config, num_classes, axis)
    loss = LOSSES[config.loss]
    loss_and_gradients = _make_loss_and_gradients(config, net, loss)
    if model is None and config.model == "convnet":
        platform = mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()
        if platform == "cpu":
            loss_and_gradients = _in_pieces(loss_and_gradients)
    augment = make_augment(config.augmentations)

    def optimizer_for(count: int) -> optax.GradientTransformation:
        steps = config.count_epochs(count) * steps_per_epoch(count, config.batch_size)
        return optimizer or make_optimizer(config, steps, rates)

    def init(key: Key[Array, ""], data: TrainingData, params: Params | None = None) -> TrainState:
        if data.num_classes != num_classes:
            raise ConfigError(
                f"the trainer is for {num_classes} classes, the data have {data.num_classes}"
            )
        images, labels = jax.tree.map(jnp.asarray, data.train)
        standardized = config.scale == "standardized"
        scaling = pixel_statistics(images) if standardized else Scaling(*map(jnp.float32, UNIT))
        if params is None and net.fit is not None:
            params = net.fit(scale_pixels(images, scaling), labels)
        return start(key, scaling, len(images), params)

    def start(
        key: Key[Array, ""], scaling: Scaling, count: int, params: Params | None = None
    ) -> TrainState:
        init_key, run_key = jax.random.split(key)
        # Whoever donates the state keeps the parameters that were given.
        first = net.init(init_key) if params is None else jax.tree.map(jnp.copy, params)
        found = jax.eval_shape(net.apply, first, jax.ShapeDtypeStruct((2, 28, 28), jnp.float32))
        if found.shape != (2, num_classes):
            raise ConfigError(
                f"the model gives logits of shape {list(found.shape)} for 2 images; "
                f"for {num_classes} classes it should be [2, {num_classes}]"
            )
        average = jax.tree.map(jnp.copy, first) if config.average else None
        opt_state = optimizer_for(count).init(first)
        return TrainState(first, average, opt_state, scaling, run_key, jnp.int32(0))

    def make_step(count: int) -> Callable[..., PartialEpoch]:
        """`step(progress, images, labels, weights) -> progress`, the sums of this device alone."""
        transform = optimizer_for(count)

        def step(progress, images, labels, weights):
            state = progress.state
            number = state.epoch * steps_per_epoch(count, config.batch_size) + progress.steps
            steps_key = jax.random.fold_in(state.key, 2**32 - 1)  # apart from the epochs' keys
            augment_key, dropout_key = _step_keys(steps_key, number, axis)
            inputs = augment(augment_key, unit_pixels(images))
            inputs = standardize(inputs, state.scaling)
            logits, grads, changed = loss_and_gradients(
                state.params, inputs, labels, weights, dropout_key
            )
            if axis:
                grads, changed = _sum_over_devices((grads, changed), axis)
                changed = jax.tree.map(lambda leaf: leaf / lax.axis_size(axis), changed)
            updates, opt_state = transform.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            if changed:
                params = _replace_collections(params, changed)
            average = state.average
            if average is not None:
                # A shorter memory at first, or the starting values would be felt for long.
                decay = jnp.minimum(config.average, (1 + number) / (10 + number))
                average = optax.incremental_update(params, average, 1 - decay)
            valid = (weights > 0).astype(jnp.float32)
            return PartialEpoch(
                state._replace(params=params, average=average, opt_state=opt_state),
                progress.steps + 1,
                progress.loss_sum + loss(logits, labels) @ valid,
                progress.correct + (logits.argmax(axis=-1) == labels) @ valid,
            )

        return step

    def train_epoch(state: TrainState, examples: Examples) -> tuple[TrainState, Metrics]:
        images, labels = jax.tree.map(jnp.asarray, examples)
        step = make_step(len(images))
        indices, weights = epoch_batches(config, state.key, state.epoch, len(images))

        def take(progress, batch):
            chosen, weights = batch
            return step(progress, images[chosen], labels[chosen], weights), None

        batches = (_own_share(indices, axis), _own_share(weights, axis))
        progress, _ = lax.scan(take, PartialEpoch.begin(state), batches)
        return end_epoch(_sum_metrics(progress, axis), len(images))

    def train_part(progress: PartialEpoch, part: Part, count: int) -> PartialEpoch:
        step = make_step(count)

        def take(at, progress):
            return step(progress, part.images[at], part.labels[at], part.weights[at])

        alone = PartialEpoch.begin(progress.state)._replace(steps=progress.steps)
        alone = _sum_metrics(lax.fori_loop(0, part.steps, take, alone), axis)
        return alone._replace(
            loss_sum=progress.loss_sum + alone.loss_sum, correct=progress.correct + alone.correct
        )

    def end_epoch(progress: PartialEpoch, count: int) -> tuple[TrainState, Metrics]:
        state = progress.state._replace(epoch=progress.state.epoch + 1)
        return state, Metrics(progress.loss_sum / count, progress.correct / count)

    def evaluate(state: TrainState, examples: Examples) -> Metrics:
        images, labels = jax.tree.map(jnp.asarray, examples)
        own, valid = (
            _own_share(array, axis) for array in (jnp.arange(len(images)), jnp.ones(len(images)))
        )
        logits = compute_logits(net.apply, state.trained, state.scaling, images[own])
        sums = (
            loss(logits, labels[own]) @ valid,
            (logits.argmax(axis=-1) == labels[own]) @ valid,
        )
        loss_sum, correct = lax.psum(sums, axis) if axis else sums
        return Metrics(loss_sum / len(images), correct / len(images))

    def epoch(state: TrainState, data: TrainingData) -> tuple[TrainState, EpochMetrics]:
        state, train = train_epoch(state, data.train)
        return state, EpochMetrics(train, evaluate(state, data.validation))

    def on_devices(function: Callable, in_specs: Any = PartitionSpec()) -> Callable:  # noqa: B008
        if mesh is None or not axis:
            return function
        # What leaves is equal on all devices, which JAX cannot see.
        return jax.shard_map(
            function, mesh=mesh, in_specs=in_specs, out_specs=PartitionSpec(), check_vma=False
        )

    def part_on_devices(begun: PartialEpoch, part: Part, count: int) -> PartialEpoch:
        whole = PartitionSpec()
        shared = on_devices(partial(train_part, count=count), (whole, part_specs()))
        return shared(begun, part)

    return Trainer(
        init=init,
        epoch=on_devices(epoch),
        train_epoch=on_devices(train_epoch),
        start=start,
        train_part=part_on_devices,
        end_epoch=end_epoch,
        evaluate=on_devices(evaluate),
        count_epochs=lambda data: 0 if net.fit else config.count_epochs(len(data.train.labels)),
        mesh=mesh,
        compiler_options=compiler_options(mesh),
    )


def compiler_options(mesh: Mesh | None) -> dict[str, bool | str]:
    """For a program on a mesh: on CPU devices, an operation of one device uses one core.

    Example:
        >>> compiler_options(None)
        {}
    """
    if mesh is None or mesh.size == 1 or mesh.devices.flat[0].platform != "cpu":
        return {}
    return {"xla_cpu_multi_thread_eigen": False}


def epoch_batches(
    config: TrainConfig, key: Key[Array, ""], epoch: Int[Array, ""] | int, count: int
) -> tuple[Int[Array, "steps batch"], Float[Array, "steps batch"]]:
    """The batches of an epoch: which examples, and the weight of each one's loss in the sum.

    Args:
        config: `batch_size` and `reduction`.
        key: as in the state of the run: the second half of the run's own, split.
        epoch: from 0.
        count: the number of examples.

    Returns:
        Indices, int32, and weights, float32; 0 for one that only fills the last batch up.

    Example:
        >>> config = TrainConfig(batch_size=2)
        >>> indices, weights = epoch_batches(config, jax.random.key(0), 0, count=3)
        >>> indices.shape, weights.tolist()
        ((2, 2), [[0.5, 0.5], [1.0, 0.0]])
    """
    epoch_key = jax.random.fold_in(key, epoch)
    indices, valid = shuffled_batches(epoch_key, count, config.batch_size)
    return indices, valid / valid.sum(
        axis=1, keepdims=True
    ) if config.reduction == "mean" else valid


def _sum_metrics(progress: PartialEpoch, axis: str | None) -> PartialEpoch:
    """With the sums of all devices in the place of this one's."""
    if axis is None:
        return progress
    loss_sum, correct = lax.psum((progress.loss_sum, progress.correct), axis)
    return progress._replace(loss_sum=loss_sum, correct=correct)


def _replace_collections(params: Params, changed: Mapping[str, Any]) -> Params:
    """`params` with some of its collections replaced, such as `batch_stats`."""
    return {**params, **changed}


def _own_share(array: Shaped[Array, "... n"], axis: str | None) -> Shaped[Array, "... share"]:
    """The part of the last axis for this device, with zeros at the end if it is not even."""
    if axis is None:
        return array
    share = -(-array.shape[-1] // lax.axis_size(axis))
    missing = share * lax.axis_size(axis) - array.shape[-1]
    padded = jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])
    return lax.dynamic_slice_in_dim(padded, lax.axis_index(axis) * share, share, axis=-1)


def _step_keys(
    key: Key[Array, ""], step: Int[Array, ""], axis: str | None
) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """Keys of a step for augmentation and dropout, other ones on each device."""
    key = jax.random.fold_in(key, step)
    if axis is not None:
        key = jax.random.fold_in(key, lax.axis_index(axis))
    first, second = jax.random.split(key)
    return first, second


LARGE = 200_000
"""Numbers in an array above which it is sent to the other devices by itself."""


def _sum_over_devices(tree: Any, axis: str) -> Any:
    """The sum over the devices of each array of a pytree.

    On a CPU each all-reduce costs some tens of microseconds, so the small arrays go together as
    one. Large ones go alone: joining and cutting them would cost more (ResNet-18 trains 1.4 times
    as fast so).
    """
    leaves, structure = jax.tree.flatten(tree)
    small, join = ravel_pytree([leaf for leaf in leaves if leaf.size < LARGE])
    joined = iter(join(lax.psum(small, axis)))
    return structure.unflatten(
        [next(joined) if leaf.size < LARGE else lax.psum(leaf, axis) for leaf in leaves]
    )


def compute_logits(
    apply: Apply,
    params: Params,
    scaling: Scaling,
    images: UInt8[Array, "n 28 28"],
    batch_size: int = EVALUATION_BATCH,
) -> Float[Array, "n classes"]:
    """The logits of one image or more, pixels 0..255, at most `batch_size` at a time.

    In batches of equal size, so that the network is compiled once; zeros fill the last one up.
    """

    def logits_of(batch: UInt8[Array, "n 28 28"]) -> Float[Array, "n classes"]:
        return apply(params, scale_pixels(batch, scaling))

    logits = lax.map(logits_of, _cut(images, batch_size))
    return logits.reshape(-1, logits.shape[-1])[: len(images)]


def _cut(array: Shaped[Array, "n ..."], most: int) -> Shaped[Array, "batches size ..."]:
    """In batches of equal size, at most so large; zeros fill the last one up."""
    batches = -(-len(array) // most)
    size = -(-len(array) // batches)
    padding = [(0, batches * size - len(array))] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding).reshape(batches, size, *array.shape[1:])


def _check_gradients(config: TrainConfig, model: Model | None) -> None:
    if model is not None and config.gradients == "hand":
        raise ConfigError("gradients by hand are for linear and mlp, not for your own model")


def _make_loss_and_gradients(config: TrainConfig, model: Model, loss: Loss) -> LossAndGradients:
    """Logits and gradients of the weighted sum of losses, by `jax.grad` or by hand."""
    if config.gradients == "hand":
        by_hand = gradients.linear
        if config.model == "mlp":
            by_hand = partial(gradients.mlp, activation=config.activation)

        def without_key(params, images, labels, weights, _):
            logits, grads = by_hand(params, images, labels, weights)
            return logits, grads, {}

        return without_key
    if config.label_smoothing:
        loss = partial(smoothed_cross_entropy, smoothing=config.label_smoothing)
    apply_train = model.apply_train or (lambda params, images, _: (model.apply(params, images), {}))

    def weighted_loss(params, images, labels, weights, key):
        logits, changed = apply_train(params, images, key)
        return loss(logits, labels) @ weights, (logits, changed)

    def loss_and_gradients(params, images, labels, weights, key):
        grads, (logits, changed) = jax.grad(weighted_loss, has_aux=True)(
            params, images, labels, weights, key
        )
        return logits, grads, changed

    return loss_and_gradients


PIECE = 32
"""Images of the letters network at a time that stay in a CPU core's cache, forward and back."""


def _in_pieces(whole: LossAndGradients) -> LossAndGradients:
    """The same for a large batch piece by piece: what one step needs stays in the cache.

    On two cores the letters network so trains 1.3 to 2.6 times as fast at a batch of 256, and two
    networks at once, one a core, 1.13 times as fast with batches of 64. Dropout draws other values
    than for the batch as a whole.
    """

    def loss_and_gradients(params, images, labels, weights, key):
        if len(images) <= PIECE:
            return whole(params, images, labels, weights, key)

        def add(total, piece):
            logits, grads, changed = whole(params, *piece)
            return jax.tree.map(jnp.add, total, grads), (logits, changed)

        pieces = [_cut(array, PIECE) for array in (images, labels, weights)]
        keys = jax.random.split(key, len(pieces[0]))
        zeros = jax.tree.map(jnp.zeros_like, params)
        grads, (logits, changed) = lax.scan(add, zeros, (*pieces, keys))
        return logits.reshape(-1, logits.shape[-1])[: len(images)], grads, changed

    return loss_and_gradients


def default_mesh(config: TrainConfig, devices: int | None = None) -> Mesh | None:
    """The devices that should share each batch; None for one alone.

    If their number is not given: one, but for the letters network on a CPU as many as share a batch
    evenly and have at least 16 images each. On two cores it trains 1.6 times as fast on two CPU
    devices as on one whose operations use both cores; ResNet-18 is 1.1 times as fast on one. A CPU
    shows as one device unless `JAX_NUM_CPU_DEVICES` was set before jax was imported, as the command
    line does.

    Args:
        config: `model` and `batch_size`.
        devices: how many.

    Raises:
        ConfigError: there are not so many.

    Example:
        >>> default_mesh(TrainConfig(model="linear")) is None
        True
    """
    there = jax.devices()
    if jax.process_count() > 1:
        if devices not in (None, len(there)):
            raise ConfigError(
                f"several processes share a batch with all of their {len(there)} devices; leave "
                f"--devices {devices} away, and set JAX_NUM_CPU_DEVICES for each process"
            )
        devices = len(there)
    if devices is None:
        devices = 1
        if there[0].platform == "cpu" and config.model == "convnet":
            most = max(min(len(there), config.batch_size // 16), 1)
            devices = max(n for n in range(1, most + 1) if config.batch_size % n == 0)
    if not 1 <= devices <= len(there):
        raise ConfigError(
            f"devices must be 1 to {len(there)}, as many as jax has here, not {devices}"
        )
    return Mesh(np.array(there[:devices]), (DEVICES,)) if devices > 1 else None
