"""Handwritten-character recognition in functional JAX, for learning, benchmarking, and building on.

    import jaxdigits as jd
    run = jd.fit(jd.TrainConfig(model="mlp", epochs=5), folder="runs/first")
    run = jd.load("digits")                          # or a run folder: "runs/first"
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
| `runs` | run folders, checkpoints, streaming, several processes, exports |
| `sweeps` | many runs as one program, and their ensemble |
| `handwriting` | from a photo to text |
| `web` | the page to draw on, served |
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
    from jaxdigits import (
        bench,
        config,
        data,
        errors,
        evaluation,
        handwriting,
        losses,
        models,
        ops,
        plots,
        transforms,
        web,
    )
    from jaxdigits.config import TrainConfig
    from jaxdigits.data import Dataset, Examples
    from jaxdigits.models import Hints, Model
    from jaxdigits.runs.ensemble import stack
    from jaxdigits.runs.fit import Epoch, epochs, fit
    from jaxdigits.runs.folder import load
    from jaxdigits.runs.run import Run
    from jaxdigits.sweeps.sweep import sweep
    from jaxdigits.training.resolve import DataSpec, Parts, resolve
    from jaxdigits.training.state import (
        Batch,
        TrainingData,
        TrainState,
        init_state,
        load_training_data,
        with_hyperparams,
    )
    from jaxdigits.training.step import make_step
    from jaxdigits.training.trainer import make_train
else:
    _ROOM_OF = {
        "Batch": "training.state",
        "DataSpec": "training.resolve",
        "Dataset": "data",
        "Epoch": "runs.fit",
        "Examples": "data",
        "Hints": "models",
        "Model": "models",
        "Parts": "training.resolve",
        "Run": "runs.run",
        "TrainConfig": "config",
        "TrainState": "training.state",
        "TrainingData": "training.state",
        "init_state": "training.state",
        "epochs": "runs.fit",
        "fit": "runs.fit",
        "load": "runs.folder",
        "load_training_data": "training.state",
        "make_step": "training.step",
        "make_train": "training.trainer",
        "resolve": "training.resolve",
        "stack": "runs.ensemble",
        "sweep": "sweeps.sweep",
        "with_hyperparams": "training.state",
    }

    def __getattr__(name: str) -> object:
        """Import what is asked for."""
        if name not in __all__:
            raise AttributeError(f"module 'jaxdigits' has no attribute {name!r}")
        if name in _ROOM_OF:
            return getattr(importlib.import_module(f"jaxdigits.{_ROOM_OF[name]}"), name)
        return importlib.import_module(f"jaxdigits.{name}")


__all__ = [
    "Batch",
    "DataSpec",
    "Dataset",
    "Epoch",
    "Examples",
    "Hints",
    "Model",
    "Parts",
    "Run",
    "TrainConfig",
    "TrainState",
    "TrainingData",
    "bench",
    "config",
    "data",
    "epochs",
    "errors",
    "evaluation",
    "fit",
    "handwriting",
    "init_state",
    "load",
    "load_training_data",
    "losses",
    "make_step",
    "make_train",
    "models",
    "ops",
    "plots",
    "resolve",
    "stack",
    "sweep",
    "transforms",
    "web",
    "with_hyperparams",
]


def __dir__() -> list[str]:
    """The public names."""
    return __all__
