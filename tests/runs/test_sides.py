"""Processes that answer questions by lines."""

import os
import sys
import time

import pytest

from jaxdigits.errors import ConfigError, RunError
from jaxdigits.runs import sides
from jaxdigits.runs.sides import Side, ask

ECHO = f"{sys.executable} -S -u -c 'import sys; [print(line, end=str()) for line in sys.stdin]'"
"""A process that answers with the question."""


def test_questions_and_answers():
    with Side(ECHO) as first, Side(ECHO) as second:
        assert ask([first, second], "steps", epoch=3) == [{"steps": {"epoch": 3}}] * 2
        first.tell({"error": "no such step"})
        with pytest.raises(ConfigError, match="no such step"):
            first.hear()
        first.tell({"more": ["error"]})
        assert first.hear() == {"more": ["error"]}


def test_a_process_ends_with_all_that_it_has_started():
    """At once, and not when that comes to its end."""
    began = time.monotonic()
    with Side("sh -c 'sleep 25 & echo $!; wait'") as side:
        child = side.hear()
        os.kill(child, 0)
    assert time.monotonic() - began < 15
    assert side._process.returncode == -9


def test_a_process_that_is_gone():
    """Whether it is asked or listened to; it may have ended before the block does."""
    with Side("sh -c 'exit 3'") as side, pytest.raises(RunError, match="ended with exit code 3"):
        side.hear()
    with Side("sh -c 'exec 0<&-; echo 1; sleep 0.1; exit 4'") as side:
        assert side.hear() == 1
        with pytest.raises(RunError, match=r"-m jaxdigits\.runs\.trace` ended with exit code 4"):
            side.tell({})


@pytest.mark.parametrize(
    ("command", "reason"),
    [("nowhere/python -x", "No such file or directory"), ("python 'x", "No closing quotation")],
)
def test_commands_that_are_none(command, reason):
    sentence = f"cannot run `{command}`: {reason}; name a Python that has jaxdigits, such as"
    with pytest.raises(ConfigError, match=sentence), Side(command):
        pass


def test_words_and_environment():
    """Words are added to those of the command."""
    process = sides.start("sh -c 'echo $HERE $0 $1'", ["a b", "c"], "a shell", {"HERE": "there"})
    assert process.communicate() == ("there a b c\n", None)
    process = sides.start("sh -c 'echo $HOME'", [], "a shell")
    assert process.communicate() == (f"{os.environ['HOME']}\n", None)


def test_a_path_with_a_space(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/my python/bin")
    assert sides.this_python() == "'/my python/bin'"
