"""`jaxdigits sweep`, and `jaxdigits train --seeds`: many runs, compared, and their ensemble."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, arg

from jaxdigits.cli.options import (
    CommonSettings,
    DataOptions,
    Json,
    NetworkSettings,
    Number,
    SavingOptions,
    TrainingSettings,
    parse_groups,
)
from jaxdigits.config import TrainConfig
from jaxdigits.errors import ConfigError

if TYPE_CHECKING:
    from jaxdigits.sweeps.summary import Setting, SweepResult


def sweep(
    common: OmitArgPrefixes[CommonSettings] = CommonSettings(),  # noqa: B008
    saving: OmitArgPrefixes[SavingOptions] = SavingOptions(),  # noqa: B008
    data: OmitArgPrefixes[DataOptions] = DataOptions(),  # noqa: B008
    network: OmitArgPrefixes[NetworkSettings] = NetworkSettings(),  # noqa: B008
    training: OmitArgPrefixes[TrainingSettings] = TrainingSettings(),  # noqa: B008
    seeds: Annotated[int, arg(metavar="N")] = 1,
    members_per_batch: Number = None,
    devices: Number = None,
    as_json: Json = False,
) -> None:
    """Train all combinations of settings, and compare them by their validation accuracy.

    Each setting may be a list: --learning-rate 0.01,0.1 --hidden 32,64x32 (two layers)
    --augment none,shift+rotate. Runs that differ in seed, learning rate, weight decay, or momentum
    share a compiled program.

    Args:
        seeds: how often to train each setting.
        members_per_batch: how many runs one call of the program trains. Default: as many as suit
            the device and its memory.
        devices: devices that the runs are sharded over. Default: all.
    """
    config, grid, given = parse_groups(common, network, training)
    run_sweep(
        config,
        grid,
        given,
        saving,
        data,
        devices,
        as_json=as_json,
        seeds=seeds,
        members_per_batch=members_per_batch,
    )


def run_sweep(
    config: TrainConfig,
    grid: Mapping[str, Sequence[Any]],
    given: set[str],
    saving: SavingOptions,
    data: DataOptions,
    devices: int | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Sweep, and print the result."""
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import note_counts, report
    from jaxdigits.sweeps import sweep as sweeps

    options |= {
        "overwrite": saving.overwrite,
        "saving": saving.checkpoints,
        "devices": devices,
        "progress": True,
        **data.folders,
    }
    if saving.resume is not None:
        if saving.out is not None:
            raise ConfigError("--resume names the folder: omit --out")
        found = sweeps.resume(saving.resume, expected=config, given=given, grid=grid, **options)
    else:
        found = sweeps.sweep(config, grid, folder=saving.out or "auto", **options)
    note_counts(found.ensemble.fingerprint)
    report(summary(found), {"sweep": str(found.folder), **found.document}, as_json=as_json)


def summary(result: "SweepResult") -> str:
    """What a sweep found, in words."""
    from jaxdigits.cli.output import results_table
    from jaxdigits.sweeps.sweep import SWEEP_FILES

    run, best, seconds = result.ensemble, result.best, result.document["seconds"]
    count = sum(len(setting.members) for setting in result.settings)
    return "\n".join(
        [
            f"{run.network_name} on {run.fingerprint}",
            f"{count} members in {seconds['train']:.1f} s; compiled in {seconds['compile']:.1f} s",
            "",
            settings_table([result.settings[index] for index in result.order]),
            "",
            f"best on validation: {best.name}; its test accuracy: "
            f"{in_words(result.test_accuracies)}",
            f"the ensemble of its {len(run.members)} members:",
            "",
            results_table(run.results),
            "",
            f"written to {result.folder}: {', '.join(SWEEP_FILES)}",
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

    width = max(len("setting"), *(len(setting.name) for setting in settings))
    lines = [f"{'setting':{width}} {'members':>8}{'mean':>9}   {'95% interval':19}range"]
    for setting in settings:
        found = spread(setting.accuracies)
        interval = ""
        if found["interval_95"]:
            interval = " to ".join(f"{end:.2%}" for end in found["interval_95"])
        ends = " to ".join(f"{end:.2%}" for end in found["range"])
        line = f"{setting.name:{width}} {len(setting.members):8}{found['mean']:9.2%}"
        line += f"   {interval:19}{ends}"
        if setting.diverged:
            line += f"   {setting.diverged} of {len(setting.members)} diverged"
        lines.append(line)
    return "\n".join(lines)
