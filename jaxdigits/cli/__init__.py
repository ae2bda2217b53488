"""The command line. It is declared here, and nothing heavy is imported before a command runs."""

import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg
from tyro.extras import SubcommandApp

from jaxdigits.config import CheckpointConfig, TrainConfig, parse_grid
from jaxdigits.errors import ConfigError, JaxdigitsError, StoppedError

Json = Annotated[bool, arg(name="json", help="print one JSON object, and nothing else, on stdout")]
DataDir = Annotated[
    Path | None,
    arg(help="where prepared data sets are, if not $TFDS_DATA_DIR or ~/tensorflow_datasets"),
]
ManualDir = Annotated[
    Path | None,
    arg(help="a folder with data files downloaded by hand, if not $JAXDIGITS_MANUAL_DIR"),
]

_words: list[str] = []
"""The arguments of this call: tyro does not tell which settings were given."""

app = SubcommandApp()
data_app = SubcommandApp()
bench_app = SubcommandApp()


@app.command
def train(
    config: OmitArgPrefixes[TrainConfig] = TrainConfig(),  # noqa: B008 (frozen)
    saving: OmitArgPrefixes[CheckpointConfig] = CheckpointConfig(),  # noqa: B008 (frozen)
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    seeds: int = 1,
    members_at_once: int | None = None,
    tensorboard: bool = False,
    stream: bool = False,
    devices: int | None = None,
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
    as_json: Json = False,
) -> None:
    """Train a network and write its run folder: figures, parameters, pictures.

    Ctrl-C and SIGTERM finish the epoch in hand, save, and say how to go on; twice, they stop at
    once.

    Args:
        config: settings of the run.
        saving: when to save it on the way.
        out: the run folder; if not given, runs/DATASET-MODEL, with a number where that is taken.
        overwrite: replace an older run in that folder, when the new one is complete.
        resume: go on with a run folder that is not finished, with its own settings.
        seeds: if more than one, so many trainings with following seeds, as `jaxdigits sweep` does
            it.
        members_at_once: how many of these one call of the program trains.
        tensorboard: write the metrics also as events for TensorBoard.
        stream: leave the training images on the disk and read them as they are needed, for a data
            set that the device has no room for. Several processes always do, each its own share.
        devices: how many share each batch; if not given, one, but for convnet on a CPU a device for
            each core, as far as the batch allows.
        coordinator: train with several processes, each of which is given this: HOST:PORT of the
            first one, or auto, where Slurm, Kubernetes and so on tell. The batch size is that of
            all together; only the first process writes.
        processes: how many there are; not needed with auto.
        process_id: 0 for the first; not needed with auto.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    if coordinator is None and (processes is not None or process_id is not None):
        raise ConfigError("--processes and --process-id need --coordinator HOST:PORT")
    if seeds != 1:
        if tensorboard or coordinator or stream:
            raise ConfigError(
                "--tensorboard, --coordinator and --stream are for one training, not --seeds"
            )
        from jaxdigits.sweeps.summary import sweep

        sweep(
            config,
            {},
            seeds=seeds,
            members_at_once=members_at_once,
            saving=saving,
            out=out,
            resume=resume,
            given=_given_settings(),
            devices=devices,
            data_dir=data_dir,
            manual_dir=manual_dir,
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    if coordinator is not None:
        from jaxdigits.runs.multihost import connect

        connect(coordinator, processes, process_id)
    from jaxdigits.runs.fit import train

    train(
        config,
        saving=saving,
        out=out,
        resume=resume,
        given=_given_settings(),
        tensorboard=tensorboard,
        stream=stream,
        devices=devices,
        data_dir=data_dir,
        manual_dir=manual_dir,
        overwrite=overwrite,
        as_json=as_json,
    )


SweepSettings = dataclasses.make_dataclass(
    "SweepSettings",
    [
        (
            field.name,
            Annotated[str | None, arg(metavar="A,B,...", help="as of `jaxdigits train`")],
            dataclasses.field(default=None),
        )
        for field in dataclasses.fields(TrainConfig)
    ],
    frozen=True,
)
SweepSettings.__doc__ = "The settings of a sweep, each one value or several."


@app.command
def sweep(
    settings: OmitArgPrefixes[SweepSettings] = SweepSettings(),  # pyright: ignore # noqa: B008
    saving: OmitArgPrefixes[CheckpointConfig] = CheckpointConfig(),  # noqa: B008 (frozen)
    seeds: int = 1,
    members_at_once: int | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    devices: int | None = None,
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
    as_json: Json = False,
) -> None:
    """Train all combinations of settings, and compare them by their validation accuracy.

    Each setting of `jaxdigits train` may be a list: --learning-rate 0.01,0.1 --hidden 32,64x32
    (two layers) --augment none,shift+rotate. Trainings that differ in seed, learning rate, weight
    decay and momentum share a compiled program.

    Args:
        saving: when to save it on the way.
        seeds: how often to train each setting.
        members_at_once: how many one call of a program trains; if not given, as many as suit the
            device and its memory.
        out: the folder; if not given, sweeps/DATASET-MODEL, with a number where that is taken.
        overwrite: replace an older sweep in that folder, when the new one is complete.
        resume: go on with a sweep's folder that is not finished, with its own settings.
        devices: over how many the trainings are spread; all, if not given.
    """
    config, grid = parse_grid(dataclasses.asdict(settings))
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.sweeps.summary import sweep

    sweep(
        config,
        grid,
        seeds=seeds,
        members_at_once=members_at_once,
        saving=saving,
        out=out,
        resume=resume,
        given=_given_settings(),
        devices=devices,
        data_dir=data_dir,
        manual_dir=manual_dir,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command
def evaluate(
    run: Positional[Path],
    moved: bool = False,
    robustness: bool = False,
    out: Path | None = None,
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
    as_json: Json = False,
) -> None:
    """Measure a trained network again, from the files of its run folder.

    Args:
        run: the run folder; or digits or letters, the networks that come with the package.
        moved: measure it also on test images that are moved a little, with five pixels inverted,
            as the third post does; ten times, with other movements.
        robustness: measure it also on test images that are changed in many ways, and how far its
            probabilities can be trusted, and draw both.
        out: the picture of that; if not given, RUN-robustness.png.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.evaluate import evaluate

    evaluate(
        run,
        moved=moved,
        robustness=robustness,
        out=out,
        data_dir=data_dir,
        manual_dir=manual_dir,
        as_json=as_json,
    )


