"""C7: the same network with Adam.

From a later chapter of post C's series: Adam reaches in an hour what took the program days.

Posted: 80% after an hour on a CPU.
Expect: more than that after one epoch.
"""

from jaxdigits.posts import Comparison, Study, c1

DATA = "letters"
SETUP = "letters network, Adam, learning rate 0.001"
SEEDS = c1.SEEDS

CONFIG = c1.CONFIG.replace(
    optimizer="adam", momentum=0.0, learning_rate=0.001, dropout=0.0, epochs=4
)


def run(study: Study) -> list[Comparison]:
    """After one epoch, and at the end."""
    accuracy = study.train("C7", CONFIG, vectorize=False).accuracy
    return [
        Comparison("after 1 epoch", accuracy[:, 0], "0.80", at_least=True),
        Comparison("after 4 epochs", accuracy[:, -1]),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
