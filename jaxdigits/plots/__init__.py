"""Pictures of results: a function for each draws a matplotlib figure, `save` writes it as a PNG.

    from jaxdigits import plots
    plots.save(plots.image_grid(images, titles), Path("images.png"))

| file | pictures |
|---|---|
| `images.py` | images in rows: examples, predictions, mistakes, weights |
| `lines.py` | metrics over epochs, throughput, activations |
| `comparisons.py` | confusion, accuracy per class, per change of images, and per setting |
| `figures.py` | empty figures, and `save` |

They take arrays, names and numbers, and know no run. matplotlib is imported with the first figure.
"""

from jaxdigits.plots.comparisons import bars, confusion, robustness, settings
from jaxdigits.plots.figures import optional, save, wanted
from jaxdigits.plots.images import image_grid, predictions, spread, weights, worst_mistakes
from jaxdigits.plots.lines import activations, curves, scaling, seed_curves

__all__ = [
    "activations",
    "bars",
    "confusion",
    "curves",
    "image_grid",
    "optional",
    "predictions",
    "robustness",
    "save",
    "scaling",
    "seed_curves",
    "settings",
    "spread",
    "wanted",
    "weights",
    "worst_mistakes",
]
