"""The one epoch loop: over an input pipeline, with its metrics, log, progress bar, checkpoints."""

import logging
import math
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxdigits.models import count_params
from jaxdigits.runs.inputs import InputPipeline
from jaxdigits.runs.log import MetricsLog
from jaxdigits.runs.resume import CheckpointHook
from jaxdigits.training.batches import steps_per_epoch
from jaxdigits.training.sharding import num_devices
from jaxdigits.training.state import Metrics
from jaxdigits.training.trainer import Trainer

logger = logging.getLogger("jaxdigits")


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        state: the input pipeline's, overwritten by the next chunk.
        chunks: the number of chunks done.
        history: the metrics of each epoch, as in `metrics.jsonl`; of members, lists of them.
        train_seconds: in all, evaluation included.
        compile_seconds: of this process.
    """

    state: Any
    chunks: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    train_seconds: float = 0.0
    compile_seconds: float = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """The times that `run.json` states."""
        return {"compile": self.compile_seconds, "train": self.train_seconds}


class ProgressBar:
    """A bar on standard error; where that is no terminal, a line an epoch.

    Of more than 100 epochs, at most one a second has a line, and the last.
    """

    def __init__(self, total: int, unit: str, *, show: bool) -> None:
        """Show nothing yet, or never, where `show` is False."""
        self._bar = tqdm(total=total, unit=unit, disable=None if show else True, leave=False)
        self._show, self._done, self._told = show, 0, -math.inf
        self.part = ""
        """What stands before `epoch`: of a sweep, which batch of networks it is."""

    def __enter__(self) -> "ProgressBar":
        """Close it at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar from the terminal."""
        self._bar.close()

    def say(self, text: str) -> None:
        """Write a line; a reader who has left, or a full disk, ends no training."""
        if self._show and sys.stderr is not None:
            with suppress(OSError, ValueError):
                tqdm.write(text, sys.stderr)

    def reach(self, done: int) -> None:
        """Move to where `done` of the total are done."""
        self._bar.update(done - self._done)
        self._done = done

    def begin(self, name: str, about: str) -> None:
        """Say which part of the whole is next: by its name, or in a line."""
        self._bar.set_description(name)
        if self._bar.disable:
            self.say(f"{name}: {about}")

    def end_epoch(self, line: Mapping[str, Any], num_epochs: int) -> None:
        """Show the metrics of an epoch."""
        if not self._show:
            return
        if not self._bar.disable:
            self._bar.set_postfix_str(_postfix(line))
        elif num_epochs <= 100 or line["epoch"] == num_epochs or time.monotonic() - self._told >= 1:
            self._told = time.monotonic()
            words = f"{self.part}epoch {line['epoch']} of {num_epochs}: {_postfix(line)}"
            self.say(f"{words}, {line['seconds']:.1f} s")


def train_loop(
    inputs: InputPipeline,
    hook: CheckpointHook,
    *,
    before: int = 0,
    total: int | None = None,
    folder: Path | None = None,
    tensorboard: bool = False,
    bar: ProgressBar | None = None,
) -> Generator[Progress]:
    """Train to the end, from the newest checkpoint or from the start.

    Args:
        inputs: what to train, and on what.
        hook: for checkpoints.
        before: chunks of the whole run that come before this pipeline's.
        total: chunks of the whole run, if it has more than this pipeline's.
        folder: for the metrics log; None for no log.
        tensorboard: log events for TensorBoard as well.
        bar: that shows the progress.

    Yields:
        The progress before the first chunk, and then after each epoch. Closing the generator saves
        a checkpoint.
    """
    chunks = inputs.num_epochs * inputs.chunks_per_epoch
    total = total or chunks
    progress = _start(inputs, hook, before, total)
    hook.catch_signals()  # before the log's files: who sees them can count on it
    with ExitStack() as stack:
        log = None
        if folder is not None:
            log = stack.enter_context(MetricsLog(folder, progress.history, tensorboard=tensorboard))
        if bar is not None:
            bar.reach(before + progress.chunks)
        yield progress
        in_epoch = progress.train_seconds - sum(_seconds(progress.history))
        training = stack.enter_context(closing(inputs.train(progress.state, progress.chunks)))
        start = time.perf_counter()
        for progress.state, train in training:
            validation = None if train is None else inputs.evaluate(progress.state)
            jax.block_until_ready((progress.state, train, validation))
            took = time.perf_counter() - start
            progress.chunks += 1
            progress.train_seconds += took
            in_epoch += took
            if train is not None:
                line = {
                    "epoch": progress.chunks // inputs.chunks_per_epoch,
                    **metrics_line(train, validation),
                    "seconds": in_epoch,
                }
                progress.history.append(line)
                in_epoch = 0.0
                if log is not None:
                    log.write(line)
                if bar is not None:
                    bar.end_epoch(line, inputs.num_epochs)
            if bar is not None:
                bar.reach(before + progress.chunks)
            saved = {"history": progress.history, "seconds": progress.train_seconds}
            hook.after_chunk(before + progress.chunks, total, progress.state, saved)
            if train is not None:
                try:
                    yield progress
                except GeneratorExit:
                    hook.save(before + progress.chunks, progress.state, saved)
                    raise
            start = time.perf_counter()


def announcement(trainer: Trainer, data: str) -> str:
    """Say what is trained, and on what.

    Args:
        trainer: of the run.
        data: the name of the dataset.
    """
    config, images, epochs = trainer.parts.config, trainer.spec.num_examples, trainer.num_epochs
    network = "own network" if "model" in trainer.parts.own else config.model
    params = count_params(jax.eval_shape(trainer.parts.model.init, jax.random.key(0)))
    steps = f"{steps_per_epoch(images, config.batch_size):,} steps"
    work = f"{counted(epochs, 'epoch')} of {steps}" if epochs else "no epochs"
    products = "" if config.precision == "default" else f", in {config.precision}"
    if config.precision == "bfloat16" and jax.default_backend() == "cpu":
        products += ", which is slower than float32 on a CPU"
    return (
        f"training {network} with {params:,} parameters on {data}: {images:,} images, {work}, "
        f"on {counted(num_devices(trainer.mesh), 'device')} ({jax.default_backend()}){products}"
    )


def counted(number: int, noun: str) -> str:
    """Put a number before a noun.

    Example:
        >>> counted(1, "epoch"), counted(2, "epoch")
        ('1 epoch', '2 epochs')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def metrics_line(train: Metrics | None = None, validation: Metrics | None = None) -> dict[str, Any]:
    """The metrics of an epoch as plain values; a loss that isn't finite is None.

    Example:
        >>> metrics_line(validation=Metrics(np.float32(np.nan), np.float32(0.5)))
        {'validation_loss': None, 'validation_accuracy': 0.5}
    """
    line: dict[str, Any] = {}
    for split, values in (("train", train), ("validation", validation)):
        if values is not None:
            line[f"{split}_loss"] = _plain(values.loss)
            line[f"{split}_accuracy"] = _plain(values.accuracy)
    return line


