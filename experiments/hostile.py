"""What becomes of bad input? Each gets one sentence, or is read all the same: never a traceback.

    python experiments/hostile.py                             # 5,000 inputs, about 5 minutes
    python experiments/hostile.py --kinds "command lines"     # the results of other kinds stay

Files are damaged, folders hold what nobody expects, options and arrays have values that no person
would think of. An input is counted as a `traceback` if it raises anything but a `JaxdigitsError`,
or an error of several lines or more than 1,000 characters, or takes more than a minute.
"""

import argparse
import collections
import contextlib
import io
import itertools
import json
import os
import random
import shutil
import string
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxdigits.environment import environment, prepare_jax

prepare_jax()

import numpy as np
from commands import rows_before
from PIL import Image, ImageDraw
from tabulate import tabulate

import jaxdigits as jd
from jaxdigits.cli import COMMANDS
from jaxdigits.cli import main as jaxdigits
from jaxdigits.errors import ConfigError, JaxdigitsError
from jaxdigits.files import write_json
from jaxdigits.handwriting import open_picture, read
from jaxdigits.sweeps.summary import SweepResult

RESULTS = Path(__file__).parent / "results"
NOTE = Path(__file__).resolve().parent / "samples" / "note.jpg"
SLOW = 60.0
"""Seconds after which an input is as bad as a traceback."""

Attempt = Callable[[], object]
"""Give the library one input."""

VALUES = (
    *("", " ", "-1", "0", "1", "2.5", "nan", "inf", "-inf", "1e400", "9" * 30, "0x10", "1,2", ","),
    *("auto", "none", "True", "[1]", "{}", "../../x", "~", "~nobody", "/", ".", "/dev/null"),
    *("/dev/full", "é", "\U0001f600", "a" * 300, "a\nb", "--", "-", "=", "*", "%s", "\\", "'"),
    *("digits", "letters", "mnist", "linear", "mlp", "no-such-thing", "http://x/y", "1e-400"),
)
"""Of options, and names of files."""

