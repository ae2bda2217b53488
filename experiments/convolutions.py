"""Where do the convolutions of `jaxdigits.ops` pay, in networks of others?

    python experiments/convolutions.py    # `lax` in a loop takes minutes a shape

A convolution and the gradients of its kernel and of its images, as a layer of any network needs in
training: by `jaxdigits.ops.conv`, by `lax.conv_general_dilated`, which flax and equinox call, and
by PyTorch, where it is installed. Each is timed alone, in a `lax.scan` of some steps, in one
image by image under `jax.vmap` as equinox does it, and in one over two networks; all in turns.
"""

import argparse
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from jaxdigits.environment import prepare_jax, usable_cores

prepare_jax()

import jax
from jax import lax
from tqdm import tqdm

from jaxdigits.bench.document import machine_info
from jaxdigits.bench.intervals import ratio, typical
from jaxdigits.bench.timing import Program, compile_program, interleaved
from jaxdigits.environment import environment
from jaxdigits.files import write_json
from jaxdigits.ops import conv

RESULTS = Path(__file__).parent / "results"
STEPS, NETWORKS = 4, 2
PLACES = ("alone", "in scan", "by image", "in vmap")

SHAPES = (
    # batch, side, kernel, channels in, channels out
    (64, 28, 3, 1, 32),
    (64, 28, 3, 32, 32),
    (64, 14, 3, 32, 64),
    (8, 14, 3, 32, 64),
    (64, 14, 5, 32, 64),
    (64, 14, 1, 64, 128),
    (64, 7, 3, 64, 128),
)


def step(convolve: Callable[..., Any], carry: Any) -> Any:
    """Move kernel and images against their gradients."""

    def loss(carry: Any) -> Any:
        kernel, images = carry
        return (convolve(images, kernel) ** 2).mean()

    return jax.tree.map(lambda value, slope: value - slope, carry, jax.grad(loss)(carry))


def by_image(convolve: Callable[..., Any], images: Any, kernel: Any) -> Any:
    """Convolve one image at a time, all of them by `jax.vmap`."""
    return jax.vmap(lambda image: convolve(image[None], kernel)[0])(images)


def loop(one: Callable[[Any], Any], carry: Any) -> Any:
    """Take some steps."""
    return lax.scan(lambda carry, _: (one(carry), None), carry, length=STEPS)[0]


def programs_of(shape: tuple[int, ...]) -> dict[str, tuple[Program, int]]:
    """Compile what is timed, by name, with the number of steps of each."""
    batch, side, span, inputs, outputs = shape
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(span, span, inputs, outputs)).astype(np.float32)
    images = rng.normal(size=(batch, side, side, inputs)).astype(np.float32)
    carry = kernel / np.float32(span * inputs**0.5), images
    many = jax.tree.map(lambda array: np.stack([array] * NETWORKS), carry)
    by_lax = partial(
        lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    found = {}
    for name, convolve in (("ops", partial(conv, padding="SAME")), ("lax", by_lax)):
        one = partial(step, convolve)
        found[f"{name} alone"] = compile_program(jax.jit(one), (carry,)), 1
        found[f"{name} in scan"] = compile_program(jax.jit(partial(loop, one)), (carry,)), STEPS
        single = partial(step, partial(by_image, convolve))
        found[f"{name} by image"] = compile_program(jax.jit(partial(loop, single)), (carry,)), STEPS
        vmapped = jax.jit(partial(loop, jax.vmap(one)))
        found[f"{name} in vmap"] = compile_program(vmapped, (many,)), STEPS * NETWORKS
    torch_step = by_torch(*carry)
    if torch_step:
        found["torch alone"] = Program(torch_step, 0, 0, 0, 0, 0, 0, 1), 1
    return found


def by_torch(kernel: np.ndarray, images: np.ndarray) -> Callable[[], Any] | None:
    """Return the same step in PyTorch, channels last, which is its fastest way on a CPU."""
    if find_spec("torch") is None:
        return None
    torch = import_module("torch")

    def channels_last(array: np.ndarray) -> Any:
        values = torch.tensor(array).contiguous(memory_format=torch.channels_last)
        return values.requires_grad_()

    weight = channels_last(kernel.transpose(3, 2, 0, 1))
    pixels = channels_last(images.transpose(0, 3, 1, 2))

    def call() -> None:
        loss = (torch.nn.functional.conv2d(pixels, weight, padding="same") ** 2).mean()
        slopes = torch.autograd.grad(loss, (weight, pixels))
        with torch.no_grad():
            for value, slope in zip((weight, pixels), slopes, strict=True):
                value -= slope

    return call


def main() -> None:
    """Time each shape, and write all to a file."""
    parser = argparse.ArgumentParser(description="Convolutions in networks of others.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=RESULTS / "convolutions.json")
    options = parser.parse_args()
    rows = []
    for shape in tqdm(SHAPES):
        found = programs_of(shape)
        timings = interleaved(
            {name: program for name, (program, _) in found.items()},
            rounds=options.rounds,
            round_seconds=0.1,
        )
        seconds = {
            name: [value / found[name][1] for value in timing.seconds]
            for name, timing in timings.items()
        }
        row: dict[str, Any] = dict(
            zip(("batch", "side", "kernel", "inputs", "outputs"), shape, strict=True)
        )
        for where in PLACES:
            row[f"ops {where}"] = typical(seconds[f"ops {where}"])._asdict()
        for name, where in product(("lax", "torch"), PLACES):
            others = seconds.get(f"{name} {where}", seconds.get(f"{name} alone"))
            if others:
                row[f"{name} {where}"] = ratio(seconds[f"ops {where}"], others)._asdict()
        rows.append(row)
        print({name: round(value["value"], 5) for name, value in list(row.items())[5:]}, flush=True)
    document = {
        "command": "python experiments/convolutions.py",
        "date": date.today().isoformat(),
        "cores": usable_cores(),
        "machine_info": machine_info(),
        **environment(),
        "rows": rows,
    }
    write_json(options.json, document)


if __name__ == "__main__":
    main()
