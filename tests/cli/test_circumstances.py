"""The machine and the settings of a user: no home, narrow encodings, 64 bits, diverged networks."""

import io
import json
import os
import subprocess
import sys

import jax
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

import jaxdigits as jd
from jaxdigits import environment, plots
from jaxdigits.cli import main
from jaxdigits.sweeps.grid import memory_budget
from jaxdigits.training.sharding import make_mesh

QUICK = ("--dataset", "digits", "--model", "linear", "--epochs", "1")


def test_the_users_own_devices_win(monkeypatch):
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    environment.prepare_jax()
    assert "JAX_NUM_CPU_DEVICES" not in os.environ
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")
    environment.prepare_jax()
    assert os.environ["JAX_NUM_CPU_DEVICES"] == str(environment.usable_cores())


def test_halves_of_programs_are_dropped_from_a_named_cache(monkeypatch, tmp_path):
    """What a killed command left, of which jax would warn whenever it writes another."""
    for name in ("whole-cache", "whole-atime", "half-cache"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    environment.prepare_jax()
    assert {path.name for path in tmp_path.iterdir()} == {"whole-cache", "whole-atime"}


def test_without_a_home_nothing_is_cached(monkeypatch):
    def no_home(_: str):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    monkeypatch.setattr(environment, "user_cache_path", no_home)
    environment.prepare_jax()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")


def test_free_memory_where_sysconf_tells_nothing(monkeypatch):
    monkeypatch.delattr("os.sysconf", raising=False)
    assert 1e6 < memory_budget(make_mesh(jax.devices(), 1, "members")) < 1e15


def test_peak_memory_where_there_is_no_module_resource(monkeypatch):
    from jaxdigits.bench import document

    assert (document.peak_bytes()["process"] or 0) > 1e7
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it fails, as on Windows
    assert document.peak_bytes()["process"] is None or os.name == "nt"


def test_what_an_encoding_lacks_is_printed_by_its_number(monkeypatch, tmp_path):
    for name in ("λ", "b"):
        (tmp_path / "β" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((28, 28), 10 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "β" / name / f"{number}.png")
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "cp1252", errors="strict"))
    assert main(["data", "prepare", "./β"]) == 0
    assert rb"\u03b2 (2/2/2 images" in written.getvalue()


def test_addresses_are_refused(cli, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/data")
    for command in (["data", "list"], ["train", "--dataset", "mnist"]):
        code, out, err = cli(*command)
        assert (code, out) == (2, "")
        assert "gs://bucket/data is an address" in err


@pytest.mark.usefixtures("pictures")
def test_the_users_style_of_pictures_changes_nothing(cli, tmp_path):
    drawn = {}
    for name, style in {
        "own": {},
        "theirs": {"image.origin": "lower", "text.usetex": True},
    }.items():
        with mpl.rc_context(style):
            assert cli("train", *QUICK, "--out", tmp_path / name)[0] == 0
        drawn[name] = np.asarray(Image.open(tmp_path / name / "predictions.png"))
    np.testing.assert_array_equal(drawn["own"], drawn["theirs"])


@pytest.fixture
def no_pictures(monkeypatch):
    def fail(*_: object, **__: object):
        raise ValueError("no such font\nand more")

    monkeypatch.setattr(plots, "save", fail)


@pytest.mark.usefixtures("no_pictures", "pictures")
@pytest.mark.parametrize("command", [["train"], ["sweep", "--learning-rate", "0.1,0.2"]])
def test_a_picture_that_fails_loses_no_training(cli, tmp_path, command):
    code, _, err = cli(*command, *QUICK, "--out", tmp_path / "run")
    assert code == 0
    assert err.count("pictures could not be drawn (no such font); all else is written") >= 1
    assert jd.load(tmp_path / "run").predict(np.zeros((1, 28, 28), np.uint8)).shape == (1,)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("command", "written"),
    [
        (["reproduce", "B1", "--seeds", "2", "--dataset", "digits", "--out", "report"], "report"),
        (["evaluate", "digits", "--dataset", "digits", "--robustness"], None),
    ],
)
def test_a_picture_that_fails_loses_no_measurement(cli, tmp_path, command, written):
    code, out, err = cli(*command)
    assert code == 0
    assert "pictures could not be drawn (no such font)" in err
    assert ("written to" in out) == bool(written)
    if written:
        names = {path.name for path in (tmp_path / written).iterdir()}
        assert names == {"report.md", "report.html", "report.json"}


