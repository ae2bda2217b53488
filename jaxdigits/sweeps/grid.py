"""Many trainings that differ in seed and settings, and the ensemble of the best.

Members that differ only in seed, learning rate, weight decay and momentum have arrays of the same
shapes: one compiled program trains them, some at a time, spread over the devices.

On a CPU each device takes its members one after the other (`lax.map`): a small network's arrays
then stay in the cache, and a convolution stays one. On other devices they are vmapped.
"""

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key

from jaxdigits.config import TrainConfig
from jaxdigits.data import Examples
from jaxdigits.errors import ConfigError, RunError
from jaxdigits.evaluation.calibration import Calibration
from jaxdigits.models import Model
from jaxdigits.runs import run as runs
from jaxdigits.runs.run import Run
from jaxdigits.training.optimizers import Rates
from jaxdigits.training.trainer import (
    Metrics,
    TrainingData,
    TrainState,
    compiler_options,
    make_trainer,
)

FORMAT = 1
"""Of `sweep.json`."""

SWEEP_FILE = "sweep.json"
MEMBERS = "members"
"""The folder of the members' run folders, and the name of the mesh's axis."""

MANY = 1000
"""Members of a sweep, at most: a mistyped list should not begin."""


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
    names = list(grid)
    combinations = itertools.product(*grid.values())
    settings = [
        TrainConfig.from_dict({**base.as_dict(), **dict(zip(names, values, strict=True))})
        for values in combinations
    ]
    if len(set(settings)) < len(settings):
        raise ConfigError("the values of a setting must differ from each other")
    return settings


def share_program(members: Sequence[TrainConfig]) -> list[list[int]]:
    """The indices of members that one compiled program can train, in lists.

    Example:
        >>> rates, widths = (0.1, 0.2), ((3,), (4,))
        >>> configs = [TrainConfig(learning_rate=r, hidden=h) for r in rates for h in widths]
        >>> share_program(configs)
        [[0, 2], [1, 3]]
    """
    found: dict[TrainConfig, list[int]] = {}
    for index, config in enumerate(members):
        found.setdefault(_of_program(config), []).append(index)
    return list(found.values())


def _of_program(config: TrainConfig) -> TrainConfig:
    """What the program depends on: all settings but those that are arguments of it."""
    return dataclasses.replace(config, learning_rate=1.0, weight_decay=0.0, momentum=0.0, seed=0)


class Together(NamedTuple):
    """Pure functions that train members together; each array has an axis of members in front.

    Attributes:
        init: `init(keys, rates, data) -> states`.
        train_epoch: `train_epoch(states, rates, examples) -> (states, metrics)`.
        evaluate: `evaluate(states, examples) -> metrics`.
        mesh: the devices over which the members are spread.
        count_epochs: as of a `Trainer`.
    """

    init: Callable[[Key[Array, " members"], Rates, TrainingData], TrainState]
    train_epoch: Callable[[TrainState, Rates, Examples], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Examples], Metrics]
    mesh: Mesh
    count_epochs: Callable[[TrainingData], int]

    def jit(self, function: Callable, **options: Any) -> Any:
        """`jax.jit` of one of these functions, with the options that suit the devices."""
        return jax.jit(function, compiler_options=compiler_options(self.mesh), **options)

    def put(self, data: TrainingData) -> TrainingData:
        """The data on all devices."""
        return jax.device_put(data, NamedSharding(self.mesh, PartitionSpec()))

    def spread(self, members: Any) -> Any:
        """Arrays of members, a share of them on each device."""
        return jax.device_put(members, NamedSharding(self.mesh, PartitionSpec(MEMBERS)))


def train_together(config: TrainConfig, num_classes: int, mesh: Mesh) -> Together:
    """The functions that train members of one config, its rates and seed left open.

    The number of members must be a multiple of the number of devices. Each member is the training
    that `jaxdigits.training.trainer.make_trainer` makes on one device, but for rounding.

    Args:
        config: of all members; seed, learning rate, weight decay and momentum are not looked at.
        num_classes: of the data.
        mesh: devices along one axis, `MEMBERS`.

    Example:
        >>> import jax.numpy as jnp, jaxdigits as jd
        >>> data = jd.load_training_data("digits")
        >>> config = TrainConfig(model="linear", epochs=2)
        >>> together = train_together(config, 10, members_mesh(1))
        >>> rates = Rates(*(jnp.full(3, rate) for rate in (0.01, 0.1, 0.9)))
        >>> states = together.init(jax.random.split(jax.random.key(0), 3), rates, data)
        >>> states, metrics = together.train_epoch(states, rates, data.train)
        >>> metrics.loss.shape
        (3,)
    """
    alone = make_trainer(config, num_classes)
    # Small arrays stay in a CPU's cache so, and convolutions stay ordinary ones.
    one_by_one = mesh.devices.flat[0].platform == "cpu"

    def each(function: Callable, *members: Any) -> Any:
        if one_by_one:
            return lax.map(lambda member: function(*member), members)
        return jax.vmap(function)(*members)

    def with_rates(rates: Rates) -> Any:
        return make_trainer(config, num_classes, rates=rates)

    def init(keys: Any, rates: Rates, data: TrainingData) -> TrainState:
        return each(lambda key, rates: with_rates(rates).init(key, data), keys, rates)

    def train_epoch(states: TrainState, rates: Rates, examples: Examples) -> Any:
        return each(
            lambda state, rates: with_rates(rates).train_epoch(state, examples), states, rates
        )

    def evaluate(states: TrainState, examples: Examples) -> Metrics:
        return each(lambda state: alone.evaluate(state, examples), states)

    own, whole = PartitionSpec(MEMBERS), PartitionSpec()

    def on_devices(function: Callable, shared: int) -> Any:
        specs = (own,) * shared + (whole,)
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=own, check_vma=False)

    return Together(
        init=on_devices(init, 2),
        train_epoch=on_devices(train_epoch, 2),
        evaluate=on_devices(evaluate, 1),
        mesh=mesh,
        count_epochs=alone.count_epochs,
    )


