"""How fast does a network train here, and in PyTorch?

    pip install torch
    python experiments/peers/networks_against_pytorch.py

Expect: a table with a line for each workload: images a second here, in each variant of PyTorch, and
the ratio to PyTorch's fastest.

| workload | network | optimiser |
|---|---|---|
| `letters` | the third post's, `pool_activation="none"`, 26 classes | Adam |
| `resnet18` | ResNet-18 with fastai's head, 7x7 stem, 10 classes | AdamW |
| `resnet18-3x3` | the same with a 3x3 stem: 16 times the work | AdamW |

The same work on both sides: 28x28 images in a new random order each round, batches of 64,
cross-entropy, one update a batch, weight decay for weights alone, float32, all cores. The numbers
of parameters are compared, and must be equal. Here the images are bytes, gathered and scaled batch
by batch, a round is one XLA program, and it also counts correct predictions; nothing is augmented.
PyTorch is eager, and has its images in memory as floats, scaled beforehand, gathered batch by
batch. Its variants:

- `last`: channels last in memory, fused optimiser;
- `first`: channels first, fused optimiser;
- `default`: channels last, the optimiser as it is by default;
- `RGB`: `last`, but the grey image repeated to three channels, as fastai has it (ResNet only).

The others take ResNet's grey image as one channel, with the sum of the first kernel's three, as is
done here: the same result with less work. The fastest variant counts, chosen once by its median,
not round by round.

Each side and each variant is a process of its own, which waits for its turn, so that none of them
meets the other's threads or memory. They take turns, a round each, so that a machine that drifts
drifts for all; before each turn is a pause, because PyTorch's threads go on spinning for some
milliseconds. The first round of each, which compiles and warms up, is not counted. Pixels are
random: their values do not change how long a round takes.

The machine must have nothing else to do. PyTorch's threads wait for each other by spinning, and
lose far more than a fair share of a core to another program: the ratio would flatter us. How many
cores others use is measured before each workload, written down, and told if it is not almost none.
"""

import argparse
import datetime
import importlib.metadata
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdigits.commands import prepare_jax, usable_cores
from jaxdigits.files import write_json

RESULTS = Path(__file__).parents[1] / "results"
BATCH_SIZE = 64
OURS = "jaxdigits"
PAUSE = 0.1
"""Seconds before each turn."""
BUSY = 0.2
"""Cores used by other programs above which a result is doubtful."""


class Workload(NamedTuple):
    """What both sides do.

    Attributes:
        settings: of the `TrainConfig`.
        num_classes: of the labels.
        count: images a round.
    """

    settings: dict[str, Any]
    num_classes: int
    count: int


_RESNET = {"model": "resnet18", "optimizer": "adamw", "weight_decay": 0.01, "dropout": 0.5}

WORKLOADS = {
    "letters": Workload(
        {"model": "convnet", "pool_activation": "none", "optimizer": "adam"}, 26, 6_400
    ),
    "resnet18": Workload(_RESNET, 10, 1_280),
    "resnet18-3x3": Workload({**_RESNET, "stem": "3x3"}, 10, 640),
}


class Variant(NamedTuple):
    """How PyTorch does it.

    Attributes:
        channels_last: or first, in memory.
        fused: the optimiser.
        channels: of an image.
    """

    channels_last: bool = True
    fused: bool = True
    channels: int = 1


VARIANTS = {
    "last": Variant(),
    "first": Variant(channels_last=False),
    "default": Variant(fused=False),
    "RGB": Variant(channels=3),
}


def variants_of(workload: Workload) -> list[str]:
    """The names of PyTorch's variants for a workload."""
    return [name for name in VARIANTS if name != "RGB" or workload.settings["model"] == "resnet18"]


def make_config(workload: Workload) -> Any:
    """The `TrainConfig` of a workload."""
    import jaxdigits as jd

    return jd.TrainConfig(
        **workload.settings,
        augment=(),
        schedule="constant",
        learning_rate=0.001,
        batch_size=BATCH_SIZE,
    )


