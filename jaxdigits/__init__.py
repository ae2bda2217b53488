"""Handwritten characters recognised in functional JAX.

    import jaxdigits as jd
    run = jd.load("digits")                          # or a run folder: "runs/mnist-convnet"
    labels = run.predict(images)                     # images uint8 [n, 28, 28]

Read on from here:

| module | subject |
|---|---|
| `config` | `TrainConfig`: all settings of a run |
| `data` | data sets: preparing, loading, fingerprints |
| `preprocess`, `batches` | from pixels of 0..255 to the batches that a network sees |
| `augmentation` | random changes of images, on the device |
| `models`, `losses`, `metrics` | pure functions on arrays |
| `gradients` | the gradients of the first post, by hand |
| `convolution` | convolution and max-pooling that are fast on CPUs too |
| `optimizers` | optax's, by name |
| `training` | `make_train`: a run as a pure function of a key and the data |
| `feeds` | where its images lie: on the device, or streaming from the disk |
| `hosts` | several processes that train one network |
| `sweeps` | many trainings as one program, and their ensemble |
| `runs` | the run folder: saving, loading, predicting, evaluating |
| `checkpoints`, `interrupts`, `logs` | trainings that go on after a kill; their metrics as files |
| `pictures` | reading your own handwriting: from a photo to text |
| `calibration`, `robustness` | how sure a network may be, and what is left when images change |
| `plots` | drawings of results |
| `bench` | how fast a machine is, in figures that hold |
| `reproduction`, `report` | what the experiments on the posts' results share, and their report |
| `cli` | the command line |

Modules are imported when they are first used, so that `jaxdigits --help` does not wait for jax.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxdigits import config, data, errors, evaluation, handwriting, losses, models, ops, plots
    from jaxdigits.config import TrainConfig
    from jaxdigits.data import Dataset, Examples
    from jaxdigits.models import Model
    from jaxdigits.runs.run import Run, load
    from jaxdigits.training.trainer import (
        TrainingData,
        load_training_data,
        make_train,
        make_trainer,
    )
else:
    _ROOM_OF = {
        "Dataset": "data",
        "Examples": "data",
        "Model": "models",
        "Run": "runs.run",
        "TrainConfig": "config",
        "TrainingData": "training.trainer",
        "load": "runs.run",
        "load_training_data": "training.trainer",
        "make_train": "training.trainer",
        "make_trainer": "training.trainer",
    }

    def __getattr__(name: str) -> object:
        """Imports what is asked for."""
        if name not in __all__:
            raise AttributeError(f"module 'jaxdigits' has no attribute {name!r}")
        if name in _ROOM_OF:
            return getattr(importlib.import_module(f"jaxdigits.{_ROOM_OF[name]}"), name)
        return importlib.import_module(f"jaxdigits.{name}")


__all__ = [
    "Dataset",
    "Examples",
    "Model",
    "Run",
    "TrainConfig",
    "TrainingData",
    "config",
    "data",
    "errors",
    "evaluation",
    "handwriting",
    "load",
    "load_training_data",
    "losses",
    "make_train",
    "make_trainer",
    "models",
    "ops",
    "plots",
]


def __dir__() -> list[str]:
    """The public names."""
    return __all__
