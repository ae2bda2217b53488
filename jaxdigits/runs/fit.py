"""`jaxdigits train`: from a config to a run folder."""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdigits import data
from jaxdigits.cli.evaluate import results_table
from jaxdigits.cli.output import note, note_counts, report
from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.data import Dataset, Examples, StoredSplit
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError, DataUnavailableError
from jaxdigits.evaluation.metrics import confusion_matrix, most_confused
from jaxdigits.files import staged_directory, unfinished
from jaxdigits.models import count_params, make_model
from jaxdigits.runs import multihost
from jaxdigits.runs import run as runs
from jaxdigits.runs.checkpoints import begin, differences
from jaxdigits.runs.inputs import Feed, InMemory, Streamed, parts_per_epoch
from jaxdigits.runs.log import CSV_FILE, METRICS_FILE, TENSORBOARD, MetricsLog, check_tensorboard
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
from jaxdigits.runs.run import PARAMS_FILE, RUN_FILE, Run
from jaxdigits.training.trainer import (
    EpochMetrics,
    Metrics,
    Trainer,
    TrainingData,
    default_mesh,
    make_trainer,
)
from jaxdigits.transforms.scaling import Scaling

SAMPLES = 50
"""Test images in the picture of predictions."""

PICTURES = ("curves.png", "predictions.png", "confusion.png", "mistakes.png")
RUN_FILES = (RUN_FILE, PARAMS_FILE, METRICS_FILE, CSV_FILE, *PICTURES)
KNOWN = (*RUN_FILES, TENSORBOARD, *KEEPER_FILES)
"""What may be replaced."""


class Splits(NamedTuple):
    """The data of a training."""

    train: Dataset | StoredSplit
    validation: Dataset
    test: Dataset


def train(
    config: TrainConfig,
    *,
    saving: CheckpointConfig | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    given: Collection[str] = (),
    tensorboard: bool = False,
    stream: bool = False,
    devices: int | None = None,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    overwrite: bool = False,
    as_json: bool = False,
) -> Run:
    """Trains a network, writes its run folder and prints how good it is.

    Args:
        config: the settings.
        saving: when to save it on the way.
        out: the run folder; `runs/DATASET-MODEL`, with a number if taken, if not given.
        resume: a run folder that is not finished, to go on with; its own settings hold.
        given: the names of those settings in `config` that must then be the same.
        tensorboard: whether to write events as well.
        stream: whether training images stay on the disk, and stream to the device. Where several
            processes train together they always do.
        devices: how many share each batch; what suits the model, if not given, or as many as before
            in a run that goes on.
        data_dir: where prepared data sets are kept.
        manual_dir: a folder with data files downloaded by hand.
        overwrite: whether an older run may be replaced, when the new one is complete.
        as_json: whether to print one JSON object.

    Raises:
        DataError: the data set is unknown, damaged, not to be had, or not the one that the run was
            begun with.
        OutputError: the run folder cannot be written, or is taken.
        ConfigError: the run does not fit into memory, or was begun with another setting.
        RunError: there is nothing to go on with, or its checkpoints are damaged.
        StoppedError: by a signal; the run can go on.
    """
    if tensorboard:
        check_tensorboard()
    begun = None
    if resume is not None:
        out, begun = to_resume("train", resume, out, RUN_FILE)
        if begun is None:
            return _already_complete(out, as_json)
        config = begun_config(begun, unfinished(out), config, given)
        devices = devices_again(begun, devices)
        stream = _stream_again(begun, stream)
    elif jax.process_count() > 1:
        stream = config.model != "pixel"
    mesh = default_mesh(config, devices)
    config = dataclasses.replace(
        config, dataset=choose_dataset(config.dataset, data_dir, manual_dir)
    )
    folders = {"data_dir": data_dir, "manual_dir": manual_dir}
    train: Dataset | StoredSplit
    if stream:
        train = data.open_split(config.dataset, "train", **folders)
        rest = data.load_splits(config.dataset, ("validation", "test"), **folders)
    else:
        train, *rest = data.load_splits(config.dataset, ("train", "validation", "test"), **folders)
    splits = Splits(train, *rest)
    fingerprint = train.fingerprint
    if begun is not None:
        check_data(begun, fingerprint)
    note_counts(fingerprint)
    name = f"{fingerprint.name.replace('/', '-')}-{config.model}"
    parts = parts_per_epoch(len(train), config.batch_size) if stream else 1
    if not multihost.is_primary():
        return _train_along(config, splits, mesh, parts, resume=resume is not None)
    with staged_directory(
        out or Path("runs") / name,
        numbered=out is None and not overwrite,
        overwrite=overwrite,
        known=KNOWN,
        resume=resume is not None,
        resumable=resumable,
    ) as folder:
        if begun is None:
            document = describe(config, fingerprint, _size(mesh), stream=stream, parts=parts)
            begun = begin(folder.work, document)
        flags = {"--overwrite": overwrite, "--tensorboard": tensorboard}
        command = resume_command(
            "train",
            folder.final,
            {"--data-dir": data_dir, "--manual-dir": manual_dir},
            *(flag for flag, wanted in flags.items() if wanted),
        )
        try:
            with Keeper(folder.work, begun, saving or CheckpointConfig(), command) as keeper:
                run, document, summary = _write_run(
                    config,
                    splits,
                    folder.work,
                    mesh,
                    keeper,
                    resume=resume is not None,
                    tensorboard=tensorboard,
                )
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
                raise
            raise ConfigError(
                "the run does not fit into memory; choose a smaller network or --batch-size"
                + ("" if stream else ", or leave the images on the disk with --stream")
            ) from None
    drop_checkpoints(folder.final)
    where = f"written to {folder.final}: {', '.join(RUN_FILES)}"
    document = {"run": str(folder.final), **document}
    report(f"{summary}\n\n{where}", document, as_json=as_json)
    return run


