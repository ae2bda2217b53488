"""B3: a linear network with a sigmoid and the squared error.

Post B, "Loss Function" and "Training loop". Pixels of 0..1, weights and biases from N(0, 1),
batches of 256, learning rate 1, and the loss mean((onehot - sigmoid(z))^2).

Posted: 0.1272 untrained, 0.1405 after one epoch, and a curve over 41 epochs that stays below B2.
Expect: the same, and a wide band: where a sigmoid is saturated, which most are at the start, its
gradient vanishes, so how fast a network learns hangs on the weights that it happens to start with.
"""

from jaxdigits.posts import SGD, Comparison, Study, b2

SETUP = "linear, N(0, 1), squared error of the sigmoid, learning rate 1"

CONFIG = SGD.replace(
    initializer="normal", scale="unit", loss="sigmoid_mse", batch_size=256, epochs=41
)

POSTED_ACCURACY = {1: 0.1405}


def run(study: Study) -> list[Comparison]:
    """As posted."""
    trained = study.train("B3", CONFIG)
    return [
        Comparison("untrained", trained.untrained, "0.1272"),
        Comparison("after 1 epoch", trained.accuracy[:, 0], "0.1405"),
        Comparison("after 41 epochs", trained.accuracy[:, -1], f"< {b2.POSTED_MEAN}"),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
