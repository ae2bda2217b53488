"""What each command of the command line does; `jaxdigits.cli` declares them.

Results are printed by `report`: a text for people, or one JSON object and nothing else.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from jaxdigits.data.dataset import Fingerprint, split_counts
from jaxdigits.data.specs import SPECS

CACHE_BYTES = 500_000_000
"""Of compiled programs; those not used for longest go first."""


def report(text: str, document: dict[str, Any], *, as_json: bool) -> None:
    """Prints a command's result on standard output, in one of its two forms."""
    print(json.dumps(document, allow_nan=False) if as_json else text)


def note(text: str) -> None:
    """Prints a line that is not a result: on standard error."""
    print(text, file=sys.stderr)


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare_jax() -> None:
    """Settings that jax reads when it is imported; the user's own in the environment go first.

    A CPU device for each core: seeds, and the batches of the letters network, are shared out
    over them. And compiled programs are kept in the user's cache folder, so that the next process
    need not compile them; jax's own variable `JAX_ENABLE_COMPILATION_CACHE=false` turns that off.
    """
    defaults = {"JAX_NUM_CPU_DEVICES": str(usable_cores())}
    cache = user_cache_path("jaxdigits") / "compiled"
    with contextlib.suppress(OSError):  # without a folder to write to, all is compiled each time
        cache.mkdir(parents=True, exist_ok=True)
        _drop_unfinished(cache)
        if os.access(cache, os.W_OK):
            defaults["JAX_COMPILATION_CACHE_DIR"] = str(cache)
            defaults["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(CACHE_BYTES)
            defaults["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    for name, value in defaults.items():
        os.environ[name] = os.environ.get(name) or value


def _drop_unfinished(cache: Path) -> None:
    """Removes what a process that was killed left half-written: jax would write nothing after it.

    A program is written to `NAME-cache`, then the time to `NAME-atime`, which jax reads of every
    program whenever it adds one.
    """
    for program in cache.glob("*-cache"):
        if not program.with_name(f"{program.name.removesuffix('-cache')}-atime").exists():
            program.unlink(missing_ok=True)


def is_official(fingerprint: Fingerprint) -> bool:
    """Whether a data set has as many images as its makers say."""
    spec = SPECS.get(fingerprint.name)
    return spec is not None and fingerprint.counts == split_counts(*spec.counts)


def note_counts(fingerprint: Fingerprint) -> None:
    """Says so where a data set has not as many images as its makers say."""
    spec = SPECS.get(fingerprint.name)
    if spec and not is_official(fingerprint):
        train, test = spec.counts
        note(
            f"{fingerprint.name} here is not the official one of {train:,} training and {test:,} "
            "test images: figures measured on it are not comparable with others'."
        )
