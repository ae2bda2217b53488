"""A7: PyTorch's own SGD instead of `BasicOptim`.

Post A, "Using Pytorch's SGD Optimizer". Training of A6's network continues with
`torch.optim.SGD` at the same learning rate. Here it is `optax.sgd`. It makes the same step as
`BasicOptim`, so that nothing should change.

Posted: 20 epochs between 0.5626 and 0.5803, where A6 had ended at 0.7470.
Expect: no change. Both optimizers give the same numbers, step by step, and a network in which some
classes are lost stays as it is. A fall by 18 points at the switch is none of the optimizer's doing.
Other starts of A6 do end where the posted curve lies; perhaps the cells of the notebook were run
more than once. With A9's learning rate, 0.001, it keeps learning.
"""

from matplotlib.figure import Figure

from jaxdigits import plots
from jaxdigits.posts import Comparison, Study, Trained, a6

SETUP = "the networks of A6, continued with optax.sgd"

CONFIG = a6.CONFIG

POSTED_ACCURACY = [
    0.5626, 0.5652, 0.5647, 0.5704, 0.5710, 0.5720, 0.5754, 0.5736, 0.5697, 0.5753, 0.5764, 0.5705,
    0.5782, 0.5765, 0.5769, 0.5728, 0.5767, 0.5803, 0.5761, 0.5772,
]  # fmt: skip
"""After each epoch."""


def corrected(study: Study) -> Trained:
    """Continued from the corrected networks of A6."""
    config, before = CONFIG.replace(learning_rate=0.001), a6.corrected(study)
    return study.train("A7, learning rate 0.001", config, params=before.params)


def run(study: Study) -> list[Comparison]:
    """As posted, and with the learning rate put right."""
    before = a6.as_posted(study)
    posted = study.train("A7", CONFIG, params=before.params)
    return [
        Comparison("lowest of 20 epochs", posted.accuracy.min(axis=1), "0.5626"),
        Comparison("highest of 20 epochs", posted.accuracy.max(axis=1), "0.5803"),
        Comparison(
            "first epoch, less the last of A6",
            posted.accuracy[:, 0] - before.accuracy[:, -1],
            "-0.1844",
            "the optimizer makes the same step as before, so it cannot be why the post's accuracy "
            "falls by 18 points (0.7470 to 0.5626) at the switch; perhaps the notebook's cells "
            "were not run in their order",
            limits=(-1.0, 1.0),
        ),
        Comparison("corrected, learning rate 0.001: 20 epochs", corrected(study).accuracy[:, -1]),
    ]


def draw_weights(study: Study) -> Figure:
    """A7: what the linear network looks for in each digit: its weights, trained at 0.001.

    The mean over the seeds. Red: a bright pixel speaks for the digit; blue: against it. The pixels
    of the border are never bright: their weights only add to the bias.
    """
    weight = corrected(study).params["weight"].mean(axis=0)
    return plots.weights(weight.reshape(-1, 28, 28), study.train_set.class_names)


PICTURES = {"a7-weights.png": draw_weights}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
