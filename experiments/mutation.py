"""Do the tests notice a fault? Sow small ones, one at a time, and see.

    python experiments/mutation.py                      # 150 faults, seed 0
    python experiments/mutation.py --seed 7 --count 60 --rooms training runs
    python experiments/mutation.py --again              # those unnoticed, or not yet measured

A fault is one small change of the source: a comparison with its limit moved or reversed, another
operator or number, a condition negated, an argument, a call, a statement, or an error left out.
`random.Random(seed)` draws from all that are possible in the core, each as likely as any other.
For each, the tests of its room and of the neighbors listed in `NEIGHBORS` run in a copy of the
project, the nearest first, up to the first that fails. A fault that changes nothing that matters is
listed with its reason in `results/mutation_equivalent.json`, and does not count. Every process
needs a copy and a core: expect an hour and a half on two cores.
"""

import argparse
import ast
import collections
import concurrent.futures
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict
from xml.etree import ElementTree

from tabulate import tabulate

from jaxdigits.environment import usable_cores
from jaxdigits.files import write_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
NEIGHBORS = {
    "config.py": ["tests/test_config.py", "tests/training", "tests/sweeps"],
    "files.py": ["tests/test_files.py", "tests/runs/test_runs.py", "tests/cli"],
    "losses.py": ["tests/test_losses.py", "tests/training"],
    "by_hand": ["tests/by_hand"],
    "data": ["tests/data", "tests/test_library.py", "tests/runs/test_inputs.py", "tests/cli"],
    "evaluation": ["tests/evaluation", "tests/runs/test_runs.py"],
    "handwriting": ["tests/handwriting"],
    "models": [
        "tests/models",
        "tests/training",
        "tests/test_library.py",
        "tests/runs/test_page.py",
    ],
    "ops": ["tests/ops", "tests/models"],
    "runs": ["tests/runs", "tests/test_library.py", "tests/cli", "tests/sweeps/test_halving.py"],
    "sweeps": ["tests/sweeps", "tests/test_library.py", "tests/cli"],
    "training": [
        *("tests/training", "tests/test_library.py", "tests/runs/test_fit.py"),
        "tests/sweeps/test_halving.py",
    ],
    "transforms": [
        *("tests/transforms", "tests/runs/test_page.py", "tests/training", "tests/handwriting"),
    ],
}
"""By room: the tests that ought to notice."""

_LIMITS = ["-o", "faulthandler_timeout=180", "-o", "faulthandler_exit_on_timeout=true"]
"""A test that takes 3 minutes does not end."""

# fmt: off
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}
OPERATORS = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.Mod: "*", ast.Pow: "*",
    ast.FloorDiv: "+", ast.BitAnd: "|", ast.BitOr: "&", ast.MatMult: "*",
}
# fmt: on
CONVERSIONS = {"str", "int", "float", "bool", "list", "tuple", "dict", "Path", "asarray", "repr"}


class Entry(TypedDict):
    """A fault in the file of results; `equivalent` is the reason, `noticed` the test, or empty."""

    file: str
    line: str
    fault: str
    equivalent: str
    noticed: str


class Fault(NamedTuple):
    """A change that can be sown: `old` at `start` of a file becomes `new`; offsets are in bytes."""

    file: str
    line: int
    start: int
    old: str
    new: str

    @property
    def room(self) -> str:
        """The folder or file in `jaxdigits/`."""
        return Path(self.file).parts[1]

    def __str__(self) -> str:
        """The change on one line."""
        return " -> ".join(" ".join(text.split()) for text in (self.old, self.new or "(nothing)"))


