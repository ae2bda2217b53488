"""C3: which letters are confused.

Post C, "Let's fire it up!", has a picture, and names g and q, i and l, h and n.

Posted: a confusion matrix.
Expect: i and l, then g and q, far ahead of all others.
"""

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxdigits import plots
from jaxdigits.evaluation.metrics import confusion_matrix, most_confused
from jaxdigits.posts import Comparison, Study, c1

DATA = "letters"
SETUP = "letters network, confusion"
SEEDS = c1.SEEDS

PAIRS = ("gq", "il", "hn")


def confusion(study: Study, seed: int) -> np.ndarray:
    """How often each class (row) was taken for each (column), by the network of a seed."""
    trained = c1.train(study)
    logits = jnp.asarray(study.logits(trained, study.test_set.images, seed))
    return np.asarray(confusion_matrix(logits, jnp.asarray(study.test_set.labels)))


def run(study: Study) -> list[Comparison]:
    """The share of all mistakes that each pair makes, for the pairs that the post names."""
    names = list(study.test_set.class_names)
    matrices = [confusion(study, seed) for seed in range(len(c1.train(study).untrained))]
    comparisons = []
    for first, second in PAIRS:
        if first in names and second in names:
            a, b = names.index(first), names.index(second)
            shares = [(m[a, b] + m[b, a]) / max(m.sum() - m.trace(), 1) for m in matrices]
            comparisons.append(Comparison(f"{first}/{second}, share of mistakes", shares))
    return comparisons


def draw_confusion(study: Study) -> Figure:
    """C3: the confusion matrix of the letters network, for the first seed."""
    counts = confusion(study, 0)
    names = study.test_set.class_names
    worst = ", ".join(f"{names[a]}/{names[b]} ({n})" for a, b, n in most_confused(counts))
    return plots.confusion(counts, names, f"most confused pairs: {worst}")


PICTURES = {"c3-confusion.png": draw_confusion}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
