"""Accuracies side by side: of classes, of changed images, of the members of a sweep."""

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxdigits.evaluation.calibration import Reliability
from jaxdigits.plots.figures import Figure, new_figure, own_style, plain


@own_style
def confusion(
    matrix: Int[np.ndarray, "classes classes"], class_names: Sequence[str], heading: str = ""
) -> Figure:
    """Draw a confusion matrix: a row per true class, colors as shares of the row.

    Args:
        matrix: counts, from `jaxdigits.evaluation.metrics.confusion_matrix`.
        class_names: by label.
        heading: above it.
    """
    classes = len(class_names)
    size = min(max(classes * 0.5, 4.5), 16)
    figure = new_figure(size + 1, size)
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # The logarithm lets a mistake in a thousand be seen beside the diagonal.
    picture = axes.imshow(np.log10(np.maximum(shares, 1e-4)), cmap="Blues", vmin=-4, vmax=0)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, ticks=range(-4, 1))
    bar.set_ticklabels(["0.01%", "0.1%", "1%", "10%", "100%"])
    if classes <= 26:
        style = {"ha": "center", "va": "center", "fontsize": 8 if classes <= 10 else 7}
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = "white" if shares[row, column] > 0.1 else "black"
                axes.text(column, row, str(count), color=color, in_layout=False, **style)
    names = [plain(name) for name in class_names]
    turned = classes > 10 or max(map(len, names)) > 6
    axes.set_xticks(range(classes), names, rotation=90 if turned else 0, fontsize=8)
    axes.set_yticks(range(classes), names, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(plain(heading), fontsize=11)
    return figure


@own_style
def bars(
    accuracy: Mapping[str, Float[np.ndarray, " groups"]],
    groups: Collection[str],
    dots: Mapping[str, Mapping[int, float]] | None = None,
) -> Figure:
    """Draw accuracies as bars side by side, in groups: networks on each class, for example.

    Args:
        accuracy: 0..1, by the name of each bar in a group.
        groups: their names, such as those of the classes.
        dots: published values in percent, by the name of the bar and the number of the group.

    Example:
        >>> len(bars({"linear": np.array([0.9, 0.8])}, ["0", "1"]).axes[0].patches)
        2
    """
    figure = new_figure(max(6, 0.9 * len(groups)), 4.2)
    axes = figure.add_subplot()
    width, posted = 0.8 / len(accuracy), dots or {}
    for index, (name, values) in enumerate(accuracy.items()):
        left = np.arange(len(groups)) + (index - (len(accuracy) - 1) / 2) * width
        axes.bar(left, 100 * values, width, label=name)
        for group, value in posted.get(name, {}).items():
            axes.plot(left[group], value, "o", ms=5, color="black", mfc="white")
    if posted:
        axes.plot([], [], "o", ms=5, color="black", mfc="white", label="posted")
    room = max(70 // len(groups), 1)
    names = [textwrap.fill(plain(name), max(room, 8)) for name in groups]
    turned = max(len(line) for name in names for line in name.splitlines()) > room
    axes.set_xticks(range(len(names)), names, rotation=90 if turned else 0)
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(
        _start([*accuracy.values(), *(np.array([*p.values()]) / 100 for p in posted.values())])
    )
    axes.grid(axis="y", alpha=0.3)
    figure.legend(fontsize=8, ncols=3, loc="outside lower center")
    return figure


def _start(accuracies: Iterable[np.ndarray]) -> float:
    """Where an axis of percent begins: at 0, but at 90 where all is above."""
    values = np.concatenate([np.ravel(values) for values in accuracies])
    return 90.0 if np.nanmin(values, initial=1.0) > 0.9 else 0.0


@own_style
def robustness(
    measured: Sequence[tuple[str, str, float]],
    uncalibrated: Reliability,
    calibrated: Reliability,
    temperature: float,
) -> Figure:
    """Draw accuracy as images change, and accuracy over confidence.

    Args:
        measured: kinds, strengths and accuracies, from `jaxdigits.evaluation.robustness`.
        uncalibrated: of the softmax of the logits.
        calibrated: of that at the temperature.
        temperature: divides the logits there.

    Example:
        >>> from jaxdigits.evaluation.calibration import reliability
        >>> results = [("clean", "", 0.9), ("blur", "1 pixel", 0.5)]
        >>> sure = reliability(np.eye(2, dtype=np.float32), np.arange(2, dtype=np.int32))
        >>> [axes.get_xlabel() for axes in robustness(results, sure, sure, 1.0).axes]
        ['accuracy (%)', 'confidence (%)']
    """
    figure = new_figure(11, 8)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    kinds = list(dict.fromkeys(kind for kind, _, _ in measured))
    start = _start([np.array([accuracy for _, _, accuracy in measured])])
    for row, (kind, _, accuracy) in enumerate(measured):
        left.barh(row, 100 * accuracy, color=f"C{kinds.index(kind) % 10}")
        left.text(
            start + (100 - start) / 100,
            row,
            f"{100 * accuracy:.1f}",
            va="center",
            fontsize=7,
            color="white",
        )
    names = [f"{kind} {strength}".strip() for kind, strength, _ in measured]
    left.set_yticks(range(len(measured)), names, fontsize=7)
    left.invert_yaxis()
    left.set(xlim=(start, 100), xlabel="accuracy (%)")
    left.set_title("changed test images", fontsize=10)
    for result, name in (
        (uncalibrated, "uncalibrated"),
        (calibrated, f"temperature {temperature:.2f}"),
    ):
        label = f"{name}: error {result.error:.2%}"
        some = result.counts > 0
        right.plot(100 * result.confidence[some], 100 * result.accuracy[some], "o-", label=label)
    right.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle="--")
    right.set(xlim=(0, 101), ylim=(0, 101), xlabel="confidence (%)", ylabel="accuracy (%)")
    right.set_title("calibration", fontsize=10)
    right.legend(fontsize=8)
    return figure


@own_style
def settings(
    accuracies: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float] | None],
    heading: str = "",
) -> Figure:
    """Draw the members of a sweep as dots, a row per setting, with the mean and its interval.

    Args:
        accuracies: of each member, 0..1, by setting.
        intervals: of each setting's mean; None where there is only one member.
        heading: above all.

    Example:
        >>> figure = settings({"hidden 32": [0.9, 0.92]}, {"hidden 32": (0.88, 0.94)})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['hidden 32']
    """
    figure = new_figure(7.5, 1.3 + 0.32 * len(accuracies), heading)
    axes = figure.add_subplot()
    for row, (name, values) in enumerate(accuracies.items()):
        percent = 100 * np.asarray(values)
        axes.plot(percent, np.full(len(percent), row), "o", color="C0", ms=4, alpha=0.4)
        interval = intervals[name]
        if interval is not None:
            axes.plot([100 * end for end in interval], [row, row], color="C1", lw=2)
        axes.plot(percent.mean(), row, "|", color="C1", ms=14, mew=2)
    axes.set_yticks(range(len(accuracies)), [plain(name) for name in accuracies], fontsize=8)
    axes.set_ylim(len(accuracies) - 0.5, -0.5)
    axes.set_xlabel("validation accuracy (%)")
    axes.grid(axis="x", alpha=0.3)
    return figure
