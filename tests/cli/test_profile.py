"""`--profile` and `--dump-hlo`: what happens inside a training."""

import gzip
import json
import subprocess
import sys
from pathlib import Path


def jaxdigits(*words: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: XLA's flags are read once."""
    command = [sys.executable, "-m", "jaxdigits", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_trace_and_the_programs(tmp_path: Path) -> None:
    """The trace holds the epoch's program; its text is among those that were compiled."""
    words = ["--dataset", "digits", "--model", "linear", "--epochs", "1", "--out", tmp_path / "run"]
    inside = ["--profile", tmp_path / "trace", "--dump-hlo", tmp_path / "hlo"]
    done = jaxdigits("train", *words, *inside)
    assert done.returncode == 0, done.stderr
    (trace,) = tmp_path.glob("trace/plugins/profile/*/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))
    names = {event.get("name", "") for event in events["traceEvents"]}
    assert any("epoch" in name for name in names)
    assert list(tmp_path.glob("hlo/*jit_train_epoch*before_optimizations.txt"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """One sentence, before anything is trained."""
    (tmp_path / "file").write_text("")
    done = jaxdigits(
        *("train", "--dataset", "digits", "--model", "linear", "--epochs", "1"),
        *("--out", tmp_path / "run", "--profile", tmp_path / "file" / "trace"),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"jaxdigits: cannot write to {tmp_path}/file/trace: ")
    assert not (tmp_path / "run").exists()
