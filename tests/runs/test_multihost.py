"""Two processes on this machine, which talk over loopback."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from helpers import finish, history, start_together, wait_for_checkpoint

import jaxdigits as jd
from jaxdigits.runs.checkpoints import saved_chunks

SETTINGS = [
    *("--dataset", "digits", "--model", "mlp", "--hidden", "16", "--dropout", "0.2"),
    *("--batch-size", "33", "--checkpoint-epochs", "1"),
]
EPOCHS = 5


TRAIN = ("-m", "jaxdigits", "train")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """One process with two devices: the same shares, the same draws."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    config = jd.TrainConfig(
        dataset="digits", model="mlp", hidden=(16,), dropout=0.2, batch_size=33, epochs=EPOCHS
    )
    jd.fit(config, folder=folder, devices=2)
    return folder


def test_two_processes_are_one_with_two_devices(alone):
    """The same losses, of which the last batch is a partial one; the first process alone writes."""
    first, second = finish(
        start_together(*TRAIN, *SETTINGS, "--epochs", str(EPOCHS), "--out", "run")
    )
    assert first[0] == second[0] == 0, (first[2], second[2])
    assert second[1] == ""
    assert f"{EPOCHS} epochs in" in first[1]
    for ours, theirs in zip(history(Path("run")), history(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    mine, other = (
        safetensors.numpy.load_file(folder / "params.safetensors")
        for folder in (Path("run"), alone)
    )
    for name, array in mine.items():
        np.testing.assert_allclose(array, other[name], rtol=1e-4, atol=1e-6)
    assert json.loads(Path("run/run.json").read_text())["devices"] == 2
    assert sorted(path.name for path in Path().iterdir()) == ["run"]


def test_killed_and_stopped_and_resumed():
    """One is killed, and the other one says so at once; resumed, the second process gets a SIGTERM,
    and both stop after the same epoch."""
    processes = start_together(*TRAIN, *SETTINGS, "--epochs", "100000", "--out", "run")
    wait_for_checkpoint(2)
    processes[1].kill()
    killed = time.monotonic()
    code, _, err = finish(processes)[0]
    assert time.monotonic() - killed < 60
    assert code == 1
    sentence = "jaxdigits: another process has ended: start all of them again with --resume"
    assert err.splitlines()[-1] == sentence
    began = saved_chunks(Path("run.unfinished"))[-1]
    processes = start_together(*TRAIN, "--resume", "run", "--checkpoint-epochs", "1")
    wait_for_checkpoint(began + 1)
    processes[1].send_signal(signal.SIGTERM)
    first, second = finish(processes)
    assert first[0] == second[0] == 143, (first[2], second[2])
    assert re.search(r"resuming after epoch \d+ of 100000", first[2])
    stopped = re.search(r"interrupted after epoch (\d+) of 100000", first[2])
    assert stopped
    assert saved_chunks(Path("run.unfinished"))[-1] == int(stopped[1]) > began


def test_one_two_and_eight_devices(python, tmp_path):
    """Batches of 33 and a last one of 30, which neither two nor eight devices can share evenly."""
    code = (
        "import json, sys, jax, jaxdigits as jd\n"
        "from jaxdigits.training.sharding import default_mesh, replicate\n"
        "from jaxdigits.training.trainer import make_trainer\n"
        "config = jd.TrainConfig(model='mlp', hidden=(16,), batch_size=33, epochs=2)\n"
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
        (["--processes", "2"], "--processes and --process-id need --coordinator HOST:PORT"),
        (["--process-id", "0", "--seeds", "2"], "--processes and --process-id need --coordinator"),
    ],
)
def test_wrong_settings(cli, arguments, message):
    code, out, err = cli("train", *arguments)
    assert (code, out) == (2, "")
    assert message in err
