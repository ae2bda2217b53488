"""`jaxdigits sweep`, and `jaxdigits train --seeds`: many runs, compared, and their ensemble."""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from jaxdigits.cli.options import HostOptions, Json, TrainOptions
from jaxdigits.errors import ConfigError

if TYPE_CHECKING:
    from jaxdigits.sweeps.launcher import Launcher
    from jaxdigits.sweeps.summary import Setting, SweepResult


@dataclasses.dataclass(frozen=True)
class JobOptions:
    """Give the runs to jobs of a cluster, which all must see the folder.

    Attributes:
        launcher: slurm, or local for processes on this machine; needs submitit.
        jobs: how many, at most.
        job_options: of submitit's executor, as timeout_min=60,slurm_partition=gpu
    """

    launcher: Annotated[str | None, {"metavar": "slurm|local"}] = None
    jobs: int | None = None
    job_options: str | None = None

    def parse(self) -> "Launcher | None":
        """The launcher, if there is one.

        Raises:
            ConfigError: a value is impossible.
        """
        if self.launcher is None:
            if (self.jobs, self.job_options) != (None, None):
                raise ConfigError("--jobs and --job-options need --launcher")
            return None
        from jaxdigits.sweeps.launcher import Launcher

        options: dict[str, Any] = {}
        for text in (self.job_options or "").split(",") if self.job_options else ():
            name, equals, value = text.partition("=")
            if not (name.isidentifier() and equals and value):
                raise ConfigError(f"--job-options takes NAME=VALUE,..., not {text!r}")
            options[name] = int(value) if value.isdigit() else value
        jobs = Launcher.jobs if self.jobs is None else self.jobs
        return Launcher(self.launcher, jobs, options)


def sweep(
    shared: TrainOptions,
    several_hosts: HostOptions,
    cluster: JobOptions,
    seeds: int = 1,
    members_per_batch: int | None = None,
    halving: Annotated[int | None, {"metavar": "K"}] = None,
    devices: int | None = None,
    json: Json = False,
) -> None:
    """Train all combinations of settings, and compare them by their validation accuracy.

    Each setting may be a list: --learning-rate 0.01,0.1 --hidden 32,64x32 (two layers)
    --augment none,shift+rotate. Runs that differ in seed, learning rate, weight decay, or momentum
    share a compiled program.

    Args:
        seeds: how often to train each setting.
        members_per_batch: how many runs one call of the program trains. Default: as many as suit
            the device and its memory.
        halving: keep one of K settings on the way, again and again, such as 4: a search of many
            settings then takes a fraction of the time.
        devices: devices that the runs are sharded over. Default: all.
    """
    options = {
        "seeds": seeds,
        "members_per_batch": members_per_batch,
        "halving": halving,
        "devices": devices,
        "launcher": cluster.parse(),
    }
    run_sweep(shared, several_hosts, options, as_json=json)


def run_sweep(
    shared: TrainOptions, hosts: HostOptions, options: dict[str, Any], *, as_json: bool
) -> None:
    """Sweep, and print the result."""
    config, grid, given = shared.parse()
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import note_counts, report
    from jaxdigits.runs import multihost
    from jaxdigits.sweeps import sweep as sweeps

    hosts.connect()
    saving, options = shared.saving, shared.options | options
    if saving.resume is not None:
        if saving.out is not None:
            raise ConfigError("--resume names the folder: omit --out")
        found = sweeps.resume(saving.resume, expected=config, given=given, grid=grid, **options)
    else:
        found = sweeps.sweep(config, grid, folder=saving.out or "auto", **options)
    if not multihost.is_primary():
        return
    note_counts(found.ensemble.fingerprint)
    report(summary(found), {"sweep": str(found.folder), **found.document}, as_json=as_json)


def summary(result: "SweepResult") -> str:
    """What a sweep found, in words."""
    from jaxdigits.cli.output import results_table, written_to
    from jaxdigits.sweeps.sweep import SWEEP_FILES

    run, best, seconds = result.ensemble, result.best, result.document["seconds"]
    assert result.folder is not None
    count = sum(len(setting.members) for setting in result.settings)
    return "\n".join(
        [
            f"{run.network_name} on {run.fingerprint}",
            f"{count} members in {seconds['train']:.1f} s; compiled in {seconds['compile']:.1f} s",
            "",
            settings_table([result.settings[index] for index in result.order]),
            "",
            f"best on validation: {best.name}",
            f"its test accuracy: {in_words(result.test_accuracies)}",
            f"the ensemble of its {len(run.members)} members:",
            "",
            results_table(run.results),
            "",
            written_to(result.folder, SWEEP_FILES),
        ]
    )


def in_words(values: Sequence[float]) -> str:
    """The mean of accuracies, with its interval if there are several."""
    from jaxdigits.sweeps.summary import spread

    found = spread(values)
    text = f"{found['mean']:.2%}"
    if found["interval_95"]:
        low, high = found["interval_95"]
        text += f" (mean of {len(values)}, 95% interval {low:.2%} to {high:.2%})"
    return text


def settings_table(settings: Sequence["Setting"]) -> str:
    """A line for each setting: mean, interval, and range of the validation accuracies."""
    from jaxdigits.sweeps.summary import spread

    # Of at most 22, so that a line has at most 79.
    width = min(max(len("setting"), *(len(setting.name) for setting in settings)), 22)
    lines = [f"{'setting':{width}} {'members':>8}{'mean':>9}   {'95% interval':19}range"]
    for setting in settings:
        found = spread(setting.accuracies)
        interval = ""
        if found["interval_95"]:
            interval = " to ".join(f"{end:.2%}" for end in found["interval_95"])
        ends = " to ".join(f"{end:.2%}" for end in found["range"])
        first, *rest = textwrap.wrap(setting.name, width)
        line = f"{first:{width}} {len(setting.members):8}{found['mean']:9.2%}"
        line += f"   {interval:19}{ends}"
        if setting.dropped_after is not None:
            rest.append(f"dropped after epoch {setting.dropped_after}")
        if setting.diverged:
            rest.append(f"{setting.diverged} of {len(setting.members)} diverged")
        lines += [line, *(f"  {words}" for words in rest)]
    return "\n".join(lines)
