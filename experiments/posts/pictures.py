"""Pictures that show several rows beside each other, as far as they were run."""

from matplotlib.figure import Figure

from jaxdigits import plots
from jaxdigits.reproduction import Study

from . import a4, a5, a6, a7

LESSON = {
    "A4": ("A4: mean loss, no clamp", a4.POSTED_ACCURACY[:20]),
    "A5": ("A5: summed loss, clamp", a5.POSTED_ACCURACY),
    "A6": ("A6: the same, smaller start", a6.POSTED_ACCURACY),
    "A7": ("A7: going on from A6", a7.POSTED_ACCURACY),
    "A6, learning rate 0.001": ("A6 at learning rate 0.001", []),
}


def draw_lesson(study: Study) -> Figure | None:
    """A4 to A7: accuracy and loss; line and band are mean and range of the seeds, dots the post's.

    All four take steps at learning rate 1. In A4 the loss is averaged over the batch: restless, but
    learning. From A5 on it is summed, which makes each step 64 times as long and the logits as
    large, and it passes a clamp whose gradient is zero for every image that is badly wrong: what
    is lost stays lost, and the curves are flat. The same loss at 0.001 learns (the highest line).
    """
    names = [name for name in LESSON if name in study.trained]
    if not names:
        return None
    titles = {name: title for name, (title, _) in LESSON.items()}
    return plots.seed_curves(
        {
            "accuracy (%)": {titles[n]: 100 * study.trained[n].accuracy[:, :20] for n in names},
            "training loss of an image": {titles[n]: study.trained[n].loss[:, :20] for n in names},
        },
        dots={titles[n]: [100 * x for x in LESSON[n][1]] for n in names} if study.compares else {},
    )


def draw_losses(study: Study) -> Figure | None:
    """B3 to B6: accuracy over 41 epochs; line and band are mean and range of the seeds.

    The broken line is B2, the baseline in which nothing is trained.
    """
    titles = {
        "B3": "B3: sigmoid, squared error",
        "B4": "B4: softmax, squared error",
        "B5": "B5: cross-entropy",
        "B6": "B6: hidden layer, cross-entropy",
    }
    names = [name for name in titles if name in study.trained]
    if not names:
        return None
    baseline = study.trained.get("B2")
    return plots.seed_curves(
        {"accuracy (%)": {titles[n]: 100 * study.trained[n].accuracy for n in names}},
        levels={"B2: pixel baseline": 100 * baseline.untrained.mean()} if baseline else {},
    )


def draw_classes(study: Study) -> Figure | None:
    """The accuracy on the test images of each class, for the first seed."""
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
    return plots.class_bars(accuracy, study.test_set.class_names) if accuracy else None


PICTURES = {
    "a4-to-a7.png": draw_lesson,
    "b3-to-b6.png": draw_losses,
    "classes.png": draw_classes,
}
