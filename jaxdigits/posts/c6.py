"""C6: moved letters.

The letters network on letters moved as in C5: as C1 left it, trained on moved letters, and trained
so with dropout.

Posted: 59%; 72.5%; 76.4%.
Expect: far more, as the gradients are true ones. In six epochs dropout does not pay yet.
"""

from matplotlib.figure import Figure

from jaxdigits.posts import Comparison, Study, c1, c5

DATA = "letters"
SETUP = "letters moved by up to 2 pixels, 5 pixels inverted"
SEEDS = c1.SEEDS

MOVED = c1.CONFIG.replace(augment=("shift", "invert"), dropout=0.0)
WITH_DROPOUT = MOVED.replace(dropout=c1.CONFIG.dropout)


def run(study: Study) -> list[Comparison]:
    """As posted."""
    moved = study.train("C6", MOVED, vectorize=False)
    with_dropout = study.train("C6, dropout", WITH_DROPOUT, vectorize=False)
    return [
        Comparison(what, study.jittered_accuracy(trained), posted, at_least=True)
        for what, trained, posted in (
            ("C1's network", c1.train(study), "0.59"),
            ("trained on moved letters", moved, "0.725"),
            ("the same with dropout", with_dropout, "0.764"),
        )
    ]


def draw_moved(study: Study) -> Figure:
    """C6: test letters as they are, and slightly moved: the mean over the seeds.

    Dots are the post's, on other letters where these are not the official ones.
    """
    titles = {"C1": "C1's network", "C6": "trained on moved letters", "C6, dropout": "with dropout"}
    dots = {"as they are": {0: 85.0}, "slightly moved": {0: 59.0, 1: 72.5, 2: 76.4}}
    return c5.bars(study, {title: study.trained[name] for name, title in titles.items()}, dots)


PICTURES = {"c6-moved.png": draw_moved}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
