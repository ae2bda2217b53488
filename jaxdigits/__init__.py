"""Handwritten-character recognition in functional JAX, for learning, benchmarking, and building on.

    import jaxdigits as jd
    run = jd.load("digits")                          # or a run folder: "runs/mnist-convnet"
    labels = run.predict(images)                     # images uint8 [n, 28, 28]

Training computes, runs remember, evaluation judges:

| room | subject |
|---|---|
| `config`, `errors`, `files`, `environment` | settings, errors, atomic writing, the machine |
| `losses` | pure functions of logits and labels |
| `data` | datasets: preparing, loading, fingerprints |
| `transforms` | scaling, augmentation, and the form of a dataset's images |
| `ops` | convolution and max-pooling that are fast on CPUs too |
| `models` | networks as pairs of pure functions |
| `by_hand` | the gradients that the posts derive |
| `training` | `make_train`: a run as a pure function of a key and the data |
| `evaluation` | metrics, calibration, robustness |
| `runs` | run folders, checkpoints, streaming, several processes |
| `sweeps` | many runs as one program, and their ensemble |
| `handwriting` | from a photo to text |
| `plots` | pictures of results |
| `posts` | the results of the three posts, an experiment per row |
| `bench` | how fast a machine is |
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
