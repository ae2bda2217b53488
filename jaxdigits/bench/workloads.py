"""What is measured: training and inference of four networks of the posts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from jaxdigits.bench.flops import forward_flops, training_flops
from jaxdigits.config import TrainConfig

Mode = Literal["train", "inference"]
MODES: tuple[Mode, ...] = get_args(Mode)

MNIST_COUNT = 60_000


@dataclass(frozen=True)
class Workload:
    """A network and how it is trained.

    Attributes:
        config: the settings.
        num_classes: of the labels.
        cpu_images: so many make a call on a CPU: some hundredths of a second, because many short
            rounds tell more than a few long ones. Elsewhere a call is an epoch of MNIST's size.
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
        "linear": Workload(replace(_CONFIG, model="linear"), 10, 12_800),
        "mlp": Workload(replace(_CONFIG, model="mlp", hidden=(30,)), 10, 12_800),
        "letters": Workload(replace(_CONFIG, pool_activation="none"), 26, 320),
        "resnet18": Workload(replace(_CONFIG, model="resnet18", dropout=0.5), 10, 64),
    }
)


@dataclass(frozen=True)
class Benchmark:
    """One thing to measure.

    Attributes:
        workload: its name.
        mode: training, or inference: logits and the largest of them.
        batch_size: images a step, over all devices.
        devices: how many share a batch; what suits the network, if not given.
        width: of the hidden layer of `mlp`, if not 30.
    """

    workload: str
    mode: Mode
    batch_size: int
    devices: int | None = None
    width: int | None = None

    @property
    def name(self) -> str:
        """As it stands in tables and documents.

        Example:
            >>> Benchmark("mlp", "train", 64).name, Benchmark("mlp", "train", 64, width=512).name
            ('train[mlp-64]', 'train[mlp-64-width512]')
        """
        parts = [self.workload, f"{self.batch_size}"]
        parts += [f"width{self.width}"] if self.width else []
        parts += [f"devices{self.devices}"] if self.devices else []
        return f"{self.mode}[{'-'.join(parts)}]"

    @property
    def num_classes(self) -> int:
        """Of the labels."""
        return WORKLOADS[self.workload].num_classes

    @property
    def config(self) -> TrainConfig:
        """The settings."""
        config = replace(WORKLOADS[self.workload].config, batch_size=self.batch_size)
        return replace(config, hidden=(self.width,)) if self.width else config

    @property
    def flops_per_image(self) -> int:
        """Operations, as `jaxdigits.bench.flops` counts them."""
        count = training_flops if self.mode == "train" else forward_flops
        return count(self.config, self.num_classes)

    def images(self, platform: str) -> int:
        """How many make a call: whole batches.

        Example:
            >>> Benchmark("letters", "train", 128).images("cpu")
            384
        """
        wanted = WORKLOADS[self.workload].cpu_images if platform == "cpu" else MNIST_COUNT
        return -(-wanted // self.batch_size) * self.batch_size
