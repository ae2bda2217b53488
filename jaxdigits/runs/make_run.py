"""From trained parameters to a run."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdigits.data.dataset import Dataset, StoredSplit
from jaxdigits.environment import environment
from jaxdigits.models import Params, make_model
from jaxdigits.runs.run import Run
from jaxdigits.training.resolve import DataSpec, Parts
from jaxdigits.transforms.form import measure_extent
from jaxdigits.transforms.scaling import Scaling

_MEASURED = 1_000  # images, to see how large characters are in them


def make_run(
    parts: Parts,
    spec: DataSpec,
    params: Params,
    train: Dataset | StoredSplit,
    validation: Dataset,
    **more: Any,
) -> Run:
    """Make a run of trained parameters: the one place that does.

    Args:
        parts: that it was trained from.
        spec: of its data.
        params: the trained ones, on the host or a device.
        train: the training split.
        validation: the validation split.
        more: other attributes of `Run`.
    """
    own = "model" in parts.own
    model = parts.model if own else make_model(parts.config, spec.num_classes, spec.image_shape)
    return Run(
        config=parts.config,
        model=model,
        params=params,
        scaling=Scaling(*map(jnp.float32, spec.scaling)),
        class_names=train.class_names,
        fingerprint=train.fingerprint,
        results={},
        environment=environment(),
        image_shape=spec.image_shape,
        form=validation.form,
        light_ground=validation.light_ground,
        extent=_extent(validation),
        light_files=validation.light_files,
        own=parts.own,
        loss=parts.loss if "loss" in parts.own else None,
        **more,
    )


def _extent(dataset: Dataset) -> float:
    """Return what a character fills of an image; 1 in forms that have a size of their own."""
    if dataset.form != "plain":
        return 1.0
    images = np.asarray(dataset.images[:_MEASURED])
    if images.dtype != np.uint8:
        images = np.round(255 * images).astype(np.uint8)
    return measure_extent(images, light_ground=dataset.light_ground)
