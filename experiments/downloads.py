"""What does `jaxdigits data prepare` do where the network, or the server, misbehaves?

A kind of `circumstances.py`. A command has done well if it ends in about a minute, with the exit
code that it should and without a traceback, and if the next one, from a server in order, prepares
the same bytes.
"""

import concurrent.futures
import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from commands import end, new, run, start

from jaxdigits import data

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers import write_emnist
from misbehaving import KILLS, WAYS, serving

NAME = "emnist/letters"
WORDS = ("data", "prepare", NAME)
GOOD = ("well", "well without ranges", "well labeled", "chunked")
HEADS = ("silent", "reset at once", "gibberish", "page", "login", "circle", "403", "404", "500")
PROXIES = ("http://127.0.0.1:9", "http://digits.invalid:3128", "nonsense://x")
LARGEST = (0, 100, 20_000, 100_000, 203_950, 250_000)
_LONGEST = 75.0  # seconds of a command, those in which Python starts included
_AT_ONCE = 4  # most of them wait


class Case(NamedTuple):
    """A download.

    Attributes:
        way: how the server answers GET; see `misbehaving.py`.
        head: how it answers HEAD; None: the same.
        url: where the files are said to be; `{}` is where they are.
        env: more of the environment.
        largest: bytes beyond which no file may grow.
        kill: seconds after which the command is killed.
        code: how it should end.
    """

    way: str = "well"
    head: str | None = "well"
    url: str = "http://{}"
    env: Mapping[str, str] = {}
    largest: int | None = None
    kill: float | None = None
    code: int = 2


def downloads(folder: Path) -> Iterator[str]:
    """Downloads that stall, break off, or bring other bytes; no proxy; a full disk; killed."""
    write_emnist(folder / "files")
    began = time.monotonic()
    expected = fetch(folder, Case(code=0))
    life = (time.monotonic() - began) / 2  # of one command of the two
    yield "" if len(expected) == 64 else expected
    rng = random.Random(0)
    cases = [
        *(Case(way, code=0 if way in GOOD else 2) for way in WAYS),
        *(Case(way, head=None) for way in HEADS),
        *(Case(url=url) for url in ("http://digits.invalid", "https://{}")),
        *(Case(env={"http_proxy": proxy, "no_proxy": ""}) for proxy in PROXIES),
        *(Case(largest=largest) for largest in LARGEST),
        *(Case(kill=life * rng.random()) for _ in range(20)),
    ]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for case, found in zip(cases, pool.map(partial(fetch, folder), cases), strict=True):
            yield f"{case}: {found}" if found != expected else ""
    command = [sys.executable, "-c", KILLS, NAME, str(folder / "files"), "40"]
    for found in json.loads(subprocess.run(command, capture_output=True, check=True).stdout):
        yield "" if found == [expected, [".lock", "1.0.0"]] else str(found)


def fetch(folder: Path, case: Case) -> str:
    """The hash of what is downloaded in the end, or what is wrong with the first command."""
    place = new(folder, f"{time.monotonic_ns()}")
    files = {path.name: path.read_bytes() for path in (folder / "files").iterdir()}
    own = {"TFDS_DATA_DIR": str(place), "no_proxy": "127.0.0.1"}
    limits, largest = None, case.largest
    if largest is not None:
        limits = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest))
    with serving(files) as web:
        web.ways, web.head, url = [case.way], case.head, web.url
        web.url = case.url.format(url.removeprefix("http://"))
        began = time.monotonic()
        process = start(WORDS, place, own | dict(case.env), limits, web.program(NAME))
        if case.kill is not None:
            time.sleep(case.kill)
            process.kill()
        ended = end(process)
        seconds = time.monotonic() - began
        web.ways, web.head, web.url = ["well"], "well", url
        again = run(WORDS, place, env=own, program=web.program(NAME))
    killed = case.kill is not None and ended.code in (0, -signal.SIGKILL)
    wrong = "" if killed else ended.told(case.code)
    if seconds > _LONGEST:
        wrong = f"it ended after {seconds:.0f} s"
    return wrong or again.told(0) or data.load(NAME, "test", data_dir=place).fingerprint.sha256
