"""Checkpoints of a training in the making, by orbax: written in the background, the last few kept.

They live in the unfinished folder of a run, beside a file that says what was begun:

| | content |
|---|---|
| `begun.json` | config, data fingerprint, devices, versions, parts an epoch |
| `checkpoints/PART/state` | the arrays: parameters, their average, optimiser, key, scaling |
| `checkpoints/PART/document` | the same as `begun.json`, the history, a checksum of the arrays |

A part is an epoch, but of a training whose images stream it is less: `parts` make an epoch.

Orbax writes a checkpoint to a temporary name and renames it, so a folder named by a number is
whole. It may be damaged later; then the one before it is used.
"""

import contextlib
import functools
import hashlib
import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdigits.config import CheckpointConfig
from jaxdigits.errors import OutputError, RunError
from jaxdigits.files import write_json

if TYPE_CHECKING:
    from orbax.checkpoint import CheckpointManager

FORMAT = 1
"""Of `begun.json` and the checkpoints: raised when an older reader could not read them."""

BEGUN_FILE = "begun.json"
CHECKPOINTS = "checkpoints"


class _NewerError(RunError):
    """Not damaged, but of a format that is not known here."""


class Checkpoint(NamedTuple):
    """What was read back.

    Attributes:
        part: how many parts of the training it has behind it.
        state: arrays in the structure of the template.
        progress: what was saved with it.
        notes: a sentence for each newer checkpoint that is of no use.
    """

    part: int
    state: Any
    progress: dict[str, Any]
    notes: list[str]


class Checkpoints:
    """The checkpoints of one training.

    Orbax is imported with the first checkpoint that is written or read.
    """

    def __init__(
        self, folder: Path, begun: Mapping[str, Any], config: CheckpointConfig | None = None
    ) -> None:
        """Args:
        folder: the unfinished folder of the run.
        begun: what `begin` wrote; its `parts` make an epoch, one if it does not say.
        config: when to save, and how many to keep.
        """
        self._folder = folder / CHECKPOINTS
        self._begun = dict(begun)
        self._config = config or CheckpointConfig()
        self._manager: CheckpointManager | None = None
        self._saved_at = time.monotonic()
        self._saved = 0
        self._parts = begun.get("parts", 1)

    def epochs(self, part: int) -> str:
        """How many epochs so many parts are."""
        whole, rest = divmod(part, self._parts)
        return f"{part / self._parts:.2f}" if rest else str(whole)

    def due(self, part: int) -> bool:
        """Whether a checkpoint should be written after this part."""
        every = self._config.checkpoint_epochs
        minutes = (time.monotonic() - self._saved_at) / 60
        return (
            every is not None and part - self._saved >= every * self._parts
        ) or minutes >= self._config.checkpoint_minutes

    def save(self, part: int, state: Any, progress: Mapping[str, Any]) -> None:
        """Copies the state and writes it in the background; waits for the checkpoint before.

        Args:
            part: how many are done.
            state: a pytree of arrays.
            progress: plain values to be kept with it.

        Raises:
            OutputError: this one or the one before it could not be written. Older ones stay.
        """
        self.wait()
        self._saved_at, self._saved = time.monotonic(), part
        with self._writing(part):
            ocp = _orbax()
            arrays = named_arrays(state)
            document = {
                **self._begun,
                "part": part,
                "progress": progress,
                "sha256": _digest(arrays),
            }
            self._open().save(
                part,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays), document=ocp.args.JsonSave(document)
                ),
                force=True,
            )

    def check(self) -> None:
        """Raises OutputError if the last checkpoint could not be written in the background."""
        if self._manager is not None:
            with self._writing(self._saved):
                self._manager.check_for_errors()

    def wait(self) -> None:
        """Until the checkpoint that is being written is complete.

        Raises:
            OutputError: it could not be written. Older ones stay.
        """
        if self._manager is not None:
            with self._writing(self._saved):
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends orbax's threads; what went wrong no longer matters."""
        if self._manager is not None:
            with contextlib.suppress(Exception):
                self._manager.close()
            self._manager = None

    def restore(self, template: Any, after: int = 0) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None if there is none at all.

        Newer ones that are damaged, or of another training, are renamed to `damaged-PART`.

        Args:
            template: a pytree of arrays or of their shapes, as the state is to be.
            after: a part before which checkpoints are not looked at.

        Raises:
            RunError: there are checkpoints, but none can be used, or a newer version wrote them.
        """
        parts = [part for part in complete_parts(self._folder.parent) if part > after]
        notes = []
        for part in reversed(parts):
            try:
                state, progress = self._read(part, template)
            except _NewerError:
                raise
            except RunError as error:
                notes.append(str(error))
                continue
            for bad in parts[parts.index(part) + 1 :]:
                with self._writing(bad):
                    (self._folder / str(bad)).rename(
                        self._folder / f"damaged-{bad}-{time.time_ns()}"
                    )
            self._saved = part
            return Checkpoint(part, state, progress, notes)
        if notes:
            raise RunError(f"{notes[0]}; no older checkpoint can be used: train it again")
        return None

    def _open(self) -> "CheckpointManager":
        if self._manager is not None:
            return self._manager
        ocp = _orbax()
        self._folder.mkdir(parents=True, exist_ok=True)
        policy = ocp.checkpoint_managers.LatestN(self._config.keep_checkpoints)
        manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                create=False,
                cleanup_tmp_directories=True,
                multiprocessing_options=_only_first(ocp),
            ),
        )
        self._manager = manager
        return manager

    def _read(self, part: int, template: Any) -> tuple[Any, dict[str, Any]]:
        ocp = _orbax()
        path = self._folder / str(part)
        wanted = named_shapes(template)
        options = ocp.CheckpointManagerOptions(
            create=False, multiprocessing_options=_only_first(ocp)
        )
        with _reading(path), ocp.CheckpointManager(self._folder, options=options) as manager:
            read = ocp.args.Composite(document=ocp.args.JsonRestore())
            document = dict(manager.restore(part, args=read).document)
            check_begun(document, path)
            _check_same(document, self._begun, path)
            empty = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
            read = ocp.args.Composite(state=ocp.args.StandardRestore(empty))
            arrays = manager.restore(part, args=read).state
            if _digest(arrays) != document["sha256"]:
                raise ValueError("its checksum is another")
            for name, leaf in wanted.items():
                if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
                    raise ValueError(f"its {name} has another shape or type")
            return from_named(arrays, template), document["progress"]

    @contextlib.contextmanager
    def _writing(self, part: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # orbax and what it is built on raise all kinds
            self.close()
            raise OutputError(
                f"the checkpoint of epoch {self.epochs(part)} cannot be written to {self._folder}: "
                f"{_reason(error)}"
            ) from None


def begin(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `begun.json`, and gives its content.

    Args:
        folder: the unfinished folder of the run.
        document: plain values: config, data fingerprint and so on.

    Raises:
        OutputError: it cannot be written.
    """
    begun = {"format": FORMAT, **document}
    write_json(folder / BEGUN_FILE, begun)
    return begun


