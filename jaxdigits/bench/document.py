"""The JSON document of `jaxdigits bench`.

Its layout is that of pytest-benchmark's files (`machine_info`, `commit_info`, `benchmarks` with
`stats`, `datetime`, `version`), so that tools which read those read it too. The rest is in
`jaxdigits` and in each benchmark's `extra_info`. Times are in seconds; `stats` are per call, which
is `extra_info.images` images.
"""

import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil

from jaxdigits.bench.intervals import typical
from jaxdigits.bench.peaks import datasheet_peak
from jaxdigits.bench.timing import PRODUCT, Timing
from jaxdigits.bench.workloads import Benchmark
from jaxdigits.data import Fingerprint
from jaxdigits.environment import environment, processor, usable_cores
from jaxdigits.errors import RunError

SCHEMA = 1
"""Of our part; a document of another schema is refused."""

LAYOUT = "5.0.0"
"""The version of pytest-benchmark whose layout it is."""

FLAGS = (
    *("XLA_FLAGS", "XLA_PYTHON_CLIENT_", "LIBTPU_INIT_ARGS", "JAX_", "CUDA_VISIBLE_DEVICES"),
    "OMP_NUM_THREADS",
)
"""Environment variables that change what is measured, or their prefixes."""


def machine_info() -> dict[str, Any]:
    """The machine, without names of hosts or people."""
    return {
        "processor": platform.processor(),
        "machine": platform.machine(),
        "python_implementation": platform.python_implementation(),
        "python_version": platform.python_version(),
        "release": platform.release(),
        "system": platform.system(),
        "cpu": {"brand_raw": processor(), "count": usable_cores()},
        "clock_mhz": _clock_mhz(),
        "memory_bytes": psutil.virtual_memory().total,
        "load": psutil.getloadavg()[0],
    }


def _clock_mhz() -> float | None:
    """The clock of the processor just now."""
    try:
        clock = psutil.cpu_freq()
    except (NotImplementedError, OSError, RuntimeError):  # in some containers
        return None
    return clock.current if clock else None


def commit_info() -> dict[str, Any]:
    """The commit of this package; all None where it is not in a clone."""
    # A clone of another project may hold the place where this one is installed.
    ours = _git("ls-files", "--error-unmatch", __file__) is not None
    changed = _git("status", "--porcelain", "--untracked-files=no") if ours else None
    return {
        "id": _git("rev-parse", "HEAD") if ours else None,
        "time": _git("show", "-s", "--format=%cI", "HEAD") if ours else None,
        "dirty": None if changed is None else bool(changed),
        "project": "jaxdigits",
        "branch": _git("rev-parse", "--abbrev-ref", "HEAD") if ours else None,
    }


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def flags() -> dict[str, str]:
    """The environment variables that jax and XLA read."""
    names = [name for name in sorted(os.environ) if name.startswith(FLAGS)]
    return {name: os.environ[name] for name in names if name != "JAX_COMPILATION_CACHE_DIR"}


def peak_bytes() -> dict[str, int | None]:
    """The peak memory of the process and of the first device so far."""
    try:
        import resource
    except ImportError:  # on Windows
        process = getattr(psutil.Process().memory_info(), "peak_wset", None)
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    device = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {"process": process, "device": device}


def make(
    timings: Mapping[str, Timing],
    benchmarks: Sequence[Benchmark],
    fingerprint: Fingerprint,
    command: str,
    pair: str | None = None,
) -> dict[str, Any]:
    """Make the document.

    Args:
        timings: by name, the matrix product's included.
        benchmarks: what was measured.
        fingerprint: of the images.
        command: that measures them again.
        pair: shared with the one document whose rounds were interleaved with these.
    """
    by_name = {benchmark.name: benchmark for benchmark in benchmarks}
    product = timings[PRODUCT]
    fastest = product.program.flops / min(product.seconds)
    device = jax.devices()[0]
    entries = [_entry(name, timing, by_name.get(name), fastest) for name, timing in timings.items()]
    return {
        "machine_info": machine_info(),
        "commit_info": commit_info(),
        "benchmarks": entries,
        "datetime": datetime.now(UTC).isoformat(),
        "version": LAYOUT,
        "jaxdigits": {
            "schema": SCHEMA,
            "command": command,
            "pair": pair,
            **environment(),
            "platform": device.platform,
            "devices": jax.device_count(),
            "flags": flags(),
            "data": fingerprint.as_dict(),
            "peak_bytes": peak_bytes(),
        },
    }


