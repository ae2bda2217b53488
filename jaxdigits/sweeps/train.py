"""Train the members of a sweep: a program for all that have arrays of the same shapes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdigits.config import TrainConfig
from jaxdigits.data import Dataset
from jaxdigits.errors import ConfigError
from jaxdigits.runs import multihost
from jaxdigits.runs.folder import MEMBERS, RUN_FILE, load, read_run, save_new
from jaxdigits.runs.loop import Progress, ProgressBar, counted, train_loop
from jaxdigits.runs.make_run import make_run
from jaxdigits.runs.members import HalvedMembers, Members
from jaxdigits.runs.resume import CheckpointHook
from jaxdigits.runs.run import Run, measure
from jaxdigits.sweeps import grid as grids
from jaxdigits.sweeps.grid import Plan
from jaxdigits.training.members import VectorizedTrainer, make_vectorized_trainer, members_mesh
from jaxdigits.training.resolve import DataSpec
from jaxdigits.training.sharding import replicate
from jaxdigits.training.state import TrainingData

SPLITS = ("train", "validation", "test")


@dataclass
class _Group:
    """Members that share a program."""

    indices: list[int]
    trainer: VectorizedTrainer
    spec: DataSpec
    data: TrainingData
    batches: list[list[int]]
    programs: dict[Any, Any] = field(default_factory=dict)


class SweepTrainer:
    """Trains those members of a sweep that are not written yet.

    Attributes:
        seconds: that it took to compile, in this process, and to train, in all.
    """

    def __init__(
        self,
        plan: Plan,
        splits: Mapping[str, Dataset],
        devices: int,
        members_per_batch: int | None,
        indices: Sequence[int] | None = None,
        halving: int | None = None,
    ) -> None:
        """Args:
        plan: the members.
        splits: to train on, and to measure them on.
        devices: that they are sharded over, at most.
        members_per_batch: that one call of a program trains. Default: what suits.
        indices: of the members to train. Default: of all.
        halving: how many settings one is kept of, again and again. Default: all are kept.
        """
        self._halving = halving
        self._seeds = len(plan.members) // len(plan.settings)
        self._plan, self._splits = plan, splits
        self._indices = list(range(len(plan.members)) if indices is None else indices)
        self._devices, self._members_per_batch = devices, members_per_batch
        self._runs: dict[int, Run] = {}
        self._groups: list[_Group] = []
        self.seconds = {"compile": 0.0, "train": 0.0}

    def prepare(self, sizes: Sequence[int] | None = None) -> list[int]:
        """Group the members, and return how many each group trains at once.

        Args:
            sizes: the same of the sweep that is resumed: the memory that is free may differ now.
        """
        groups = grids.group_by_program(self._plan.members, self._indices)
        pairs = zip(groups, sizes or [None] * len(groups), strict=True)
        self._groups = [self._group(indices, size) for indices, size in pairs]
        if self._halving is not None:
            batches = [batch for group in self._groups for batch in group.batches]
            most = max(len(set(self._settings_of(batch)) - {-1}) for batch in batches)
            if most <= self._halving:
                raise ConfigError(
                    f"halving keeps one of {self._halving} settings, but no more than {most} are "
                    "trained together: omit it, or give more values"
                )
        return [len(group.batches[0]) for group in self._groups]

    def train(self, hook: CheckpointHook, folder: Path | None, *, show: bool = False) -> list[Run]:
        """Train batch after batch, until each member has its run.

        Args:
            hook: for checkpoints.
            folder: that has, or gets, a folder of members, if there is one.
            show: the progress on standard error.
        """
        groups = self._groups
        total = sum(group.trainer.num_epochs * len(group.batches) for group in groups)
        before = 0
        with ProgressBar(total, "epoch", show=show and multihost.is_primary()) as bar:
            bar.say(self._announcement())
            pairs = [(group, batch) for group in groups for batch in group.batches]
            for number, (group, batch) in enumerate(pairs, start=1):
                bar.part = f"batch {number} of {len(pairs)}, " if len(pairs) > 1 else ""
                if not self._complete(batch, folder):
                    self._train(group, batch, hook, folder, before, total, bar)
                before += group.trainer.num_epochs
                bar.reach(before)
        return [self._runs[index] for index in self._indices]

    def _announcement(self) -> str:
        plan, data = self._plan, self._splits["train"]
        most = max(len(batch) for group in self._groups for batch in group.batches)
        what = counted(len(self._indices), "network"), counted(len(plan.settings), "setting")
        images = f"{data.fingerprint.name}: {len(data):,} images"
        return f"training {', '.join(what)}, on {images}, up to {most} at once"

    def _group(self, indices: list[int], size: int | None) -> _Group:
        config = self._plan.members[indices[0]]
        data = TrainingData.from_datasets(self._splits["train"], self._splits["validation"])
        wanted = self._members_per_batch
        devices = self._devices
        if jax.process_count() == 1:
            devices = min(devices, len(indices), wanted or len(indices))
        mesh = members_mesh(devices)
        spec = DataSpec.of(data, config.scale)
        trainer = make_vectorized_trainer(config, spec, mesh)
        if wanted:
            size = max(min(wanted, len(indices)) // devices, 1) * devices
        elif size is None or size % devices:
            size = grids.choose_members_per_batch(
                config,
                spec,
                grids.tree_bytes(data),
                len(indices),
                mesh,
                all_at_once=self._halving is not None,
            )
            size = -multihost.max_over_processes(-size)[0]  # what all have memory for
        if self._halving:  # a setting's members are judged together
            unit = math.lcm(self._seeds, devices)
            size = max(size // unit, 1) * unit
        return _Group(
            indices, trainer, spec, replicate(data, mesh), grids.batch_members(indices, size)
        )

    def _complete(self, batch: Sequence[int], folder: Path | None) -> bool:
        """Whether all members of a batch have been written; reads them if so."""
        paths = [_member(folder, index) for index in batch if folder]
        missing = not paths or not all((path / RUN_FILE).exists() for path in paths)
        if any(multihost.max_over_processes(missing)):
            return False
        runs = [load(path) for path in paths]
        self._runs.update(zip(batch, runs, strict=True))
        self.seconds["train"] += max((run.seconds or {}).get("train", 0.0) for run in runs)
        return True

    def _train(
        self,
        group: _Group,
        batch: Sequence[int],
        hook: CheckpointHook,
        folder: Path | None,
        before: int,
        total: int,
        bar: ProgressBar,
    ) -> None:
        configs = [self._plan.members[index] for index in batch]
        keys = jax.vmap(jax.random.key)(np.array([config.seed for config in configs], np.uint32))
        names = configs[0].hyperparams
        hyperparams = {
            name: np.array([config.hyperparams[name] for config in configs], np.float32)
            for name in names
        }
        arguments = group.trainer, group.data, keys, hyperparams, group.programs
        inputs = Members(*arguments)
        if self._halving:
            inputs = HalvedMembers(
                *arguments, settings=self._settings_of(batch), one_in=self._halving
            )
        loop = train_loop(inputs, hook, before=before, total=total, bar=bar)
        with closing(loop):
            progress = next(loop)
            if group.trainer.num_epochs:
                _check_memory(inputs.program, group.trainer)
            *_, progress = [progress, *loop]
        self.seconds["compile"] += progress.compile_seconds
        self.seconds["train"] += progress.train_seconds
        # From several devices it would be gathered array by array, which can block a busy CPU.
        params, steps = inputs.trained(progress.state)
        each = max(int(steps.max()) // max(group.trainer.num_epochs, 1), 1)
        for place, index in enumerate(dict.fromkeys(batch)):
            trained = int(steps[place]) // each
            run = self._make_run(group, configs[place], params, place, progress, trained)
            if folder is not None and multihost.is_primary():
                path = _member(folder, index)
                save_new(run, path, overwrite=True)
                run = read_run(path)
            self._runs[index] = run

    def _settings_of(self, batch: Sequence[int]) -> list[int]:
        """The settings of members, numbered from 0; -1 for one that stands there already."""
        numbers = [index // self._seeds for index in batch]
        known = list(dict.fromkeys(numbers))
        return [
            -1 if index in batch[:place] else known.index(numbers[place])
            for place, index in enumerate(batch)
        ]

    def _make_run(
        self,
        group: _Group,
        config: TrainConfig,
        params: Any,
        place: int,
        progress: Progress,
        trained: int,
    ) -> Run:
        resolved = group.trainer.parts.config
        config = config.replace(epochs=resolved.epochs, augment=resolved.augment)
        run = make_run(
            group.trainer.parts._replace(config=config),
            group.spec,
            jax.tree.map(lambda leaf: leaf[place], params),
            self._splits["train"],
            self._splits["validation"],
            history=tuple(_lines_of(progress.history[: trained + 1], place)),
            seconds={"train": progress.train_seconds},
        )
        return measure(run, self._splits["validation"]).run


def _member(folder: Path | None, index: int) -> Path:
    assert folder is not None
    return folder / MEMBERS / str(index)


def _lines_of(history: Sequence[Mapping[str, Any]], place: int) -> Iterator[dict[str, Any]]:
    """One member's part of a history of lists."""
    for line in history:
        yield {
            name: value[place] if isinstance(value, list) else value for name, value in line.items()
        }


def _check_memory(program: Any, trainer: VectorizedTrainer) -> None:
    """Raise ConfigError where a compiled program does not fit into the memory that is free."""
    needed = grids.program_bytes(program)
    free = 2 * grids.memory_budget(trainer.mesh)
    if any(multihost.max_over_processes(needed > free)):
        raise ConfigError(
            f"a program for these members takes {needed / 1e9:.1f} GB on each device, where "
            f"{free / 1e9:.1f} GB are free: choose fewer --members-per-batch"
        )
