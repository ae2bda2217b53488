"""Start a run from a trained network: its settings, scaling, and form stay."""

from collections.abc import Sequence

from jaxdigits.config import TrainConfig
from jaxdigits.errors import ConfigError
from jaxdigits.runs.run import HAND, Run

KEPT = ("model", "hidden", "activation", "pool_activation", "stem", "initializer", "distance")
"""Settings of the network that a run keeps from the one it starts from; so is `scale`."""


def adopt(config: TrainConfig, start: Run) -> TrainConfig:
    """The config with the network and scale of the run that it starts from.

    Raises:
        ConfigError: the config asks for another network, or the run is an ensemble or was
            taught.

    Example:
        >>> import jaxdigits as jd
        >>> adopt(TrainConfig(epochs=2, model="convnet"), jd.load("letters")).pool_activation
        'gelu'
    """
    if HAND in start.own:
        raise ConfigError("a taught network cannot be trained further: start from the untaught one")
    if start.members:
        raise ConfigError("an ensemble cannot be trained further: start from one of its members")
    default = TrainConfig()
    for name in (*KEPT, "scale"):
        wanted, kept = getattr(config, name), getattr(start.config, name)
        if wanted not in (getattr(default, name), kept):
            raise ConfigError(
                f"the run to start from has {name} {kept}, not {wanted}: omit that setting"
            )
    kept = {name: getattr(start.config, name) for name in (*KEPT, "scale")}
    return config.replace(**kept)


def check_start(start: Run, class_names: Sequence[str], image_shape: tuple[int, ...]) -> None:
    """Raise ConfigError where data do not suit the network that a run starts from."""
    if tuple(class_names) != start.class_names:
        raise ConfigError(
            f"the run to start from knows the classes {', '.join(start.class_names)}; the data are "
            f"of {', '.join(class_names)}"
        )
    if image_shape != start.image_shape:
        raise ConfigError(
            f"the run to start from takes images of shape {list(start.image_shape)}, not "
            f"{list(image_shape)}"
        )
