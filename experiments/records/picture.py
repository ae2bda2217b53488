"""Draw the records: test accuracy against training time, and against parameters.

    python experiments/records/picture.py

Gray points are the field's; most are the best epoch on the test images, ours the last one.
"""

import json
from statistics import fmean
from typing import NamedTuple

import numpy as np
from record import RESULTS

from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.plots.figures import new_figure, own_style, save


class Point(NamedTuple):
    """What others have reached on MNIST.

    Attributes:
        name: as it is known.
        params: its parameters.
        accuracy: 0..1.
    """

    name: str
    params: float
    accuracy: float


FIELD = (
    Point("MnistSimpleCNN", 1.1e6, 0.9970),
    Point("WaveMix", 3_566, 0.99),
    Point("hexhowells.com", 575, 0.98),
    Point("deep mlp, arXiv 1003.0358", 12.1e6, 0.9965),
)


@own_style
def draw(records: dict) -> None:
    """Draw both, and save them beside the results."""
    figure = new_figure(9, 4)
    time, size = figure.subplots(1, 2)
    size.semilogx([p.params for p in FIELD], [100 * p.accuracy for p in FIELD], "o", color="0.6")
    for point in FIELD:
        side = "right" if point.params > 1e5 else "left"
        away = 0.03 if point is FIELD[0] else -0.09
        place = (point.params, 100 * point.accuracy + away)
        size.annotate(point.name, place, fontsize=7, color="0.4", ha=side)
    for name, record in records.items():
        rows = record["seeds"]
        mean, low, high = (100 * value for value in mean_interval([row["test"] for row in rows]))
        bars = np.array([[mean - low], [high - mean]])
        seconds = fmean(row["seconds"] for row in rows)
        for axes, place in ((time, seconds), (size, record["params"])):
            axes.errorbar(place, mean, yerr=bars, fmt="o", capsize=3, label=name.replace("_", " "))
    time.set(xlabel="seconds, two CPU cores", ylabel="test accuracy (%)", xlim=(0, None))
    size.set(xlabel="parameters", ylim=(97.8, 99.9))
    time.legend(loc="lower left")
    save(figure, RESULTS.with_suffix(".png"))


if __name__ == "__main__":
    draw(
        {
            name: record
            for name, record in json.loads(RESULTS.read_text()).items()
            if record["config"]["dataset"] == "mnist"
        }
    )
