"""`jaxdigits sweep` and `jaxdigits train --seeds`: many trainings, their spread, their ensemble."""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxdigits import data
from jaxdigits.cli.evaluate import results_table
from jaxdigits.cli.output import note, note_counts, report
from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.data import Dataset
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.files import staged_directory, unfinished, write_json
from jaxdigits.models import Model, make_model
from jaxdigits.runs import run as runs
from jaxdigits.runs.checkpoints import begin
from jaxdigits.runs.fit import choose_dataset, devices_again, metrics_line
from jaxdigits.runs.log import METRICS_FILE, MetricsLog
from jaxdigits.runs.resume import (
    KEEPER_FILES,
    Keeper,
    begun_config,
    check_data,
    describe,
    drop_checkpoints,
    resumable,
    resume_command,
    to_resume,
)
from jaxdigits.runs.run import RUN_FILE, Run
from jaxdigits.sweeps import grid as sweeps
from jaxdigits.sweeps.grid import MEMBERS, SWEEP_FILE, Together
from jaxdigits.training.trainer import EpochMetrics, TrainingData
from jaxdigits.transforms.scaling import Scaling

PICTURES = ("settings.png", "curves.png")
SWEEP_FILES = (SWEEP_FILE, MEMBERS, *PICTURES)
CURVES = 6
"""Settings in the picture of curves."""


class Plan(NamedTuple):
    """The members of a sweep.

    Attributes:
        settings: without seeds.
        members: a config each, the seeds of a setting one after the other.
        names: of the settings that differ.
    """

    settings: list[TrainConfig]
    members: list[TrainConfig]
    names: list[str]


class Setting(NamedTuple):
    """What the members of a setting gave.

    Attributes:
        name: in words.
        members: their indices.
        accuracies: on validation, of those that did not diverge, or of all if all did.
        good: the indices of these.
        diverged: how many did.
    """

    name: str
    members: list[int]
    accuracies: list[float]
    good: list[int]
    diverged: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "setting": self.name,
            "members": self.members,
            "diverged": self.diverged,
            "validation_accuracy": _spread(self.accuracies),
        }


def sweep(
    config: TrainConfig,
    grid: Mapping[str, Sequence[Any]],
    *,
    seeds: int = 1,
    members_at_once: int | None = None,
    saving: CheckpointConfig | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    given: Collection[str] = (),
    devices: int | None = None,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    overwrite: bool = False,
    as_json: bool = False,
) -> Run:
    """Trains all combinations of settings with several seeds each, and writes a sweep's folder.

    Args:
        config: the settings that all have.
        grid: values of the others, by name.
        seeds: members of each setting: `config.seed` and the following.
        members_at_once: how many one call of a program trains; chosen by platform and memory, if
            not given.
        saving: when to save it on the way.
        out: the folder; `sweeps/DATASET-MODEL`, with a number if taken, if not given.
        resume: a sweep's folder that is not finished, to go on with.
        given: the names of those settings that must then be the same.
        devices: over how many the members are spread; all, if not given.
        data_dir: where prepared data sets are kept.
        manual_dir: a folder with data files downloaded by hand.
        overwrite: whether an older sweep may be replaced, when the new one is complete.
        as_json: whether to print one JSON object.

    Returns:
        The ensemble of the best setting.

    Raises:
        DataError: the data set is unknown, damaged, not to be had, or another than before.
        OutputError: the folder cannot be written, or is taken.
        ConfigError: a setting is impossible, or another than before, or a member needs too much
            memory.
        RunError: there is nothing to go on with, or its checkpoints are damaged.
        StoppedError: by a signal; the sweep can go on.
    """
    begun = None
    if resume is not None:
        out, begun = to_resume("sweep", resume, out, SWEEP_FILE)
        if begun is None:
            document = json.loads((out / SWEEP_FILE).read_text())
            report(f"{out}: see `jaxdigits evaluate {out}`", document, as_json=as_json)
            return runs.load(out)
        config = begun_config(begun, unfinished(out), config, set(given) - set(grid))
        before = json.loads(json.dumps(dict(grid)))
        if grid and before != begun["grid"]:
            raise ConfigError(
                f"the sweep in {unfinished(out)} was begun with other lists of values: leave them "
                "away, or begin a new one"
            )
        grid, seeds, members_at_once = begun["grid"], begun["seeds"], begun["members_at_once"]
        devices = devices_again(begun, devices)
    if not 1 <= seeds <= sweeps.MANY:
        raise ConfigError(f"seeds must be 1 to {sweeps.MANY}, not {seeds}")
    if members_at_once is not None and members_at_once < 1:
        raise ConfigError(f"members_at_once must be 1 or more, not {members_at_once}")
    devices = sweeps.members_mesh(devices).size
    config = dataclasses.replace(
        config, dataset=choose_dataset(config.dataset, data_dir, manual_dir)
    )
    plan = _plan(config, grid, seeds)
    splits = {
        part.split: part
        for part in data.load_splits(
            config.dataset,
            ("train", "validation", "test"),
            data_dir=data_dir,
            manual_dir=manual_dir,
        )
    }
    fingerprint = splits["train"].fingerprint
    if begun is not None:
        check_data(begun, fingerprint)
    note_counts(fingerprint)
    name = f"{fingerprint.name.replace('/', '-')}-{config.model}"
    with staged_directory(
        out or Path("sweeps") / name,
        numbered=out is None and not overwrite,
        overwrite=overwrite,
        known=(*SWEEP_FILES, *KEEPER_FILES),
        resume=resume is not None,
        resumable=lambda folder: resumable(folder) or (folder / MEMBERS).exists(),
    ) as folder:
        if begun is None:
            more = {"grid": dict(grid), "seeds": seeds, "members_at_once": members_at_once}
            begun = begin(folder.work, describe(config, fingerprint, devices, **more))
        command = resume_command(
            "sweep",
            folder.final,
            {"--data-dir": data_dir, "--manual-dir": manual_dir},
            *(["--overwrite"] if overwrite else []),
        )
        with Keeper(folder.work, begun, saving or CheckpointConfig(), command) as keeper:
            trainer = _Sweep(plan, splits, folder.work, keeper, devices, members_at_once)
            trainer.train()
            ensemble, document, summary = _write_results(plan, splits, folder.work, trainer.seconds)
    drop_checkpoints(folder.final)
    where = f"written to {folder.final}: {', '.join(SWEEP_FILES)}"
    report(f"{summary}\n\n{where}", {"sweep": str(folder.final), **document}, as_json=as_json)
    return ensemble


