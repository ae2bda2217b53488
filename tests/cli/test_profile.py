"""`--profile` and `--dump-hlo`: what happens inside a training."""

import gzip
import json
from pathlib import Path


def test_a_trace_and_the_programs(tmp_path: Path, python) -> None:
    """The trace holds the epoch's program; its text is among those that were compiled."""
    words = ["--dataset", "digits", "--model", "linear", "--epochs", "1", "--out", tmp_path / "run"]
    inside = ["--profile", tmp_path / "trace", "--dump-hlo", tmp_path / "hlo"]
    done = python("-m", "jaxdigits", "train", *map(str, [*words, *inside]))
    assert done.returncode == 0, done.stderr
    (trace,) = tmp_path.glob("trace/plugins/profile/*/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))
    names = {event.get("name", "") for event in events["traceEvents"]}
    assert any("epoch" in name for name in names)
    assert list(tmp_path.glob("hlo/*jit_train_epoch*before_optimizations.txt"))


def test_a_folder_that_cannot_be_made(tmp_path: Path, python) -> None:
    """One sentence, before anything is trained."""
    (tmp_path / "file").write_text("")
    words = ["--dataset", "digits", "--model", "linear", "--epochs", "1"]
    done = python(
        *("-m", "jaxdigits", "train", *words, "--out", str(tmp_path / "run")),
        *("--profile", str(tmp_path / "file" / "trace")),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"jaxdigits: cannot write to {tmp_path}/file/trace: ")
    assert not (tmp_path / "run").exists()
