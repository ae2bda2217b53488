"""Lines: over epochs, over numbers, over what grows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxdigits.plots.figures import Figure, new_figure, own_style, plain


@own_style
def curves(history: Sequence[Mapping[str, Any]], heading: str = "") -> Figure:
    """Draw training and validation loss and accuracy over the epochs.

    Args:
        history: the lines of `metrics.jsonl`.
        heading: above both.
    """
    figure = new_figure(9, 3.6, heading)
    panels = ("loss", "loss", 1), ("accuracy", "accuracy (%)", 100)
    for axes, (quantity, label, factor) in zip(figure.subplots(1, 2), panels, strict=True):
        for part, style in (("train", "--"), ("validation", "-")):
            points = [
                (line["epoch"], factor * line[f"{part}_{quantity}"])
                for line in history
                if line.get(f"{part}_{quantity}") is not None
                # The untrained network would squeeze all that follows into a corner.
                and (line["epoch"] > 0 or len(history) == 1)
            ]
            if points:
                axes.plot(*zip(*points, strict=True), style, marker=".", label=part)
        _label_epochs(axes, label)
        if len(history) == 1:
            axes.set_xlim(-0.5, 0.5)
        if axes.lines:
            axes.legend()
    return figure


@own_style
def seed_curves(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "seeds epochs"]]],
    *,
    dots: Mapping[str, Mapping[int, float]] | None = None,
    levels: Mapping[str, float] | None = None,
    logarithmic: bool = False,
    each_seed: bool = False,
    broken: Collection[str] = (),
) -> Figure:
    """Draw curves over the epochs from 1: the mean over seeds as a line, their range as a band.

    Args:
        panels: curves by name, for each quantity, which labels the axis.
        dots: published values by epoch, in the colors of the curves of the same names, in the
            first panel.
        levels: dashed horizontal lines in the first panel.
        logarithmic: whether the quantities' axes are.
        each_seed: a thin line per seed instead of a band.
        broken: the names of curves to draw dashed.

    Example:
        >>> figure = seed_curves({"accuracy": {"A4": np.array([[0.8, 0.9], [0.7, 0.9]])}})
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['A4']
    """
    dots, levels = dots or {}, levels or {}
    figure = new_figure(2 + 5 * len(panels), 4.6)
    grid = figure.subplots(1, len(panels), squeeze=False).ravel()
    for axes, (quantity, lines) in zip(grid, panels.items(), strict=True):
        for name, values in lines.items():
            epochs = np.arange(1, values.shape[1] + 1)
            style = "--" if name in broken else "-"
            (line,) = axes.plot(epochs, values.mean(axis=0), style, label=name)
            color = line.get_color()
            if each_seed:
                axes.plot(epochs, values.T, style, color=color, lw=0.6, alpha=0.5)
            else:
                low, high = values.min(axis=0), values.max(axis=0)
                axes.fill_between(epochs, low, high, color=color, alpha=0.2)
            if axes is grid[0] and name in dots:
                axes.plot(*zip(*dots[name].items(), strict=True), "o", ms=4, color=color)
        if axes is grid[0]:
            for name, level in levels.items():
                axes.axhline(level, ls="--", color="black", lw=1, label=name)
            if dots:
                axes.plot([], [], "o", ms=3, color="gray", label="posted")
            figure.legend(fontsize=8, loc="outside lower center", ncols=3)
        if logarithmic:
            axes.set_yscale("log")
        _label_epochs(axes, quantity)
    return figure


def _label_epochs(axes: Any, quantity: str) -> None:
    axes.set(xlabel="epoch", ylabel=quantity)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)


@own_style
def activations(functions: Mapping[str, Callable[[Any], Any]]) -> Figure:
    """Draw functions of one number, from -4 to 4.

    Example:
        >>> len(activations({"relu": lambda x: np.maximum(x, 0)}).axes)
        1
    """
    figure = new_figure(3.5 * len(functions), 3)
    inputs = np.linspace(-4, 4, 401)
    grid = figure.subplots(1, len(functions), squeeze=False).ravel()
    for axes, (name, function) in zip(grid, functions.items(), strict=True):
        axes.plot(inputs, np.asarray(function(inputs)))
        axes.set_title(name, fontsize=11)
        axes.grid(alpha=0.3)
    return figure


@own_style
def scaling(
    panels: Mapping[str, Mapping[str, Sequence[tuple[int, float, float]]]], heading: str = ""
) -> Figure:
    """Draw how training throughput grows, and below it how well the machine is used.

    Args:
        panels: a column for each, by what grows. In it, points by network: how much of it,
            images/s, and the share of a matrix product's speed, 0..1.
        heading: above all.

    Example:
        >>> points = [(64, 1000.0, 0.1), (256, 3000.0, 0.3)]
        >>> figure = scaling({"batch size": {"linear": points}})
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['', 'batch size']
    """
    figure = new_figure(3.6 * max(len(panels), 1) + 0.4, 5.6, heading)
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", sharey="row")
    colors: dict[str, str] = {}
    for (upper, lower), (label, lines) in zip(grid.T, panels.items(), strict=True):
        ticks = sorted({amount for points in lines.values() for amount, _, _ in points})
        for name, points in lines.items():
            color = colors.setdefault(name, f"C{len(colors)}")
            amounts, rates, shares = zip(*points, strict=True)
            upper.plot(amounts, rates, "o-", color=color, label=plain(name), markersize=4)
            lower.plot(amounts, [100 * share for share in shares], "o-", color=color, markersize=4)
        upper.set_xscale("log", base=2)
        upper.set_yscale("log")
        lower.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        lower.set_xlabel(label)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
    for axes in grid[:, 0]:
        axes.tick_params(labelleft=True)
    grid[0, 0].set_ylabel("images/s")
    grid[1, 0].set_ylabel("share of a matrix product's speed (%)")
    grid[1, 0].set_ylim(bottom=0)
    handles = {h.get_label(): h for axes in grid[0] for h in axes.get_lines()}
    figure.legend(handles.values(), handles.keys(), ncols=4, loc="outside lower center", fontsize=9)
    return figure
