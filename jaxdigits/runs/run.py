"""A trained network with all that is needed to use it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32, Num

from jaxdigits.config import TrainConfig
from jaxdigits.data.dataset import Dataset, Fingerprint, check_images
from jaxdigits.errors import ConfigError, DataError
from jaxdigits.evaluation import robustness
from jaxdigits.evaluation.calibration import Calibration, calibrate
from jaxdigits.evaluation.metrics import Evaluation, evaluate
from jaxdigits.files import StrPath
from jaxdigits.losses import Loss
from jaxdigits.models import Apply, Model, Params
from jaxdigits.programs import filled
from jaxdigits.training.batches import EVALUATION_BATCH
from jaxdigits.transforms.scaling import Scaling, scale_inputs, unit_pixels

Images = Num[np.ndarray | Array, "n ..."]

HAND = "hand"
"""In `Run.own`: what it was taught by `jaxdigits.handwriting.teach`."""


@dataclass(frozen=True, eq=False)
class Run:
    """A trained network with all that is needed to use it.

    Attributes:
        config: the settings it was trained with.
        model: its pure functions.
        params: its parameters.
        scaling: of the pixels.
        class_names: by label.
        fingerprint: of the data it was trained on.
        results: what was measured at the end of training, by split, as in `run.json`.
        environment: the versions and the device that it was trained with.
        calibration: how far to trust it, from the validation images; None if not measured.
        members: of an ensemble, the networks whose probabilities it averages.
        image_shape: (height, width) or (height, width, channels) of the images that it takes.
        form: how a picture becomes such an image: `mnist`, `emnist`, or `plain`.
        light_ground: whether its images are dark on a light ground.
        extent: what a character fills of an image of the form `plain`: the larger share of a side.
        light_files: of image files, whether those whose border does not tell are on a light ground.
        own: the names of the parts that no config can bring back: `model`, `loss`, ..., `hand`.
        loss: your own, if it was trained with one.
        history: the metrics of each epoch, from 0 (untrained), as in `metrics.jsonl`.
        seconds: that the parts of the training took.
        devices: the number that shared each batch.
        init_from: the folder of the run that it started from, or `memory`; None for initial values.
        stream: whether its training images stayed on the disk.
        folder: that it lies in; None if nowhere.
    """

    config: TrainConfig
    model: Model
    params: Params
    scaling: Scaling
    class_names: tuple[str, ...]
    fingerprint: Fingerprint
    results: Mapping[str, Any]
    environment: Mapping[str, Any]
    calibration: Calibration | None = None
    members: tuple["Run", ...] = ()
    image_shape: tuple[int, ...] = (28, 28)
    form: str = "plain"
    light_ground: bool = False
    extent: float = 1.0
    light_files: bool = False
    own: tuple[str, ...] = ()
    loss: Loss | None = None
    history: Sequence[Mapping[str, Any]] = ()
    seconds: Mapping[str, float] | None = None
    devices: int = 1
    init_from: str | None = None
    stream: bool = False
    folder: Path | None = None

    def __repr__(self) -> str:
        """One line: the network, its data, and its test accuracy."""
        test = self.results.get("test")
        accuracy = f", test accuracy {test['accuracy']:.2%}" if test else ""
        kind = f"ensemble of {len(self.members)} x " if self.members else ""
        return f"<Run: {kind}{self.network_name} on {self.fingerprint.name}{accuracy}>"

    @property
    def network_name(self) -> str:
        """The name of the network, or `own network`."""
        return "own network" if "model" in self.own else self.config.model

    def predict(self, images: Images) -> Int32[np.ndarray, " n"]:
        """The most probable label of each image.

        Args:
            images: [n, *image_shape]; uint8, pixels 0..255, or floats, 0..1; upright, and for the
                networks inside ink bright on a dark ground.

        Raises:
            DataError: the images have another shape or dtype.
        """
        return self.predict_logits(images).argmax(axis=-1).astype(np.int32)

    def predict_proba(self, images: Images) -> Float32[np.ndarray, "n classes"]:
        """The calibrated probability of each class for each image: what the commands show.

        The softmax of the logits at the temperature that fits the validation images; at 1 where the
        run has no calibration. Arguments and errors: see `predict`.
        """
        return (self.calibration or Calibration()).probabilities(self.predict_logits(images))

    def predict_uncalibrated_proba(self, images: Images) -> Float32[np.ndarray, "n classes"]:
        """The softmax of the logits as they are. Arguments and errors: see `predict`."""
        return Calibration().probabilities(self.predict_logits(images))

    def predict_logits(self, images: Images) -> Float32[np.ndarray, "n classes"]:
        """The logits of each image. Arguments and errors: see `predict`."""
        check_images(images)
        if tuple(images.shape[1:]) != self.image_shape:
            raise DataError(
                f"the network takes images of shape {list(self.image_shape)}; "
                f"these have shape {list(images.shape[1:])}"
            )
        images = np.asarray(images)  # slices of jax's arrays would be a program for each shape
        parts = []
        for start in range(0, len(images), EVALUATION_BATCH):
            batch = images[start : start + EVALUATION_BATCH]
            logits = logits_of(self, filled(batch, EVALUATION_BATCH))
            parts.append(np.asarray(logits)[: len(batch)])
        return np.concatenate(parts)

    def evaluate(self, dataset: Dataset) -> Evaluation:
        """Loss and accuracy on a split.

        Raises:
            DataError: the data have other classes than the network.
            ConfigError: the run has a loss of its own, which was not given to `load`.
        """
        return self.score(self.predict_logits(dataset.images), dataset)

    def score(self, logits: Float32[np.ndarray, "n classes"], dataset: Dataset) -> Evaluation:
        """The same, from logits that are there already."""
        self.check_classes(dataset)
        if "loss" in self.own and self.loss is None:
            raise ConfigError("the run has a loss of its own: load it with load(..., loss=...)")
        loss = self.loss or self.config.loss
        return evaluate(logits, dataset.labels, self.class_names, loss, split=dataset.split)

    def accuracies_jittered(self, dataset: Dataset, draws: int = 10) -> list[float]:
        """The accuracy on jittered images, once per draw: post C, row C5.

        See `jaxdigits.evaluation.robustness.accuracies_jittered`; the keys are the same for every
        network.

        Raises:
            DataError: the data have other classes than the network.
        """
        self.check_classes(dataset)
        return robustness.accuracies_jittered(self.predict, dataset.images, dataset.labels, draws)

    def check_classes(self, dataset: Dataset) -> None:
        """Raise DataError where data have other classes than the network."""
        if dataset.class_names != self.class_names:
            raise DataError(
                f"the network knows the classes {', '.join(self.class_names)}; the data are of "
                f"{', '.join(dataset.class_names)}"
            )

    def save(self, folder: StrPath, *, overwrite: bool = False) -> Path:
        """Write a run folder that `jaxdigits.load` reads, and return its absolute path.

        Args:
            folder: where to; see `jaxdigits.runs.folder` for what it will hold.
            overwrite: replace an older run there.

        Raises:
            OutputError: the folder cannot be written, or is taken.

        Example:
            >>> import tempfile, jaxdigits as jd
            >>> folder = jd.load("digits").save(tempfile.mkdtemp() + "/copy")
            >>> jd.load(folder)
            <Run: convnet on mnist, test accuracy 99.57%>
        """
        from jaxdigits.runs import folder as folders

        return folders.save_new(self, folder, overwrite=overwrite)

    def export(self, path: StrPath, format: str | None = None) -> Path:
        """Write the network in a format that needs no run folder, and return the absolute path.

        Args:
            path: the file.
            format: `html`, `onnx`, `safetensors`, or `stablehlo`; see `jaxdigits.runs.export`.
                Default: what the file's name ends with.

        Raises:
            ConfigError: there is no such format, it cannot hold this network, or a package is
                missing; which one, it says.
            OutputError: the file cannot be written.

        Example:
            >>> import tempfile, jaxdigits as jd
            >>> jd.load("digits").export(tempfile.mkdtemp() + "/digits.html").name
            'digits.html'
        """
        from jaxdigits.runs import export

        return export.export(self, path, format)


def logits_of(run: Run, images: Num[Any, "n ..."]) -> Float[Array, "n classes"]:
    """Compute logits unchecked, so that jax can trace it: for gradients and exported programs.

    Args:
        run: the network.
        images: [n, *image_shape]; uint8, pixels 0..255, or floats, 0..1.
    """
    return _network(run.model.apply, run.config.scale)(run.params, run.scaling, images)


@lru_cache(maxsize=16)
def _network(apply: Apply, scale: str) -> Callable[..., Float[Array, "n classes"]]:
    """Jit a network, once for all runs that share it; those not used for longest are dropped."""

    def logits(
        params: Params, scaling: Scaling, images: Num[Any, "n ..."]
    ) -> Float[Array, "n classes"]:
        pixels = unit_pixels(jnp.asarray(images))
        return apply(params, scale_inputs(pixels, scaling=scaling, scale=scale))

    return jax.jit(logits)


class RunEvaluation(NamedTuple):
    """What `measure` gives.

    Attributes:
        run: with results, and with a calibration.
        evaluations: of each split.
        logits: of each split's images, float32 [n, classes].
    """

    run: Run
    evaluations: list[Evaluation]
    logits: list[Float32[np.ndarray, "n classes"]]


def measure(run: Run, validation: Dataset, *more: Dataset) -> RunEvaluation:
    """Measure a network at the end of its training.

    Args:
        run: as it was trained.
        validation: to fit its calibration to.
        more: other splits.

    Raises:
        DataError: the data have other classes than the network.
    """
    splits = (validation, *more)
    logits = [run.predict_logits(split.images) for split in splits]
    evaluations = [run.score(*pair) for pair in zip(logits, splits, strict=True)]
    # A network that has diverged is not to be trusted at any temperature.
    finite = np.isfinite(logits[0]).all()
    run = replace(
        run,
        results={evaluation.split: evaluation.as_dict() for evaluation in evaluations},
        calibration=calibrate(logits[0], validation.labels) if finite else None,
    )
    return RunEvaluation(run, evaluations, logits)
