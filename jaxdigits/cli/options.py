"""Options that several commands share; their help comes from the docstrings of the configs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
from tyro.conf import arg

from jaxdigits.config import CheckpointConfig, TrainConfig, parse_settings

Flag = Annotated[bool, arg(help_behavior_hint="")]
Number = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Text = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")]
AnyPath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
Json = Annotated[
    bool,
    arg(
        name="json",
        help="print one JSON object on stdout, and nothing else.",
        help_behavior_hint="",
    ),
]

COMMON = (
    *("dataset", "model", "epochs", "batch_size", "learning_rate", "optimizer", "augment"),
    *("hidden", "seed"),
)
NETWORK = ("activation", "pool_activation", "stem", "dropout", "initializer", "distance")


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Where datasets lie.

    Attributes:
        data_dir: where prepared datasets are. Default: $TFDS_DATA_DIR or ~/tensorflow_datasets.
        manual_dir: A folder with files downloaded by hand. Default: $JAXDIGITS_MANUAL_DIR.
    """

    data_dir: AnyPath = None
    manual_dir: AnyPath = None

    @property
    def folders(self) -> dict[str, Path | None]:
        """The keyword arguments of `jaxdigits.data.load` and others."""
        return {"data_dir": self.data_dir, "manual_dir": self.manual_dir}


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "AxB" if get_args(kind)[0] is int else "A+B"
    return {int: "N", float: "X", int | None: "N"}.get(kind, "TEXT")


def _hint(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, tuple):
        default = "x".join(map(str, default))
    return f"(default: {default})"


def settings_group(title: str, names: tuple[str, ...]) -> Any:
    """A dataclass of settings of `TrainConfig`, each the text of a value. Default: None."""
    kinds = get_type_hints(TrainConfig)
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    texts = _descriptions(TrainConfig)
    return dataclasses.make_dataclass(
        title,
        [
            (
                name,
                Annotated[
                    str | None,
                    arg(
                        metavar=_metavar(kinds[name]),
                        help=texts[name],
                        help_behavior_hint=_hint(fields[name].default),
                    ),
                ],
                dataclasses.field(default=None),
            )
            for name in names
        ],
        frozen=True,
        namespace={"__doc__": ""},
    )


def _descriptions(kind: type) -> dict[str, str]:
    """What the docstring of a config says of each of its settings."""
    found = docstring_parser.parse(kind.__doc__ or "").params
    return {
        param.arg_name: text.replace("\n", " ").replace("  ", "")
        for param in found
        if (text := param.description or "")
    }


_REST = tuple(
    field.name for field in dataclasses.fields(TrainConfig) if field.name not in (*COMMON, *NETWORK)
)

if TYPE_CHECKING:

    class CommonSettings:
        """Settings that most people use."""

    class NetworkSettings:
        """Settings of the network."""

    class TrainingSettings:
        """All other settings."""

else:
    CommonSettings = settings_group("CommonSettings", COMMON)
    NetworkSettings = settings_group("NetworkSettings", NETWORK)
    TrainingSettings = settings_group("TrainingSettings", _REST)


def parse_groups(
    *groups: Any,
) -> tuple[TrainConfig, dict[str, tuple[Any, ...]], set[str]]:
    """The config, the lists of values, and the names of the settings that were given.

    Raises:
        ConfigError: a value is impossible.
    """
    texts: Mapping[str, str | None] = {}
    for group in groups:
        texts = {**texts, **vars(group)}
    given = {name for name, text in texts.items() if text is not None}
    return *parse_settings(texts), given


_SAVING = _descriptions(CheckpointConfig)


@dataclasses.dataclass(frozen=True)
class SavingOptions:
    """Folder and checkpoints."""

    out: Annotated[
        Path | None,
        arg(
            metavar="FOLDER",
            help="the folder to write. Default: runs/DATASET-MODEL (sweeps/... for a sweep), with "
            "a number where that is taken.",
            help_behavior_hint="",
        ),
    ] = None
    overwrite: Annotated[
        bool,
        arg(
            help="replace an older folder of that name, when the new one is complete.",
            help_behavior_hint="",
        ),
    ] = False
    resume: Annotated[
        Path | None,
        arg(
            metavar="FOLDER",
            help="resume an interrupted run, with its own settings.",
            help_behavior_hint="",
        ),
    ] = None
    checkpoint_epochs: Annotated[
        int | None, arg(metavar="N", help=_SAVING["checkpoint_epochs"], help_behavior_hint="")
    ] = None
    checkpoint_minutes: Annotated[float, arg(metavar="X", help=_SAVING["checkpoint_minutes"])] = 5.0
    keep_checkpoints: Annotated[int, arg(metavar="N", help=_SAVING["keep_checkpoints"])] = 3

    @property
    def checkpoints(self) -> CheckpointConfig:
        """When to save."""
        return CheckpointConfig(
            self.checkpoint_epochs, self.checkpoint_minutes, self.keep_checkpoints
        )
