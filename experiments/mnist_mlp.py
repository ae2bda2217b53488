"""How accurate is 784-128-10 on MNIST after 10 epochs?

    python experiments/mnist_mlp.py

Expect: a mean test accuracy of about 98.4 %, after about two minutes on two CPU cores.

Candidates for the recipe (peak learning rate, weight decay) are trained with five seeds each on
the 55,000 training images; the five seeds are one XLA program, by `jax.vmap` over the key. The
recipe with the best mean accuracy on the 5,000 validation images is chosen, and only its five
networks meet the 10,000 test images, once. The result goes to `experiments/results/`, and from
there into the README by `python experiments/readme_table.py`.
"""

import argparse
import itertools
import json
import platform
import time
from pathlib import Path

import jax
import numpy as np

import jaxdigits as jd

RESULTS = Path(__file__).parent / "results"
CANDIDATES = [
    jd.TrainConfig(
        dataset="mnist",
        model="mlp",
        hidden=(128,),
        epochs=10,
        optimizer="adamw",
        schedule="one_cycle",
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    for learning_rate, weight_decay in itertools.product((0.001, 0.003, 0.01), (0.01, 0.1, 0.3))
]


def main() -> None:
    """Chooses the recipe on the validation images, then tests it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with the four files of MNIST")
    parser.add_argument("--out", type=Path, default=RESULTS / "mnist_mlp.json")
    arguments = parser.parse_args()
    places = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    if arguments.seeds < 2:
        parser.error("an interval needs --seeds of 2 or more")
    try:
        data = jax.device_put(jd.load_training_data("mnist", **places))
    except jd.errors.DataError as error:
        parser.error(str(error))
    keys = jax.vmap(jax.random.key)(np.arange(arguments.seeds))

    trials = []
    for config in CANDIDATES:
        began = time.perf_counter()
        train = jax.jit(jax.vmap(jd.make_train(config), in_axes=(0, None)))
        result = jax.block_until_ready(train(keys, data))
        seconds = time.perf_counter() - began
        accuracies = np.asarray(result.history.validation.accuracy[:, -1], np.float64)
        trials.append((accuracies.mean(), config, result, accuracies))
        print(
            f"learning rate {config.learning_rate}, weight decay {config.weight_decay}: "
            f"validation {accuracies.mean():.2%} ({arguments.seeds} seeds in {seconds:.0f} s)",
            flush=True,
        )
    _, config, result, validation = max(trials, key=lambda trial: trial[0])

    test = jd.data.load("mnist", "test", **places)
    evaluate = jax.jit(jax.vmap(jd.make_trainer(config, 10).evaluate, in_axes=(0, None)))
    accuracies = np.asarray(evaluate(result.state, test.examples).accuracy, np.float64)
    mean, low, high = jd.metrics.mean_interval(accuracies.tolist())
    document = {
        "title": "784-128-10, 10 epochs, recipe chosen on validation",
        "command": "python experiments/mnist_mlp.py",
        "data": test.fingerprint.as_dict(),
        "config": config.as_dict(),
        "seeds": arguments.seeds,
        "validation_accuracy": validation.tolist(),
        "test_accuracy": accuracies.tolist(),
        "mean": mean,
        "interval_95": [low, high],
        "jax": jax.__version__,
        "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    print(
        f"chosen: learning rate {config.learning_rate}, weight decay {config.weight_decay}\n"
        f"test accuracy {mean:.2%} (mean of {arguments.seeds} seeds, 95 % interval "
        f"{low:.2%} to {high:.2%}, range {accuracies.min():.2%} to {accuracies.max():.2%})\n"
        f"written to {arguments.out}"
    )


if __name__ == "__main__":
    main()
