"""Figures without pyplot: no window is opened and no global state is touched."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxdigits.files import atomic_write

if TYPE_CHECKING:  # matplotlib takes half a second to import
    from matplotlib.figure import Figure
else:
    Figure = Any


def new_figure(width: float | int, height: float | int, heading: str = "") -> Figure:
    """Make an empty figure, in inches, whose parts make room for one another."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if heading:
        figure.suptitle(plain(heading), fontsize=11)
    return figure


def plain(text: str) -> str:
    """Return text in which matplotlib sees no mathematics, whatever the class is called."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
