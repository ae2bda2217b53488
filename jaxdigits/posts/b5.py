"""B5: cross-entropy, and the linear network learns.

Post B: as B4, with the cross-entropy as loss. Its gradient, softmax - onehot, does not vanish where
the network is wrong, however sure it is.

Posted: 0.8431 after one epoch, 0.915 after 41.
Expect: the same, above the baseline from the first epoch on.
"""

from jaxdigits.posts import Comparison, Study, b3

SETUP = "linear, N(0, 1), cross-entropy, learning rate 1"

CONFIG = b3.CONFIG.replace(loss="cross_entropy")

POSTED_ACCURACY = {1: 0.8431, 41: 0.915}


def run(study: Study) -> list[Comparison]:
    """As posted."""
    trained = study.train("B5", CONFIG)
    return [
        Comparison("after 1 epoch", trained.accuracy[:, 0], "0.8431"),
        Comparison("after 41 epochs", trained.accuracy[:, -1], "0.915", digits=4),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
