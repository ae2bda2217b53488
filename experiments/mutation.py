"""Do the tests notice a fault? Sow small ones, one at a time, and see.

    python experiments/mutation.py                      # 150 faults, seed 0
    python experiments/mutation.py --seed 7 --count 60 --rooms training runs
    python experiments/mutation.py --again              # those unnoticed, or not yet measured
    python experiments/mutation.py --quick --map /tmp/map.json   # by the tests of the line alone

A fault is one small change of the source: a comparison with its limit moved or reversed, another
operator or number, a condition negated, an argument, a call, a statement, or an error left out.
`random.Random(seed)` draws from all that are possible in the core, each as likely as any other.
For each, tests run in a copy of the project, up to the first that fails: those that run its line,
the fastest first (`coverage` says which, once, in a map of all tests: `--map` keeps it), then those
of its room and of the neighbors listed in `NEIGHBORS`, the nearest first (not with `--quick`, which
looks for holes fast). A fault that changes nothing that matters is listed with its reason in
`results/mutation_equivalent.json`, and does not count.
"""

import argparse
import ast
import collections
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict

import coverage
import pytest
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

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [
        *("jax", "flax.linen", "optax", "scipy.optimize", "scipy.ndimage", "scipy.stats"),
        *("PIL.Image", "msgspec", "safetensors.numpy", "pytest"),
    ]
)
"""Tests start in a process that has imported these: a second instead of five."""

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


