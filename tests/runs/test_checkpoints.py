"""Trainings that end before their time, and go on."""

import dataclasses
import json
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import stop_after

import jaxdigits as jd
from jaxdigits.config import CheckpointConfig
from jaxdigits.errors import OutputError, RunError, StoppedError
from jaxdigits.runs import checkpoints
from jaxdigits.runs.checkpoints import Checkpoints, complete_parts
from jaxdigits.runs.fit import RUN_FILES, train

COMMAND = [sys.executable, "-m", "jaxdigits", "train"]
SETTINGS = [
    *("--dataset", "digits", "--model", "mlp", "--hidden", "8", "--batch-size", "128"),
    *("--dropout", "0.2", "--average", "0.9", "--augment", "shift"),
]
EPOCHS = 12
BEGUN = {"format": checkpoints.FORMAT, "config": {"epochs": 3}, "data": {"name": "digits"}}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """They take longer than all else here."""
    monkeypatch.setattr("jaxdigits.runs.fit._draw", lambda *_: None)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[int, bytes]:
    """The parameters of a training that nobody disturbed, by the number of its devices."""
    found = {}
    for devices in (1, 2):
        folder = tmp_path_factory.mktemp("alone") / "run"
        train(begin_config(), out=folder, devices=devices)
        found[devices] = (folder / "params.safetensors").read_bytes()
    return found


def begin_config() -> jd.TrainConfig:
    return jd.TrainConfig(
        dataset="digits", model="mlp", hidden=(8,), batch_size=128, dropout=0.2, average=0.9,
        augment=("shift",), epochs=EPOCHS,
    )  # fmt: skip


def begin(monkeypatch, out: Path, *, stop: int = 5, devices: int = 1, every: int = 1) -> None:
    """A training of which checkpoints stay behind."""
    with monkeypatch.context() as patched:
        stop_after(patched, stop)
        saving = CheckpointConfig(checkpoint_epochs=every)
        with pytest.raises(StoppedError):
            train(begin_config(), out=out, devices=devices, saving=saving)


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    begin(pytest.MonkeyPatch(), folder / "run")
    return folder / "run.unfinished"


@pytest.fixture
def begun(left_behind, tmp_path) -> Path:
    """A run with checkpoints of the epochs 3, 4 and 5."""
    shutil.copytree(left_behind, tmp_path / "run.unfinished")
    return tmp_path / "run"


@pytest.mark.parametrize("devices", [1, 2])
def test_it_goes_on_to_the_bit(monkeypatch, cli, alone, devices):
    out = Path("run")
    begin(monkeypatch, out, devices=devices)
    assert complete_parts(Path("run.unfinished")) == [3, 4, 5]
    code, printed, err = cli("train", "--resume", out, "--json", *SETTINGS, "--epochs", EPOCHS)
    assert code == 0, err
    assert err == f"going on after epoch 5 of {EPOCHS}\n"
    assert (out / "params.safetensors").read_bytes() == alone[devices]
    written = sorted(name for name in RUN_FILES if not name.endswith(".png"))
    assert sorted(path.name for path in out.iterdir()) == written
    assert not Path("run.unfinished").exists()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(EPOCHS + 1))
    assert json.loads(printed)["devices"] == devices
    # Once more: there is nothing left to do, and that is no error.
    code, printed, err = cli("train", "--resume", out, "--json")
    assert code == 0
    assert "is complete: there is nothing to go on with" in err
    assert json.loads(printed)["results"]["test"]["count"] == 360


