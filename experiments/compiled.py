"""Compile the networks for a TPU v5e and an H100, and keep what the programs tell.

    pip install -e '.[compile-tpu,compile-gpu]'
    python experiments/compiled.py

Neither is needed. It takes about ten minutes on two cores.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

import jaxdigits as jd
from jaxdigits.bench.ahead import compile_for
from jaxdigits.environment import environment
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"

TARGETS = (("tpu:v5e:2x2", 1), ("tpu:v5e:2x2", 4), ("gpu:h100", 1))
"""Devices, and how many of them."""

SEEDS = {"linear": (1,), "mlp": (1, 32), "convnet": (1,), "resnet18": (1,)}
"""Networks, and how many are trained together."""


def main() -> None:
    """Compile all of them, and write the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--json", type=Path, default=RESULTS / "compiled.json")
    arguments = parser.parse_args()
    rows = []
    for model, numbers in SEEDS.items():
        config = jd.TrainConfig.from_dict({"model": model, "batch_size": arguments.batch_size})
        for seeds in numbers:
            for name, devices in TARGETS:
                found = compile_for(name, config, devices=devices, seeds=seeds)
                rows.append(found.as_dict())
                print(found, file=sys.stderr)
    document = {"command": "python experiments/compiled.py", "rows": rows, **environment()}
    write_json(arguments.json, document)


if __name__ == "__main__":
    main()
