"""Measure two versions interleaved: a round of the one, then the same round of the other.

On a busy machine even the fastest rounds of one minute may be 10% slower than those of the next.
Two rounds that follow each other meet the same machine, so their ratio tells what the programs do.
Which of the two goes first changes from round to round. Each is a process of its own, and compiles
while the other does nothing.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from jaxdigits.errors import RunError
from jaxdigits.runs.sides import start

ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Of both, if not set: they may share a GPU, whose memory neither may take beforehand."""

Side = tuple[str, "subprocess.Popen[str]"]
"""How `jaxdigits` was called, and the process."""


def measure_interleaved(
    commands: Sequence[str],
    words: Sequence[str],
    files: Sequence[Path],
    *,
    rounds: int,
    programs: int,
    progress: Callable[[str], Any] = lambda _: None,
) -> None:
    """Run two `jaxdigits bench run` at once; one measures while the other waits.

    Args:
        commands: how to call `jaxdigits` of the one and of the other.
        words: options of `bench run` for both.
        files: where they write their documents, which tell that they belong together.
        rounds: of each program.
        programs: the number measured, the matrix product included.
        progress: called with what happens.

    Raises:
        ConfigError: a command cannot be run.
        RunError: one ended before its turn; it has told why on standard error.
    """
    pair = uuid4().hex
    with ExitStack() as stack:
        sides = []
        for command, file in zip(commands, files, strict=True):
            progress(f"compiling {command}")
            side = command, _start(command, [*words, "--pair", pair, "--json", str(file)])
            stack.enter_context(side[1])
            stack.callback(side[1].kill)
            sides.append(side)
            _wait(side)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for program in range(programs):
                last = (number, program) == (rounds - 1, programs - 1)
                for side in sides if (number + program) % 2 else reversed(sides):
                    _tell(side)
                    _end(side) if last else _wait(side)


def _start(command: str, words: Sequence[str]) -> "subprocess.Popen[str]":
    wanted = "a jaxdigits, such as other/bin/jaxdigits"
    return start(command, ["bench", "run", *words], wanted, ENVIRONMENT | os.environ)


def _tell(side: Side) -> None:
    """Give a side its turn."""
    _, process = side
    assert process.stdin is not None
    try:
        print(file=process.stdin, flush=True)
    except BrokenPipeError:
        raise _ended(side) from None


def _wait(side: Side) -> None:
    """Wait until a side is ready for its next turn."""
    _, process = side
    assert process.stdout is not None
    if not process.stdout.readline():
        raise _ended(side)


def _end(side: Side) -> None:
    """Wait until a side has written its document."""
    _, process = side
    process.communicate()
    if process.returncode:
        raise _ended(side)


def _ended(side: Side) -> RunError:
    command, process = side
    return RunError(
        f"`{command} bench run` ended with exit code {process.wait()} before the last round; "
        "see what it says, and whether it is of this version or newer"
    )
