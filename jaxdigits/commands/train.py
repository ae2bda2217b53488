"""`jaxdigits train`: from a config to a run folder."""

import contextlib
import dataclasses
import itertools
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxdigits import data, runs
from jaxdigits.commands import note, report
from jaxdigits.commands.evaluate import results_table
from jaxdigits.config import TrainConfig
from jaxdigits.data import Dataset, TrainingData
from jaxdigits.errors import DataUnavailableError, RunError
from jaxdigits.losses import softmax
from jaxdigits.metrics import confusion_matrix
from jaxdigits.models import count_params, make_model
from jaxdigits.runs import METRICS_FILE, PARAMS_FILE, RUN_FILE, Run
from jaxdigits.training import EpochMetrics, Metrics, make_trainer

SAMPLES = 50
"""Test images in the picture of predictions."""

PICTURES = ("curves.png", "predictions.png", "confusion.png", "mistakes.png")
RUN_FILES = (RUN_FILE, PARAMS_FILE, METRICS_FILE, *PICTURES)


def train(
    config: TrainConfig,
    *,
    out: Path | None = None,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    overwrite: bool = False,
    as_json: bool = False,
) -> Run:
    """Trains a network, writes its run folder and prints how good it is.

    Args:
        config: the settings.
        out: the run folder; `runs/DATASET-MODEL`, with a number if taken, if not given.
        data_dir: where prepared data sets are kept.
        manual_dir: a folder with data files downloaded by hand.
        overwrite: whether an older run in `out` may be replaced.
        as_json: whether to print one JSON object.

    Raises:
        DataError: the data set is unknown, damaged or not to be had.
        RunError: the run folder cannot be written, or is taken.
    """
    if out is not None:
        _check_folder(out, overwrite)
    config = dataclasses.replace(
        config, dataset=choose_dataset(config.dataset, data_dir, manual_dir)
    )
    splits: dict[str, Dataset] = {
        split: data.load(config.dataset, split, data_dir=data_dir, manual_dir=manual_dir)
        for split in ("train", "validation", "test")
    }
    folder = _open_folder(out, f"{config.dataset.replace('/', '-')}-{config.model}")
    run, history, times = _fit(config, splits, folder)
    test = splits["test"]
    test_logits = run.predict_logits(test.images)
    evaluations = [run.evaluate(splits["validation"]), run.score(test_logits, test)]
    run = dataclasses.replace(
        run, results={evaluation.split: evaluation.as_dict() for evaluation in evaluations}
    )
    _draw(run, history, test, test_logits, folder)
    runs.save(run, folder, times)
    document = {"run": str(folder), **json.loads((folder / RUN_FILE).read_text())}
    report(_summary(run, times, folder, results_table(evaluations)), document, as_json=as_json)
    return run


def choose_dataset(name: str, data_dir: Path | None, manual_dir: Path | None) -> str:
    """The data set to train on: `auto` is MNIST, or the digits inside where it cannot be had.

    Raises:
        DataUnavailableError: `manual_dir` was given, and lacks files of MNIST.
    """
    if name != "auto":
        return name
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
    config: TrainConfig, splits: dict[str, Dataset], folder: Path
) -> tuple[Run, list[dict[str, Any]], dict[str, float]]:
    """Trains epoch by epoch, writing a line of metrics after each."""
    class_names = splits["train"].class_names
    trainer = make_trainer(config, len(class_names))
    arrays = jax.device_put(TrainingData(splits["train"].examples, splits["validation"].examples))
    began = time.perf_counter()
    state = jax.jit(trainer.init)(jax.random.key(config.seed), arrays)
    untrained = jax.jit(trainer.evaluate)(state, arrays.validation)
    history = [{"epoch": 0, **_plain("validation", untrained)}]
    epoch = jax.jit(trainer.epoch, donate_argnums=0)
    if trainer.epochs:
        epoch = epoch.lower(state, arrays).compile()
    jax.block_until_ready(state)
    times = {"compile": time.perf_counter() - began, "train": 0.0}

    with (folder / METRICS_FILE).open("w") as file:
        _write_line(file, history[0])
        # tqdm is silent where standard error is not a terminal.
        with tqdm(total=trainer.epochs, unit="epoch", disable=None, leave=False) as bar:
            for number in range(1, trainer.epochs + 1):
                start = time.perf_counter()
                state, measured = jax.block_until_ready(epoch(state, arrays))
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
        config=config,
        model=make_model(config, len(class_names)),
        params=state.params,
        scaling=state.scaling,
        class_names=class_names,
        fingerprint=splits["train"].fingerprint,
        results={},
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

    probabilities = np.asarray(softmax(jnp.asarray(logits)))
    confusion = confusion_matrix(jnp.asarray(logits), jnp.asarray(test.labels))
    shown = plots.spread(len(test), SAMPLES)
    name = f"{run.config.model} on {run.config.dataset}"
    accuracy = run.results["test"]["accuracy"]
    pictures = (
        plots.curves(history, name),
        plots.predictions(
            test.images[shown],
            test.labels[shown],
            probabilities[shown],
            run.class_names,
            f"{name}: {len(shown)} of {len(test):,} test images, as the network reads them",
        ),
        plots.confusion(
            np.asarray(confusion),
            run.class_names,
            f"{name}: test accuracy {accuracy:.2%}",
        ),
        plots.worst_mistakes(
            test.images, test.labels, probabilities, run.class_names, f"{name}: worst mistakes"
        ),
    )
    for file, figure in zip(PICTURES, pictures, strict=True):
        plots.save(figure, folder / file)


def _summary(run: Run, times: dict[str, float], folder: Path, table: str) -> str:
    config = run.config
    trained = "nothing to train"
    if times["train"]:
        rate = run.fingerprint.counts["train"] * config.epochs / times["train"]
        trained = f"{config.epochs} epochs in {times['train']:.1f} s, {rate:,.0f} images/s"
    return "\n".join(
        (
            f"{config.model} with {count_params(run.params):,} parameters on {run.fingerprint}",
            f"{trained}; compiled in {times['compile']:.1f} s",
            "",
            table,
            "",
            f"written to {folder}: {RUN_FILE}, {METRICS_FILE}, {PARAMS_FILE}, "
            + ", ".join(PICTURES),
        )
    )


def _check_folder(out: Path, overwrite: bool) -> None:
    """Finds out whether a run can go to a folder, before any work is done; removes nothing."""
    try:
        present = sorted(path.name for path in out.iterdir()) if out.exists() else []
        place = out
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryFile(dir=place):
            pass  # it can be written
    except OSError as error:
        raise _cannot_write(out, error) from None
    strangers = [name for name in present if name not in RUN_FILES]
    if strangers:
        raise RunError(
            f"{out} holds files that are not of a run, such as {strangers[0]}; "
            "choose another folder with --out"
        )
    if present and not overwrite:
        raise RunError(f"{out} holds a run already; choose another --out, or give --overwrite")


def _open_folder(out: Path | None, name: str) -> Path:
    """Makes the run folder, or removes an older run's files from it."""
    try:
        if out is None:
            return _first_free(Path("runs"), name)
        out.mkdir(parents=True, exist_ok=True)
        # run.json goes first: what is left of a run without it does not count as one.
        for file in RUN_FILES:
            (out / file).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(out or Path("runs"), error) from None
    return out


def _first_free(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def _cannot_write(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot write a run to {folder}: {error.strerror}; choose another folder with --out"
    )
