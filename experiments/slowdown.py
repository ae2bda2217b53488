"""Does `jaxdigits bench pair` find what became 10% slower, and nothing else?

    python experiments/slowdown.py

Two comparisons: the same program with itself, and with one in which every network takes a tenth
longer (after each call the process waits, busy, for another tenth of the time that the call took;
the matrix product is as before). In the first all benchmarks must be within noise, in the second
all must be slower. Expect eleven minutes on two CPU cores, or five with `--quick`, which finds
less.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxdigits.environment import prepare_jax

prepare_jax()  # before jax is imported, as the command line does

from jaxdigits import cli
from jaxdigits.bench import timing
from jaxdigits.bench.document import commit_info, machine_info
from jaxdigits.environment import environment
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
SLOWDOWN = 1.1
"""How many times as long each call of the slower one takes."""


def slowed(words: list[str]) -> int:
    """`jaxdigits`, with each network slower."""
    prepare = timing.prepare

    def prepare_slowed(*arguments: Any) -> timing.Program:
        program = prepare(*arguments)

        def call() -> None:
            began = time.perf_counter()
            program.call()
            until = began + SLOWDOWN * (time.perf_counter() - began)
            while time.perf_counter() < until:
                pass

        return program._replace(call=call)

    timing.prepare = prepare_slowed
    return cli.main(words)


def main() -> None:
    """Compare twice."""
    parser = argparse.ArgumentParser(description="A slowdown of 10%, and none.")
    parser.add_argument("--quick", action="store_true", help="with fewer rounds")
    parser.add_argument("--json", type=Path, default=RESULTS / "slowdown.json")
    options = parser.parse_args()
    quick = ["--quick"] if options.quick else []
    ours, slower = ([sys.executable, *words] for words in (("-m", "jaxdigits"), (__file__,)))
    found, verdicts = {}, {}
    for what, other in (("the same", ours), ("a tenth slower", slower)):
        sides = [shlex.join(ours), shlex.join(other)]
        command = [*ours, "bench", "pair", *sides, *quick, "--json"]
        compared = found[what] = json.loads(subprocess.check_output(command, text=True))
        verdicts[what] = {change["verdict"] for change in compared["changes"]}
        print(f"{what}; the matrix product {compared['machine']['value']:.3f} times as long")
        for change in compared["changes"]:
            ends = "{value:.3f} ({low:.3f} to {high:.3f})".format_map(change)
            print(f"  {change['name']:24}{ends}, {change['verdict']}", flush=True)
    document = {
        "command": shlex.join(["python", "experiments/slowdown.py", *quick]),
        "datetime": datetime.now(UTC).isoformat(),
        "machine_info": machine_info(),
        "commit_info": commit_info(),
        **environment(),
        **found,
    }
    write_json(options.json, document)
    sys.exit(verdicts != {"the same": {"within noise"}, "a tenth slower": {"slower"}})


if __name__ == "__main__":
    # `jaxdigits bench pair` calls this file as if it were jaxdigits.
    if sys.argv[1:2] == ["bench"]:
        sys.exit(slowed(sys.argv[1:]))
    main()
