"""What do commands do where the machine is not as usual? One sentence at most, and nothing lost.

    python experiments/circumstances.py                       # half an hour on two busy cores
    python experiments/circumstances.py --only disk interrupted   # the other results stay

Commands run as a user runs them, each in its own folder: with a full disk, few open files, no
home, odd locales, two at once, interrupted at any moment, with downloads that break off. A command
has done well if it ends with the exit code that it should, prints no traceback, and leaves a run
folder that is complete, or can be resumed, or none. For downloads see `downloads.py`.
"""

import argparse
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy
from commands import PATIENCE, Ended, end, new, rows_before, run, shell, start
from downloads import downloads
from tabulate import tabulate

from jaxdigits.environment import environment
from jaxdigits.files import write_json
from jaxdigits.runs.checkpoints import saved_chunks

RESULTS = Path(__file__).parent / "results"
TRAIN = ("train", "--dataset", "digits", "--model", "linear", "--epochs", "3", "--out", "run")
LONG = ("train", "--dataset", "digits", "--model", "mlp", "--epochs", "100000", "--out", "run")


def kept(folder: Path) -> str:
    """What is wrong with the run folder, if anything: it must be complete, resumable, or absent."""
    if (folder / "run" / "run.json").exists():
        return run(("evaluate", "run"), folder).told(0)
    if (folder / "run.unfinished").exists():
        return run(("train", "--resume", "run"), folder).told(0, 2)
    return "an incomplete run folder is left" if (folder / "run").exists() else ""


def disk(folder: Path) -> Iterator[str]:
    """No file may grow beyond some bytes, as on a full disk."""
    for most in (0, 500, 3_000, 20_000, 100_000, 1_000_000):
        place = new(folder, most)
        limits = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
        cache = {"JAX_COMPILATION_CACHE_DIR": str(place / "cache")}
        yield run(TRAIN, place, limits=limits, env=cache).told(0, 2) or kept(place)


def full_disk(folder: Path) -> Iterator[str]:
    """A disk of 16 kB to 3 MB, where one can be mounted."""
    for kilobytes in (16, 64, 150, 300, 600, 3_000):
        place = new(folder, kilobytes)
        if shell(f"mount -t tmpfs -o size={kilobytes}k tmpfs {place}", folder).code:
            return
        try:
            cache = {"JAX_COMPILATION_CACHE_DIR": str(place / "cache")}
            yield run(TRAIN, place, env=cache).told(0, 2) or kept(place)
        finally:
            shell(f"umount {place}", folder)


RENAMES = """
import errno, os, sys
left = int(sys.argv.pop(1))

def failing(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return function(*arguments, **options)
    return call

os.rename, os.replace = map(failing, (os.rename, os.replace))
from jaxdigits.cli import program
program()
"""


def renames(folder: Path) -> Iterator[str]:
    """A file cannot be renamed, as on a network disk: each in turn"""
    for number in range(1, 13):
        place = new(folder, number)
        words, program = (*TRAIN, "--checkpoint-epochs", "1"), ("-c", RENAMES, str(number))
        yield run(words, place, program=program).told(0, 2) or kept(place)


CLOCK = """
import random, time
now = time.time
time.time = lambda: now() + random.choice((-3e7, 0, 3e7))
time.time_ns = lambda: int(1e9 * time.time())
from jaxdigits.cli import program
program()
"""


def clock(folder: Path) -> Iterator[str]:
    """The clock jumps by a year, back and forth."""
    long, resumed = ("--epochs", "100000", "--checkpoint-epochs", "1"), ("train", "--resume", "run")
    yield run(TRAIN, folder, program=("-c", CLOCK)).told(0) or kept(folder)
    yield run(("evaluate", "run"), folder, program=("-c", CLOCK)).told(0)
    place = new(folder, "stopped")
    process = start((*TRAIN, *long), place, program=("-c", CLOCK))
    _wait_for(place / "run.unfinished" / "checkpoints" / "2.safetensors")
    process.terminate()
    yield end(process).told(143)
    before = saved_chunks(place / "run.unfinished")[-1:]
    process = start(resumed, place, program=("-c", CLOCK))
    while process.poll() is None and saved_chunks(place / "run.unfinished")[-1:] == before:
        time.sleep(0.05)
    process.terminate()
    yield end(process).told(143)


