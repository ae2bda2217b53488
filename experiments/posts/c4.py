"""C4: the digit network of the chapter before.

Post C begins with it: 784-128-64-10, ReLU, softmax, stochastic gradient descent at a learning rate
of 0.01, batches of 64, one pass over EMNIST's 240,000 digits. On other data it makes as many passes
as show it about so many images, four on MNIST.

Posted: 92.2 %, on EMNIST digits.
Expect: about so much.
"""

import jaxdigits as jd
from jaxdigits.reproduction import Comparison, Study, Trained

DATA = "emnist/digits"
SETUP = "784-128-64-10, ReLU, SGD, learning rate 0.01, 240,000 images"

IMAGES = 240_000


def train(study: Study) -> Trained:
    """The networks of this row."""
    config = jd.TrainConfig(
        model="mlp",
        hidden=(128, 64),
        scale="unit",
        optimizer="sgd",
        schedule="constant",
        learning_rate=0.01,
        batch_size=64,
        epochs=max(round(IMAGES / len(study.train_set)), 1),
    )
    return study.train("C4", config)


def run(study: Study) -> list[Comparison]:
    """As posted."""
    return [Comparison("at the end", train(study).accuracy[:, -1], "0.922")]
