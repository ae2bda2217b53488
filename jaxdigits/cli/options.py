"""Options that several commands share; their help comes from the docstrings of the configs."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from jaxdigits.cli.parser import describe, hint, metavar
from jaxdigits.config import CheckpointConfig, TrainConfig, parse_settings
from jaxdigits.errors import ConfigError

Json = Annotated[bool, {"help": "print one JSON object on stdout, and nothing else."}]
Name = Annotated[str, {"metavar": "NAME"}]
File = Annotated[Path | None, {"metavar": "FILE"}]
Folder = Annotated[Path | None, {"metavar": "FOLDER"}]

COMMON = (
    *("dataset", "model", "epochs", "batch_size", "learning_rate", "optimizer", "augment"),
    *("hidden", "seed"),
)
NETWORK = ("activation", "pool_activation", "stem", "dropout", "initializer", "distance")
_REST = tuple(
    field.name for field in dataclasses.fields(TrainConfig) if field.name not in (*COMMON, *NETWORK)
)


def settings_group(names: tuple[str, ...]) -> Any:
    """A dataclass of settings of `TrainConfig`, each the text of a value. Default: None."""
    kinds, texts, fields = get_type_hints(TrainConfig), describe(TrainConfig)[1], []
    for name in names:
        text = texts.get(name, "") + hint(getattr(TrainConfig, name))
        more = {"metavar": metavar(kinds[name]), "help": text}
        fields.append((name, Annotated[str | None, more], None))
    return dataclasses.make_dataclass("Settings", fields, frozen=True)


class CommonSettings(settings_group(COMMON)):
    """What most people set."""


class NetworkSettings(settings_group(NETWORK)):
    """Most apply to one network only."""


class TrainingSettings(settings_group(_REST)):
    """Scaling, loss, gradients, and more of the optimizer."""


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Where datasets lie.

    Attributes:
        data_dir: where prepared datasets are. Default: $TFDS_DATA_DIR or ~/tensorflow_datasets.
        manual_dir: a folder with files downloaded by hand. Default: $JAXDIGITS_MANUAL_DIR.
    """

    data_dir: Path | None = None
    manual_dir: Path | None = None

    @property
    def folders(self) -> dict[str, Path | None]:
        """The keyword arguments of `jaxdigits.data.load` and others."""
        return dict(vars(self))


@dataclasses.dataclass(frozen=True)
class SavingOptions:
    """Where to write.

    Attributes:
        out: the folder to write. Default: runs/DATASET-MODEL (sweeps/... for a sweep), with a
            number where that is taken.
        overwrite: replace an older folder of that name, when the new one is complete.
        resume: resume an interrupted run, with its own settings.
    """

    out: Folder = None
    overwrite: bool = False
    resume: Folder = None


@dataclasses.dataclass(frozen=True)
class HostOptions:
    """Train with several processes, each of which is given the same command.

    Attributes:
        coordinator: HOST:PORT of the first process, or auto, where Slurm, Kubernetes, and the like
            tell. They share each batch, or the members of a sweep; only the first process writes.
        processes: the number of processes; not needed with auto.
        process_id: 0 for the first process; not needed with auto.
    """

    coordinator: str | None = None
    processes: int | None = None
    process_id: int | None = None

    def connect(self) -> None:
        """Wait for the other processes, if there are any.

        Raises:
            ConfigError: the numbers are impossible, or the others were not found.
        """
        if self.coordinator is not None:
            from jaxdigits.runs import multihost

            multihost.connect(self.coordinator, self.processes, self.process_id)
        elif (self.processes, self.process_id) != (None, None):
            raise ConfigError("--processes and --process-id need --coordinator HOST:PORT")


@dataclasses.dataclass(frozen=True)
class ProfileOptions:
    """See what happens inside.

    Attributes:
        profile: a folder for a trace that Perfetto or XProf opens; a short run is enough.
        dump_hlo: a folder for the programs that XLA compiles, as text.
    """

    profile: Folder = None
    dump_hlo: Folder = None


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What `train` and `sweep` share."""

    common: CommonSettings
    saving: SavingOptions
    checkpoint: CheckpointConfig
    data: DataOptions
    network: NetworkSettings
    training: TrainingSettings

    def parse(self) -> tuple[TrainConfig, dict[str, tuple[Any, ...]], set[str]]:
        """The config, the lists of values, and the names of the settings that were given.

        Raises:
            ConfigError: a value is impossible.
        """
        texts = vars(self.common) | vars(self.network) | vars(self.training)
        return *parse_settings(texts), {name for name, text in texts.items() if text is not None}

    @property
    def options(self) -> dict[str, Any]:
        """The other keyword arguments of `jaxdigits.runs.fit.fit` and `jaxdigits.sweeps.sweep`."""
        saving = {"overwrite": self.saving.overwrite, "saving": self.checkpoint}
        return saving | self.data.folders | {"progress": True}
