"""B6: a small network.

Post B: 784-64-10 with a sigmoid, all else as B5.

Posted: 0.8372 after one epoch, about 0.95 after 41.
Expect: the same: behind the linear network at first, ahead of it at the end.
"""

from jaxdigits.posts import Comparison, Study, b5

SETUP = "784-64-10, sigmoid, N(0, 1), cross-entropy, learning rate 1"

CONFIG = b5.CONFIG.replace(model="mlp", hidden=(64,), activation="sigmoid")

POSTED_ACCURACY = {1: 0.8372, 41: 0.95}


def run(study: Study) -> list[Comparison]:
    """As posted."""
    trained = study.train("B6", CONFIG, vectorize=False)
    return [
        Comparison("after 1 epoch", trained.accuracy[:, 0], "0.8372"),
        Comparison("after 41 epochs", trained.accuracy[:, -1], "about 0.95", digits=4),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
