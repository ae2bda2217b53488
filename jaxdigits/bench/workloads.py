"""What is measured: training and inference of four networks of the posts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from jaxdigits.bench.flops import forward_flops, training_flops
from jaxdigits.config import Precision, TrainConfig
from jaxdigits.errors import ConfigError

Mode = Literal["train", "inference"]
MODES: tuple[Mode, ...] = get_args(Mode)

MNIST_COUNT = 60_000

FULL, QUICK = (300, 0.02), (80, 0.02)
"""Rounds, and about the seconds of each, if a call is not longer."""


class Workload(NamedTuple):
    """A network and how it is trained.

    Attributes:
        config: the settings.
        num_classes: of the labels.
        cpu_images: images per call on a CPU. They take some hundredths of a second, because many
            short rounds tell more than a few long ones. Elsewhere a call is an epoch of MNIST's
            size.
    """

    config: TrainConfig
    num_classes: int
    cpu_images: int


_CONFIG = TrainConfig(
    optimizer="adamw",
    weight_decay=0.01,
    schedule="constant",
    learning_rate=0.001,
    augment=(),
)

WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        "linear": Workload(_CONFIG.replace(model="linear"), 10, 12_800),
        "mlp": Workload(_CONFIG.replace(model="mlp", hidden=(30,)), 10, 12_800),
        "letters": Workload(_CONFIG.replace(pool_activation="none"), 26, 320),
        "resnet18": Workload(_CONFIG.replace(model="resnet18", dropout=0.5), 10, 64),
    }
)


@dataclass(frozen=True)
class Benchmark:
    """One thing to measure.

    Attributes:
        workload: its name.
        mode: training, or inference: logits and the largest of them.
        batch_size: images per step, over all devices.
        devices: the number to shard each batch over. Default: what suits the network.
        width: of the hidden layer of `mlp`. Default: 30.
        precision: of training, see `TrainConfig`.
    """

    workload: str
    mode: Mode
    batch_size: int
    devices: int | None = None
    width: int | None = None
    precision: Precision = "default"

    @property
    def name(self) -> str:
        """The name in tables and documents.

        Example:
            >>> Benchmark("mlp", "train", 64).name, Benchmark("mlp", "train", 64, width=512).name
            ('train[mlp-64]', 'train[mlp-64-width512]')
        """
        parts = [self.workload, f"{self.batch_size}"]
        parts += [f"width{self.width}"] if self.width else []
        parts += [f"devices{self.devices}"] if self.devices else []
        parts += [self.precision] if self.precision != "default" else []
        return f"{self.mode}[{'-'.join(parts)}]"

    @property
    def num_classes(self) -> int:
        """Of the labels."""
        return WORKLOADS[self.workload].num_classes

    @property
    def config(self) -> TrainConfig:
        """The settings."""
        config = WORKLOADS[self.workload].config
        config = config.replace(batch_size=self.batch_size, precision=self.precision)
        return config.replace(hidden=(self.width,)) if self.width else config

    @property
    def flops_per_image(self) -> int:
        """Operations, as `jaxdigits.bench.flops` counts them."""
        count = training_flops if self.mode == "train" else forward_flops
        return count(self.config, self.num_classes)

    def images(self, platform: str) -> int:
        """The number of images per call: whole batches.

        Example:
            >>> Benchmark("letters", "train", 128).images("cpu")
            384
        """
        wanted = WORKLOADS[self.workload].cpu_images if platform == "cpu" else MNIST_COUNT
        return -(-wanted // self.batch_size) * self.batch_size


class Plan(NamedTuple):
    """What to measure, and how long.

    Attributes:
        benchmarks: all of them.
        rounds: of each.
        round_seconds: of each round, about.
    """

    benchmarks: list[Benchmark]
    rounds: int
    round_seconds: float


def plan(
    workloads: Sequence[str] = (),
    modes: Sequence[str] = (),
    batch_sizes: Sequence[int] = (64,),
    *,
    rounds: int | None = None,
    quick: bool = False,
    devices: int | None = None,
    precision: Precision = "default",
) -> Plan:
    """Plan a measurement.

    Args:
        workloads: their names. Default: all.
        modes: `train`, `inference`, or both. Default: both.
        batch_sizes: images per step.
        rounds: of each benchmark. Default: 300, or 80 if `quick`.
        quick: whether fewer rounds will do.
        devices: the number to shard each batch over. Default: what suits each network.
        precision: of training; inference is always as by default.

    Raises:
        ConfigError: a name is unknown, or a number impossible.

    Example:
        >>> [benchmark.name for benchmark in plan(["linear"], ["train"], [64, 256]).benchmarks]
        ['train[linear-64]', 'train[linear-256]']
    """
    usual, seconds = QUICK if quick else FULL
    rounds = check_rounds(usual if rounds is None else rounds)
    if not all(1 <= size <= MNIST_COUNT for size in batch_sizes):
        raise ConfigError(f"batch sizes must be 1 to {MNIST_COUNT}")
    if any(size % (devices or 1) for size in batch_sizes):
        raise ConfigError(f"batch sizes must be multiples of the {devices} devices")
    benchmarks = [
        Benchmark(
            *(workload, mode, batch_size, devices),
            precision=precision if mode == "train" else "default",
        )
        for workload in _known("workload", workloads, WORKLOADS)
        for batch_size in dict.fromkeys(batch_sizes)
        for mode in _known("mode", modes, MODES)
    ]
    return Plan(benchmarks, rounds, seconds)


def check_rounds(rounds: int) -> int:
    """Return the number of rounds, or raise ConfigError if it is impossible."""
    if not 2 <= rounds <= 10_000:
        raise ConfigError(f"rounds must be 2 to 10000, not {rounds}")
    return rounds


def _known(what: str, names: Sequence[str], known: Iterable[str]) -> list[Any]:
    """The names, or all that are known if none is given."""
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no {what} {name}; there are {', '.join(known)}")
    return list(dict.fromkeys(names or known))