class Source:
    """A file, and what can be changed in it."""

    def __init__(self, file: str) -> None:
        """Args:
        file: relative to the project.
        """
        self.file = file
        self.source = (ROOT / file).read_bytes()
        ends = (at + 1 for at, byte in enumerate(self.source) if byte == ord("\n"))
        self.starts = [0, *ends]

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _fault(self, node: ast.expr | ast.stmt, start: int, end: int, new: str) -> Fault:
        return Fault(self.file, node.lineno, start, self.source[start:end].decode(), new)

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self.source[start:end].decode()

    def _between(self, left: ast.expr, right: ast.expr, new: str) -> Fault:
        start, end = self._span(left)[1], self._span(right)[0]
        middle = self.source[start:end].decode()
        closed = middle[: len(middle) - len(middle.lstrip(" )\n"))]
        opened = middle[len(middle.rstrip(" (\n")) :]
        return self._fault(left, start, end, f"{closed.rstrip()} {new} {opened.lstrip()}")

    def changed(self, node: ast.AST) -> Iterator[Fault]:
        """The faults that can be sown at one node."""
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield self._between(left, right, COMPARISONS[type(operator)])
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
                yield self._between(left, right, OPERATORS[type(operator)])
            case ast.BoolOp(op=operator, values=[left, right]):
                yield self._between(left, right, "or" if isinstance(operator, ast.And) else "and")
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield self._fault(node, *self._span(node), f"({self._text(operand)})")
            case ast.Constant(value=bool(value)):
                yield self._fault(node, *self._span(node), str(not value))
            case ast.Constant(value=int(value)):
                yield self._fault(node, *self._span(node), str(value + 1))
            case ast.Constant(value=float(value)):
                yield self._fault(node, *self._span(node), str(value * 2 or 1.0))
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield self._fault(test, *self._span(test), f"(not ({self._text(test)}))")
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign():
                yield self._fault(node, *self._span(node), "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield self._fault(node, *self._span(node), "pass")
            case ast.Break():
                yield self._fault(node, *self._span(node), "continue")
            case ast.Continue():
                yield self._fault(node, *self._span(node), "break")
            case ast.Call(func=called, args=[ast.expr() as only], keywords=[]):
                name = getattr(called, "attr", getattr(called, "id", ""))
                if name not in CONVERSIONS and not isinstance(only, ast.Starred | ast.GeneratorExp):
                    yield self._fault(node, *self._span(node), f"({self._text(only)})")
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    if keyword.arg not in (None, "strict"):
                        start, end = self._span(keyword)
                        while self.source[end : end + 1] in (b",", b" ", b"\n"):
                            end += 1
                        yield self._fault(node, start, end, "")


def faults_in(file: str) -> list[Fault]:
    """All faults that can be sown in a file."""
    source = Source(file)
    found = []
    waiting: list[ast.AST] = [ast.parse(source.source)]
    while waiting:
        node = waiting.pop()
        found.extend(source.changed(node))
        waiting.extend(_parts(node))
    return sorted(found, key=lambda fault: (fault.start, fault.new))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The children of a node, without annotations, messages, decorators, and checks."""
    unchanged = ("annotation", "returns", "decorator_list", "exc", "type_params", "bases")
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            skipped = (ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom)
            if name in unchanged or not isinstance(child, ast.AST) or isinstance(child, skipped):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # a check
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


class Seconds:
    """A plugin of pytest: the seconds of each test that ran, negative if it failed."""

    def __init__(self) -> None:
        """Nothing ran yet."""
        self.of: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, call, and clean-up of a test."""
        taken = self.of.get(report.nodeid, 0.0)
        failed = report.failed or taken < 0
        self.of[report.nodeid] = (abs(taken) + report.duration) * (-1 if failed else 1)


def _run(tree: Path, arguments: list[str], report: Path) -> None:
    """Run tests of a copy, in a process of their own; write its seconds, and how it ended."""
    os.setsid()
    os.chdir(tree)
    sys.dont_write_bytecode = False
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ |= {
        "JAXDIGITS_TEST_CACHE": str(tree.parent / "compiled"),
        "TMPDIR": str(tree.parent),
    }
    for name in [name for name in sys.modules if name.split(".")[0] == "jaxdigits"]:
        del sys.modules[name]  # imported for this script, not from the copy
    sys.path[0] = str(tree)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    seconds = Seconds()
    code = pytest.main(["-q", "-p", "no:cacheprovider", *_LIMITS, *arguments], plugins=[seconds])
    write_json(report, {"code": int(code), "seconds": seconds.of})


def run_tests(tree: Path, arguments: list[str], timeout: float) -> dict[str, float]:
    """The seconds of all tests that ran, negative if they failed; also if they do not end."""
    report = tree / "report.json"
    report.unlink(missing_ok=True)
    process = _forks.Process(target=_run, args=(tree, arguments, report))
    process.start()
    process.join(timeout)
    running = process.exitcode is None
    with contextlib.suppress(ProcessLookupError):  # also of what the tests have started
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    if not report.exists():
        return {"the tests do not end" if running else "the tests do not start": -timeout}
    ended = json.loads(report.read_text())
    if ended["code"] != 0 and min(ended["seconds"].values(), default=0) >= 0:
        ended["seconds"]["the tests do not start"] = -1.0
    return ended["seconds"]


class Map(TypedDict):
    """Which tests run which lines of a file, and the seconds of each test."""

    tests: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]


def draw_map(tree: Path) -> Map:
    """Run all tests once, and see which lines each of them runs in its own process."""
    data = tree / "lines.coverage"
    os.environ["COVERAGE_FILE"] = str(data)
    tracing = ["--cov=jaxdigits", "--cov-context=test", "--cov-report="]
    seconds = run_tests(tree, tracing, 3600.0)
    if failed := {name for name, taken in seconds.items() if taken < 0}:
        print(f"fail without any fault, and are left out: {', '.join(failed)}")
    lines = coverage.CoverageData(str(data))
    lines.read()
    tests: dict[str, dict[str, list[str]]] = {}
    for file in lines.measured_files():
        of_lines = lines.contexts_by_lineno(file)
        tests[str(Path(file).relative_to(tree))] = {
            str(line): sorted({context.split("|")[0] for context in contexts if context} - failed)
            for line, contexts in of_lines.items()
        }
    return Map(tests=tests, seconds={name: abs(taken) for name, taken in seconds.items()})


