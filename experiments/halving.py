"""Does successive halving find the best setting, and what does it cost?

    python experiments/halving.py --data-dir FOLDER

256 settings of the small network (learning rate and weight decay) are trained on 5,000 images of
MNIST: all to the end, by halving, and, for the time, 16 of them to the end. Repeated with other
seeds and other images. A repetition agrees if halving's winner is the winner of all, or its test
accuracy is no more than twice the deviation of seeds below that. Results are in
`results/halving.json`.
"""

import argparse
from datetime import date
from pathlib import Path
from statistics import stdev
from typing import Any

from jaxdigits.environment import environment, prepare_jax

prepare_jax()

import numpy as np
from tqdm import tqdm

import jaxdigits as jd
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
IMAGES = 5_000
RATES = [float(f"{rate:.3g}") for rate in np.geomspace(1e-4, 0.1, 64)]
DECAYS = [0.0, 0.01, 0.1, 0.5]


def main() -> None:
    """Search, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--one-in", type=int, default=4)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, default=RESULTS / "halving.json")
    options = parser.parse_args()
    splits = ("train", "validation", "test")
    whole = dict(
        zip(splits, jd.data.load_splits("mnist", splits, data_dir=options.data_dir), strict=True)
    )
    rows: list[dict[str, Any]] = []
    for number in tqdm(range(options.repetitions)):
        chosen = np.random.default_rng(number).permutation(len(whole["train"]))[:IMAGES]
        part = jd.data.Examples(whole["train"].images[chosen], whole["train"].labels[chosen])
        data = jd.data.from_arrays(
            "mnist part",
            part,
            whole["test"].examples,
            whole["test"].class_names,
            validation=whole["validation"].examples,
            form="mnist",
        )
        config = jd.TrainConfig(model="mlp", epochs=options.epochs, seed=100 * number)
        grid = {"learning_rate": RATES, "weight_decay": DECAYS}
        few = {"learning_rate": RATES[::8], "weight_decay": DECAYS[::2]}
        found = {
            "all": jd.sweep(config, grid, data),
            "halved": jd.sweep(config, grid, data, halving=options.one_in),
            "few": jd.sweep(config, few, data),
        }
        winner = found["all"].ensemble.config
        again = jd.sweep(winner.replace(dataset="mnist part"), {}, data, seeds=5)
        spread = stdev(again.test_accuracies)
        best, halved = (found[name].test_accuracies[0] for name in ("all", "halved"))
        rows.append(
            {
                **{name: one.document["seconds"]["train"] for name, one in found.items()},
                "winner": found["all"].best.name,
                "halving's winner": found["halved"].best.name,
                "test accuracies": [best, halved],
                "deviation of seeds": spread,
                "agrees": halved >= best - 2 * spread,
            }
        )
        print(rows[-1], flush=True)
        document = {
            "command": "python experiments/halving.py",
            "date": date.today().isoformat(),
            "settings": len(found["all"].settings),
            "epochs": options.epochs,
            "one_in": options.one_in,
            **environment(),
            "rows": rows,
        }
        write_json(options.json, document)


if __name__ == "__main__":
    main()
