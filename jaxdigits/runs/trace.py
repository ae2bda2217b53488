"""What a run computes on its way, in a process that answers questions: see `twin`.

    python -m jaxdigits.runs.trace

Each line on standard input is a question in JSON, such as `{"steps": {"epoch": 3}}`; the first is
`{"run": {"run": FOLDER}}`; each line on standard
output is the answer. Arrays are told by `digest`, and their values by the name of a file.
"""

import json
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from jaxdigits.environment import environment, prepare_jax

if __name__ == "__main__":
    prepare_jax()

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from jaxdigits import data
from jaxdigits.config import with_settings
from jaxdigits.errors import ConfigError, JaxdigitsError
from jaxdigits.files import StrPath
from jaxdigits.runs.checkpoints import named_shapes
from jaxdigits.runs.evaluation import check_same_data
from jaxdigits.runs.folder import load
from jaxdigits.training.batches import epoch_batches, steps_per_epoch
from jaxdigits.training.observe import digest, observe
from jaxdigits.training.resolve import DataSpec, fit_scaling
from jaxdigits.training.sharding import DEVICES, make_mesh, replicate
from jaxdigits.training.state import Batch, TrainingData, TrainState
from jaxdigits.training.trainer import make_trainer, on_devices

Digests = list[int]


class Trace:
    """A run that is trained again, to be looked at."""

    def __init__(
        self,
        run: StrPath,
        data_dir: StrPath | None = None,
        manual_dir: StrPath | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Args:
        run: its folder.
        data_dir, manual_dir: see `jaxdigits.data.load`.
        settings: other ones than the run's, as on a command line.

        Raises:
            DataError: its data are not to be had.
            ConfigError: a setting is impossible.
        """
        found = load(run)
        if settings:
            if "dataset" in settings:
                raise ConfigError("runs on other data have nothing to compare: omit dataset")
            found = replace(found, config=with_settings(found.config, settings))
        train, validation = data.load_splits(
            found.config.dataset,
            ("train", "validation"),
            data_dir=data_dir,
            manual_dir=manual_dir,
        )
        check_same_data(found, train.fingerprint)
        available = jax.devices()
        self.devices = min(found.devices, len(available))
        mesh = None if self.devices == 1 else make_mesh(available, self.devices, DEVICES)
        scaling = found.scaling
        if "scale" in (settings or {}):
            scaling = fit_scaling(found.config.scale, train.images)
        spec = DataSpec(len(train), found.image_shape, len(found.class_names), scaling)
        self._run, self._spec = found, spec
        self._trainer = make_trainer(found.config, spec, mesh=mesh)
        self._data = replicate(TrainingData.from_datasets(train, validation), mesh)
        self._params = None if found.init_from is None else load(found.init_from).params
        self._results: Callable[..., list[Any]] | None = None

    def about(self) -> dict[str, Any]:
        """The environment, the number of devices, and the names of the arrays of the state."""
        shapes = jax.eval_shape(self._init)
        names = list(named_shapes(shapes))
        return {**environment(), "devices": self.devices, "arrays": names}

    def epochs(self, count: int) -> list[Digests]:
        """The state's arrays before the first epoch, and after each."""
        found = [_digests(state := self._start())]
        for _ in range(count):
            state = self._train(state)
            found.append(_digests(state))
        return found

    def steps(self, epoch: int) -> list[Digests]:
        """The state's arrays after each step of an epoch."""
        state = self._before(epoch)
        batches = self._batches(state)
        return self._take(state, batches)[1]

    def operations(self, epoch: int, step: int) -> list[dict[str, Any]]:
        """The operations of a step, and the digest of each result; of the start, if `epoch` is 0.

        With several devices a result has an axis of them in front.
        """
        function, args = self._init, ()
        if epoch:
            state = self._before(epoch)
            # By NumPy, without a program for each number of steps.
            batches = jax.device_get(self._batches(state))
            if step > 1:
                state, _ = self._take(state, jax.tree.map(lambda rows: rows[: step - 1], batches))
            function = self._trainer.step
            args = (state, jax.tree.map(lambda rows: rows[step - 1], batches))
        listed, results = observe(function)
        sharded = epoch and self.devices > 1

        def chosen(numbers: Sequence[int] | None, *args: Any) -> list[Any]:
            found = results(*args)
            found = found if numbers is None else [found[number] for number in numbers]
            # A barrier, or constants would be summed up while XLA compiles.
            found = [lax.optimization_barrier(_plain(value)) for value in found]
            return [value[None] for value in found] if sharded else found

        def compiled(numbers: Sequence[int] | None) -> Callable[..., list[Any]]:
            def inside(*args: Any) -> list[Any]:
                return chosen(numbers, *args)

            if not sharded:
                return jax.jit(inside)
            specs = (PartitionSpec(), PartitionSpec(DEVICES))
            mesh = self._trainer.mesh
            return self._trainer.jit(
                jax.shard_map(
                    inside,
                    mesh=mesh,
                    in_specs=specs,
                    out_specs=PartitionSpec(DEVICES),
                    check_vma=False,
                )
            )

        self._results = lambda numbers: compiled(numbers)(*args)
        values = self._results(None)
        digests = _digests(values)
        return [
            {**operation._asdict(), "digest": one, "devices": self.devices if sharded else 1}
            for operation, one in zip(listed, digests, strict=True)
        ]

    def values(self, numbers: Sequence[int]) -> str:
        """A file with the results of some of the operations that were asked for last."""
        assert self._results is not None
        found = [_exactly(x) for x in self._results(numbers)]
        arrays = {str(n): np.asarray(x) for n, x in zip(numbers, found, strict=True)}
        with tempfile.NamedTemporaryFile(suffix=".npz", delete=False) as file:
            np.savez(file, allow_pickle=False, **arrays)
        return file.name

    def _init(self) -> TrainState:
        key = jax.random.key(self._run.config.seed)
        return self._trainer.init(key, self._data.train, self._params)

    def _start(self) -> TrainState:
        return replicate(self._begin(), self._trainer.mesh)

    def _train(self, state: TrainState) -> TrainState:
        return self._epoch(state, self._data.train)[0]

    def _before(self, epoch: int) -> TrainState:
        state = self._start()
        for _ in range(epoch - 1):
            state = self._train(state)
        return state

    @cached_property
    def _begin(self) -> Callable[[], TrainState]:
        return self._trainer.jit(self._init)

    @cached_property
    def _epoch(self) -> Callable[..., Any]:
        return self._trainer.jit(self._trainer.train_epoch)

    def _batches(self, state: TrainState) -> Batch:
        """The batches of the next epoch."""
        return self._trainer.jit(self._chosen)(state, self._data.train)

    def _chosen(self, state: TrainState, train: data.Examples) -> Batch:
        config, count = self._trainer.parts.config, self._spec.num_examples
        epoch = state.step // steps_per_epoch(count, config.batch_size)
        chosen, weights = epoch_batches(
            state.key, epoch, count, config.batch_size, config.reduction
        )
        more = [(0, 0), (0, -chosen.shape[1] % self.devices)]  # as `own_share` fills them up
        chosen, weights = jnp.pad(chosen, more), jnp.pad(weights, more)
        images, labels = train
        return Batch(images[chosen], labels[chosen], weights)

    def _take(self, state: TrainState, batches: Batch) -> tuple[TrainState, list[Digests]]:
        """Take steps; the state after them, and its arrays after each."""
        axis = DEVICES if self.devices > 1 else None

        def all_of(state: TrainState, batches: Batch) -> tuple[TrainState, list[Any]]:
            def one(state: TrainState, batch: Batch) -> tuple[TrainState, list[Any]]:
                state, _ = self._trainer.step(state, batch)
                return state, [digest(leaf) for leaf in jax.tree.leaves(state)]

            return lax.scan(one, state, batches)

        specs = (PartitionSpec(), PartitionSpec(None, axis))
        program = self._trainer.jit(on_devices(all_of, self._trainer.mesh, specs))
        state, digests = program(state, batches)
        return state, np.array(digests).T.tolist()


def _plain(value: Any) -> Any:
    keys = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(value) if keys else value


def _exactly(value: Any) -> Any:
    """In a dtype that NumPy knows."""
    return value.astype(jnp.float32) if value.dtype == jnp.bfloat16 else value


def _digests(tree: Any) -> Digests:
    return [int(digest(np.asarray(_plain(leaf)))) for leaf in jax.tree.leaves(tree)]


def _listen(questions: "queue.SimpleQueue[str]") -> None:
    """Collect questions; when nobody is left to ask, end at once, even in the midst of training."""
    for line in sys.stdin:
        questions.put(line)
    os._exit(0)


def main() -> None:
    """Answer questions until there are no more."""
    questions: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()
    trace = None
    while True:
        (name, argument), *_ = json.loads(questions.get()).items()
        try:
            if name == "run":
                trace = Trace(**argument)
                answer: Any = trace.about()
            else:
                assert trace is not None
                answer = getattr(trace, name)(**argument)
        except JaxdigitsError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