@app.command
def predict(
    pictures: Positional[tuple[Path, ...]] = (),
    network: str = "digits",
    error_rate: float | None = None,
    show: Path | None = None,
    as_json: Json = False,
) -> None:
    """Read the characters in pictures: photos, scans, drawings of your own handwriting.

    Args:
        pictures: PNG, JPEG, WebP, GIF, BMP, TIFF or HEIC; dark on light or light on dark.
        network: `digits` or `letters`, which come with the package, or a run folder.
        error_rate: share of wrong answers to put up with, such as 0.001, as counted on validation
            images; a character that is less sure is printed as a question mark.
        show: a PNG to draw what was found into; with several pictures its name is numbered.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.predict import predict

    predict(pictures, network=network, error_rate=error_rate, show=show, as_json=as_json)


@app.command
def reproduce(
    rows: Positional[tuple[str, ...]] = (),
    seeds: int = 10,
    dataset: str = "auto",
    letters: str = "emnist/letters",
    out: Path | None = None,
    overwrite: bool = False,
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
    as_json: Json = False,
) -> None:
    """Measure the results of the posts again, with error bars, beside what was posted.

    Args:
        rows: such as A4 B5; all rows if none is given.
        seeds: how often to repeat what has chance in it; four times at most where a training takes
            minutes.
        dataset: a name that `jaxdigits data list` shows, or a folder of images; `auto` is mnist, or
            digits without it.
        letters: the data set for the rows that are about letters.
        out: a folder for the report and its pictures; if not given, it is only printed.
        overwrite: replace an older report in that folder, when the new one is complete.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.posts.reproduce import reproduce

    reproduce(
        rows,
        seeds=seeds,
        dataset=dataset,
        letters=letters,
        out=out,
        overwrite=overwrite,
        data_dir=data_dir,
        manual_dir=manual_dir,
        as_json=as_json,
    )


