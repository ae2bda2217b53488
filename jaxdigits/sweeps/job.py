"""What a job of a cluster does: train a share of a sweep's members.

A job imports this file before anything else, so it imports jax only after `prepare_jax`.
"""

from pathlib import Path

from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.environment import prepare_jax
from jaxdigits.errors import OutputError
from jaxdigits.files import StrPath

JOBS = "jobs"
"""The folder, in a sweep's, of what jobs keep while they work, and of their logs."""


def train_share(
    work: str,
    number: int,
    jobs: int,
    *,
    saving: CheckpointConfig | None = None,
    devices: int | None = None,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> int:
    """Train those members of a share that are not written yet; returns how many it has.

    Args:
        work: the unfinished folder of the sweep.
        number: of the share, from 0.
        jobs: among how many the members are shared out.
        saving: when to save checkpoints.
        devices: of the job. Default: all.
        data_dir, manual_dir: see `jaxdigits.data.load`.

    Raises:
        OutputError: another job is at work on this share.
        JaxdigitsError: others, as `jaxdigits.sweep`.
    """
    prepare_jax()
    from filelock import FileLock, Timeout

    from jaxdigits import data as datasets
    from jaxdigits.runs.checkpoints import CHECKPOINTS, read_manifest, write_manifest
    from jaxdigits.runs.resume import CheckpointHook, check_data
    from jaxdigits.sweeps.grid import make_plan
    from jaxdigits.sweeps.launcher import share_out
    from jaxdigits.sweeps.train import SPLITS, SweepTrainer
    from jaxdigits.training.members import members_mesh

    manifest = read_manifest(Path(work))
    config = TrainConfig.from_dict(manifest["config"])
    plan = make_plan(config, manifest["grid"], manifest["seeds"])
    loaded = datasets.load_splits(config.dataset, SPLITS, data_dir=data_dir, manual_dir=manual_dir)
    data = {split.split: split for split in loaded}
    check_data(manifest, data["train"].fingerprint)
    own = Path(work) / JOBS / f"{number}-of-{jobs}"
    own.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(own / ".lock", blocking=False):
            trainer = SweepTrainer(
                plan,
                data,
                members_mesh(devices).size,
                manifest["members_per_batch"],
                share_out(plan.members, jobs)[number],
            )
            resumed = (own / CHECKPOINTS).exists()
            sizes = read_manifest(own)["batch_sizes"] if resumed else None
            document = write_manifest(own, {**manifest, "batch_sizes": trainer.prepare(sizes)})
            with CheckpointHook(own, document, saving) as hook:
                return len(trainer.train(hook, Path(work)))
    except Timeout:
        raise OutputError(f"another job is writing to {own}: wait for it") from None