def load_begun(folder: Path) -> dict[str, Any]:
    """What `begin` wrote.

    Raises:
        RunError: it is not there or damaged, or a newer version wrote it.
    """
    path = folder / BEGUN_FILE
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"there is no training to go on with in {folder}") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}; train it again") from None
    check_begun(document, path)
    return document


def check_begun(document: Any, path: Path) -> None:
    """Raises RunError for what is no such document, or one of a newer version."""
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise RunError(f"{path} is damaged: it lacks a format; train it again")
    if document["format"] > FORMAT:
        raise _NewerError(
            f"{path} was written by a newer jaxdigits (format {document['format']}): upgrade"
        )


def complete_parts(folder: Path) -> list[int]:
    """After which parts there are checkpoints in an unfinished folder, oldest first.

    Example:
        >>> complete_parts(Path("nowhere"))
        []
    """
    checkpoints = folder / CHECKPOINTS
    names = [path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Where two documents differ, in words.

    Example:
        >>> differences({"epochs": 3, "seed": 0}, {"epochs": 4, "seed": 0})
        ['epochs is 3, not 4']
    """
    names = [*first, *(name for name in second if name not in first)]
    return [
        f"{name} is {first.get(name)}, not {second.get(name)}"
        for name in names
        if first.get(name) != second.get(name)
    ]


def _only_first(ocp: ModuleType) -> Any:
    """Of several processes, only the first one reads and writes."""
    several = jax.process_count() > 1
    return ocp.options.MultiprocessingOptions(
        primary_host=0,
        active_processes={0} if several else None,
        barrier_sync_key_prefix="first" if several else None,
    )


@functools.cache
def _orbax() -> ModuleType:
    """Orbax, which takes a third of a second to import.

    What it logs of a failure is said in our errors. When one array fails, those that are still
    being read or written find their event loop closed: they would print a traceback each.
    """
    import orbax.checkpoint

    logging.getLogger("absl").setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def hook(found: Any) -> None:
        if str(found.exc_value) != "Event loop is closed":
            before(found)

    sys.unraisablehook = hook
    return orbax.checkpoint


def _check_same(document: Mapping[str, Any], begun: Mapping[str, Any], path: Path) -> None:
    for kind in ("config", "data", "grid"):
        found = differences(document.get(kind, {}), begun.get(kind, {}))
        if found:
            raise RunError(f"{path} is of another training: its {'; its '.join(found)}")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what orbax raises into one sentence, and keeps its threads' words to itself."""
    try:
        logging.disable(logging.CRITICAL)
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"{path} cannot be read: {_reason(error)}") from None
    finally:
        logging.disable(logging.NOTSET)


def _reason(error: Exception) -> str:
    """The part of an error's message that says why: tensorstore's are pages long."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text, *more = re.split(r" \[(?:tensorstore_spec|os_error_code)", str(error))
    text = (text.splitlines() or [type(error).__name__])[0]
    return text.rsplit(": ", 1)[-1] if more else text


def named_shapes(state: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """The arrays of a pytree by names such as `params.0.weight`; keys as their numbers."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        named[name] = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return named


def named_arrays(state: Any) -> dict[str, np.ndarray]:
    """Copies on the host: the arrays themselves are overwritten by the next epoch."""
    plain = jax.tree.map(
        lambda leaf: (
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        ),
        state,
    )
    return {
        name: np.array(leaf)
        for name, leaf in zip(named_shapes(state), jax.tree.leaves(plain), strict=True)
    }


def from_named(arrays: Mapping[str, Any], template: Any) -> Any:
    """The pytree whose `named_arrays` these are.

    Args:
        arrays: by name.
        template: a pytree of arrays or of their shapes.
    """
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(arrays[name]))
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else arrays[name]
        for name, leaf in zip(named_shapes(template), jax.tree.leaves(template), strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    return digest.hexdigest()