def open_files(folder: Path) -> Iterator[str]:
    """Only a few files may be open at once."""
    for most in (16, 32, 64, 128):
        place = new(folder, most)
        limits = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (most, most))
        found = run(TRAIN, place, limits=limits)
        # With fewer Python and XLA cannot start, in words of their own.
        yield kept(place) if most < 64 else found.told(0, 2) or kept(place)


def homes(folder: Path) -> Iterator[str]:
    """Without a home, a cache, or a folder for temporary files."""
    none = {"JAX_COMPILATION_CACHE_DIR": ""}
    for env in (
        {"HOME": "/dev/null/nobody", "XDG_CACHE_HOME": "/dev/null/cache"},
        {"HOME": "", "XDG_CACHE_HOME": ""},
        {"HOME": "/", "TMPDIR": "/no/such/folder"},
        {"MPLCONFIGDIR": "/dev/null/x"},
    ):
        place = new(folder, len(list(folder.iterdir())))
        yield run(TRAIN, place, env=none | env).told(0) or kept(place)


def locales(folder: Path) -> Iterator[str]:
    """Encodings and locales."""
    for number, env in enumerate(
        (
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"LC_ALL": "tr_TR.UTF-8"},
            {"PYTHONIOENCODING": "ascii"},
            {"PYTHONUTF8": "1", "LC_ALL": "POSIX"},
        )
    ):
        place = new(folder, f"{number} é")
        yield run(TRAIN, place, env=env).told(0) or kept(place)


def flags(folder: Path) -> Iterator[str]:
    """Switches of JAX and of Python; what is trained is the same, where it should be."""
    expected = None
    for number, env in enumerate(
        (
            {"PYTHONHASHSEED": "1"},
            {"PYTHONHASHSEED": "2"},
            {"JAX_DEBUG_NANS": "1"},
            {"JAX_ENABLE_X64": "1"},
            {"PYTHONOPTIMIZE": "2"},
            {"PYTHONWARNINGS": "error"},
            {"PYTHONDEVMODE": "1"},
        )
    ):
        place = new(folder, number)
        found = run(TRAIN, place, env=env).told(0) or kept(place)
        if not found:
            params = safetensors.numpy.load_file(place / "run" / "params.safetensors")
            expected = expected or params
            if not all(np.allclose(params[name], expected[name], atol=1e-5) for name in params):
                found = f"{env}: other parameters"
        yield found
    yield run(TRAIN, folder, env={"JAX_PLATFORMS": "cuda"}).told(2)


def streams(folder: Path) -> Iterator[str]:
    """Standard output is closed, full, or no longer read."""
    with Path("/dev/full").open("w") as full:
        yield run(TRAIN, folder, stdout=full).told(1, 2) or kept(folder)
    for closed in ("1", "2"):
        shutil.rmtree(folder / "run", ignore_errors=True)
        command = f"exec {sys.executable} -m jaxdigits {' '.join(TRAIN)} {closed}>&-"
        yield shell(command, folder).told(0, 1, 2) or kept(folder)
    command = f"{sys.executable} -m jaxdigits evaluate run --json | head -c 10"
    yield shell(command, folder).told(0)


def two(folder: Path) -> Iterator[str]:
    """Two at once in one folder; one is resumed while it trains; it is deleted meanwhile."""
    both = [start(TRAIN, folder) for _ in range(2)]
    ended = [end(process) for process in both]
    yield ended[0].told(0, 2) or ended[1].told(0, 2) or kept(folder)
    yield "" if min(one.code for one in ended) == 0 else "neither trained"
    shutil.rmtree(folder / "run")
    first = start(LONG, folder)
    _wait_for(folder / "run.unfinished" / "metrics.jsonl")
    yield run(("train", "--resume", "run"), folder).told(2)
    shutil.rmtree(folder / "run.unfinished")
    time.sleep(1)
    first.send_signal(signal.SIGTERM)
    yield end(first).told(2, 143)
    shutil.rmtree(folder / "run.unfinished", ignore_errors=True)
    gone = new(folder, "gone")
    first = start(LONG, gone)
    _wait_for(gone / "run.unfinished" / "metrics.jsonl")
    shutil.rmtree(gone)
    first.send_signal(signal.SIGINT)
    yield end(first).told(2, 130)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def interrupted(folder: Path) -> Iterator[str]:
    """Ctrl-C at any moment: while Python starts, JAX compiles, and pictures are drawn."""
    began = time.monotonic()
    run(TRAIN, folder)
    life = time.monotonic() - began
    rng = random.Random(0)
    for number in range(30):
        place = new(folder, number)
        process = start(TRAIN, place)
        # Before its own first line runs, a program of Python's ends with Python's words.
        time.sleep(0.15 * life + rng.random() * life)
        process.send_signal(signal.SIGINT)
        yield end(process).told(0, 130) or kept(place)


