"""Where a training's images lie: all on the device, or on the disk, from which they stream.

Both ways train on the same batches in the same order, so that they give the same network but for
rounding. A training advances by parts. If all images are on the device, a part is an epoch. If they
stream, it is some batches, which a thread of grain's has read while earlier ones were trained on.
"""

import functools
from collections.abc import Generator
from contextlib import closing
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Key

from jaxdigits.config import TrainConfig
from jaxdigits.data.dataset import StoredSplit
from jaxdigits.errors import ConfigError
from jaxdigits.models import make_model
from jaxdigits.training.batches import steps_per_epoch
from jaxdigits.training.trainer import (
    Metrics,
    Part,
    PartialEpoch,
    Trainer,
    TrainingData,
    TrainState,
    epoch_batches,
    part_specs,
)
from jaxdigits.transforms.scaling import UNIT, Scaling

PART_IMAGES = 8192
"""Images in a part, at most: a second's work for the letters network on two cores."""

AHEAD = 2
"""Parts that are read before they are needed."""


@runtime_checkable
class Feed(Protocol):
    """What a training gets its images from, part by part.

    Its progress is a pytree of arrays: all that changes from part to part, to be saved in between.

    Attributes:
        epochs: of the whole training.
        parts: how many make an epoch.
    """

    epochs: int
    parts: int

    def start(self, key: Key[Array, ""]) -> Any:
        """The progress to begin with."""
        ...

    def shapes(self, key: Key[Array, ""]) -> Any:
        """The shapes of the progress."""
        ...

    def compile(self, progress: Any) -> None:
        """Compiles what `train` needs."""
        ...

    def train(self, progress: Any, done: int, total: int) -> Generator[tuple[Any, Metrics | None]]:
        """Trains from part `done` to part `total`, counted from the beginning of the training.

        Args:
            progress: what there was after part `done`; it is overwritten.
            done: parts.
            total: parts.

        Yields:
            After each part the progress, and the metrics of an epoch that has become complete.
        """
        ...

    def state(self, progress: Any) -> TrainState:
        """The state of the training in its progress."""
        ...


class InMemory(Feed):
    """All images on the device."""

    parts = 1

    def __init__(self, trainer: Trainer, data: TrainingData) -> None:
        """`data` lie on the trainer's devices: see `Trainer.put`."""
        self._trainer = trainer
        self._data = data
        self.epochs = trainer.count_epochs(data)
        self._train_epoch: Any = trainer.jit(trainer.train_epoch, donate_argnums=0)

    def start(self, key: Key[Array, ""]) -> TrainState:
        """See `Feed`."""
        return self._trainer.jit(self._trainer.init)(key, self._data)

    def shapes(self, key: Key[Array, ""]) -> TrainState:
        """See `Feed`."""
        return jax.eval_shape(self._trainer.init, key, self._data)

    def compile(self, progress: TrainState) -> None:
        """See `Feed`."""
        self._train_epoch = self._train_epoch.lower(progress, self._data.train).compile()

    def train(
        self, progress: TrainState, done: int, total: int
    ) -> Generator[tuple[TrainState, Metrics | None]]:
        """See `Feed`."""
        for _ in range(done, total):
            progress, metrics = self._train_epoch(progress, self._data.train)
            yield progress, metrics

    def state(self, progress: TrainState) -> TrainState:
        """See `Feed`."""
        return progress


