"""Handwritten characters recognised in functional JAX.

    import jaxdigits as jd
    run = jd.load("runs/mnist-mlp")
    labels = run.predict(images)                     # images uint8 [n, 28, 28]

Read on from here:

| module | subject |
|---|---|
| `config` | `TrainConfig`: all settings of a run |
| `data` | data sets: preparing, loading, fingerprints |
| `preprocess`, `batches` | from pixels of 0..255 to the batches that a network sees |
| `models`, `losses`, `metrics` | pure functions on arrays |
| `gradients` | the gradients of the first post, by hand |
| `optimizers` | optax's, by name |
| `training` | `make_train`: a run as a pure function of a key and the data |
| `runs` | the run folder: saving, loading, predicting, evaluating |
| `plots` | pictures |
| `cli` | the command line |

Modules are imported when they are first used, so that `jaxdigits --help` does not wait for jax.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxdigits import data, errors, gradients, losses, metrics, models, plots
    from jaxdigits.config import TrainConfig
    from jaxdigits.data import Dataset, Examples, TrainingData
    from jaxdigits.models import Model
    from jaxdigits.runs import Run, load
    from jaxdigits.training import make_train, make_trainer

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Examples",
    "Model",
    "Run",
    "TrainConfig",
    "TrainingData",
    "data",
    "errors",
    "gradients",
    "load",
    "losses",
    "make_train",
    "make_trainer",
    "metrics",
    "models",
    "plots",
]

_HOME = {
    "Dataset": "data",
    "Examples": "data",
    "Model": "models",
    "Run": "runs",
    "TrainConfig": "config",
    "TrainingData": "data",
    "load": "runs",
    "make_train": "training",
    "make_trainer": "training",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'jaxdigits' has no attribute {name!r}")
    if name in _HOME:
        return getattr(importlib.import_module(f"jaxdigits.{_HOME[name]}"), name)
    return importlib.import_module(f"jaxdigits.{name}")


def __dir__() -> list[str]:
    """The public names."""
    return __all__