def likely(fault: Fault, lines: Map, budget: float = 90.0) -> list[str]:
    """The tests that run the line of a fault, or what uses it, the fastest first."""
    source = (ROOT / fault.file).read_text()
    of_line = lines["tests"].get(fault.file, {})
    inside = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and node.lineno <= fault.line <= (node.end_lineno or 0)
    ]
    innermost = max(inside, key=lambda node: (node.lineno, -(node.end_lineno or 0)))
    numbers = {innermost.lineno, *range(fault.line, fault.line + 1 + fault.old.count("\n"))}
    if isinstance(innermost, ast.FunctionDef):  # a default
        numbers = set(range(innermost.lineno, (innermost.end_lineno or 0) + 1))
    found = {test for number in numbers for test in of_line.get(str(number), [])}
    if not found and isinstance(innermost, ast.Assign | ast.AnnAssign):  # a constant
        first = innermost.targets[0] if isinstance(innermost, ast.Assign) else innermost.target
        words = {node.id for node in ast.walk(first) if isinstance(node, ast.Name)}
        names = re.compile(rf"\b({'|'.join(words)})\b")
        for file, of_other in lines["tests"].items() if words else ():
            for number, text in enumerate((ROOT / file).read_text().splitlines(), 1):
                if names.search(text):
                    found.update(of_other.get(str(number), []))
        own = f"/test_{Path(fault.file).stem}.py::"
        found.update(test for test in lines["seconds"] if own in test)
    chosen, total = [], 0.0
    for test in sorted(found, key=lambda test: (lines["seconds"].get(test, 1.0), test)):
        total += lines["seconds"].get(test, 1.0)
        if chosen and total > budget:
            break
        chosen.append(test)
    return chosen


def write_source(path: Path, source: bytes) -> None:
    """Write it, and forget what was compiled: Python sees no change within a second."""
    path.write_bytes(source)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


def sow(
    fault: Fault, tree: Path, timeout: float, first: list[str], *, quick: bool, thorough: bool
) -> dict[str, float]:
    """The tests that fail with the fault in a copy of the project, and the seconds of all that ran.

    Tests `first` run first, then, unless `quick`, those of `nearest`. Unless `thorough`, the first
    that fails is the last. A fault that keeps Python from starting, or the tests from ending, is
    noticed too. Seconds of a test that failed are negative.
    """
    path = tree / fault.file
    whole = path.read_bytes()
    end = fault.start + len(fault.old.encode())
    write_source(path, whole[: fault.start] + fault.new.encode() + whole[end:])
    seconds: dict[str, float] = {}
    options = ["-n0", *["-x"] * (not thorough)]
    try:
        if first:
            seconds |= run_tests(tree, [*options, *first], timeout)
        if not quick and (thorough or min(seconds.values(), default=0) >= 0):
            seconds |= run_tests(tree, [*options, fault.file, *nearest(fault.file)], timeout)
    finally:
        write_source(path, whole)
    return seconds


@contextlib.contextmanager
def copies(number: int) -> Iterator[queue.Queue[Path]]:
    """Copies of the project."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    trees: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory() as folder:
        for at in range(number):
            tree = Path(folder) / str(at)
            for name in filter(None, names.split("\0")):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tree / name)
            trees.put(tree)
        yield trees


def measure(
    faults: list[Fault], lines: Map, trees: queue.Queue[Path], timeout: float, **how: bool
) -> Iterator[tuple[Fault, dict[str, float]]]:
    """What `sow` says of each fault, as soon as it is known."""

    def one(fault: Fault) -> tuple[Fault, dict[str, float]]:
        tree = trees.get()
        try:
            return fault, sow(fault, tree, timeout, likely(fault, lines), **how)
        finally:
            trees.put(tree)

    with concurrent.futures.ThreadPoolExecutor(trees.qsize()) as pool:
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
    parser.add_argument("--map", type=Path, help="keep the map of tests here, or take it from here")
    parser.add_argument("--quick", action="store_true", help="only tests that run the line")
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
    os.environ |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true", "OMP_NUM_THREADS": "1"}
    with copies(options.processes) as trees:
        if options.map is not None and options.map.exists():
            lines: Map = json.loads(options.map.read_text())
        else:
            lines = draw_map(trees.queue[0])
            if options.map is not None:
                write_json(options.map, lines)
        how = {"quick": options.quick, "thorough": options.thorough}
        for fault, seconds in measure(waiting, lines, trees, options.timeout, **how):
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
