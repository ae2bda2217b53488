"""Pictures. Each function draws a matplotlib figure; `save` writes it as a PNG.

No window is opened and no global state is touched: the figures are made without pyplot.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import log_softmax, softmax

from jaxdigits.files import replacing

RIGHT, WRONG = "#1a7f37", "#cf222e"
_GAP, _ONE_LINE, _TWO_LINES = 8, 11, 17
"""Room beside an image, and above it for a title, in pixels of the image."""
_INCHES = 0.027
"""The width of such a pixel."""


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary:
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
    figure.suptitle(heading, fontsize=11)
    # All images in one: a set of axes for each would take 10 times as long to draw.
    canvas = np.zeros((rows * height, columns * width), np.uint8)
    axes = figure.add_subplot()
    axes.axis("off")
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        bottom = (index // columns + 1) * height
        left = index % columns * width + (width - 28) // 2
        canvas[bottom - 28 : bottom, left : left + 28] = image
        color = colors[index] if colors else "black"
        axes.text(left + 14, bottom - 30, title, ha="center", fontsize=8, color=color)
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
    figure.suptitle(heading, fontsize=11)
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
        matrix: counts, as `jaxdigits.metrics.confusion_matrix` gives them.
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
    axes.set_xticks(range(classes), class_names, rotation=90 if classes > 10 else 0, fontsize=8)
    axes.set_yticks(range(classes), class_names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(heading, fontsize=11)
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
