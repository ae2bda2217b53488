"""C2: right, or right at the second guess.

Post C, "Let's fire it up!": the networks of C1, counting the class with the second largest score as
well. Many letters cannot be told apart without their neighbours.

Posted: over 95 %.
Expect: about 98 %.
"""

import numpy as np

from jaxdigits.reproduction import Comparison, Study

from . import c1

DATA = "letters"
SETUP = "letters network, within two guesses"
SEEDS = c1.SEEDS


def run(study: Study) -> list[Comparison]:
    """Of the networks at the end."""
    trained = c1.train(study)
    labels = study.test_set.labels[:, None]
    within_two = [
        (study.logits(trained, study.test_set.images, seed).argsort()[:, -2:] == labels)
        .any(axis=1)
        .mean()
        for seed in range(len(trained.untrained))
    ]
    return [Comparison("right or second guess", np.array(within_two), "> 0.95")]
