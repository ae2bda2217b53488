"""What training works on: data, batches, the state that changes, and what a run gives."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Num

from jaxdigits.data import Dataset, Examples, load_splits
from jaxdigits.data.preparation import StrPath
from jaxdigits.errors import ConfigError
from jaxdigits.models import Model, Params


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TrainingData:
    """The examples of a training run: a pytree that jitted functions take.

    Attributes:
        train: examples to learn from.
        validation: held-out examples to choose by.
        num_classes: labels are 0..num_classes-1. `from_datasets` and `load_training_data` check
            this; a compiled program cannot, and would give a silent `nan`.
    """

    train: Examples
    validation: Examples
    num_classes: int = field(metadata={"static": True})

    @classmethod
    def from_datasets(cls, train: Dataset, validation: Dataset) -> "TrainingData":
        """Take two splits of a dataset; `jaxdigits.data.from_arrays` makes them of arrays."""
        return cls(train.examples, validation.examples, len(train.class_names))


def load_training_data(
    name: str, *, data_dir: StrPath | None = None, manual_dir: StrPath | None = None
) -> TrainingData:
    """Load the `train` and `validation` splits of a dataset. Arguments: see `jaxdigits.data.load`.

    Example:
        >>> data = load_training_data("digits")
        >>> data.train.images.shape, data.validation.labels.shape, data.num_classes
        ((1317, 28, 28), (120,), 10)
    """
    splits = load_splits(name, ("train", "validation"), data_dir=data_dir, manual_dir=manual_dir)
    return TrainingData.from_datasets(*splits)


class Batch(NamedTuple):
    """The examples of a step, or of several steps with an axis in front.

    Attributes:
        images: uint8 [..., batch, height, width] or [..., batch, height, width, channels], pixels
            0..255; or floats, 0..1.
        labels: int32 [..., batch].
        weights: float32 [..., batch], of each loss in the sum that is minimized; 0 for an example
            that only fills up the batch.
    """

    images: Num[Any, "..."]  # of jax, or on their way to it of numpy
    labels: Int[Any, "..."]
    weights: Float[Any, "..."]


class TrainState(NamedTuple):
    """All that changes in training.

    Attributes:
        step: int32, the number of steps done. Schedule, averaging, and keys follow from it.
        params: the model's parameters, and its statistics if it keeps any.
        ema_params: the exponential moving average of `params`; None without one.
        opt_state: the optimizer's state; `opt_state.hyperparams` holds the learning rate.
        key: the run's; those of epochs and steps are folded from it.
    """

    step: Int[Array, "*members"]
    params: Params
    ema_params: Params | None
    opt_state: optax.OptState
    key: Key[Array, "*members"]

    @property
    def trained(self) -> Params:
        """The parameters to use: the moving average, or the last ones."""
        return self.params if self.ema_params is None else self.ema_params


def init_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    key: Key[Array, ""],
    params: Params | None = None,
    *,
    ema: bool = False,
) -> TrainState:
    """The state before the first step.

    Args:
        model: gives the initial parameters.
        optimizer: gives the state of its own.
        key: of the run.
        params: to start from, instead of the model's. Either are copied, so that the state can be
            donated.
        ema: whether to keep a moving average of the parameters.

    Example:
        >>> from jaxdigits.models import linear
        >>> state = init_state(Model(linear.init, linear.apply), optax.sgd(0.1), jax.random.key(0))
        >>> int(state.step), state.params["weight"].shape
        (0, (10, 784))
    """
    init_key, run_key = jax.random.split(key)
    first = jax.tree.map(jnp.copy, model.init(init_key) if params is None else params)
    ema_params = jax.tree.map(jnp.copy, first) if ema else None
    return TrainState(jnp.int32(0), first, ema_params, optimizer.init(first), run_key)


def with_hyperparams(state: TrainState, **values: Any) -> TrainState:
    """Give the optimizer other hyperparameters, such as `learning_rate` and `weight_decay`.

    They are arrays of `state.opt_state`, so states that differ in them can be vmapped.

    Args:
        state: with an optimizer of `jaxdigits.training.optimizers` or `optax.inject_hyperparams`.
        values: numbers, or arrays with an axis for the states that are vmapped.

    Raises:
        ConfigError: the optimizer has no such hyperparameter.

    Example:
        >>> from jaxdigits.config import TrainConfig
        >>> from jaxdigits.models import linear
        >>> from jaxdigits.training.optimizers import make_optimizer
        >>> model = Model(linear.init, linear.apply)
        >>> state = init_state(model, make_optimizer(TrainConfig(), 10), jax.random.key(0))
        >>> float(with_hyperparams(state, learning_rate=0.5).opt_state.hyperparams["learning_rate"])
        0.5
    """
    if not values:
        return state
    before: Any = getattr(state.opt_state, "hyperparams", {})
    if unknown := sorted(set(values) - set(before)):
        raise ConfigError(
            f"the optimizer has no hyperparameter {', '.join(unknown)}; "
            f"it has {', '.join(before) or 'none'}"
        )
    # Copied, so that the state can be donated.
    arrays = {name: jnp.array(value, before[name].dtype) for name, value in values.items()}
    opt_state: Any = state.opt_state
    return state._replace(opt_state=opt_state._replace(hyperparams={**before, **arrays}))


class Sums(NamedTuple):
    """Sums over examples: of losses, and of right answers. Both float32."""

    loss: Float[Array, "*members"]
    correct: Float[Array, "*members"]


class Metrics(NamedTuple):
    """Means over examples.

    Attributes:
        loss: float32, the mean loss per example, whatever the reduction in training.
        accuracy: float32, 0..1.
    """

    loss: Float[Array, "*epochs"]
    accuracy: Float[Array, "*epochs"]


class EpochMetrics(NamedTuple):
    """The metrics of an epoch.

    Attributes:
        train: over the epoch's batches, each before the step that it led to.
        validation: after the epoch.
    """

    train: Metrics
    validation: Metrics


class TrainResult(NamedTuple):
    """What a run gives.

    Attributes:
        state: the last state, with the trained parameters.
        untrained: validation metrics of the initial parameters.
        history: a value for each epoch.
    """

    state: TrainState
    untrained: Metrics
    history: EpochMetrics
