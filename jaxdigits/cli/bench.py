"""`jaxdigits bench`: run, pair, compare, scaling, and time-to."""

import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from jaxdigits.cli.options import DataOptions, File, Json, Name, ProfileOptions
from jaxdigits.config import Precision
from jaxdigits.errors import ConfigError, RunError

if TYPE_CHECKING:
    from jaxdigits.bench.workloads import Plan
    from jaxdigits.data import Dataset

Names = Annotated[tuple[str, ...], {"metavar": "NAME"}]


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """What to measure.

    Attributes:
        workloads: some of linear, mlp (784-30-10), letters, and resnet18. Default: all.
        modes: train, inference, or both. Default: both.
        batch_sizes: images per step; several for a sweep.
        rounds: of each program. Default: 300, or 80 with --quick.
        quick: fewer rounds, for a first look.
        devices: devices to shard each batch over. Default: what suits the network.
        precision: of the products in training, as of `jaxdigits train`.
    """

    workloads: Names = ()
    modes: Names = ()
    batch_sizes: tuple[int, ...] = (64,)
    rounds: int | None = None
    quick: bool = False
    devices: int | None = None
    precision: Precision = "default"

    def plan(self) -> "Plan":
        """Check the options."""
        from jaxdigits.bench.workloads import plan

        return plan(**vars(self))

    def words(self) -> list[str]:
        """The options as they stand on a command line."""
        found = []
        for name, value in vars(self).items():
            if value and value != "default":
                values = value if isinstance(value, tuple) else () if value is True else (value,)
                found += [f"--{name.replace('_', '-')}", *map(str, values)]
        return found


def run(
    functions: tuple[str, ...],
    plan: PlanOptions,
    data: DataOptions,
    profiling: ProfileOptions,
    dataset: Name = "digits",
    pair: str | None = None,
    json: File = None,
) -> None:
    """Measure training and inference; `jaxdigits bench` alone does this.

    Args:
        functions: measure your own instead, as FILE.py:FUNCTION. Each returns what to measure, a
            function of arrays such as a train step, and its arguments.
        dataset: whose images to use; it makes no difference to the time.
        pair: the name that both of a pair have. `jaxdigits bench pair` gives it, and then a line on
            standard input before each round.
        json: a file for the document, which `jaxdigits bench compare` reads.
    """
    from jaxdigits.environment import prepare_jax, profiled

    prepare_jax(profiling.dump_hlo)
    if functions:
        _run_own(functions, plan, json, profiling)
        return
    from jaxdigits import data as datasets
    from jaxdigits.bench import report

    planned = plan.plan()
    images = datasets.load(dataset, "train", **data.folders)
    with profiled(profiling.profile):
        document = _measure(planned, images, pair)
    if pair is None:
        print(report.measurement(document))
    _write(document, json, quiet=pair is not None)


def _run_own(
    functions: tuple[str, ...], plan: PlanOptions, json: Path | None, profiling: ProfileOptions
) -> None:
    """Measure functions in files."""
    from jaxdigits.bench import own, report, workloads
    from jaxdigits.environment import environment, profiled

    kept = dataclasses.replace(plan, rounds=None, quick=False)
    for field in dataclasses.fields(kept):
        if getattr(kept, field.name) != field.default:
            option = field.name.replace("_", "-")
            raise ConfigError(f"--{option} is not for functions of your own; omit it")
    usual = (workloads.QUICK if plan.quick else workloads.FULL)[0]
    rounds = usual if plan.rounds is None else plan.rounds
    found = {}
    for target in functions:
        function, arguments = own.load_function(target)
        with profiled(profiling.profile):
            measured = own.measure(function, *arguments, rounds=rounds)
        print(report.function(target, measured), flush=True)
        found[target] = measured.as_dict()
    _write({"command": _command(), "functions": found, **environment()}, json)


def pair(
    before: str,
    after: str,
    plan: PlanOptions,
    whole: bool = False,
    rate: str | None = None,
    before_json: File = None,
    after_json: File = None,
    json: Json = False,
) -> None:
    """Compare two versions or settings, interleaved, so that a busy machine misleads less.

    For example `jaxdigits bench pair jaxdigits "env XLA_FLAGS=--xla_cpu_use_fusion_emitters=false
    jaxdigits"`, or `jaxdigits bench pair old/bin/jaxdigits new/bin/jaxdigits`. Any two commands:
    `jaxdigits bench pair --whole "python a.py" "python b.py"`.

    Args:
        before: how to call one jaxdigits, or any command with --whole or --rate.
        after: how to call the other.
        whole: time the two as whole processes, from launch to exit.
        rate: compare what they print: a regular expression whose first group is the rate.
        before_json: a file for the measurement of the one.
        after_json: a file for the measurement of the other.
    """
    if whole or rate is not None:
        if before_json or after_json:
            raise ConfigError("--before-json and --after-json are of jaxdigits; use --json")
        _pair_of_commands(before, after, plan, rate, as_json=json)
        return
    import tempfile

    from jaxdigits.bench import document
    from jaxdigits.bench.pair import measure_interleaved
    from jaxdigits.files import write_json

    planned = plan.plan()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.json" for name in ("before", "after")]
        with _progress() as progress:
            measure_interleaved(
                (before, after),
                dataclasses.replace(plan, rounds=planned.rounds).words(),
                files,
                rounds=planned.rounds,
                programs=len(planned.benchmarks) + 1,
                progress=progress,
            )
        compare(files[0], files[1], json=json)
        for path, file in zip((before_json, after_json), files, strict=True):
            if path:
                write_json(path, document.load(file))


