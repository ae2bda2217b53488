"""The command line: one file per command, imported when the command runs."""

import atexit
import difflib
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from jaxdigits import __version__
from jaxdigits.errors import ConfigError, JaxdigitsError, ProcessLostError, StoppedError

if TYPE_CHECKING:
    from jaxdigits.cli.parser import Parser

COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("train:train", "train a network and write its run folder"),
    "sweep": ("sweep:sweep", "train many networks, and compare settings"),
    "evaluate": ("evaluate:evaluate", "measure a trained network"),
    "twin": ("twin:twin", "train a run again, and find where it begins to differ"),
    "predict": ("predict:predict", "read handwriting in photos and scans"),
    "teach": ("teach:teach", "correct what a network misreads in your handwriting"),
    "hand list": ("teach:list_corrections", "list what a network was taught"),
    "hand undo": ("teach:undo", "take a correction back"),
    "draw": ("draw:draw", "open a page to draw on, and see what a network reads"),
    "classify": ("classify:classify", "label image files, one character each"),
    "export": ("export:export", "write a network as a page to draw on, ONNX, or StableHLO"),
    "compile": ("compile:compile", "compile for a TPU or GPU that is not here"),
    "reproduce": ("reproduce:reproduce", "measure the results of the posts, with error bars"),
    "data list": ("data:list_datasets", "list the datasets"),
    "data prepare": ("data:prepare", "prepare a dataset, from local files or by download"),
    "data show": ("data:show", "draw images of a dataset"),
    "data export": ("data:export", "write a dataset as a folder of images"),
    "bench": ("bench:run", "measure how fast this machine is; the same as bench run"),
    "bench run": ("bench:run", "measure training and inference"),
    "bench pair": ("bench:pair", "compare two versions or settings, interleaved"),
    "bench compare": ("bench:compare", "compare two measurements"),
    "bench scaling": ("bench:scaling", "draw speed against batch size, width, and devices"),
    "bench time-to": ("bench:time_to", "measure the time to an accuracy on MNIST"),
}
"""By name: the function in `jaxdigits.cli`, and what it does."""

HELP = """\
Handwritten-character recognition in functional JAX.

  jaxdigits train               train on MNIST, or on the digits inside without it
  jaxdigits draw                draw a digit, and see what the network reads
  jaxdigits predict photo.jpg   read your own handwriting

commands:
{commands}

options:
  -h, --help                    show this help; `jaxdigits COMMAND --help` shows a command's
  --version                     show the version
  --print-completion SHELL      print a completion script for bash, zsh, or tcsh
"""


def program() -> NoReturn:
    """What `jaxdigits` runs: `main`, and the end of the process, which Ctrl-C leaves in order."""
    signal.signal(signal.SIGINT, _interrupt)
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the last of all that end
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 2 for an error that better input would avoid."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    before = signal.signal(signal.SIGINT, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # print what a narrow encoding lacks as \u03b1
            stream.reconfigure(errors="backslashreplace")
    _log_to_stderr()
    try:
        try:
            return _run(words)
        finally:
            if sys.stdout is not None:  # closed by `>&-`
                sys.stdout.flush()
    except StoppedError as stop:
        print(f"jaxdigits: {stop}", file=sys.stderr)
        return stop.exit_code
    except ProcessLostError as lost:
        print(f"jaxdigits: {lost}", file=sys.stderr, flush=True)
        os._exit(1)  # at its usual end jax would wait for the process that is gone
    except JaxdigitsError as error:
        print(f"jaxdigits: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        print(f"jaxdigits: {error.filename or 'input/output'}: {error.strerror}", file=sys.stderr)
        return 2
    except (RuntimeError, AssertionError):
        from jaxdigits.environment import missing_platform

        reason = missing_platform()
        if reason is None:
            raise
        print(f"jaxdigits: {reason}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(HELP.format(commands=_list(COMMANDS)), end="")
        return 0
    if words == ["--version"]:
        print(f"jaxdigits {__version__}")
        return 0
    if words[0] == "--print-completion":
        return _print_completion(words[1:])
    name = words[0]
    group = {command: told for command, told in COMMANDS.items() if command.startswith(f"{name} ")}
    if group and len(words) > 1 and not words[1].startswith("-"):
        name = " ".join(words[:2])
    elif group and (words[1:2] in (["-h"], ["--help"]) or name not in COMMANDS):
        print(f"usage: jaxdigits {name} COMMAND\n\n{_list(group)}")
        return 0 if len(words) > 1 else 2
    if name not in COMMANDS:
        print(f"jaxdigits: {_unknown(name)}", file=sys.stderr)
        return 2
    _parser(name).call(words[name.count(" ") + 1 :])
    return 0


def _parser(name: str) -> "Parser":
    from jaxdigits.cli.parser import Parser

    module, _, function = COMMANDS[name][0].partition(":")
    function = getattr(importlib.import_module(f"jaxdigits.cli.{module}"), function)
    return Parser(function, f"jaxdigits {name}")


def _list(commands: Mapping[str, tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<28}  {told}" for name, (_, told) in commands.items())


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    meant = f"did you mean `jaxdigits {close[0]}`?" if close else "see `jaxdigits --help`"
    return f"there is no command {name!r}; {meant}"


def _print_completion(words: Sequence[str]) -> int:
    """Print a script that completes commands, options, and files."""
    from argparse import ArgumentParser
    from pathlib import Path

    import shtab

    if len(words) != 1 or words[0] not in shtab.SUPPORTED_SHELLS:
        shells = ", ".join(shtab.SUPPORTED_SHELLS)
        raise ConfigError(f"--print-completion takes the name of a shell, one of {shells}")
    parser = ArgumentParser("jaxdigits")
    groups = {"": parser.add_subparsers()}
    for name, (_, told) in COMMANDS.items():
        if f"{name} run" in COMMANDS:
            continue
        first, _, second = name.rpartition(" ")
        if first not in groups:
            group = groups[""].add_parser(first, help=f"{name}, and others")
            groups[first] = group.add_subparsers()
        command = _parser(name)
        for argument in command.arguments:
            if argument.type is Path:
                vars(argument)["complete"] = shtab.FILE
        groups[first].add_parser(second, help=told, parents=[command], add_help=False)
    print(shtab.complete(parser, words[0]))
    return 0


def _log_to_stderr() -> None:
    """Print what the library logs, a line each, on standard error."""
    logger = logging.getLogger("jaxdigits")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.propagate = False


def _interrupt(*_: object) -> None:
    """End the process at once: nothing is half-written, and XLA's threads outlive no exception."""
    os.write(2, b"\njaxdigits: interrupted\n")
    os._exit(130)
