"""Which recipe is best, and how accurate is it?

    python experiments/recipes.py mnist-convnet

| name | what | expect, on two CPU cores |
|---|---|---|
| `mnist-mlp` | 784-128-10 on MNIST, 10 epochs | 98.4 % in 3 minutes |
| `mnist-train` | `jaxdigits train` as it is, on MNIST | 99.5 % in 4 minutes |
| `mnist-convnet` | other recipes for the same network | 99.6 % in 16 minutes |
| `letters-convnet` | the third post's network on EMNIST's letters | 94 % in 20 minutes |

The candidates are trained with some seeds on the training images. The one with the best mean
accuracy on the validation images is chosen, trained with the rest of the seeds, and only its
networks meet the test images, once. The result goes to `experiments/results/`, and from there into
the README by `python experiments/readme_table.py`.
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jaxdigits.environment import prepare_jax

prepare_jax()

import jax
import jax.numpy as jnp
import numpy as np

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.evaluation.metrics import mean_interval, top_k_accuracy
from jaxdigits.files import write_json
from jaxdigits.models import Params, make_model
from jaxdigits.training.trainer import compute_logits, default_mesh
from jaxdigits.transforms.scaling import Scaling

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
            "weights averaged over about 1,000 steps": replace(_CONVNET, average=0.999),
            "SGD with momentum, learning rate 0.1": replace(
                _CONVNET, optimizer="momentum", learning_rate=0.1
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


class Result(NamedTuple):
    """What a training gave: the last state, its validation accuracy, seconds without compiling."""

    params: Params
    scaling: Scaling
    validation: float
    seconds: float


def train(config: jd.TrainConfig, data: jd.TrainingData, seeds: range) -> list[Result]:
    """A training for each of the seeds."""
    trainer = jd.make_trainer(config, data.num_classes, mesh=default_mesh(config))
    data = trainer.put(data)
    init, epoch = trainer.jit(trainer.init), trainer.jit(trainer.epoch, donate_argnums=0)
    epoch = epoch.lower(init(jax.random.key(0), data), data).compile()
    results = []
    for seed in seeds:
        state = init(jax.random.key(seed), data)
        accuracy, began = 0.0, time.perf_counter()
        for _ in range(trainer.count_epochs(data)):
            state, measured = jax.block_until_ready(epoch(state, data))
            accuracy = float(measured.validation.accuracy)
        seconds = time.perf_counter() - began
        params, scaling = jax.device_get((state.trained, state.scaling))
        results.append(Result(params, scaling, accuracy, seconds))
    return results


def main() -> None:
    """Chooses the recipe on the validation images, then tests it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--seeds", type=int, help="of the recipe that is chosen")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with downloaded files")
    parser.add_argument("--out", type=Path, help="if not results/STUDY.json beside this file")
    arguments = parser.parse_args()
    study = STUDIES[arguments.study]
    some, all_ = study.seeds[0], arguments.seeds or study.seeds[1]
    if all_ < max(some, 2):
        parser.error(f"--seeds must be {max(some, 2)} or more")
    name = next(iter(study.candidates.values())).dataset
    places = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    try:
        *splits, test = jd.data.load_splits(name, ("train", "validation", "test"), **places)
    except jd.errors.DataError as error:
        parser.error(str(error))
    data = jd.TrainingData.from_datasets(*splits)

    trials = {}
    for title, config in study.candidates.items():
        trials[title] = train(config, data, range(some))
        accuracies = [result.validation for result in trials[title]]
        print(
            f"{title}: validation {np.mean(accuracies):.2%} "
            f"({some} seeds, {np.mean([r.seconds for r in trials[title]]):.0f} s each)",
            flush=True,
        )
    chosen = max(trials, key=lambda title: np.mean([r.validation for r in trials[title]]))
    config = study.candidates[chosen]
    results = trials[chosen] + train(config, data, range(some, all_))

    model = make_model(config, data.num_classes)
    logits_of = jax.jit(partial(compute_logits, model.apply))
    logits = [logits_of(result.params, result.scaling, test.images) for result in results]
    measured = {
        name: [float(top_k_accuracy(z, jnp.asarray(test.labels), k)) for z in logits]
        for name, k in (("test_accuracy", 1), ("test_top_2_accuracy", 2))
    }
    mean, low, high = mean_interval(measured["test_accuracy"])
    document = {
        "title": study.title + ", recipe chosen on validation" * (len(study.candidates) > 1),
        "command": f"python experiments/recipes.py {arguments.study}",
        "data": test.fingerprint.as_dict(),
        "chosen": chosen,
        "config": replace(
            config,
            epochs=config.count_epochs(len(splits[0])),
            augment=config.augmentations,
        ).as_dict(),
        "candidates": {title: [result.validation for result in trials[title]] for title in trials},
        "seeds": all_,
        "validation_accuracy": [result.validation for result in results],
        **measured,
        "seconds_each": [result.seconds for result in results],
        "mean": mean,
        "interval_95": [low, high],
        **environment(),
    }
    out = arguments.out or RESULTS / f"{arguments.study}.json"
    write_json(out, document)
    print(
        f"chosen: {chosen}\ntest accuracy {mean:.2%} (mean of {all_} seeds, 95 % interval "
        f"{low:.2%} to {high:.2%}), within two guesses "
        f"{np.mean(measured['test_top_2_accuracy']):.2%}; "
        f"{np.mean([r.seconds for r in results]):.0f} s each\nwritten to {out}"
    )


if __name__ == "__main__":
    main()