FORMATS = ("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes with one to eight changes, a part left out, doubled, or moved."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        if not found:
            break
        place, length = rng.randrange(len(found)), rng.choice([1, 2, 4, 16, 256])
        match rng.randrange(7):
            case 0 | 1:
                found[place] = rng.randrange(256)
            case 2:
                found[place] ^= 1 << rng.randrange(8)
            case 3:
                found[place : place + length] = b""
            case 4:
                found[place : place + length] = rng.choice([b"\x00", b"\xff"]) * length
            case 5:
                found[place:place] = found[place : place + length]
            case _:
                found = found[: max(place, len(found) // 4)]
    return bytes(found)


def drawing(rng: random.Random) -> Image.Image:
    """A stroke on paper."""
    image = Image.new("RGB", (rng.randint(30, 90), rng.randint(30, 90)), (240, 240, 230))
    points = [(rng.randrange(90), rng.randrange(90)) for _ in range(3)]
    ImageDraw.Draw(image).line(points, (20, 20, 60), rng.randint(2, 6))
    return image


def pictures(rng: random.Random, folder: Path) -> Iterator[Attempt]:
    """Damaged files of pictures."""
    run = jd.load("digits")
    while True:
        kind = rng.choice(FORMATS)
        content = io.BytesIO()
        drawing(rng).save(content, format=kind)
        path = folder / f"picture.{rng.choice(FORMATS)}"
        path.write_bytes(damaged(content.getvalue(), rng))
        yield lambda path=path: read(open_picture(path), run, find="strokes")


def run_files(rng: random.Random, folder: Path) -> Iterator[Attempt]:
    """Damaged files of runs, sweeps, and checkpoints."""
    config = jd.TrainConfig(dataset="digits", model="linear", epochs=2)
    jd.sweep(config, {}, seeds=2, folder=folder / "sweep")
    with contextlib.suppress(InterruptedError):
        jd.fit(config, folder=folder / "run", on_epoch=_interrupt)
    unfinished = folder / "run.unfinished"
    ways: dict[Path, Callable[[], object]] = {
        folder / "sweep": lambda: SweepResult.from_folder(
            folder / "sweep", jd.load(folder / "sweep")
        ),
        folder / "sweep" / "members" / "0": lambda: _use(jd.load(folder / "sweep/members/0")),
        unfinished: lambda: jd.fit(config, folder=folder / "run", resume=True),
    }
    kept = folder / "kept"
    for number, source in enumerate(ways):
        shutil.copytree(source, kept / str(number))
    while True:
        number = rng.randrange(len(ways))
        source, use = list(ways.items())[number]
        for name in (source, folder / "run"):
            shutil.rmtree(name, ignore_errors=True)
        shutil.copytree(kept / str(number), source)
        files = [path for path in source.rglob("*") if path.suffix not in (".png", ".csv")]
        path = rng.choice([path for path in sorted(files) if path.is_file()])
        path.write_bytes(damaged(path.read_bytes(), rng))
        yield use


def _interrupt(epoch: jd.Epoch) -> None:
    if epoch.number == 1:
        raise InterruptedError


def _use(run: jd.Run) -> None:
    repr(run)
    run.predict_proba(np.zeros((1, 28, 28), np.uint8))
    if run.calibration is not None and run.calibration.answers is not None:
        with contextlib.suppress(ConfigError):
            run.calibration.answers.threshold(0.01)


def folders(rng: random.Random, folder: Path) -> Iterator[Attempt]:
    """Folders of images as nobody expects them."""
    names = [name for name in VALUES if name and not set(name) & set("/\0\n") and len(name) < 200]
    names = [*(name for name in names if name not in (".", "..")), *string.ascii_letters[:6]]
    names += ["train", "test", "validation", "training", "testing", ".DS_Store", "jaxdigits.json"]
    while True:
        root = folder / "images"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        if rng.random() < 0.5:  # a sound folder, to which the rest is added
            for place in itertools.product("ab", range(3)):
                path = root.joinpath(*map(str, place))
                path.parent.mkdir(exist_ok=True)
                Image.new("L", (28, 28), rng.randrange(256)).save(path.with_suffix(".png"))
        for _ in range(rng.choice([0, 1, 1, 2, 4, 12])):
            place = root.joinpath(*rng.choices(names, k=rng.randint(1, 3)))
            with contextlib.suppress(OSError):  # a file is where a folder would be
                place.parent.mkdir(parents=True, exist_ok=True)
                _put(place, rng)
        yield lambda root=root: jd.data.load_folder(root)


def _put(place: Path, rng: random.Random) -> None:
    """Write something at a place."""
    match rng.randrange(8):
        case 0:
            place.mkdir()
        case 1:
            place.symlink_to(rng.choice([".", "..", "nowhere", "/dev/zero"]))
        case 2:
            place.write_bytes(rng.randbytes(rng.choice([0, 1, 100])))
        case 3:
            place.write_text(json.dumps(rng.choice([None, [], {"format": 1}, {"classes": 3}])))
        case _:
            size = rng.choice([(28, 28), (28, 28), (1, 1), (3, 200), (64, 64)])
            mode = rng.choice(["L", "RGB", "RGBA", "1", "P", "I;16", "F", "CMYK"])
            kind = "tiff" if mode in ("F", "CMYK", "I;16") else rng.choice(["png", "tiff"])
            for number in range(rng.randint(1, 4)):
                path = place.with_name(f"{place.name}{number or ''}.{kind}")
                Image.new(mode, size, rng.randrange(2)).save(path)


def command_lines(rng: random.Random, folder: Path) -> Iterator[Attempt]:
    """Options and values that do not go together."""
    os.chdir(folder)
    helps = {name: _help(name) for name in COMMANDS if name not in ("draw", "bench time-to")}
    quick = {"train": ["--epochs", "0"], "sweep": ["--epochs", "0"], "predict": [str(NOTE)]}
    slow = {"bench", "bench run", "bench pair", "bench scaling", "reproduce", "compile"}
    while True:
        name = rng.choice(list(helps))
        options = [word for word in helps[name] if word not in ("--help", "--version")]
        words = name.split()
        if rng.random() < 0.5:
            words.append(rng.choice(VALUES))
        wrong = rng.randint(1, 3) if options else 0
        for _ in range(wrong):
            words += [rng.choice(options), rng.choice(VALUES)][: rng.choice([1, 2, 2, 2])]
        if name in slow:  # what does not end at once would measure for minutes
            words.append("--no-such-option")
        words += [*quick.get(name, []), *["--dataset", "digits"] * (name in quick)]
        yield lambda words=words: _command(words)


def _help(name: str) -> list[str]:
    """The options of a command, as its help says."""
    found = io.StringIO()
    with contextlib.redirect_stdout(found), contextlib.suppress(SystemExit):
        jaxdigits([*name.split(), "--help"])
    words = found.getvalue().replace(",", " ").replace("[", " ").replace("]", " ").split()
    return sorted({word for word in words if word.startswith("--") and len(word) > 2})


def _command(words: list[str]) -> None:
    """Run a command; raise its error, or what it should not have printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = jaxdigits(words)
        except SystemExit as end:
            code = end.code
    text = err.getvalue()
    if code not in (0, 1, 2) or "Traceback" in text:
        raise RuntimeError(f"exit code {code}: {' '.join(words)!r}: {text[-500:]}")
    if code == 2:
        last = text.strip().splitlines() or [""]
        if not last[-1]:
            raise RuntimeError(f"no message: {words}")
        raise JaxdigitsError(last[-1])


def arrays(rng: random.Random, folder: Path) -> Iterator[Attempt]:
    """Arrays that are none, or of other shapes, types, and values."""
    del folder
    run = jd.load("digits")
    config = jd.TrainConfig(dataset="digits", model="linear", epochs=0)
    kinds = (np.uint8, np.int64, np.float32, np.float64, np.bool_, np.complex64, object, "U3")
    strange: list[Any] = [None, "a.png", [], [[]], {}, 3, float("nan"), b"x", object(), Path("x")]

    def array() -> Any:
        if rng.random() < 0.3:
            return rng.choice(strange)
        if rng.random() < 0.3:
            return np.zeros((4, 28, 28)[rng.randrange(2) :], rng.choice(kinds[:4]))
        if rng.random() < 0.2:
            return np.arange(4) % 2
        shape = [rng.choice([0, 1, 2, 3, 4, 28, 28, 28, 32]) for _ in range(rng.randint(0, 5))]
        values = np.zeros(shape[: 2 + rng.randrange(4)], rng.choice(kinds))
        if values.dtype.kind == "f" and values.size and rng.random() < 0.3:
            values.flat[0] = rng.choice([np.nan, np.inf, -1.0, 300.0])
        return values

    def train(images: Any, labels: Any, names: Any) -> object:
        examples = jd.data.Examples(images, labels)
        return jd.fit(config, jd.data.from_arrays("mine", examples, examples, names))

    while True:
        first, second, names = array(), array(), rng.choice([("a", "b"), "ab", array()])
        yield rng.choice(
            [
                lambda a=first: run.predict(a),
                lambda a=first: run.predict_proba(a),
                lambda a=first: read(a, run),
                lambda a=first, b=second, c=names: train(a, b, c),
                lambda a=first: jd.data.check_splits({"train": a}, ["train"]),
                lambda a=first: jd.transforms.to_mnist(a),
            ]
        )


KINDS: dict[str, tuple[Callable[[random.Random, Path], Iterator[Attempt]], int]] = {
    "pictures": (pictures, 1500),
    "run files": (run_files, 1300),
    "image folders": (folders, 600),
    "command lines": (command_lines, 600),
    "arrays": (arrays, 1000),
}
"""What is tried, and how often."""


def outcome(attempt: Attempt) -> tuple[str, str]:
    """What an input comes to, and the message."""
    start = time.monotonic()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            attempt()
        found, message = "read", ""
    except JaxdigitsError as error:
        message = str(error)
        found = "refused" if message and len(message) <= 1000 else "traceback"
        if "\n" in message.strip():
            found = "traceback"
    except Exception:  # which is what is looked for
        found, message = "traceback", traceback.format_exc()
    if time.monotonic() - start > SLOW:
        found, message = "traceback", f"it took more than {SLOW:.0f} s"
    return found, message


def main() -> None:
    """Try everything, and count."""
    parser = argparse.ArgumentParser(description="Bad input.")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--count", type=int, help="of each kind; default: 5,000 in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS / "hostile.json")
    options = parser.parse_args()
    home, rows, worst = Path.cwd(), rows_before(options.json, "kind"), 0
    for kind in options.kinds:
        make, usual = KINDS[kind]
        count, counts = options.count or usual, collections.Counter[str]()
        rng = random.Random(f"{options.seed} {kind}")
        with tempfile.TemporaryDirectory() as name:
            attempts = make(rng, Path(name))
            for number in range(count):
                found, message = outcome(next(attempts))
                counts[found] += 1
                if found == "traceback":
                    print(f"{kind} {number}: {message}", file=sys.stderr, flush=True)
            os.chdir(home)
        outcomes = {what: counts[what] for what in ("read", "refused", "traceback")}
        rows[kind] = {"kind": kind, "inputs": count, **outcomes}
        worst += counts["traceback"]
        print(tabulate([rows[kind]], "keys", "plain"), flush=True)
    ordered = [rows[kind] for kind in KINDS if kind in rows]
    print(f"\n{tabulate(ordered, 'keys', 'github')}")
    command = f"python experiments/hostile.py --seed {options.seed}"
    write_json(options.json, {"command": command, "rows": ordered, **environment()})
    sys.exit(worst > 0)


if __name__ == "__main__":
    main()
