"""Checkpoints of an unfinished run, written in the background, the last few kept.

They live in the unfinished folder of a run, beside the settings that a resumed run must match:

| | content |
|---|---|
| `manifest.json` | config, data fingerprint, devices, versions, chunks per epoch |
| `checkpoints/CHUNK.safetensors` | the arrays: parameters, average, optimizer, key |
| (its metadata) | the manifest, the history, a checksum of all |

A chunk is an epoch, or less where images stream from the disk: `chunks_per_epoch` says.

A checkpoint is written to a temporary name and renamed, so a file named by a number is complete. It
may be damaged later; then the one before it is used.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxdigits.config import CheckpointConfig
from jaxdigits.errors import OutputError, RunError
from jaxdigits.files import atomic_write, write_json
from jaxdigits.runs.documents import CheckpointDocument, ManifestDocument, decode, read_document

FORMAT = 2
"""Of `manifest.json` and the checkpoints: raised when an older reader could not read them."""

MANIFEST_FILE = "manifest.json"
CHECKPOINTS = "checkpoints"
CHECKPOINT_FILES = (MANIFEST_FILE, CHECKPOINTS, "begun.json")
"""What an unfinished folder holds in addition to results; `begun.json` is of format 1."""


class _VersionError(RunError):
    """Not damaged, but of a format that this version cannot read."""


class Checkpoint(NamedTuple):
    """What was read back.

    Attributes:
        chunk: the number of chunks done.
        state: arrays in the structure of the template.
        progress: what was saved with it.
        notes: a sentence for each newer checkpoint that cannot be used.
    """

    chunk: int
    state: Any
    progress: dict[str, Any]
    notes: list[str]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(
        self, folder: Path, manifest: Mapping[str, Any], config: CheckpointConfig | None = None
    ) -> None:
        """Args:
        folder: the unfinished folder of the run.
        manifest: what `write_manifest` wrote.
        config: when to save, and how many to keep.
        """
        self._folder = folder / CHECKPOINTS
        self._manifest = dict(manifest)
        self._config = config or CheckpointConfig()
        self._saved_at = time.monotonic()
        self._saved = 0
        self._chunks_per_epoch = manifest.get("chunks_per_epoch", 1)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[None] | None = None

    def epochs(self, chunk: int) -> str:
        """How many epochs a number of chunks makes, in words."""
        whole, rest = divmod(chunk, self._chunks_per_epoch)
        return f"{chunk / self._chunks_per_epoch:.2f}" if rest else str(whole)

    def due(self, chunk: int) -> bool:
        """Whether to save a checkpoint after this chunk."""
        every = self._config.checkpoint_epochs
        minutes = (time.monotonic() - self._saved_at) / 60
        return (
            every is not None and chunk - self._saved >= every * self._chunks_per_epoch
        ) or minutes >= self._config.checkpoint_minutes

    def save(self, chunk: int, state: Any, progress: Mapping[str, Any]) -> None:
        """Copy the state and write it in the background; wait for the checkpoint before it.

        Args:
            chunk: the number of chunks done.
            state: a pytree of arrays.
            progress: plain values to keep with it.

        Raises:
            OutputError: the checkpoint before it could not be written. Older ones stay.
        """
        self.wait()
        self._saved_at, self._saved = time.monotonic(), chunk
        arrays = named_arrays(state)
        document = {**self._manifest, "chunk": chunk, "progress": progress}
        # Rendered now: the history grows meanwhile.
        document["sha256"] = _digest(arrays, document)
        text = json.dumps(document, allow_nan=False)
        self._pending = self._thread.submit(self._write, chunk, arrays, text)

    def check(self) -> None:
        """Raise OutputError if the last checkpoint could not be written in the background."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the checkpoint that is being written is complete.

        Raises:
            OutputError: it could not be written. Older ones stay.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for what is being written, whether it succeeds or not."""
        self._thread.shutdown()

    def saved(self, after: int = 0) -> list[int]:
        """The numbers of the checkpoints of later chunks, ascending."""
        return [chunk for chunk in saved_chunks(self._folder.parent) if chunk > after]

    def restore(self, template: Any, after: int = 0) -> Checkpoint | None:
        """Read the newest checkpoint that is complete, or None if there is none at all.

        Newer ones that are damaged, or of another run, are renamed to `damaged-...`.

        Args:
            template: a pytree of arrays or of their shapes, as the state is to be.
            after: ignore checkpoints of earlier chunks.

        Raises:
            RunError: there are checkpoints, but none can be used, or another version wrote them.
        """
        chunks = self.saved(after)
        notes: list[str] = []
        for place, chunk in reversed(list(enumerate(chunks))):
            try:
                state, progress = self._read(chunk, template)
            except _VersionError:
                raise
            except RunError as error:
                notes.append(str(error))
                continue
            for bad in map(self._path, chunks[place + 1 :]):
                bad.rename(bad.with_name(f"damaged-{bad.stem}-{time.time_ns()}"))
            self._saved = chunk
            return Checkpoint(chunk, state, progress, notes)
        if notes:
            raise RunError(f"{notes[0]}; no older checkpoint can be used: train it again")
        return None

    def _path(self, chunk: int) -> Path:
        return self._folder / f"{chunk}.safetensors"

    def _write(self, chunk: int, arrays: Mapping[str, np.ndarray], text: str) -> None:
        try:
            with atomic_write(self._path(chunk)) as path:
                safetensors.numpy.save_file(dict(arrays), path, {"document": text})
        except (OSError, OutputError, safetensors.SafetensorError) as error:
            raise OutputError(
                f"the checkpoint of epoch {self.epochs(chunk)} cannot be written: {error}"
            ) from None
        for old in saved_chunks(self._folder.parent)[: -self._config.keep_checkpoints]:
            self._path(old).unlink(missing_ok=True)

    def _read(self, chunk: int, template: Any) -> tuple[Any, dict[str, Any]]:
        path = self._path(chunk)
        wanted = named_shapes(template)
        try:
            with safetensors.safe_open(path, "numpy") as file:
                text = (file.metadata() or {})["document"]
                document = decode(text.encode(), CheckpointDocument, path, "train it again")
                _check_same(document, self._manifest, path)
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if document.pop("sha256") != _digest(arrays, document):
                raise ValueError("its checksum differs")
            for name, leaf in wanted.items():
                if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
                    raise ValueError(f"its {name} has another shape or type")
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
            raise RunError(f"{path} cannot be read: {error}") from None
        return from_named(arrays, template), document["progress"]


def write_manifest(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Write `manifest.json`, and return its content.

    Args:
        folder: the unfinished folder of the run.
        document: plain values: config, data fingerprint, and so on.

    Raises:
        OutputError: it cannot be written.
    """
    manifest = {"format": FORMAT, **document}
    write_json(folder / MANIFEST_FILE, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what `write_manifest` wrote.

    Raises:
        RunError: it is missing or damaged, or another version wrote it.
    """
    path = folder / MANIFEST_FILE
    try:
        return read_document(path, ManifestDocument, FORMAT)
    except FileNotFoundError:
        if (folder / "begun.json").exists():
            raise _VersionError(
                f"the run in {folder} was begun by an older jaxdigits, whose checkpoints this "
                "version cannot read: train it again"
            ) from None
        raise RunError(f"there is no run to resume in {folder}") from None


def saved_chunks(folder: Path) -> list[int]:
    """The numbers of the checkpoints in an unfinished folder, ascending.

    Example:
        >>> saved_chunks(Path("nowhere"))
        []
    """
    return sorted(
        int(path.stem)
        for path in (folder / CHECKPOINTS).glob("*.safetensors")
        if path.stem.isdigit()
    )


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Where two documents differ, in words.

    Example:
        >>> differences({"epochs": 3, "seed": 0}, {"epochs": 4, "seed": 0})
        ['epochs is 3, not 4']
    """
    return [
        f"{name} is {first.get(name)}, not {second.get(name)}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def named_shapes(state: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a pytree's arrays, by names such as `params.0.weight`; keys as their data."""
    return {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for name, leaf in named_leaves(jax.eval_shape(_plain, state))
    }


def named_arrays(state: Any) -> dict[str, np.ndarray]:
    """Copy a pytree's arrays to the host, by name: the next epoch overwrites the arrays."""
    return {name: np.array(leaf, order="C") for name, leaf in named_leaves(_plain(state))}


def from_named(arrays: Mapping[str, Any], template: Any) -> Any:
    """The pytree that `named_arrays` was given.

    Args:
        arrays: by name.
        template: a pytree of arrays or of their shapes.
    """
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(arrays[name])) if _is_key(leaf) else arrays[name]
        for name, leaf in named_leaves(template)
    ]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """The arrays of a pytree with names such as `0.weight`."""
    return [
        (jax.tree_util.keystr(path, simple=True, separator="."), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(state: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)


def _digest(arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _check_same(document: Mapping[str, Any], manifest: Mapping[str, Any], path: Path) -> None:
    if document["format"] > FORMAT:
        raise _VersionError(
            f"{path} was written by a newer jaxdigits (format {document['format']}): upgrade"
        )
    for kind in ("config", "data", "grid"):
        found = differences(document.get(kind, {}), manifest.get(kind, {}))
        if found:
            raise RunError(f"{path} is of another run: its {'; its '.join(found)}")
