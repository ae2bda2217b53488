"""A6: an optimizer in two lines.

Post A, "Optimizing using Pytorch". The layer is now `nn.Linear`, which starts at U(-1, 1) / 28, and
the update is moved into a class, `BasicOptim`: p -= lr * g. Loss and learning rate are those of A5.

Posted: 0.0883 untrained, then 20 epochs between 0.6968 and 0.7525.
Expect: as A5, flat from early on, but higher: from the smaller start fewer classes get lost, and
how many depends on the seed. With the learning rate of A9, 0.001, all ten are learned.
"""

import jax
import optax

from jaxdigits.posts import Comparison, Study, Trained, a5

SETUP = "as A5, but PyTorch's start U(-1, 1)/28, and the post's BasicOptim"

CONFIG = a5.CONFIG.replace(initializer="uniform")

POSTED_ACCURACY = [
    0.6968, 0.7202, 0.7344, 0.7285, 0.7373, 0.7441, 0.7267, 0.7443, 0.7383, 0.7501, 0.7471, 0.7525,
    0.7522, 0.7486, 0.7462, 0.7390, 0.7401, 0.7495, 0.7489, 0.7470,
]  # fmt: skip
"""After each epoch."""


def basic_optim(learning_rate: float) -> optax.GradientTransformation:
    """The post's `BasicOptim`: optax adds the update to the parameters."""
    return optax.stateless(lambda grads, _: jax.tree.map(lambda g: -learning_rate * g, grads))


def as_posted(study: Study) -> Trained:
    """The networks that row A7 starts from."""
    return study.train("A6", CONFIG, optimizer=basic_optim(CONFIG.learning_rate))


def corrected(study: Study) -> Trained:
    """The same at the learning rate of row A9."""
    return study.train("A6, learning rate 0.001", CONFIG, optimizer=basic_optim(0.001))


def run(study: Study) -> list[Comparison]:
    """As posted, and with the learning rate put right."""
    posted = as_posted(study)
    return [
        Comparison("untrained", posted.untrained, "0.0883"),
        Comparison("lowest of 20 epochs", posted.accuracy.min(axis=1), "0.6968"),
        Comparison("highest of 20 epochs", posted.accuracy.max(axis=1), "0.7525"),
        Comparison("corrected, learning rate 0.001: 20 epochs", corrected(study).accuracy[:, -1]),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
