"""Which recipe is best, and how accurate is it?

    python experiments/recipes.py mnist-convnet

| name | what | expect, on two CPU cores |
|---|---|---|
| `mnist-mlp` | 784-128-10 on MNIST, 10 epochs | 98.4% in 3 minutes |
| `mnist-train` | `jaxdigits train` as it is, on MNIST | 99.5% in 4 minutes |
| `mnist-convnet` | other recipes for the same network | 99.6% in 16 minutes |
| `letters-convnet` | the third post's network on EMNIST's letters | 94% in 20 minutes |

The candidates are trained with some seeds on the training images. The one with the best mean
accuracy on the validation images is chosen, trained with the rest of the seeds, and only its
networks meet the test images, once. The result goes to `experiments/results/`, and from there into
the README by `python experiments/tables.py`.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jaxdigits.environment import prepare_jax

prepare_jax()

import numpy as np

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"


class Study(NamedTuple):
    """A question to be answered.

    Attributes:
        title: what is measured.
        candidates: the recipes, by what sets them apart.
        seeds: for choosing, and in the end.
    """

    title: str
    candidates: dict[str, jd.TrainConfig]
    seeds: tuple[int, int]


_MLP = jd.TrainConfig(dataset="mnist", model="mlp", hidden=(128,), epochs=10)
_CONVNET = jd.TrainConfig(dataset="mnist", learning_rate=0.003)
_LETTERS = jd.TrainConfig(dataset="emnist/letters", epochs=16)

STUDIES = {
    "mnist-mlp": Study(
        "784-128-10 on MNIST, 10 epochs",
        {
            f"learning rate {rate}, weight decay {decay}": replace(
                _MLP, learning_rate=rate, weight_decay=decay
            )
            for rate in (0.001, 0.003, 0.01)
            for decay in (0.01, 0.1, 0.3)
        },
        (5, 5),
    ),
    "mnist-train": Study(
        "`jaxdigits train` on MNIST", {"the default": jd.TrainConfig(dataset="mnist")}, (1, 5)
    ),
    "mnist-convnet": Study(
        "the third post's network on MNIST",
        {
            "learning rate 0.003": _CONVNET,
            "no augmentation": replace(_CONVNET, augment=()),
            "shift alone": replace(_CONVNET, augment=("shift",)),
            "shear too": replace(_CONVNET, augment=("shift", "rotate", "scale", "shear")),
            "learning rate 0.005": replace(_CONVNET, learning_rate=0.005),
            "label smoothing 0.05": replace(_CONVNET, label_smoothing=0.05),
            "dropout 0.25": replace(_CONVNET, dropout=0.25),
            "weights averaged over about 1,000 steps": replace(_CONVNET, ema_decay=0.999),
            "SGD with momentum, learning rate 0.1": replace(
                _CONVNET, optimizer="sgd", momentum=0.9, learning_rate=0.1
            ),
        },
        (2, 5),
    ),
    "letters-convnet": Study(
        "the third post's network on EMNIST letters",
        {
            "as it is": _LETTERS,
            "shear too": replace(_LETTERS, augment=("shift", "rotate", "scale", "shear")),
            "label smoothing 0.1": replace(_LETTERS, label_smoothing=0.1),
            "dropout 0.25": replace(_LETTERS, dropout=0.25),
        },
        (1, 5),
    ),
}


def train(config: jd.TrainConfig, splits: Mapping[str, jd.Dataset], seeds: range) -> list[jd.Run]:
    """Train with each of the seeds."""
    return [jd.fit(config.replace(seed=seed), splits) for seed in seeds]


def validation_accuracies(runs: Sequence[jd.Run]) -> list[float]:
    """Of each run, 0..1."""
    return [run.results["validation"]["accuracy"] for run in runs]


def seconds_each(runs: Sequence[jd.Run]) -> list[float]:
    """The seconds that each run took, without compiling."""
    return [(run.seconds or {})["train"] for run in runs]


def main() -> None:
    """Choose the recipe on the validation images, then test it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--seeds", type=int, help="of the recipe that is chosen")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with downloaded files")
    parser.add_argument("--out", type=Path, help="default: results/STUDY.json beside this file")
    arguments = parser.parse_args()
    study = STUDIES[arguments.study]
    some, all_ = study.seeds[0], arguments.seeds or study.seeds[1]
    if all_ < max(some, 2):
        parser.error(f"--seeds must be {max(some, 2)} or more")
    name = next(iter(study.candidates.values())).dataset
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    try:
        train_set, validation, test = jd.data.load_splits(
            name, ("train", "validation", "test"), **folders
        )
    except jd.errors.DataError as error:
        parser.error(str(error))
    splits = {"train": train_set, "validation": validation}

    trials = {}
    for title, config in study.candidates.items():
        trials[title] = train(config, splits, range(some))
        print(
            f"{title}: validation {np.mean(validation_accuracies(trials[title])):.2%} "
            f"({some} seeds, {np.mean(seconds_each(trials[title])):.0f} s each)",
            flush=True,
        )
    chosen = max(trials, key=lambda title: np.mean(validation_accuracies(trials[title])))
    runs = trials[chosen] + train(study.candidates[chosen], splits, range(some, all_))

    tested = [run.evaluate(test) for run in runs]
    accuracies, top_2 = [found.accuracy for found in tested], [found.top_2 for found in tested]
    mean, low, high = mean_interval(accuracies)
    document = {
        "title": study.title + ", recipe chosen on validation" * (len(study.candidates) > 1),
        "command": f"python experiments/recipes.py {arguments.study}",
        "data": test.fingerprint.as_dict(),
        "chosen": chosen,
        "config": runs[0].config.replace(seed=0).as_dict(),
        "candidates": {title: validation_accuracies(trials[title]) for title in trials},
        "seeds": all_,
        "validation_accuracy": validation_accuracies(runs),
        "test_accuracy": accuracies,
        "test_top_2_accuracy": top_2,
        "seconds_each": seconds_each(runs),
        "mean": mean,
        "interval_95": [low, high],
        **environment(),
    }
    out = arguments.out or RESULTS / f"{arguments.study}.json"
    write_json(out, document)
    print(
        f"chosen: {chosen}\ntest accuracy {mean:.2%} (mean of {all_} seeds, 95% interval "
        f"{low:.2%} to {high:.2%}), top-2 {np.mean(top_2):.2%}; "
        f"{np.mean(seconds_each(runs)):.0f} s each\nwritten to {out}"
    )


if __name__ == "__main__":
    main()