def _train_along(
    config: TrainConfig, splits: Splits, mesh: Mesh | None, parts: int, *, resume: bool
) -> Run:
    """What a process does that is not the first: its share of each batch, and no files."""
    with Keeper(Path(), {"parts": parts}, CheckpointConfig(), "") as keeper:
        run, _, _ = _fit(config, splits, None, mesh, keeper, resume=resume, tensorboard=False)
    return run


def _already_complete(folder: Path, as_json: bool) -> Run:
    run = runs.load(folder)
    document = {"run": str(folder), **json.loads((folder / RUN_FILE).read_text())}
    accuracy = run.results["test"]["accuracy"]
    text = f"{run.config.model} on {run.fingerprint}: test accuracy {100 * accuracy:.2f} %"
    report(text, document, as_json=as_json)
    return run


def devices_again(begun: Mapping[str, Any], devices: int | None) -> int:
    """As many devices as before, where no other number is asked for; says so if they differ."""
    before, there = begun["devices"], len(jax.devices())
    if devices is None and before > there:
        raise ConfigError(
            f"the run was begun on {before} devices, here are {there}: give --devices {there} "
            "to go on with these (the result may then differ in rounding)"
        )
    if devices not in (None, before):
        note(f"begun on {before} devices, now {devices}: the result may differ in rounding")
    changed = differences(begun["versions"], environment()["versions"])
    if changed:
        note(f"the result may differ in rounding: of {'; of '.join(changed)} as it now is")
    return devices or before


def _stream_again(begun: Mapping[str, Any], stream: bool) -> bool:
    """Whether images stream: as before, since the parts of the training are counted so."""
    before = begun.get("stream", False)
    if stream and not before:
        raise ConfigError("the training was begun without --stream, and can only go on so")
    return before


