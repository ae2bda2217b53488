"""Train a network: `epochs`, the loop as a generator, and `fit`, the loop run to its end.

for epoch in jd.epochs(config, data):
    print(epoch.number, epoch.validation.accuracy)

run = jd.fit(config, data, folder="runs/first")
"""

from collections.abc import Callable, Collection, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Unpack

from jaxdigits.config import TrainConfig
from jaxdigits.files import StrPath, unfinished
from jaxdigits.runs.folder import RUN_FILE, load
from jaxdigits.runs.resume import find_manifest, manifest_config
from jaxdigits.runs.run import Run
from jaxdigits.runs.session import Data, Epoch, Options, Session

__all__ = ["Data", "Epoch", "Options", "epochs", "fit", "resume"]


def epochs(
    config: TrainConfig, data: Data | None = None, **options: Unpack[Options]
) -> Generator[Epoch]:
    """Train a network, epoch by epoch: the loop is yours.

    Stop early with `break`. A run with a folder is then left as `FOLDER.unfinished`, with a
    checkpoint to resume from; run to the end it is measured, drawn, and saved, as by `fit`.

    Args:
        config: the settings.
        data: the splits; by default those of `config.dataset`.
        options: keyword arguments, all optional:

            model, loss, optimizer, augment: parts of your own; see
            `jaxdigits.training.resolve`.

            folder: the run folder to write; `auto` for `runs/DATASET-MODEL`, with a number where
            that is taken. Default: none is written.

            resume: resume the run in that folder, to the bit, or start it if there is none.

            overwrite: replace an older run in that folder, when the new one is complete.

            init_from: a run, or its folder, to start from: its network, parameters, and scaling.

            devices, mesh: the number of devices to shard each batch over, or a mesh of them.

            saving: when to save checkpoints.

            tensorboard: write the metrics as events for TensorBoard as well.

            stream: leave the training images on the disk, for datasets that don't fit in memory.

            progress: show on standard error what is trained, and a bar, or, where that is no
            terminal, a line an epoch.

            data_dir, manual_dir: see `jaxdigits.data.load`.

    Raises:
        DataError: the dataset is unknown, damaged, unavailable, or not the one that the run was
            begun with.
        OutputError: the run folder cannot be written, or is taken.
        ConfigError: parts do not go together, the run does not fit into memory, or it was begun
            with another setting.
        RunError: the checkpoints are damaged.
        StoppedError: on Ctrl-C or SIGTERM; a run with a folder can be resumed.

    Example:
        >>> import jaxdigits as jd
        >>> for epoch in jd.epochs(jd.TrainConfig(dataset="digits", model="mlp", epochs=50)):
        ...     if epoch.validation.accuracy > 0.9:
        ...         break
        >>> epoch.number < 50, epoch.run()
        (True, <Run: mlp on digits>)
    """
    return Session(config, data, options).epochs()


def fit(
    config: TrainConfig,
    data: Data | None = None,
    *,
    on_epoch: Callable[[Epoch], bool | None] | None = None,
    **options: Unpack[Options],
) -> Run:
    """Train a network to the end, measure it, and, given a folder, draw and save it.

    Args:
        config: the settings.
        data: the splits; by default those of `config.dataset`.
        on_epoch: called after each epoch; if it returns True, the run ends there.
        options: see `epochs`, also for the errors raised.

    Example:
        >>> import jaxdigits as jd
        >>> run = jd.fit(jd.TrainConfig(dataset="digits", model="linear", epochs=5))
        >>> run.results["test"]["accuracy"] > 0.85
        True
    """
    session = Session(config, data, options)
    with closing(session.epochs()) as loop:
        for epoch in loop:
            if on_epoch is not None and on_epoch(epoch):
                session.stop = True
    assert session.run is not None
    return session.run


def resume(
    folder: StrPath,
    *,
    expected: TrainConfig | None = None,
    given: Collection[str] = (),
    **options: Any,
) -> Run:
    """Resume an interrupted run in its folder, with its own settings, or load a complete one.

    Args:
        folder: the run's, with or without `.unfinished`.
        expected: settings that must be those of the run...
        given: ...as far as their names stand here.
        options: as for `fit`; parts of your own must be given again.

    Raises:
        RunError: there is nothing to resume.
    """
    final, manifest = find_manifest("train", Path(folder), RUN_FILE)
    if manifest is None:
        return load(final, model=options.get("model"), loss=options.get("loss"))
    config = manifest_config(manifest, unfinished(final), expected or TrainConfig(), given)
    stream = options.pop("stream", False) or manifest["stream"]
    return fit(config, folder=final, resume=True, stream=stream, **options)
