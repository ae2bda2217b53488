"""All settings of a training run, in one frozen, checked value. The command line is made from it.

jax is not imported here, so that `jaxdigits --help` answers at once.
"""

import dataclasses
import math
import numbers
import reprlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from jaxdigits.errors import ConfigError

Precision = Literal["default", "float32", "tensorfloat32", "bfloat16"]
"""Of training; see `TrainConfig.precision`."""


class Strength(NamedTuple):
    """How strong an augmentation is if nothing is said, and at most; whole numbers stay whole."""

    default: float | int
    most: float | int


AUGMENT: Mapping[str, Strength] = MappingProxyType(
    {
        "shift": Strength(2, 28),
        "rotate": Strength(10.0, 180.0),
        "scale": Strength(0.1, 0.9),
        "shear": Strength(0.1, 0.9),
        "invert": Strength(5, 784),
        "elastic": Strength(1.0, 28.0),
        "thickness": Strength(0.5, 1.0),
        "blur": Strength(1.0, 28.0),
        "contrast": Strength(0.5, 0.9),
        "noise": Strength(0.1, 1.0),
        "erase": Strength(8, 28),
    }
)
"""The augmentations of `jaxdigits.transforms.augment`, by name, in its units. It imports jax."""

APPLIES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hidden": ("model", ("mlp",)),
        "activation": ("model", ("mlp",)),
        "pool_activation": ("model", ("convnet",)),
        "stem": ("model", ("resnet18",)),
        "dropout": ("model", ("mlp", "convnet", "resnet18")),
        "initializer": ("model", ("linear", "mlp", "convnet")),
        "distance": ("model", ("pixel",)),
        "precision": ("model", ("linear", "mlp", "convnet", "resnet18")),
        "momentum": ("optimizer", ("sgd",)),
        "weight_decay": ("optimizer", ("adamw",)),
    }
)
"""Settings that belong to some values of another one only: elsewhere they must be the default."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run.

    Attributes:
        dataset: a name that `jaxdigits data list` shows, or a folder of images (class/image.png).
            auto is mnist, or digits where that is unavailable.
        model: convnet (three convolutions), resnet18, mlp, linear, or pixel (mean images; nothing
            is trained).
        hidden: widths of the mlp's hidden layers: 64x32 on the command line.
        activation: between the layers of the mlp.
        pool_activation: of the convnet, after each pooling.
        stem: the first convolution of resnet18: 7x7 with stride 2 and pooling, or 3x3.
        dropout: share of values dropped: in the convnet from the first dense layer, in resnet18
            before the last layer (half of it before the last but one), in the mlp from each hidden
            layer.
        initializer: of weights and biases of linear, mlp, and convnet: uniform within
            1/sqrt(fan_in) of 0, or normal.
        distance: of the pixel baseline.
        scale: of pixels: unit (pixels / 255), standardized (by mean and deviation of the training
            images), or image (each image by its own).
        augment: random changes of the training images: shift, rotate, scale, shear, invert,
            elastic, thickness, blur, contrast, noise, erase, joined by + on the command line, each
            with a strength if you like (rotate=15+shift); or none. auto is shift, rotate, and scale
            for the convnet and none for other networks.
        loss: of each example.
        label_smoothing: share of the label spread over all classes in training.
        reduction: of a batch's losses, to what the optimizer minimizes.
        gradients: by jax.grad, or by hand, with the formulas of post A.
        precision: of training. default is the backend's: float32 on a CPU, tensorfloat32 on a GPU
            that has it, bfloat16 on a TPU. bfloat16 runs the forward and backward pass in bfloat16;
            parameters, loss, and optimizer stay float32. Validation always uses the default.
        optimizer: sgd, adam, or adamw.
        learning_rate: its peak, where a schedule changes it.
        schedule: constant, cosine (down to zero), or one_cycle (up, then down).
        momentum: of sgd.
        weight_decay: of adamw, on weights; biases and normalization parameters do not decay.
        ema_decay: of an exponential moving average of the parameters over the steps, such as 0.999,
            which is then the trained network. 0 for none.
        batch_size: examples per step; the last batch of an epoch may be smaller.
        epochs: passes over the training data. By default 10; for the convnet as many as make
            275,000 images, from 5 to 60.
        seed: of everything random: initial values, shuffling, dropout, augmentation. The last two
            also depend on the number of devices.

    Raises:
        ConfigError: a value is impossible; the message says which, and what is possible.

    Example:
        >>> TrainConfig(epochs=-1)
        Traceback (most recent call last):
        jaxdigits.errors.ConfigError: epochs must be 0 to 1000000, not -1
    """

    dataset: str = "auto"
    model: Literal["convnet", "resnet18", "mlp", "linear", "pixel"] = "convnet"
    hidden: tuple[int, ...] = (128,)
    activation: Literal["relu", "sigmoid", "tanh", "gelu"] = "relu"
    pool_activation: Literal["gelu", "none"] = "gelu"
    stem: Literal["7x7", "3x3"] = "7x7"
    dropout: float = 0.0
    initializer: Literal["uniform", "normal"] = "uniform"
    distance: Literal["squared", "absolute"] = "squared"
    scale: Literal["standardized", "unit", "image"] = "standardized"
    augment: tuple[str, ...] = ("auto",)
    loss: Literal["cross_entropy", "clamped_cross_entropy", "sigmoid_mse", "softmax_mse"] = (
        "cross_entropy"
    )
    label_smoothing: float = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    gradients: Literal["auto", "hand"] = "auto"
    precision: Precision = "default"
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    learning_rate: float = 0.005
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    momentum: float = 0.0
    weight_decay: float = 0.1
    ema_decay: float = 0.0
    batch_size: int = 64
    epochs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks every value."""
        for name, kind in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _plain(name, getattr(self, name), kind))
        _check(self.dataset != "", "dataset", "the name of a dataset", self.dataset)
        self._check_augment()
        wide = all(1 <= width <= 10**12 for width in self.hidden)
        _check(wide, "hidden", "widths of 1 to 1000000000000", self.hidden)
        positive = math.isfinite(self.learning_rate) and self.learning_rate > 0
        _check(positive, "learning_rate", "a number above 0", self.learning_rate)
        for name in ("momentum", "ema_decay", "dropout", "label_smoothing"):
            share = getattr(self, name)
            _check(0 <= share < 1, name, "at least 0 and below 1", share)
        decays = math.isfinite(self.weight_decay) and self.weight_decay >= 0
        _check(decays, "weight_decay", "a number of 0 or more", self.weight_decay)
        _check(self.batch_size >= 1, "batch_size", "1 or more", self.batch_size)
        if self.epochs is not None:
            _check(0 <= self.epochs <= 10**6, "epochs", "0 to 1000000", self.epochs)
        _check(0 <= self.seed < 2**32, "seed", "0 to 4294967295", self.seed)
        self._check_applies()
        derived = self.model in ("linear", "mlp") and self.loss == "cross_entropy"
        more = self.dropout or self.label_smoothing or self.scale == "image"
        if self.gradients == "hand" and (not derived or more):
            raise ConfigError(
                "gradients by hand are derived for model linear or mlp with loss cross_entropy, "
                "without dropout, label_smoothing and scale image; choose these, or gradients auto"
            )
        if self.gradients == "hand" and self.precision != "default":
            raise ConfigError("gradients by hand have the default precision; omit precision")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ConfigError(f"label_smoothing is for loss cross_entropy, not for {self.loss}")

    def _check_applies(self) -> None:
        for field in dataclasses.fields(self):
            of, values = APPLIES.get(field.name, ("", ()))
            given = getattr(self, field.name)
            if of and getattr(self, of) not in values and given != field.default:
                raise ConfigError(
                    f"{field.name} applies to {of} {' and '.join(values)} only, "
                    f"not to {getattr(self, of)}; omit it"
                )

    def _check_augment(self) -> None:
        """Takes `a,b` as two names."""
        names = [name.strip() for part in self.augment for name in part.split(",")]
        if names != ["auto"]:
            names = [name for name in names if name != "none"]
            for name in names:
                parse_augmentation(name)
        object.__setattr__(self, "augment", tuple(names))

    @property
    def hyperparams(self) -> dict[str, float]:
        """Settings of the optimizer that are arrays of its state: see `optax.inject_hyperparams`.

        Example:
            >>> TrainConfig(optimizer="sgd", momentum=0.9).hyperparams
            {'learning_rate': 0.005, 'momentum': 0.9}
        """
        names = ["learning_rate"]
        names += ["weight_decay"] * (self.optimizer == "adamw") + ["momentum"] * bool(self.momentum)
        return {name: getattr(self, name) for name in names}

    def replace(self, **settings: Any) -> "TrainConfig":
        """The config with other values for some settings, checked again.

        Example:
            >>> TrainConfig().replace(epochs=3).epochs
            3
        """
        return dataclasses.replace(self, **settings)

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
            >>> config = TrainConfig(model="mlp", hidden=(30,))
            >>> TrainConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
            True
        """
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ConfigError(f"there is no setting {', '.join(sorted(unknown))}")
        kinds = get_type_hints(cls)
        plain = {name: _plain(name, value, kinds[name]) for name, value in values.items()}
        return cls(**plain)


