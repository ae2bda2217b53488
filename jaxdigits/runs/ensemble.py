"""Several runs as one."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxdigits.errors import ConfigError
from jaxdigits.models import Apply, Model
from jaxdigits.runs.run import Run


def stack(runs: Sequence[Run]) -> Run:
    """Make the run whose probabilities are the mean of the members'.

    Its logits are the logarithms of these, its parameters those of the members, stacked.

    Args:
        runs: that differ in their parameters only, as those of one config with several seeds do.

    Raises:
        ConfigError: there is no run, or their networks or classes differ.

    Example:
        >>> import jaxdigits as jd
        >>> run = jd.load("digits")
        >>> stack([run, run])
        <Run: ensemble of 2 x convnet on mnist>
    """
    if not runs:
        raise ConfigError("an ensemble needs at least one run")
    first = runs[0]
    shapes = [
        (run.class_names, jax.tree.structure(run.params), _shapes(run), _settings(run))
        for run in runs
    ]
    if any(shape != shapes[0] for shape in shapes):
        raise ConfigError("the members of an ensemble must have one network and the same classes")
    return replace(
        first,
        model=Model(first.model.init, _mean_of(first.model.apply, len(runs))),
        params=jax.tree.map(lambda *leaves: np.stack(leaves), *(run.params for run in runs)),
        results={},
        calibration=None,
        members=tuple(runs),
        history=(),
        folder=None,
    )


@lru_cache(maxsize=16)
def _mean_of(apply: Apply, members: int) -> Apply:
    """Make the network of an ensemble: equal arguments give the same object, as of `make_model`."""

    def mean(params: Any, images: Float[Array, "n ..."]) -> Float[Array, "n classes"]:
        logs = lax.map(lambda member: jax.nn.log_softmax(apply(member, images)), params)
        return jax.nn.logsumexp(logs, axis=0) - math.log(members)

    return mean


def _shapes(run: Run) -> list[Any]:
    return [leaf.shape for leaf in jax.tree.leaves(run.params)]


def _settings(run: Run) -> Any:
    """What the members share: network, scaling of pixels, and form of images."""
    scaling = [float(value) for value in run.scaling]
    return run.config.replace(seed=0), scaling, run.image_shape, run.form, run.light_ground
