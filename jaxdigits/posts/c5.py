"""C5: the same network, its images slightly moved.

Post C, "Neural network disappointment": each test image is shifted by up to two pixels in rows and
columns, then five pixels are inverted. A human reader does not notice.

Posted: about 50%.
Expect: about so much after one pass; 61% after as many images as in the post, where MNIST is shown
four times. Trained on digits moved in the same way, the same network reads most of them, and a
convolutional network nearly all.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

import jaxdigits as jd
from jaxdigits import plots
from jaxdigits.posts import Comparison, Study, Trained, c4

DATA = c4.DATA
SETUP = "digits moved by up to 2 pixels, 5 pixels inverted"
SEEDS = 4

MOVED = jd.TrainConfig(
    model="mlp", hidden=(128, 64), scale="unit", augment=("shift", "invert"), epochs=20
)
CONVNET = jd.TrainConfig(scale="unit", augment=MOVED.augment, epochs=3)


def run(study: Study) -> list[Comparison]:
    """The network of C4, then networks trained on moved digits."""
    fallen = [
        Comparison(
            f"C4's network, {length}", study.jittered_accuracy(plain), "about 0.50", digits=4
        )
        for length, plain in c4.train(study).items()
    ]
    moved = study.train("C5, trained on moved digits", MOVED)
    convolutional = study.train("C5, convolutional", CONVNET, vectorize=False)
    return [
        *fallen,
        Comparison("trained on moved digits, 20 epochs", study.jittered_accuracy(moved)),
        Comparison("the letters network so, 3 epochs", study.jittered_accuracy(convolutional)),
    ]


def bars(
    study: Study, networks: Mapping[str, Trained], dots: Mapping[str, Mapping[int, float]]
) -> Figure:
    """Networks on test images as they are, and slightly moved: the mean over the seeds."""
    accuracy = {
        "as they are": [trained.accuracy[:, -1].mean() for trained in networks.values()],
        "slightly moved": [
            study.jittered_accuracy(trained).mean() for trained in networks.values()
        ],
    }
    return plots.bars({name: np.array(means) for name, means in accuracy.items()}, networks, dots)


def draw_moved(study: Study) -> Figure:
    """C5: test images as they are, and slightly moved: the mean over the seeds.

    Dots are the post's, on EMNIST's digits: 92.2% and about 50%.
    """
    networks = {
        **{f"C4, {length}": trained for length, trained in c4.train(study).items()},
        "trained on moved digits": study.trained["C5, trained on moved digits"],
        "letters network": study.trained["C5, convolutional"],
    }
    like_the_post = len(c4.train(study)) - 1  # which saw as many images
    dots = {"as they are": {like_the_post: 92.2}, "slightly moved": {like_the_post: 50.0}}
    return bars(study, networks, dots)


PICTURES = {"c5-moved.png": draw_moved}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