def members_mesh(devices: int | None = None) -> Mesh:
    """The devices over which members are spread: all, if no number is given.

    Raises:
        ConfigError: there are not so many.
    """
    there = jax.local_devices()
    devices = len(there) if devices is None else devices
    if not 1 <= devices <= len(there):
        raise ConfigError(
            f"devices must be 1 to {len(there)}, as many as jax has here, not {devices}"
        )
    return Mesh(np.array(there[:devices]), (MEMBERS,))


def rates_of(members: Sequence[TrainConfig]) -> Rates:
    """The rates of members, float32."""
    columns = ((c.learning_rate, c.weight_decay, c.momentum) for c in members)
    return Rates(*(np.array(column, np.float32) for column in zip(*columns, strict=True)))


def at_once(
    config: TrainConfig, num_classes: int, data: TrainingData, members: int, mesh: Mesh
) -> int:
    """How many members one call of the program should train: a multiple of the devices.

    All of them, if their states and the data fit into half of the memory that is free (what a step
    needs besides is known when the program is compiled); on a CPU, for convolutional networks, one
    on each device, as each takes long enough.

    Example:
        >>> import jaxdigits as jd
        >>> data = jd.load_training_data("digits")
        >>> at_once(TrainConfig(model="linear"), 10, data, members=5, mesh=members_mesh(1))
        5
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    rounds = -(-members // mesh.size)
    if on_cpu and config.model in ("convnet", "resnet18"):
        return mesh.size
    trainer = make_trainer(config, num_classes)
    key = jax.random.key(0)
    state = jax.eval_shape(trainer.init, key, data)
    member = 2 * _bytes(state)  # before the epoch and after it
    budget = memory_budget(mesh) - _bytes(data)
    return mesh.size * max(min(rounds, int(budget // member)), 1)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_budget(mesh: Mesh) -> int:
    """Bytes on each device that a program may take: half of what is free, a CPU's devices share."""
    device = mesh.devices.flat[0]
    found = device.memory_stats() if device.platform != "cpu" else None
    if found and "bytes_limit" in found:
        return (found["bytes_limit"] - found["bytes_in_use"]) // 2
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return free // (2 * mesh.size)


def program_bytes(compiled: Any) -> int:
    """Bytes on each device that a compiled program takes, its arguments included."""
    memory = compiled.memory_analysis()
    if memory is None:  # not all devices tell
        return 0
    taken = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return taken + memory.temp_size_in_bytes - memory.alias_size_in_bytes


def in_calls(indices: Sequence[int], size: int) -> list[list[int]]:
    """Members in lists of one length, the last filled up with its last member.

    Example:
        >>> in_calls([0, 1, 2, 3, 4], 2)
        [[0, 1], [2, 3], [4, 4]]
    """
    calls = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
    calls[-1] += [calls[-1][-1]] * (size - len(calls[-1]))
    return calls


def make_ensemble(members: Sequence[Run], results: Mapping[str, Any]) -> Run:
    """The run whose probabilities are the mean of the members'.

    Its logits are the logarithms of these, its parameters those of the members, stacked.

    Args:
        members: of one config but for the seed.
        results: what was measured, by split.

    Example:
        >>> run = make_ensemble([jd.load("runs/a"), jd.load("runs/b")], {})  # doctest: +SKIP
    """
    first = members[0]
    single = first.model.apply

    def apply(params: Any, images: Float[Array, "n 28 28"]) -> Float[Array, "n classes"]:
        logs = lax.map(lambda member: jax.nn.log_softmax(single(member, images)), params)
        return jax.nn.logsumexp(logs, axis=0) - math.log(len(members))

    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(run.params for run in members))
    model = Model(first.model.init, apply)
    return dataclasses.replace(
        first,
        model=model,
        params=params,
        results=results,
        calibration=None,
        members=tuple(members),
    )


def load_ensemble(folder: Path) -> Run:
    """The ensemble of the best setting's members, from the folder of a sweep.

    Raises:
        RunError: the folder is damaged, or of a newer version.
    """
    path = folder / SWEEP_FILE
    try:
        document = json.loads(path.read_text())
        if document["format"] > FORMAT:
            raise RunError(
                f"{path} was written by a newer jaxdigits (format {document['format']}): upgrade"
            )
        best = document["settings"][document["best"]]
        names, results = best["ensemble"]["members"], best["ensemble"]["results"]
        calibrated = best["ensemble"].get("calibration")
        calibration = Calibration.from_dict(calibrated) if calibrated else None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path} is damaged: {error}; begin the sweep again") from None
    members = [runs.load(folder / MEMBERS / str(name)) for name in names]
    return dataclasses.replace(make_ensemble(members, results), calibration=calibration)


def describe_setting(config: TrainConfig, names: Sequence[str]) -> str:
    """What distinguishes a setting.

    Example:
        >>> describe_setting(TrainConfig(hidden=(32, 16)), ["learning_rate", "hidden"])
        'learning_rate 0.005, hidden 32x16'
    """
    words = []
    for name in names:
        value: Any = getattr(config, name)
        if isinstance(value, tuple):
            value = ("x" if name == "hidden" else "+").join(map(str, value)) or "none"
        words.append(f"{name} {value}")
    return ", ".join(words) or "all"


def member_state(states: TrainState, index: int) -> TrainState:
    """One member's part of states that are on the host.

    (From several devices it would be gathered array by array, which can block a busy CPU for good.)
    """
    return jax.tree.map(lambda leaf: leaf[index], states)