def faults_in(file: str) -> list[Fault]:
    """All faults that can be sown in a file."""
    source = (ROOT / file).read_bytes()
    starts = [0, *(at + 1 for at, byte in enumerate(source) if byte == ord("\n"))]

    def span(node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        return start, starts[node.end_lineno - 1] + node.end_col_offset

    def fault(node: ast.expr | ast.stmt, start: int, end: int, new: str) -> Fault:
        return Fault(file, node.lineno, start, source[start:end].decode(), new)

    def text(node: ast.expr) -> str:
        start, end = span(node)
        return source[start:end].decode()

    def between(left: ast.expr, right: ast.expr, new: str) -> Fault:
        start, end = span(left)[1], span(right)[0]
        middle = source[start:end].decode()
        closed = middle[: len(middle) - len(middle.lstrip(" )\n"))]
        opened = middle[len(middle.rstrip(" (\n")) :]
        return fault(left, start, end, f"{closed.rstrip()} {new} {opened.lstrip()}")

    def changed(node: ast.AST) -> Iterator[Fault]:
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield between(left, right, COMPARISONS[type(operator)])
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
                yield between(left, right, OPERATORS[type(operator)])
            case ast.BoolOp(op=operator, values=[left, right]):
                yield between(left, right, "or" if isinstance(operator, ast.And) else "and")
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield fault(node, *span(node), f"({text(operand)})")
            case ast.Constant(value=bool(value)):
                yield fault(node, *span(node), str(not value))
            case ast.Constant(value=int(value)):
                yield fault(node, *span(node), str(value + 1))
            case ast.Constant(value=float(value)):
                yield fault(node, *span(node), str(value * 2 or 1.0))
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield fault(test, *span(test), f"(not ({text(test)}))")
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign():
                yield fault(node, *span(node), "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield fault(node, *span(node), "pass")
            case ast.Break():
                yield fault(node, *span(node), "continue")
            case ast.Continue():
                yield fault(node, *span(node), "break")
            case ast.Call(func=called, args=[ast.expr() as only], keywords=[]):
                name = getattr(called, "attr", getattr(called, "id", ""))
                if name not in CONVERSIONS and not isinstance(only, ast.Starred | ast.GeneratorExp):
                    yield fault(node, *span(node), f"({text(only)})")
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    if keyword.arg is not None:
                        start, end = span(keyword)
                        while source[end : end + 1] in (b",", b" ", b"\n"):
                            end += 1
                        yield fault(node, start, end, "")

    found = []
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        found.extend(changed(node))
        waiting.extend(_parts(node))
    return sorted(found, key=lambda fault: (fault.start, fault.new))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The children of a node, without annotations, messages, decorators, and asserts."""
    unchanged = ("annotation", "returns", "decorator_list", "exc", "type_params", "bases")
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            skipped = (ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom)
            if name in unchanged or not isinstance(child, ast.AST) or isinstance(child, skipped):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            yield child


def nearest(file: str) -> list[str]:
    """The test files that ought to notice a fault of a file: its own, those that import it, all."""
    room, stem = Path(file).parts[1], Path(file).stem
    listed = (ROOT / place for place in NEIGHBORS[room])
    tests = [path for place in listed for path in (sorted(place.rglob("test_*.py")) or [place])]

    def rank(path: Path) -> tuple[bool, bool, int]:
        text = path.read_text()
        imports = rf"from jaxdigits\.{room}(\.{stem}\b| import .*\b{stem}\b)"
        named = len(re.findall(rf"\b{stem}\b", text))
        return path.stem != f"test_{stem}", re.search(imports, text) is None, -named

    return [str(path.relative_to(ROOT)) for path in sorted(tests, key=rank)]


def sow(fault: Fault, tree: Path, timeout: float, *, thorough: bool) -> dict[str, float]:
    """The tests that fail with the fault in a copy of the project, and the seconds of all that ran.

    Unless `thorough`, the first that fails is the last. A fault that keeps Python from starting, or
    the tests from ending, is noticed too. Seconds of a test that failed are negative.
    """
    path, report = tree / fault.file, tree / "report.xml"
    whole = path.read_bytes()
    end = fault.start + len(fault.old.encode())
    path.write_bytes(whole[: fault.start] + fault.new.encode() + whole[end:])
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAXDIGITS_TEST_CACHE": str(tree.parent / "compiled"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n0", f"--junitxml={report}", *_LIMITS]
    report.unlink(missing_ok=True)
    seconds: dict[str, float] = {}
    try:
        ended = subprocess.run(
            [*command, *["-x"] * (not thorough), fault.file, *nearest(fault.file)],
            cwd=tree,
            env=environment,
            timeout=timeout,
            capture_output=True,
            check=False,
        )
        for test in ElementTree.parse(report).iter("testcase") if report.exists() else ():
            failed = test.find("failure") is not None or test.find("error") is not None
            name = f"{test.get('classname')}::{test.get('name')}"
            seconds[name] = float(test.get("time", 0)) * (-1 if failed else 1)
        if ended.returncode != 0 and min(seconds.values(), default=0) >= 0:
            seconds["the tests do not start, or one does not end"] = -1.0
    except subprocess.TimeoutExpired:
        seconds["the tests do not end"] = -timeout
    finally:
        path.write_bytes(whole)
    return seconds


def measure(
    faults: list[Fault], processes: int, timeout: float, *, thorough: bool
) -> Iterator[tuple[Fault, dict[str, float]]]:
    """What `sow` says of each fault, as soon as it is known; each process has its own copy."""
    trees: queue.Queue[Path] = queue.Queue()
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout

    def one(fault: Fault) -> tuple[Fault, dict[str, float]]:
        tree = trees.get()
        try:
            return fault, sow(fault, tree, timeout, thorough=thorough)
        finally:
            trees.put(tree)

    with tempfile.TemporaryDirectory() as folder:
        for number in range(processes):
            tree = Path(folder) / str(number)
            for name in filter(None, names.split("\0")):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tree / name)
            trees.put(tree)
        with concurrent.futures.ThreadPoolExecutor(processes) as pool:
            for future in concurrent.futures.as_completed(pool.submit(one, at) for at in faults):
                yield future.result()


def possible(rooms: list[str]) -> list[Fault]:
    """All faults that can be sown in these rooms."""
    files = sorted((ROOT / "jaxdigits").rglob("*.py"))
    relative = [path.relative_to(ROOT) for path in files]
    return [fault for path in relative if path.parts[1] in rooms for fault in faults_in(str(path))]


def table(entries: list[Entry]) -> str:
    """Noticed, unnoticed, and equivalent faults by room."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for entry in entries:
        room = Path(entry["file"]).parts[1]
        outcome = "equivalent" if entry["equivalent"] else "noticed" if entry["noticed"] else "not"
        counts[room][outcome] += 1
        counts["all"][outcome] += 1
    rows = [
        (room, sum(count.values()), count["equivalent"], count["noticed"], count["not"])
        for room, count in sorted(counts.items(), key=lambda pair: (pair[0] == "all", pair[0]))
    ]
    return tabulate(rows, ["room", "faults", "equivalent", "noticed", "unnoticed"], "github")


def main() -> None:
    """Sow, test, count."""
    parser = argparse.ArgumentParser(description="Do the tests notice a fault?")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--rooms", nargs="+", default=list(NEIGHBORS), choices=list(NEIGHBORS))
    parser.add_argument("--processes", type=int, default=usable_cores())
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds for a fault")
    parser.add_argument("--again", action="store_true", help="what is not yet noticed")
    parser.add_argument("--thorough", action="store_true", help="which tests never notice any?")
    parser.add_argument("--json", type=Path, default=RESULTS / "mutation.json")
    options = parser.parse_args()

    reasons = {
        (one["file"], one["line"], one["fault"]): one["reason"]
        for one in json.loads((RESULTS / "mutation_equivalent.json").read_text())
    }

    def entry(fault: Fault, noticed: str = "") -> Entry:
        line = (ROOT / fault.file).read_text().splitlines()[fault.line - 1].strip()
        reason = reasons.get((fault.file, line, str(fault)), "")
        return Entry(
            file=fault.file, line=line, fault=str(fault), equivalent=reason, noticed=noticed
        )

    def key(entry: Entry) -> tuple[str, str, str]:
        return entry["file"], entry["line"], entry["fault"]

    faults = random.Random(options.seed).sample(possible(options.rooms), options.count)
    before = json.loads(options.json.read_text())["faults"] if options.again else []
    settled = {key(one): one for one in before if one["noticed"]}
    measured: dict[Fault, Entry] = {}
    for fault in faults:
        one = settled.get(key(entry(fault)), entry(fault))
        if one["equivalent"] or one["noticed"]:
            measured[fault] = one
    waiting = [fault for fault in faults if fault not in measured]
    slowest: dict[str, float] = {}
    noticing: set[str] = set()
    for fault, seconds in measure(
        waiting, options.processes, options.timeout, thorough=options.thorough
    ):
        failed = [name for name, taken in seconds.items() if taken < 0]
        measured[fault] = entry(fault, failed[0] if failed else "")
        noticing.update(failed)
        slowest |= {name: abs(taken) for name, taken in seconds.items()}
        print(f"{fault.file}:{fault.line}  {fault}  {failed[0] if failed else 'UNNOTICED'}")
        document = {"seed": options.seed, "count": options.count, "rooms": options.rooms}
        write_json(options.json, {**document, "faults": list(measured.values())})
    print(f"\n{table(list(measured.values()))}")
    if options.thorough:
        never = sorted((name for name in slowest if name not in noticing), key=slowest.__getitem__)
        rows = [(name, slowest[name]) for name in reversed(never[-20:])]
        print(f"\n{tabulate(rows, ['notices none of these faults', 's'], floatfmt='.1f')}")


if __name__ == "__main__":
    main()
