"""C2: top-2 accuracy.

Post C, "Let's fire it up!": the networks of C1, counting the class with the second largest score as
well. Many letters cannot be told apart without their neighbours.

Posted: over 95%.
Expect: about 98%.
"""

import jax.numpy as jnp

from jaxdigits.evaluation.metrics import top_k_accuracy
from jaxdigits.posts import Comparison, Study, c1

DATA = "letters"
SETUP = "letters network, top-2 accuracy"
SEEDS = c1.SEEDS


def run(study: Study) -> list[Comparison]:
    """Of the networks at the end."""
    trained = c1.train(study)
    images, labels = study.test_set.images, jnp.asarray(study.test_set.labels)
    within_two = [
        float(top_k_accuracy(jnp.asarray(study.logits(trained, images, seed)), labels, k=2))
        for seed in range(len(trained.untrained))
    ]
    return [Comparison("right or second guess", within_two, "0.95", at_least=True)]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
