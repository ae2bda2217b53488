"""A10: the pictures of the post.

Post A shows sample digits with their labels, the ReLU, the training loss (here with row A9), and at
the end reads five test images with the network of A9.

Posted: pictures; all five readings right (4, 6, 4, 0, 7).
Expect: with 97% accuracy, five of five in 17 cases of 20.
"""

import numpy as np
from matplotlib.figure import Figure

import jaxdigits as jd
from jaxdigits import plots
from jaxdigits.posts import Comparison, Study, a9

SETUP = "five test images read by the networks of A9; pictures"


def five(study: Study, seed: int) -> np.ndarray:
    """Five test images drawn at random, others for each seed."""
    count = len(study.test_set)
    return np.random.default_rng(seed).choice(count, min(5, count), replace=False)


def run(study: Study) -> list[Comparison]:
    """How many of five are read right."""
    trained, right = a9.train(study), []
    for seed in range(study.seeds):
        chosen = five(study, seed)
        logits = study.logits(trained, study.test_set.images[chosen], seed)
        right.append(float((logits.argmax(axis=1) == study.test_set.labels[chosen]).sum()))
    return [Comparison("right among five", right, "5", digits=1, limits=(0.0, 5.0))]


def draw_samples(study: Study) -> Figure:
    """A10: training images with their labels."""
    shown = study.train_set.examples
    titles = [study.train_set.class_names[label] for label in shown.labels[:20]]
    return plots.image_grid(shown.images[:20], titles)


def draw_activations(study: Study) -> Figure:
    """A10 and B6: the two functions between the layers, ReLU and sigmoid."""
    del study
    return plots.activations({name: jd.models.ACTIVATIONS[name] for name in ("relu", "sigmoid")})


def draw_predictions(study: Study) -> Figure:
    """A10: five test images as the first network of A9 reads them; the label where it is wrong."""
    shown = five(study, 0)
    images = study.test_set.images[shown]
    return plots.predictions(
        images,
        study.test_set.labels[shown],
        study.logits(a9.train(study), images),
        study.test_set.class_names,
    )


PICTURES = {
    "a10-samples.png": draw_samples,
    "a10-activations.png": draw_activations,
    "a10-predictions.png": draw_predictions,
}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
