"""Many runs that differ in seed and settings, a few compiled programs for all of them."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdigits import data as datasets
from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.data import Dataset
from jaxdigits.errors import ConfigError
from jaxdigits.files import StrPath, staged_directory, unfinished
from jaxdigits.runs.checkpoints import CHECKPOINT_FILES, write_manifest
from jaxdigits.runs.folder import MEMBERS, RUN_FILE, SWEEP_FILE, load, read_run, save_new
from jaxdigits.runs.inputs import Members
from jaxdigits.runs.loop import Progress, ProgressBar, counted, train_loop
from jaxdigits.runs.resume import (
    CheckpointHook,
    check_data,
    describe,
    drop_checkpoints,
    final_of,
    find_manifest,
    manifest_config,
    resumable,
    resume_command,
    resumed_devices,
)
from jaxdigits.runs.run import Run, make_run, measure
from jaxdigits.runs.session import Data
from jaxdigits.sweeps import grid as grids
from jaxdigits.sweeps.summary import PICTURES, SweepResult, summarize, write
from jaxdigits.training.members import VectorizedTrainer, make_vectorized_trainer, members_mesh
from jaxdigits.training.resolve import DataSpec
from jaxdigits.training.sharding import replicate
from jaxdigits.training.state import TrainingData

SPLITS = ("train", "validation", "test")
SWEEP_FILES = (SWEEP_FILE, MEMBERS, *PICTURES)


@dataclass(frozen=True)
class Plan:
    """The members of a sweep.

    Attributes:
        settings: without seeds.
        members: a config each, the seeds of a setting one after the other.
        names: of the settings that differ.
    """

    settings: list[TrainConfig]
    members: list[TrainConfig]
    names: list[str]


def sweep(
    config: TrainConfig,
    grid: Mapping[str, Sequence[Any]] | None = None,
    data: Data | None = None,
    *,
    seeds: int = 1,
    members_per_batch: int | None = None,
    folder: StrPath | None = None,
    resume: bool = False,
    overwrite: bool = False,
    saving: CheckpointConfig | None = None,
    devices: int | None = None,
    progress: bool = False,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> SweepResult:
    """Train all combinations of settings with several seeds each, and compare them on validation.

    Members that differ in seed, learning rate, weight decay, or momentum share a compiled program.

    Args:
        config: the settings that all members have.
        grid: lists of values for other settings, by name.
        data: the splits; by default those of `config.dataset`.
        seeds: the number of members of each setting: `config.seed` and the following ones.
        members_per_batch: members that one call of a program trains. Default: what suits the device
            and its memory.
        folder: the folder to write; `auto` for `sweeps/DATASET-MODEL`, with a number where that is
            taken. Default: none is written.
        resume: resume the sweep in that folder, or start it if there is none.
        overwrite: replace an older sweep in that folder, when the new one is complete.
        saving: when to save checkpoints.
        devices: that the members are sharded over. Default: all.
        progress: show the progress on standard error; see `jaxdigits.fit`.
        data_dir, manual_dir: see `jaxdigits.data.load`.

    Raises:
        DataError: the dataset is unknown, damaged, unavailable, or another than before.
        OutputError: the folder cannot be written, or is taken.
        ConfigError: a setting is impossible, or another than before, or a member needs too much
            memory.
        RunError: the checkpoints are damaged.
        StoppedError: on Ctrl-C or SIGTERM; a sweep with a folder can be resumed.

    Example:
        >>> import jaxdigits as jd
        >>> config = jd.TrainConfig(dataset="digits", model="linear", epochs=2)
        >>> result = jd.sweep(config, {"learning_rate": [1e-5, 0.01]}, seeds=2)
        >>> result.best.name, result.ensemble
        ('learning_rate 0.01', <Run: ensemble of 2 x linear on digits, test accuracy ...>)
    """
    if not 1 <= seeds <= grids.MAX_MEMBERS:
        raise ConfigError(f"seeds must be 1 to {grids.MAX_MEMBERS}, not {seeds}")
    if members_per_batch is not None and members_per_batch < 1:
        raise ConfigError(f"members_per_batch must be 1 or more, not {members_per_batch}")
    final = None if folder in (None, "auto") else final_of(Path(folder))
    manifest = None
    if resume and final is not None:
        if unfinished(final).exists():
            final, manifest = find_manifest("sweep", final, SWEEP_FILE)
        elif (final / SWEEP_FILE).exists():
            return summarize_folder(final)
    if manifest is not None:
        devices = resumed_devices(manifest, devices)
    folders = {"data_dir": data_dir, "manual_dir": manual_dir}
    if data is None:
        name = datasets.choose_dataset(config.dataset, data_dir, manual_dir)
        config = config.replace(dataset=name)
        data = {split.split: split for split in datasets.load_splits(name, SPLITS, **folders)}
    datasets.check_splits(data, SPLITS)
    plan = make_plan(config, grid or {}, seeds)
    fingerprint = data["train"].fingerprint
    fixed = {"seeds": seeds, "members_per_batch": members_per_batch}
    lists = json.loads(json.dumps(dict(grid or {})))
    document = describe(config, fingerprint, members_mesh(devices).size, grid=lists, **fixed)
    if manifest is not None and final is not None:
        manifest_config(manifest, unfinished(final), config, list(config.as_dict()))
        _check_grid(manifest, document, unfinished(final))
        check_data(manifest, fingerprint)
    trainer = _Sweep(plan, data, document["devices"], members_per_batch)
    if folder is None:
        trainer.prepare()
        with CheckpointHook() as hook:
            return trainer.run(hook, None, show=progress)
    with staged_directory(
        final or Path("sweeps") / f"{fingerprint.name.replace('/', '-')}-{config.model}",
        numbered=final is None and not overwrite,
        overwrite=overwrite,
        known=(*SWEEP_FILES, *CHECKPOINT_FILES),
        resume=resume,
        resumable=lambda path: resumable(path) or (path / MEMBERS).exists(),
    ) as new:
        document["batch_sizes"] = trainer.prepare((manifest or {}).get("batch_sizes"))
        manifest = manifest or write_manifest(new.work, document)
        options = {f"--{name.replace('_', '-')}": value for name, value in folders.items()}
        command = resume_command("sweep", new.final, options, *["--overwrite"] * overwrite)
        with CheckpointHook(new.work, manifest, saving, command) as hook:
            result = trainer.run(hook, new.work, show=progress)
    drop_checkpoints(new.final)
    return result._replace(folder=new.final)


def resume(
    folder: StrPath,
    *,
    expected: TrainConfig | None = None,
    given: Collection[str] = (),
    grid: Mapping[str, Sequence[Any]] | None = None,
    **options: Any,
) -> SweepResult:
    """Resume an interrupted sweep in its folder, with its own settings, or read a complete one.

    Args:
        folder: the sweep's, with or without `.unfinished`.
        expected: settings that must be those of the sweep...
        given: ...as far as their names stand here.
        grid: lists of values that must be those of the sweep, if there are any.
        options: as for `sweep`.

    Raises:
        RunError: there is nothing to resume.
    """
    final, manifest = find_manifest("sweep", Path(folder), SWEEP_FILE)
    if manifest is None:
        return summarize_folder(final)
    work = unfinished(final)
    names = set(given) - set(grid or {})
    config = manifest_config(manifest, work, expected or TrainConfig(), names)
    if grid:
        _check_grid(manifest, {"grid": json.loads(json.dumps(dict(grid)))}, work)
    fixed = {name: manifest[name] for name in ("grid", "seeds", "members_per_batch")}
    return sweep(config, folder=final, resume=True, **{**options, **fixed})


def summarize_folder(folder: Path) -> SweepResult:
    """Read the result of a complete sweep.

    Raises:
        RunError: the folder is damaged, or of a newer version.
    """
    return SweepResult.from_folder(folder, load(folder))


def make_plan(config: TrainConfig, grid: Mapping[str, Sequence[Any]], seeds: int) -> Plan:
    """The members of a sweep.

    Raises:
        ConfigError: a value is impossible, or there are too many members.
    """
    settings = grids.expand(config, grid)
    members = [
        setting.replace(seed=config.seed + number)
        for setting in settings
        for number in range(seeds)
    ]
    if len(members) > grids.MAX_MEMBERS:
        raise ConfigError(f"{len(members):,} members are too many: at most {grids.MAX_MEMBERS}")
    return Plan(settings, members, [name for name, values in grid.items() if len(values) > 1])


def _check_grid(manifest: Mapping[str, Any], document: Mapping[str, Any], folder: Path) -> None:
    for name in ("grid", "seeds", "members_per_batch"):
        if name in document and document[name] != manifest[name]:
            what = "lists of values" if name == "grid" else name
            raise ConfigError(
                f"the sweep in {folder} was begun with other {what}: omit them, or start a new one"
            )


@dataclass
class _Group:
    """Members that share a program."""

    indices: list[int]
    trainer: VectorizedTrainer
    spec: DataSpec
    data: TrainingData
    batches: list[list[int]]
    programs: dict[Any, Any] = field(default_factory=dict)


class _Sweep:
    """The training of all members that are not written yet."""

    def __init__(
        self,
        plan: Plan,
        splits: Mapping[str, Dataset],
        devices: int,
        members_per_batch: int | None,
    ) -> None:
        self._plan, self._splits = plan, splits
        self._devices, self._members_per_batch = devices, members_per_batch
        self._runs: dict[int, Run] = {}
        self._groups: list[_Group] = []
        self._seconds = {"compile": 0.0, "train": 0.0}

    def prepare(self, sizes: Sequence[int] | None = None) -> list[int]:
        """Group the members, and return how many each group trains at once.

        Args:
            sizes: the same of the sweep that is resumed: the memory that is free may differ now.
        """
        groups = grids.group_by_program(self._plan.members)
        pairs = zip(groups, sizes or [None] * len(groups), strict=True)
        self._groups = [self._group(indices, size) for indices, size in pairs]
        return [len(group.batches[0]) for group in self._groups]

    def run(self, hook: CheckpointHook, folder: Path | None, *, show: bool) -> SweepResult:
        """Train batch after batch, until each member has its run; then compare them."""
        groups = self._groups
        total = sum(group.trainer.num_epochs * len(group.batches) for group in groups)
        before = 0
        with ProgressBar(total, "epoch", show=show) as bar:
            bar.say(self._announcement())
            pairs = [(group, batch) for group in groups for batch in group.batches]
            for number, (group, batch) in enumerate(pairs, start=1):
                bar.part = f"batch {number} of {len(pairs)}, " if len(pairs) > 1 else ""
                if not self._complete(batch, folder):
                    self._train(group, batch, hook, folder, before, total, bar)
                before += group.trainer.num_epochs
                bar.reach(before)
        plan = self._plan
        runs = [self._runs[index] for index in range(len(plan.members))]
        result, figures = summarize(plan.settings, plan.names, runs, self._splits, self._seconds)
        if folder is not None:
            write(result, figures, folder)
        return result

    def _announcement(self) -> str:
        plan, data = self._plan, self._splits["train"]
        most = max(len(batch) for group in self._groups for batch in group.batches)
        what = counted(len(plan.members), "network"), counted(len(plan.settings), "setting")
        images = f"{data.fingerprint.name}: {len(data):,} images"
        return f"training {', '.join(what)}, on {images}, up to {most} at once"

    def _group(self, indices: list[int], size: int | None) -> _Group:
        config = self._plan.members[indices[0]]
        data = TrainingData.from_datasets(self._splits["train"], self._splits["validation"])
        wanted = self._members_per_batch
        devices = min(self._devices, len(indices), wanted or len(indices))
        mesh = members_mesh(devices)
        spec = DataSpec.of(data, config.scale)
        trainer = make_vectorized_trainer(config, spec, mesh)
        if wanted:
            size = min(wanted, len(indices)) // devices * devices
        elif size is None or size % devices:
            size = grids.choose_members_per_batch(
                config, spec, grids.tree_bytes(data), len(indices), mesh
            )
        return _Group(
            indices, trainer, spec, replicate(data, mesh), grids.batch_members(indices, size)
        )

    def _complete(self, batch: Sequence[int], folder: Path | None) -> bool:
        """Whether all members of a batch have been written; reads them if so."""
        paths = [_member(folder, index) for index in batch if folder]
        if not paths or not all((path / RUN_FILE).exists() for path in paths):
            return False
        self._runs.update(zip(batch, map(load, paths), strict=True))
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
        inputs = Members(group.trainer, group.data, keys, hyperparams, group.programs)
        loop = train_loop(inputs, hook, before=before, total=total, bar=bar)
        with closing(loop):
            progress = next(loop)
            if group.trainer.num_epochs:
                _check_memory(inputs.program, group.trainer)
            *_, progress = [progress, *loop]
        self._seconds["compile"] += progress.compile_seconds
        self._seconds["train"] += progress.train_seconds
        # From several devices it would be gathered array by array, which can block a busy CPU.
        params = jax.device_get(progress.state.trained)
        for place, index in enumerate(dict.fromkeys(batch)):
            run = self._make_run(group, configs[place], params, place, progress)
            if folder is not None:
                path = _member(folder, index)
                save_new(run, path, overwrite=True)
                run = read_run(path)
            self._runs[index] = run

    def _make_run(
        self, group: _Group, config: TrainConfig, params: Any, place: int, progress: Progress
    ) -> Run:
        resolved = group.trainer.parts.config
        config = config.replace(epochs=resolved.epochs, augment=resolved.augment)
        run = make_run(
            group.trainer.parts._replace(config=config),
            group.spec,
            jax.tree.map(lambda leaf: leaf[place], params),
            self._splits["train"],
            self._splits["validation"],
            history=tuple(_lines_of(progress.history, place)),
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
    if needed > free:
        raise ConfigError(
            f"a program for these members takes {needed / 1e9:.1f} GB on each device, where "
            f"{free / 1e9:.1f} GB are free: choose fewer --members-per-batch"
        )
