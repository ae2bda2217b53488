"""Resume an interrupted run: the checkpoint hook, and what a resumed run must match."""

import contextlib
import logging
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from jaxdigits import data
from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.data.dataset import Fingerprint
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError, StoppedError
from jaxdigits.files import StrPath, absolute, unfinished
from jaxdigits.runs import multihost
from jaxdigits.runs.checkpoints import (
    CHECKPOINT_FILES,
    MANIFEST_FILE,
    Checkpoint,
    Checkpoints,
    differences,
    from_named,
    named_arrays,
    named_shapes,
    read_manifest,
    saved_chunks,
)
from jaxdigits.runs.signals import Interrupts

logger = logging.getLogger("jaxdigits")


class CheckpointHook:
    """Saves a run now and then, and when a signal asks it to stop.

    Without a folder it only stops together with the other processes of a run.
    """

    def __init__(
        self,
        folder: Path | None = None,
        manifest: Mapping[str, Any] | None = None,
        config: CheckpointConfig | None = None,
        command: str = "",
    ) -> None:
        """Args:
        folder: the unfinished folder.
        manifest: what `checkpoints.write_manifest` wrote there.
        config: when to save.
        command: that resumes the run.
        """
        manifest = manifest or {}
        self._checkpoints = Checkpoints(folder, manifest, config) if folder else None
        self._command = command
        unit = "epoch" if manifest.get("chunks_per_epoch", 1) == 1 else "part of an epoch"
        self._interrupts = Interrupts(f"finishing this {unit} and saving; press again to stop now")
        self._stack = contextlib.ExitStack()
        self._catching = False

    def catch_signals(self) -> None:
        """From now on Ctrl-C and SIGTERM wait for the end of the epoch."""
        if not self._catching and (self._checkpoints or jax.process_count() > 1):
            self._stack.enter_context(self._interrupts)
            self._catching = True

    def __enter__(self) -> "CheckpointHook":
        """The hook itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is being written, and restore the signal handlers."""
        if self._checkpoints:
            self._checkpoints.close()
        self._stack.close()

    def restore(self, shapes: Callable[[], Any], after: int = 0) -> Checkpoint | None:
        """The newest usable checkpoint after a chunk; logs where a newer one is not.

        `shapes` gives those of the state; it traces a model, so it is called for a checkpoint only.
        """
        found = None
        if self._checkpoints and self._checkpoints.saved(after):
            found = self._checkpoints.restore(shapes(), after)
        for sentence in found.notes if found else ():
            logger.warning("%s; resuming from the checkpoint before it", sentence)
        (chunk,) = multihost.max_over_processes(found.chunk if found else 0)
        if chunk and jax.process_count() > 1:
            template = shapes()
            arrays = {
                name: np.zeros(leaf.shape, leaf.dtype)
                for name, leaf in named_shapes(template).items()
            }
            arrays = multihost.broadcast_from_primary(
                named_arrays(found.state) if found else arrays
            )
            progress = multihost.document_from_primary(found.progress if found else None)
            notes = found.notes if found else []
            found = Checkpoint(chunk, from_named(arrays, template), progress, notes)
        return found

    def after_chunk(self, chunk: int, total: int, state: Any, progress: Mapping[str, Any]) -> None:
        """Save if it is time to. A checkpoint that cannot be written does not end the run.

        Args:
            chunk: the number of chunks done.
            total: of the whole run.
            state: a pytree of arrays.
            progress: plain values to keep with it.

        Raises:
            StoppedError: a signal came before the last chunk; the state is saved.
            OutputError: the same, but it cannot be saved.
        """
        checkpoints = self._checkpoints
        stop, due = multihost.max_over_processes(
            self._interrupts.received or 0, checkpoints is not None and checkpoints.due(chunk)
        )
        if due and not stop:
            state = multihost.gather(state)
        try:
            if checkpoints is not None:
                checkpoints.check()
                if due and not stop:
                    checkpoints.save(chunk, state, progress)
        except OutputError as error:
            logger.warning("%s; training continues, older checkpoints stay", error)
        if stop and chunk < total:
            self.save(chunk, state, progress)
            if checkpoints is None:
                raise StoppedError("stopped with the first process", 128 + stop)
            done, whole = map(checkpoints.epochs, (chunk, total))
            raise StoppedError(
                f"interrupted after epoch {done} of {whole}; resume with: {self._command}",
                128 + stop,
            )

    def save(self, chunk: int, state: Any, progress: Mapping[str, Any]) -> None:
        """Save at once, and wait for it. Arguments: see `after_chunk`.

        Raises:
            OutputError: it cannot be saved.
        """
        state = multihost.gather(state)
        if self._checkpoints is None:
            return
        try:
            self._checkpoints.save(chunk, state, progress)
            self._checkpoints.wait()
        except OutputError as error:
            raise OutputError(f"{error}; resume from an older one with: {self._command}") from None

    def epochs(self, chunk: int) -> str:
        """How many epochs a number of chunks makes, in words."""
        return self._checkpoints.epochs(chunk) if self._checkpoints else str(chunk)


