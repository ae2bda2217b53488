"""The networks that come with the package: trained to read other people's handwriting.

    python experiments/weights.py digits
    python experiments/weights.py letters

The third post's network, trained longer, with all changes of the images that a pen, a hand and a
camera make. Five seeds are trained; their mean on the test images goes into `experiments/results/`,
and the one that is best on the validation images into `jaxdigits/weights/`, as float16, with a
card. On two cores about five minutes a seed.

The recipe was chosen on the validation images, with one seed each. Digits, with all changes
stronger and 15 epochs (thickness 0.8, blur 0.8, contrast 0.5, noise 0.1, rectangles erased):
99.32 % right, and moved 99.23 %; with these and 20 epochs 99.34 %, with 25 epochs 99.38 and
99.28 %. The label smoothing is what `recipes.py` has found best. Letters, with changes as strong as
the digits': 94.34 and 94.63 %, where `recipes.py` has 95.01 % without most of them; so theirs are
weaker.
"""

import argparse
import dataclasses
import hashlib
from pathlib import Path

from jaxdigits.environment import environment, prepare_jax

prepare_jax()

import jax
import numpy as np
from recipes import train

import jaxdigits as jd
from jaxdigits.evaluation.calibration import calibrate
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.files import atomic_write, write_json
from jaxdigits.models import count_params, make_model
from jaxdigits.runs import run as runs
from jaxdigits.training.trainer import default_mesh
from jaxdigits.transforms.scaling import Scaling

RESULTS = Path(__file__).parent / "results"
SEEDS = 5

RECIPES = {
    "digits": jd.TrainConfig(
        dataset="mnist",
        augment=(
            *("shift=2", "rotate=15", "scale=0.2", "shear=0.15", "elastic=1", "thickness=0.6"),
            *("blur=0.6", "contrast=0.4", "noise=0.05", "invert=5"),
        ),
        epochs=25,
        average=0.999,
        label_smoothing=0.05,
    ),
    "letters": jd.TrainConfig(
        dataset="emnist/letters",
        augment=(
            *("shift=2", "rotate=10", "scale=0.1", "shear=0.1", "elastic=0.5", "thickness=0.3"),
            "invert=3",
        ),
        epochs=16,
        average=0.999,
        label_smoothing=0.1,
    ),
}


def main() -> None:
    """Trains, measures, and writes the best on validation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with downloaded files")
    parser.add_argument("--weights", type=Path, help="if not the package's own folder of weights")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    config = RECIPES[arguments.name]
    places = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    try:
        *splits, test = jd.data.load_splits(
            config.dataset, ("train", "validation", "test"), **places
        )
    except jd.errors.DataError as error:
        parser.error(str(error))
    data = jd.TrainingData.from_datasets(*splits)
    validation = splits[1]
    mesh = default_mesh(config)
    candidates = []
    for seed in range(arguments.seeds):
        (result,) = train(config, data, range(seed, seed + 1))
        params = jax.tree.map(
            lambda leaf: np.asarray(leaf).astype(np.float16).astype(np.float32), result.params
        )
        run = jd.Run(
            dataclasses.replace(config, seed=seed),
            make_model(config, data.num_classes),
            params,
            Scaling(*result.scaling),
            test.class_names,
            test.fingerprint,
            {},
            environment(),
        )
        logits = run.predict_logits(validation.images)
        measured = [run.score(logits, validation), run.evaluate(test)]
        moved = float(np.mean(run.accuracies_jittered(test)))
        run = dataclasses.replace(
            run,
            results={evaluation.split: evaluation.as_dict() for evaluation in measured},
            calibration=calibrate(logits, validation.labels),
        )
        candidates.append((run, result.seconds, moved))
        print(
            f"seed {seed}: validation {measured[0].accuracy:.2%}, test {measured[1].accuracy:.2%}, "
            f"within two {measured[1].top_2:.2%}, moved {moved:.2%}; {result.seconds:.0f} s",
            flush=True,
        )

    def figures(name: str, values: list[float]) -> dict:
        mean, low, high = mean_interval(values)
        return {name: {"mean": mean, "interval_95": [low, high], "of_each_seed": values}}

    found = [run.results["test"] for run, _, _ in candidates]
    document = {
        "title": f"`jd.load({arguments.name!r})`: {test.fingerprint.name}",
        "command": f"python experiments/weights.py {arguments.name}",
        "data": test.fingerprint.as_dict(),
        "config": dataclasses.replace(config, seed=0).as_dict(),
        "seeds": arguments.seeds,
        **figures("validation", [r.results["validation"]["accuracy"] for r, _, _ in candidates]),
        **figures("test", [results["accuracy"] for results in found]),
        **figures("test_within_two", [results["top_2_accuracy"] for results in found]),
        **figures("test_moved", [moved for _, _, moved in candidates]),
        "seconds_each": [seconds for _, seconds, _ in candidates],
        **environment(),
    }
    best, seconds, moved = max(candidates, key=lambda c: c[0].results["validation"]["accuracy"])
    folder = arguments.weights or runs.SHIPPED[arguments.name]
    devices = mesh.size if mesh else 1
    runs.save(best, folder, {"training": seconds}, devices, dtype=np.float16)
    write_json(arguments.results / f"weights-{arguments.name}.json", document)
    with atomic_write(folder / "CARD.md") as path:
        path.write_text(card(arguments.name, best, moved, document, folder))
    print(f"written to {folder}: seed {best.config.seed}")


def card(name: str, run: jd.Run, moved: float, document: dict, folder: Path) -> str:
    """What a user of the weights should know."""
    weights = (folder / runs.PARAMS_FILE).read_bytes()
    seeds = document["seeds"]
    form = "EMNIST" if run.config.dataset.startswith("emnist") else "MNIST"

    def mean(figure: str) -> str:
        found = document[figure]
        low, high = found["interval_95"]
        return f"{found['mean']:.2%} (mean of {seeds} seeds, 95 % interval {low:.2%} to {high:.2%})"

    test, validation = run.results["test"], run.results["validation"]
    rows = {
        "reads": ", ".join(run.class_names),
        "network": f"the third post's, {count_params(run.params):,} parameters, as float16",
        "data": str(run.fingerprint),
        "recipe": f"`{document['command']}`; {run.config.epochs} epochs, images changed by "
        + ", ".join(run.config.augment),
        "seed": f"{run.config.seed}, of {seeds} the best on validation",
        "validation accuracy": f"{validation['accuracy']:.2%}",
        "test accuracy": f"{test['accuracy']:.2%}; the recipe {mean('test')}",
        "test, within two guesses": f"{test['top_2_accuracy']:.2%}; {mean('test_within_two')}",
        "test, moved by up to 2 pixels, 5 inverted": f"{moved:.2%}; {mean('test_moved')}",
        f"SHA-256 of `{runs.PARAMS_FILE}`": f"`{hashlib.sha256(weights).hexdigest()}`",
    }
    table = "\n".join(f"| {what} | {value} |" for what, value in rows.items())
    return f"""# `jd.load({name!r})`

| | |
|---|---|
{table}

It sees one character at a time, in the form of {form} (`jd.transforms.to_{form.lower()}`), and
answers with one of its classes whatever the image shows. The writers of its data lived in the
United States; where people write their characters otherwise, such as a 1 with a long upstroke, it
reads fewer of them.
"""


if __name__ == "__main__":
    main()
