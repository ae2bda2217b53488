"""Input pipelines of a sweep: its members, trained together on images that lie on the device."""

from collections.abc import Generator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxdigits.models import Params
from jaxdigits.runs import multihost
from jaxdigits.runs.inputs import InMemory
from jaxdigits.training import halving
from jaxdigits.training.members import VectorizedTrainer
from jaxdigits.training.state import Metrics, TrainingData, TrainState


class Members(InMemory):
    """Members of a sweep, trained together; metrics have an axis of members."""

    def __init__(
        self,
        trainer: VectorizedTrainer,
        data: TrainingData,
        keys: Key[Array, " members"],
        hyperparams: dict[str, Any],
        programs: dict[Any, Any],
    ) -> None:
        """Args:
        trainer: of the members.
        data: to train on, on the trainer's devices.
        keys: of each member.
        hyperparams: arrays with a value for each member.
        programs: compiled ones, shared with other batches of as many members.
        """
        self._members = trainer
        self._data = data
        self._inputs = trainer.shard(keys), trainer.shard(hyperparams)
        self._programs = programs
        self.num_epochs = trainer.num_epochs

    def start(self) -> TrainState:
        """See `InputPipeline`."""
        return self._members.jit(self._members.init)(*self._inputs, self._data.train)

    def shapes(self) -> TrainState:
        """See `InputPipeline`."""
        return jax.eval_shape(self._members.init, *self._inputs, self._data.train)

    def place(self, progress: Any) -> Any:
        """See `InputPipeline`."""
        return self._members.shard(progress)

    def compile(self, progress: TrainState) -> None:
        """See `InputPipeline`."""
        shared = (id(self._members), len(progress.step))
        if shared not in self._programs:
            trainer = self._members
            evaluate = trainer.jit(trainer.evaluate).lower(progress, self._data.validation)
            train_epoch = trainer.jit(trainer.train_epoch, donate_argnums=0)
            if self.num_epochs:
                train_epoch = train_epoch.lower(progress, self._data.train).compile()
            self._programs[shared] = train_epoch, evaluate.compile()
        self._train_epoch, self._evaluate = self._programs[shared]

    def train(
        self, progress: TrainState, chunk: int
    ) -> Generator[tuple[TrainState, Metrics | None]]:
        """See `InputPipeline`."""
        for state, metrics in super().train(progress, chunk):
            yield state, multihost.gather(metrics)

    def evaluate(self, progress: TrainState) -> Metrics:
        """See `InputPipeline`."""
        return multihost.gather(super().evaluate(progress))

    def trained(self, progress: Any) -> tuple[Params, Any]:
        """The parameters and the number of steps of each member, on the host."""
        return jax.device_get(multihost.gather((progress.trained, progress.step)))

    @property
    def program(self) -> Any:
        """The compiled epoch."""
        return self._train_epoch


class HalvedMembers(Members):
    """Members of which only the best go on; metrics are in the order of the members."""

    def __init__(self, *members: Any, settings: Sequence[int], one_in: int) -> None:
        """Args:
        members: as for `Members`.
        settings: of each member, the number of its setting; -1 for one that only fills up.
        one_in: how many settings one is kept of.
        """
        super().__init__(*members)
        self._settings = list(settings)
        self._kept = halving.plan_rungs(max(settings) + 1, self.num_epochs, one_in)

    def start(self) -> Any:
        """See `InputPipeline`."""
        return self._members.jit(self._begin)(*self._inputs, self._data)

    def shapes(self) -> Any:
        """See `InputPipeline`."""
        return jax.eval_shape(self._begin, *self._inputs, self._data)

    def compile(self, progress: Any) -> None:
        """See `InputPipeline`."""
        shared = (id(self._members), tuple(self._settings))
        if shared not in self._programs and self.num_epochs:
            epoch = halving.make_epoch(self._members, self._settings, self._kept)
            epoch = self._members.jit(epoch, donate_argnums=0)
            self._programs[shared] = epoch.lower(progress, self._data).compile()
        self._train_epoch = self._programs.get(shared)

    def train(self, progress: Any, chunk: int) -> Generator[tuple[Any, Metrics | None]]:
        """See `InputPipeline`."""
        for _ in range(chunk, self.num_epochs):
            progress = self._train_epoch(progress, self._data)
            yield progress, self._in_order(progress, progress.metrics.train)

    def evaluate(self, progress: Any) -> Metrics:
        """See `InputPipeline`."""
        return self._in_order(progress, progress.metrics.validation)

    def trained(self, progress: Any) -> tuple[Params, Any]:
        """See `Members`."""
        return self._in_order(progress, (progress.states.trained, progress.states.step))

    def _in_order(self, progress: Any, tree: Any) -> Any:
        """Arrays of the places, in the order of the members.

        On the host: programs that exchange arrays, several at once, block each other on a CPU.
        """
        members, tree = jax.device_get(multihost.gather((progress.members, tree)))
        order = np.argsort(members)
        return jax.tree.map(lambda leaf: leaf[order], tree)

    def _begin(self, keys: Any, hyperparams: Any, data: TrainingData) -> halving.Search:
        return halving.start(self._members, self._settings, keys, hyperparams, data)