def _write_run(
    config: TrainConfig,
    splits: Splits,
    folder: Path,
    mesh: Mesh | None,
    keeper: Keeper,
    *,
    resume: bool,
    tensorboard: bool,
) -> tuple[Run, dict[str, Any], str]:
    """Trains, evaluates, draws and saves; gives the run, `run.json` and a summary in words."""
    run, history, times = _fit(
        config, splits, folder, mesh, keeper, resume=resume, tensorboard=tensorboard
    )
    run, evaluations, (_, logits) = runs.measure(run, splits.validation, splits.test)
    _draw(run, history, splits.test, logits, folder)
    document = runs.save(run, folder, times, _size(mesh))
    return run, document, _summary(run, times, results_table(evaluations))


def _size(mesh: Mesh | None) -> int:
    return 1 if mesh is None else mesh.size


def choose_dataset(name: str, data_dir: Path | None, manual_dir: Path | None) -> str:
    """The data set to train on: `auto` is MNIST, or the digits inside where it cannot be had.

    The path of a folder of images becomes absolute, so that the run's config means it everywhere.

    Raises:
        DataUnavailableError: `manual_dir` was given, and lacks files of MNIST.
    """
    if name != "auto":
        return str(data.find_folder(name) or name)
    try:
        data.prepare("mnist", data_dir, manual_dir)
    except DataUnavailableError:
        if manual_dir is not None:
            raise
        note(
            "MNIST is not prepared and its host does not answer: training on the 1,797 digits that "
            "come with this package. For MNIST, connect this machine or give a folder that holds "
            "its four files: --manual-dir FOLDER (`jaxdigits data prepare mnist` names them)."
        )
        return "digits"
    return "mnist"


def _fit(
    config: TrainConfig,
    splits: Splits,
    folder: Path | None,
    mesh: Mesh | None,
    keeper: Keeper,
    *,
    resume: bool,
    tensorboard: bool,
) -> tuple[Run, list[dict[str, Any]], dict[str, float]]:
    """Trains epoch by epoch, writing a line of metrics after each."""
    class_names = splits.train.class_names
    trainer = make_trainer(config, len(class_names), mesh=mesh)
    validation = trainer.put(splits.validation.examples)
    feed = _make_feed(trainer, config, splits.train, validation)
    total = feed.epochs * feed.parts
    key = trainer.put(jax.random.key(config.seed))
    began = time.perf_counter()
    found = keeper.restore(feed.shapes(key)) if resume else None
    state = trainer.put(found.state) if found else feed.start(key)
    done = found.part if found else 0
    evaluate = trainer.jit(trainer.evaluate).lower(feed.state(state), validation).compile()
    if done < total:
        feed.compile(state)
    times = {"compile": time.perf_counter() - began, "train": 0.0}
    if found:
        history = found.progress["history"]
        times["train"] = found.progress["seconds"]
        note(f"going on after epoch {keeper.epochs(done)} of {feed.epochs}")
    else:
        untrained = evaluate(feed.state(state), validation)
        history = [{"epoch": 0, **metrics_line(validation=untrained)}]

    in_epoch = times["train"] - sum(line.get("seconds", 0.0) for line in history)
    keeper.note_signals()
    unit = "epoch" if feed.parts == 1 else "part"
    # tqdm is silent where standard error is not a terminal.
    with (
        MetricsLog(folder, history, tensorboard=tensorboard)
        if folder
        else contextlib.nullcontext() as log,
        tqdm(total=total, initial=done, unit=unit, disable=None, leave=False) as bar,
        contextlib.closing(feed.train(state, done, total)) as training,
    ):
        start = time.perf_counter()
        for part, (state, train) in enumerate(training, done + 1):
            measured = None
            if train is not None:
                measured = EpochMetrics(train, evaluate(feed.state(state), validation))
            jax.block_until_ready((state, measured))
            took = time.perf_counter() - start
            times["train"] += took
            in_epoch += took
            if measured is not None:
                epoch = part // feed.parts
                history.append({"epoch": epoch, **metrics_line(*measured), "seconds": in_epoch})
                in_epoch = 0.0
                if log is not None:
                    log.write(history[-1])
                bar.set_postfix_str(
                    f"loss {float(measured.train.loss):.4f}, "
                    f"validation accuracy {float(measured.validation.accuracy):.2%}"
                )
            bar.update()
            keeper.after_part(part, total, state, {"history": history, "seconds": times["train"]})
            start = time.perf_counter()
    if folder and any(line["validation_loss"] is None for line in history):
        note("The loss is not a finite number: training diverged; try a smaller --learning-rate.")
    trained = feed.state(state)
    run = Run(
        config=dataclasses.replace(config, epochs=feed.epochs, augment=config.augmentations),
        model=make_model(config, len(class_names)),
        params=jax.device_get(trained.trained),
        scaling=Scaling(*jax.device_get(trained.scaling)),
        class_names=class_names,
        fingerprint=splits.train.fingerprint,
        results={},
        environment=environment(),
    )
    return run, history, times


