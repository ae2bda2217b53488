"""All settings of a training run, in one frozen, checked value. The command line is made from it.

jax is not imported here, so that `jaxdigits --help` answers at once.
"""

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_type_hints

from jaxdigits.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run.

    Attributes:
        dataset: a name that `jaxdigits data list` shows, or a folder of images (class/image.png);
            `auto` is mnist, or digits without it.
        model: mlp, linear, or the pixel baseline (mean images; nothing is trained).
        hidden: widths of the hidden layers of mlp.
        activation: between the layers of mlp.
        initializer: of weights and biases: uniform within 1/sqrt(fan_in) of 0, or normal.
        distance: of the pixel baseline.
        scale: pixels / 255, and then standardised with the training mean and deviation, or not.
        loss: of each example.
        reduction: of a batch's losses, to what the optimiser sees.
        gradients: by jax.grad, or by the formulas of the first post.
        optimizer: sgd, momentum (sgd with it), adam or adamw.
        learning_rate: its peak, where a schedule changes it.
        schedule: constant; cosine (down to zero); one_cycle (up, then down).
        momentum: of the momentum optimiser.
        weight_decay: of adamw.
        batch_size: examples a step; the last batch of an epoch may be smaller.
        epochs: passes over the training data.
        seed: of everything random: starting values and shuffling.

    Raises:
        ConfigError: a value is impossible; the message says which, and what is possible.

    Example:
        >>> TrainConfig(epochs=-1)
        Traceback (most recent call last):
        jaxdigits.errors.ConfigError: epochs must be 0 to 1000000, not -1
    """

    dataset: str = "auto"
    model: Literal["mlp", "linear", "pixel"] = "mlp"
    hidden: tuple[int, ...] = (128,)
    activation: Literal["relu", "sigmoid", "tanh", "gelu"] = "relu"
    initializer: Literal["uniform", "normal"] = "uniform"
    distance: Literal["squared", "absolute"] = "squared"
    scale: Literal["standardized", "unit"] = "standardized"
    loss: Literal["cross_entropy", "clamped_cross_entropy", "sigmoid_mse", "softmax_mse"] = (
        "cross_entropy"
    )
    reduction: Literal["mean", "sum"] = "mean"
    gradients: Literal["auto", "hand"] = "auto"
    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = "adamw"
    learning_rate: float = 0.003
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    momentum: float = 0.9
    weight_decay: float = 0.1
    batch_size: int = 64
    epochs: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every value."""
        for name, kind in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _plain(name, getattr(self, name), kind))
        _check(self.dataset != "", "dataset", "the name of a data set", self.dataset)
        wide = all(width >= 1 for width in self.hidden)
        _check(wide, "hidden", "widths of 1 or more", self.hidden)
        positive = math.isfinite(self.learning_rate) and self.learning_rate > 0
        _check(positive, "learning_rate", "a number above 0", self.learning_rate)
        _check(0 <= self.momentum < 1, "momentum", "at least 0 and below 1", self.momentum)
        decays = math.isfinite(self.weight_decay) and self.weight_decay >= 0
        _check(decays, "weight_decay", "a number of 0 or more", self.weight_decay)
        _check(self.batch_size >= 1, "batch_size", "1 or more", self.batch_size)
        _check(0 <= self.epochs <= 10**6, "epochs", "0 to 1000000", self.epochs)
        _check(0 <= self.seed < 2**32, "seed", "0 to 4294967295", self.seed)
        if self.gradients == "hand" and (self.model == "pixel" or self.loss != "cross_entropy"):
            raise ConfigError(
                "gradients by hand are derived for model linear or mlp with loss cross_entropy, "
                f"not for {self.model} with {self.loss}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The config that `as_dict` gave, also after a journey through JSON.

        Raises:
            ConfigError: a setting is unknown or has an impossible value.

        Example:
            >>> import json
            >>> config = TrainConfig(hidden=(30,))
            >>> TrainConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
            True
        """
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ConfigError(f"there is no setting {', '.join(sorted(unknown))}")
        kinds = get_type_hints(cls)
        plain = {name: _plain(name, value, kinds[name]) for name, value in values.items()}
        return cls(**plain)


def _check(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {wanted}, not {value!r}")


def _plain(name: str, value: Any, kind: Any) -> Any:
    """The value as a plain int, float, str or tuple, also from numpy's; or a ConfigError."""
    if choices := get_args(kind) if kind != tuple[int, ...] else ():
        _check(value in choices, name, f"one of {', '.join(choices)}", value)
        return value
    if kind is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        _check(whole, name, "a whole number", value)
        return int(value)
    if kind is float:
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        _check(number, name, "a number", value)
        return float(value)
    if kind is str:
        _check(isinstance(value, str), name, "text", value)
        return value
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    _check(listed, name, "a list of whole numbers", value)
    return tuple(_plain(name, item, int) for item in value)
