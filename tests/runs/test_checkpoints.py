"""Runs that are interrupted, and resumed."""

import json
import os
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
import safetensors
import safetensors.numpy
from helpers import notes, stop_after

import jaxdigits as jd
from jaxdigits.config import CheckpointConfig
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError, StoppedError
from jaxdigits.runs import checkpoints
from jaxdigits.runs.checkpoints import Checkpoints, read_manifest, saved_chunks
from jaxdigits.runs.fit import resume
from jaxdigits.runs.folder import RUN_FILES
from jaxdigits.runs.log import MetricsLog

COMMAND = [sys.executable, "-m", "jaxdigits", "train"]
SETTINGS = [
    *("--dataset", "digits", "--model", "mlp", "--hidden", "8", "--batch-size", "128"),
    *("--dropout", "0.2", "--ema-decay", "0.9", "--augment", "shift"),
]
LINEAR = ["--dataset", "digits", "--model", "linear", "--batch-size", "128"]
EPOCHS = 12
CONFIG = jd.TrainConfig(
    dataset="digits", model="mlp", hidden=(8,), batch_size=128, dropout=0.2, ema_decay=0.9,
    augment=("shift",), epochs=EPOCHS,
)  # fmt: skip
MANIFEST = {
    "format": checkpoints.FORMAT, "config": {"epochs": 3}, "data": {"name": "digits"},
    "grid": {"seed": [1]},
}  # fmt: skip


STATE = {"a": np.zeros(3, np.float32)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[int, Path]:
    """The folder of a run that nobody disturbed, by the number of its devices."""
    found = {}
    for devices in (1, 2):
        found[devices] = tmp_path_factory.mktemp("alone") / "run"
        jd.fit(CONFIG, folder=found[devices], devices=devices)
    return found


@pytest.fixture(scope="module")
def alone(undisturbed) -> dict[int, bytes]:
    """The parameters of that run."""
    return {devices: params(folder) for devices, folder in undisturbed.items()}


def params(folder: Path) -> bytes:
    return (folder / "params.safetensors").read_bytes()


def begin(monkeypatch, folder: Path, *, stop: int = 5, devices: int = 1) -> None:
    """A run of which checkpoints stay behind."""
    with monkeypatch.context() as patched:
        stop_after(patched, stop)
        saving = CheckpointConfig(checkpoint_epochs=1)
        with pytest.raises(StoppedError):
            jd.fit(CONFIG, folder=folder, devices=devices, saving=saving)


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
def test_it_resumes_to_the_bit(monkeypatch, notes, alone, devices):
    folder = Path("run")
    begin(monkeypatch, folder, devices=devices)
    assert saved_chunks(Path("run.unfinished")) == [3, 4, 5]
    names = ("hidden", "dropout", "epochs")
    run = resume(folder, expected=CONFIG, given=names)
    assert notes == [f"resuming after epoch 5 of {EPOCHS}"]
    assert run.devices == devices
    assert params(folder) == alone[devices]
    written = sorted(name for name in RUN_FILES if not name.endswith(".png"))
    assert sorted(path.name for path in folder.iterdir()) == written
    assert not Path("run.unfinished").exists()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(EPOCHS + 1))
    assert list(run.history) == lines
    # Once more: there is nothing left to do, and that is no error.
    again = resume(folder)
    assert "is complete: there is nothing to resume" in notes[-1]
    assert again.results == run.results
    assert jd.fit(CONFIG, folder=folder, resume=True).results == run.results


def test_a_command_that_resumes(cli, begun, alone):
    """The same settings may be given once more."""
    settings = [*SETTINGS, "--epochs", EPOCHS, "--json"]
    code, printed, err = cli("train", "--resume", begun, *settings)
    assert (code, notes(err)) == (0, f"resuming after epoch 5 of {EPOCHS}\n")
    assert params(begun) == alone[1]
    assert json.loads(printed)["devices"] == 1
    code, printed, err = cli("train", "--resume", begun, "--json")
    assert code == 0
    assert "is complete: there is nothing to resume" in err
    assert json.loads(printed)["results"]["test"]["count"] == 360