class Streamed(Feed):
    """The images stay on the disk, and each process reads its own share of every batch."""

    def __init__(self, trainer: Trainer, source: StoredSplit, config: TrainConfig) -> None:
        """Reads all images once, if their mean is needed.

        Raises:
            ConfigError: the model takes all images at once.
        """
        if make_model(config, len(source.class_names)).fit is not None:
            raise ConfigError(
                f"model {config.model} takes all images at once: they cannot stream to it"
            )
        self._trainer = trainer
        self._source = source
        self._config = config
        self._scaling = _stored_statistics(source) if config.scale == "standardized" else UNIT
        self._count = len(source)
        batch, self._steps = _part_size(self._count, config.batch_size)
        self.epochs = config.count_epochs(self._count)
        self.parts = parts_per_epoch(self._count, config.batch_size)
        devices = 1 if trainer.mesh is None else trainer.mesh.size
        self._width = -(-batch // devices) * devices
        self._columns = _own_columns(trainer.mesh, self._width)
        self._train_part: Any = trainer.jit(trainer.train_part, static_argnums=2, donate_argnums=0)
        self._end_epoch = trainer.jit(self._ended, donate_argnums=0)

    def start(self, key: Key[Array, ""]) -> PartialEpoch:
        """See `Feed`."""
        return self._trainer.jit(self._begun)(key)

    def shapes(self, key: Key[Array, ""]) -> PartialEpoch:
        """See `Feed`."""
        return jax.eval_shape(self._begun, key)

    def compile(self, progress: PartialEpoch) -> None:
        """See `Feed`."""
        part = self._put(self._read(0))
        self._train_part = self._train_part.lower(progress, part, self._count).compile()
        self._end_epoch = self._end_epoch.lower(progress).compile()

    def train(
        self, progress: PartialEpoch, done: int, total: int
    ) -> Generator[tuple[PartialEpoch, Metrics | None]]:
        """See `Feed`."""
        import grain  # takes a second

        parts = grain.MapDataset.range(done, total).map(self._read)
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD)
        with closing(iter(parts.to_iter_dataset(options))) as read:
            following = self._put(next(read)) if done < total else None
            for number in range(done + 1, total + 1):
                progress = self._train_part(progress, following)
                if number < total:  # goes to the device meanwhile
                    following = self._put(next(read))
                metrics = None
                if number % self.parts == 0:
                    progress, metrics = self._end_epoch(progress)
                yield progress, metrics

    def state(self, progress: PartialEpoch) -> TrainState:
        """See `Feed`."""
        return progress.state

    def _begun(self, key: Key[Array, ""]) -> PartialEpoch:
        scaling = Scaling(*map(jnp.float32, self._scaling))
        return PartialEpoch.begin(self._trainer.start(key, scaling, self._count))

    def _ended(self, progress: PartialEpoch) -> tuple[PartialEpoch, Metrics]:
        state, metrics = self._trainer.end_epoch(progress, self._count)
        return PartialEpoch.begin(state), metrics

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The batches of an epoch, as training in memory has them."""
        _, key = jax.random.split(jax.random.key(self._config.seed))
        batches = jax.jit(epoch_batches, static_argnums=(0, 3))
        indices, weights = batches(self._config, key, epoch, self._count)
        return np.asarray(indices), np.asarray(weights)

    def _read(self, number: int) -> Part:
        """The part after `number` others, of every batch the share of this process."""
        epoch, within = divmod(number, self.parts)
        steps = slice(within * self._steps, (within + 1) * self._steps)
        indices, weights = (array[steps] for array in self._order(epoch))
        images, labels = self._source.read(self._share(indices))
        return Part(images, labels, self._share(weights), np.int32(len(indices)))

    def _share(self, batches: np.ndarray) -> np.ndarray:
        """The columns of this process, filled up with zeros to the full shape of a part."""
        missing = (self._steps - len(batches), self._width - batches.shape[1])
        return np.pad(batches, [(0, size) for size in missing])[:, self._columns]

    def _put(self, part: Part) -> Part:
        mesh = self._trainer.mesh
        if mesh is None:
            return jax.device_put(part)
        specs = Part(*(NamedSharding(mesh, spec) for spec in part_specs()))
        return jax.tree.map(jax.make_array_from_process_local_data, specs, part)


def parts_per_epoch(count: int, batch_size: int) -> int:
    """How many parts an epoch has that streams.

    Example:
        >>> parts_per_epoch(55_000, 64)
        7
    """
    batch, steps = _part_size(count, batch_size)
    return -(-steps_per_epoch(count, batch) // steps)


def _part_size(count: int, batch_size: int) -> tuple[int, int]:
    """Images a batch, and batches a part."""
    batch = min(batch_size, count)
    return batch, min(max(PART_IMAGES // batch, 1), steps_per_epoch(count, batch))


def _own_columns(mesh: Mesh | None, width: int) -> slice:
    """Which columns of a batch are for the devices of this process."""
    if mesh is None:
        return slice(None)
    own = NamedSharding(mesh, part_specs().labels).addressable_devices_indices_map((1, width))
    starts, stops, _ = zip(*(at[1].indices(width) for at in own.values() if at), strict=True)
    return slice(min(starts), max(stops))


def _stored_statistics(source: StoredSplit) -> tuple[float, float]:
    """As `jaxdigits.transforms.scaling.pixel_statistics`, of images on the disk."""
    total = squares = 0
    for start in range(0, len(source), PART_IMAGES):
        rows = np.arange(start, min(start + PART_IMAGES, len(source)))
        pixels = source.read(rows).images.astype(np.int64).ravel()
        total += int(pixels.sum())
        squares += int(pixels @ pixels)
    count = len(source) * 28 * 28
    mean = total / count / 255
    variance = squares / count / 255**2 - mean**2
    return mean, variance**0.5 if variance > 0 else 1.0
