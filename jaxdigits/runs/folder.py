"""The folder that a run is kept in, and the only reader of its formats.

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

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxdigits.config import TrainConfig
from jaxdigits.data.dataset import Fingerprint
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError
from jaxdigits.evaluation.calibration import Calibration
from jaxdigits.files import (
    StrPath,
    absolute,
    atomic_write,
    file_sum,
    staged_directory,
    unfinished,
    write_json,
)
from jaxdigits.losses import Loss
from jaxdigits.models import Model, Params, make_model
from jaxdigits.runs.checkpoints import CHECKPOINT_FILES, named_leaves
from jaxdigits.runs.documents import (
    BestDocument,
    RunDocument,
    SweepDocument,
    check,
    decode,
    read_document,
    upgrade_settings,
)
from jaxdigits.runs.ensemble import stack
from jaxdigits.runs.log import CSV_FILE, METRICS_FILE, TENSORBOARD, MetricsLog
from jaxdigits.runs.run import HAND, Run
from jaxdigits.transforms.scaling import Scaling

logger = logging.getLogger("jaxdigits")

_ENVIRONMENT = ("versions", "device", "processor", "flags")

FORMAT = 4
"""Of `run.json`: raised when an older reader could not read it."""

SWEEP_FORMAT = 1
"""Of `sweep.json`."""

RUN_FILE = "run.json"
PARAMS_FILE = "params.safetensors"
SWEEP_FILE = "sweep.json"
MEMBERS = "members"
"""The folder of a sweep's run folders."""

PICTURES = ("curves.png", "predictions.png", "confusion.png", "mistakes.png")
RUN_FILES = (RUN_FILE, PARAMS_FILE, METRICS_FILE, CSV_FILE, *PICTURES)
KNOWN_FILES = (*RUN_FILES, TENSORBOARD, *CHECKPOINT_FILES)
"""What may be replaced."""

WEIGHTS = Path(__file__).parent.parent / "weights"
"""The folder of what comes with the package."""

SHIPPED: Mapping[str, Path] = MappingProxyType(
    {name: WEIGHTS / name for name in ("digits", "letters", "characters")}
)
"""The networks that come with the package; a card in each folder tells how it was made."""


def save(run: Run, folder: Path, dtype: type[np.floating] = np.float32) -> dict[str, Any]:
    """Write the parameters and `run.json` into a folder, and return what the latter holds.

    Args:
        run: the trained network.
        folder: where to.
        dtype: of the parameters in the file.

    Raises:
        OutputError: the folder cannot be written, or the run is an ensemble.
    """
    if run.members:
        raise OutputError("an ensemble is saved as its members: save each of run.members")
    save_params(run.params, folder / PARAMS_FILE, dtype)
    document = {
        "format": FORMAT,
        "config": run.config.as_dict(),
        "own": list(run.own),
        "data": run.fingerprint.as_dict(),
        "class_names": list(run.class_names),
        "image_shape": list(run.image_shape),
        "form": run.form,
        "light_ground": run.light_ground,
        "extent": run.extent,
        "light_files": run.light_files,
        "scaling": {"mean": float(run.scaling.mean), "std": float(run.scaling.std)},
        "params_sha256": file_sum(folder / PARAMS_FILE),
        "results": dict(run.results),
        "seconds": dict(run.seconds or {}),
        "devices": run.devices,
        "init_from": run.init_from,
        "stream": run.stream,
        **run.environment,
    }
    if run.calibration:
        document["calibration"] = run.calibration.as_dict()
    write_json(folder / RUN_FILE, document)
    return document


