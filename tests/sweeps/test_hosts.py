"""Sweeps on several hosts: processes that know each other, and jobs that do not."""

import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from helpers import finish, history, start_together, stop_after, wait_for_checkpoint

import jaxdigits as jd
from jaxdigits.cli import main
from jaxdigits.config import CheckpointConfig
from jaxdigits.environment import usable_cores
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError, StoppedError
from jaxdigits.runs.checkpoints import read_manifest, saved_chunks
from jaxdigits.sweeps.grid import make_plan
from jaxdigits.sweeps.job import train_share
from jaxdigits.sweeps.launcher import Launcher, launch, share_out

EPOCHS = 20
CONFIG = jd.TrainConfig(dataset="digits", model="linear", batch_size=256, epochs=EPOCHS)
GRID = {"learning_rate": (0.01, 0.002)}
SEEDS = 3
SWEEP = (
    *("sweep", "--dataset", "digits", "--model", "linear", "--batch-size", "256"),
    *("--epochs", str(EPOCHS), "--learning-rate", "0.01,0.002", "--seeds", str(SEEDS)),
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The sweep in this process."""
    folder = tmp_path_factory.mktemp("alone") / "sweep"
    jd.sweep(CONFIG, GRID, seeds=SEEDS, folder=folder)
    return folder


def assert_same(folder: Path, other: Path) -> None:
    """The members are the same but for rounding, and so is what the sweep found."""
    for number in range(len(GRID["learning_rate"]) * SEEDS):
        mine, theirs = (history(place / "members" / str(number)) for place in (folder, other))
        for line, expected in zip(mine, theirs, strict=True):
            assert line == pytest.approx(expected, rel=1e-3, abs=1e-5)
    ours, expected = (json.loads((place / "sweep.json").read_text()) for place in (folder, other))
    assert ours["best"] == expected["best"]
    assert ours["settings"][0]["members"] == expected["settings"][0]["members"]


def test_three_processes_of_which_one_is_killed():
    """The others say so. Resumed, another one gets a SIGTERM, and all stop after the same epoch.

    Four members: two places are filled up.
    """
    words = ("-m", "jaxdigits", *SWEEP, "--seeds", "2", "--epochs", "100000")
    processes = start_together(*words, "--checkpoint-epochs", "1", "--out", "run", processes=3)
    wait_for_checkpoint(2)
    processes[2].kill()
    killed = time.monotonic()
    ended = finish(processes)
    assert time.monotonic() - killed < 60
    sentence = "jaxdigits: another process has ended: start all of them again with --resume"
    for code, out, err in ended[:2]:
        assert (code, out) == (1, "")
        assert err.splitlines()[-1] == sentence
    assert read_manifest(Path("run.unfinished"))["devices"] == 3
    began = saved_chunks(Path("run.unfinished"))[-1]
    words = ("-m", "jaxdigits", "sweep", "--resume", "run", "--checkpoint-epochs", "1")
    processes = start_together(*words, processes=3)
    wait_for_checkpoint(began + 1)
    processes[1].send_signal(signal.SIGTERM)
    ended = finish(processes)
    assert [code for code, _, _ in ended] == [143] * 3, ended
    assert re.search(r"resuming after epoch \d+ of \d+", ended[0][2])
    stopped = re.search(r"interrupted after epoch (\d+) of \d+", ended[0][2])
    assert stopped
    assert saved_chunks(Path("run.unfinished"))[-1] == int(stopped[1]) > began


def test_resumed_by_two_processes(alone, monkeypatch):
    """In the second of three batches: both read the members of the first, and learn what was saved
    of the second."""
    words = (*SWEEP, "--members-per-batch", "2", "--out", "run")
    with monkeypatch.context() as patched:
        stop_after(patched, EPOCHS + 7)
        assert main(words) == 130
    assert len(os.listdir("run.unfinished/members")) == 2
    words = ("-m", "jaxdigits", "sweep", "--resume", "run")
    first, second = finish(start_together(*words))
    assert first[0] == second[0] == 0, (first[2], second[2])
    assert f"resuming after epoch {EPOCHS + 7} of {3 * EPOCHS}" in first[2]
    assert "6 members in" in first[1]
    assert second[1] == ""
    assert_same(Path("run"), alone)


def test_jobs_on_this_machine(cli, alone):
    """Two jobs of three members each."""
    launcher = ("--launcher", "local", "--jobs", "2", "--job-options", "timeout_min=2")
    code, out, err = cli(*SWEEP, "--out", "run", *launcher)
    assert code == 0, err
    assert err.startswith("training 6 networks in 2 jobs\n")
    assert "6 members in" in out
    assert sorted(os.listdir("run")) == ["members", "sweep.json"]
    assert_same(Path("run"), alone)
    document = json.loads(Path("run/sweep.json").read_text())
    assert document["seconds"]["train"] > 0


def test_a_job_that_fails(monkeypatch, tmp_path):
    """One sentence, with the reason and the command; the other jobs' members stay."""
    monkeypatch.setenv("JAX_PLATFORMS", "nowhere")
    launcher = Launcher("local", jobs=1, options={"timeout_min": 2})
    with pytest.raises(RunError, match=r"1 of 1 jobs failed, .*nowhere.* jaxdigits sweep --resume"):
        jd.sweep(CONFIG, GRID, folder=tmp_path / "x", launcher=launcher)
    assert (tmp_path / "x.unfinished" / "manifest.json").exists()


@pytest.fixture
def begun(monkeypatch, tmp_path) -> Path:
    """The unfinished folder of a sweep, none of whose members is trained."""

    def nothing(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("jaxdigits.sweeps.sweep.launch", nothing)
        launcher = Launcher("local", jobs=2)
        with pytest.raises(KeyboardInterrupt):
            jd.sweep(CONFIG, GRID, seeds=SEEDS, folder=tmp_path / "x", launcher=launcher)
    return tmp_path / "x.unfinished"


def test_a_share_has_its_own_checkpoints(begun, alone):
    """Stopped and resumed, it ends where it would have ended; a second job waits for the first."""
    with FileLock(begun / "jobs" / "0-of-2" / ".lock"), pytest.raises(OutputError, match="another"):
        train_share(str(begun), 0, 2)
    shutil.rmtree(begun / "jobs")  # where no job has been at work yet
    saving = CheckpointConfig(checkpoint_epochs=7)
    assert train_share(str(begun), 0, 2, saving=saving) == 3
    assert saved_chunks(begun / "jobs" / "0-of-2")[-1] == 14
    plan = make_plan(CONFIG, GRID, SEEDS)
    done, left = share_out(plan.members, 2)
    assert sorted(int(path.name) for path in (begun / "members").iterdir()) == sorted(done)
    for number in done:  # trained again, from the checkpoint
        (begun / "members" / str(number) / "run.json").unlink()
    assert train_share(str(begun), 0, 2) == 3
    for number in done:
        mine, theirs = (place / "members" / str(number) for place in (begun, alone))
        for line, expected in zip(history(mine), history(theirs), strict=True):
            assert line == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert not any((begun / "members" / str(number)).exists() for number in left)


def test_a_share_of_other_data_is_not_trained(begun, emnist_files, tmp_path, monkeypatch):
    """Those that the manifest names, from the folders that are given, and they differ."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "")
    manifest = json.loads((begun / "manifest.json").read_text())
    manifest["config"]["dataset"] = "emnist/letters"
    (begun / "manifest.json").write_text(json.dumps(manifest))
    kept = tmp_path / "kept"
    with pytest.raises(DataError, match=r"was begun on digits .* but here is emnist"):
        train_share(str(begun), 0, 2, data_dir=kept, manual_dir=emnist_files)
    assert list(kept.iterdir())
    assert not (begun / "jobs").exists()
    # As in a job, which starts with this: jax is given a device for each core.
    assert os.environ["JAX_NUM_CPU_DEVICES"] == str(usable_cores())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--launcher", "pbs"], "launcher must be slurm or local, not 'pbs'"),
        (["--launcher", "local", "--jobs", "0"], "jobs must be 1 or more, not 0"),
        (["--jobs", "2"], "--jobs and --job-options need --launcher"),
        (["--launcher", "local", "--job-options", "fast"], "takes NAME=VALUE,..., not 'fast'"),
        (
            ["--launcher", "local", "--job-options", "speed=3"],
            "the jobs cannot be started: Parameter 'speed' need to be prefixed",
        ),
        (["--launcher", "slurm"], 'the jobs cannot be started: Could not detect "srun"'),
        (["--process-id", "0"], "--processes and --process-id need --coordinator HOST:PORT"),
    ],
)
def test_wrong_settings(cli, arguments, message):
    code, out, err = cli(*SWEEP, *arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def launched(monkeypatch, job, jobs: int = 2, command: str = "again") -> None:
    """Launch a sweep of two members, of which each job does nothing but `job(work, number)`."""
    monkeypatch.setattr(
        "jaxdigits.sweeps.launcher.train_share", lambda work, number, *_, **__: job(work, number)
    )
    plan = make_plan(CONFIG, {}, 2)
    launcher = Launcher("local", jobs=jobs, options={"timeout_min": 2})
    launch(launcher, Path("work").absolute(), plan, command, show=False)


def test_jobs_that_end_and_one_that_fails(monkeypatch):
    """The last line of what it says is the reason; what is done is not done again."""

    def finished(work, number):
        folder = Path(work) / "members" / str(number)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")

    def second_fails(work, number):
        if number == 1:
            raise ValueError("first this\nthen that")
        finished(work, number)

    with pytest.raises(RunError) as failed:
        launched(monkeypatch, second_fails)
    told = re.fullmatch(
        r"1 of 2 jobs failed, the first with 'then that' \(its log is (.*)\); resume with: again",
        str(failed.value),
    )
    assert told, str(failed.value)
    assert "ValueError" in Path(told[1]).read_text()
    assert Path(told[1]).parent == Path("work/jobs/logs").absolute()
    with pytest.raises(RunError, match="1 of 1 jobs failed"):
        launched(monkeypatch, second_fails)
    launched(monkeypatch, finished)  # the second one only: of the first there is a folder
    launched(monkeypatch, lambda *_: pytest.fail("all is done"))


def test_ctrl_c_cancels_the_jobs(monkeypatch):
    """They end long before their time, and the command says how to resume."""

    def endless(work, number):
        (Path(work) / f"{number}.pid").write_text(str(os.getpid()))
        time.sleep(60)

    def interrupt():
        files = [Path(f"work/{number}.pid").absolute() for number in (0, 1)]
        while not all(file.exists() and file.read_text() for file in files):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(StoppedError, match="interrupted; resume with: again") as stopped:
            launched(monkeypatch, endless)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert stopped.value.exit_code == 130
    jobs = stopped.traceback[-1].frame.f_locals["jobs"]
    deadline = time.monotonic() + 20
    while not all(job.done() for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(job.done() for job in jobs)


def test_eight_jobs_of_slurm_unless_asked_otherwise():
    """And never more than there are members."""
    assert Launcher() == Launcher("slurm", 8, {})
    members = make_plan(CONFIG, GRID, SEEDS).members
    for jobs, sizes in ((8, [1] * 6), (4, [2, 2, 1, 1]), (1, [6])):
        assert [len(share) for share in share_out(members, jobs)] == sizes


def test_jobs_need_a_folder_and_data_by_name(digits):
    launcher = Launcher("local")
    with pytest.raises(ConfigError, match="into a folder: give one"):
        jd.sweep(CONFIG, GRID, launcher=launcher)
    splits = {name: jd.data.load("digits", name) for name in ("train", "validation", "test")}
    with pytest.raises(ConfigError, match="by its name: omit data"):
        jd.sweep(CONFIG, GRID, splits, folder="x", launcher=launcher)


def test_submitit_is_missing(monkeypatch):
    monkeypatch.setattr("jaxdigits.sweeps.launcher.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="needs submitit: pip install"):
        Launcher("slurm")