def _entry(
    name: str, timing: Timing, benchmark: Benchmark | None, fastest: float
) -> dict[str, Any]:
    """A benchmark's part; the matrix product's where there is none."""
    program = timing.program
    seconds = typical(timing.seconds)
    rate = program.flops / seconds.value
    # The datasheet's peak is of the default precision.
    usual = benchmark is None or benchmark.precision == "default"
    peak = datasheet_peak(jax.devices()[0].device_kind) if usual else None
    extra: dict[str, Any] = {
        "images": program.images,
        "devices": program.devices,
        "flops": program.flops,
        "flops_per_second": rate,
        "share_of_product": rate / fastest,
        "share_of_datasheet": peak and rate / (peak * program.devices),
        "trace_seconds": program.trace_seconds,
        "compile_seconds": program.compile_seconds,
        "first_seconds": program.first_seconds,
        "program_bytes": program.program_bytes,
    }
    if benchmark:
        images = [program.images / x for x in (seconds.value, seconds.high, seconds.low)]
        extra |= {"images_per_second": images[0], "interval_95": images[1:]}
    return {
        "group": benchmark and benchmark.mode,
        "name": name,
        "fullname": f"jaxdigits bench::{name}",
        "params": benchmark and dataclasses.asdict(benchmark),
        "param": name.partition("[")[2].removesuffix("]") or None,
        "extra_info": extra,
        "stats": stats(timing.seconds, timing.calls),
    }


def stats(seconds: Sequence[float], calls: int) -> dict[str, Any]:
    """Pytest-benchmark's figures of the rounds."""
    low, middle, high = (float(x) for x in np.percentile(seconds, (25, 50, 75)))
    mean, deviation = float(np.mean(seconds)), 0.0
    if len(seconds) > 1:
        deviation = float(np.std(seconds, ddof=1))
    reach = 1.5 * (high - low)
    beside = sum(abs(x - mean) > deviation for x in seconds)
    outside = sum(not low - reach <= x <= high + reach for x in seconds)
    return {
        "min": min(seconds),
        "max": max(seconds),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(seconds),
        "median": middle,
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "ops": 1 / mean,
        "total": sum(seconds) * calls,
        "iterations": calls,
        "ld15iqr": min(x for x in seconds if x >= low - reach),
        "hd15iqr": max(x for x in seconds if x <= high + reach),
        "stddev_outliers": beside,
        "iqr_outliers": outside,
        "outliers": f"{beside};{outside}",
        "data": list(seconds),
    }


def load(path: Path) -> dict[str, Any]:
    """Read a document that `jaxdigits bench --json` has written.

    Raises:
        RunError: the file is missing, damaged, or another one.
    """
    try:
        document = json.loads(path.read_text())
        schema = document["jaxdigits"]["schema"]
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; choose another file") from None
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path} is not what `jaxdigits bench --json` writes") from None
    if schema != SCHEMA:
        raise RunError(
            f"{path} has schema {schema}, this version reads {SCHEMA}; measure again with this one"
        )
    try:
        rounds = {entry["name"]: entry["stats"]["data"] for entry in document["benchmarks"]}
        whole = PRODUCT in rounds and all(min(data) > 0 and data[1] for data in rounds.values())
        whole &= all(entry["extra_info"]["images"] >= 0 for entry in document["benchmarks"])
    except (IndexError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise RunError(f"{path} is damaged: rounds are missing in it; measure again")
    return document
