"""Pictures. Each function draws a matplotlib figure; `save` writes it as a PNG.

No window is opened and no global state is touched: the figures are made without pyplot.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import log_softmax, softmax

from jaxdigits.evaluation.calibration import Reliability
from jaxdigits.files import atomic_write

RIGHT, WRONG = "#1a7f37", "#cf222e"
_GAP, _ONE_LINE, _TWO_LINES = 8, 11, 17
"""Room beside an image, and above it for a title, in pixels of the image."""
_INCHES = 0.027
"""The width of such a pixel."""


def _plain(text: str) -> str:
    """Text in which matplotlib sees no mathematics, whatever the class is called."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def image_grid(
    images: UInt8[np.ndarray, "n 28 28"],
    titles: Sequence[str],
    colors: Sequence[str] | None = None,
    heading: str = "",
    columns: int = 10,
) -> Figure:
    """Images in rows, each with its title above it.

    Args:
        images: pixels 0..255, drawn as dark ink on white.
        titles: one for each image, of one line or two.
        colors: of the titles; black if not given.
        heading: above them all.
        columns: images a row.

    Example:
        >>> import numpy as np
        >>> figure = image_grid(np.zeros((3, 28, 28), np.uint8), ["a", "b", "c"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['a', 'b', 'c']
    """
    lines = [line for title in titles for line in title.splitlines()]
    # In pixels of an image: as wide as the longest line needs, as high as the number of lines.
    width = max(28 + _GAP, 3 * max(map(len, lines), default=0))
    height = 28 + (_TWO_LINES if any("\n" in title for title in titles) else _ONE_LINE)
    columns = max(min(columns, len(images)), 1)
    rows = max(-(-len(images) // columns), 1)
    size = (max(columns * width * _INCHES, 4), rows * height * _INCHES + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    if heading:
        figure.suptitle(_plain(heading), fontsize=11)
    # All images in one: a set of axes for each would take 10 times as long to draw.
    canvas = np.zeros((rows * height, columns * width), np.uint8)
    axes = figure.add_subplot()
    axes.axis("off")
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        bottom = (index // columns + 1) * height
        left = index % columns * width + (width - 28) // 2
        canvas[bottom - 28 : bottom, left : left + 28] = image
        color = colors[index] if colors else "black"
        axes.text(left + 14, bottom - 30, _plain(title), ha="center", fontsize=8, color=color)
    axes.imshow(canvas, cmap="gray_r", vmin=0, vmax=255)
    return figure


def spread(count: int, wanted: int) -> Int[np.ndarray, " shown"]:
    """Indices of at most `wanted` of `count` images, evenly spread: some files are in label order.

    Example:
        >>> spread(10, 4).tolist(), spread(2, 4).tolist()
        ([0, 3, 6, 9], [0, 1])
    """
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64)


def curves(history: Sequence[Mapping[str, Any]], heading: str = "") -> Figure:
    """Loss and accuracy over the epochs, training and validation.

    Args:
        history: the lines of `metrics.jsonl`.
        heading: above both.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(_plain(heading), fontsize=11)
    panels = (("loss", 1, ""), ("accuracy", 100, " (%)"))
    for position, (quantity, factor, unit) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 2, position)
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
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity + unit)
        if len(history) == 1:
            axes.set_xlim(-0.5, 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return figure


def confusion(
    matrix: Int[np.ndarray, "classes classes"], class_names: Sequence[str], heading: str = ""
) -> Figure:
    """The confusion matrix: a row for each true class, colours as shares of the row.

    Args:
        matrix: counts, as `jaxdigits.evaluation.metrics.confusion_matrix` gives them.
        class_names: by label.
        heading: above it.
    """
    classes = len(class_names)
    size = min(max(classes * 0.5, 4.5), 16)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # The logarithm lets a mistake in a thousand be seen beside the diagonal.
    picture = axes.imshow(np.log10(np.maximum(shares, 1e-4)), cmap="Blues", vmin=-4, vmax=0)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, ticks=range(-4, 1))
    bar.set_ticklabels(["0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    if classes <= 26:
        font = 8 if classes <= 10 else 7
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = "white" if shares[row, column] > 0.1 else "black"
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=font, color=color
                )
    names = [_plain(name) for name in class_names]
    axes.set_xticks(range(classes), names, rotation=90 if classes > 10 else 0, fontsize=8)
    axes.set_yticks(range(classes), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(_plain(heading), fontsize=11)
    return figure


def predictions(
    images: UInt8[np.ndarray, "n 28 28"],
    labels: Int[np.ndarray, " n"],
    logits: Float[np.ndarray, "n classes"],
    class_names: Sequence[str],
    heading: str = "",
    *,
    confidence: bool = True,
) -> Figure:
    """Images with what the network says: green where right; red with the truth where wrong.

    Args:
        images: pixels 0..255.
        labels: the truth.
        logits: of the network.
        class_names: by label.
        heading: above them all.
        confidence: whether to write the probability, the softmax of the logits.
    """
    titles, colors = [], []
    for label, row in zip(labels, softmax(logits, axis=-1), strict=True):
        guess = int(row.argmax())
        title = class_names[guess]
        if confidence and np.isfinite(row[guess]):
            title += f" {row[guess]:.0%}"
        titles.append(title if guess == label else f"{title}\n(is {class_names[label]})")
        colors.append(RIGHT if guess == label else WRONG)
    return image_grid(images, titles, colors, heading)


def worst_mistakes(
    images: UInt8[np.ndarray, "n 28 28"],
    labels: Int[np.ndarray, " n"],
    logits: Float[np.ndarray, "n classes"],
    class_names: Sequence[str],
    heading: str = "",
    *,
    count: int = 40,
    confidence: bool = True,
) -> Figure:
    """The wrong predictions of the least probability for the truth, the worst first.

    Arguments as of `predictions`, and the greatest number of images to show.
    """
    of_truth = log_softmax(logits.astype(np.float64), axis=-1)[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(logits.argmax(axis=-1) != labels)
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:count]
    if not len(worst):
        return image_grid(images[:0], [], heading=f"{heading}: none")
    return predictions(
        images[worst], labels[worst], logits[worst], class_names, heading, confidence=confidence
    )


def seed_curves(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "seeds epochs"]]],
    *,
    dots: Mapping[str, Sequence[float]] | None = None,
    levels: Mapping[str, float] | None = None,
    logarithmic: bool = False,
    each_seed: bool = False,
    broken: Collection[str] = (),
) -> Figure:
    """Curves over the epochs from 1: the mean over the seeds as a line, their range as a band.

    Args:
        panels: for each quantity, which names its axis, the curves by their names.
        dots: figures of others, an epoch each, in the colours of the curves of the same names; they
            belong to the first panel.
        levels: broken lines across the first panel.
        logarithmic: the quantities' axes.
        each_seed: thin lines for the seeds in the place of a band.
        broken: the names of curves that are drawn as broken lines.

    Example:
        >>> import numpy as np
        >>> figure = seed_curves({"accuracy": {"A4": np.array([[0.8, 0.9], [0.7, 0.9]])}})
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['A4']
    """
    dots, levels = dots or {}, levels or {}
    figure = Figure(figsize=(2 + 5 * len(panels), 4.6), layout="constrained")
    for position, (quantity, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        for name, values in curves.items():
            epochs = np.arange(1, values.shape[1] + 1)
            style = "--" if name in broken else "-"
            (line,) = axes.plot(epochs, values.mean(axis=0), style, label=name)
            color = line.get_color()
            if each_seed:
                axes.plot(epochs, values.T, style, color=color, lw=0.6, alpha=0.5)
            else:
                low, high = values.min(axis=0), values.max(axis=0)
                axes.fill_between(epochs, low, high, color=color, alpha=0.2)
            if position == 1 and name in dots:
                axes.plot(epochs[: len(dots[name])], dots[name], "o", ms=3, color=color)
        if position == 1:
            for name, level in levels.items():
                axes.axhline(level, ls="--", color="black", lw=1, label=name)
            if dots:
                axes.plot([], [], "o", ms=3, color="grey", label="posted")
            figure.legend(fontsize=8, loc="outside lower center", ncols=3)
        if logarithmic:
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure


def activations(functions: Mapping[str, Callable[[Any], Any]]) -> Figure:
    """Functions of one number, from -4 to 4.

    Example:
        >>> len(activations({"relu": lambda x: np.maximum(x, 0)}).axes)
        1
    """
    figure = Figure(figsize=(3.5 * len(functions), 3), layout="constrained")
    inputs = np.linspace(-4, 4, 401)
    for position, (name, function) in enumerate(functions.items(), start=1):
        axes = figure.add_subplot(1, len(functions), position)
        axes.plot(inputs, np.asarray(function(inputs)))
        axes.set_title(name, fontsize=11)
        axes.grid(alpha=0.3)
    return figure


def weights(images: Float[np.ndarray, "n height width"], titles: Sequence[str]) -> Figure:
    """Weights as images, all on one scale: red where a bright pixel speaks for it, blue against.

    Example:
        >>> import numpy as np
        >>> figure = weights(np.zeros((2, 28, 28)), ["0", "1"])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['0', '1']
    """
    columns = min(len(images), 5)
    figure = Figure(figsize=(1.6 * columns + 0.6, 1.8 * -(-len(images) // columns)))
    figure.set_layout_engine("constrained")
    # The few greatest would leave the others pale.
    limit = float(np.quantile(np.abs(images), 0.99)) or 1.0
    grid = figure.subplots(-(-len(images) // columns), columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    colors = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
    for axes, image, title in zip(grid, images, titles, strict=False):
        axes.imshow(image, colors.cmap, colors.norm)
        axes.set_title(_plain(title), fontsize=10 if len(title) < 12 else 6)
    figure.colorbar(colors, ax=list(grid), shrink=0.8)
    return figure


def class_bars(
    accuracy: Mapping[str, Float[np.ndarray, " classes"]], class_names: Sequence[str]
) -> Figure:
    """The accuracy of several networks on each class, as bars side by side.

    Args:
        accuracy: 0..1, by the name of the network.
        class_names: by label.

    Example:
        >>> import numpy as np
        >>> len(class_bars({"linear": np.array([0.9, 0.8])}, ["0", "1"]).axes[0].patches)
        2
    """
    figure = Figure(figsize=(max(6, 0.9 * len(class_names)), 4.2), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(accuracy)
    for index, (name, values) in enumerate(accuracy.items()):
        left = np.arange(len(class_names)) + (index - (len(accuracy) - 1) / 2) * width
        axes.bar(left, 100 * values, width, label=name)
    names = [_plain(name) for name in class_names]
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_ylabel("accuracy (%)")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(fontsize=8, ncols=3, loc="outside lower center")
    return figure


def scaling(
    panels: Mapping[str, Mapping[str, Sequence[tuple[int, float, float]]]], heading: str = ""
) -> Figure:
    """How the rate of training grows, and below it the use that is made of the machine.

    Args:
        panels: a column for each, by what grows; in it the networks, by name, each with its points:
            how much of it, images a second, and the share of a matrix product's speed.
        heading: above all.

    Example:
        >>> points = [(64, 1000.0, 0.1), (256, 3000.0, 0.3)]
        >>> figure = scaling({"batch size": {"linear": points}})
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['', 'batch size']
    """
    figure = Figure(figsize=(3.6 * max(len(panels), 1) + 0.4, 5.6), layout="constrained")
    figure.suptitle(_plain(heading), fontsize=10)
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", sharey="row")
    colors: dict[str, str] = {}
    for (upper, lower), (label, lines) in zip(grid.T, panels.items(), strict=True):
        ticks = sorted({amount for points in lines.values() for amount, _, _ in points})
        for name, points in lines.items():
            color = colors.setdefault(name, f"C{len(colors)}")
            amounts, rates, shares = zip(*points, strict=True)
            upper.plot(amounts, rates, "o-", color=color, label=_plain(name), markersize=4)
            lower.plot(amounts, [100 * share for share in shares], "o-", color=color, markersize=4)
        upper.set_xscale("log", base=2)
        upper.set_yscale("log")
        lower.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        lower.set_xlabel(label)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
    for axes in grid[:, 0]:
        axes.tick_params(labelleft=True)
    grid[0, 0].set_ylabel("images a second")
    grid[1, 0].set_ylabel("share of a matrix product's speed (%)")
    grid[1, 0].set_ylim(bottom=0)
    handles = {h.get_label(): h for axes in grid[0] for h in axes.get_lines()}
    figure.legend(handles.values(), handles.keys(), ncols=4, loc="outside lower center", fontsize=9)
    return figure


def robustness(
    measured: Sequence[tuple[str, str, float]],
    plain: Reliability,
    scaled: Reliability,
    temperature: float,
) -> Figure:
    """How accuracy falls as images change, and how often the network is right when it is so sure.

    Args:
        measured: kinds, strengths and accuracies, as `evaluation.robustness` gives them.
        plain: of the network's own probabilities.
        scaled: of those at the temperature.
        temperature: by which logits are divided there.

    Example:
        >>> import numpy as np
        >>> from jaxdigits.evaluation.calibration import reliability
        >>> found = [("clean", "", 0.9), ("blur", "1 pixel", 0.5)]
        >>> sure = reliability(np.eye(2, dtype=np.float32), np.arange(2, dtype=np.int32))
        >>> [axes.get_xlabel() for axes in robustness(found, sure, sure, 1.0).axes]
        ['right, %', 'probability, %']
    """
    figure = Figure((11, 8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    kinds = list(dict.fromkeys(kind for kind, _, _ in measured))
    for row, (kind, _, accuracy) in enumerate(measured):
        left.barh(row, 100 * accuracy, color=f"C{kinds.index(kind) % 10}")
        left.text(1, row, f"{100 * accuracy:.1f}", va="center", fontsize=7, color="white")
    names = [f"{kind} {strength}".strip() for kind, strength, _ in measured]
    left.set_yticks(range(len(measured)), names, fontsize=7)
    left.invert_yaxis()
    left.set(xlim=(0, 100), xlabel="right, %")
    left.set_title("test images, changed", fontsize=10)
    for found, label in (
        (plain, f"as it is: error {100 * plain.error:.2f} %"),
        (scaled, f"temperature {temperature:.2f}: error {100 * scaled.error:.2f} %"),
    ):
        there = found.counts > 0
        right.plot(
            100 * found.confidence[there], 100 * found.accuracy[there], marker="o", label=label
        )
    right.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle="--")
    right.set(xlim=(0, 101), ylim=(0, 101), xlabel="probability, %", ylabel="right, %")
    right.set_title("how far to trust it", fontsize=10)
    right.legend(fontsize=8)
    return figure


def settings(
    accuracies: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float] | None],
    heading: str = "",
) -> Figure:
    """The members of a sweep as dots, a row for each setting, the mean and its interval above them.

    Args:
        accuracies: of each member, 0..1, by setting.
        intervals: of each setting's mean; None where there is one member only.
        heading: above all.

    Example:
        >>> figure = settings({"hidden 32": [0.9, 0.92]}, {"hidden 32": (0.88, 0.94)})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['hidden 32']
    """
    figure = Figure(figsize=(7.5, 1.3 + 0.32 * len(accuracies)), layout="constrained")
    figure.suptitle(_plain(heading), fontsize=11)
    axes = figure.add_subplot()
    for row, (name, values) in enumerate(accuracies.items()):
        percent = 100 * np.asarray(values)
        axes.plot(percent, np.full(len(percent), row), "o", color="C0", ms=4, alpha=0.4)
        interval = intervals[name]
        if interval is not None:
            axes.plot([100 * end for end in interval], [row, row], color="C1", lw=2)
        axes.plot(percent.mean(), row, "|", color="C1", ms=14, mew=2)
    axes.set_yticks(range(len(accuracies)), [_plain(name) for name in accuracies], fontsize=8)
    axes.set_ylim(len(accuracies) - 0.5, -0.5)
    axes.set_xlabel("validation accuracy (%)")
    axes.grid(axis="x", alpha=0.3)
    return figure
