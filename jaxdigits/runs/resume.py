"""What lets a training go on after whatever ended it: checkpoints, Ctrl-C, `--resume`."""

import contextlib
import shlex
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from jaxdigits import data
from jaxdigits.cli.output import note
from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.data.dataset import Fingerprint
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError, StoppedError
from jaxdigits.files import absolute, unfinished
from jaxdigits.runs import multihost
from jaxdigits.runs.checkpoints import (
    BEGUN_FILE,
    CHECKPOINTS,
    Checkpoint,
    Checkpoints,
    complete_parts,
    from_named,
    load_begun,
    named_arrays,
    named_shapes,
)
from jaxdigits.runs.signals import Interrupts

KEEPER_FILES = (BEGUN_FILE, CHECKPOINTS)
"""What stands in an unfinished folder besides results."""


class Keeper:
    """Saves a training now and then, and when a signal asks it to stop."""

    def __init__(
        self, folder: Path, begun: Mapping[str, Any], config: CheckpointConfig, command: str
    ) -> None:
        """Args:
        folder: the unfinished folder.
        begun: what `checkpoints.begin` wrote there.
        config: when to save.
        command: which goes on.
        """
        self._checkpoints = Checkpoints(folder, begun, config)
        self._command = command
        unit = "epoch" if begun.get("parts", 1) == 1 else "part of an epoch"
        self._interrupts = Interrupts(
            f"finishing the {unit} in hand and saving; once more to stop at once"
        )
        self._stack = contextlib.ExitStack()

    def note_signals(self) -> None:
        """From now on Ctrl-C and SIGTERM wait for the end of the epoch."""
        self._stack.enter_context(self._interrupts)

    def __enter__(self) -> "Keeper":
        """The keeper itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for what is being written, and lets signals do what they did before."""
        self._checkpoints.close()
        self._stack.close()

    def restore(self, template: Any, after: int = 0) -> Checkpoint | None:
        """The newest usable checkpoint after a part; says so where a newer one is not."""
        found = None
        if multihost.is_primary():
            found = self._checkpoints.restore(template, after)
        for sentence in found.notes if found else ():
            note(f"{sentence}; going on from the checkpoint before it")
        part = multihost.max_over_processes(found.part if found else 0)
        if part and jax.process_count() > 1:
            shapes = named_shapes(template)
            arrays = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in shapes.items()}
            arrays = multihost.broadcast_from_primary(
                named_arrays(found.state) if found else arrays
            )
            found = found or Checkpoint(part, None, {"history": [], "seconds": 0.0}, [])
            found = found._replace(state=from_named(arrays, template))
        return found

    def epochs(self, part: int) -> str:
        """How many epochs so many parts are."""
        return self._checkpoints.epochs(part)

    def after_part(self, part: int, parts: int, state: Any, progress: Mapping[str, Any]) -> None:
        """Saves if it is time to. A checkpoint that cannot be written does not end the training.

        Args:
            part: how many are done: epochs, or less where images stream.
            parts: of the whole training.
            state: a pytree of arrays.
            progress: plain values to be kept with it.

        Raises:
            StoppedError: a signal has come before the last part; the state is saved.
            OutputError: the same, but it cannot be saved.
        """
        stop = multihost.max_over_processes(self._interrupts.received or 0)
        if not multihost.is_primary():
            if stop and part < parts:
                raise StoppedError("stopped with the first process", 128 + stop)
            return
        try:
            self._checkpoints.check()
            if not stop and self._checkpoints.due(part):
                self._checkpoints.save(part, state, progress)
        except OutputError as error:
            note(f"{error}; the training goes on, older checkpoints stay")
        if stop and part < parts:
            try:
                self._checkpoints.save(part, state, progress)
                self._checkpoints.wait()
            except OutputError as error:
                raise OutputError(f"{error}; from what is there goes on: {self._command}") from None
            done, whole = map(self.epochs, (part, parts))
            raise StoppedError(
                f"interrupted after epoch {done} of {whole}; go on with: {self._command}",
                128 + stop,
            )


