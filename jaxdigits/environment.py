"""The machine and the libraries: cores, versions, and the settings of JAX and XLA."""

import contextlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from jaxdigits import __version__
from jaxdigits.errors import OutputError

_TARGET: ContextVar[str | None] = ContextVar("_TARGET", default=None)

_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
_SETTINGS = (
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_enable_x64",
    "jax_threefry_partitionable",
)

CACHE_BYTES = 500_000_000
"""Of compiled programs; those not used for longest go first."""


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare_jax(dump_hlo: Path | None = None) -> None:
    """Settings that jax reads when it is imported; the user's own in the environment go first.

    A CPU device for each core: seeds, and the batches of the letters network, are shared out
    over them. And compiled programs are kept in the user's cache folder, so that the next process
    need not compile them; jax's own variable `JAX_ENABLE_COMPILATION_CACHE=false` turns that off.

    Args:
        dump_hlo: a folder for the programs that XLA compiles, as text; then all are compiled anew.
    """
    defaults = {}
    if dump_hlo is not None:
        flags = f"--xla_dump_to={dump_hlo} --xla_dump_hlo_as_text"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        defaults["JAX_NUM_CPU_DEVICES"] = str(usable_cores())
    # Without a folder to write to, or a home, all is compiled each time.
    with contextlib.suppress(OSError, RuntimeError):
        cache = user_cache_path("jaxdigits") / "compiled"
        cache.mkdir(parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            defaults["JAX_COMPILATION_CACHE_DIR"] = str(cache)
            defaults["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(CACHE_BYTES)
            defaults["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    for name, value in defaults.items():
        os.environ[name] = os.environ.get(name) or value
    if cache := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        with contextlib.suppress(OSError):
            _drop_unfinished(Path(cache))


@contextlib.contextmanager
def profiled(folder: Path | None) -> Iterator[None]:
    """Write what happens meanwhile as a trace, if a folder is given.

    Perfetto opens its `perfetto_trace.json.gz`, XProf the folder. Python's own calls are left out:
    they are most of it, and take longer to write than a short run takes to train.

    Raises:
        OutputError: the folder cannot be written.
    """
    if folder is None:
        yield
        return
    import jax

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from None
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with jax.profiler.trace(str(folder), create_perfetto_trace=True, profiler_options=options):
        yield


def _drop_unfinished(cache: Path) -> None:
    """Remove what a process that was killed left half-written: jax would write nothing after it.

    A program is written to `NAME-cache`, then the time to `NAME-atime`, which jax reads of every
    program whenever it adds one.
    """
    for program in cache.glob("*-cache"):
        if not program.with_name(f"{program.name.removesuffix('-cache')}-atime").exists():
            program.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """The versions, the device, the processor, and the flags that a result was measured with."""
    import jax

    packages = ("jax", "jaxlib", "numpy", "optax")
    versions = {name: importlib.metadata.version(name) for name in packages}
    own = {"python": platform.python_version(), "jaxdigits": __version__}
    flags = {name: os.environ.get(name) for name in _VARIABLES}
    flags |= {name: getattr(jax.config, name, None) for name in _SETTINGS}
    return {
        "versions": {**own, **versions},
        "device": jax.devices()[0].device_kind,
        "processor": processor(),
        "flags": {name: str(value) for name, value in flags.items() if value},
    }


def changes_since(
    then: Mapping[str, Any], now: Mapping[str, Any] | None = None, word: str = "now"
) -> list[str]:
    """What differs between two environments, in words; what one of them does not tell is left out.

    Args:
        then: the first one.
        now: the second one. Default: this one.
        word: what stands before its values.

    Example:
        >>> changes_since({**environment(), "processor": "Z80"})        # doctest: +ELLIPSIS
        ['processor Z80, now ...']
    """
    now = environment() if now is None else now
    pairs = []
    for name in ("versions", "flags"):
        before, after = then.get(name, {}), now.get(name, {})
        if name in then and name in now:
            names = dict.fromkeys([*after, *before])
            pairs += [(key, before.get(key), after.get(key)) for key in names]
    for name in ("device", "processor", "devices"):
        if name in then and name in now:
            pairs.append((name, then[name], now[name]))
    return [f"{name} {old}, {word} {new}" for name, old, new in pairs if old != new]


def processor() -> str:
    """The name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def missing_platform() -> str | None:
    """Say that jax has none of the platforms in `$JAX_PLATFORMS`; None where that is not so.

    Only where jax has been imported: else nothing has asked for a device.
    """
    wanted = os.environ.get("JAX_PLATFORMS")
    if not wanted or "jax" not in sys.modules:
        return None
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # jax's, for a platform that is not installed
        return (
            f"jax finds no device for JAX_PLATFORMS={wanted}: install jax for it, such as "
            "pip install 'jax[cuda12]', or unset that variable"
        )
    return None


def target_platform() -> str:
    """The platform that a program is traced for: `cpu`, `gpu`, `tpu`, or another of `tracing_for`.

    Example:
        >>> with tracing_for("tpu"):
        ...     target_platform()
        'tpu'
    """
    import jax

    return _TARGET.get() or jax.default_backend()


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
    """Choose what is fast on a platform for all that is traced meanwhile.

    Args:
        platform: `cpu`, `gpu`, `tpu`, or `any` for what each of them can run.
    """
    token = _TARGET.set(platform)
    try:
        yield
    finally:
        _TARGET.reset(token)


def compiler_options(mesh: Any) -> dict[str, bool | str]:
    """XLA's options for a program on a mesh: on CPU devices, an operation uses one core.

    Args:
        mesh: a `jax.sharding.Mesh`, or None for one device.

    Example:
        >>> compiler_options(None)
        {}
    """
    if mesh is None or mesh.size == 1 or mesh.devices.flat[0].platform != "cpu":
        return {}
    return {"xla_cpu_multi_thread_eigen": False}
