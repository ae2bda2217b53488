"""B4: softmax in the sigmoid's place.

Post B: as B3, with the loss mean((onehot - softmax(z))^2), in which the classes compete.

Posted: 0.1619 after one epoch, and a curve over 41 epochs that stays below B2.
Expect: better than B3, and the same wide band: a saturated softmax has no gradient either. One seed
in ten or so does get past the baseline.
"""

from jaxdigits.posts import Comparison, Study, b2, b3

SETUP = "linear, N(0, 1), squared error of the softmax, learning rate 1"

CONFIG = b3.CONFIG.replace(loss="softmax_mse")

POSTED_ACCURACY = {1: 0.1619}


def run(study: Study) -> list[Comparison]:
    """As posted."""
    trained = study.train("B4", CONFIG)
    return [
        Comparison("after 1 epoch", trained.accuracy[:, 0], "0.1619"),
        Comparison("after 41 epochs", trained.accuracy[:, -1], f"< {b2.POSTED_MEAN}"),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
