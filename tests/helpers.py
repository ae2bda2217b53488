"""What several test files need."""

import dataclasses
import gzip
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxdigits.data.specs import SPECS, DatasetSpec, RemoteFile


def notes(err: str) -> str:
    """Standard error without what tells the progress of training."""
    lines = err.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("training ", "epoch ", "batch ")))


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format, not yet gzipped."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(idx_bytes(array), mtime=0))


def emnist_arrays(train_count: int = 260, test_count: int = 52) -> dict[str, np.ndarray]:
    """Arrays as they stand in the files of emnist/letters: transposed, labels 1..26."""
    random = np.random.default_rng(1)
    arrays = {}
    for part, count in (("train", train_count), ("test", test_count)):
        arrays[f"{part}-images"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels"] = (np.arange(count) % 26 + 1).astype(np.uint8)
    return arrays


def write_emnist(folder: Path, **replaced: np.ndarray) -> None:
    """Files of emnist/letters; `train_images=...` and so on put other arrays into them."""
    arrays = emnist_arrays()
    arrays.update({name.replace("_", "-"): array for name, array in replaced.items()})
    for role, array in arrays.items():
        write_idx(folder / f"emnist-letters-{role}-idx{array.ndim}-ubyte.gz", array)


def replace_remote(
    monkeypatch: pytest.MonkeyPatch, spec: DatasetSpec, remote: dict[str, RemoteFile]
) -> None:
    """Make the files of a dataset come from elsewhere."""
    changed = dict(SPECS) | {spec.name: dataclasses.replace(spec, remote=remote)}
    for module in ("specs", "preparation", "builders"):
        monkeypatch.setattr(f"jaxdigits.data.{module}.SPECS", changed)


def stop_after(
    monkeypatch: pytest.MonkeyPatch, chunk: int, received: signal.Signals = signal.SIGINT
) -> None:
    """As if a signal came in that chunk of a run: an epoch, or less where images stream."""
    from jaxdigits.runs.resume import CheckpointHook

    plain = CheckpointHook.after_chunk

    def after_chunk(self, number, *more):
        if number == chunk:
            self._interrupts.received = received
        plain(self, number, *more)

    monkeypatch.setattr(CheckpointHook, "after_chunk", after_chunk)


def start_together(*words: str, processes: int = 2) -> list[subprocess.Popen[str]]:
    """Python with these words in some processes, a device each; the first one starts last.

    Each gets its number by `--process-id`, and where to meet by `--coordinator`.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    together = ["--coordinator", f"127.0.0.1:{port}", "--processes", str(processes)]
    return [
        subprocess.Popen(
            [sys.executable, *words, *together, "--process-id", str(number)],
            env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in reversed(range(processes))
    ][::-1]


def wait_for_checkpoint(epoch: int, folder: Path = Path("run.unfinished")) -> None:
    """Wait until another process has saved this epoch, or a later one."""
    from jaxdigits.runs.checkpoints import saved_chunks

    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and (saved_chunks(folder) or [0])[-1] < epoch:
        time.sleep(0.01)
    assert saved_chunks(folder)


def finish(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit codes, and what was written to standard output and standard error."""
    try:
        found = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(processes, found, strict=True)]


def history(folder: Path) -> list[dict]:
    """The metrics of a run, without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if name != "seconds"} for line in lines]


def resnet_variables(stem: str, rng: np.random.Generator, **options: Any) -> Any:
    """Parameters and statistics of ResNet-18 of which none is what it is at the start."""
    import jax

    from jaxdigits.models import resnet

    init = partial(resnet.init, stem=stem, **options)
    return drawn(jax.eval_shape(init, jax.random.key(0)), rng)


def drawn(shapes: Any, rng: np.random.Generator) -> Any:
    """Parameters, and statistics, of any network, without a program that draws them."""
    import jax

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            return rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        if name in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape)
        return rng.normal(size=leaf.shape) * 0.2

    return jax.tree_util.tree_map_with_path(lambda *at: draw(*at).astype(np.float32), shapes)


class Terminal(io.StringIO):
    """A terminal, to be set as standard error."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """It is one."""
        return True

    @property
    def bars(self) -> list[str]:
        """The progress bars as they began, each as `NAME: COUNT/TOTAL UNIT`; all are gone again."""
        lines = [line.strip() for line in self.getvalue().split("\r")]
        assert lines[-2:] == ["", ""], "a bar is still there"
        begun = (re.fullmatch(r"(.*): +0%\|.*\| (\S+) \[.*?(\w+)/s\]", line) for line in lines)
        return [f"{bar[1]}: {bar[2]} {bar[3]}" for bar in begun if bar]
