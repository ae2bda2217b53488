"""A whole training run as a pure function of a key and the data.

    train = jd.make_train(config)
    result = jax.jit(train)(key, data)                                  # one run
    results = jax.jit(jax.vmap(train, in_axes=(0, None)))(keys, data)   # many, one program

`make_train` scans over the epochs of `make_trainer`, whose functions each are one XLA program: the
images stay on the device as uint8, are shuffled there, gathered and scaled batch by batch, and
nothing comes back to the host before the epoch ends.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, Key, Num

from jaxdigits.config import TrainConfig
from jaxdigits.data import Examples
from jaxdigits.environment import compiler_options, target_platform
from jaxdigits.losses import Loss
from jaxdigits.models import Apply, Model, Params
from jaxdigits.training.batches import EVALUATION_BATCH, cut, epoch_batches, steps_per_epoch
from jaxdigits.training.resolve import DataSpec, Parts, own_parts, resolve
from jaxdigits.training.sharding import DEVICES, axis_of, own_share, platform_of
from jaxdigits.training.state import (
    Batch,
    EpochMetrics,
    Metrics,
    Sums,
    TrainingData,
    TrainResult,
    TrainState,
    init_state,
    with_hyperparams,
)
from jaxdigits.training.step import Step, make_step, microbatched
from jaxdigits.transforms.augment import Augment
from jaxdigits.transforms.scaling import Scaling, unit_pixels


class Trainer(NamedTuple):
    """The pure functions of a run, each one program.

    Attributes:
        parts: what they are made of.
        spec: of the data that they are made for.
        init: `init(key, examples, params=None) -> state`; a model with a `fit` is fitted to the
            examples, others do not look at them.
        train_epoch: `train_epoch(state, examples) -> (state, metrics)`. Donate the state.
        train_chunk: `train_chunk(state, sums, batches, num_steps) -> (state, sums)`: the first
            `num_steps` of some batches, where images do not all lie on the device.
        evaluate: `evaluate(state, examples) -> metrics`.
        epoch: `epoch(state, data) -> (state, metrics)`: `train_epoch`, then `evaluate`.
        step: `step(state, batch) -> (state, sums)`, of a device's share of a batch.
        mesh: the devices that share each batch; None for one device.
    """

    parts: Parts
    spec: DataSpec
    init: Callable[..., TrainState]
    train_epoch: Callable[[TrainState, Examples], tuple[TrainState, Metrics]]
    train_chunk: Callable[[TrainState, Sums, Batch, Any], tuple[TrainState, Sums]]
    evaluate: Callable[[TrainState, Examples], Metrics]
    epoch: Callable[[TrainState, TrainingData], tuple[TrainState, EpochMetrics]]
    step: Step
    mesh: Mesh | None

    @property
    def num_epochs(self) -> int:
        """How often to call `epoch`."""
        assert self.parts.config.epochs is not None  # `resolve` fills it in
        return self.parts.config.epochs

    def jit(self, function: Callable, **options: Any) -> Any:
        """`jax.jit` of one of these functions, with the compiler options that suit the mesh."""
        return jax.jit(function, compiler_options=compiler_options(self.mesh), **options)


def make_train(
    config: TrainConfig,
    *,
    model: Model | None = None,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    augment: Augment | None = None,
) -> Callable[..., TrainResult]:
    """Make a training run, one pure function of a key and data, to be jitted and vmapped.

    Args:
        config: the settings; `dataset` and `seed` are the caller's and not looked at here.
        model, loss, optimizer, augment: parts of your own. See `jaxdigits.training.resolve`.

    Returns:
        `train(key, data, params=None, hyperparams=None) -> TrainResult`. It starts from `params`,
        or from the model's initial values. `hyperparams` replace those of the optimizer's state,
        such as `{"learning_rate": 0.1}`: vmap over them for a sweep in one program.

    Raises:
        ConfigError: parts do not go together; some are found when the function is traced.

    Example:
        >>> import jaxdigits as jd
        >>> data = jd.load_training_data("digits")
        >>> train = jax.jit(jd.make_train(jd.TrainConfig(model="mlp", epochs=5)))
        >>> result = train(jax.random.key(0), data)
        >>> result.history.validation.accuracy.shape
        (5,)
        >>> bool(result.history.validation.accuracy[-1] > 0.9)
        True
    """
    own = {"model": model, "loss": loss, "optimizer": optimizer, "augment": augment}
    own_parts(config, **own)

    def train(
        key: Key[Array, ""],
        data: TrainingData,
        params: Params | None = None,
        hyperparams: dict[str, Any] | None = None,
    ) -> TrainResult:
        trainer = make_trainer(config, data, **own)
        state = trainer.init(key, data.train, params)
        state = with_hyperparams(state, **(hyperparams or {}))
        untrained = trainer.evaluate(state, data.validation)
        state, history = lax.scan(
            lambda state, _: trainer.epoch(state, data), state, length=trainer.num_epochs
        )
        return TrainResult(state, untrained, history)

    return train


def make_trainer(
    config: TrainConfig,
    data: TrainingData | DataSpec,
    *,
    mesh: Mesh | None = None,
    model: Model | None = None,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    augment: Augment | None = None,
) -> Trainer:
    """Make the functions of a run.

    With a `mesh` of devices along one axis, `DEVICES`, each device takes its share of every batch
    and of the images to evaluate. State and data lie on all of them. The result is that of one
    device but for rounding, and for what dropout and augmentation draw. (Where a batch cannot be
    shared evenly, the first image fills the gaps, as others fill up the last batch of an epoch:
    they count in batch normalization, nowhere else.)

    From a `DataSpec`, and without parts of your own, arguments that are equal but for the seed give
    the same functions, which jax compiles once: the next run of a script does not wait for it.

    Args:
        config: the settings.
        data: to train on, or what must be known of it.
        mesh: devices that share each batch.
        model, loss, optimizer, augment: parts of your own. See `jaxdigits.training.resolve`.

    Raises:
        ConfigError: the parts do not go together.
    """
    own = {"model": model, "loss": loss, "optimizer": optimizer, "augment": augment}
    described = isinstance(data, DataSpec)
    spec = data if described else DataSpec.of(data, config.scale)
    # Data may be traced, and what a part of your own refers to may have changed.
    if not described or any(part is not None for part in own.values()):
        return _make_trainer(config, spec, mesh, **own)
    scaling = tuple(map(float, spec.scaling))
    trainer = _shared_trainer(config.replace(seed=0), spec[:3], scaling, mesh, target_platform())
    parts = trainer.parts._replace(config=trainer.parts.config.replace(seed=config.seed))
    return trainer._replace(parts=parts, spec=spec)


@lru_cache(maxsize=8)
def _shared_trainer(
    config: TrainConfig,
    sizes: tuple[int, tuple[int, ...], int],
    scaling: tuple[float, ...],
    mesh: Mesh | None,
    _: str,
) -> Trainer:
    return _make_trainer(config, DataSpec(*sizes, Scaling(*map(jnp.float32, scaling))), mesh)


def _make_trainer(config: TrainConfig, spec: DataSpec, mesh: Mesh | None, **own: Any) -> Trainer:
    axis = axis_of(mesh)
    parts = resolve(config, spec, **own, axis_name=axis)
    net, gradients = parts.model, parts.gradients
    if platform_of(mesh) == "cpu" and net.hints.microbatch_size:
        gradients = microbatched(gradients, net.hints.microbatch_size)
    step = make_step(
        net,
        parts.optimizer,
        parts.loss,
        scaling=parts.scaling,
        augment=parts.augment,
        ema_decay=config.ema_decay,
        axis_name=axis,
        gradients=gradients,
    )
    train_epoch = _make_train_epoch(step, parts.config, spec, axis)
    evaluate = _make_evaluate(parts, axis)

    def init(
        key: Key[Array, ""], examples: Examples | None = None, params: Params | None = None
    ) -> TrainState:
        if params is None and net.fit is not None:
            assert examples is not None
            inputs = parts.scaling(unit_pixels(jnp.asarray(examples.images)))
            params = net.fit(inputs, jnp.asarray(examples.labels))
        return init_state(net, parts.optimizer, key, params, ema=bool(config.ema_decay))

    def epoch(state: TrainState, data: TrainingData) -> tuple[TrainState, EpochMetrics]:
        state, train = train_epoch(state, data.train)
        return state, EpochMetrics(train, evaluate(state, data.validation))

    replicated = PartitionSpec()
    return Trainer(
        parts=parts,
        spec=spec,
        init=init,
        train_epoch=on_devices(train_epoch, mesh, replicated),
        train_chunk=on_devices(
            _make_train_chunk(step, axis), mesh, (replicated, replicated, chunk_specs(), replicated)
        ),
        evaluate=on_devices(evaluate, mesh, replicated),
        epoch=on_devices(epoch, mesh, replicated),
        step=step,
        mesh=mesh,
    )


def on_devices(function: Callable, mesh: Mesh | None, in_specs: Any) -> Callable:
    """Run a function on each device of a mesh, if there are several."""
    if axis_of(mesh) is None:
        return function
    # What leaves is equal on all devices, which JAX cannot see.
    return jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=PartitionSpec(), check_vma=False
    )


def _make_train_epoch(step: Step, config: TrainConfig, spec: DataSpec, axis: str | None) -> Any:
    steps = steps_per_epoch(spec.num_examples, config.batch_size)

    def train_epoch(state: TrainState, examples: Examples) -> tuple[TrainState, Metrics]:
        images, labels = jax.tree.map(jnp.asarray, examples)
        batches = epoch_batches(
            state.key, state.step // steps, spec.num_examples, config.batch_size, config.reduction
        )

        def gather(carry, batch):
            state, sums = carry
            chosen, weights = batch
            state, more = step(state, Batch(images[chosen], labels[chosen], weights))
            return (state, jax.tree.map(jnp.add, sums, more)), None

        batches = tuple(own_share(array, axis) for array in batches)
        (state, sums), _ = lax.scan(gather, (state, no_sums()), batches)
        return state, means(_all_sums(sums, axis), spec.num_examples)

    return train_epoch


def _make_train_chunk(step: Step, axis: str | None) -> Any:
    def train_chunk(
        state: TrainState, sums: Sums, batches: Batch, num_steps: Int[Any, ""]
    ) -> tuple[TrainState, Sums]:
        def take(at, carry):
            state, sums = carry
            state, more = step(state, jax.tree.map(lambda array: array[at], batches))
            return state, jax.tree.map(jnp.add, sums, more)

        state, more = lax.fori_loop(0, num_steps, take, (state, no_sums()))
        return state, jax.tree.map(jnp.add, sums, _all_sums(more, axis))

    return train_chunk


def _make_evaluate(parts: Parts, axis: str | None) -> Any:
    def evaluate(state: TrainState, examples: Examples) -> Metrics:
        images, labels = jax.tree.map(jnp.asarray, examples)
        count = len(images)
        own, valid = (own_share(x, axis) for x in (jnp.arange(count), jnp.ones(count)))
        logits = compute_logits(parts.model.apply, state.trained, parts.scaling, images[own])
        correct = logits.argmax(axis=-1) == labels[own]
        sums = Sums(parts.loss(logits, labels[own]) @ valid, correct.astype(valid.dtype) @ valid)
        return means(_all_sums(sums, axis), count)

    return evaluate


def chunk_specs() -> Batch:
    """How a chunk of batches lies on a mesh: each device has its columns of every batch."""
    columns = PartitionSpec(None, DEVICES)
    return Batch(columns, columns, columns)


def no_sums() -> Sums:
    """The sums before the first example."""
    return Sums(jnp.float32(0), jnp.float32(0))


def means(sums: Sums, count: int) -> Metrics:
    """The means of sums over `count` examples."""
    return Metrics(sums.loss / count, sums.correct / count)


def _all_sums(sums: Sums, axis: str | None) -> Sums:
    """The sums over all devices."""
    return sums if axis is None else lax.psum(sums, axis)


def compute_logits(
    apply: Apply,
    params: Params,
    scaling: Callable[[Float[Array, "n ..."]], Float[Array, "n ..."]],
    images: Num[Array, "n ..."],
    batch_size: int = EVALUATION_BATCH,
) -> Float[Array, "n classes"]:
    """The logits of one image or more, at most `batch_size` at a time.

    In batches of equal size, so that the network is compiled once; zeros fill up the last one.

    Args:
        apply: the model's.
        params: the model's.
        scaling: from pixels of 0..1 to the model's inputs.
        images: uint8, pixels 0..255, or floats, 0..1.
        batch_size: images at a time.
    """

    def logits_of(batch: Num[Array, "n ..."]) -> Float[Array, "n classes"]:
        return apply(params, scaling(unit_pixels(batch)))

    logits = lax.map(logits_of, cut(images, batch_size))
    return logits.reshape(-1, logits.shape[-1])[: len(images)]
