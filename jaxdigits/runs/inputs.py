"""Input pipelines: training images all on the device, or streamed from the disk.

Both train on the same batches in the same order, so they give the same network but for rounding. A
pipeline advances chunk by chunk. If all images are on the device, a chunk is an epoch. If they
stream, it is some batches, which a thread of grain's has read while earlier ones were trained on.
"""

import functools
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Key

from jaxdigits.data import Examples
from jaxdigits.data.dataset import StoredSplit
from jaxdigits.errors import ConfigError
from jaxdigits.models import Params
from jaxdigits.training.batches import epoch_batches, steps_per_epoch
from jaxdigits.training.sharding import num_devices, replicate
from jaxdigits.training.state import Batch, Metrics, TrainingData, TrainState
from jaxdigits.training.trainer import Trainer, chunk_specs, means, no_sums
from jaxdigits.transforms.scaling import UNIT

CHUNK_IMAGES = 8192
"""Images in a chunk, at most: a second's work for the letters network on two cores."""

CHUNKS_AHEAD = 2
"""Chunks that are read before they are needed."""


@runtime_checkable
class InputPipeline(Protocol):
    """What a run gets its images from, chunk by chunk.

    Its progress is a pytree of arrays: all that changes from chunk to chunk, to be checkpointed.

    Attributes:
        num_epochs: of the whole run.
        chunks_per_epoch: how many chunks make an epoch.
    """

    num_epochs: int
    chunks_per_epoch: int

    def start(self) -> Any:
        """The progress to begin with."""
        ...

    def shapes(self) -> Any:
        """The shapes of the progress."""
        ...

    def place(self, progress: Any) -> Any:
        """Put progress that was read back on the devices."""
        ...

    def compile(self, progress: Any) -> None:
        """Compile what `train` and `evaluate` need."""
        ...

    def train(self, progress: Any, chunk: int) -> Generator[tuple[Any, Metrics | None]]:
        """Train from a chunk to the end.

        Args:
            progress: after `chunk` chunks; it is overwritten.
            chunk: the number of chunks done.

        Yields:
            After each chunk the progress, and the metrics of an epoch that it completes.
        """
        ...

    def evaluate(self, progress: Any) -> Metrics:
        """Measure the network on the validation split."""
        ...

    def state(self, progress: Any) -> TrainState:
        """The state of the run in its progress."""
        ...


class InMemory(InputPipeline):
    """All images on the device."""

    chunks_per_epoch = 1

    def __init__(
        self,
        trainer: Trainer,
        data: TrainingData,
        key: Key[Array, ""],
        params: Params | None = None,
    ) -> None:
        """Args:
        trainer: of the run.
        data: to train on; they are put on the trainer's devices.
        key: of the run.
        params: to start from, instead of the model's.
        """
        self._trainer, self._start = trainer, (key, params)
        self._data = replicate(data, trainer.mesh)
        self.num_epochs = trainer.num_epochs
        self._train_epoch: Any = trainer.jit(trainer.train_epoch, donate_argnums=0)
        self._evaluate: Any = trainer.jit(trainer.evaluate)

    def start(self) -> TrainState:
        """See `InputPipeline`."""
        key, params = self._start
        return self._trainer.jit(self._trainer.init)(key, self._data.train, params)

    def shapes(self) -> TrainState:
        """See `InputPipeline`."""
        key, params = self._start
        return jax.eval_shape(self._trainer.init, key, self._data.train, params)

    def place(self, progress: TrainState) -> TrainState:
        """See `InputPipeline`."""
        return replicate(progress, self._trainer.mesh)

    def compile(self, progress: TrainState) -> None:
        """See `InputPipeline`."""
        self._evaluate = self._evaluate.lower(progress, self._data.validation).compile()
        if self.num_epochs:
            self._train_epoch = self._train_epoch.lower(progress, self._data.train).compile()

    def train(
        self, progress: TrainState, chunk: int
    ) -> Generator[tuple[TrainState, Metrics | None]]:
        """See `InputPipeline`."""
        for _ in range(chunk, self.num_epochs):
            progress, metrics = self._train_epoch(progress, self._data.train)
            yield progress, metrics

    def evaluate(self, progress: TrainState) -> Metrics:
        """See `InputPipeline`."""
        return self._evaluate(progress, self._data.validation)

    def state(self, progress: TrainState) -> TrainState:
        """See `InputPipeline`."""
        return progress


