"""Does `jaxdigits bench compare` find what became 10 % slower, and nothing else?

    python experiments/slowdown.py

Three measurements, each a process of its own: two of the same program, then one in which every
network takes a tenth longer (after each call the process waits, busy, for another tenth of the time
that the call took; the matrix product is as before). Between the first two all benchmarks must be
within noise; between the first and the third all must be slower. Expect eight minutes on two CPU
cores, or four with `--quick`, which may find less; on a busy machine either may.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxdigits.commands import prepare_jax

prepare_jax()  # before jax is imported, as the command line does

from jaxdigits import cli
from jaxdigits.bench import measure
from jaxdigits.bench.document import commit_info, machine_info
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


def bench(*words: str) -> str:
    """What `jaxdigits bench` prints, in a process of its own."""
    return subprocess.check_output([sys.executable, "-m", "jaxdigits", "bench", *words], text=True)


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
            print(bench(*quick, "--json", str(path)), flush=True)
        code = f"import slowdown; slowdown.bench_slowed({[*quick, '--json', str(slower)]})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        found = {
            what: json.loads(bench("compare", str(first), str(path), "--json"))
            for what, path in (("the same", same), ("a tenth slower", slower))
        }
    document = {
        "command": shlex.join(["python", "experiments/slowdown.py", *quick]),
        "datetime": datetime.now(UTC).isoformat(),
        "machine_info": machine_info(),
        "commit_info": commit_info(),
        **environment(),
        **found,
    }
    write_json(options.json, document)
    verdicts = {}
    for what, compared in found.items():
        print(f"{what}; the matrix product {compared['machine']['value']:.3f} times as long")
        for change in compared["changes"]:
            ends = "{value:.3f} ({low:.3f} to {high:.3f})".format_map(change)
            print(f"  {change['name']:24}{ends}, {change['verdict']}")
        verdicts[what] = {change["verdict"] for change in compared["changes"]}
    sys.exit(verdicts != {"the same": {"within noise"}, "a tenth slower": {"slower"}})


if __name__ == "__main__":
    main()
