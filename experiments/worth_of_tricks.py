"""What is each trick for convolutions on a CPU worth?

    python experiments/worth_of_tricks.py

Trains the default network without one trick after another, interleaved, and says how many times as
long it then takes. The docstrings in `jaxdigits/ops/` quote the result.

Expect, on two CPU cores: plain `lax` convolutions 20 times or more, the others 1.1 to 2 times.
"""

import argparse
from contextlib import nullcontext
from datetime import date
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jaxdigits.environment import prepare_jax, usable_cores

prepare_jax()

import jax
import jax.numpy as jnp
from jax import lax

from jaxdigits import data
from jaxdigits.bench.intervals import ratio
from jaxdigits.bench.timing import interleaved, prepare
from jaxdigits.bench.workloads import Benchmark, Workload
from jaxdigits.config import TrainConfig
from jaxdigits.environment import environment
from jaxdigits.files import write_json
from jaxdigits.models import convnet
from jaxdigits.training import step as training

convolution = import_module("jaxdigits.ops.conv")  # in `ops` that name is the function

RESULTS = Path(__file__).parent / "results"


def pool_by_window(images: jax.Array) -> jax.Array:
    """Max-pooling by `lax.reduce_window`."""
    window = (1, 2, 2, 1)
    return lax.reduce_window(images, -jnp.inf, lax.max, window, window, "SAME")


def pool_by_maximum(images: jax.Array) -> jax.Array:
    """Max-pooling by `jnp.max` over the axes of each window."""
    height, width = images.shape[1:3]
    edges = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    padded = jnp.pad(images, edges, constant_values=-jnp.inf)
    count, height, width, channels = padded.shape
    return padded.reshape(count, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def always(method: str, *_: Any) -> str:
    """Instead of the choice of a method."""
    return method


WITHOUT: dict[str, tuple[Any, str, Any] | None] = {
    "nothing": None,
    "Winograd: `canonical` convolutions": (convolution, "_choose", partial(always, "canonical")),
    "a form for loops: `lax` convolutions": (convolution, "_choose", partial(always, "lax")),
    "another form for one channel": (convolution, "_choose", partial(always, "winograd")),
    "max_pool: `lax.reduce_window`": (convnet, "max_pool", pool_by_window),
    "max_pool: `jnp.max`": (convnet, "max_pool", pool_by_maximum),
    "gelu: `jax.nn.gelu`": (convnet, "gelu", partial(jax.nn.gelu, approximate=False)),
    "one sum over devices: one for each array": (training, "sum_over_devices", lax.psum),
}


def main() -> None:
    """Print a line for each trick, and write all to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS / "worth_of_tricks.json")
    arguments = parser.parse_args()
    images = data.load("digits")
    config = TrainConfig(augment=(), schedule="constant")
    benchmark = Benchmark("letters", "train", 64)
    workloads = {"letters": Workload(config, 26, 640)}
    programs = {}
    with patch("jaxdigits.bench.workloads.WORKLOADS", workloads):
        for name, trick in WITHOUT.items():
            with patch.object(*trick) if trick else nullcontext():
                programs[name] = prepare(benchmark, images)
        programs["several devices: one"] = prepare(
            Benchmark("letters", "train", 64, devices=1), images
        )
    timings = interleaved(programs, rounds=arguments.rounds, round_seconds=0.3)
    rows = {}
    print(f"{'without':45}{'times as long':>14}   95% interval")
    for name, timing in timings.items():
        found = ratio(timings["nothing"].seconds, timing.seconds)
        rows[name] = {**found._asdict(), "seconds": timing.seconds}
        print(f"{name:45}{found.value:14.2f}   {found.low:.2f} to {found.high:.2f}")
    document = {
        "title": "the default network without a trick: times as long",
        "command": "python experiments/worth_of_tricks.py",
        "date": date.today().isoformat(),
        "cores": usable_cores(),
        **environment(),
        "rows": rows,
    }
    write_json(arguments.out, document)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
