"""Many runs that differ in seed and settings, a few compiled programs for all of them."""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxdigits import data as datasets
from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.errors import ConfigError
from jaxdigits.files import StrPath, staged_directory, unfinished
from jaxdigits.runs import multihost
from jaxdigits.runs.checkpoints import CHECKPOINT_FILES, write_manifest
from jaxdigits.runs.folder import MEMBERS, SWEEP_FILE, load
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
from jaxdigits.runs.session import Data
from jaxdigits.sweeps import grid as grids
from jaxdigits.sweeps.job import JOBS
from jaxdigits.sweeps.launcher import Launcher, launch
from jaxdigits.sweeps.summary import PICTURES, SweepResult, summarize, write
from jaxdigits.sweeps.train import SPLITS, SweepTrainer
from jaxdigits.training.members import members_mesh

_FIXED = ("seeds", "members_per_batch", "halving")

SWEEP_FILES = (SWEEP_FILE, MEMBERS, *PICTURES)


def sweep(
    config: TrainConfig,
    grid: Mapping[str, Sequence[Any]] | None = None,
    data: Data | None = None,
    *,
    seeds: int = 1,
    members_per_batch: int | None = None,
    halving: int | None = None,
    folder: StrPath | None = None,
    resume: bool = False,
    overwrite: bool = False,
    saving: CheckpointConfig | None = None,
    devices: int | None = None,
    launcher: Launcher | None = None,
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
        halving: successive halving: of this many settings that share a program, keep only the best
            one, repeatedly; see `jaxdigits.training.halving`.
        folder: the folder to write; `auto` for `sweeps/DATASET-MODEL`, with a number where that is
            taken. Default: none is written.
        resume: resume the sweep in that folder, or start it if there is none.
        overwrite: replace an older sweep in that folder, when the new one is complete.
        saving: when to save checkpoints.
        devices: that the members are sharded over. Default: all.
        launcher: gives the members to jobs of a cluster; it needs a folder that all jobs see.
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
    _check_options(seeds, members_per_batch, halving, launcher)
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
    if launcher is not None:
        launcher.check(data, folder)
    if data is None:
        config, data = _load(config, **folders)
    datasets.check_splits(data, SPLITS)
    plan = grids.make_plan(config, grid or {}, seeds)
    fingerprint = data["train"].fingerprint
    fixed = {"seeds": seeds, "members_per_batch": members_per_batch, "halving": halving}
    lists = json.loads(json.dumps(dict(grid or {})))
    document = describe(config, fingerprint, members_mesh(devices).size, grid=lists, **fixed)
    if manifest is not None and final is not None:
        manifest_config(manifest, unfinished(final), config, list(config.as_dict()))
        _check_grid(manifest, document, unfinished(final))
        check_data(manifest, fingerprint)
    trainer = SweepTrainer(plan, data, document["devices"], members_per_batch, halving=halving)
    sizes = (manifest or {}).get("batch_sizes")
    if folder is None or not multihost.is_primary():
        before = None if manifest is None or final is None else unfinished(final)
        with multihost.checked(), CheckpointHook() as hook:
            trainer.prepare(sizes)
            runs = trainer.train(hook, before, show=progress)
        return summarize(plan.settings, plan.names, runs, data, trainer.seconds)[0]
    with (
        multihost.checked(),
        staged_directory(
            final or Path("sweeps") / f"{fingerprint.name.replace('/', '-')}-{config.model}",
            numbered=final is None and not overwrite,
            overwrite=overwrite,
            known=(*SWEEP_FILES, *CHECKPOINT_FILES, JOBS),
            resume=resume,
            resumable=lambda path: resumable(path) or (path / MEMBERS).exists(),
        ) as new,
    ):
        document["batch_sizes"] = trainer.prepare(sizes)
        manifest = manifest or write_manifest(new.work, document)
        options = {f"--{name.replace('_', '-')}": value for name, value in folders.items()}
        command = resume_command("sweep", new.final, options, *["--overwrite"] * overwrite)
        if launcher is not None:
            how = {"show": progress, "saving": saving, "devices": devices, **folders}
            launch(launcher, new.work, plan, command, **how)
        with CheckpointHook(new.work, manifest, saving, command) as hook:
            runs = trainer.train(hook, new.work, show=progress and launcher is None)
        result, histories = summarize(plan.settings, plan.names, runs, data, trainer.seconds)
        write(result, histories, new.work)
    drop_checkpoints(new.final)
    shutil.rmtree(new.final / JOBS, ignore_errors=True)
    return result._replace(folder=new.final)


def _load(config: TrainConfig, **folders: StrPath | None) -> tuple[TrainConfig, Data]:
    """Load the splits that a config names, and name them in it."""
    name = datasets.choose_dataset(config.dataset, **folders)
    splits = datasets.load_splits(name, SPLITS, **folders)
    return config.replace(dataset=name), {split.split: split for split in splits}


def _check_options(
    seeds: int, members_per_batch: int | None, halving: int | None, launcher: Launcher | None
) -> None:
    if not 1 <= seeds <= grids.MAX_MEMBERS:
        raise ConfigError(f"seeds must be 1 to {grids.MAX_MEMBERS}, not {seeds}")
    if members_per_batch is not None and members_per_batch < 1:
        raise ConfigError(f"members_per_batch must be 1 or more, not {members_per_batch}")
    if halving is not None and halving < 2:
        raise ConfigError(f"halving keeps one of 2 settings or more, not of {halving}")
    if halving is not None and launcher is not None:
        raise ConfigError("halving compares runs on the way, which jobs cannot: omit one of them")


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
    fixed = {name: manifest.get(name) for name in ("grid", *_FIXED)}
    return sweep(config, folder=final, resume=True, **{**options, **fixed})


def summarize_folder(folder: Path) -> SweepResult:
    """Read the result of a complete sweep.

    Raises:
        RunError: the folder is damaged, or of a newer version.
    """
    return SweepResult.from_folder(folder, load(folder))


def _check_grid(manifest: Mapping[str, Any], document: Mapping[str, Any], folder: Path) -> None:
    for name in ("grid", *_FIXED):
        if name in document and document[name] != manifest.get(name):
            what = "lists of values" if name == "grid" else name
            raise ConfigError(
                f"the sweep in {folder} was begun with other {what}: omit them, or start a new one"
            )
