"""Is a run that is killed again and again the same run in the end?

    python experiments/kills.py

A run on the digits inside writes a checkpoint after each epoch. Its process is killed (SIGKILL) at
a random moment of its life, from the import of Python's modules to the drawing of the pictures, and
resumed; where nothing had begun, the first command is given again. When it is complete, the bytes
of its parameters are compared with those of an undisturbed run, and the next one begins, with
another seed. Expect twenty minutes on two CPU cores.
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jaxdigits.files import unfinished, write_json
from jaxdigits.runs.checkpoints import MANIFEST_FILE, saved_chunks

RESULTS = Path(__file__).parent / "results"


def run(arguments: list[str], seconds: float | None = None) -> bool:
    """Run a command; whether it ended by itself, or was killed after `seconds`."""
    command = [sys.executable, "-m", "jaxdigits", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}: {errors}")
    return True


def digest(folder: Path) -> str:
    """Hash the bytes of a run's parameters."""
    return hashlib.sha256((folder / "params.safetensors").read_bytes()).hexdigest()


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description="Killed and resumed.")
    parser.add_argument("--kills", type=int, default=110)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--json", type=Path, default=RESULTS / "kills.json")
    options = parser.parse_args()
    random.seed(0)
    kills = same = runs = resumed = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while kills < options.kills:
            settings = [
                *("train", "--dataset", "digits", "--model", "mlp", "--dropout", "0.2"),
                *("--ema-decay", "0.9", "--augment", "shift", "--devices", str(options.devices)),
                *("--epochs", str(options.epochs), "--seed", str(runs)),
            ]
            alone, out = folder / f"alone-{runs}", folder / f"killed-{runs}"
            launched = time.monotonic()
            run([*settings, "--out", str(alone)])
            life = time.monotonic() - launched
            done = False
            while not done:
                begun = (unfinished(out) / MANIFEST_FILE).exists() or out.exists()
                again = ["train", "--resume", str(out)] if begun else [*settings, "--out", str(out)]
                left = options.kills - kills
                seconds = random.uniform(0.0, 1.5 * life) if left else None
                resumed += begun
                done = run([*again, "--checkpoint-epochs", "1"], seconds)
                kills += not done
                epochs = saved_chunks(unfinished(out))[-1:]
                print(f"kill {kills}: run {runs}, checkpoints up to {epochs}", flush=True)
            runs += 1
            same += digest(out) == digest(alone)
    document = {
        "kills": kills,
        "resumed": resumed,
        "devices": options.devices,
        "runs": runs,
        "same_bytes": same,
        "seconds": round(time.monotonic() - began, 1),
    }
    write_json(options.json, document)
    print(document)
    sys.exit(same != runs)


if __name__ == "__main__":
    main()