def random_images(workload: Workload, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return images, random.integers(0, workload.num_classes, count).astype(np.int32)


Round = Callable[[], float]
"""Trains with all images once, waits until that is done, and gives a loss."""


def ours(workload: Workload, count: int) -> tuple[int, Round]:
    """The number of parameters, and a round: one XLA program."""
    prepare_jax()
    import jax

    import jaxdigits as jd
    from jaxdigits.models import count_params
    from jaxdigits.training import default_mesh

    config = make_config(workload)
    examples = jd.Examples(*random_images(workload, count))
    trainer = jd.make_trainer(config, workload.num_classes, mesh=default_mesh(config))
    data = trainer.put(jd.TrainingData(examples, examples, workload.num_classes))
    state = trainer.jit(trainer.init)(jax.random.key(0), data)
    train_epoch = trainer.jit(trainer.train_epoch, donate_argnums=0)

    def run() -> float:
        nonlocal state
        state, measured = jax.block_until_ready(train_epoch(state, data.train))
        return float(measured.loss)

    return count_params(state.params), run


def theirs(workload: Workload, count: int, variant: Variant) -> tuple[int, Round]:
    """The number of parameters, and a round: the usual loop."""
    import torch
    from pytorch_networks import LettersNetwork, ResNet18

    torch.set_num_threads(usable_cores())
    config = make_config(workload)
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    if config.model == "convnet":
        net = LettersNetwork(workload.num_classes)
    else:
        net = ResNet18(workload.num_classes, config.stem, config.dropout)
    net = net.to(memory_format=layout).train()
    parameters = list(net.parameters())
    if config.optimizer == "adam":
        kind, groups = torch.optim.Adam, [{"params": parameters}]
    else:
        kind = torch.optim.AdamW
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    optimizer = kind(groups, lr=config.learning_rate, fused=variant.fused or None)
    images, labels = random_images(workload, count)
    inputs = (torch.tensor(images) / 255 - 0.5) / 0.25
    # Made so that the strides tell the layout even of one channel: PyTorch goes by them.
    if variant.channels_last:
        inputs = inputs[..., None].repeat(1, 1, 1, variant.channels).permute(0, 3, 1, 2)
    else:
        inputs = inputs[:, None].repeat(1, variant.channels, 1, 1)
    targets = torch.tensor(labels).long()
    loss_function = torch.nn.CrossEntropyLoss()

    def run() -> float:
        order = torch.randperm(count)
        for start in range(0, count, BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_function(net(inputs[batch]), targets[batch])
            loss.backward()
            optimizer.step()
        return loss.item()

    return sum(parameter.numel() for parameter in parameters), run


def work(side: str, workload: Workload, count: int) -> None:
    """A process of one side: a round and its seconds for each line of standard input."""
    if side == OURS:
        parameters, run = ours(workload, count)
    else:
        parameters, run = theirs(workload, count, VARIANTS[side])
    print(parameters, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        loss = run()
        seconds = time.perf_counter() - began
        if not math.isfinite(loss):
            sys.exit(f"{side}: the loss is {loss}")
        print(seconds, flush=True)


def start(side: str, name: str, count: int) -> Iterator[float]:
    """A side's number of parameters, then seconds of one round after another."""
    command = [sys.executable, __file__, "--workloads", name, "--images", str(count)]
    with subprocess.Popen(
        [*command, "--side", side], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while line := process.stdout.readline():
            yield float(line)
            time.sleep(PAUSE)
            print(file=process.stdin, flush=True)
    sys.exit(f"{side} ended before its turn")


def busy_cores() -> float | None:
    """How many cores other programs use now; None where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None

    def idle() -> int:
        return int(stat.read_text().split()[4])

    first, seconds = idle(), 2.0
    time.sleep(seconds)
    free = (idle() - first) / os.sysconf("SC_CLK_TCK") / seconds
    return max((os.cpu_count() or 1) - free, 0.0)


def compare(name: str, count: int, rounds: int) -> dict[str, Any]:
    """The sides in turns, for one workload."""
    busy = busy_cores()
    if busy is not None and busy > BUSY:
        print(f"{name}: doubtful, other programs use {busy:.1f} cores", file=sys.stderr)
    variants = variants_of(WORKLOADS[name])
    sides = {side: start(side, name, count) for side in (OURS, *variants)}
    parameters = {side: int(next(numbers)) for side, numbers in sides.items()}
    if len(set(parameters.values())) > 1:
        sys.exit(f"{name}: the networks have unequal numbers of parameters: {parameters}")
    turns = [{side: next(numbers) for side, numbers in sides.items()} for _ in range(rounds + 1)]
    for numbers in sides.values():
        numbers.close()
    turns = turns[1:]
    seconds = {side: statistics.median(turn[side] for turn in turns) for side in sides}
    best = min(variants, key=seconds.__getitem__)
    ratios = [turn[best] / turn[OURS] for turn in turns]
    return {
        "workload": name,
        "images": count,
        "parameters": parameters[OURS],
        "images_per_second": {side: count / seconds[side] for side in sides},
        "pytorch_best": best,
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "seconds": seconds,
        "cores_used_by_others": busy,
        "rounds": turns,
    }


def main() -> None:
    """Prints a line for each workload, and writes all to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="a round, if not as many as usual")
    parser.add_argument("--out", type=Path, default=RESULTS / "networks_against_pytorch.json")
    parser.add_argument("--side", choices=(OURS, *VARIANTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    counts = {name: arguments.images or WORKLOADS[name].count for name in arguments.workloads}
    if arguments.side:
        (name,) = counts
        work(arguments.side, WORKLOADS[name], counts[name])
        return

    rows = []
    header = "".join(f"{side:>11}" for side in (OURS, *VARIANTS))
    print(f"{'images a second':16}{header}{'ratio':>8}   of rounds")
    for name, count in counts.items():
        row = compare(name, count, arguments.rounds)
        rows.append(row)
        rates = row["images_per_second"]
        cells = [f"{rates[side]:11,.0f}" if side in rates else 11 * " " for side in VARIANTS]
        low, high = row["ratio_range"]
        print(
            f"{name:16}{rates[OURS]:11,.0f}{''.join(cells)}{row['ratio']:8.2f}   "
            f"{low:.2f} to {high:.2f}, to {row['pytorch_best']}",
            flush=True,
        )
    document = {
        "title": "images a second in training, batches of 64",
        "command": "python experiments/peers/networks_against_pytorch.py",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {usable_cores()} cores",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "torch")},
        "rows": rows,
    }
    write_json(arguments.out, document)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