def parse_augmentation(text: str) -> tuple[str, float | int]:
    """The name and the strength in such as `rotate=15`, or `rotate` for the usual strength.

    Raises:
        ConfigError: there is no such augmentation, or it cannot be so strong.

    Example:
        >>> parse_augmentation("rotate=15"), parse_augmentation("shift")
        (('rotate', 15.0), ('shift', 2))
    """
    name, given, number = (part.strip() for part in text.partition("="))
    wanted = f"auto, none, or some of {', '.join(AUGMENT)}"
    _check(name in AUGMENT, "augment", wanted, name)
    default, most = AUGMENT[name]
    if not given:
        return name, default
    kind = type(default)
    try:
        strength = kind(number)
    except ValueError:
        strength = math.nan
    whole = "a whole number" if kind is int else "a number"
    _check(0 <= strength <= most, f"augment {name}", f"{whole} of 0 to {most:g}", number)
    return name, strength


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When to save checkpoints, from which an interrupted run is resumed.

    Attributes:
        checkpoint_epochs: save after every this many epochs.
        checkpoint_minutes: save after an epoch if the last checkpoint is this many minutes old, so
            a short run saves none.
        keep_checkpoints: how many to keep, the last ones.

    Raises:
        ConfigError: a value is impossible.

    Example:
        >>> CheckpointConfig(checkpoint_epochs=0)
        Traceback (most recent call last):
        jaxdigits.errors.ConfigError: checkpoint_epochs must be 1 or more, not 0
    """

    checkpoint_epochs: int | None = None
    checkpoint_minutes: float = 5.0
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        """Checks every value."""
        for name in ("checkpoint_epochs", "keep_checkpoints"):
            count = getattr(self, name)
            _check(count is None or count >= 1, name, "1 or more", count)
        minutes = self.checkpoint_minutes
        _check(minutes >= 0, "checkpoint_minutes", "a number of 0 or more", minutes)


def parse_settings(
    texts: Mapping[str, str | None],
) -> tuple[TrainConfig, dict[str, tuple[Any, ...]]]:
    """Parse the settings of a command line: those of the first member, and the lists.

    Values of a list are joined by commas, the items of one value by x (hidden layers) or +
    (augmentations).

    Args:
        texts: values of each setting; None for one that is not given.

    Raises:
        ConfigError: a value is impossible.

    Example:
        >>> config, grid = parse_settings({"learning_rate": "0.1,0.2", "epochs": "3", "seed": None})
        >>> config.learning_rate, config.epochs, grid
        (0.1, 3, {'learning_rate': (0.1, 0.2)})
        >>> parse_settings({"model": "mlp", "hidden": "32,64x32"})[1]
        {'hidden': ((32,), (64, 32))}
    """
    kinds = get_type_hints(TrainConfig)
    values = {
        name: tuple(_parse(name, word.strip(), kinds[name]) for word in text.split(","))
        for name, text in texts.items()
        if text is not None
    }
    config = TrainConfig.from_dict({name: listed[0] for name, listed in values.items()})
    return config, {name: listed for name, listed in values.items() if len(listed) > 1}


def with_settings(config: TrainConfig, texts: Mapping[str, str]) -> TrainConfig:
    """The config with other values for some settings, as on a command line.

    Raises:
        ConfigError: there is no such setting, or a value is impossible.

    Example:
        >>> with_settings(TrainConfig(), {"precision": "bfloat16"}).precision
        'bfloat16'
    """
    kinds = get_type_hints(TrainConfig)
    changed = {
        name: _parse(name, text.strip(), kinds[name]) if name in kinds else text
        for name, text in texts.items()
    }
    return TrainConfig.from_dict(config.as_dict() | changed)


def _parse(name: str, word: str, kind: Any) -> Any:
    if get_origin(kind) is Literal or kind is str:
        return word
    if get_origin(kind) is tuple:
        of = get_args(kind)[0]
        return tuple(_parse(name, part, of) for part in word.split("x" if of is int else "+"))
    whole = kind is int or int in get_args(kind)  # epochs may be None
    try:
        return int(word) if whole else float(word)
    except ValueError:
        wanted = "a whole number" if whole else "a number"
        raise ConfigError(f"{name} must be {wanted}, not {word!r}") from None


def _check(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {wanted}, not {_BRIEF.repr(value)}")


_BRIEF = reprlib.Repr()
"""Shows a value in a message, the middle of a long one left out."""
_BRIEF.maxstring = _BRIEF.maxother = 100
_BRIEF.maxlist = _BRIEF.maxtuple = 20


def _plain(name: str, value: Any, kind: Any) -> Any:
    """The value as a plain int, float, str or tuple, also from numpy's; or a ConfigError."""
    if kind == int | None:
        return None if value is None else _plain(name, value, int)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        _check(value in choices, name, f"one of {', '.join(choices)}", value)
        return value
    if kind is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        _check(whole, name, "a whole number", value)
        return int(value)
    if kind is float:
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        _check(number, name, "a number", value)
        try:
            return float(value)
        except OverflowError:  # a whole number beyond all floats
            return math.inf
    if kind is str:
        _check(isinstance(value, str), name, "text", value)
        return value
    item_kind = get_args(kind)[0]
    if item_kind is str and isinstance(value, str):
        value = (value,)
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    _check(listed, name, f"a list of {'names' if item_kind is str else 'whole numbers'}", value)
    return tuple(_plain(name, item, item_kind) for item in value)
