"""Is a network as accurate when it is trained in bfloat16, and how fast is that here?

    python experiments/precision.py --data-dir FOLDER

Each network is trained with five seeds, in float32 and in bfloat16, and measured on the test
images. The difference of each seed counts: both begin with the same parameters, and see the same
batches. Results are in `results/precision.json`; 15 minutes on two cores.
"""

import argparse
from pathlib import Path
from statistics import median

from jaxdigits.environment import environment, prepare_jax

prepare_jax()

from tabulate import tabulate

import jaxdigits as jd
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
NETWORKS = {
    "linear": jd.TrainConfig(dataset="mnist", model="linear", epochs=5),
    "mlp": jd.TrainConfig(dataset="mnist", model="mlp", epochs=5),
    "convnet": jd.TrainConfig(dataset="mnist", model="convnet", epochs=2),
    "resnet18": jd.TrainConfig(dataset="digits", model="resnet18", epochs=10, learning_rate=0.002),
}


def main() -> None:
    """Train each in both, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, default=RESULTS / "precision.json")
    options = parser.parse_args()
    rows = []
    for name in options.networks:
        config = NETWORKS[name]
        splits = ("train", "validation", "test")
        loaded = jd.data.load_splits(config.dataset, splits, data_dir=options.data_dir)
        data = dict(zip(splits, loaded, strict=True))
        accuracies: dict[str, list[float]] = {"default": [], "bfloat16": []}
        seconds: dict[str, list[float]] = {"default": [], "bfloat16": []}
        for seed in range(options.seeds):
            for precision in ("default", "bfloat16"):
                run = jd.fit(config.replace(seed=seed, precision=precision), data)
                accuracies[precision].append(run.results["test"]["accuracy"])
                seconds[precision].append((run.seconds or {})["train"])
                print(name, seed, precision, accuracies[precision][-1], flush=True)
        pairs = zip(accuracies["bfloat16"], accuracies["default"], strict=True)
        rows.append(
            {
                "network": name,
                "data": str(data["train"].fingerprint),
                "epochs": config.epochs,
                "float32": list(mean_interval(accuracies["default"])),
                "bfloat16": list(mean_interval(accuracies["bfloat16"])),
                "difference": list(mean_interval([one - other for one, other in pairs])),
                "times_as_fast": median(seconds["default"]) / median(seconds["bfloat16"]),
                "of_each_seed": accuracies,
            }
        )
        print(tabulate(rows, "keys", floatfmt=".4f"))
    document = {
        "command": f"python experiments/precision.py --seeds {options.seeds}",
        "seeds": options.seeds,
        "rows": rows,
        **environment(),
    }
    write_json(options.json, document)


if __name__ == "__main__":
    main()