class Streamed(InputPipeline):
    """The images stay on the disk, and each process reads its own share of every batch."""

    def __init__(
        self,
        trainer: Trainer,
        source: StoredSplit,
        validation: Examples,
        key: Key[Array, ""],
        params: Params | None = None,
    ) -> None:
        """Arguments: see `InMemory`; `source` are the training images.

        Raises:
            ConfigError: the model takes all images at once.
        """
        config = trainer.parts.config
        if trainer.parts.model.fit is not None:
            raise ConfigError(
                f"model {config.model} takes all images at once: they cannot be streamed"
            )
        self._trainer, self._source = trainer, source
        self._start = key, None, params
        self._count = len(source)
        self._batch, self._steps = _chunk_size(self._count, config.batch_size)
        sizes = {"count": self._count, "batch_size": self._batch, "reduction": config.reduction}
        self._order = _cached_orders(jax.random.split(key)[1], sizes)
        self.num_epochs = trainer.num_epochs
        self.chunks_per_epoch = chunks_per_epoch(self._count, config.batch_size)
        devices = num_devices(trainer.mesh)
        self._width = -(-self._batch // devices) * devices
        self._columns = _own_columns(trainer.mesh, self._width)
        self._validation = replicate(validation, trainer.mesh)
        self._train_chunk: Any = trainer.jit(trainer.train_chunk, donate_argnums=(0, 1))
        self._evaluate: Any = trainer.jit(trainer.evaluate)

    def start(self) -> Any:
        """See `InputPipeline`."""
        state = self._trainer.jit(self._trainer.init)(*self._start)
        return self.place((state, no_sums()))

    def shapes(self) -> Any:
        """See `InputPipeline`."""
        return jax.eval_shape(self._trainer.init, *self._start), jax.eval_shape(no_sums)

    def place(self, progress: Any) -> Any:
        """See `InputPipeline`."""
        return replicate(progress, self._trainer.mesh)

    def compile(self, progress: Any) -> None:
        """See `InputPipeline`."""
        self._evaluate = self._evaluate.lower(progress[0], self._validation).compile()
        self._train_chunk = self._train_chunk.lower(*progress, *self._put(self._read(0))).compile()

    def train(self, progress: Any, chunk: int) -> Generator[tuple[Any, Metrics | None]]:
        """See `InputPipeline`."""
        import grain  # takes a second

        total = self.num_epochs * self.chunks_per_epoch
        chunks = grain.MapDataset.range(chunk, total).map(self._read)
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=CHUNKS_AHEAD)
        with closing(iter(chunks.to_iter_dataset(options))) as read:
            following = self._put(next(read)) if chunk < total else None
            for number in range(chunk + 1, total + 1):
                assert following is not None
                state, sums = self._train_chunk(*progress, *following)
                if number < total:  # goes to the device meanwhile
                    following = self._put(next(read))
                metrics = None
                if number % self.chunks_per_epoch == 0:
                    metrics = means(sums, self._count)
                    sums = replicate(no_sums(), self._trainer.mesh)
                progress = state, sums
                yield progress, metrics

    def evaluate(self, progress: Any) -> Metrics:
        """See `InputPipeline`."""
        return self._evaluate(progress[0], self._validation)

    def state(self, progress: Any) -> TrainState:
        """See `InputPipeline`."""
        return progress[0]

    def _read(self, number: int) -> tuple[Batch, np.int32]:
        """The chunk after `number` others, of every batch the share of this process."""
        epoch, within = divmod(number, self.chunks_per_epoch)
        steps = slice(within * self._steps, (within + 1) * self._steps)
        indices, weights = (array[steps] for array in self._order(epoch))
        images, labels = self._source.read(self._share(indices))
        return Batch(images, labels, self._share(weights)), np.int32(len(indices))

    def _share(self, batches: np.ndarray) -> np.ndarray:
        """The columns of this process, filled up with zeros to the full shape of a chunk."""
        missing = (self._steps - len(batches), self._width - batches.shape[1])
        return np.pad(batches, [(0, size) for size in missing])[:, self._columns]

    def _put(self, chunk: tuple[Batch, np.int32]) -> tuple[Batch, Any]:
        mesh = self._trainer.mesh
        if mesh is None:
            return jax.device_put(chunk)
        batches, num_steps = chunk
        specs = Batch(*(NamedSharding(mesh, spec) for spec in chunk_specs()))
        batches = jax.tree.map(jax.make_array_from_process_local_data, specs, batches)
        return batches, replicate(num_steps, mesh)


def _cached_orders(
    key: Key[Array, ""], sizes: Mapping[str, Any]
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Make a function from an epoch to its batches, as training in memory has them."""
    batches = jax.jit(functools.partial(epoch_batches, **sizes))

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        indices, weights = batches(key, epoch)
        return np.asarray(indices), np.asarray(weights)

    return order


def chunks_per_epoch(count: int, batch_size: int) -> int:
    """How many chunks an epoch has that streams.

    Example:
        >>> chunks_per_epoch(55_000, 64)
        7
    """
    batch, steps = _chunk_size(count, batch_size)
    return -(-steps_per_epoch(count, batch) // steps)


def stored_statistics(source: StoredSplit) -> tuple[float, float]:
    """As `jaxdigits.transforms.scaling.pixel_statistics`, of images on the disk."""
    total = squares = count = 0
    for start in range(0, len(source), CHUNK_IMAGES):
        rows = np.arange(start, min(start + CHUNK_IMAGES, len(source)))
        pixels = source.read(rows).images.astype(np.int64).ravel()
        total += int(pixels.sum())
        squares += int(pixels @ pixels)
        count += pixels.size
    mean = total / count / 255
    variance = squares / count / 255**2 - mean**2
    return mean, variance**0.5 if variance > 0 else UNIT[1]


def _chunk_size(count: int, batch_size: int) -> tuple[int, int]:
    """Images per batch, and batches per chunk."""
    batch = min(batch_size, count)
    return batch, min(max(CHUNK_IMAGES // batch, 1), steps_per_epoch(count, batch))


def _own_columns(mesh: Mesh | None, width: int) -> slice:
    """Which columns of a batch are for the devices of this process."""
    if mesh is None:
        return slice(None)
    own = NamedSharding(mesh, chunk_specs().labels).addressable_devices_indices_map((1, width))
    starts, stops, _ = zip(*(at[1].indices(width) for at in own.values() if at), strict=True)
    return slice(min(starts), max(stops))
