"""`jaxdigits train`: from a config to a run folder."""

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdigits import data, runs
from jaxdigits.commands import note, note_counts, report
from jaxdigits.commands.evaluate import results_table
from jaxdigits.config import TrainConfig
from jaxdigits.data import Dataset
from jaxdigits.errors import ConfigError, DataUnavailableError
from jaxdigits.files import making_folder
from jaxdigits.metrics import confusion_matrix, most_confused
from jaxdigits.models import count_params, make_model
from jaxdigits.preprocess import Scaling
from jaxdigits.runs import METRICS_FILE, PARAMS_FILE, RUN_FILE, Run
from jaxdigits.training import (
    EpochMetrics,
    Metrics,
    TrainingData,
    default_mesh,
    make_trainer,
)

SAMPLES = 50
"""Test images in the picture of predictions."""

PICTURES = ("curves.png", "predictions.png", "confusion.png", "mistakes.png")
RUN_FILES = (RUN_FILE, PARAMS_FILE, METRICS_FILE, *PICTURES)


def train(
    config: TrainConfig,
    *,
    out: Path | None = None,
    devices: int | None = None,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    overwrite: bool = False,
    as_json: bool = False,
) -> Run:
    """Trains a network, writes its run folder and prints how good it is.

    Args:
        config: the settings.
        out: the run folder; `runs/DATASET-MODEL`, with a number if taken, if not given.
        devices: how many share each batch; what suits the model, if not given.
        data_dir: where prepared data sets are kept.
        manual_dir: a folder with data files downloaded by hand.
        overwrite: whether an older run may be replaced, when the new one is complete.
        as_json: whether to print one JSON object.

    Raises:
        DataError: the data set is unknown, damaged or not to be had.
        OutputError: the run folder cannot be written, or is taken.
        ConfigError: the run does not fit into memory.
    """
    mesh = default_mesh(config, devices)
    dataset = choose_dataset(config.dataset, data_dir, manual_dir)
    config = dataclasses.replace(config, dataset=dataset)
    datasets = data.load_splits(
        dataset, ("train", "validation", "test"), data_dir=data_dir, manual_dir=manual_dir
    )
    splits = {part.split: part for part in datasets}
    note_counts(splits["train"].fingerprint)
    name = f"{splits['train'].fingerprint.name.replace('/', '-')}-{config.model}"
    with making_folder(
        out or Path("runs") / name,
        numbered=out is None and not overwrite,
        overwrite=overwrite,
        known=RUN_FILES,
    ) as folder:
        try:
            run, document, summary = _write_run(config, splits, folder.work, mesh)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
                raise
            raise ConfigError(
                "the run does not fit into memory; choose a smaller network or --batch-size"
            ) from None
    where = f"written to {folder.final}: {', '.join(RUN_FILES)}"
    document = {"run": str(folder.final), **document}
    report(f"{summary}\n\n{where}", document, as_json=as_json)
    return run


def _write_run(
    config: TrainConfig, splits: Mapping[str, Dataset], folder: Path, mesh: Mesh | None
) -> tuple[Run, dict[str, Any], str]:
    """Trains, evaluates, draws and saves; gives the run, `run.json` and a summary in words."""
    run, history, times = _fit(config, splits, folder, mesh)
    test = splits["test"]
    test_logits = run.predict_logits(test.images)
    evaluations = [run.evaluate(splits["validation"]), run.score(test_logits, test)]
    run = dataclasses.replace(
        run, results={evaluation.split: evaluation.as_dict() for evaluation in evaluations}
    )
    _draw(run, history, test, test_logits, folder)
    devices = 1 if mesh is None else mesh.size
    document = runs.save(run, folder, times, devices)
    return run, document, _summary(run, times, results_table(evaluations))


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
            "come with scikit-learn. For MNIST, connect this machine or give a folder that holds "
            "its four files: --manual-dir FOLDER (`jaxdigits data prepare mnist` names them)."
        )
        return "digits"
    return "mnist"


def _fit(
    config: TrainConfig, splits: Mapping[str, Dataset], folder: Path, mesh: Mesh | None
) -> tuple[Run, list[dict[str, Any]], dict[str, float]]:
    """Trains epoch by epoch, writing a line of metrics after each."""
    class_names = splits["train"].class_names
    trainer = make_trainer(config, len(class_names), mesh=mesh)
    arrays = trainer.put(TrainingData.from_datasets(splits["train"], splits["validation"]))
    epochs = trainer.count_epochs(arrays)
    began = time.perf_counter()
    state = trainer.jit(trainer.init)(jax.random.key(config.seed), arrays)
    evaluate = trainer.jit(trainer.evaluate).lower(state, arrays.validation).compile()
    train_epoch = trainer.jit(trainer.train_epoch, donate_argnums=0)
    if epochs:
        train_epoch = train_epoch.lower(state, arrays.train).compile()
    times = {"compile": time.perf_counter() - began, "train": 0.0}
    history = [{"epoch": 0, **_plain("validation", evaluate(state, arrays.validation))}]

    with (folder / METRICS_FILE).open("w") as file:
        _write_line(file, history[0])
        # tqdm is silent where standard error is not a terminal.
        with tqdm(total=epochs, unit="epoch", disable=None, leave=False) as bar:
            for number in range(1, epochs + 1):
                start = time.perf_counter()
                state, train = train_epoch(state, arrays.train)
                measured = jax.block_until_ready(
                    EpochMetrics(train, evaluate(state, arrays.validation))
                )
                seconds = time.perf_counter() - start
                times["train"] += seconds
                history.append({"epoch": number, **_line(measured), "seconds": seconds})
                _write_line(file, history[-1])
                bar.set_postfix_str(
                    f"loss {float(measured.train.loss):.4f}, "
                    f"validation accuracy {float(measured.validation.accuracy):.2%}"
                )
                bar.update()
    if any(line["validation_loss"] is None for line in history):
        note("The loss is not a finite number: training diverged; try a smaller --learning-rate.")
    run = Run(
        config=dataclasses.replace(config, epochs=epochs, augment=config.augmentations),
        model=make_model(config, len(class_names)),
        params=jax.device_get(state.trained),
        scaling=Scaling(*jax.device_get(state.scaling)),
        class_names=class_names,
        fingerprint=splits["train"].fingerprint,
        results={},
        environment=runs.environment(),
    )
    return run, history, times


def _plain(part: str, values: Metrics) -> dict[str, float | None]:
    loss = float(values.loss)
    return {
        f"{part}_loss": loss if math.isfinite(loss) else None,
        f"{part}_accuracy": float(values.accuracy),
    }


def _line(measured: EpochMetrics) -> dict[str, float | None]:
    return {**_plain("train", measured.train), **_plain("validation", measured.validation)}


def _write_line(file: Any, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, allow_nan=False) + "\n")
    file.flush()


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
