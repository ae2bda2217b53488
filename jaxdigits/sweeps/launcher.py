"""Give the members of a sweep to the jobs of a cluster, through submitit.

Each job trains a share of the members and writes them into the folder of the sweep, which it must
see; it has its own checkpoints there, so what is stopped can be resumed.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from jaxdigits.config import TrainConfig
from jaxdigits.errors import ConfigError, RunError, StoppedError
from jaxdigits.runs.folder import MEMBERS, RUN_FILE
from jaxdigits.runs.loop import ProgressBar, counted
from jaxdigits.runs.signals import Interrupts
from jaxdigits.sweeps.grid import Plan, group_by_program
from jaxdigits.sweeps.job import JOBS, train_share

CLUSTERS = ("slurm", "local")


@dataclass(frozen=True)
class Launcher:
    """Where jobs run.

    Attributes:
        cluster: slurm, or local: processes on this machine.
        jobs: how many, at most; each has one member or more.
        options: of submitit's executor, such as `{"timeout_min": 60, "slurm_partition": "gpu"}`.

    Example:
        >>> Launcher("slurm", jobs=8, options={"gpus_per_node": 1}).jobs
        8
    """

    cluster: str = "slurm"
    jobs: int = 8
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ConfigError where a value is impossible, or submitit is not installed."""
        if self.cluster not in CLUSTERS:
            raise ConfigError(f"launcher must be {' or '.join(CLUSTERS)}, not {self.cluster!r}")
        if self.jobs < 1:
            raise ConfigError(f"jobs must be 1 or more, not {self.jobs}")
        if find_spec("submitit") is None:
            raise ConfigError("a launcher needs submitit: pip install 'jaxdigits[slurm]'")

    def check(self, data: Any, folder: Any) -> None:
        """Raise ConfigError where a job would not find its data, or nowhere to write."""
        if data is not None:
            raise ConfigError("jobs load their data by its name: omit data, or omit launcher")
        if folder is None:
            raise ConfigError("jobs write their members into a folder: give one, or omit launcher")


def launch(
    launcher: Launcher, work: Path, plan: Plan, command: str, *, show: bool, **options: Any
) -> None:
    """Train all members that are not written yet, in jobs, and wait for these.

    Args:
        launcher: where they run.
        work: the unfinished folder of the sweep.
        plan: its members.
        command: that resumes the sweep.
        show: how many members are done, on standard error.
        options: of `jaxdigits.sweeps.job.train_share`.

    Raises:
        ConfigError: submitit does not know an option, or finds no cluster.
        RunError: a job failed.
        StoppedError: on Ctrl-C or SIGTERM, which cancel the jobs.
    """
    # Else its logger writes to standard output, and closes the handlers of all others.
    os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")
    import submitit

    shares = share_out(plan.members, launcher.jobs)
    waiting = [
        number
        for number, share in enumerate(shares)
        if not all(is_written(work, index) for index in share)
    ]
    if not waiting:
        return
    try:
        executor = submitit.AutoExecutor(work / JOBS / "logs", cluster=launcher.cluster)
        executor.update_parameters(name="jaxdigits", **launcher.options)
        with executor.batch():
            jobs = [
                executor.submit(train_share, str(work), number, launcher.jobs, **options)
                for number in waiting
            ]
    except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"the jobs cannot be started: {str(error).splitlines()[0]}") from None
    count = len(plan.members)
    with (
        Interrupts("canceling the jobs; press again to stop now") as interrupts,
        ProgressBar(count, "network", show=show) as bar,
    ):
        bar.say(f"training {counted(count, 'network')} in {counted(len(jobs), 'job')}")
        while not all(job.done() for job in jobs):
            time.sleep(0.5)
            bar.reach(sum(is_written(work, index) for index in range(count)))
            if interrupts.received is not None:
                for job in jobs:
                    job.cancel()
                raise StoppedError(
                    f"interrupted; resume with: {command}", 128 + interrupts.received
                )
    failed = [job for job in jobs if job.exception() is not None]
    if failed:
        reason = ((failed[0].stderr() or "").strip() or "no reason").splitlines()[-1]
        raise RunError(
            f"{len(failed)} of {len(jobs)} jobs failed, the first with {reason!r} (its log is "
            f"{failed[0].paths.stderr}); resume with: {command}"
        )


def share_out(members: Sequence[TrainConfig], jobs: int) -> list[list[int]]:
    """The indices of members in a list for each job, those that share a program near each other.

    Example:
        >>> rates, widths = (0.1, 0.2), ((3,), (4,))
        >>> configs = [
        ...     TrainConfig(model="mlp", learning_rate=r, hidden=h) for r in rates for h in widths
        ... ]
        >>> share_out(configs, 2)
        [[0, 2], [1, 3]]
    """
    order = [index for group in group_by_program(members) for index in group]
    return [share.tolist() for share in np.array_split(order, min(jobs, len(order)))]


def is_written(work: Path, index: int) -> bool:
    """Whether the run of a member lies in the folder of the sweep."""
    return (work / MEMBERS / str(index) / RUN_FILE).exists()