def resumable(folder: Path) -> bool:
    """Whether an unfinished folder holds checkpoints."""
    return bool(saved_chunks(folder))


def final_of(folder: Path) -> Path:
    """The final name of a run, also where its unfinished folder is given.

    Example:
        >>> final_of(Path("/runs/x.unfinished")).as_posix()
        '/runs/x'
    """
    final = absolute(folder)
    name = final.name.removesuffix(".unfinished")
    return final.with_name(name) if name and unfinished(final.with_name(name)) == final else final


def find_manifest(command: str, folder: Path, result: str) -> tuple[Path, dict[str, Any] | None]:
    """The final folder of a run to resume, and its manifest.

    Args:
        command: `train` or `sweep`.
        folder: the run's, finished or not.
        result: the file that a complete folder has; then the second value is None.

    Raises:
        ConfigError: the run belongs to the other command.
        RunError: there is nothing to resume.
    """
    final = final_of(folder)
    if (final / result).exists() and not unfinished(final).exists():
        logger.warning("%s is complete: there is nothing to resume", final)
        drop_checkpoints(final)
        return final, None
    manifest = read_manifest(unfinished(final))
    right, what = ("sweep", "a sweep") if "seeds" in manifest else ("train", "no sweep")
    if right != command:
        raise ConfigError(f"{final} is {what}: resume it with `jaxdigits {right} --resume {final}`")
    return final, manifest


def describe(
    config: TrainConfig, fingerprint: Fingerprint, devices: int, **more: Any
) -> dict[str, Any]:
    """The settings a resumed run must match."""
    return {
        "config": config.as_dict(),
        "data": fingerprint.as_dict(),
        "devices": devices,
        **more,
        **environment(),
    }


def manifest_config(
    manifest: Mapping[str, Any], folder: Path, config: TrainConfig, given: Collection[str]
) -> TrainConfig:
    """The settings that a run was begun with.

    Args:
        manifest: from `checkpoints.read_manifest`.
        folder: that it is from.
        config: the settings of this call.
        given: the names of those that must be the same.

    Raises:
        ConfigError: one of them differs.
        RunError: the settings in the manifest are impossible.
    """
    try:
        before = TrainConfig.from_dict(manifest["config"])
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / MANIFEST_FILE} is damaged: {error}; train it again") from None
    for name in sorted(given):
        old, new = getattr(before, name), getattr(config, name)
        if name == "dataset":
            new = str(data.find_folder(new) or new)
        if old != new:
            raise ConfigError(
                f"the run in {folder} was begun with {name} {old}, not {new}: omit that setting, "
                "or start a new run"
            )
    return before


def check_data(manifest: Mapping[str, Any], fingerprint: Fingerprint) -> None:
    """Raise DataError where a run would be resumed with other data than it was begun with."""
    if manifest["data"] != fingerprint.as_dict():
        raise DataError(
            f"the run was begun on {Fingerprint(**manifest['data'])}, but here is {fingerprint}; "
            "give the folder of the same data with --data-dir"
        )


def resumed_devices(manifest: Mapping[str, Any], devices: int | None) -> int:
    """As many devices as before, where no other number is asked for; logs what differs."""
    before, available = manifest["devices"], len(jax.devices())
    if devices is None and before > available:
        raise ConfigError(
            f"the run was begun on {before} devices, here are {available}: give --devices "
            f"{available} to resume on these (the result may then differ in rounding)"
        )
    if devices not in (None, before):
        logger.warning(
            "begun on %d devices, now %d: the result may differ in rounding", before, devices
        )
    changed = differences(manifest["versions"], environment()["versions"])
    if changed:
        logger.warning("versions changed, so the result may differ in rounding: %s", changed)
    return devices or before


def resume_command(
    name: str, final: Path, options: Mapping[str, StrPath | None], *flags: str
) -> str:
    """The command that resumes a run, to be pasted into a shell.

    Example:
        >>> resume_command("train", Path("/runs/my x"), {"--data-dir": None}, "--overwrite")
        "jaxdigits train --resume '/runs/my x' --overwrite"
    """
    words = ["jaxdigits", name, "--resume", str(final), *flags]
    for option, value in options.items():
        words += [option, str(absolute(Path(value)))] if value is not None else []
    return shlex.join(words)


def drop_checkpoints(final: Path) -> None:
    """Remove what a complete run no longer needs."""
    for name in CHECKPOINT_FILES:
        path = final / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
