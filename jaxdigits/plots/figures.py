"""Figures without pyplot: no window is opened and no global state is touched."""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from jaxdigits.errors import OutputError
from jaxdigits.files import atomic_write

if TYPE_CHECKING:  # matplotlib takes half a second to import
    from matplotlib.figure import Figure
else:
    Figure = Any

logger = logging.getLogger("jaxdigits")

P = ParamSpec("P")
R = TypeVar("R")


COLORS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00"),
    *("#cc79a7", "#56b4e9", "#000000", "#999933"),
)
"""Okabe and Ito's, which color-blind people can tell apart; their yellow is too pale for lines."""


def own_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Make a function draw in one style, whatever the user's `matplotlibrc` says.

    It is matplotlib's own, in other colors.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        from matplotlib import style
        from matplotlib.rcsetup import cycler

        with style.context(["default", {"axes.prop_cycle": cycler(color=COLORS)}]):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float | int, height: float | int, heading: str = "") -> Figure:
    """Make an empty figure, in inches, whose parts make room for one another."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if heading:
        figure.suptitle(plain(heading), fontsize=11)
    return figure


def wanted() -> bool:
    """Whether training and sweeps draw their results, which takes 0.6 s of CPU for each run.

    Not where `JAXDIGITS_PICTURES` is 0 in the environment, as for many short runs.
    """
    return os.environ.get("JAXDIGITS_PICTURES") != "0"


@contextlib.contextmanager
def optional() -> Iterator[None]:
    """Draw what others can do without: where it fails, say so in a sentence, and go on.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:  # of matplotlib, its fonts, or the user's set-up of it
        reason = str(error).partition("\n")[0] or type(error).__name__
        logger.warning("pictures could not be drawn (%s); all else is written", reason)


def plain(text: str) -> str:
    """Return text in which matplotlib sees no mathematics, whatever the class is called."""
    return text.replace("$", r"\$")


@own_style
def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