@data_app.command(name="list")
def list_datasets(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the data sets: classes, counts, whether prepared."""
    from jaxdigits.cli.data import list_datasets

    list_datasets(data_dir=data_dir, as_json=as_json)


@data_app.command
def prepare(
    name: Positional[str],
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
    as_json: Json = False,
) -> None:
    """Prepare a data set, from downloaded files or by download.

    Args:
        name: as `jaxdigits data list` shows it.
    """
    from jaxdigits.cli.data import prepare

    prepare(name, data_dir=data_dir, manual_dir=manual_dir, as_json=as_json)


@data_app.command
def show(
    name: Positional[str],
    split: Literal["train", "validation", "test"] = "train",
    count: int = 50,
    out: Path | None = None,
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
    as_json: Json = False,
) -> None:
    """Draw images of a data set, with their classes, to a PNG.

    Args:
        name: as `jaxdigits data list` shows it, or a folder of images (class/image.png).
        split: which images.
        count: how many.
        out: the picture; if not given, NAME-SPLIT.png.
    """
    from jaxdigits.cli.data import show

    show(
        name,
        split=split,
        count=count,
        out=out,
        data_dir=data_dir,
        manual_dir=manual_dir,
        as_json=as_json,
    )


@data_app.command
def export(
    name: Positional[str],
    folder: Positional[Path],
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
    as_json: Json = False,
) -> None:
    """Write a data set as a folder of PNG images, split/class/image.png.

    Args:
        name: as `jaxdigits data list` shows it, or a folder of images to be brought to one form.
        folder: a new folder, or an empty one. It can be given wherever a data set is named.
    """
    from jaxdigits.cli.data import export

    export(name, folder, data_dir=data_dir, manual_dir=manual_dir, as_json=as_json)


app.command(data_app, name="data", help="List, prepare, show and export data sets.")


@bench_app.command
def run(
    workloads: tuple[str, ...] = (),
    modes: tuple[str, ...] = (),
    batch_sizes: tuple[int, ...] = (64,),
    rounds: int | None = None,
    quick: bool = False,
    devices: int | None = None,
    dataset: str = "digits",
    pair: str | None = None,
    json_file: Annotated[Path | None, arg(name="json")] = None,
    data_dir: DataDir = None,
    manual_dir: ManualDir = None,
) -> None:
    """Measure training and inference; `jaxdigits bench` alone does this.

    Args:
        workloads: some of linear, mlp (784-30-10), letters, resnet18; all if not given.
        modes: train, inference, or both.
        batch_sizes: images a step; several for a sweep.
        rounds: of each; 300, or 80 with --quick, if not given.
        quick: fewer rounds, for a first look.
        devices: how many share each batch; what suits the network, if not given.
        dataset: whose images to use; it makes no difference to the time.
        pair: a name that both of a pair have. `jaxdigits bench pair` gives it, and then a line on
            standard input before each round.
        json_file: a file for the document, which `jaxdigits bench compare` reads.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.bench import run

    run(
        workloads,
        modes=modes,
        batch_sizes=batch_sizes,
        rounds=rounds,
        quick=quick,
        devices=devices,
        dataset=dataset,
        pair=pair,
        json_file=json_file,
        data_dir=data_dir,
        manual_dir=manual_dir,
    )


@bench_app.command
def pair(
    before: Positional[str],
    after: Positional[str],
    workloads: tuple[str, ...] = (),
    modes: tuple[str, ...] = (),
    batch_sizes: tuple[int, ...] = (64,),
    rounds: int | None = None,
    quick: bool = False,
    devices: int | None = None,
    before_json: Path | None = None,
    after_json: Path | None = None,
    as_json: Json = False,
) -> None:
    """Compare two versions or settings, measured in turns, so that a busy machine misleads less.

    For example `jaxdigits bench pair jaxdigits "env XLA_FLAGS=--xla_cpu_use_fusion_emitters=false
    jaxdigits"`, or `jaxdigits bench pair old/bin/jaxdigits new/bin/jaxdigits`.

    Args:
        before: how to call one jaxdigits.
        after: how to call the other.
        workloads: some of linear, mlp (784-30-10), letters, resnet18; all if not given.
        modes: train, inference, or both.
        batch_sizes: images a step; several for a sweep.
        rounds: of each; 300, or 80 with --quick, if not given.
        quick: fewer rounds, for a first look.
        devices: how many share each batch; what suits the network, if not given.
        before_json: a file for what was measured of the one.
        after_json: a file for what was measured of the other.
    """
    from jaxdigits.cli.bench import pair

    pair(
        before,
        after,
        workloads=workloads,
        modes=modes,
        batch_sizes=batch_sizes,
        rounds=rounds,
        quick=quick,
        devices=devices,
        before_json=before_json,
        after_json=after_json,
        as_json=as_json,
    )


@bench_app.command
def compare(before: Positional[Path], after: Positional[Path], as_json: Json = False) -> None:
    """Compare two measurements: what became slower or faster, beyond noise.

    Args:
        before: a document that `jaxdigits bench --json` has written.
        after: another one.
    """
    from jaxdigits.cli.bench import compare

    compare(before, after, as_json=as_json)


@bench_app.command
def scaling(
    out: Path = Path("scaling.png"),
    rounds: int = 5,
    json_file: Annotated[Path | None, arg(name="json")] = None,
) -> None:
    """Draw the rate of training against batch size, width and number of devices.

    Args:
        out: the picture.
        rounds: of each measurement.
        json_file: a file for the figures.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.bench import scaling

    scaling(out=out, json_file=json_file, rounds=rounds)


@bench_app.command
def time_to(
    accuracy: float = 0.99,
    seeds: int = 20,
    json_file: Annotated[Path | None, arg(name="json")] = None,
    data_dir: DataDir = None,
) -> None:
    """Measure how long a whole process takes to a test accuracy on MNIST, with many seeds.

    Args:
        accuracy: 0..1.
        seeds: how often, each time as a new process that compiles everything again.
        json_file: a file for the figures.
    """
    from jaxdigits.cli.bench import time_to

    time_to(accuracy, seeds=seeds, json_file=json_file, data_dir=data_dir)


app.command(bench_app, name="bench", help="Measure how fast this machine is, and compare.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code is 2 for an error that better input would avoid."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        from jaxdigits import __version__

        print(f"jaxdigits {__version__}")
        return 0
    if arguments[:1] == ["bench"] and not _names_subcommand(arguments[1:]):
        arguments.insert(1, "run")
    _words[:] = arguments
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        try:
            app.cli(
                prog="jaxdigits",
                description="Handwritten characters recognised in functional JAX.",
                args=arguments or ["--help"],
                config=(FlagCreatePairsOff,),
            )
        finally:
            sys.stdout.flush()
    except StoppedError as stop:
        print(f"jaxdigits: {stop}", file=sys.stderr)
        return stop.exit_code
    except JaxdigitsError as error:
        print(f"jaxdigits: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"jaxdigits: {error.filename or 'input/output'}: {error.strerror}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _names_subcommand(words: Sequence[str]) -> bool:
    """Whether the first word is a subcommand, or asks for them; an option is neither."""
    return bool(words) and (words[0] in ("-h", "--help") or not words[0].startswith("-"))


def _given_settings() -> set[str]:
    """The names of the settings of a training that stand on the command line."""
    words = {word.split("=")[0].removeprefix("--") for word in _words if word.startswith("--")}
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    return names & {word.replace("-", "_") for word in words}


def _interrupt(*_: object) -> None:
    """Ends the process at once: nothing is half-written, and XLA's threads outlive no exception."""
    os.write(2, b"\njaxdigits: interrupted\n")
    os._exit(130)
