"""Run commands of jaxdigits, and tell how they ended."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 120.0
"""Seconds after which a command counts as one that hangs."""


def rows_before(path: Path, key: str) -> dict[str, dict[str, Any]]:
    """The rows of a result that was written before, by one of their columns; none without it."""
    if not path.exists():
        return {}
    return {row[key]: row for row in json.loads(path.read_text())["rows"]}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    err: str

    def told(self, *codes: int) -> str:
        """What is wrong with that, if anything: another exit code, a traceback, no sentence."""
        lines = [line for line in self.err.splitlines() if line.startswith("jaxdigits: ")]
        if self.code not in codes:
            return f"exit code {self.code}: {self.err[-300:]}"
        if "Traceback" in self.err or (self.code == 2 and not lines):
            return self.err[-300:]
        return ""


Limits = Callable[[], None]


def start(
    words: Sequence[str],
    folder: Path,
    env: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    program: Sequence[str] = ("-m", "jaxdigits"),
    **options: Any,
) -> subprocess.Popen[str]:
    """Start a command in a folder. `program`: what Python runs."""
    return subprocess.Popen(
        [sys.executable, *program, *words],
        cwd=folder,
        env={**os.environ, **(env or {})},
        preexec_fn=limits,
        text=True,
        errors="replace",
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options},
    )


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait for a command."""
    try:
        _, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return Ended(-1, f"it did not end in {PATIENCE:.0f} s")
    return Ended(process.returncode, err or "")


def run(words: Sequence[str], folder: Path, **options: Any) -> Ended:
    """Run a command to its end."""
    return end(start(words, folder, **options))


def shell(command: str, folder: Path) -> Ended:
    """Run a line of a shell."""
    done = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stderr)


def new(folder: Path, name: object) -> Path:
    """A new folder in another one."""
    place = folder / str(name)
    place.mkdir()
    return place
