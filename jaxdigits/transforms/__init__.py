"""What is done to pixels: geometry, random changes, scaling, and the form of a dataset.

| file | subject |
|---|---|
| `scaling.py` | from pixels of 0..255 to a network's inputs |
| `warp.py` | geometry, resampled once |
| `augment.py` | random changes, by name: functions of a key |
| `form.py` | a drawn character like MNIST's or EMNIST's |
| `skeleton.py` | strokes thinned to lines |
"""

from jaxdigits.transforms.form import (
    FORMS,
    measure_extent,
    to_emnist,
    to_form,
    to_mnist,
    to_plain,
)

__all__ = ["FORMS", "measure_extent", "to_emnist", "to_form", "to_mnist", "to_plain"]
