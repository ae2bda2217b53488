"""A5: the same network by autodiff, and stuck.

Post A, "Gradient Descent - Using Pytorch". Now the framework derives the gradient, of the loss as
it is written in row A3: *summed* over the batch, and through the clamp. The learning rate stays 1.

Posted: 20 epochs between 0.3047 and 0.3113.
Expect: a curve that is flat from the first epoch on, at a height that depends on the seed. Two
things changed beside autodiff. The sum makes each step 64 times as long; alone it does little harm,
as a linear network with 64 times larger logits still has the same largest one. But with large
logits many probabilities are below 1e-10, where the clamp is flat: a class whose images all are
gets no gradient, and stays lost. With the mean, or without the clamp, most networks learn all ten;
with both of these, it is A4 again, step by step. As posted, but with the learning rate of A9,
0.001, it learns most steadily.
"""

from jaxdigits.posts import SGD, Comparison, Study

SETUP = "linear 784-10, N(0, 1), autodiff, summed loss through a clamp, learning rate 1"

CONFIG = SGD.replace(initializer="normal", loss="clamped_cross_entropy", reduction="sum", epochs=20)

POSTED_ACCURACY = [
    0.3074, 0.3084, 0.3077, 0.3092, 0.3059, 0.3057, 0.3091, 0.3093, 0.3091, 0.3076, 0.3047, 0.3066,
    0.3077, 0.3096, 0.3089, 0.3088, 0.3094, 0.3095, 0.3091, 0.3113,
]  # fmt: skip
"""After each epoch."""


def run(study: Study) -> list[Comparison]:
    """As posted, and with one thing changed at a time."""
    posted = study.train("A5", CONFIG)
    unclamped = study.train("A5, no clamp", CONFIG.replace(loss="cross_entropy"))
    mean = study.train("A5, mean loss", CONFIG.replace(reduction="mean"))
    slow = study.train("A5, learning rate 0.001", CONFIG.replace(learning_rate=0.001))
    return [
        Comparison("lowest of 20 epochs", posted.accuracy.min(axis=1), "0.3047"),
        Comparison("highest of 20 epochs", posted.accuracy.max(axis=1), "0.3113"),
        Comparison("without the clamp: 20 epochs", unclamped.accuracy[:, -1]),
        Comparison("with the mean loss: 20 epochs", mean.accuracy[:, -1]),
        Comparison("corrected, learning rate 0.001: 20 epochs", slow.accuracy[:, -1]),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
