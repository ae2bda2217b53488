"""`jaxdigits train`: train a network and write its run folder."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, arg

from jaxdigits.cli.options import (
    CommonSettings,
    DataOptions,
    Flag,
    Json,
    NetworkSettings,
    Number,
    SavingOptions,
    Text,
    TrainingSettings,
    parse_groups,
)
from jaxdigits.errors import ConfigError

if TYPE_CHECKING:
    from jaxdigits.runs.run import Run


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Data and devices.

    Attributes:
        init_from: Start from a trained network (a run folder, digits, or letters), and keep its
            settings, scaling, and form.
        stream: Leave the training images on the disk, for datasets that don't fit in memory.
            Several processes always do, each with its own share.
        devices: Devices to shard each batch over. Default: 1; for convnet on CPU, one per core.
        seeds: Train this many networks with consecutive seeds, as `jaxdigits sweep` does.
        members_per_batch: How many of these one call of the program trains.
        tensorboard: Write the metrics as events for TensorBoard as well.
    """

    init_from: Annotated[Path | None, arg(name="from", metavar="RUN", help_behavior_hint="")] = None
    stream: Flag = False
    devices: Number = None
    seeds: Annotated[int, arg(metavar="N")] = 1
    members_per_batch: Number = None
    tensorboard: Flag = False


@dataclasses.dataclass(frozen=True)
class HostOptions:
    """Train with several processes, each of which is given the same command.

    Attributes:
        coordinator: HOST:PORT of the first process, or auto, where Slurm, Kubernetes, and the like
            tell. The batch size is that of all together; only the first process writes.
        processes: The number of processes; not needed with auto.
        process_id: 0 for the first process; not needed with auto.
    """

    coordinator: Text = None
    processes: Number = None
    process_id: Number = None


def train(
    common: OmitArgPrefixes[CommonSettings] = CommonSettings(),  # noqa: B008
    saving: OmitArgPrefixes[SavingOptions] = SavingOptions(),  # noqa: B008
    data: OmitArgPrefixes[DataOptions] = DataOptions(),  # noqa: B008
    network: OmitArgPrefixes[NetworkSettings] = NetworkSettings(),  # noqa: B008
    training: OmitArgPrefixes[TrainingSettings] = TrainingSettings(),  # noqa: B008
    run: OmitArgPrefixes[RunOptions] = RunOptions(),
    several_hosts: OmitArgPrefixes[HostOptions] = HostOptions(),
    as_json: Json = False,
) -> None:
    """Train a network and write its run folder: figures, parameters, pictures.

    Ctrl-C and SIGTERM finish the epoch, save, and print the command that resumes the run; pressed
    twice they stop at once.
    """
    config, lists, given = parse_groups(common, network, training)
    if lists:
        name = next(iter(lists)).replace("_", "-")
        raise ConfigError(f"--{name} has several values: `jaxdigits sweep` takes lists")
    hosts = several_hosts
    if hosts.coordinator is None and (hosts.processes, hosts.process_id) != (None, None):
        raise ConfigError("--processes and --process-id need --coordinator HOST:PORT")
    if run.seeds != 1:
        if run.tensorboard or hosts.coordinator or run.stream or run.init_from:
            raise ConfigError(
                "--tensorboard, --coordinator, --stream, and --from are for one run, not --seeds"
            )
        from jaxdigits.cli.sweep import run_sweep

        seeds = {"seeds": run.seeds, "members_per_batch": run.members_per_batch}
        run_sweep(config, {}, given, saving, data, run.devices, as_json=as_json, **seeds)
        return

    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import note_counts, report
    from jaxdigits.runs import fit, multihost

    if hosts.coordinator is not None:
        multihost.connect(hosts.coordinator, hosts.processes, hosts.process_id)
    options = {
        "overwrite": saving.overwrite,
        "saving": saving.checkpoints,
        "tensorboard": run.tensorboard,
        "stream": run.stream,
        "devices": run.devices,
        "progress": True,
        **data.folders,
    }
    if saving.resume is not None:
        if saving.out is not None or run.init_from is not None:
            raise ConfigError("--resume names the folder: omit --out and --from")
        trained = fit.resume(saving.resume, expected=config, given=given, **options)
    else:
        folder = saving.out or "auto"
        trained = fit.fit(config, folder=folder, init_from=run.init_from, **options)
    if not multihost.is_primary():
        return
    assert trained.folder is not None
    note_counts(trained.fingerprint)
    document = json.loads((trained.folder / "run.json").read_text())
    document = {"run": str(trained.folder), **document}
    report(summary(trained), document, as_json=as_json)


def summary(run: "Run") -> str:
    """What a run did, in words."""
    from jaxdigits.cli.output import results_table
    from jaxdigits.models import count_params
    from jaxdigits.runs.folder import RUN_FILES

    seconds = run.seconds or {}
    trained = "nothing to train"
    if seconds.get("train"):
        epochs = len(run.history) - 1
        rate = run.fingerprint.counts["train"] * epochs / seconds["train"]
        plural = "s" * (epochs != 1)
        trained = f"{epochs} epoch{plural} in {seconds['train']:.1f} s, {rate:,.0f} images/s"
    return (
        f"{run.network_name} with {count_params(run.params):,} parameters on {run.fingerprint}\n"
        f"{trained}; compiled in {seconds.get('compile', 0):.1f} s\n\n"
        f"{results_table(run.results)}\n\nwritten to {run.folder}: {', '.join(RUN_FILES)}"
    )
