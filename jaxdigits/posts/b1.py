"""B1: the nearest mean image, by mean absolute error.

Post B, "Building a baseline: pixel difference". The images of each digit are averaged; a test image
is given to the digit from whose mean image its pixels differ least. Nothing is trained. The post's
accuracy is the mean over the digits, each counting the same.

Posted: an accuracy for each digit from 0 to 9, and 0.6610.
Expect: the same digits. There is no chance in it.
"""

import numpy as np
from matplotlib.figure import Figure

import jaxdigits as jd
from jaxdigits import plots
from jaxdigits.posts import Comparison, Study, Trained

SETUP = "nearest mean image, mean absolute error"

CONFIG = jd.TrainConfig(model="pixel", distance="absolute", scale="unit")

POSTED = "0.8153 0.9982 0.4234 0.6089 0.6680 0.3262 0.7871 0.7646 0.4425 0.7760"
POSTED_MEAN = "0.6610"


def compare(study: Study, trained: Trained, posted: str, mean: str) -> list[Comparison]:
    """The accuracy of each class, and their mean."""
    accuracy = study.accuracy_per_class(trained)
    return [
        Comparison.exact("each class", accuracy, posted),
        Comparison.exact("mean over the classes", accuracy.mean(), mean),
    ]


def run(study: Study) -> list[Comparison]:
    """As posted."""
    return compare(study, study.train("B1", CONFIG), POSTED, POSTED_MEAN)


def draw_means(study: Study) -> Figure:
    """B1: the mean image of each class."""
    means = study.train("B1", CONFIG).params["means"][0]
    return plots.image_grid(np.round(255 * means).astype(np.uint8), study.train_set.class_names)


PICTURES = {"b1-means.png": draw_means}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