def resumable(folder: Path) -> bool:
    """Whether an unfinished folder holds a training that has got somewhere."""
    return bool(complete_parts(folder))


def final_of(folder: Path) -> Path:
    """The final name of a run, also where its unfinished folder is given.

    Example:
        >>> final_of(Path("/runs/x.unfinished")).as_posix()
        '/runs/x'
    """
    final = absolute(folder)
    name = final.name.removesuffix(".unfinished")
    return final.with_name(name) if name and unfinished(final.with_name(name)) == final else final


def to_resume(
    command: str, folder: Path, out: Path | None, result: str
) -> tuple[Path, dict[str, Any] | None]:
    """The final folder of a training that is to go on, and what it was begun with.

    Args:
        command: `train` or `sweep`.
        folder: which `--resume` names.
        out: which `--out` names.
        result: the file that a complete folder has; then the second value is None.

    Raises:
        ConfigError: `out` is given too, or the training belongs to the other command.
        RunError: there is nothing to go on with.
    """
    if out is not None:
        raise ConfigError("--resume names the folder: leave --out away")
    final = final_of(folder)
    if (final / result).exists() and not unfinished(final).exists():
        note(f"{final} is complete: there is nothing to go on with")
        drop_checkpoints(final)
        return final, None
    begun = load_begun(unfinished(final))
    right, what = ("sweep", "a sweep") if "seeds" in begun else ("train", "no sweep")
    if right != command:
        raise ConfigError(f"{final} is {what}: `jaxdigits {right} --resume {final}` goes on")
    return final, begun


def describe(
    config: TrainConfig, fingerprint: Fingerprint, devices: int, **more: Any
) -> dict[str, Any]:
    """What is kept of a training that begins: it goes on with the same."""
    return {
        "config": config.as_dict(),
        "data": fingerprint.as_dict(),
        "devices": devices,
        **more,
        **environment(),
    }


def begun_config(
    begun: Mapping[str, Any], folder: Path, config: TrainConfig, given: Collection[str]
) -> TrainConfig:
    """The settings that a training was begun with.

    Args:
        begun: from `checkpoints.load_begun`.
        folder: which it is from.
        config: the settings of this call.
        given: the names of those that must be the same.

    Raises:
        ConfigError: one of them is another.
        RunError: there are no possible settings in `begun`.
    """
    try:
        before = TrainConfig.from_dict(begun["config"])
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / BEGUN_FILE} is damaged: {error}; train it again") from None
    for name in sorted(given):
        old, new = getattr(before, name), getattr(config, name)
        if name == "dataset":
            new = str(data.find_folder(new) or new)
        if old != new:
            raise ConfigError(
                f"the training in {folder} was begun with {name} {old}, not {new}: leave that "
                "setting away, or begin a new one"
            )
    return before


def check_data(begun: Mapping[str, Any], fingerprint: Fingerprint) -> None:
    """Raises DataError where a training would go on with other data than it was begun with."""
    if begun["data"] != fingerprint.as_dict():
        raise DataError(
            f"the training was begun on {Fingerprint(**begun['data'])}, but here is {fingerprint}; "
            "give the folder of the same data with --data-dir"
        )


def resume_command(name: str, final: Path, options: Mapping[str, Path | None], *flags: str) -> str:
    """The command that goes on with a training, to be pasted into a shell.

    Example:
        >>> resume_command("train", Path("/runs/my x"), {"--data-dir": None}, "--overwrite")
        "jaxdigits train --resume '/runs/my x' --overwrite"
    """
    words = ["jaxdigits", name, "--resume", str(final), *flags]
    for option, value in options.items():
        words += [option, str(absolute(value))] if value is not None else []
    return shlex.join(words)


def drop_checkpoints(final: Path) -> None:
    """Removes what a complete run no longer needs."""
    shutil.rmtree(final / CHECKPOINTS, ignore_errors=True)
    (final / BEGUN_FILE).unlink(missing_ok=True)
