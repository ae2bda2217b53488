"""Where do runs begin to differ: with another jax, with two devices, with other products?

    python experiments/twins.py --other OTHER/bin/python

`OTHER/bin/python` is a Python that has jaxdigits with another version of jax. Each network is
trained on the digits inside; see `jaxdigits twin --help`. Results are in `results/twins.json`.
"""

import argparse
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from jaxdigits.environment import environment, prepare_jax

prepare_jax()

from tqdm import tqdm

import jaxdigits as jd
from jaxdigits.files import write_json
from jaxdigits.runs.sides import this_python
from jaxdigits.runs.twin import compare

RESULTS = Path(__file__).parent / "results"
NETWORKS = ("linear", "mlp", "convnet")


def main() -> None:
    """Train under two circumstances each, and write where they begin to differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--other", required=True, help="a Python with another jax")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--json", type=Path, default=RESULTS / "twins.json")
    options = parser.parse_args()
    here = this_python()
    circumstances = {
        "another jax": (options.other, {}),
        "one device": (f"env JAX_NUM_CPU_DEVICES=1 {here}", {}),
        "`--with precision=bfloat16`": (here, {"precision": "bfloat16"}),
        "random numbers by rbg": (f"env JAX_DEFAULT_PRNG_IMPL=rbg {here}", {}),
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for network in tqdm(options.networks):
            run = Path(folder) / network
            config = jd.TrainConfig(dataset="digits", model=network, epochs=2)
            jd.fit(config, folder=run, devices=2)
            for name, (command, settings) in circumstances.items():
                found = compare(run, (here, command), settings=settings)
                operation = found.operation and found.operation._asdict()
                row = {**found._asdict(), "operation": operation}
                rows.append({"network": network, "circumstance": name, **row})
                print(rows[-1], flush=True)
    document = {
        "command": "python experiments/twins.py --other OTHER/bin/python",
        "date": date.today().isoformat(),
        **environment(),
        "rows": rows,
    }
    write_json(options.json, document)


if __name__ == "__main__":
    main()
