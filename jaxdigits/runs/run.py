"""A trained network and the folder that it is kept in.

| file | content |
|---|---|
| `run.json` | config, data fingerprint, class names, scaling, versions, results, times |
| `metrics.jsonl`, `metrics.csv` | the metrics of each epoch, from 0 (untrained) |
| `params.safetensors` | the parameters: plain arrays, nothing that could run |
| `*.png` | loss and accuracy, sample predictions, confusion matrix, worst mistakes |
| `tensorboard` | the same metrics as events, if asked for |

The folder gets its name when all is written. Until then it is called `NAME.unfinished`, and may
hold checkpoints (`jaxdigits.runs.checkpoints`).
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Array, Float, Float32, Int32, UInt8

from jaxdigits.config import TrainConfig
from jaxdigits.data.dataset import Dataset, Fingerprint, check_images
from jaxdigits.errors import ConfigError, DataError, RunError
from jaxdigits.evaluation import robustness
from jaxdigits.evaluation.calibration import Calibration, calibrate
from jaxdigits.evaluation.metrics import Evaluation, evaluate
from jaxdigits.files import atomic_write, unfinished, write_json
from jaxdigits.models import Apply, Model, Params, make_model
from jaxdigits.training.batches import EVALUATION_BATCH
from jaxdigits.transforms.scaling import Scaling, scale_pixels

FORMAT = 2
"""Of `run.json`: raised when an older reader could not read it."""

RUN_FILE = "run.json"
PARAMS_FILE = "params.safetensors"

SHIPPED = MappingProxyType(
    {name: Path(__file__).parent.parent / "weights" / name for name in ("digits", "letters")}
)
"""The networks that come with the package; a card in each folder tells how it was made."""


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
        calibration: how far to trust it, from the validation images; None if nobody has measured.
        members: of an ensemble, the networks whose probabilities it averages.
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

    def __repr__(self) -> str:
        """One line: the network, its data and its test accuracy."""
        test = self.results.get("test")
        accuracy = f", test accuracy {test['accuracy']:.2%}" if test else ""
        kind = f"ensemble of {len(self.members)} x " if self.members else ""
        return f"<Run: {kind}{self.config.model} on {self.fingerprint.name}{accuracy}>"

    def predict(self, images: UInt8[np.ndarray | Array, "n 28 28"]) -> Int32[np.ndarray, " n"]:
        """The most probable label of each image.

        Args:
            images: pixels 0..255, upright, ink bright on a dark ground.

        Raises:
            DataError: the images are not uint8 [n, 28, 28].
        """
        return self.predict_logits(images).argmax(axis=-1).astype(np.int32)

    def predict_proba(
        self, images: UInt8[np.ndarray | Array, "n 28 28"]
    ) -> Float32[np.ndarray, "n classes"]:
        """The calibrated probability of each class for each image: what the commands show.

        The softmax of the logits at the temperature that fits the validation images; that of the
        logits as they are where the run has no calibration.

        Args:
            images: pixels 0..255, upright, ink bright on a dark ground.

        Raises:
            DataError: the images are not uint8 [n, 28, 28].
        """
        return (self.calibration or Calibration()).probabilities(self.predict_logits(images))

    def predict_uncalibrated_proba(
        self, images: UInt8[np.ndarray | Array, "n 28 28"]
    ) -> Float32[np.ndarray, "n classes"]:
        """The softmax of the logits as they are; arguments and errors as for `predict_proba`."""
        return Calibration().probabilities(self.predict_logits(images))

    def predict_logits(
        self, images: UInt8[np.ndarray | Array, "n 28 28"]
    ) -> Float32[np.ndarray, "n classes"]:
        """The logits of each image; arguments and errors as for `predict`."""
        check_images(images, (28, 28))
        parts = []
        for start in range(0, len(images), EVALUATION_BATCH):
            batch = np.asarray(images[start : start + EVALUATION_BATCH])
            # Few sizes, so that few programs are compiled, whatever the numbers of images.
            size = min(1 << (len(batch) - 1).bit_length(), EVALUATION_BATCH)
            padded = np.zeros((size, 28, 28), batch.dtype)
            padded[: len(batch)] = batch
            logits = _logits(self.model.apply, self.params, self.scaling, padded)
            parts.append(np.asarray(logits)[: len(batch)])
        return np.concatenate(parts)

    def evaluate(self, dataset: Dataset) -> Evaluation:
        """Loss and accuracy on a split.

        Raises:
            DataError: the data have other classes than the network.
        """
        return self.score(self.predict_logits(dataset.images), dataset)

    def accuracy_moved(self, dataset: Dataset, draws: int = 10) -> list[float]:
        """The accuracy on moved images, each time moved otherwise: the third post's test, row C5.

        Rows and columns shift by -2..2 pixels each, then five pixels are inverted
        (`jaxdigits.transforms.augment.jittered_copies`). The keys are the same for every network.

        Args:
            dataset: the images.
            draws: how often.

        Returns:
            An accuracy for each draw, 0..1.

        Raises:
            DataError: the data have other classes than the network.
        """
        self.check_classes(dataset)
        return robustness.accuracies_moved(self.predict, dataset.images, dataset.labels, draws)

    def check_classes(self, dataset: Dataset) -> None:
        """Raises DataError where data have other classes than the network."""
        if dataset.class_names != self.class_names:
            raise DataError(
                f"the network knows the classes {', '.join(self.class_names)}; the data are of "
                f"{', '.join(dataset.class_names)}"
            )

    def score(self, logits: Float32[np.ndarray, "n classes"], dataset: Dataset) -> Evaluation:
        """The same, from logits that are there already."""
        self.check_classes(dataset)
        return evaluate(
            logits, dataset.labels, dataset.class_names, self.config.loss, split=dataset.split
        )


@jax.jit(static_argnums=0)
def _logits(
    apply: Apply, params: Params, scaling: Scaling, images: UInt8[Array | np.ndarray, "n 28 28"]
) -> Float[Array, "n classes"]:
    return apply(params, scale_pixels(jnp.asarray(images), scaling))


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
    """Measures a network at the end of its training.

    Args:
        run: as it was trained.
        validation: what its calibration is fitted on.
        more: other splits.

    Raises:
        DataError: the data have other classes than the network.
    """
    splits = (validation, *more)
    logits = [run.predict_logits(split.images) for split in splits]
    evaluations = [run.score(*pair) for pair in zip(logits, splits, strict=True)]
    # A network that has diverged is not to be trusted at any temperature.
    sound = np.isfinite(logits[0]).all()
    run = dataclasses.replace(
        run,
        results={evaluation.split: evaluation.as_dict() for evaluation in evaluations},
        calibration=calibrate(logits[0], validation.labels) if sound else None,
    )
    return RunEvaluation(run, evaluations, logits)


def save(
    run: Run,
    folder: Path,
    times: Mapping[str, float],
    devices: int = 1,
    dtype: type[np.floating] = np.float32,
) -> dict[str, Any]:
    """Writes the parameters and `run.json`, and gives what stands in the latter.

    Args:
        run: the trained network.
        folder: where to.
        times: seconds that the parts of the training took.
        devices: how many have shared each batch.
        dtype: of the parameters in the file.

    Raises:
        OutputError: the folder cannot be written.
    """
    with atomic_write(folder / PARAMS_FILE) as path:
        arrays = {
            name: np.ascontiguousarray(leaf, dtype) for name, leaf in _named_leaves(run.params)
        }
        safetensors.numpy.save_file(arrays, path)
    document = {
        "format": FORMAT,
        "config": run.config.as_dict(),
        "data": run.fingerprint.as_dict(),
        "class_names": list(run.class_names),
        "scaling": {"mean": float(run.scaling.mean), "std": float(run.scaling.std)},
        "results": dict(run.results),
        "seconds": dict(times),
        "devices": devices,
        **run.environment,
    }
    if run.calibration:
        document["calibration"] = run.calibration.as_dict()
    write_json(folder / RUN_FILE, document)
    return document


def load(folder: str | Path) -> Run:
    """Loads a trained network: from its run folder, a sweep's, or one that comes with the package.

    Args:
        folder: as written by `jaxdigits train --out FOLDER`; by `jaxdigits sweep`, for the ensemble
            of its best setting; or one of `SHIPPED` by its name (a folder that is called so is
            meant by `./digits`).

    Raises:
        RunError: the folder holds no whole run, or one that this version cannot read.

    Example:
        >>> import jaxdigits as jd
        >>> run = jd.load("runs/mnist-convnet")                              # doctest: +SKIP
        >>> run.predict(jd.data.load("mnist", "test").images[:5])        # doctest: +SKIP
        array([7, 2, 1, 0, 4], dtype=int32)
        >>> jd.load("letters").class_names[:3]
        ('a', 'b', 'c')
        >>> jd.load("letters")
        <Run: convnet on emnist/letters, test accuracy 94.04%>
    """
    folder = SHIPPED.get(str(folder)) or Path(folder).expanduser()
    path = folder / RUN_FILE
    if os.path.exists(folder / "sweep.json"):  # pathlib's raises for a name that is too long
        from jaxdigits.sweeps.grid import load_ensemble

        return load_ensemble(folder)
    try:
        document = json.loads(path.read_text())
        if document["format"] > FORMAT:
            raise RunError(
                f"{path} was written by a newer jaxdigits (format {document['format']}): upgrade"
            )
        config = TrainConfig.from_dict(document["config"])
        fingerprint = Fingerprint(**document["data"])
        class_names = tuple(document["class_names"])
        scaling = Scaling(*(jnp.float32(document["scaling"][name]) for name in ("mean", "std")))
        results = document["results"]
        trained_with = {name: document[name] for name in ("versions", "device")}
        calibrated = document.get("calibration")
        calibration = Calibration.from_dict(calibrated) if calibrated else None
    except (FileNotFoundError, NotADirectoryError):
        way = "`jaxdigits train` makes one"
        if unfinished(folder).exists():
            way = f"`jaxdigits train --resume {folder}` goes on with one that is not finished"
        raise RunError(f"there is no run in {folder}: {path} does not exist; {way}") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        kind = "has an impossible setting" if isinstance(error, ConfigError) else "is damaged"
        raise RunError(f"{path} {kind}: {reason}; train it again") from None
    model = make_model(config, len(class_names))
    params = _load_params(folder / PARAMS_FILE, model)
    return Run(
        config,
        model,
        params,
        scaling,
        class_names,
        fingerprint,
        results,
        trained_with,
        calibration,
    )


def _load_params(path: Path, model: Model) -> Params:
    """Reads parameters into the structure that the model's own `init` gives."""
    template = jax.eval_shape(model.init, jax.random.key(0))
    try:
        arrays = safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} cannot be read ({error}); train it again") from None
    leaves = []
    for name, leaf in _named_leaves(template):
        array = arrays.pop(name, None)
        if array is not None and array.dtype == np.float16:  # half of the file's size
            array = array.astype(np.float32)
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            raise RunError(
                f"{path} is not of this run: expected {leaf.dtype} {list(leaf.shape)} "
                f"for {name}, found {found}"
            )
        leaves.append(jnp.asarray(array))
    if arrays:
        raise RunError(f"{path} is not of this run: it holds {', '.join(sorted(arrays))} as well")
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _named_leaves(params: Params) -> list[tuple[str, Any]]:
    """The arrays of a pytree with names such as `0.weight`."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]
