"""What a row is: its experiment, and what its docstring says."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxdigits.errors import ConfigError
from jaxdigits.posts import Comparison, Study, by_epoch

EXPERIMENTS = "jaxdigits.posts"

DIGITS, LETTERS, EMNIST_DIGITS = "digits", "emnist/letters", "emnist/digits"
"""What a row is about: MNIST, letters (this dataset, if no other is named), or EMNIST's digits."""

POSTS: Mapping[str, str] = {
    "A": '"Constructing a Neural Network to Classify Handwritten Digits"',
    "B": "MNIST with fastai, from a pixel baseline to ResNet-18",
    "C": '"Hello Deep Learning: Convolutional networks"',
}
"""The posts' titles; that of post B is ours."""


class Row(NamedTuple):
    """An experiment.

    Attributes:
        name: such as `A4`.
        title: in a few words, as its docstring begins.
        about: paragraphs on what the post did.
        posted: the post's claim.
        expect: what to expect, and why.
        setup: in a few words.
        run: gives the comparisons.
        data: `digits`, `letters`, or `emnist/digits`.
        most_seeds: that it is run with; None for no limit.
        pictures: functions of the study, by file name; their docstrings are the captions.
        posted_accuracy: 0..1, by epoch, from 1.
        file: of its code, in the repository.
        code: its text.
    """

    name: str
    title: str
    about: Sequence[str]
    posted: str
    expect: str
    setup: str
    run: Callable[[Study], list[Comparison]]
    data: str
    most_seeds: int | None
    pictures: Mapping[str, Callable[[Study], Any]]
    posted_accuracy: Mapping[int, float]
    file: str
    code: str


def load_row(name: str) -> Row:
    """Import a row.

    Example:
        >>> row = load_row("B6")
        >>> row.title, row.posted, row.posted_accuracy
        ('a small network', '0.8372 after one epoch, about 0.95 after 41.', {1: 0.8372, 41: 0.95})
    """
    module = importlib.import_module(f"{EXPERIMENTS}.{name.lower()}")
    title, *about = (inspect.getdoc(module) or "").split("\n\n")
    paragraphs = [paragraph for paragraph in about if not paragraph.startswith("Posted: ")]
    claims = re.search(r"^Posted: (.*?)\nExpect: (.*?)(?:\n\n|\Z)", "\n\n".join(about), re.S | re.M)
    assert claims is not None, f"{name} says not what was posted, and what to expect"
    return Row(
        name=name,
        title=" ".join(title.split()).partition(": ")[2].rstrip("."),
        about=[" ".join(paragraph.split()) for paragraph in paragraphs],
        posted=" ".join(claims[1].split()),
        expect=" ".join(claims[2].split()),
        setup=module.SETUP,
        run=module.run,
        data=getattr(module, "DATA", DIGITS),
        most_seeds=getattr(module, "SEEDS", None),
        pictures=getattr(module, "PICTURES", {}),
        posted_accuracy=by_epoch(getattr(module, "POSTED_ACCURACY", {})),
        file=f"{module.__name__.replace('.', '/')}.py",
        code=inspect.getsource(module),
    )


def choose_rows(rows: Sequence[str]) -> list[str]:
    """Return the names of the rows to run, in the order of the posts; all of them if none is given.

    Raises:
        ConfigError: there is no such row.

    Example:
        >>> choose_rows(["b5", "A4"])
        ['A4', 'B5']
    """
    folder = importlib.import_module(EXPERIMENTS)
    modules = [module.name.upper() for module in pkgutil.iter_modules(folder.__path__)]
    known = [name for name in modules if re.fullmatch(r"[A-Z]\d+", name)]
    known.sort(key=lambda name: (name[0], int(name[1:])))
    wanted = [row.upper() for row in rows]
    for row in wanted:
        if row not in known:
            raise ConfigError(f"there is no row {row}; there are {', '.join(known)}")
    return [name for name in known if name in wanted or not wanted]
