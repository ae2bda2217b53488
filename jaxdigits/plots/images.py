"""Images side by side: examples, predictions, mistakes, weights."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Num, UInt8
from scipy.special import log_softmax, softmax

from jaxdigits.plots.figures import Figure, new_figure, own_style, plain

RIGHT, WRONG = "#1a7f37", "#cf222e"
Images = Num[np.ndarray, "n ..."]
_GAP, _ONE_LINE, _TWO_LINES = 8, 11, 17
"""Room beside an image, and above it for a title, in pixels of the image."""
_INCHES = 0.027
"""The width of such a pixel."""


@own_style
def image_grid(
    images: Images,
    titles: Sequence[str],
    colors: Sequence[str] | None = None,
    heading: str = "",
    columns: int = 10,
) -> Figure:
    """Draw images in rows, each with its title above it.

    Args:
        images: [n, height, width] or [n, height, width, channels]; uint8, 0..255, or floats, 0..1.
            Gray ones are drawn as dark ink on white, those with three channels in color.
        titles: one for each image, of one line or two.
        colors: of the titles. Default: black.
        heading: above them all.
        columns: images per row.

    Example:
        >>> figure = image_grid(np.zeros((3, 28, 28), np.uint8), ["a", "b", "c"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['a', 'b', 'c']
    """
    lines = [line for title in titles for line in title.splitlines()]
    # In pixels of an image: as wide as the longest line needs, as high as the number of lines.
    pixels, paper = _drawable(images)
    high, wide = pixels.shape[1:3]
    width = max(wide + _GAP, 3 * max(map(len, lines), default=0))
    height = high + (_TWO_LINES if any("\n" in title for title in titles) else _ONE_LINE)
    columns = max(min(columns, len(images)), 1)
    rows = max(-(-len(images) // columns), 1)
    figure = new_figure(max(columns * width * _INCHES, 4), rows * height * _INCHES + 0.4, heading)
    # All images in one: a set of axes for each would take 10 times as long to draw.
    canvas = np.full((rows * height, columns * width, *pixels.shape[3:]), paper, np.uint8)
    axes = figure.add_subplot()
    axes.axis("off")
    for index, (image, title) in enumerate(zip(pixels, titles, strict=True)):
        bottom = (index // columns + 1) * height
        left = index % columns * width + (width - wide) // 2
        canvas[bottom - high : bottom, left : left + wide] = image
        color = colors[index] if colors else "black"
        axes.text(
            left + wide // 2,
            bottom - high - 2,
            plain(title),
            ha="center",
            fontsize=8,
            color=color,
            in_layout=False,  # it is within the axes
        )
    axes.imshow(canvas, cmap="gray_r", vmin=0, vmax=255)
    return figure


def spread(count: int, wanted: int) -> Int[np.ndarray, " shown"]:
    """Return indices of at most `wanted` of `count` images, evenly spaced: files may be in order.

    Example:
        >>> spread(10, 4).tolist(), spread(2, 4).tolist()
        ([0, 3, 6, 9], [0, 1])
    """
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64)


@own_style
def predictions(
    images: Images,
    labels: Int[np.ndarray, " n"],
    logits: Float[np.ndarray, "n classes"],
    class_names: Sequence[str],
    heading: str = "",
    *,
    confidence: bool = True,
) -> Figure:
    """Draw images with their predictions: green where right, red with the true class where wrong.

    Args:
        images: see `image_grid`.
        labels: the true classes.
        logits: of each image.
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


@own_style
def worst_mistakes(
    images: Images,
    labels: Int[np.ndarray, " n"],
    logits: Float[np.ndarray, "n classes"],
    class_names: Sequence[str],
    heading: str = "",
    *,
    count: int = 40,
    confidence: bool = True,
) -> Figure:
    """Draw at most `count` wrong predictions, those first that find the true class least probable.

    Other arguments: see `predictions`.
    """
    of_truth = log_softmax(logits.astype(np.float64), axis=-1)[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(logits.argmax(axis=-1) != labels)
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:count]
    if not len(worst):
        return image_grid(images[:0], [], heading=f"{heading}: none")
    return predictions(
        images[worst], labels[worst], logits[worst], class_names, heading, confidence=confidence
    )


def _drawable(images: Images) -> tuple[UInt8[np.ndarray, "n ..."], int]:
    """Pixels of 0..255, with three channels or without any; and what stands for white."""
    pixels = images
    if not np.issubdtype(images.dtype, np.integer):
        pixels = np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
    if pixels.ndim == 4 and pixels.shape[-1] == 3:
        return pixels, 255
    return (pixels if pixels.ndim == 3 else pixels.mean(axis=-1).astype(np.uint8)), 0


@own_style
def weights(images: Float[np.ndarray, "n height width"], titles: Sequence[str]) -> Figure:
    """Draw weights as images, all on one scale: red speaks for the class, blue against it.

    Example:
        >>> figure = weights(np.zeros((2, 28, 28)), ["0", "1"])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['0', '1']
    """
    columns = min(len(images), 5)
    rows = -(-len(images) // columns)
    figure = new_figure(1.6 * columns + 0.6, 1.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    limit = float(np.quantile(np.abs(images), 0.99)) or 1.0  # the largest would pale the others
    shown = []
    for axes, image, title in zip(grid, images, titles, strict=False):
        shown.append(axes.imshow(image, "RdBu_r", vmin=-limit, vmax=limit))
        short = title if len(title) <= 24 else f"{title[:23]}\N{HORIZONTAL ELLIPSIS}"
        axes.set_title(plain(short), fontsize=10 if len(title) < 12 else 6)
    figure.colorbar(shown[0], ax=list(grid), shrink=0.8)
    return figure