def _plan(config: TrainConfig, grid: Mapping[str, Sequence[Any]], seeds: int) -> Plan:
    settings = sweeps.expand(config, grid)
    members = [
        dataclasses.replace(setting, seed=config.seed + number)
        for setting in settings
        for number in range(seeds)
    ]
    if len(members) > sweeps.MANY:
        raise ConfigError(f"{len(members):,} members are too many: at most {sweeps.MANY}")
    return Plan(settings, members, [name for name, values in grid.items() if len(values) > 1])


class _Sweep:
    """The training of all members that are not written yet."""

    def __init__(
        self,
        plan: Plan,
        splits: Mapping[str, Dataset],
        folder: Path,
        keeper: Keeper,
        devices: int,
        members_at_once: int | None,
    ) -> None:
        self._plan, self._splits, self._folder, self._keeper = plan, splits, folder, keeper
        self._devices, self._at_once = devices, members_at_once
        self._data = TrainingData.from_datasets(splits["train"], splits["validation"])
        self.seconds = {"compile": 0.0, "train": 0.0}

    def train(self) -> None:
        """Call after call, until each member has its folder."""
        members, calls = self._plan.members, []
        for indices in sweeps.share_program(members):
            together, size = self._together(indices)
            model = make_model(members[indices[0]], len(self._splits["train"].class_names))
            epochs = together.count_epochs(self._data)
            calls += [(call, together, model, epochs) for call in sweeps.in_calls(indices, size)]
        total = sum(epochs for *_, epochs in calls)
        before, programs = 0, {}
        self._keeper.note_signals()
        with tqdm(total=total, unit="epoch", disable=None, leave=False) as bar:
            for call, together, model, epochs in calls:
                if not all((self._member(index) / RUN_FILE).exists() for index in call):
                    self._train_call(call, together, model, epochs, before, total, programs, bar)
                before += epochs
                bar.update(before - bar.n)

    def _together(self, indices: Sequence[int]) -> tuple[Together, int]:
        """The functions for members that share a program, and how many to train at once."""
        config, classes = self._plan.members[indices[0]], self._data.num_classes
        devices = min(self._devices, len(indices), self._at_once or len(indices))
        together = sweeps.train_together(config, classes, sweeps.members_mesh(devices))
        if self._at_once:
            return together, min(self._at_once, len(indices)) // devices * devices
        return together, sweeps.at_once(config, classes, self._data, len(indices), together.mesh)

    def _member(self, index: int) -> Path:
        return self._folder / MEMBERS / str(index)

    def _train_call(
        self,
        call: list[int],
        together: Together,
        model: Model,
        epochs: int,
        before: int,
        total: int,
        programs: dict[Any, Any],
        bar: Any,
    ) -> None:
        configs = [self._plan.members[index] for index in call]
        arrays = together.put(self._data)
        rates = together.spread(sweeps.rates_of(configs))
        seeds = np.array([config.seed for config in configs], np.uint32)
        keys = together.spread(jax.vmap(jax.random.key)(seeds))
        began = time.perf_counter()
        template = jax.eval_shape(together.init, keys, rates, arrays)
        found = self._keeper.restore(template, after=before)
        if found:
            states = together.spread(found.state)
            history = found.progress["history"]
            done, seconds = found.part - before, found.progress["seconds"]
            note(f"going on after epoch {found.part} of {total}")
        else:
            states = together.jit(together.init)(keys, rates, arrays)
            history, done, seconds = [[] for _ in call], 0, 0.0
        shared = (id(together), len(call))
        if shared not in programs:
            programs[shared] = self._compile(together, states, rates, arrays, epochs)
        train_epoch, evaluate = programs[shared]
        self.seconds["compile"] += time.perf_counter() - began
        if not history[0]:
            untrained = jax.device_get(evaluate(states, arrays.validation))
            for index, lines in enumerate(history):
                lines.append({"epoch": 0, **metrics_line(validation=_part(untrained, index))})
        for number in range(done + 1, epochs + 1):
            start = time.perf_counter()
            states, train = train_epoch(states, rates, arrays.train)
            metrics = EpochMetrics(train, evaluate(states, arrays.validation))
            measured = jax.device_get(metrics)
            took = time.perf_counter() - start
            seconds += took
            for index, lines in enumerate(history):
                part = _part(measured, index)
                lines.append({"epoch": number, **metrics_line(*part), "seconds": took})
            accuracies = measured.validation.accuracy
            bar.set_postfix_str(
                f"validation accuracy {accuracies.min():.2%} to {accuracies.max():.2%}"
            )
            bar.update()
            progress = {"history": history, "seconds": seconds}
            self._keeper.after_part(before + number, total, states, progress)
        self.seconds["train"] += seconds
        states = jax.device_get(states)
        for place, index in enumerate(dict.fromkeys(call)):
            state = sweeps.member_state(states, place)
            self._write_member(index, model, state, history[place], epochs, seconds)

    def _compile(
        self, together: Together, states: Any, rates: Any, arrays: TrainingData, epochs: int
    ) -> tuple[Any, Any]:
        evaluate = together.jit(together.evaluate).lower(states, arrays.validation).compile()
        train_epoch = together.jit(together.train_epoch, donate_argnums=0)
        if epochs:
            train_epoch = train_epoch.lower(states, rates, arrays.train).compile()
            needed = sweeps.program_bytes(train_epoch)
            free = 2 * sweeps.memory_budget(together.mesh)
            if needed > free:
                raise ConfigError(
                    f"a program for these members takes {needed / 1e9:.1f} GB on each device, "
                    f"where {free / 1e9:.1f} GB are free: choose fewer --members-at-once"
                )
        return train_epoch, evaluate

    def _write_member(
        self,
        index: int,
        model: Model,
        state: Any,
        history: list[dict[str, Any]],
        epochs: int,
        seconds: float,
    ) -> None:
        config, train = self._plan.members[index], self._splits["train"]
        run = Run(
            config=dataclasses.replace(config, epochs=epochs, augment=config.augmentations),
            model=model,
            params=state.trained,
            scaling=Scaling(*map(jnp.asarray, state.scaling)),
            class_names=train.class_names,
            fingerprint=train.fingerprint,
            results={},
            environment=environment(),
        )
        run, *_ = runs.measure(run, self._splits["validation"])
        folder = self._member(index)
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
        folder.mkdir(parents=True)
        with MetricsLog(folder, history):
            pass
        runs.save(run, folder, {"train": seconds})


