"""Parse a command line for a function: its signature declares the arguments.

An argument with a default is an option, one without is positional; a dataclass is a group of them.
Docstrings are the help. `Annotated[str, {"metavar": "RUN"}]` is for `add_argument`.
"""

import argparse
import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

from jaxdigits.errors import ConfigError

_METAVARS: Mapping[Any, str] = {
    int: "N",
    int | None: "N",
    float: "X",
    str: "TEXT",
    Path: "PATH",
    tuple[int, ...]: "AxB",
    tuple[str, ...]: "A+B",
}


class Parser(argparse.ArgumentParser):
    """The arguments of a function.

    Attributes:
        arguments: all that the function declares.
    """

    def __init__(self, function: Callable[..., Any], prog: str) -> None:
        """Read the signature and the docstring."""
        about, _ = describe(function)
        super().__init__(prog, description=about, formatter_class=_Formatter, allow_abbrev=False)
        self._function = function
        self.arguments = list(_declare(self, function))
        words = [word for word in self.arguments if not word.option_strings]
        shown = [f"[{word.metavar} ...]" if word.nargs else f"{word.metavar}" for word in words]
        self.usage = " ".join([prog, "[options]", *shown])

    def call(self, words: Sequence[str]) -> None:
        """Call the function with what the words say; --batch_size is --batch-size, too.

        Raises:
            ConfigError: they say something impossible.
        """
        end = [*words, "--"].index("--")
        options = [re.sub("^--[^=]+", lambda it: it[0].replace("_", "-"), w) for w in words[:end]]
        values, unknown = self.parse_known_intermixed_args([*options, *words[end:]])
        if unknown:
            self.error(self._unknown(unknown))
        _call(self._function, vars(values))

    def error(self, message: str) -> NoReturn:
        """Names the help that tells more."""
        raise ConfigError(f"{message}; see `{self.prog} --help`")

    def _unknown(self, words: Sequence[str]) -> str:
        option = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
        if option is None:
            return f"unexpected argument {words[0]!r}"
        known = [name[2:] for argument in self.arguments for name in argument.option_strings]
        close = difflib.get_close_matches(option.strip("-"), known, n=1)
        return f"there is no option {option}" + "".join(f" (did you mean --{it}?)" for it in close)


class _Formatter(argparse.HelpFormatter):
    """Keeps paragraphs."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(fill(paragraph, width, indent) for paragraph in text.split("\n\n"))


def describe(target: object) -> tuple[str, dict[str, str]]:
    """How a docstring begins, and what it says of each argument or attribute, for `argparse`.

    Example:
        >>> describe(Parser)
        ('The arguments of a function.', {'arguments': 'all that the function declares.'})
    """
    about, *more = re.split("\n+(?:Args|Attributes):\n", inspect.getdoc(target) or "", maxsplit=1)
    section = more[0].partition("\n\n")[0] if more else ""
    found = re.split(r"^    (\w+): ", section, flags=re.MULTILINE)
    texts = (" ".join(text.split()).replace("%", "%%") for text in found[2::2])
    return about, dict(zip(found[1::2], texts, strict=True))


def metavar(kind: Any) -> str:
    """What stands for a value."""
    return _METAVARS.get(kind) or "|".join(get_args(kind))


def hint(default: object) -> str:
    """What the help says of a default."""
    if default is False or default in (None, ()):
        return ""
    return f" (default: {'x'.join(map(str, default)) if isinstance(default, tuple) else default})"


def _parameters(target: Callable[..., Any]) -> Iterator[tuple[str, Any, dict[str, Any], Any]]:
    """The name, kind, options of `add_argument`, and default of each parameter."""
    kinds = get_type_hints(target, include_extras=True)
    for name, parameter in inspect.signature(target).parameters.items():
        kind, options = kinds[name], {}
        if get_origin(kind) is Annotated:
            kind, options = get_args(kind)
        if NoneType in get_args(kind):
            kind = get_args(kind)[0]
        yield name, kind, options, parameter.default


def _declare(
    parser: argparse.ArgumentParser, target: Any, title: str = ""
) -> Iterator[argparse.Action]:
    """Add the arguments of a function, or of a dataclass as a group with a title."""
    about, texts = describe(target)
    group = None if title else parser
    for name, kind, more, default in _parameters(target):
        if dataclasses.is_dataclass(kind):
            yield from _declare(parser, kind, name.replace("_", " "))
            continue
        group = group or parser.add_argument_group(f"{title} options", about)
        options: dict[str, Any] = {"help": texts.get(name, "")}
        if kind is bool:
            options["action"] = "store_true"
        else:
            if get_origin(kind) is tuple:
                options["nargs"], kind = "*", get_args(kind)[0]
            options["metavar"] = metavar(kind)
            options |= {"choices": get_args(kind)} if get_args(kind) else {"type": kind}
        if default is inspect.Parameter.empty:
            options["metavar"] = name.upper()
            yield group.add_argument(name, **options)
        else:
            options["help"] += hint(default)
            options |= {"dest": name, "default": default} | more
            yield group.add_argument(f"--{name.rstrip('_').replace('_', '-')}", **options)


def _call(target: Any, values: Mapping[str, Any]) -> Any:
    """Call a function, or make a dataclass, with its share of the values."""
    arguments = {}
    for name, kind, *_ in _parameters(target):
        value = _call(kind, values) if dataclasses.is_dataclass(kind) else values[name]
        arguments[name] = tuple(value) if isinstance(value, list) else value
    return target(**arguments)
