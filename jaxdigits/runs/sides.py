"""Processes that train side by side, and answer questions: see `twin`."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from jaxdigits.errors import ConfigError, RunError


def start(
    command: str, words: Sequence[str], wanted: str, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start a process to talk to by lines, which Ctrl-C leaves to us.

    Args:
        command: as in a shell.
        words: more arguments.
        wanted: what the command should be, in words.
        env: the environment. Default: this process's.

    Raises:
        ConfigError: it does not start.
    """
    try:
        return subprocess.Popen(
            [*shlex.split(command), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            process_group=0,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise ConfigError(f"cannot run `{command}`: {reason}; name {wanted}") from None


class Side:
    """A process that trains, and answers questions.

    Args:
        command: that starts its Python.

    Raises:
        ConfigError: it does not.
        RunError: the process ended.
    """

    def __init__(self, command: str) -> None:
        """It starts in a `with` statement."""
        self._command = command

    def __enter__(self) -> "Side":
        """Start the process."""
        wanted = "a Python that has jaxdigits, such as other/bin/python"
        self._process = start(self._command, ["-m", "jaxdigits.runs.trace"], wanted)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with what it may have started
        self._process.communicate()

    def tell(self, question: Mapping[str, Any]) -> None:
        """Ask."""
        assert self._process.stdin is not None
        try:
            print(json.dumps(question), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None

    def hear(self) -> Any:
        """Wait for the answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        try:
            answer = json.loads(line)
        except ValueError:
            raise RunError(f"`{self._command}` does not start Python: {line.strip()}") from None
        if isinstance(answer, dict) and "error" in answer:
            raise ConfigError(answer["error"])
        return answer

    def _ended(self) -> RunError:
        return RunError(
            f"`{self._command} -m jaxdigits.runs.trace` ended with exit code "
            f"{self._process.wait()}; see what it says, and whether its jaxdigits is of this "
            "version or newer"
        )


def ask(sides: Sequence[Side], name: str, **arguments: Any) -> list[Any]:
    """Ask all, who answer at the same time."""
    for side in sides:
        side.tell({name: arguments})
    return [side.hear() for side in sides]


def this_python() -> str:
    """The command that starts the Python of this process."""
    return shlex.quote(sys.executable)