def _part(metrics: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], metrics)


def _write_results(
    plan: Plan, splits: Mapping[str, Dataset], folder: Path, seconds: Mapping[str, float]
) -> tuple[Run, dict[str, Any], str]:
    """Compares the settings, measures the best on the test images, draws; the ensemble of it."""
    histories = [
        [json.loads(line) for line in (folder / MEMBERS / str(i) / METRICS_FILE).open()]
        for i in range(len(plan.members))
    ]
    each = len(plan.members) // len(plan.settings)
    found = [
        _judge(plan, setting, list(range(place * each, (place + 1) * each)), histories)
        for place, setting in enumerate(plan.settings)
    ]
    order = sorted(
        range(len(found)), key=lambda i: (found[i].diverged > 0, -np.mean(found[i].accuracies))
    )
    best = found[order[0]]
    members = [runs.load(folder / MEMBERS / str(index)) for index in best.good]
    ensemble = sweeps.make_ensemble(members, {})
    test = splits["test"]
    tested = [member.evaluate(test).accuracy for member in ensemble.members]
    ensemble, evaluations, _ = runs.measure(ensemble, splits["validation"], test)
    calibration = ensemble.calibration
    settings = [setting.as_dict() for setting in found]
    settings[order[0]]["test_accuracy"] = _spread(tested)
    settings[order[0]]["ensemble"] = {
        "members": best.good,
        "results": ensemble.results,
        "calibration": calibration and calibration.as_dict(),
    }
    document = {
        "format": sweeps.FORMAT,
        "config": plan.members[0].as_dict(),
        "data": splits["train"].fingerprint.as_dict(),
        "settings": settings,
        "best": order[0],
        "seconds": dict(seconds),
        **environment(),
    }
    _draw(plan, found, order, histories, folder, splits["train"].fingerprint.name)
    write_json(folder / SWEEP_FILE, document)
    summary = [
        f"{plan.members[0].model} on {splits['train'].fingerprint}\n{len(plan.members)} members "
        f"in {seconds['train']:.1f} s; compiled in {seconds['compile']:.1f} s\n",
        settings_table([found[index] for index in order]),
        "",
        f"best on validation: {best.name}; its test accuracy: {_in_words(tested)}",
        f"the ensemble of its {len(best.good)} members:\n",
        results_table(evaluations),
    ]
    return ensemble, document, "\n".join(summary)


