"""Members of a sweep trained together: states with an axis in front.

On a CPU each device takes its members one after the other (`lax.map`): a small network's arrays
stay in the cache, and a convolution stays one. On other devices they are vmapped.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Key

from jaxdigits.config import TrainConfig
from jaxdigits.data import Examples
from jaxdigits.environment import compiler_options
from jaxdigits.training.resolve import DataSpec, Parts
from jaxdigits.training.sharding import make_mesh, platform_of, shard
from jaxdigits.training.state import (
    EpochMetrics,
    Metrics,
    TrainingData,
    TrainState,
    with_hyperparams,
)
from jaxdigits.training.trainer import make_trainer

MEMBERS = "members"
"""The name of the mesh's axis."""

_BLOCKS = 4  # of members of a search on a device, where they are vmapped


class VectorizedTrainer(NamedTuple):
    """Pure functions that train members together; each array has an axis of members in front.

    Attributes:
        parts: of each member.
        init: `init(keys, hyperparams, examples) -> states`.
        train_epoch: `train_epoch(states, examples) -> (states, metrics)`.
        evaluate: `evaluate(states, examples) -> metrics`.
        epoch_of_alive: `epoch_of_alive(states, alive, metrics, data) -> (states, metrics)`: train
            and evaluate those that are alive; of others all stays as it is, and costs nothing.
        mesh: the devices that the members are sharded over.
        num_epochs: of the run.
    """

    parts: Parts
    init: Callable[..., TrainState]
    train_epoch: Callable[[TrainState, Examples], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Examples], Metrics]
    epoch_of_alive: Callable[..., tuple[TrainState, EpochMetrics]]
    mesh: Mesh
    num_epochs: int

    def jit(self, function: Callable, **options: Any) -> Any:
        """`jax.jit` of one of these functions, with the compiler options that suit the devices."""
        return jax.jit(function, compiler_options=compiler_options(self.mesh), **options)

    def shard(self, members: Any) -> Any:
        """Put a share of the members on each device."""
        return shard(members, self.mesh, PartitionSpec(MEMBERS))


def make_vectorized_trainer(
    config: TrainConfig, data: TrainingData | DataSpec, mesh: Mesh
) -> VectorizedTrainer:
    """Make the functions that train members of a config; seeds and hyperparameters may differ.

    The number of members must be a multiple of the number of devices. Each member's run is the one
    of `jaxdigits.training.trainer.make_trainer` on one device, but for rounding.

    Args:
        config: of all members; its seed is not looked at.
        data: to train on, or what must be known of it.
        mesh: devices along one axis, `MEMBERS`.

    Example:
        >>> import jax.numpy as jnp, jaxdigits as jd
        >>> data = jd.load_training_data("digits")
        >>> trainer = make_vectorized_trainer(TrainConfig(model="linear"), data, members_mesh(1))
        >>> rates = {"learning_rate": jnp.array([0.01, 0.1, 1.0])}
        >>> states = trainer.init(jax.random.split(jax.random.key(0), 3), rates, data.train)
        >>> states, metrics = trainer.train_epoch(states, data.train)
        >>> metrics.loss.shape
        (3,)
    """
    alone = make_trainer(config, data)
    map_on_cpu = platform_of(mesh) == "cpu"

    def each(function: Callable, *members: Any) -> Any:
        if map_on_cpu:
            return lax.map(lambda member: function(*member), members)
        return jax.vmap(function)(*members)

    def init(keys: Key[Array, " members"], hyperparams: Any, examples: Examples) -> TrainState:
        def one(key: Any, values: Any) -> TrainState:
            return with_hyperparams(alone.init(key, examples), **values)

        return each(one, keys, hyperparams)

    def train_epoch(states: TrainState, examples: Examples) -> tuple[TrainState, Metrics]:
        return each(lambda state: alone.train_epoch(state, examples), states)

    def evaluate(states: TrainState, examples: Examples) -> Metrics:
        return each(lambda state: alone.evaluate(state, examples), states)

    def epoch_of_alive(
        states: TrainState, alive: Bool[Array, " members"], metrics: EpochMetrics, data: Any
    ) -> tuple[TrainState, EpochMetrics]:
        def one(alive: Any, state: TrainState, metrics: EpochMetrics) -> Any:
            def train() -> tuple[TrainState, EpochMetrics]:
                return alone.epoch(state, data)

            return lax.cond(alive, train, lambda: (state, metrics))

        if map_on_cpu:
            return lax.map(lambda member: one(*member), (alive, states, metrics))
        # A vmapped condition computes both sides: blocks without any that are alive are left out.
        count = len(alive)
        size = max(size for size in range(1, max(count // _BLOCKS, 1) + 1) if count % size == 0)

        def block(members: Any) -> Any:
            def train() -> Any:
                return jax.vmap(one)(*members)

            return lax.cond(members[0].any(), train, lambda: members[1:])

        members = jax.tree.map(
            lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), (alive, states, metrics)
        )
        found = lax.map(block, members)
        return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[2:]), found)

    sharded, replicated = PartitionSpec(MEMBERS), PartitionSpec()

    def on_devices(function: Callable, *in_specs: Any) -> Any:
        return jax.shard_map(
            function, mesh=mesh, in_specs=in_specs, out_specs=sharded, check_vma=False
        )

    return VectorizedTrainer(
        parts=alone.parts,
        init=on_devices(init, sharded, sharded, replicated),
        train_epoch=on_devices(train_epoch, sharded, replicated),
        evaluate=on_devices(evaluate, sharded, replicated),
        epoch_of_alive=on_devices(epoch_of_alive, sharded, sharded, sharded, replicated),
        mesh=mesh,
        num_epochs=alone.num_epochs,
    )


def members_mesh(devices: int | None = None) -> Mesh:
    """The devices that members are sharded over. Default: all, of all processes.

    Raises:
        ConfigError: see `jaxdigits.training.sharding.make_mesh`.
    """
    return make_mesh(jax.devices(), devices, MEMBERS)
