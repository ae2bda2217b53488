"""`jaxdigits train`: train a network and write its run folder."""

import dataclasses
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from jaxdigits.cli.options import HostOptions, Json, ProfileOptions, TrainOptions
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
    if run.seeds != 1:
        if run.tensorboard or run.stream or run.from_ or profiling.profile or profiling.dump_hlo:
            raise ConfigError(
                "--tensorboard, --stream, --from, --profile, and --dump-hlo are for one run, not "
                "--seeds"
            )
        from jaxdigits.cli.sweep import run_sweep

        names = ("seeds", "members_per_batch", "devices")
        options = {name: getattr(run, name) for name in names}
        run_sweep(shared, several_hosts, options, as_json=json)
        return

    from jaxdigits.environment import prepare_jax, profiled

    prepare_jax(profiling.dump_hlo)
    from jaxdigits.cli.output import note_counts, report
    from jaxdigits.runs import fit, multihost

    several_hosts.connect()
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
    from jaxdigits.cli.output import results_table, written_to
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
    assert run.folder is not None
    return (
        f"{run.network_name} with {count_params(run.params):,} parameters on {run.fingerprint}\n"
        f"{trained}; compiled in {seconds.get('compile', 0):.1f} s\n\n"
        f"{results_table(run.results)}\n\n{written_to(run.folder, RUN_FILES)}"
    )