def _judge(
    plan: Plan, setting: TrainConfig, members: list[int], histories: list[list[dict[str, Any]]]
) -> Setting:
    """A member whose loss is not a number at the end has diverged."""
    last = {index: histories[index][-1] for index in members}
    good = [index for index in members if last[index]["validation_loss"] is not None]
    diverged = len(members) - len(good)
    good = good or members
    accuracies = [last[index]["validation_accuracy"] for index in good]
    name = sweeps.describe_setting(setting, plan.names)
    return Setting(name, members, accuracies, good, diverged)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, interval and range, for JSON."""
    mean, low, high = mean_interval(values) if len(values) > 1 else (values[0], None, None)
    return {
        "mean": mean,
        "interval_95": None if low is None else [low, high],
        "range": [min(values), max(values)],
        "values": list(values),
    }


def _in_words(values: Sequence[float]) -> str:
    spread = _spread(values)
    text = f"{100 * spread['mean']:.2f} %"
    if spread["interval_95"]:
        low, high = (100 * end for end in spread["interval_95"])
        text += f" (mean of {len(values)}, 95 % interval {low:.2f} to {high:.2f} %)"
    return text


def settings_table(found: Sequence[Setting]) -> str:
    """A line for each setting: mean, interval and range of the validation accuracies."""
    width = max(len("setting"), *(len(setting.name) for setting in found))
    lines = [f"{'setting':{width}} {'members':>8}{'mean':>10}   {'95 % interval':20}range"]
    for setting in found:
        spread = _spread(setting.accuracies)
        interval = ""
        if spread["interval_95"]:
            interval = " to ".join(f"{100 * end:.2f}" for end in spread["interval_95"]) + " %"
        ends = " to ".join(f"{100 * end:.2f}" for end in spread["range"])
        line = f"{setting.name:{width}} {len(setting.members):8}{100 * spread['mean']:8.2f} %"
        line += f"   {interval:20}{ends} %"
        if setting.diverged:
            line += f"   {setting.diverged} of {len(setting.members)} diverged"
        lines.append(line)
    return "\n".join(lines)


def _draw(
    plan: Plan,
    found: Sequence[Setting],
    order: Sequence[int],
    histories: list[list[dict[str, Any]]],
    folder: Path,
    dataset: str,
) -> None:
    from jaxdigits import plots  # matplotlib would delay the first epoch

    ordered = [found[index] for index in order]
    heading = f"{plan.members[0].model} on {dataset}"
    intervals = {}
    for setting in ordered:
        interval = _spread(setting.accuracies)["interval_95"]
        intervals[setting.name] = tuple(interval) if interval else None
    accuracies = {setting.name: setting.accuracies for setting in ordered}
    plots.save(plots.settings(accuracies, intervals, heading), folder / PICTURES[0])
    curves = {
        setting.name: np.array(
            [
                [_or_nan(line["validation_accuracy"]) for line in histories[index][1:]]
                for index in setting.good
            ]
        )
        for setting in ordered[:CURVES]
    }
    plots.save(plots.seed_curves({"validation accuracy": curves}), folder / PICTURES[1])


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