@pytest.fixture
def diverged(cli, tmp_path):
    settings = ("--model", "mlp", "--learning-rate", "1e30", "--optimizer", "sgd")
    code, _, err = cli("train", *QUICK, *settings, "--out", tmp_path / "diverged")
    assert code == 0
    assert "training diverged" in err
    return tmp_path / "diverged"


def test_a_diverged_network_goes_anywhere(cli, diverged, tmp_path):
    page = np.full((100, 60), 250, np.uint8)
    page[20:80, 28:34] = 30
    Image.fromarray(page).save(tmp_path / "one.png")
    warning = "the training of"
    for command in (
        ("predict", tmp_path / "one.png", "--network", diverged),
        ("classify", diverged, tmp_path / "one.png"),
        ("evaluate", diverged, "--robustness", "--jittered"),
    ):
        code, _, err = cli(*command)
        assert (code, warning in err) == (0, True), (command, err)
        code, out, err = cli(*command, "--json")
        assert (code, warning in err) == (0, True), (command, err)
        document = json.loads(out, parse_constant=lambda name: pytest.fail(name))
        if command[0] == "predict":
            (found,) = document["pictures"][0]["characters"]
            assert (found["confidence"], found["sure"]) == (None, False)


def test_a_platform_that_there_is_not(python):
    picture = "experiments/samples/note.jpg"
    done = python(
        *("-m", "jaxdigits", "predict", picture), env={**os.environ, "JAX_PLATFORMS": "abacus"}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("jaxdigits: jax finds no device for JAX_PLATFORMS=abacus: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="the shell of Unix closes streams")
def test_a_closed_stream():
    for closed in ("1", "2"):
        command = f"{sys.executable} -m jaxdigits data list {closed}>&-"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert ("mnist" in done.stdout) == (closed == "2")


@pytest.mark.parametrize(("registered", "code"), [("before", 0), ("after", 130)])
def test_interrupted_while_the_process_ends(python, registered, code):
    """By what runs at its end: in one line while Python still works, and then not at all."""
    kill = "atexit.register(os.kill, os.getpid(), signal.SIGINT)"
    program = f"""
import atexit, os, signal, sys
from jaxdigits import cli
sys.argv = ["jaxdigits", "--version"]
if {registered == "before"}:
    {kill}
else:
    cli.main = lambda: {kill} and 0
cli.program()
"""
    done = python("-c", program)
    assert done.returncode == code
    assert done.stderr == ("" if code == 0 else "\njaxdigits: interrupted\n")


def test_other_errors_are_not_taken_for_a_missing_platform(monkeypatch):
    def fail(_: object) -> int:
        raise RuntimeError("a fault of ours")

    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr("jaxdigits.cli._run", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["train"])


X64 = """
import jax, jax.numpy as jnp, numpy as np
import jaxdigits as jd
assert jax.config.jax_enable_x64
data = jd.data.from_arrays(
    "own", *2 * [jd.data.Examples(np.arange(40 * 784).reshape(40, 28, 28).astype(np.uint8),
    np.arange(40) % 2)], ("a", "b"))
for settings in (
    {"model": "mlp", "optimizer": "sgd", "momentum": 0.9, "ema_decay": 0.9},
    {"model": "convnet", "augment": ("shift", "rotate", "elastic"), "dropout": 0.2},
    {"model": "linear", "schedule": "cosine", "optimizer": "adamw", "weight_decay": 0.1},
):
    run = jd.fit(jd.TrainConfig(epochs=1, batch_size=16, **settings), data)
    assert {leaf.dtype for leaf in jax.tree.leaves(run.params)} == {jnp.dtype("float32")}
    assert run.predict_proba(data["test"].images).dtype == np.float32
print(jd.load("digits").predict(jd.data.load("digits", "test").images[:50]).tolist())
"""


def test_64_bits_change_nothing(python):
    done = python("-W", "error", "-c", X64, env={**os.environ, "JAX_ENABLE_X64": "1"})
    assert done.returncode == 0, done.stderr
    images = jd.data.load("digits", "test").images[:50]
    assert json.loads(done.stdout) == jd.load("digits").predict(images).tolist()
