"""B7: ResNet-18 from scratch.

Post B, at its end: fastai's `cnn_learner(dls, resnet18, pretrained=False)` and
`fit_one_cycle(4, 0.1)`, batches of 64. fastai's defaults are written out here: Adam with squares
averaged at 0.99, weight decay of 0.01 (biases and normalizations spared), a learning rate that
starts at a 25th of its peak, reaches it in the first quarter and falls to nearly 0, both by a
cosine, while the momentum goes from 0.95 to 0.85 and back.

Posted: 0.9148, 0.9686, 0.9881 and 0.9941 after the four epochs, 33 s an epoch on a GPU.
Expect: the first epochs are a matter of luck, as is half a percent at the end: a peak rate of 0.1
is too much for Adam. With 0.001, fastai's own default, 99.4% and hardly any luck.
"""

import optax
from matplotlib.figure import Figure

import jaxdigits as jd
from jaxdigits import plots
from jaxdigits.posts import Comparison, Study, Trained, percent
from jaxdigits.training.batches import steps_per_epoch
from jaxdigits.training.optimizers import is_weight

SETUP = "ResNet-18 in fastai's form, one-cycle, learning rate up to 0.1, 4 epochs"
SEEDS = 4

EPOCHS = 4
CONFIG = jd.TrainConfig(
    model="resnet18", stem="7x7", dropout=0.5, scale="unit", batch_size=64, epochs=EPOCHS
)
POSTED_ACCURACY = [0.9148, 0.9686, 0.9881, 0.9941]
PEAK, DEFAULT_PEAK, RISING = 0.1, 0.001, 0.25


def fastai_adam(steps: int, highest: float) -> optax.GradientTransformation:
    """Fastai's Adam in a one-cycle schedule, up to the highest learning rate."""
    rising = max(round(RISING * steps), 1)

    def one_cycle(start: float, peak: float, end: float) -> optax.Schedule:
        return optax.join_schedules(
            [
                optax.cosine_decay_schedule(start, rising, alpha=peak / start),
                optax.cosine_decay_schedule(peak, max(steps - rising, 1), alpha=end / peak),
            ],
            [rising],
        )

    return optax.inject_hyperparams(optax.adamw, static_args=("mask", "eps_root"))(
        learning_rate=one_cycle(highest / 25, highest, highest / 1e5),
        b1=one_cycle(0.95, 0.85, 0.95),
        b2=0.99,
        eps=1e-5,
        weight_decay=0.01,
        mask=is_weight,
    )


def train(study: Study, name: str, highest: float) -> Trained:
    """The networks of this row, with a peak of the learning rate."""
    steps = EPOCHS * steps_per_epoch(len(study.train_set), CONFIG.batch_size)
    return study.train(name, CONFIG, optimizer=fastai_adam(steps, highest), vectorize=False)


def run(study: Study) -> list[Comparison]:
    """As posted, then with fastai's default learning rate."""
    trained = train(study, "B7", PEAK)
    reason = "fastai's layers start a little otherwise, and at such a rate all depends on it"
    default = train(study, f"B7, learning rate {DEFAULT_PEAK}", DEFAULT_PEAK)
    return [
        *(
            Comparison(f"epoch {epoch}", trained.accuracy[:, epoch - 1], f"{posted:.4f}", reason)
            for epoch, posted in enumerate(POSTED_ACCURACY, start=1)
        ),
        Comparison(f"learning rate up to {DEFAULT_PEAK}: epoch 4", default.accuracy[:, -1]),
    ]


def draw_epochs(study: Study) -> Figure:
    """B7: accuracy after each epoch; line and band are mean and range of the seeds.

    Dots, on MNIST, are the post's.
    """
    names = {"B7": "learning rate up to 0.1", f"B7, learning rate {DEFAULT_PEAK}": "up to 0.001"}
    posted = {names["B7"]: percent(POSTED_ACCURACY)}
    return plots.seed_curves(
        {"accuracy (%)": {names[name]: 100 * study.trained[name].accuracy for name in names}},
        dots=posted if study.compares else {},
    )


PICTURES = {"b7-epochs.png": draw_epochs}


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