def _pair_of_commands(
    before: str, after: str, plan: PlanOptions, rate: str | None, *, as_json: bool
) -> None:
    """Compare any two commands."""
    if dataclasses.replace(plan, rounds=None) != PlanOptions():
        raise ConfigError("of the options of benchmarks, only --rounds goes with any two commands")
    from jaxdigits.bench import commands, report
    from jaxdigits.cli.output import report as print_report

    rounds = commands.ROUNDS if plan.rounds is None else plan.rounds
    with _progress() as progress:
        found = commands.measure_in_turns(
            before, after, rounds=rounds, rate=rate, progress=progress
        )
    print_report(report.turns(found), found.as_dict(), as_json=as_json)


def compare(before: Path, after: Path, fail_above: str | None = None, json: Json = False) -> None:
    """Compare two measurements: what is slower or faster, beyond noise.

    Args:
        before: a document that `jaxdigits bench --json` has written.
        after: another one.
        fail_above: such as 5%: exit with 1 if anything is slower by more, beyond noise.
    """
    limit = None if fail_above is None else _share(fail_above)
    from jaxdigits.bench import report
    from jaxdigits.bench.compare import compare
    from jaxdigits.bench.document import load
    from jaxdigits.cli.output import note
    from jaxdigits.cli.output import report as print_report

    compared = compare(load(before), load(after))
    print_report(report.comparison(compared), compared.as_dict(), as_json=json)
    for difference in compared.differences:
        note(difference)
    if limit is not None and (slower := compared.slower_than(limit)):
        names = ", ".join(change.name for change in slower)
        note(f"jaxdigits: slower by more than {fail_above}: {names}")
        sys.exit(1)


def _share(text: str) -> float:
    """A share from such as `5%` or `0.05`."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise ConfigError(f"--fail-above must be a share such as 5%, not {text!r}")
    return share


def scaling(
    out: Annotated[Path, {"metavar": "FILE"}] = Path("scaling.png"),
    rounds: int = 5,
    json: File = None,
) -> None:
    """Draw training throughput against batch size, width, and number of devices.

    Args:
        out: the picture.
        rounds: of each measurement.
        json: a file for the figures.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    import jax

    from jaxdigits import data, plots
    from jaxdigits.bench import report, scaling

    swept = scaling.sweeps(jax.device_count())
    document = _measure(scaling.plan(swept, rounds), data.load("digits", "train"))
    print(report.measurement(document))
    _write(document, json)
    with plots.optional():
        plots.save(plots.scaling(scaling.panels(swept, document), scaling.heading(document)), out)
        print(f"\ndrawn to {out}")


def time_to(data: DataOptions, accuracy: float = 0.99, seeds: int = 20, json: File = None) -> None:
    """Measure how long a whole process takes to a test accuracy on MNIST, with many seeds.

    Args:
        accuracy: 0..1.
        seeds: how often, each time as a new process that compiles everything again.
        json: a file for the figures.
    """
    from jaxdigits.bench import report
    from jaxdigits.bench.time_to import attempts, check_accuracy, summarize

    check_accuracy(accuracy)
    done = []
    for attempt in attempts(seeds, data.data_dir):
        done.append(attempt)
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in attempt.parts.items())
        print(
            f"seed {attempt.seed}: {attempt.accuracy:.2%} after {attempt.seconds:.2f} s ({parts})",
            flush=True,
        )
    document = summarize(done, accuracy, _command())
    print(f"\n{report.time_to(document)}")
    _write(document, json)


def _measure(plan: "Plan", images: "Dataset", pair: str | None = None) -> dict[str, Any]:
    """The document of a plan."""
    from jaxdigits.bench import document
    from jaxdigits.bench.timing import interleaved, prepare_all

    with _progress(show=pair is None) as progress:
        timings = interleaved(
            prepare_all(plan.benchmarks, images, progress),
            rounds=plan.rounds,
            round_seconds=plan.round_seconds,
            before_round=(lambda: None) if pair is None else _wait_for_turn,
            progress=progress,
        )
    return document.make(timings, plan.benchmarks, images.fingerprint, _command(), pair)


@contextmanager
def _progress(*, show: bool = True) -> Iterator[Callable[[str], None]]:
    """A line on standard error that says what happens, if that is a terminal."""
    from tqdm import tqdm

    with tqdm(disable=None if show else True, leave=False, bar_format="{desc}") as bar:
        yield bar.set_description_str


def _wait_for_turn() -> None:
    """As `jaxdigits.bench.pair` gives it."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        raise RunError("standard input ended before the last round of the pair")


def _command() -> str:
    """What measures the same again."""
    return f"jaxdigits {shlex.join(sys.argv[1:])}"


def _write(document: Mapping[str, Any], path: Path | None, *, quiet: bool = False) -> None:
    from jaxdigits.files import write_json

    if path:
        write_json(path, document)
        if not quiet:
            print(f"written to {path}")
