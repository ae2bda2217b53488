"""Pictures that show several rows side by side, drawn where all of them were run."""

from matplotlib.figure import Figure

from jaxdigits import plots
from jaxdigits.posts import Study, a4, a5, a6, a7, b3, b4, b5, b6, percent

LESSON = {
    "A4": "A4: mean loss, no clamp",
    "A5": "A5: summed loss, clamp",
    "A6": "A6: the same, smaller start",
    "A7": "A7: continued from A6",
    "A4, learning rate 0.064": "A4 at learning rate 0.064",
    "A5, learning rate 0.001": "A5 at learning rate 0.001",
    "A6, learning rate 0.001": "A6 at learning rate 0.001",
}
POSTED = {"A4": a4.POSTED_ACCURACY[:20], "A5": a5.POSTED_ACCURACY}
POSTED |= {"A6": a6.POSTED_ACCURACY, "A7": a7.POSTED_ACCURACY}


def draw_lesson(study: Study) -> Figure | None:
    """A4 to A7: accuracy and loss; a thin line for each seed, a thick one for their mean.

    All four take steps at learning rate 1. In A4 the loss is averaged over the batch: restless, but
    learning. From A5 on it is summed, which makes each step 64 times as long, and it passes a clamp
    whose gradient is zero for every image that is badly wrong: whole classes are lost and stay
    lost, how many depends on the seed, and the curves are flat. The same losses at a smaller
    learning rate learn (broken lines). Dots, on MNIST, are the post's. The loss of A4 has no clamp;
    that of the others cannot exceed 23.03.
    """
    if not set(LESSON) <= set(study.trained):
        return None
    trained = {title: study.trained[name] for name, title in LESSON.items()}
    dots = {LESSON[name]: percent(posted) for name, posted in POSTED.items()}
    return plots.seed_curves(
        {
            "accuracy (%)": {title: 100 * t.accuracy[:, :20] for title, t in trained.items()},
            "training loss per image": {title: t.loss[:, :20] for title, t in trained.items()},
        },
        dots=dots if study.compares else {},
        each_seed=True,
        broken=[title for name, title in LESSON.items() if "rate" in name],
    )


def draw_losses(study: Study) -> Figure | None:
    """B3 to B6: accuracy over 41 epochs; line and band are mean and range of the seeds.

    The broken line is B2, the baseline in which nothing is trained. Dots, on MNIST, are the post's.
    """
    titles = {
        "B3": "B3: sigmoid, squared error",
        "B4": "B4: softmax, squared error",
        "B5": "B5: cross-entropy",
        "B6": "B6: hidden layer, cross-entropy",
    }
    if not {"B2", *titles} <= set(study.trained):
        return None
    rows = {"B3": b3, "B4": b4, "B5": b5, "B6": b6}
    dots = {titles[name]: percent(row.POSTED_ACCURACY) for name, row in rows.items()}
    return plots.seed_curves(
        {"accuracy (%)": {titles[n]: 100 * study.trained[n].accuracy for n in titles}},
        dots=dots if study.compares else {},
        levels={"B2: pixel baseline": 100 * study.trained["B2"].untrained.mean()},
    )


def draw_classes(study: Study) -> Figure | None:
    """B1 to B6 and A9: the accuracy on the test images of each class, for the first seed."""
    titles = {
        "B1": "B1: pixels, absolute",
        "B2": "B2: pixels, squared",
        "B5": "B5: linear",
        "B6": "B6: 784-64-10",
        "A9": "A9: 784-30-10",
    }
    accuracy = {
        title: study.accuracy_per_class(study.trained[name])
        for name, title in titles.items()
        if name in study.trained
    }
    return plots.bars(accuracy, study.test_set.class_names) if "B6" in study.trained else None


PICTURES = {
    "a4-to-a7.png": draw_lesson,
    "b3-to-b6.png": draw_losses,
    "b6-classes.png": draw_classes,
}
