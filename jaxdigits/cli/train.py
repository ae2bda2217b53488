"""`jaxdigits train`: train a network and write its run folder."""

import dataclasses
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from jaxdigits.cli.options import Json, ProfileOptions, TrainOptions
from jaxdigits.errors import ConfigError

if TYPE_CHECKING:
    from jaxdigits.runs.run import Run


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Data and devices.

    Attributes:
        from_: start from a trained network (a run folder, digits, letters, or characters), and
            keep its settings, scaling, and form.
        stream: leave the training images on the disk, for datasets that don't fit in memory.
            Several processes always do, each with its own share.
        devices: devices to shard each batch over. Default: 1; for convnet on CPU, one per core.
        seeds: train this many networks with consecutive seeds, as `jaxdigits sweep` does.
        members_per_batch: how many of these one call of the program trains.
        tensorboard: write the metrics as events for TensorBoard as well.
    """

    from_: Annotated[Path | None, {"metavar": "RUN"}] = None
    stream: bool = False
    devices: int | None = None
    seeds: int = 1
    members_per_batch: int | None = None
    tensorboard: bool = False


@dataclasses.dataclass(frozen=True)
class HostOptions:
    """Train with several processes, each of which is given the same command.

    Attributes:
        coordinator: HOST:PORT of the first process, or auto, where Slurm, Kubernetes, and the like
            tell. The batch size is that of all together; only the first process writes.
        processes: the number of processes; not needed with auto.
        process_id: 0 for the first process; not needed with auto.
    """

    coordinator: str | None = None
    processes: int | None = None
    process_id: int | None = None


def train(
    shared: TrainOptions,
    run: RunOptions,
    several_hosts: HostOptions,
    profiling: ProfileOptions,
    json: Json = False,
) -> None:
    """Train a network and write its run folder: figures, parameters, pictures.

    Ctrl-C and SIGTERM finish the epoch, save, and print the command that resumes the run; pressed
    twice they stop at once.
    """
    config, lists, given = shared.parse()
    if lists:
        name = next(iter(lists)).replace("_", "-")
        raise ConfigError(f"--{name} has several values: `jaxdigits sweep` takes lists")
    hosts = several_hosts
    if hosts.coordinator is None and (hosts.processes, hosts.process_id) != (None, None):
        raise ConfigError("--processes and --process-id need --coordinator HOST:PORT")
    if run.seeds != 1:
        more = profiling.profile or profiling.dump_hlo
        if run.tensorboard or hosts.coordinator or run.stream or run.from_ or more:
            raise ConfigError(
                "--tensorboard, --coordinator, --stream, --from, --profile, and --dump-hlo are for "
                "one run, not --seeds"
            )
        from jaxdigits.cli.sweep import run_sweep

        names = ("seeds", "members_per_batch", "devices")
        run_sweep(shared, {name: getattr(run, name) for name in names}, as_json=json)
        return

    from jaxdigits.environment import prepare_jax, profiled

    prepare_jax(profiling.dump_hlo)
    from jaxdigits.cli.output import note_counts, report
    from jaxdigits.runs import fit, multihost

    if hosts.coordinator is not None:
        multihost.connect(hosts.coordinator, hosts.processes, hosts.process_id)
    options = {name: getattr(run, name) for name in ("tensorboard", "stream", "devices")}
    saving, options = shared.saving, shared.options | options
    if saving.resume is not None:
        if saving.out is not None or run.from_ is not None:
            raise ConfigError("--resume names the folder: omit --out and --from")
        with profiled(profiling.profile):
            trained = fit.resume(saving.resume, expected=config, given=given, **options)
    else:
        folder = saving.out or "auto"
        with profiled(profiling.profile):
            trained = fit.fit(config, folder=folder, init_from=run.from_, **options)
    if not multihost.is_primary():
        return
    assert trained.folder is not None
    note_counts(trained.fingerprint)
    document = loads((trained.folder / "run.json").read_text())
    document = {"run": str(trained.folder), **document}
    report(summary(trained), document, as_json=json)


def summary(run: "Run") -> str:
    """What a run did, in words."""
    from jaxdigits.cli.output import results_table
    from jaxdigits.models import count_params
    from jaxdigits.runs.folder import RUN_FILES
    from jaxdigits.runs.loop import counted

    seconds = run.seconds or {}
    trained = "nothing to train"
    if seconds.get("train"):
        epochs = len(run.history) - 1
        rate = run.fingerprint.counts["train"] * epochs / seconds["train"]
        work = counted(epochs, "epoch")
        trained = f"{work} in {seconds['train']:.1f} s, {rate:,.0f} images/s"
    return (
        f"{run.network_name} with {count_params(run.params):,} parameters on {run.fingerprint}\n"
        f"{trained}; compiled in {seconds.get('compile', 0):.1f} s\n\n"
        f"{results_table(run.results)}\n\nwritten to {run.folder}: {', '.join(RUN_FILES)}"
    )
