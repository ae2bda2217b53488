"""Does `jaxdigits bench compare` find what became 10 % slower, and nothing else?

    python experiments/slowdown.py

Three measurements, each a process of its own: two of the same program, then one in which every
network takes a tenth longer (after each call the process waits, busy, for another tenth of the time
that the call took; the matrix product is as before). Between the first two all benchmarks must be
within noise; between the first and the third all must be slower. Expect eight minutes on two CPU
cores, or four with `--quick`, which may find less; on a busy machine either may.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxdigits.commands import prepare_jax

prepare_jax()  # before jax is imported, as the command line does

from jaxdigits import cli
from jaxdigits.bench import compare as comparing
from jaxdigits.bench import measure
from jaxdigits.bench.document import commit_info, load, machine_info
from jaxdigits.files import write_json
from jaxdigits.runs import environment

RESULTS = Path(__file__).parent / "results"
SLOWDOWN = 1.1
"""How many times as long each call of the third takes."""


def bench_slowed(words: list[str]) -> None:
    """`jaxdigits bench`, with each network slower."""
    prepare = measure.prepare

    def prepare_slowed(*arguments: Any) -> measure.Program:
        program = prepare(*arguments)

        def call() -> None:
            began = time.perf_counter()
            program.call()
            until = began + SLOWDOWN * (time.perf_counter() - began)
            while time.perf_counter() < until:
                pass

        return program._replace(call=call)

    measure.prepare = prepare_slowed
    cli.main(["bench", *words])


@dataclass(frozen=True)
class Compared:
    """Two of the measurements: the verdicts by benchmark, and the ratios with their intervals."""

    machine: float
    verdicts: dict[str, str]
    ratios: dict[str, list[float]]


def compare(before: Path, after: Path) -> Compared:
    """What `jaxdigits bench compare` says of two files."""
    changes, machine = comparing.compare(load(before), load(after))
    return Compared(
        machine.value,
        {change.name: change.verdict for change in changes},
        {change.name: [round(end, 4) for end in change.ratio] for change in changes},
    )


def main() -> None:
    """Measures three times and compares."""
    parser = argparse.ArgumentParser(description="A slowdown of 10 %, and none.")
    parser.add_argument("--quick", action="store_true", help="with few and short rounds")
    parser.add_argument("--json", type=Path, default=RESULTS / "slowdown.json")
    options = parser.parse_args()
    quick = ["--quick"] if options.quick else []
    with tempfile.TemporaryDirectory() as name:
        first, same, slower = (Path(name) / f"{k}.json" for k in ("first", "same", "slower"))
        for path in (first, same):
            words = ["bench", *quick, "--json", str(path)]
            subprocess.run([sys.executable, "-m", "jaxdigits", *words], check=True)
        code = f"import slowdown; slowdown.bench_slowed({[*quick, '--json', str(slower)]})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        found = {"the same": compare(first, same), "a tenth slower": compare(first, slower)}
    document = {
        "command": shlex.join(["python", "experiments/slowdown.py", *quick]),
        "datetime": datetime.now(UTC).isoformat(),
        "machine_info": machine_info(),
        "commit_info": commit_info(),
        **environment(),
        **{what: asdict(compared) for what, compared in found.items()},
    }
    write_json(options.json, document)
    for what, compared in found.items():
        print(f"{what}; the matrix product {compared.machine:.3f} times as long")
        for benchmark, verdict in compared.verdicts.items():
            print(f"  {benchmark:24} {compared.ratios[benchmark]} {verdict}")
    right = set(found["the same"].verdicts.values()) == {"within noise"}
    sys.exit(not (right and set(found["a tenth slower"].verdicts.values()) == {"slower"}))


if __name__ == "__main__":
    main()
