"""Successive halving: of many settings, only the best go on.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization"
(2016). All members stay in one compiled program; it leaves out the work for those that were
dropped, and deals out the others evenly over the devices.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int

from jaxdigits.training.batches import steps_per_epoch
from jaxdigits.training.members import MEMBERS, VectorizedTrainer
from jaxdigits.training.state import EpochMetrics, TrainingData, TrainState


class Search(NamedTuple):
    """Members of a search, in the order of their places.

    Attributes:
        states: their states; of a dropped member the last one.
        members: which member is at each place.
        alive: whether it is still trained.
        metrics: of its last epoch.
    """

    states: TrainState
    members: Int[Array, " members"]
    alive: Bool[Array, " members"]
    metrics: EpochMetrics


def plan_rungs(settings: int, epochs: int, one_in: int) -> list[int]:
    """How many settings are left after each epoch.

    While more than `one_in` are left, each rung keeps one in `one_in`, and trains it `one_in` times
    as long as the rung before, so that all rungs cost about the same.

    Example:
        >>> plan_rungs(16, 10, one_in=4)
        [16, 4, 4, 4, 4, 4, 4, 4, 4, 4]
        >>> plan_rungs(256, 30, one_in=4)[:10]
        [64, 16, 16, 16, 16, 16, 4, 4, 4, 4]
        >>> plan_rungs(3, 2, one_in=4)
        [3, 3]
    """
    rungs = 0
    while math.ceil(settings / one_in**rungs) > one_in:
        rungs += 1
    rungs = min(rungs, max(epochs - 1, 0))
    weights = np.cumsum([float(one_in) ** rung for rung in range(rungs + 1)])
    found, kept = [], settings
    ends: list[int] = []
    for share in weights[:-1] / weights[-1]:
        ends.append(max(round(epochs * float(share)), (ends or [0])[-1] + 1))
    for epoch in range(1, epochs + 1):
        kept = math.ceil(kept / one_in) if epoch in ends else kept
        found.append(kept)
    return found


def start(
    trainer: VectorizedTrainer,
    settings: Sequence[int],
    keys: Any,
    hyperparams: Any,
    data: TrainingData,
) -> Search:
    """All members, before the first epoch.

    Args:
        trainer: of the members.
        settings: of each member, the number of its setting; -1 for one that only fills up.
        keys: of each member.
        hyperparams: of each member.
        data: to train on.
    """
    states = trainer.init(keys, hyperparams, data.train)
    untrained = trainer.evaluate(states, data.validation)
    metrics, alive = EpochMetrics(untrained, untrained), jnp.array(settings) >= 0
    return _sharded(Search(states, jnp.arange(len(alive)), alive, metrics), trainer)


def make_epoch(trainer: VectorizedTrainer, settings: Sequence[int], kept: Sequence[int]) -> Any:
    """Make `epoch(search, data) -> search`, a pure function: train, and drop what is not kept.

    Args:
        trainer: of the members.
        settings: as for `start`; the mean of a setting's members counts.
        kept: of `plan_rungs`.
    """
    many = max(settings) + 1
    of_member = jnp.array([many if number < 0 else number for number in settings])
    after, before = jnp.array(kept), jnp.array([many, *kept[:-1]])

    def epoch(search: Search, data: TrainingData) -> Search:
        states, metrics = trainer.epoch_of_alive(search.states, search.alive, search.metrics, data)
        search = search._replace(states=states, metrics=metrics)
        steps = steps_per_epoch(len(data.train.labels), trainer.parts.config.batch_size)
        done = states.step.max() // steps - 1
        keep = after[done]
        search = lax.cond(keep < before[done], lambda: drop(search, keep), lambda: search)
        return _sharded(search, trainer)

    def drop(search: Search, keep: Int[Array, ""]) -> Search:
        ids = of_member[search.members]
        ranks = _ranks(search, ids, many + 1)[ids]
        devices, places = trainer.mesh.size, jnp.argsort(ranks)
        dealt = places.reshape(-1, devices).T.ravel()  # neighbors to different devices
        moved = jax.tree.map(lambda leaf: leaf[dealt], search)
        return moved._replace(alive=ranks[dealt] < keep)

    return epoch


def _sharded(search: Search, trainer: VectorizedTrainer) -> Search:
    """A share of the places on each device."""
    sharding = NamedSharding(trainer.mesh, PartitionSpec(MEMBERS))
    return jax.tree.map(lambda leaf: lax.with_sharding_constraint(leaf, sharding), search)


def _ranks(search: Search, ids: Int[Array, " members"], many: int) -> Int[Array, " settings"]:
    """The ranks of settings, by their mean validation loss; then those dropped before.

    Of an early epoch the loss tells more of the last one's accuracy than the accuracy does.
    """
    loss = search.metrics.validation.loss
    counts = jax.ops.segment_sum(jnp.ones_like(ids), ids, many)
    means = jax.ops.segment_sum(loss, ids, many) / jnp.maximum(counts, 1)
    means = jnp.where(jnp.isfinite(means), means, jnp.inf)
    dropped = jax.ops.segment_max(search.alive.astype(jnp.int32), ids, many) < 1
    return jnp.argsort(jnp.lexsort((means, dropped)))
