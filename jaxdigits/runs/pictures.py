"""The pictures in a run folder."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxdigits.data import Dataset
from jaxdigits.evaluation.metrics import count_confusions, most_confused
from jaxdigits.runs.folder import PICTURES
from jaxdigits.runs.run import Run

SAMPLES = 50
"""Test images in the picture of predictions."""


def draw(run: Run, test: Dataset, logits: Float32[np.ndarray, "n classes"], folder: Path) -> None:
    """Draw the curves, sample predictions, the confusion matrix, and the worst mistakes.

    Nothing is drawn where `JAXDIGITS_PICTURES` is 0 in the environment.

    Args:
        run: with its results on the test split.
        test: the split.
        logits: of its images.
        folder: where to.
    """
    from jaxdigits import plots  # matplotlib would delay the first epoch

    if not plots.wanted():
        return
    with plots.optional():
        for file, figure in zip(PICTURES, _figures(run, test, logits), strict=True):
            plots.save(figure, folder / file)


def _figures(run: Run, test: Dataset, logits: Float32[np.ndarray, "n classes"]) -> tuple[Any, ...]:
    from jaxdigits import plots

    confusion = count_confusions(logits, test.labels)
    names = run.class_names
    pairs = [f"{names[a]}/{names[b]}" for a, b, _ in most_confused(confusion)]
    shown = plots.spread(len(test), SAMPLES)
    name = f"{run.network_name} on {run.fingerprint.name}"
    accuracy = run.results["test"]["accuracy"]
    trained = run.model.fit is None  # distances are no logarithms of probabilities
    return (
        plots.curves(list(run.history), name),
        plots.predictions(
            test.images[shown],
            test.labels[shown],
            logits[shown],
            names,
            f"{name}: {len(shown)} of {len(test):,} test images, as the network reads them",
            confidence=trained,
        ),
        plots.confusion(
            confusion,
            names,
            f"{name}: test accuracy {accuracy:.2%}\nmost confused: {', '.join(pairs) or 'none'}",
        ),
        plots.worst_mistakes(
            test.images,
            test.labels,
            logits,
            names,
            f"{name}: worst mistakes",
            confidence=trained,
        ),
    )
