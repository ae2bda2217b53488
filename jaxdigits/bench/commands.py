"""Any two commands in turns, each run as a whole process, of this project or not.

What counts is the time from launch to exit, or a rate that the command prints. Of neighboring runs
the one goes first, then the other; the first run of each warms caches, and does not count.
"""

import math
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxdigits.bench.intervals import Interval, paired, typical
from jaxdigits.bench.workloads import check_rounds
from jaxdigits.errors import ConfigError, RunError

ROUNDS = 10
"""Runs of each command."""

_NUMBER = re.compile(r"[\d,_]*\.?\d+(?:[eE][-+]?\d+)?")
_SHOWN = 500  # letters of what a command has said last


class Side(NamedTuple):
    """A command, and what was measured in each of its runs: seconds, or a rate."""

    command: str
    values: list[float]

    @property
    def typical(self) -> Interval:
        """The typical value, and its 95% interval."""
        return typical(self.values)


@dataclass(frozen=True)
class Turns:
    """Two commands that were measured in turns.

    Attributes:
        before, after: the two.
        rate: whether their values are rates, so that more is faster; else seconds.
    """

    before: Side
    after: Side
    rate: bool

    @property
    def speedup(self) -> Interval:
        """How many times as fast the second is, and the 95% interval of that."""
        sides = (self.before, self.after) if self.rate else (self.after, self.before)
        return paired(sides[0].values, sides[1].values)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "measured": "rate" if self.rate else "seconds",
            "speedup": self.speedup._asdict(),
            "commands": [
                {**side._asdict(), "typical": side.typical._asdict()}
                for side in (self.before, self.after)
            ],
        }


def measure_in_turns(
    before: str,
    after: str,
    *,
    rounds: int = ROUNDS,
    rate: str | None = None,
    progress: Callable[[str], Any] = lambda _: None,
) -> Turns:
    r"""Run two commands in turns, and compare their times, or the rates that they print.

    Args:
        before: a command, as a shell takes it apart; no shell runs it.
        after: another one.
        rounds: of each, 2 to 10,000; one more is run before, which does not count.
        rate: a regular expression that finds the rate in what a command prints; of several places
            the last one counts. The number is in its first group, or the whole of it.
        progress: called with what happens.

    Raises:
        ConfigError: a command cannot be run, or the expression is none.
        RunError: a command fails, or prints no such rate.

    Example:
        >>> import sys
        >>> command = sys.executable + " -c 'print({} , \"images/s\")'"
        >>> turns = measure_in_turns(
        ...     command.format(200), command.format(300), rounds=2, rate=r"(\d+) images/s"
        ... )
        >>> turns.after.values, round(turns.speedup.value, 2)
        ([300.0, 300.0], 1.5)
    """
    check_rounds(rounds)
    try:
        pattern = None if rate is None else re.compile(rate, re.MULTILINE)
    except re.error as error:
        raise ConfigError(f"the rate {rate!r} is no regular expression: {error}") from None
    sides = Side(before, []), Side(after, [])
    for number in range(-1, rounds):
        progress(f"round {number + 1} of {rounds}" if number >= 0 else "warm-up")
        for side in sides if number % 2 else reversed(sides):
            value = _run(side.command, pattern)
            if number >= 0:
                side.values.append(value)
    return Turns(*sides, rate=rate is not None)


def _run(command: str, pattern: re.Pattern[str] | None) -> float:
    """Run a command: how many seconds it took, or the rate that it printed."""
    try:
        words = shlex.split(command)
        if not words:
            raise ValueError("it is empty")
        start = time.perf_counter()
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot run `{command}`: {reason}") from None
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RunError(
            f"`{command}` ended with exit code {done.returncode}, and said {_last(done.stdout)}"
        )
    return seconds if pattern is None else _rate(done.stdout, pattern, command)


def _rate(text: str, pattern: re.Pattern[str], command: str) -> float:
    """The last rate in what a command has printed."""
    found = [match.group(min(pattern.groups, 1)) or "" for match in pattern.finditer(text)]
    number = _NUMBER.fullmatch(found[-1].strip()) if found else None
    value = float(number.group().replace(",", "").replace("_", "")) if number else 0.0
    if not 0 < value < math.inf:
        raise RunError(
            f"`{command}` prints no rate like {pattern.pattern!r}; it said {_last(text)}"
        )
    return value


def _last(text: str) -> str:
    return repr(text.strip()[-_SHOWN:]) if text.strip() else "nothing"
