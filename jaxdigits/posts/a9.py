"""A9: a network with one hidden layer, and the post's best result.

Post A, "End-to-End Pytorch Code". 784-30-10 with ReLU, PyTorch's start, the summed loss through the
clamp as before, but a learning rate of 0.001 and 40 epochs. The post's loss is the sum over a
batch, averaged over the batches of an epoch: 64 times the mean over the images, nearly.

Posted: 0.1002 untrained; a loss of 21.64 in the first epoch and 1.239 in the last; 0.9674.
Expect: the same. At this learning rate the clamp does no harm.
"""

import math

import numpy as np
from matplotlib.figure import Figure

from jaxdigits import plots
from jaxdigits.posts import SGD, Comparison, Study, Trained, by_epoch
from jaxdigits.training.batches import steps_per_epoch

SETUP = "784-30-10, ReLU, PyTorch's start, summed loss, learning rate 0.001"

CONFIG = SGD.replace(
    model="mlp",
    hidden=(30,),
    loss="clamped_cross_entropy",
    reduction="sum",
    learning_rate=0.001,
    epochs=40,
)

POSTED_LOSS = [
    21.6417, 12.0128, 9.2827, 7.7720, 6.8139, 6.1480, 5.5584, 5.2238, 4.8349, 4.5417,
    4.3487, 4.0278, 3.8370, 3.6725, 3.4955, 3.3646, 3.1875, 3.0511, 2.9006, 2.7899,
    2.6786, 2.5248, 2.4927, 2.3354, 2.2465, 2.1962, 2.1167, 1.9975, 1.8982, 1.8687,
    1.7184, 1.7198, 1.6514, 1.5461, 1.4962, 1.4618, 1.3701, 1.3613, 1.2674, 1.2394,
]  # fmt: skip
"""Mean over the batches of each epoch."""

POSTED_ACCURACY = {40: 0.9674}


def train(study: Study) -> Trained:
    """The networks of this row."""
    return study.train("A9", CONFIG)


def loss_per_batch(study: Study) -> np.ndarray:
    """The sum over a batch, averaged over the batches of an epoch: [seeds, epochs]."""
    images = len(study.train_set)
    return train(study).loss * images / steps_per_epoch(images, CONFIG.batch_size)


def run(study: Study) -> list[Comparison]:
    """As posted."""
    trained, loss = train(study), loss_per_batch(study)
    return [
        Comparison("untrained", trained.untrained, "0.1002"),
        Comparison("loss of a batch, epoch 1", loss[:, 0], "21.64", limits=(0.0, math.inf)),
        Comparison("loss of a batch, epoch 40", loss[:, -1], "1.239", limits=(0.0, math.inf)),
        Comparison("after 40 epochs", trained.accuracy[:, -1], "0.9674"),
    ]


def draw_loss(study: Study) -> Figure:
    """A9: the training loss; line and band are mean and range of the seeds.

    Dots, on MNIST, are the post's.
    """
    name = "784-30-10"
    return plots.seed_curves(
        {"loss of a batch of 64": {name: loss_per_batch(study)}},
        dots={name: by_epoch(POSTED_LOSS)} if study.compares else {},
        logarithmic=True,
    )


PICTURES = {"a9-loss.png": draw_loss}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