def save_params(params: Params, path: Path, dtype: type[np.number] = np.float32) -> None:
    """Write parameters, floats as `dtype`.

    As int8, an array of several axes gets another beside it, `NAME.scale`: float32, one for each
    place of its last axis, by which the whole numbers are to be multiplied.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays = {}
    for name, leaf in named_leaves(params):
        array = np.array(leaf, order="C")
        if dtype is not np.int8:
            floating = np.issubdtype(array.dtype, np.floating)
            array = array.astype(dtype) if floating else array
        elif array.ndim > 1:
            largest = np.abs(array).max(axis=tuple(range(array.ndim - 1)))
            scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            arrays[f"{name}.scale"], array = scale, np.round(array / scale).astype(np.int8)
        arrays[name] = array
    with atomic_write(path) as temporary:
        safetensors.numpy.save_file(arrays, temporary)


def save_new(run: Run, folder: StrPath, *, overwrite: bool = False) -> Path:
    """See `Run.save`."""
    if HAND in run.own:
        raise ConfigError("a taught network is not saved: save the hand, and the network it is for")
    with staged_directory(
        Path(folder), numbered=False, overwrite=overwrite, known=KNOWN_FILES
    ) as new:
        with MetricsLog(new.work, run.history):
            pass
        save(run, new.work)
    return new.final


def load(folder: StrPath, *, model: Model | None = None, loss: Loss | None = None) -> Run:
    """Load a trained network: from its run folder, a sweep's, or one that comes with the package.

    Args:
        folder: as written by `fit`, `Run.save`, or `jaxdigits train --out FOLDER`; by a sweep, for
            the ensemble of its best setting; or a name in `SHIPPED` (for a folder with such a name,
            write `./digits`).
        model: the network, for a run that was trained with your own.
        loss: the loss, for a run that was trained with your own; needed by `Run.evaluate` only.

    Raises:
        RunError: the folder holds no complete run, or one that this version cannot read, or one
            whose network must be given.

    Example:
        >>> import jaxdigits as jd
        >>> run = jd.load("runs/mnist-convnet")                              # doctest: +SKIP
        >>> run.predict(jd.data.load("mnist", "test").images[:5])        # doctest: +SKIP
        array([7, 2, 1, 0, 4], dtype=int32)
        >>> jd.load("letters").class_names[:3]
        ('a', 'b', 'c')
        >>> jd.load("letters")
        <Run: convnet on emnist/letters, test accuracy 94.81%>
    """
    folder = SHIPPED.get(str(folder)) or Path(os.path.expanduser(folder))
    if os.path.exists(folder / SWEEP_FILE):  # pathlib's raises for a name that is too long
        return _load_ensemble(folder)
    run = read_run(folder, model, loss)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.params)):
        logger.warning("the training of %s diverged: its parameters are not finite", folder)
    return run


def read_run(folder: Path, model: Model | None = None, loss: Loss | None = None) -> Run:
    """Read a run folder, also of a sweep's member; see `load`."""
    path = folder / RUN_FILE
    document = _read(path, RunDocument, FORMAT, _way_to_a_run(folder))
    try:
        run = _from_document(document, model, loss)
    except (ConfigError, DataError) as error:
        raise RunError(f"{path} has an impossible setting: {error}; train it again") from None
    if "model" in run.own and model is None:
        raise RunError(
            f"the network in {folder} is your own: give it to jaxdigits.load(folder, model=...)"
        )
    params = load_params(folder / PARAMS_FILE, run.model.init)
    known = document.get("params_sha256")  # older runs have none
    if known is not None and file_sum(folder / PARAMS_FILE) != known:
        raise RunError(
            f"{folder / PARAMS_FILE} is damaged, or of another run: its SHA-256 is not the one in "
            f"{RUN_FILE}; copy the run again, or train it again"
        )
    return replace(run, params=params, history=_load_history(folder), folder=absolute(folder))


def _read(path: Path, kind: Any, newest: int, missing: str) -> Any:
    try:
        return read_document(path, kind, newest)
    except FileNotFoundError:
        raise RunError(
            f"there is no run in {path.parent}: {path} does not exist; {missing}"
        ) from None


def _from_document(document: RunDocument, model: Model | None, loss: Loss | None) -> Run:
    """The run but for its parameters and history."""
    fingerprint = Fingerprint(**document["data"])
    class_names = tuple(document["class_names"])
    image_shape = tuple(document.get("image_shape", (28, 28)))
    calibration = document.get("calibration")
    # Before format 3 the data's name said the form.
    form = "emnist" if fingerprint.name.startswith("emnist/") else "mnist"
    config = TrainConfig.from_dict(upgrade_settings(document["config"]))
    return Run(
        config=config,
        model=model or make_model(config, len(class_names), image_shape),
        params=None,
        scaling=Scaling(*(jnp.float32(document["scaling"][name]) for name in ("mean", "std"))),
        class_names=class_names,
        fingerprint=fingerprint,
        results=document["results"],
        environment={name: x for name, x in document.items() if name in _ENVIRONMENT},
        calibration=Calibration.from_dict(calibration) if calibration else None,
        image_shape=image_shape,
        form=document.get("form", form),
        light_ground=document.get("light_ground", False),
        extent=float(document.get("extent", 1.0)),
        light_files=document.get("light_files", False),
        own=tuple(document.get("own", ())),
        loss=loss,
        seconds={what: float(value) for what, value in (document.get("seconds") or {}).items()},
        devices=document.get("devices", 1),
        init_from=document.get("init_from"),
        stream=document.get("stream", False),
    )


