"""Is what is killed again and again the same in the end?

    python experiments/kills.py                             # 200 kills, 40 of each kind
    python experiments/kills.py --kinds sweep --kills 60    # 20 more of one kind

What is written so far stays: a second call adds what is missing.

A training run on the digits inside, a sweep, a run whose images stay on the disk, a run by two
processes, and a sweep by four write a checkpoint after each epoch. Their processes are killed
(SIGKILL; of several one or more) at a random moment of their lives, from the import of Python's
modules to the drawing of the pictures, and resumed; where nothing had begun, the first command is
given again. When all is complete, the bytes of the parameters, and all metrics but the times, are
compared with those of an undisturbed run, and the next one begins, with another seed. A process
that is left alone by the others is to end by itself within a minute; one that has not met them yet,
for whom jax waits five minutes, is killed too. Expect an hour on two CPU cores.
"""

import argparse
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from commands import rows_before
from tabulate import tabulate

from jaxdigits.environment import environment
from jaxdigits.files import unfinished, write_json
from jaxdigits.runs.checkpoints import MANIFEST_FILE, saved_chunks

RESULTS = Path(__file__).parent / "results"
_PATIENCE = 60.0  # seconds in which a process without the other ends

_DATA = ("--dataset", "digits", "--model", "mlp", "--epochs", "60")
_MORE = ("--dropout", "0.2", "--ema-decay", "0.9", "--augment", "shift")
_SWEEP = ("sweep", *_DATA, "--hidden", "16,24", "--seeds", "2")
_FEW = ("--epochs", "12")  # of several processes each takes longer
KINDS = {
    "train": (1, "train", *_DATA, *_MORE),
    "sweep": (1, *_SWEEP),
    "stream": (1, "train", *_DATA, *_MORE, "--stream"),
    "two processes": (2, "train", *_DATA, "--dropout", "0.2", *_FEW),
    "sweep by four processes": (4, *_SWEEP, *_FEW),
}
"""The number of processes, and the command, which its first word resumes."""

COLUMNS = ("kills", "resumed from a checkpoint", "runs or sweeps", "the same bytes in the end")


def start(words: list[str], processes: int) -> list[subprocess.Popen[str]]:
    """Start a command, in one process or in several that meet on this machine."""
    command = [sys.executable, "-m", "jaxdigits", *words]
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    if processes == 1:
        return [subprocess.Popen(command, **options)]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{found.getsockname()[1]}"
    together = ["--coordinator", place, "--processes", str(processes), "--process-id"]
    alone = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    return [
        subprocess.Popen([*command, *together, str(number)], env=alone, **options)
        for number in range(processes)
    ]


def run(words: list[str], processes: int, seconds: float | None = None) -> bool:
    """Run a command; whether it ended by itself, or was killed after some seconds."""
    started = start(words, processes)
    try:
        for process in started:
            process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        for process in random.sample(started, random.randint(1, processes)):
            process.kill()
        end = time.monotonic() + _PATIENCE
        for process in started:
            try:
                process.communicate(timeout=max(end - time.monotonic(), 1))
            except subprocess.TimeoutExpired:
                process.kill()
                if "Gloo" in process.communicate()[1]:  # which it says when it has met the others
                    sys.exit(f"{' '.join(words)}: a process hangs after another was killed")
        return False
    for process in started:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{' '.join(words)} ended with {process.returncode}: {errors}")
    return True


def digest(folder: Path) -> str:
    """Hash the bytes of the parameters in a folder, and the metrics without the times."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("params.safetensors")):
        found.update(path.read_bytes())
    for path in sorted(folder.rglob("metrics.jsonl")):
        for line in map(json.loads, path.read_text().splitlines()):
            found.update(repr({k: v for k, v in line.items() if k != "seconds"}).encode())
    return found.hexdigest()


def kill(row: dict[str, Any], kills: int, folder: Path) -> None:
    """Kill a run, `kills` times in all, and resume it until it is complete; add to a row."""
    kind, number = row["what"], row["runs or sweeps"]
    processes, *command = KINDS[kind]
    random.seed(f"{kind} {number}")
    settings = [*command, "--seed", str(number)]
    alone, out = (folder / f"{name} {kind} {number}" for name in ("alone", "killed"))
    launched = time.monotonic()
    run([*settings, "--out", str(alone)], processes)
    life = time.monotonic() - launched
    killed, resumed, done = row["kills"], 0, False
    while not done:
        begun = (unfinished(out) / MANIFEST_FILE).exists() or out.exists()
        again = [settings[0], "--resume", str(out)] if begun else [*settings, "--out", str(out)]
        seconds = random.uniform(0.0, 1.5 * life) if killed < kills else None
        resumed += begun
        done = run([*again, "--checkpoint-epochs", "1"], processes, seconds)
        killed += not done
        epochs = saved_chunks(unfinished(out))[-1:]
        print(f"{kind}: kill {killed}, run {number}, checkpoints up to {epochs}", flush=True)
    row["kills"] = killed
    row["resumed from a checkpoint"] += resumed
    row["runs or sweeps"] += 1
    row["the same bytes in the end"] += digest(out) == digest(alone)


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description="Killed and resumed.")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--kills", type=int, default=40, help="of each kind")
    parser.add_argument("--again", action="store_true", help="forget earlier kills of these kinds")
    parser.add_argument("--json", type=Path, default=RESULTS / "kills.json")
    options = parser.parse_args()
    found = rows_before(options.json, "what")
    for kind in options.kinds:
        if options.again or kind not in found:
            found[kind] = {"what": kind, **dict.fromkeys(COLUMNS, 0)}
        while found[kind]["kills"] < options.kills:
            with tempfile.TemporaryDirectory() as name:
                kill(found[kind], options.kills, Path(name))
            document = {"command": "python experiments/kills.py", **environment()}
            document["rows"] = [found[known] for known in KINDS if known in found]
            write_json(options.json, document)
    rows = [found[kind] for kind in options.kinds]
    print(f"\n{tabulate(rows, 'keys', 'github')}")
    sys.exit(any(row["the same bytes in the end"] != row["runs or sweeps"] for row in rows))


if __name__ == "__main__":
    main()
