"""B2: the nearest mean image, by mean squared error.

Post B, "Building a baseline: pixel difference": as B1, with the square of the pixels' differences.

Posted: an accuracy for each digit from 0 to 9, and 0.8173.
Expect: the same digits. This is the baseline that the trained networks have to beat.
"""

from jaxdigits.posts import Comparison, Study, b1

SETUP = "nearest mean image, mean squared error"

CONFIG = b1.CONFIG.replace(distance="squared")

POSTED = "0.8959 0.9621 0.7568 0.8059 0.8259 0.6861 0.8633 0.8327 0.7372 0.8067"
POSTED_MEAN = "0.8173"


def run(study: Study) -> list[Comparison]:
    """As posted."""
    return b1.compare(study, study.train("B2", CONFIG), POSTED, POSTED_MEAN)


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