def test_killed_again_and_again(cli, alone):
    """At random moments; where nothing was written yet, it begins again."""
    random.seed(time.time_ns())
    command = [*COMMAND, *SETTINGS, "--epochs", str(EPOCHS), "--devices", "1"]
    begin = ["--out", "run", "--checkpoint-epochs", "1"]
    process = subprocess.Popen([*command, *begin], stderr=subprocess.DEVNULL)
    wait_until(Path("run.unfinished/checkpoints/2").exists)
    process.kill()
    process.wait()
    again = subprocess.Popen(
        [*COMMAND, "--resume", "run", "--checkpoint-epochs", "1"], stderr=subprocess.DEVNULL
    )
    time.sleep(random.uniform(1.0, 4.0))
    again.kill()
    again.wait()
    if Path("run.unfinished").exists():
        code, _, err = cli("train", "--resume", "run")
        assert code == 0, err
    assert Path("run/params.safetensors").read_bytes() == alone[1]


def wait_until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_killed_before_the_first_checkpoint(cli, alone):
    process = subprocess.Popen([*COMMAND, *SETTINGS, "--epochs", str(EPOCHS), "--out", "run",
                                "--devices", "1"])  # fmt: skip
    wait_until(Path("run.unfinished/begun.json").exists)
    process.kill()
    process.wait()
    code, _, err = cli("train", "--resume", "run.unfinished")
    assert (code, err) == (0, "")
    assert Path("run/params.safetensors").read_bytes() == alone[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_epoch_and_saves(number):
    """It says what goes on, and that does."""
    command = [*COMMAND, *SETTINGS, "--epochs", "100000", "--out", "run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: lines("run.unfinished/metrics.jsonl") > 2)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert process.stderr is not None
    said = process.stderr.read()
    assert "finishing the epoch in hand and saving; once more to stop at once" in said
    found = re.search(r"interrupted after epoch (\d+) of 100000; go on with: (.*)\n$", said)
    assert found
    assert complete_parts(Path("run.unfinished")) == [int(found[1])]
    words = shlex.split(found[2])
    assert words == ["jaxdigits", "train", "--resume", str(Path("run").absolute())]
    begun = lines("run.unfinished/metrics.jsonl")
    again = subprocess.Popen([*COMMAND, *words[2:]], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: lines("run.unfinished/metrics.jsonl") > begun)
    again.send_signal(number)
    time.sleep(0.01)
    again.send_signal(number)
    assert again.wait(timeout=60) == 128 + number


def lines(path: str) -> int:
    return len(Path(path).read_text().splitlines()) if Path(path).exists() else 0


def test_a_second_signal_does_not_wait_for_the_epoch():
    """The main thread is in a function that never returns."""
    code = (
        "import ctypes, os\n"
        "from jaxdigits.runs.signals import Interrupts\n"
        "with Interrupts('finishing') as interrupts:\n"
        "    print('ready', flush=True)\n"
        "    ctypes.CDLL(None).sleep(600) and ctypes.CDLL(None).sleep(600)\n"
        "    ctypes.CDLL(None).sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == "\n"
    assert process.stderr.readline() == "jaxdigits: finishing\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


def test_a_signal_in_the_last_epoch_changes_nothing(monkeypatch, tmp_path, alone):
    stop_after(monkeypatch, EPOCHS)
    train(begin_config(), out=tmp_path / "run", devices=1)
    assert (tmp_path / "run" / "params.safetensors").read_bytes() == alone[1]


def test_a_short_training_writes_no_checkpoint_and_imports_no_orbax(python):
    code = (
        "import sys; from jaxdigits.cli import main\n"
        f"main({['train', *SETTINGS, '--epochs', '1', '--out', 'run']})\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('orbax', 'tensorboardX')])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"
    assert sorted(path.name for path in Path("run").iterdir()) == sorted(RUN_FILES)


def test_what_has_got_somewhere_is_not_begun_anew(cli, begun, alone):
    settings = [*SETTINGS, "--epochs", str(EPOCHS)]
    code, _, err = cli("train", *settings, "--out", begun)
    assert code == 2
    assert f"give --resume {begun}, or --overwrite to begin again" in err
    assert complete_parts(begun.with_name("run.unfinished")) == [3, 4, 5]
    code, _, _ = cli("train", *settings, "--out", begun, "--devices", "1", "--overwrite")
    assert code == 0
    assert (begun / "params.safetensors").read_bytes() == alone[1]
    assert not begun.with_name("run.unfinished").exists()


def test_a_run_without_a_name_takes_another(monkeypatch, cli):
    begin(monkeypatch, Path("runs/digits-mlp"))
    assert cli("train", *SETTINGS, "--epochs", "1")[0] == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "digits-mlp-2",
        "digits-mlp.unfinished",
    ]


def test_an_older_run_stays_until_the_new_one_is_complete(monkeypatch, cli):
    train(dataclasses.replace(begin_config(), epochs=1), out=Path("run"))
    before = Path("run/params.safetensors").read_bytes()
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(StoppedError, match=r"--resume .*/run --overwrite$"):
            train(begin_config(), out=Path("run"), overwrite=True)
    code, _, err = cli("train", "--resume", "run")
    assert code == 2
    assert "is taken; choose another --out, or give --overwrite" in err
    assert Path("run/params.safetensors").read_bytes() == before
    assert cli("train", "--resume", "run", "--overwrite")[0] == 0
    assert Path("run/params.safetensors").read_bytes() != before


def newest(run: Path) -> Path:
    return run.with_name("run.unfinished") / "checkpoints" / "5"


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("d/*")), key=lambda path: path.stat().st_size)


def truncate(folder: Path) -> None:
    path = largest(folder / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(folder: Path) -> None:
    """A bit in the middle of the weights."""
    path = largest(folder / "state")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def empty(folder: Path) -> None:
    shutil.rmtree(folder / "state")


def other_config(folder: Path) -> None:
    path = folder / "document" / "metadata"
    document = json.loads(path.read_text())
    document["config"]["epochs"] = 4
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"cannot be read: Requested byte range \[.*"),
        (flip, "cannot be read: .*"),
        (empty, "cannot be read: .*"),
        (other_config, "is of another training: its epochs is 4, not 3"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, message):
    saved = Checkpoints(tmp_path, BEGUN)
    states = {epoch: {"a": np.full((300, 300), epoch / 7, np.float32)} for epoch in (1, 2)}
    for epoch, state in states.items():
        saved.save(epoch, state, {})
    saved.close()
    damage(tmp_path / "checkpoints" / "2")
    again = Checkpoints(tmp_path, BEGUN)
    found = again.restore(states[1])
    assert found is not None
    assert found.part == 1
    np.testing.assert_array_equal(found.state["a"], states[1]["a"])
    (sentence,) = found.notes
    assert re.fullmatch(f"{tmp_path}/checkpoints/2 {message}", sentence)
    # Its place is free, and it is not gone.
    assert complete_parts(tmp_path) == [1]
    assert list((tmp_path / "checkpoints").glob("damaged-2-*"))
    again.save(2, states[2], {})
    again.close()
    assert complete_parts(tmp_path) == [1, 2]


def test_going_on_from_an_older_checkpoint(cli, begun, alone):
    truncate(newest(begun))
    code, _, err = cli("train", "--resume", begun, "--checkpoint-epochs", "1")
    assert code == 0, err
    first, second = err.splitlines()
    assert first.startswith(f"{newest(begun)} cannot be read: ")
    assert first.endswith("; going on from the checkpoint before it")
    assert second == f"going on after epoch 4 of {EPOCHS}"
    assert (begun / "params.safetensors").read_bytes() == alone[1]


def test_no_checkpoint_is_whole(cli, begun):
    for epoch in (3, 4, 5):
        truncate(newest(begun).with_name(str(epoch)))
    code, out, err = cli("train", "--resume", begun)
    assert (code, out) == (2, "")
    assert "no older checkpoint can be used: train it again" in err
    assert len(err.splitlines()) == 1
    assert complete_parts(begun.with_name("run.unfinished")) == [3, 4, 5]


def test_a_newer_format(cli, begun):
    path = newest(begun) / "document" / "metadata"
    document = json.loads(path.read_text())
    for place in (path, begun.with_name("run.unfinished") / "begun.json"):
        place.write_text(json.dumps({**document, "format": checkpoints.FORMAT + 1}))
        code, _, err = cli("train", "--resume", begun)
        assert code == 2
        assert "was written by a newer jaxdigits (format 2): upgrade" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0.1"], "was begun with learning_rate 0.005, not 0.1"),
        (["--epochs=3"], f"was begun with epochs {EPOCHS}, not 3"),
        (["--model", "linear"], "was begun with model mlp, not linear"),
        (["--average", "0"], "was begun with average 0.9, not 0.0"),
        (["--dataset", "mnist"], "was begun with dataset digits, not mnist"),
        (["--out", "elsewhere"], "--resume names the folder: leave --out away"),
        (["--checkpoint-epochs", "0"], "checkpoint_epochs must be 1 or more, not 0"),
        (["--checkpoint-minutes", "-1"], "checkpoint_minutes must be a number of 0 or more"),
        (["--keep-checkpoints", "0"], "keep_checkpoints must be 1 or more, not 0"),
    ],
)
def test_other_settings_are_refused(cli, begun, arguments, message):
    code, out, err = cli("train", "--resume", begun, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert complete_parts(begun.with_name("run.unfinished")) == [3, 4, 5]


def test_a_training_is_no_sweep(cli, begun):
    code, out, err = cli("sweep", "--resume", begun)
    assert (code, out) == (2, "")
    assert f"is no sweep: `jaxdigits train --resume {begun}` goes on" in err
    code, out, err = cli("sweep", "--resume", begun, "--out", "elsewhere")
    assert (code, out) == (2, "")
    assert "--resume names the folder: leave --out away" in err


def test_nothing_to_go_on_with(cli):
    for name in ("nowhere", "."):
        code, _, err = cli("train", "--resume", name)
        assert code == 2
        assert "there is no training to go on with in" in err
    Path("x.unfinished").mkdir()
    for content in ("{", "[]", '{"format": 1}'):
        Path("x.unfinished/begun.json").write_text(content)
        code, _, err = cli("train", "--resume", "x")
        assert code == 2
        assert "begun.json is damaged" in err


def test_other_data_are_refused(cli, monkeypatch, emnist_files):
    from helpers import emnist_arrays, write_emnist

    settings = ("--dataset", "emnist/letters", "--model", "mlp", "--epochs", "3", "--out", "run")
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        code, _, err = cli("train", *settings, "--manual-dir", emnist_files)
    assert code == 130, err
    assert f"--manual-dir {emnist_files}" in err
    write_emnist(Path("other"), train_images=emnist_arrays()["train-images"][::-1])
    places = ("--data-dir", "elsewhere", "--manual-dir", "other")
    code, _, err = cli("train", "--resume", "run", *places)
    assert code == 2
    assert "the training was begun on emnist/letters" in err
    assert cli("train", "--resume", "run", "--manual-dir", emnist_files)[0] == 0


def test_other_devices_and_versions_are_told(cli, monkeypatch, begun):
    path = begun.with_name("run.unfinished") / "begun.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "devices": 64}))
    code, _, err = cli("train", "--resume", begun)
    assert code == 2
    assert "was begun on 64 devices, here are 2: give --devices 2" in err
    document["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(document))
    code, _, err = cli("train", "--resume", begun, "--devices", "2")
    assert code == 0, err
    assert "begun on 1 devices, now 2: the result may differ in rounding" in err
    assert "jax is 0.0.1, not" in err


def test_a_full_disk_does_not_end_the_training(cli, alone):
    """Files may not grow beyond a limit that the checkpoints exceed, and all else keeps."""
    command = [*COMMAND, *SETTINGS, "--hidden", "300", "--epochs", "2", "--checkpoint-epochs", "1"]
    code = (
        "import resource, signal, sys; from jaxdigits.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))\n"
        f"sys.exit(main({[*command[3:], '--out', 'run']}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    notes = done.stderr.splitlines()
    assert notes
    for note in notes:
        assert re.search("the checkpoint of epoch [12] cannot be written to .*; the training", note)
    assert Path("run/params.safetensors").exists()


def test_a_folder_that_became_read_only(monkeypatch, read_only):
    """A write that is refused is one sentence; what is there stays."""
    folder = read_only / "x"
    saved = Checkpoints(folder, BEGUN)
    with pytest.raises(OutputError, match=r"checkpoint of epoch 1 cannot be written to .*denied"):
        saved.save(1, {"a": np.zeros(3)}, {})


def test_the_state_comes_back_to_the_bit(tmp_path):
    state = {
        "weight": jax.random.normal(jax.random.key(0), (30, 7)),
        "key": jax.random.key(5),
        "keys": jax.random.split(jax.random.key(6), 3),
        "count": np.array(4, np.int32),
        "none": None,
    }
    saved = Checkpoints(tmp_path, BEGUN, CheckpointConfig(keep_checkpoints=2))
    for epoch in (1, 2, 3):
        saved.save(epoch, jax.tree.map(lambda leaf: leaf, state), {"history": [epoch]})
    saved.close()
    assert complete_parts(tmp_path) == [2, 3]
    template = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, state))
    found = Checkpoints(tmp_path, BEGUN).restore(template)
    assert found is not None
    assert (found.part, found.progress, found.notes) == (3, {"history": [3]}, [])
    for name in ("weight", "count"):
        np.testing.assert_array_equal(found.state[name], state[name])
    for name in ("key", "keys"):
        assert (found.state[name] == state[name]).all()
    other = {**template, "weight": jax.ShapeDtypeStruct((30, 8), np.float32)}
    with pytest.raises(RunError, match="its weight has another shape or type"):
        Checkpoints(tmp_path, BEGUN).restore(other)
    assert Checkpoints(tmp_path / "empty", BEGUN).restore(template) is None


def test_when_a_checkpoint_is_due(monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    saved = Checkpoints(tmp_path, BEGUN, CheckpointConfig(checkpoint_minutes=2.0))
    found = []
    for epoch in range(1, 7):
        now[0] += 50
        found.append(saved.due(epoch))
        if found[-1]:
            saved._saved_at, saved._saved = now[0], epoch
    assert found == [False, False, True, False, False, True]
    saved = Checkpoints(tmp_path, BEGUN, CheckpointConfig(checkpoint_epochs=2))
    assert [saved.due(epoch) for epoch in (1, 2, 3)] == [False, True, True]


def test_events_for_tensorboard(cli):
    """What TensorBoard reads is what stands in the other files, also after a training went on."""
    pytest.importorskip("tensorboardX")
    code, _, err = cli("train", *SETTINGS, "--epochs", "3", "--out", "run", "--tensorboard")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    events = read_events(Path("run/tensorboard"))
    for part, quantity in (("train", "loss"), ("validation", "accuracy")):
        expected = {
            line["epoch"]: line[f"{part}_{quantity}"]
            for line in lines
            if f"{part}_{quantity}" in line
        }
        assert events[f"{quantity}/{part}"] == pytest.approx(expected)


def read_events(folder: Path) -> dict[str, dict[int, float]]:
    """The scalars of an event file: records of a length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore

    (path,) = folder.iterdir()
    content, found = path.read_bytes(), {}
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_metrics_as_csv(cli):
    import csv

    cli("train", *SETTINGS, "--epochs", "2", "--out", "run")
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    with Path("run/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row, line in zip(rows, lines, strict=True):
        assert {name: float(text) for name, text in row.items() if text} == line


def test_tensorboard_that_is_not_installed(cli, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboardX" else find(name)
    )
    code, _, err = cli("train", *SETTINGS, "--out", "run", "--tensorboard")
    assert code == 2
    assert "pip install 'jaxdigits[tensorboard]'" in err
    assert not Path("run.unfinished").exists()
