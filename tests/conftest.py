"""Fixtures. No test touches the user's own data folder, and none reaches the network."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

if "PYTEST_XDIST_WORKER" in os.environ:  # which pytest's option for this does not reach
    install_import_hook("jaxdigits", "beartype.beartype")

# Most programs here run once, also those of the commands that tests start.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

# Pictures take longer than most training here; those who look at them ask for `pictures`.
os.environ.setdefault("JAXDIGITS_PICTURES", "0")

# PyTorch's threads wait for each other by spinning, on cores that others could use.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import numpy as np
from helpers import write_emnist
from hypothesis import settings

import jaxdigits as jd
from jaxdigits import data
from jaxdigits.cli import main
from jaxdigits.environment import CACHE_BYTES, usable_cores

jax.config.update("jax_num_cpu_devices", 2)  # so that sharing a batch can be tested
# What one process has compiled, others of these tests need not: nothing of the user's is found, or
# filled. Name a folder to have it kept for the next time.
CACHE_VARIABLE = "JAXDIGITS_TEST_CACHE"
_own_cache = tempfile.TemporaryDirectory(prefix="jaxdigits-tests-")
CACHE = Path(os.environ.setdefault(CACHE_VARIABLE, _own_cache.name))
jax.config.update("jax_compilation_cache_dir", str(CACHE / "tests"))
jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)  # with a lock: it is shared
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

# Compilation makes first examples slow, and a test that fails should fail again.
settings.register_profile("jaxdigits", deadline=None, derandomize=True)
settings.load_profile("jaxdigits")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core; but one alone for some files or names, which it is soon through."""
    folders = any(Path(argument).is_dir() for argument in config.args)
    return usable_cores() if folders and not config.option.keyword else 0


TEST_DATA_VARIABLE = "JAXDIGITS_TEST_DATA"
"""A folder with real data: `mnist/` and `emnist-letters-subset/`, as downloaded."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once, not once in each process that runs tests."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def compiled() -> Path:
    """Where the commands that tests run, and kill, keep compiled programs."""
    return CACHE / "commands"


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled: Path) -> None:
    for variable in [name for name in os.environ if name.startswith("JAX_") and "CACHE" in name]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "datasets"))
    monkeypatch.delenv("JAXDIGITS_MANUAL_DIR", raising=False)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and sweeps draw their results."""
    monkeypatch.delenv("JAXDIGITS_PICTURES")


@pytest.fixture(scope="module", autouse=True)
def _no_programs_kept() -> Iterator[None]:
    """Forget a file's compiled programs: all together take gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture
def small_resnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """ResNet-18 with two of its stages, of few channels; jax would remember the usual ones."""
    monkeypatch.setattr("jaxdigits.models.resnet.CHANNELS", (16, 32))
    jax.clear_caches()
    yield
    jax.clear_caches()


STRICT = {"by_hand", "ops", "transforms", "test_losses.py"}
"""The rooms whose functions mix no types of numbers; optax does, so training cannot be strict."""


@pytest.fixture(autouse=True)
def _strict_types(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse what jax would convert in silence, as int32 with float32."""
    room = request.path.relative_to(Path(__file__).parent).parts[0]
    with jax.numpy_dtype_promotion("strict" if room in STRICT else "standard"):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get(TEST_DATA_VARIABLE)
    if not folder:
        pytest.skip(f"real data are needed: {TEST_DATA_VARIABLE} does not name their folder")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def mnist_dir(real_data: Path, shared: Path) -> Path:
    """A data folder in which the real MNIST is prepared."""
    folder = shared / "mnist"
    data.prepare("mnist", data_dir=folder, manual_dir=real_data / "mnist")  # one waits for another
    return folder


@pytest.fixture
def emnist_files(tmp_path: Path) -> Path:
    """A folder with small files in the format of emnist/letters."""
    folder = tmp_path / "files"
    write_emnist(folder)
    return folder


@pytest.fixture(scope="session")
def digits() -> jd.TrainingData:
    return jd.load_training_data("digits")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python *arguments` as a user would, and return its output."""

    def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, **{"timeout": 120, **options}
        )

    return run


@pytest.fixture
def notes() -> Iterator[list[str]]:
    """What the library logs."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("jaxdigits"), Handler()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run a command, and return its exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    logger = logging.getLogger("jaxdigits")
    handlers, propagate = list(logger.handlers), logger.propagate
    yield run
    logger.handlers[:], logger.propagate = handlers, propagate  # main() sets its own


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder without write permission, for root too."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    was_root, group = os.geteuid() == 0, os.getegid()
    if was_root:
        # Others may not be allowed to read the packages: import what will be needed.
        import filelock  # noqa: F401
        import requests  # noqa: F401

        data.load("digits")
        for parent in tmp_path.parents:  # the way to it must be open to others
            if parent.stat().st_mode & 0o001 == 0:
                parent.chmod(parent.stat().st_mode | 0o001)
        tmp_path.chmod(0o777)
        os.setegid(65534)
        os.seteuid(65534)
    yield folder
    if was_root:
        os.seteuid(0)
        os.setegid(group)
    folder.chmod(0o700)


@pytest.fixture(scope="session")
def splits() -> dict[str, data.Dataset]:
    """The digits that come with the package."""
    return {name: data.load("digits", name) for name in ("train", "validation", "test")}


@pytest.fixture(scope="session")
def node() -> str:
    found = shutil.which("node")
    return found or pytest.skip("node is needed to run the page's programs")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and its chromedriver are needed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for name in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
    ):
        options.add_argument(f"--{name}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driven = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield driven
    driven.quit()