def _make_feed(
    trainer: Trainer, config: TrainConfig, train: Dataset | StoredSplit, validation: Examples
) -> Feed:
    if isinstance(train, StoredSplit):
        return Streamed(trainer, train, config)
    examples = trainer.put(train.examples)
    return InMemory(trainer, TrainingData(examples, validation, len(train.class_names)))


def metrics_line(
    train: Metrics | None = None, validation: Metrics | None = None
) -> dict[str, float | None]:
    """The metrics of an epoch as plain values; a loss that is not a number is None."""
    line: dict[str, float | None] = {}
    for part, values in (("train", train), ("validation", validation)):
        if values is not None:
            loss = float(values.loss)
            line[f"{part}_loss"] = loss if math.isfinite(loss) else None
            line[f"{part}_accuracy"] = float(values.accuracy)
    return line


def _draw(
    run: Run, history: list[dict[str, Any]], test: Dataset, logits: np.ndarray, folder: Path
) -> None:
    from jaxdigits import plots  # matplotlib would delay the first epoch

    confusion = np.asarray(confusion_matrix(jnp.asarray(logits), jnp.asarray(test.labels)))
    names = run.class_names
    pairs = [f"{names[a]}/{names[b]}" for a, b, _ in most_confused(confusion)]
    worst = ", ".join(pairs) or "none"
    shown = plots.spread(len(test), SAMPLES)
    name = f"{run.config.model} on {run.fingerprint.name}"
    accuracy = run.results["test"]["accuracy"]
    trained = run.model.fit is None  # distances are no logarithms of probabilities
    pictures = (
        plots.curves(history, name),
        plots.predictions(
            test.images[shown],
            test.labels[shown],
            logits[shown],
            run.class_names,
            f"{name}: {len(shown)} of {len(test):,} test images, as the network reads them",
            confidence=trained,
        ),
        plots.confusion(
            confusion,
            run.class_names,
            f"{name}: test accuracy {accuracy:.2%}\nmost often taken for each other: {worst}",
        ),
        plots.worst_mistakes(
            test.images,
            test.labels,
            logits,
            run.class_names,
            f"{name}: worst mistakes",
            confidence=trained,
        ),
    )
    for file, figure in zip(PICTURES, pictures, strict=True):
        plots.save(figure, folder / file)


def _summary(run: Run, times: dict[str, float], table: str) -> str:
    config = run.config
    trained = "nothing to train"
    if times["train"]:
        assert config.epochs is not None  # a run knows
        rate = run.fingerprint.counts["train"] * config.epochs / times["train"]
        epochs = f"{config.epochs} epoch{'s' * (config.epochs != 1)}"
        trained = f"{epochs} in {times['train']:.1f} s, {rate:,.0f} images/s"
    return (
        f"{config.model} with {count_params(run.params):,} parameters on {run.fingerprint}\n"
        f"{trained}; compiled in {times['compile']:.1f} s\n\n{table}"
    )
