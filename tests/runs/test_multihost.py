"""Two processes on this machine, which talk over loopback."""

import json
import os
import re
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers import finish, history, start_together, stop_after, wait_for_checkpoint

import jaxdigits as jd
from jaxdigits.errors import ConfigError, ProcessLostError, StoppedError
from jaxdigits.runs import multihost
from jaxdigits.runs.checkpoints import saved_chunks

SETTINGS = [
    *("--dataset", "digits", "--model", "mlp", "--hidden", "16", "--dropout", "0.2"),
    *("--batch-size", "33", "--schedule", "constant", "--checkpoint-epochs", "1"),
]
EPOCHS = 4
CONFIG = jd.TrainConfig(
    dataset="digits", model="mlp", hidden=(16,), dropout=0.2, batch_size=33, schedule="constant",
    epochs=EPOCHS,
)  # fmt: skip


TRAIN = ("-m", "jaxdigits", "train")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """One process with two devices: the same shares, the same draws."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    jd.fit(CONFIG, folder=folder, devices=2)
    return folder


def test_two_processes_are_one_with_two_devices(alone):
    """The same losses, of which the last batch is a partial one. The second process gets a SIGTERM,
    and both stop after the same epoch."""
    processes = start_together(*TRAIN, *SETTINGS, "--epochs", "100000", "--out", "run")
    wait_for_checkpoint(EPOCHS)
    processes[1].send_signal(signal.SIGTERM)
    first, second = finish(processes)
    assert first[0] == second[0] == 143, (first[2], second[2])
    stopped = re.search(r"interrupted after epoch (\d+) of 100000", first[2])
    assert stopped
    assert saved_chunks(Path("run.unfinished"))[-1] == int(stopped[1]) >= EPOCHS
    ours = history(Path("run.unfinished"))
    assert len(ours) == int(stopped[1]) + 1
    for line, theirs in zip(ours, history(alone), strict=False):
        assert line == pytest.approx(theirs, rel=1e-5)


def test_one_of_two_is_killed():
    """The other one says so at once."""
    settings = ("--dataset", "digits", "--model", "linear", "--epochs", "100000", "--out", "run")
    processes = start_together(*TRAIN, *settings, "--checkpoint-epochs", "1")
    wait_for_checkpoint(2)
    processes[1].kill()
    killed = time.monotonic()
    code, _, err = finish(processes)[0]
    assert time.monotonic() - killed < 60
    assert code == 1
    sentence = "jaxdigits: another process has ended: start all of them again with --resume"
    assert err.splitlines()[-1] == sentence


def test_two_processes_resume_what_one_has_begun(alone, monkeypatch):
    """The second one gets the state from the first, which alone reads and writes."""
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(StoppedError):
            jd.fit(CONFIG, folder="run", devices=2, stream=True)
    first, second = finish(start_together(*TRAIN, "--resume", "run"))
    assert first[0] == second[0] == 0, (first[2], second[2])
    for err in (first[2], second[2]):
        assert f"resuming after epoch 2 of {EPOCHS}" in err
    for ours, theirs in zip(history(Path("run")), history(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert f"{EPOCHS} epochs in" in first[1]
    assert second[1] == ""
    mine, other = (
        safetensors.numpy.load_file(folder / "params.safetensors")
        for folder in (Path("run"), alone)
    )
    for name, array in mine.items():
        np.testing.assert_allclose(array, other[name], rtol=1e-4, atol=1e-6)
    document = json.loads(Path("run/run.json").read_text())
    assert (document["devices"], document["stream"]) == (2, True)
    assert f"epoch 3 of {EPOCHS}:" in first[2]
    assert f"epoch 3 of {EPOCHS}:" not in second[2]
    assert sorted(path.name for path in Path().iterdir()) == ["run"]


def test_one_two_and_eight_devices(python, tmp_path):
    """Batches of 33 and a last one of 30, which neither two nor eight devices can share evenly."""
    code = (
        "import json, sys, jax, jaxdigits as jd\n"
        "from jaxdigits.training.sharding import default_mesh, replicate\n"
        "from jaxdigits.training.trainer import make_trainer\n"
        "config = jd.TrainConfig(model='linear', batch_size=33, epochs=2)\n"
        "data, found = jd.load_training_data('digits'), []\n"
        "for devices in (1, 2, 8):\n"
        "    mesh = default_mesh(jd.Hints(), 33, devices)\n"
        "    trainer = make_trainer(config, data, mesh=mesh)\n"
        "    arrays = replicate(data, mesh)\n"
        "    state = replicate(trainer.init(jax.random.key(0)), mesh)\n"
        "    epoch = trainer.jit(trainer.epoch)\n"
        "    losses = []\n"
        "    for _ in range(2):\n"
        "        state, metrics = epoch(state, arrays)\n"
        "        losses += [float(metrics.train.loss), float(metrics.validation.loss)]\n"
        "    found.append(losses)\n"
        "print(json.dumps(found))"
    )
    done = python("-c", code, env=os.environ | {"JAX_NUM_CPU_DEVICES": "8"})
    assert done.returncode == 0, done.stderr
    one, *others = json.loads(done.stdout)
    for losses in others:
        assert losses == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator", "localhost"], "coordinator must be HOST:PORT or auto"),
        (["--coordinator", "localhost:1"], "needs --processes and --process-id"),
        (
            ["--coordinator", "localhost:1", "--processes", "2", "--process-id", "2"],
            "process_id must be 0 to 1, not 2",
        ),
        (
            ["--coordinator", "localhost:1", "--processes", "2", "--process-id", "-1"],
            "process_id must be 0 to 1, not -1",
        ),
        (
            ["--coordinator", "localhost:1", "--processes", "1", "--process-id", "1"],
            "process_id must be 0 to 0, not 1",
        ),
        (
            ["--coordinator", "localhost:1", "--processes", "0", "--process-id", "0"],
            "processes must be 1 or more, not 0",
        ),
        (
            ["--coordinator", "localhost:1", "--processes", "2"],
            "--coordinator HOST:PORT needs --processes and --process-id",
        ),
        (
            ["--coordinator", "localhost:1", "--process-id", "0"],
            "--coordinator HOST:PORT needs --processes and --process-id",
        ),
        (["--processes", "2"], "--processes and --process-id need --coordinator HOST:PORT"),
        (["--process-id", "0", "--seeds", "2"], "--processes and --process-id need --coordinator"),
    ],
)
def test_wrong_settings(cli, arguments, message):
    code, out, err = cli("train", *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("auto", (None, None)),
        ("auto", (None, 3)),
        ("auto", (2, None)),
        ("here:1", (1, 0)),
        ("here:1", (4, 3)),
    ],
)
def test_others_that_cannot_be_found(monkeypatch, where, numbers):
    """Under a cluster jax finds out itself what is not given; the first line says what it lacks."""

    def initialize(*arguments, heartbeat_timeout_seconds):
        assert arguments == (None if where == "auto" else where, *numbers)
        assert heartbeat_timeout_seconds < 60
        raise RuntimeError("there is no cluster\nhere is how to make one")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    sentence = "^the other processes cannot be found: there is no cluster$"
    with pytest.raises(ConfigError, match=sentence):
        multihost.connect(where, *numbers)


def test_what_processes_tell_each_other():
    """Each has two numbers, a document, and a share of an array; keys are shared out as well. And
    of images on the disk each reads half of the columns of every batch."""
    code = (
        "import json, sys\n"
        "_, where, _, processes, _, number = sys.argv[1:]\n"
        "number = int(number)\n"
        "import jax, numpy as np, jaxdigits as jd\n"
        "from jax.sharding import NamedSharding, PartitionSpec\n"
        "from jaxdigits.runs import inputs, multihost\n"
        "from jaxdigits.training.sharding import default_mesh\n"
        "from jaxdigits.training.trainer import make_trainer\n"
        "multihost.connect(where, int(processes), number)\n"
        "mesh = jax.make_mesh((2,), ('x',))\n"
        "shares = NamedSharding(mesh, PartitionSpec('x'))\n"
        "own = np.full((1, 3), number, np.float32)\n"
        "array = jax.make_array_from_process_local_data(shares, own)\n"
        "keys = jax.jit(lambda: jax.random.split(jax.random.key(5), 4), out_shardings=shares)()\n"
        "found = multihost.gather({'array': array, 'keys': keys})\n"
        "alike = jax.random.split(jax.random.key(5), 4) == found['keys']\n"
        "document = {'of': number, 'text': 'x' * (5 + 50 * number)}\n"
        "config = jd.TrainConfig(model='mlp', batch_size=33)\n"
        "digits = jd.load_training_data('digits')\n"
        "trainer = make_trainer(config, digits, mesh=default_mesh(jd.Hints(), 33))\n"
        "source, key = jd.data.open_split('digits'), jax.random.key(0)\n"
        "batches, _ = inputs.Streamed(trainer, source, digits.validation, key)._read(0)\n"
        "print(json.dumps([\n"
        "    batches.images.shape, int((batches.weights > 0).sum()),\n"
        "    multihost.is_primary(),\n"
        "    multihost.max_over_processes(number, 5 - number),\n"
        "    np.asarray(multihost.broadcast_from_primary({'a': own + 7})['a']).tolist(),\n"
        "    multihost.document_from_primary(document if number < 1 else None),\n"
        "    multihost.document_from_primary(document),\n"
        "    np.asarray(found['array']).tolist(), bool(alike.all()),\n"
        "]))\n"
    )
    both = finish(start_together("-c", code))
    for number, (status, out, err) in enumerate(both):
        assert status == 0, err
        said = {"of": 0, "text": "xxxxx"}
        rows = [[0.0] * 3, [1.0] * 3]
        assert json.loads(out) == [
            [40, 17, 28, 28], 637 if number else 680,
            number == 0, [1, 5], [[7.0] * 3], said, said, rows, True,
        ]  # fmt: skip


def test_errors_that_say_that_a_process_is_gone(monkeypatch):
    """With others only; errors of our own, and any others, stay as they are."""
    gone = ValueError("Gloo AllGather failed: connection closed")
    ours = ConfigError("the heartbeat must be 1 or more")
    other = ValueError("shapes do not match")
    for processes, error in ((1, gone), (2, other), (2, ours)):
        monkeypatch.setattr(jax, "process_count", lambda count=processes: count)
        with pytest.raises(type(error)) as found, multihost.checked():
            raise error
        assert found.value is error
    for advice in ((), ("call a doctor",)):
        words = advice[0] if advice else "start all of them again with --resume"
        with pytest.raises(ProcessLostError, match=f"^another process has ended: {words}$"):  # noqa: SIM117
            with multihost.checked(*advice):
                raise gone