def _start(inputs: InputPipeline, hook: CheckpointHook, before: int, total: int) -> Progress:
    start = time.perf_counter()
    found = hook.restore(inputs.shapes, after=before)
    if found:
        logger.warning(
            "resuming after epoch %s of %s", hook.epochs(found.chunk), hook.epochs(total)
        )
        saved = found.progress
        state = inputs.place(found.state)
        progress = Progress(state, found.chunk - before, saved["history"], saved["seconds"])
    else:
        progress = Progress(inputs.start())
    inputs.compile(progress.state)
    progress.compile_seconds = time.perf_counter() - start
    if not found:
        untrained = metrics_line(validation=inputs.evaluate(progress.state))
        progress.history.append({"epoch": 0, **untrained})
    return progress


def _seconds(history: Sequence[dict[str, Any]]) -> list[float]:
    return [line.get("seconds", 0.0) for line in history]


def _plain(values: Any) -> Any:
    numbers = np.asarray(values).tolist()
    if isinstance(numbers, list):
        return [value if math.isfinite(value) else None for value in numbers]
    return numbers if math.isfinite(numbers) else None


def _postfix(line: Mapping[str, Any]) -> str:
    accuracies = np.atleast_1d(line["validation_accuracy"])
    if len(accuracies) == 1:
        (loss,) = np.atleast_1d(np.array(line["train_loss"], np.float64))  # None is nan
        return f"loss {loss:.4f}, validation accuracy {accuracies[0]:.2%}"
    return f"validation accuracy {accuracies.min():.2%} to {accuracies.max():.2%}"