THREADS = """
import concurrent.futures, sys
import numpy as np
import jaxdigits as jd
run, rng = jd.load("digits"), np.random.default_rng(0)
images = [rng.integers(0, 256, (n, 28, 28), np.uint8) for n in rng.integers(1, 300, 40)]
expected = [run.predict(batch) for batch in images]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for _ in range(5):
        for first, second in zip(pool.map(run.predict, images), expected):
            assert np.array_equal(first, second)
page = np.full((100, 60, 3), 250, np.uint8)
page[20:80, 28:34] = 30
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    texts = list(pool.map(lambda _: jd.handwriting.read(page, run).text, range(24)))
assert texts == ["1"] * 24, texts
"""

FORK = """
import os, sys
import numpy as np
import jaxdigits as jd
child = os.fork()
if child == 0:
    run = jd.load("digits")
    os._exit(int(run.predict(np.zeros((3, 28, 28), np.uint8)).shape != (3,)))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

SPAWN = """
import concurrent.futures, multiprocessing
import numpy as np
import jaxdigits as jd

def labels(number):
    return jd.load("digits").predict(np.full((2, 28, 28), number, np.uint8)).tolist()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        assert list(pool.map(labels, range(4))) == [labels(number) for number in range(4)]
"""


def processes(folder: Path) -> Iterator[str]:
    """Threads that predict at once, a fork after the import, a pool of processes."""
    for name, program in {"threads": THREADS, "fork": FORK, "spawn": SPAWN}.items():
        path = folder / f"{name}.py"
        path.write_text(program)
        done = subprocess.run(
            [sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=300
        )
        yield Ended(done.returncode, done.stderr).told(0)


CIRCUMSTANCES: dict[str, Callable[[Path], Iterator[str]]] = {
    "disk": disk,
    "full disk": full_disk,
    "renames": renames,
    "clock": clock,
    "open files": open_files,
    "homes": homes,
    "locales": locales,
    "flags": flags,
    "streams": streams,
    "two at once": two,
    "interrupted": interrupted,
    "processes": processes,
    "downloads": downloads,
}


def main() -> None:
    """Try everything, and count."""
    parser = argparse.ArgumentParser(description="Unusual circumstances.")
    parser.add_argument("--only", nargs="+", default=list(CIRCUMSTANCES), choices=CIRCUMSTANCES)
    parser.add_argument("--json", type=Path, default=RESULTS / "circumstances.json")
    options = parser.parse_args()
    rows, before = [], rows_before(options.json, "circumstance")
    for name in CIRCUMSTANCES:
        what = (CIRCUMSTANCES[name].__doc__ or "").rstrip(".")
        if name not in options.only:
            rows += [before[what]] if what in before else []
            continue
        tried = bad = 0
        with tempfile.TemporaryDirectory() as folder:
            for wrong in CIRCUMSTANCES[name](Path(folder)):
                tried += 1
                bad += bool(wrong)
                if wrong:
                    print(f"{name} {tried}: {wrong}", file=sys.stderr, flush=True)
        rows.append({"circumstance": what, "tried": tried, "did badly": bad})
        print(json.dumps(rows[-1]), flush=True)
    print(f"\n{tabulate(rows, 'keys', 'github')}")
    document = {"command": "python experiments/circumstances.py", "rows": rows, **environment()}
    write_json(options.json, document)
    sys.exit(any(row["did badly"] for row in rows))


if __name__ == "__main__":
    main()
