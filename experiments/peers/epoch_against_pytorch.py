"""How long is a training epoch of MNIST's size here, and in eager PyTorch?

    pip install torch
    python experiments/peers/epoch_against_pytorch.py

Expect: 3 to 6 times faster than PyTorch on two CPU cores.

The same work on both sides: 60,000 images in a new random order each epoch, batches of 64 and a
last one of 32, cross-entropy, one update a batch. PyTorch has its images in memory as floats,
scaled beforehand; here they are bytes, scaled batch by batch, and each epoch also counts its
correct predictions. PyTorch's optimiser is tried in its default and its fused form, and the
faster one counts.

The sides take turns, an epoch each, so that a machine that drifts drifts for both. The first epoch
of each, which compiles and warms up, is not counted. Pixels are random: their values do not change
how long an epoch takes.
"""

import argparse
import datetime
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import torch

import jaxdigits as jd
from jaxdigits.files import write_json

RESULTS = Path(__file__).parents[1] / "results"
COUNT, BATCH_SIZE = 60_000, 64
WORKLOADS = {
    "linear, SGD": jd.TrainConfig(model="linear", optimizer="sgd"),
    "linear, Adam": jd.TrainConfig(model="linear", optimizer="adam"),
    "784-30-10, SGD": jd.TrainConfig(model="mlp", hidden=(30,), optimizer="sgd"),
    "784-30-10, Adam": jd.TrainConfig(model="mlp", hidden=(30,), optimizer="adam"),
}


def ours(config: jd.TrainConfig, images: np.ndarray, labels: np.ndarray) -> Iterator[float]:
    """Seconds of one epoch after another, one XLA program each."""
    examples = jd.Examples(images, labels)
    data = jax.device_put(jd.TrainingData(examples, jd.Examples(images[:1], labels[:1]), 10))
    trainer = jd.make_trainer(config, 10)
    state = jax.jit(trainer.init)(jax.random.key(0), data)
    epoch = jax.jit(trainer.epoch, donate_argnums=0)
    while True:
        began = time.perf_counter()
        state, measured = jax.block_until_ready(epoch(state, data))
        yield time.perf_counter() - began
        assert np.isfinite(measured.train.loss)


def theirs(
    config: jd.TrainConfig, images: np.ndarray, labels: np.ndarray, fused: bool
) -> Iterator[float]:
    """Seconds of one epoch after another, the usual loop."""
    layers: list[torch.nn.Module] = [torch.nn.Flatten()]
    widths = [784, *(config.hidden if config.model == "mlp" else ()), 10]
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    kind = torch.optim.SGD if config.optimizer == "sgd" else torch.optim.Adam
    optimizer = kind(net.parameters(), lr=config.learning_rate, fused=fused)
    inputs = (torch.tensor(images) / 255 - 0.5) / 0.25
    targets = torch.tensor(labels).long()
    loss_function: Callable = torch.nn.CrossEntropyLoss()
    while True:
        began = time.perf_counter()
        order = torch.randperm(COUNT)
        for start in range(0, COUNT, BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            optimizer.zero_grad()
            loss_function(net(inputs[batch]), targets[batch]).backward()
            optimizer.step()
        yield time.perf_counter() - began


def main() -> None:
    """Runs the sides in turns and prints a line for each workload."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS / "epoch_against_pytorch.json")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 10, COUNT).astype(np.int32)

    rows = []
    print(f"{'':18}{'jaxdigits':>12}{'PyTorch':>12}{'fused':>12}{'ratio':>8}   of rounds")
    for name, settings in WORKLOADS.items():
        config = jd.TrainConfig(
            model=settings.model,
            hidden=settings.hidden,
            optimizer=settings.optimizer,
            schedule="constant",
            learning_rate=0.001,
            batch_size=BATCH_SIZE,
        )
        sides = {
            "jaxdigits": ours(config, images, labels),
            "pytorch": theirs(config, images, labels, fused=False),
            "pytorch_fused": theirs(config, images, labels, fused=True),
        }
        rounds = [
            {side: next(epochs) for side, epochs in sides.items()}
            for _ in range(arguments.rounds + 1)
        ][1:]
        seconds = {side: float(np.median([turn[side] for turn in rounds])) for side in sides}
        # The better of PyTorch's two optimisers, chosen once, not round by round.
        best = min(("pytorch", "pytorch_fused"), key=seconds.__getitem__)
        ratios = [turn[best] / turn["jaxdigits"] for turn in rounds]
        row = {
            "workload": name,
            "seconds": seconds,
            "ratio": float(np.median(ratios)),
            "ratio_range": [min(ratios), max(ratios)],
            "rounds": rounds,
        }
        rows.append(row)
        print(
            f"{name:18}{1000 * seconds['jaxdigits']:9.0f} ms{1000 * seconds['pytorch']:9.0f} ms"
            f"{1000 * seconds['pytorch_fused']:9.0f} ms{row['ratio']:8.2f}   "
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            flush=True,
        )
    document = {
        "title": "seconds of a training epoch, 60,000 images, batches of 64",
        "command": "python experiments/peers/epoch_against_pytorch.py",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {"jax": jax.__version__, "torch": torch.__version__},
        "rows": rows,
    }
    write_json(arguments.out, document)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
