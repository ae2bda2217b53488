"""Members of a sweep as an input pipeline."""

from typing import Any

import jax
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.runs import multihost
from jaxdigits.runs.members import HalvedMembers, Members
from jaxdigits.training.members import VectorizedTrainer
from jaxdigits.training.state import Metrics

CONFIG = jd.TrainConfig(dataset="digits", model="linear", batch_size=512, epochs=2)


@pytest.mark.parametrize("halving", [None, 2])
def test_what_other_processes_have(monkeypatch, halving):
    """Members lie in shares on the devices of all: metrics and parameters are gathered.

    An epoch takes the memory of the one before it, and all begin in one program.
    """
    kind = HalvedMembers if halving else Members
    train, begun = kind.train, []
    jit, programs = VectorizedTrainer.jit, []

    def noted(self, function, **options):
        programs.append(function)
        return jit(self, function, **options)

    monkeypatch.setattr(VectorizedTrainer, "jit", noted)

    def watched(self, progress, chunk):
        begun.append(progress.states if halving else progress)
        return train(self, progress, chunk)

    monkeypatch.setattr(kind, "train", watched)
    gathered: list[Any] = []

    def gather(tree: Any) -> Any:
        gathered.append(tree)
        return jax.tree.map(np.asarray, tree)

    monkeypatch.setattr(multihost, "gather", gather)
    grid = {"learning_rate": [1e-3, 1e-2, 1e-1, 1.0]}  # two on each device
    jd.sweep(CONFIG, grid, seeds=1, halving=halving)
    if halving:
        told = [tree[1] for tree in gathered if isinstance(tree, tuple) and len(tree) == 2]
        metrics = [tree for tree in told if isinstance(tree, Metrics)]
    else:
        metrics = [tree for tree in gathered if isinstance(tree, Metrics)]
        told = [tree for tree in gathered if not isinstance(tree, Metrics)]
    # Of the untrained members, and of each epoch those of training and of validation.
    assert len(metrics) == 1 + 2 * 2
    ((params, steps),) = [tree for tree in told if not isinstance(tree, Metrics)]
    assert len(steps) == 4
    assert {len(leaf) for leaf in jax.tree.leaves(params)} == {4}
    assert len(programs) == (2 if halving else 3)  # to begin, to train, and to evaluate
    (state,) = begun
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
