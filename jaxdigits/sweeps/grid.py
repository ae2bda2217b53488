"""The members of a sweep: combinations of settings, grouped by the program that trains them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import psutil
from jax.sharding import Mesh

from jaxdigits.config import TrainConfig
from jaxdigits.data import Examples
from jaxdigits.errors import ConfigError
from jaxdigits.models import Hints, make_model
from jaxdigits.training.resolve import DataSpec
from jaxdigits.training.trainer import make_trainer

MAX_MEMBERS = 1000
"""Of a sweep: a mistyped list should not begin."""


@dataclass(frozen=True)
class Plan:
    """The members of a sweep.

    Attributes:
        settings: without seeds.
        members: a config each, the seeds of a setting one after the other.
        names: of the settings that differ.
    """

    settings: list[TrainConfig]
    members: list[TrainConfig]
    names: list[str]


def make_plan(config: TrainConfig, grid: Mapping[str, Sequence[Any]], seeds: int) -> Plan:
    """The members of a sweep.

    Raises:
        ConfigError: a value is impossible, or there are too many members.
    """
    settings = expand(config, grid)
    count = len(settings) * seeds
    if count > MAX_MEMBERS:
        raise ConfigError(f"{count:,} members are too many: at most {MAX_MEMBERS}")
    members = [
        setting.replace(seed=config.seed + number)
        for setting in settings
        for number in range(seeds)
    ]
    return Plan(settings, members, [name for name, values in grid.items() if len(values) > 1])


def expand(base: TrainConfig, grid: Mapping[str, Sequence[Any]]) -> list[TrainConfig]:
    """The settings of a sweep: every combination of the values, the last name's changing fastest.

    Args:
        base: all other settings.
        grid: values by the names of settings.

    Raises:
        ConfigError: a value is impossible, or dataset or seed are among the names.

    Example:
        >>> grid = {"learning_rate": [0.1, 0.2], "epochs": [3, 4]}
        >>> [(c.learning_rate, c.epochs) for c in expand(TrainConfig(), grid)]
        [(0.1, 3), (0.1, 4), (0.2, 3), (0.2, 4)]
    """
    for name in ("dataset", "seed"):
        if len(grid.get(name, ())) > 1:
            raise ConfigError(f"a sweep has one {name}" + "; give --seeds" * (name == "seed"))
    combinations = itertools.product(*grid.values())
    settings = [
        TrainConfig.from_dict({**base.as_dict(), **dict(zip(grid, values, strict=True))})
        for values in combinations
    ]
    if len(set(settings)) < len(settings):
        raise ConfigError("the values of a setting must differ from each other")
    return settings


def group_by_program(
    members: Sequence[TrainConfig], indices: Sequence[int] | None = None
) -> list[list[int]]:
    """The indices of members that one compiled program can train, in lists.

    Args:
        members: of the sweep.
        indices: of those to look at. Default: of all.

    Members that differ only in seed and in the optimizer's hyperparameters have arrays of the same
    shapes.

    Example:
        >>> rates, widths = (0.1, 0.2), ((3,), (4,))
        >>> configs = [
        ...     TrainConfig(model="mlp", learning_rate=r, hidden=h) for r in rates for h in widths
        ... ]
        >>> group_by_program(configs)
        [[0, 2], [1, 3]]
    """
    found: dict[Any, list[int]] = {}
    for index in range(len(members)) if indices is None else indices:
        config = members[index]
        settings = {**config.as_dict(), "seed": 0, **dict.fromkeys(config.hyperparams)}
        found.setdefault(tuple(settings.items()), []).append(index)
    return list(found.values())


def choose_members_per_batch(
    config: TrainConfig,
    spec: DataSpec,
    data_bytes: int,
    members: int,
    mesh: Mesh,
    *,
    all_at_once: bool = False,
) -> int:
    """How many members one call of the program should train: a multiple of the devices.

    All of them, if their states and the data fit into half of the memory that is free (what a step
    needs in addition is known when the program is compiled); on a CPU as many as suit the network,
    unless they are to be compared on the way, `all_at_once`.

    Example:
        >>> import jaxdigits as jd
        >>> from jaxdigits.training.members import members_mesh
        >>> spec = DataSpec.of(jd.load_training_data("digits"), "unit")
        >>> choose_members_per_batch(TrainConfig(model="linear"), spec, 10**6, 5, members_mesh(1))
        5
    """
    hints: Hints = make_model(config, spec.num_classes, spec.image_shape).hints
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if on_cpu and hints.members_at_once_on_cpu and not all_at_once:
        return mesh.size * hints.members_at_once_on_cpu
    trainer = make_trainer(config, spec)
    images = jax.ShapeDtypeStruct((spec.num_examples, *spec.image_shape), "uint8")
    labels = jax.ShapeDtypeStruct((spec.num_examples,), "int32")
    state = jax.eval_shape(trainer.init, jax.random.key(0), Examples(images, labels))
    member = 2 * tree_bytes(state)  # before the epoch and after it
    budget = memory_budget(mesh) - data_bytes
    return mesh.size * max(min(-(-members // mesh.size), int(budget // member)), 1)


def tree_bytes(tree: Any) -> int:
    """The bytes of a pytree's arrays, or of their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_budget(mesh: Mesh) -> int:
    """Bytes on each device that a program may take: half of what is free, a CPU's devices share."""
    devices = mesh.local_devices
    found = devices[0].memory_stats() if devices[0].platform != "cpu" else None
    if found and "bytes_limit" in found:
        return (found["bytes_limit"] - found["bytes_in_use"]) // 2
    return psutil.virtual_memory().available // (2 * len(devices))


def program_bytes(compiled: Any) -> int:
    """Bytes on each device that a compiled program takes, its arguments included."""
    memory = compiled.memory_analysis()
    if memory is None:  # not all devices tell
        return 0
    taken = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return taken + memory.temp_size_in_bytes - memory.alias_size_in_bytes


def batch_members(indices: Sequence[int], size: int) -> list[list[int]]:
    """Put members in lists of one length, the last filled up with its last member.

    Example:
        >>> batch_members([0, 1, 2, 3, 4], 2)
        [[0, 1], [2, 3], [4, 4]]
    """
    batches = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
    batches[-1] += [batches[-1][-1]] * (size - len(batches[-1]))
    return batches


def describe_setting(config: TrainConfig, names: Sequence[str]) -> str:
    """What distinguishes a setting.

    Example:
        >>> config = TrainConfig(model="mlp", hidden=(32, 16))
        >>> describe_setting(config, ["learning_rate", "hidden"])
        'learning_rate 0.005, hidden 32x16'
    """
    words = []
    for name in names:
        value: Any = getattr(config, name)
        if isinstance(value, tuple):
            value = ("x" if name == "hidden" else "+").join(map(str, value)) or "none"
        words.append(f"{name} {value}")
    return ", ".join(words) or "all"