def test_from_the_start_where_there_is_nothing_to_resume(alone):
    jd.fit(CONFIG, folder="run", resume=True, devices=1)
    assert params(Path("run")) == alone[1]
    with pytest.raises(ConfigError, match="to resume a run, give its folder"):
        jd.fit(CONFIG, resume=True)


def test_killed_again_and_again(alone):
    """Where nothing was written yet it begins again; then at a random moment."""
    command = [*COMMAND, *SETTINGS, "--epochs", str(EPOCHS), "--devices", "1", "--out", "run"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until(Path("run.unfinished/manifest.json").exists)
        process.kill()
    assert not saved_chunks(Path("run.unfinished"))
    command = [*COMMAND, "--resume", "run.unfinished", "--checkpoint-epochs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: 2 in saved_chunks(Path("run.unfinished")))
        random.seed(time.time_ns())
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        _, said = process.communicate()
    assert "epoch 1 of" in said
    assert "resuming" not in said
    if Path("run.unfinished").exists():
        resume("run")
    assert params(Path("run")) == alone[1]


def wait_until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_a_signal_ends_the_epoch_and_saves():
    """It says what resumes the run, and that does, until the next signal."""
    command = [*COMMAND, *SETTINGS, "--epochs", "100000", "--out", "run"]
    for number in (signal.SIGINT, signal.SIGTERM):
        begun = lines("run.unfinished/metrics.jsonl")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda begun=begun: lines("run.unfinished/metrics.jsonl") > begun + 2)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert "finishing this epoch and saving; press again to stop now" in said
        found = re.search(r"interrupted after epoch (\d+) of 100000; resume with: (.*)\n$", said)
        assert found
        assert saved_chunks(Path("run.unfinished"))[-1] == int(found[1]) > begun
        words = shlex.split(found[2])
        assert words == ["jaxdigits", "train", "--resume", str(Path("run").absolute())]
        command = [*COMMAND, *words[2:]]


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
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
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
    jd.fit(CONFIG, folder=tmp_path / "run", devices=1)
    assert params(tmp_path / "run") == alone[1]


def test_a_short_run_writes_no_checkpoint_and_imports_nothing_for_events(python):
    code = (
        "import sys; from jaxdigits.cli import main\n"
        f"main({['train', *LINEAR, '--epochs', '1', '--out', 'run']})\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('orbax', 'tensorboardX')])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"
    written = sorted(name for name in RUN_FILES if not name.endswith(".png"))
    assert sorted(path.name for path in Path("run").iterdir()) == written


def test_what_has_got_somewhere_is_not_begun_anew(begun, alone):
    with pytest.raises(OutputError, match=f"--resume {begun}, or give --overwrite to start anew"):
        jd.fit(CONFIG, folder=begun)
    assert saved_chunks(begun.with_name("run.unfinished")) == [3, 4, 5]
    jd.fit(CONFIG, folder=begun, devices=1, overwrite=True)
    assert params(begun) == alone[1]
    assert not begun.with_name("run.unfinished").exists()


def test_a_run_without_a_name_takes_another(monkeypatch):
    begin(monkeypatch, Path("runs/digits-mlp"), stop=1)
    run = jd.fit(CONFIG.replace(epochs=0), folder="auto")
    assert run.folder == Path("runs/digits-mlp-2").absolute()
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "digits-mlp-2",
        "digits-mlp.unfinished",
    ]


def test_an_older_run_stays_until_the_new_one_is_complete(monkeypatch):
    jd.fit(CONFIG.replace(epochs=0), folder="run")
    before = params(Path("run"))
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(StoppedError, match=r"train --resume .*/run --overwrite$"):
            jd.fit(CONFIG, folder="run", overwrite=True)
    with pytest.raises(OutputError, match="is taken; choose another --out, or give --overwrite"):
        resume("run")
    assert params(Path("run")) == before
    resume("run", overwrite=True)
    assert params(Path("run")) != before


def newest(run: Path) -> Path:
    return run.with_name("run.unfinished") / "checkpoints" / "5.safetensors"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """A bit in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def edit(path: Path, **changes: object) -> None:
    """Write another document into a checkpoint."""
    with safetensors.safe_open(path, "numpy") as file:
        document = json.loads(file.metadata()["document"])
    text = json.dumps({**document, **changes})
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path, {"document": text})


def other_config(path: Path) -> None:
    edit(path, config={"epochs": 4})


def other_history(path: Path) -> None:
    edit(path, progress={"history": [3]})


def other_data(path: Path) -> None:
    edit(path, data={"name": "mnist"})


def other_grid(path: Path) -> None:
    edit(path, grid={"seed": [2]})


def other_sum(path: Path) -> None:
    edit(path, sha256="0" * 64)


def no_document(path: Path) -> None:
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "cannot be read: .*"),
        (flip, "cannot be read: its checksum differs"),
        (empty, "cannot be read: .*"),
        (other_config, "is of another run: its epochs is 4, not 3"),
        (other_data, "is of another run: its name is mnist, not digits"),
        (other_grid, r"is of another run: its seed is \[2\], not \[1\]"),
        (other_history, "cannot be read: its checksum differs"),
        (other_sum, "cannot be read: its checksum differs"),
        (no_document, "cannot be read: .*"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, message):
    saved = Checkpoints(tmp_path, MANIFEST)
    states = {epoch: {"a": np.full((300, 300), epoch / 7, np.float32)} for epoch in (1, 2)}
    for epoch, state in states.items():
        saved.save(epoch, state, {"history": []})
    saved.close()
    damage(tmp_path / "checkpoints" / "2.safetensors")
    again = Checkpoints(tmp_path, MANIFEST)
    found = again.restore(states[1])
    assert found is not None
    assert found.chunk == 1
    np.testing.assert_array_equal(found.state["a"], states[1]["a"])
    (sentence,) = found.notes
    assert re.fullmatch(f"{tmp_path}/checkpoints/2.safetensors {message}", sentence)
    # Its place is free, and it is not gone.
    assert saved_chunks(tmp_path) == [1]
    assert list((tmp_path / "checkpoints").glob("damaged-2-*"))
    again.save(2, states[2], {})
    again.close()
    assert saved_chunks(tmp_path) == [1, 2]


def test_resuming_from_an_older_checkpoint(notes, begun, alone):
    truncate(newest(begun))
    resume(begun, saving=CheckpointConfig(checkpoint_epochs=1))
    first, second = notes
    assert first.startswith(f"{newest(begun)} cannot be read: ")
    assert first.endswith("; resuming from the checkpoint before it")
    assert second == f"resuming after epoch 4 of {EPOCHS}"
    assert params(begun) == alone[1]


def test_no_checkpoint_is_whole(begun):
    for epoch in (3, 4, 5):
        truncate(newest(begun).with_name(f"{epoch}.safetensors"))
    with pytest.raises(RunError, match="no older checkpoint can be used: train it again") as error:
        resume(begun)
    assert "\n" not in str(error.value)
    assert saved_chunks(begun.with_name("run.unfinished")) == [3, 4, 5]


def test_a_newer_format(begun):
    newer = checkpoints.FORMAT + 1
    message = rf"was written by a newer jaxdigits \(format {newer}\): upgrade"
    edit(newest(begun), format=newer)
    with pytest.raises(RunError, match=message):
        resume(begun)
    path = begun.with_name("run.unfinished") / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": newer}))
    with pytest.raises(RunError, match=message):
        resume(begun)


def test_a_run_that_an_older_version_has_begun():
    """Its checkpoints are folders, and its manifest had another name."""
    Path("run.unfinished/checkpoints/3/state").mkdir(parents=True)
    Path("run.unfinished/begun.json").write_text('{"format": 1, "config": {}}')
    for again in (lambda: resume("run"), lambda: jd.fit(CONFIG, folder="run", resume=True)):
        with pytest.raises(RunError, match=r"was begun by an older jaxdigits, .*: train it again"):
            again()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0.1"], "was begun with learning_rate 0.005, not 0.1"),
        (["--epochs=3"], f"was begun with epochs {EPOCHS}, not 3"),
        (["--model", "linear"], "was begun with model mlp, not linear"),
        (["--ema-decay", "0"], "was begun with ema_decay 0.9, not 0.0"),
        (["--dataset", "mnist"], "was begun with dataset digits, not mnist"),
        (["--out", "elsewhere"], "--resume names the folder: omit --out and --from"),
        (["--from", "digits"], "--resume names the folder: omit --out and --from"),
        (["--stream"], "was begun without --stream, and can only be resumed so"),
        (["--checkpoint-epochs", "0"], "checkpoint_epochs must be 1 or more, not 0"),
        (["--checkpoint-minutes", "-1"], "checkpoint_minutes must be a number of 0 or more"),
        (["--keep-checkpoints", "0"], "keep_checkpoints must be 1 or more, not 0"),
    ],
)
def test_other_settings_are_refused(cli, begun, arguments, message):
    code, out, err = cli("train", "--resume", begun, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert saved_chunks(begun.with_name("run.unfinished")) == [3, 4, 5]


def test_a_run_is_no_sweep(cli, begun):
    code, out, err = cli("sweep", "--resume", begun)
    assert (code, out) == (2, "")
    assert f"is no sweep: resume it with `jaxdigits train --resume {begun}`" in err
    code, out, err = cli("sweep", "--resume", begun, "--out", "elsewhere")
    assert (code, out) == (2, "")
    assert "--resume names the folder: omit --out" in err


def test_nothing_to_resume():
    for name in ("nowhere", "."):
        with pytest.raises(RunError, match="there is no run to resume in"):
            resume(name)
    Path("x.unfinished").mkdir()
    for content in ("{", "[]", "{}", f'{{"format": {checkpoints.FORMAT}}}'):
        Path("x.unfinished/manifest.json").write_text(content)
        with pytest.raises(RunError, match=r"manifest\.json is damaged"):
            resume("x")


def test_other_data_are_refused(monkeypatch, emnist_files):
    from helpers import emnist_arrays, write_emnist

    config = jd.TrainConfig(dataset="emnist/letters", model="linear", epochs=3)
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(StoppedError, match=f"--manual-dir {emnist_files}"):
            jd.fit(config, folder="run", manual_dir=emnist_files)
    write_emnist(Path("other"), train_images=emnist_arrays()["train-images"][::-1])
    with pytest.raises(DataError, match="the run was begun on emnist/letters"):
        resume("run", data_dir="elsewhere", manual_dir="other")
    assert resume("run", manual_dir=emnist_files).folder == Path("run").absolute()


def test_other_devices_and_versions_are_told(notes, begun):
    folder = begun.with_name("run.unfinished")
    document = read_manifest(folder)
    (folder / "manifest.json").write_text(json.dumps({**document, "devices": 64}))
    with pytest.raises(ConfigError, match="was begun on 64 devices, here are 2: give --devices 2"):
        resume(begun)
    document["versions"]["jax"] = "0.0.1"
    (folder / "manifest.json").write_text(json.dumps(document))
    resume(begun, devices=2)
    assert "begun on 1 devices, now 2: the result may differ in rounding" in notes
    assert any("jax is 0.0.1, not" in note for note in notes)


def test_a_full_disk_does_not_end_the_run(python):
    """Files may not grow beyond a limit that the checkpoints exceed, and all else keeps."""
    command = [*COMMAND, *LINEAR, "--epochs", "2", "--checkpoint-epochs", "1", "--out", "run"]
    code = (
        "import resource, signal, sys; from jaxdigits.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))\n"
        f"sys.exit(main({command[3:]}))"
    )
    # Compiled programs are files as well, which could be too large.
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = python("-c", code, env=environment)
    assert done.returncode == 0, done.stderr
    lines = notes(done.stderr).splitlines()
    assert lines
    for note in lines:
        assert re.search("the checkpoint of epoch [12] cannot be written: .*; training cont", note)
    assert Path("run/params.safetensors").exists()


def test_a_folder_that_became_read_only(read_only):
    """A write that is refused is one sentence; what is there stays."""
    saved = Checkpoints(read_only / "x", MANIFEST)
    saved.save(1, {"a": np.zeros(3)}, {})
    with pytest.raises(OutputError, match=r"checkpoint of epoch 1 cannot be written: .*denied"):
        saved.wait()


def test_the_state_comes_back_to_the_bit(tmp_path):
    state = {
        "weight": jax.random.normal(jax.random.key(0), (30, 7)),
        "key": jax.random.key(5),
        "keys": jax.random.split(jax.random.key(6), 3),
        "count": np.array(4, np.int32),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "none": None,
    }
    saved = Checkpoints(tmp_path, MANIFEST, CheckpointConfig(keep_checkpoints=2))
    for epoch in (1, 2, 3):
        saved.save(epoch, jax.tree.map(lambda leaf: leaf, state), {"history": [epoch]})
    saved.close()
    assert saved_chunks(tmp_path) == [2, 3]
    template = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, state))
    found = Checkpoints(tmp_path, MANIFEST).restore(template)
    assert found is not None
    assert (found.chunk, found.progress, found.notes) == (3, {"history": [3]}, [])
    for name in ("weight", "count", "turned"):
        np.testing.assert_array_equal(found.state[name], state[name])
    for name in ("key", "keys"):
        assert (found.state[name] == state[name]).all()
    other = {**template, "weight": jax.ShapeDtypeStruct((30, 8), np.float32)}
    with pytest.raises(RunError, match="its weight has another shape or type"):
        Checkpoints(tmp_path, MANIFEST).restore(other)
    assert Checkpoints(tmp_path / "empty", MANIFEST).restore(template) is None


def test_when_a_checkpoint_is_due(monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    saved = Checkpoints(tmp_path, MANIFEST, CheckpointConfig(checkpoint_minutes=2.0))
    found = []
    for epoch in range(1, 7):
        now[0] += 50
        found.append(saved.due(epoch))
        if found[-1]:
            saved.save(epoch, STATE, {})
    saved.close()
    assert found == [False, False, True, False, False, True]
    for later, due in ((119.5, False), (120.0, True), (200.0, True)):
        now[0] = 300 + later
        assert saved.due(7) == due


def test_a_checkpoint_is_due_so_many_epochs_after_the_last(tmp_path):
    """Also after the one that was resumed from."""
    saved = Checkpoints(tmp_path, MANIFEST, CheckpointConfig(checkpoint_epochs=2))
    assert [saved.due(epoch) for epoch in (1, 2, 3)] == [False, True, True]
    saved.save(3, STATE, {})
    saved.close()
    again = Checkpoints(tmp_path, MANIFEST, CheckpointConfig(checkpoint_epochs=2))
    assert again.restore(STATE) is not None
    for each in (saved, again):
        assert [each.due(epoch) for epoch in (4, 5, 6)] == [False, True, True]


def test_parts_of_epochs_make_whole_ones(tmp_path):
    """Of three chunks each, so that two epochs are six."""
    saving = CheckpointConfig(checkpoint_epochs=2)
    saved = Checkpoints(tmp_path, {**MANIFEST, "chunks_per_epoch": 3}, saving)
    assert [saved.due(chunk) for chunk in range(4, 9)] == [False, False, True, True, True]
    saved.close()


def test_checkpoints_after_one(tmp_path):
    """Earlier ones, and that itself, are none of the later run."""
    saved = Checkpoints(tmp_path, MANIFEST)
    for chunk in (1, 10, 9):
        saved.save(chunk, STATE, {})
    saved.close()
    assert saved.saved() == [1, 9, 10]
    assert (saved.saved(1), saved.saved(9), saved.saved(10)) == ([9, 10], [10], [])
    again = Checkpoints(tmp_path, MANIFEST)
    assert again.restore(STATE, 10) is None
    truncate(tmp_path / "checkpoints" / "10.safetensors")
    truncate(tmp_path / "checkpoints" / "9.safetensors")
    with pytest.raises(RunError, match=r"10\.safetensors cannot be read: .*; no older checkpoint"):
        again.restore(STATE, 1)
    found = again.restore(STATE)
    assert found is not None
    assert found.chunk == 1
    assert [Path(note.split()[0]).stem for note in found.notes] == ["10", "9"]


def test_the_formats_that_are_written(begun):
    """Readers of other versions go by these numbers: raise one if older readers cannot read on."""
    unfinished = begun.with_name("run.unfinished")
    assert json.loads((unfinished / "manifest.json").read_text())["format"] == 2
    with safetensors.safe_open(newest(begun), "numpy") as file:
        assert json.loads(file.metadata()["document"])["format"] == 2
    resume(begun)
    assert json.loads((begun / "run.json").read_text())["format"] == 4


def test_what_is_not_a_number_is_not_written(tmp_path):
    """Not every reader of JSON could read it."""
    saved = Checkpoints(tmp_path, MANIFEST)
    with pytest.raises(ValueError, match="not JSON compliant"):
        saved.save(1, STATE, {"seconds": float("nan")})
    assert saved_chunks(tmp_path) == []
    with MetricsLog(tmp_path) as log, pytest.raises(ValueError, match="not JSON compliant"):
        log.write({"epoch": 0, "validation_loss": float("inf")})
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_log_can_be_read_while_it_is_written(tmp_path):
    """Also a line that was there before; what is no number is empty in CSV."""
    first = {"epoch": 0, "validation_loss": None, "validation_accuracy": 0.125}
    second = {"epoch": 1, "train_loss": 2.5, "train_accuracy": 0.5, "seconds": 0.25}
    with MetricsLog(tmp_path, [first]) as log:
        log.write(second)
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [first, second]
        rows = (tmp_path / "metrics.csv").read_text().splitlines()
        assert rows[1:] == ["0,,,,0.125,", "1,2.5,0.5,,,0.25"]


def test_events_for_tensorboard(monkeypatch):
    """What TensorBoard reads is what stands in the other files, also of a resumed run."""
    pytest.importorskip("tensorboardX")
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(StoppedError, match="--tensorboard"):
            jd.fit(CONFIG, folder="run", tensorboard=True)
    resume("run", tensorboard=True)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    events = read_events(Path("run/tensorboard"))
    for split, quantity in (("train", "loss"), ("validation", "accuracy")):
        expected = {
            line["epoch"]: line[f"{split}_{quantity}"]
            for line in lines
            if f"{split}_{quantity}" in line
        }
        assert events[f"{quantity}/{split}"] == pytest.approx(expected)


def test_events_of_a_loss_that_is_no_number(tmp_path):
    """There are none; and those of a log before this one are gone."""
    pytest.importorskip("tensorboardX")
    line = {"epoch": 1, "train_loss": None, "train_accuracy": 0.5, "validation_loss": 0.25}
    for _ in range(2):
        with MetricsLog(tmp_path, [{"epoch": 0, "seconds": 2.0}], tensorboard=True) as log:
            log.write(line)
        found = read_events(tmp_path / "tensorboard")
        assert found == {"accuracy/train": {1: 0.5}, "loss/validation": {1: 0.25}}


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


def test_a_checksum_is_of_names_and_shapes_too():
    """Arrays of the same bytes, otherwise arranged, are others."""
    ones, twos = np.ones(4, np.float32), np.full(4, 2, np.float32)
    alike = (
        {"a": ones, "b": twos},
        {"a": ones, "c": twos},
        {"a": ones.reshape(2, 2), "b": twos},
        {"a": ones.view(np.int32), "b": twos},
        {"a": np.concatenate([ones, twos])},
    )
    assert len({checkpoints._digest(arrays, {}) for arrays in alike}) == len(alike)
    assert checkpoints._digest(alike[0], {"epoch": 1}) != checkpoints._digest(alike[0], {})


def test_metrics_as_csv(undisturbed):
    import csv

    folder = undisturbed[1]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert b"\r" not in (folder / "metrics.csv").read_bytes()
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + EPOCHS
    for row, line in zip(rows, lines, strict=True):
        assert {name: float(text) for name, text in row.items() if text} == line


def test_tensorboard_that_is_not_installed(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboardX" else find(name)
    )
    with pytest.raises(ConfigError, match=r"pip install 'jaxdigits\[tensorboard\]'"):
        jd.fit(CONFIG, folder="run", tensorboard=True)
    assert not Path("run.unfinished").exists()
