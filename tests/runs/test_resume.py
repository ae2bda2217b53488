"""The checkpoint hook alone, and what a resumed run must match."""

import os
import signal
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.config import CheckpointConfig
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError, OutputError, RunError, StoppedError
from jaxdigits.files import atomic_write
from jaxdigits.runs import checkpoints, multihost
from jaxdigits.runs.checkpoints import Checkpoints, saved_chunks
from jaxdigits.runs.resume import (
    CheckpointHook,
    drop_checkpoints,
    final_of,
    find_manifest,
    manifest_config,
    resumable,
    resume_command,
    resumed_devices,
)

MANIFEST = {"format": checkpoints.FORMAT, "config": {"epochs": 3}, "data": {"name": "digits"}}
STATE = {"a": np.arange(3, dtype=np.float32)}
OFTEN = CheckpointConfig(checkpoint_epochs=1)
NEVER = CheckpointConfig(checkpoint_minutes=1e9)


@pytest.fixture
def full_disk(tmp_path, monkeypatch) -> Path:
    """A folder where nothing can be written once it is used."""
    folder = tmp_path / "full"
    folder.mkdir()

    def write(path):
        raise OutputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(checkpoints, "atomic_write", write)
    return folder


@pytest.mark.parametrize(
    ("manifest", "unit"),
    [
        ({}, "epoch"),
        ({"chunks_per_epoch": 1}, "epoch"),
        ({"chunks_per_epoch": 2}, "part of an epoch"),
    ],
)
def test_a_signal_is_answered(tmp_path, capfd, manifest, unit):
    """The answer says what is waited for."""
    with CheckpointHook(tmp_path, {**MANIFEST, **manifest}, NEVER, "again") as hook:
        hook.catch_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        said, deadline = "", time.monotonic() + 30
        while not said.endswith("now\n") and time.monotonic() < deadline:
            time.sleep(0.001)
            said += capfd.readouterr().err
        whole = 2 * manifest.get("chunks_per_epoch", 1)
        sentence = "^interrupted after epoch 1 of 2; resume with: again$"
        with pytest.raises(StoppedError, match=sentence) as stopped:
            hook.after_chunk(whole // 2, whole, STATE, {})
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert saved_chunks(tmp_path) == [whole // 2]
    assert said == f"\njaxdigits: finishing this {unit} and saving; press again to stop now\n"


def test_signals_are_caught_where_there_is_something_to_save(tmp_path, monkeypatch):
    """Without a folder Ctrl-C ends a run at once, unless other processes take part in it."""
    before = signal.getsignal(signal.SIGINT)
    with CheckpointHook() as hook:
        hook.catch_signals()
        assert signal.getsignal(signal.SIGINT) is before
    with CheckpointHook(tmp_path, MANIFEST) as hook:
        assert signal.getsignal(signal.SIGINT) is before
        for _ in range(2):  # a sweep asks once for each batch of members
            hook.catch_signals()
            assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with CheckpointHook() as hook:
        hook.catch_signals()
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_the_end_waits_for_what_is_being_written(tmp_path, monkeypatch):
    told = threading.Event()

    def slow(path):
        assert told.wait(60)
        return atomic_write(path)

    monkeypatch.setattr(checkpoints, "atomic_write", slow)
    with CheckpointHook(tmp_path, MANIFEST, OFTEN) as hook:
        hook.after_chunk(1, 3, STATE, {})
        assert saved_chunks(tmp_path) == []
        threading.Timer(0.05, told.set).start()
    assert saved_chunks(tmp_path) == [1]


def test_nothing_is_saved_before_it_is_due(tmp_path):
    with CheckpointHook(tmp_path, MANIFEST, CheckpointConfig(checkpoint_epochs=2)) as hook:
        for chunk in (1, 2, 3):
            hook.after_chunk(chunk, 3, STATE, {})
    assert saved_chunks(tmp_path) == [2]


def test_a_state_is_gathered_once_and_where_it_is_saved(tmp_path, monkeypatch):
    """All processes take part in that, so each of them has to know when."""
    gathered = []

    def gather(state):
        gathered.append(state)
        return {"a": state["a"] + 1}

    monkeypatch.setattr(multihost, "gather", gather)
    with CheckpointHook(tmp_path, MANIFEST, CheckpointConfig(checkpoint_epochs=2)) as hook:
        hook.after_chunk(1, 9, STATE, {})
        assert gathered == []
        hook.after_chunk(2, 9, STATE, {})
        assert len(gathered) == 1
        hook._interrupts.received = signal.SIGINT
        with pytest.raises(StoppedError):
            hook.after_chunk(4, 9, STATE, {})
        assert len(gathered) == 2
        found = hook.restore(lambda: STATE, 3)
        assert found is not None
        np.testing.assert_array_equal(found.state["a"], STATE["a"] + 1)
    assert saved_chunks(tmp_path) == [2, 4]
    with CheckpointHook() as hook:
        hook.save(4, STATE, {})
    assert len(gathered) == 3


def test_a_checkpoint_that_failed_is_told_after_the_next_epoch(full_disk, notes):
    """Also if none is due then; and the run continues."""
    with CheckpointHook(full_disk, MANIFEST, CheckpointConfig(checkpoint_epochs=2)) as hook:
        hook.after_chunk(2, 9, STATE, {})
        assert hook._checkpoints is not None
        assert hook._checkpoints._pending is not None
        hook._checkpoints._pending.exception(60)  # until it is known
        assert notes == []
        hook.after_chunk(3, 9, STATE, {})
        (note,) = notes
        hook.after_chunk(3, 9, STATE, {})
    assert notes == [note]
    assert note.startswith("the checkpoint of epoch 2 cannot be written: cannot write ")
    assert note.endswith("No space left on device; training continues, older checkpoints stay")


def test_a_failed_checkpoint_is_told_by_the_next_one(full_disk):
    saved = Checkpoints(full_disk, MANIFEST)
    saved.save(1, STATE, {})
    with pytest.raises(OutputError, match="the checkpoint of epoch 1 cannot be written"):
        saved.save(2, STATE, {})
    saved.close()


def test_where_the_last_state_cannot_be_saved(full_disk):
    """The command resumes from an older checkpoint."""
    sentence = "epoch 5 cannot be written: .*; resume from an older one with: once more$"
    with CheckpointHook(full_disk, MANIFEST, NEVER, "once more") as hook:
        with pytest.raises(OutputError, match=sentence):
            hook.save(5, STATE, {})
        hook._interrupts.received = signal.SIGINT
        with pytest.raises(OutputError, match=sentence):
            hook.after_chunk(5, 9, STATE, {})


def test_a_hook_without_a_folder_saves_nothing():
    with CheckpointHook(None, {"chunks_per_epoch": 3}) as hook:
        assert hook.restore(dict) is None
        hook.after_chunk(1, 3, STATE, {})
        hook.save(1, STATE, {})
        assert hook.epochs(7) == "7"
        hook._interrupts.received = signal.SIGTERM  # as where another process has a folder
        hook.after_chunk(3, 3, STATE, {})
        with pytest.raises(StoppedError, match="stopped with the first process") as stopped:
            hook.after_chunk(2, 3, STATE, {})
    assert stopped.value.exit_code == 143
    assert list(Path().iterdir()) == []


def test_what_is_restored(tmp_path):
    """The newest checkpoint after a chunk; without one the state's shapes are not asked for."""
    with CheckpointHook(tmp_path, MANIFEST, OFTEN) as hook:
        for chunk in (1, 2):
            hook.save(chunk, {"a": STATE["a"] + chunk}, {"chunk": chunk})
    with CheckpointHook(tmp_path, MANIFEST) as hook:
        for after in (0, 1):
            found = hook.restore(lambda: STATE, after)
            assert found is not None
            assert (found.chunk, found.progress) == (2, {"chunk": 2})
            np.testing.assert_array_equal(found.state["a"], [2, 3, 4])
        assert hook.restore(lambda: pytest.fail("asked for"), 2) is None
    (tmp_path / "checkpoints" / "2.safetensors").unlink()
    with CheckpointHook(tmp_path, MANIFEST) as hook:
        found = hook.restore(lambda: STATE)
    assert found is not None
    assert found.chunk == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_checkpoint_is_read_by_the_first_process(tmp_path, monkeypatch, first):
    """The others get its arrays and its history; they tell but the shapes of theirs."""
    state = {"a": np.arange(3, dtype=np.float32), "key": jax.random.key(5)}
    with CheckpointHook(tmp_path, MANIFEST, OFTEN) as hook:
        hook.save(2, state, {"history": [7]})
    told = []

    def from_primary(given):
        told.append(given)
        if isinstance(given, dict) and "a" in given:
            return {"a": np.array([0, 1, 2], np.float32), "key": np.array([0, 5], np.uint32)}
        return {"history": [7]}

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost, "max_over_processes", lambda number: [max(number, 2)])
    monkeypatch.setattr(multihost, "broadcast_from_primary", from_primary)
    monkeypatch.setattr(multihost, "document_from_primary", from_primary)
    with CheckpointHook(tmp_path if first else None, MANIFEST) as hook:
        found = hook.restore(lambda: state)
    assert found is not None
    assert (found.chunk, found.progress, found.notes) == (2, {"history": [7]}, [])
    np.testing.assert_array_equal(found.state["a"], [0, 1, 2])
    assert jax.random.key_data(found.state["key"]).tolist() == [0, 5]
    arrays, progress = told
    assert progress == ({"history": [7]} if first else None)
    assert arrays["a"].tolist() == ([0, 1, 2] if first else [0, 0, 0])
    assert {name: (x.shape, x.dtype) for name, x in arrays.items()} == {
        "a": ((3,), np.float32), "key": ((2,), np.uint32),
    }  # fmt: skip


def test_no_process_has_a_checkpoint(monkeypatch):
    """Then nothing is handed on, however many processes there are."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost, "max_over_processes", lambda number: [number])
    with CheckpointHook() as hook:
        assert hook.restore(lambda: pytest.fail("asked for")) is None


def test_parts_of_epochs_in_words(tmp_path):
    saved = Checkpoints(tmp_path, {**MANIFEST, "chunks_per_epoch": 3})
    assert [saved.epochs(chunk) for chunk in (0, 1, 3, 5)] == ["0", "0.33", "1", "1.67"]
    saved.close()


def test_what_is_left_of_checkpoints_is_dropped(tmp_path):
    """Also of an older version, and where there is nothing."""
    drop_checkpoints(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for name in ("checkpoints/3.safetensors", "manifest.json", "begun.json", "run.json"):
        (tmp_path / name).touch()
    drop_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_complete_run_needs_no_checkpoints(tmp_path, notes):
    """As where the process was killed between two renames."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("checkpoints/3.safetensors", "manifest.json", "run.json"):
        (run / name).touch()
    for name in ("run", "run.unfinished"):
        assert find_manifest("train", tmp_path / name, "run.json") == (run, None)
    assert notes == [f"{run} is complete: there is nothing to resume"] * 2
    assert [path.name for path in run.iterdir()] == ["run.json"]


def test_the_folder_of_a_run(tmp_path):
    """Absolute, with or without the ending of an unfinished one; that alone is a name like any."""
    assert final_of(Path("x.unfinished")) == final_of(Path("x")) == Path("x").absolute()
    for name in ("/", "/x/.unfinished", "/x/unfinished", "/x/a.unfinished.txt"):
        assert final_of(Path(name)) == Path(name)
    assert not resumable(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "damaged-1.safetensors").touch()
    assert not resumable(tmp_path)
    (tmp_path / "checkpoints" / "1.safetensors").touch()
    assert resumable(tmp_path)


@pytest.mark.parametrize(
    ("options", "flags", "words"),
    [
        ({}, (), ""),
        ({"--data-dir": "here"}, ("--overwrite",), " --overwrite --data-dir {cwd}/here"),
        ({"--data-dir": None, "--manual-dir": Path("/x y")}, (), " --manual-dir '/x y'"),
    ],
)
def test_the_command_that_resumes(options, flags, words):
    """From any folder, so paths are absolute."""
    found = resume_command("sweep", Path("/runs/x"), options, *flags)
    assert found == "jaxdigits sweep --resume /runs/x" + words.format(cwd=Path.cwd())


def test_devices_of_a_resumed_run(notes):
    """Those of before, if there are as many; there are two here."""
    versions = environment()["versions"]
    for before in (1, 2):
        manifest = {"devices": before, "versions": versions}
        assert resumed_devices(manifest, None) == resumed_devices(manifest, before) == before
    assert notes == []
    assert resumed_devices({"devices": 3, "versions": versions}, 2) == 2
    assert notes == ["begun on 3 devices, now 2: the result may differ in rounding"]
    sentence = "was begun on 3 devices, here are 2: give --devices 2 to resume"
    with pytest.raises(ConfigError, match=sentence):
        resumed_devices({"devices": 3, "versions": versions}, None)


def test_settings_that_must_be_the_same(tmp_path):
    """Those that were given; a folder of data by any of its names."""
    write = {"config": jd.TrainConfig(dataset=str(tmp_path), epochs=4).as_dict()}
    config = jd.TrainConfig(dataset=os.path.relpath(tmp_path), epochs=5)
    assert manifest_config(write, tmp_path, config, ["dataset", "seed"]).epochs == 4
    with pytest.raises(ConfigError, match=f"^the run in {tmp_path} was begun with epochs 4, not 5"):
        manifest_config(write, tmp_path, config, ["dataset", "epochs"])
    with pytest.raises(ConfigError, match="was begun with epochs 4, not 5"):  # by their names
        manifest_config(write, tmp_path, config.replace(seed=7), ["seed", "epochs"])
    for damaged in ({}, {"config": {"epochs": -1}}, {"config": {"epoch": 1}}):
        with pytest.raises(RunError, match=r"manifest\.json is damaged: .*; train it again$"):
            manifest_config(damaged, tmp_path, config, [])


def test_the_root_of_all_folders_holds_no_run():
    """It has no name, to which something could be added."""
    with pytest.raises(RunError, match=r"no run to resume in .*\.unfinished"):
        find_manifest("train", Path("/"), "run.json")