def _load_ensemble(folder: Path) -> Run:
    """The ensemble of the best setting's members, from the folder of a sweep."""
    found = read_sweep(folder)[1]["ensemble"]
    calibration = found.get("calibration")
    members = [read_run(folder / MEMBERS / str(name)) for name in found["members"]]
    try:
        ensemble = stack(members)
    except ConfigError as error:
        raise RunError(f"{folder} is damaged: {error}; run the sweep again") from None
    return replace(
        ensemble,
        results=found["results"],
        calibration=Calibration.from_dict(calibration) if calibration else None,
        folder=absolute(folder),
    )


def read_sweep(folder: Path) -> tuple[SweepDocument, BestDocument]:
    """Read what a sweep wrote about itself, and about its best setting.

    Raises:
        RunError: there is nothing, or it is damaged or of a newer version.
    """
    path = folder / SWEEP_FILE
    document = _read(path, SweepDocument, SWEEP_FORMAT, "`jaxdigits sweep` makes one")
    number, settings = document["best"], document["settings"]
    if number >= len(settings):
        raise RunError(f"{path} is damaged: there is no setting {number}; run the sweep again")
    return document, check(settings[number], BestDocument, path, "run the sweep again")


def _way_to_a_run(folder: Path) -> str:
    if os.path.exists(unfinished(folder)):
        return f"`jaxdigits train --resume {folder}` resumes an unfinished one"
    return "`jaxdigits train` makes one"


def _load_history(folder: Path) -> tuple[dict[str, Any], ...]:
    path = folder / METRICS_FILE
    try:
        lines = path.read_text().splitlines() if path.exists() else []
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}; delete it, or train it again") from None
    remedy = "delete it, or train it again"
    return tuple(decode(line.encode(), dict[str, float | None], path, remedy) for line in lines)


@lru_cache
def shipped_params(name: str) -> Params:
    """The parameters of a network in `WEIGHTS`, read once: dicts and lists by the arrays' names.

    To trace the model's `init` for the structure would take longer than to read the file.

    Example:
        >>> params = shipped_params("turns")
        >>> [sorted(layer) for layer in params["dense"]], params["conv"][0]["kernel"].shape
        ([['bias', 'weight'], ['bias', 'weight'], ['bias', 'weight']], (3, 3, 1, 12))
    """
    arrays = _read_arrays(WEIGHTS / name / PARAMS_FILE)
    return jax.device_put(_nested([(key.split("."), array) for key, array in arrays.items()]))


def load_params(path: Path, init: Callable[[Any], Params]) -> Params:
    """Read parameters into the structure that a model's own `init` gives.

    Raises:
        RunError: the file cannot be read, or is of another network.
    """
    template = jax.eval_shape(init, jax.random.key(0))
    arrays = _read_arrays(path)
    leaves = []
    for name, leaf in named_leaves(template):
        array = arrays.pop(name, None)
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            raise RunError(
                f"{path} is not of this network: expected {leaf.dtype} {list(leaf.shape)} "
                f"for {name}, found {found}"
            )
        leaves.append(jax.device_put(array))
    if arrays:
        raise RunError(f"{path} is not of this network: it also holds {', '.join(sorted(arrays))}")
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read arrays by their names; those in float16 or int8, for smaller files, as float32."""
    try:
        arrays = safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} cannot be read ({error}); train it again") from None
    for name, array in list(arrays.items()):
        if array.dtype in (np.float16, np.int8):
            arrays[name] = array.astype(np.float32) * arrays.pop(f"{name}.scale", np.float32(1))
    return arrays


def _nested(leaves: Sequence[tuple[Sequence[str], Any]]) -> Any:
    """The pytree of leaves, each with the keys that lead to it: a list where these are numbers."""
    if not leaves[0][0]:
        return leaves[0][1]
    parts: dict[str, list[tuple[Sequence[str], Any]]] = {}
    for (key, *rest), leaf in leaves:
        parts.setdefault(key, []).append((rest, leaf))
    if all(key.isdecimal() for key in parts):
        return [_nested(parts[key]) for key in sorted(parts, key=int)]
    return {key: _nested(part) for key, part in parts.items()}
