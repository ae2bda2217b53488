"""Runs that are trained again, and where they begin to differ."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.core import Tracer

import jaxdigits as jd
from jaxdigits.environment import usable_cores
from jaxdigits.errors import ConfigError, DataError, RunError
from jaxdigits.runs import trace as traces
from jaxdigits.runs import twin as twins
from jaxdigits.runs.sides import Side
from jaxdigits.runs.trace import Trace
from jaxdigits.runs.twin import Comparison, Operation, _comparable, compare, twin
from jaxdigits.training.observe import digest

CONFIG = jd.TrainConfig(
    dataset="digits", model="linear", optimizer="sgd", schedule="constant", batch_size=256,
    epochs=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's."""
    folder = tmp_path_factory.mktemp("twins") / "run"
    jd.fit(CONFIG, folder=folder, devices=2)
    return folder


def digests(params: Any) -> set[int]:
    """Of all arrays."""
    return {int(digest(np.asarray(leaf))) for leaf in jax.tree.leaves(params)}


def test_equal_to_the_bit(folder, cli):
    code, out, _ = cli("twin", folder)
    assert (code, out) == (0, "equal to the bit: metrics of all epochs, and parameters\n")


def test_what_began_elsewhere_and_ended_early(folder, tmp_path):
    """It starts from the same run, and ends where that ended."""
    config = CONFIG.replace(schedule="one_cycle", epochs=4)
    jd.fit(
        config, folder=tmp_path / "on", init_from=folder, on_epoch=lambda epoch: epoch.number == 2
    )
    run = jd.load(tmp_path / "on")
    assert (run.init_from, len(run.history)) == (str(folder), 3)
    assert twin(run).equal
    assert not twin(dataclasses.replace(run, init_from=None)).equal
    (begun,) = Trace(tmp_path / "on").epochs(0)
    assert digests(jd.load(folder).params) <= set(begun)


def test_a_streamed_run(tmp_path, monkeypatch):
    jd.fit(CONFIG, folder=tmp_path / "streamed", stream=True)
    run = jd.load(tmp_path / "streamed")
    assert run.stream
    opened, plain = [], jd.data.open_split
    monkeypatch.setattr(jd.data, "open_split", lambda *a, **k: opened.append(a) or plain(*a, **k))
    assert twin(run).equal
    assert opened == [("digits", "train")]  # from the disk, as before


def test_a_run_that_diverged(tmp_path):
    """It does so again: what is no number is equal to itself."""
    config = CONFIG.replace(epochs=1, learning_rate=1e38)
    run = jd.fit(config, folder=tmp_path / "run")
    assert any(np.isnan(leaf).any() for leaf in jax.tree.leaves(run.params))
    assert twin(run).equal


def test_data_elsewhere(emnist_files, tmp_path):
    """Prepared in another folder, or still to be prepared from files."""
    there = {"data_dir": tmp_path / "prepared"}
    config = jd.TrainConfig(dataset="emnist/letters", model="linear", epochs=1)
    run = jd.fit(config, folder=tmp_path / "run", manual_dir=emnist_files, **there)
    for function in (
        lambda **more: Trace(tmp_path / "run", **more),
        lambda **more: twin(run, **more),
    ):
        with pytest.raises(DataError, match="emnist"):
            function()
    Trace(tmp_path / "run", **there)
    Trace(tmp_path / "run", manual_dir=emnist_files, data_dir=tmp_path / "one")
    assert twin(run, manual_dir=emnist_files, data_dir=tmp_path / "other").equal
    assert not (tmp_path / "datasets").exists()  # where data lie if no folder is given


def test_what_differs_is_told(folder, tmp_path, cli, monkeypatch):
    """A metric, a parameter, and the versions are changed in the folder."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    copy = tmp_path / "copy"
    run = jd.load(folder)
    shutil.copytree(folder, copy)
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    lines[2]["train_loss"] = 0.5
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    document = json.loads((copy / "run.json").read_text())
    document["versions"]["jax"] = "0.1"
    document["flags"]["XLA_FLAGS"] = "--fast"
    document["processor"] = "Z80"
    (copy / "run.json").write_text(json.dumps(document))
    code, out, _ = cli("twin", copy)
    now = run.history[2]["train_loss"]
    assert code == 1
    assert f"differs in epoch 2: train loss 0.5, now {now}; in the end parameters differ by" in out
    assert "jax 0.1, now " in out
    assert "XLA_FLAGS --fast, now None; processor Z80, now " in out
    changed = {name: np.asarray(leaf) + (name == "bias") for name, leaf in run.params.items()}
    found = twin(dataclasses.replace(run, params=changed))
    assert (found.equal, found.differs) == (False, None)
    assert found.by == pytest.approx(1)


def test_another_generator_of_random_numbers(folder):
    """It differs before the first epoch, where initial values are drawn."""
    commands = sys.executable, f"env JAX_DEFAULT_PRNG_IMPL=rbg {sys.executable}"
    found = compare(folder, commands, 1)
    assert found.changes == ["jax_default_prng_impl threefry2x32, there rbg"]
    assert (found.epoch, found.step) == (0, 0)
    assert {"params.weight", "key"} <= set(found.arrays)
    assert found.operation is not None
    assert found.operation.name == "random_bits"
    assert "models/initializers.py" in found.operation.place


def test_other_devices(folder, cli):
    """What differs is what two devices sum up."""
    against = f"env JAX_NUM_CPU_DEVICES=1 {sys.executable}"
    code, out, _ = cli("twin", folder, "--against", against, "--epochs", "1", "--json")
    found = json.loads(out)
    assert (code, found["epoch"], found["step"]) == (1, 1, 1)
    assert "devices 2, there 1" in found["changes"]
    operation = found["operation"]
    assert operation["by"] < 1e-5 * operation["largest"]
    assert any("psum in sum_over_devices" in one for one in operation["only"])


def test_bfloat16_against_float32(folder, cli):
    """It begins where the images are rounded."""
    code, out, _ = cli("twin", folder, "--with", "precision=bfloat16", "--epochs", 1)
    assert code == 1
    assert "different there: precision default, there bfloat16\n" in out
    assert "differs in epoch 1, step 1\n" in out
    assert "float32 and bfloat16, by up to 0.0" in out
    assert "convert_element_type in in_precision" in out


def test_nothing_differs(folder, cli):
    """On a CPU the default is float32."""
    code, out, _ = cli("twin", folder, "--with", "precision=float32", "--epochs", "1")
    assert (code, out) == (
        0,
        "different there: precision default, there float32\nequal to the bit after each epoch\n",
    )


def test_what_no_folder_holds(folder, tmp_path, cli):
    run = jd.load(folder)
    with pytest.raises(ConfigError, match="no metrics of epochs"):
        twin(jd.load("digits"))
    with pytest.raises(ConfigError, match="begun from a run in memory"):
        twin(dataclasses.replace(run, init_from="memory"))
    with pytest.raises(ConfigError, match="an ensemble has no training"):
        twin(dataclasses.replace(run, members=(run,)))
    code, _, err = cli("twin", copied(folder, tmp_path / "own", own=["loss"]))
    assert (code, "trained with loss of your own" in err) == (2, True)


def test_other_data(folder, tmp_path):
    """A run of a folder that has changed meanwhile."""
    run = jd.load(folder)
    other = dataclasses.replace(
        run, fingerprint=dataclasses.replace(run.fingerprint, sha256="0" * 64)
    )
    with pytest.raises(DataError, match="the run was trained on digits"):
        twin(other)
    other.save(tmp_path / "other")
    shutil.copy(folder / "metrics.jsonl", tmp_path / "other")
    with pytest.raises(ConfigError, match="the run was trained on digits"):
        compare(tmp_path / "other", (sys.executable, "sh -c cat"))


def test_metrics_that_cannot_be(folder):
    run = jd.load(folder)
    for lines in ([*run.history, {**run.history[-1], "epoch": 3}], run.history[::2], [{}, {}]):
        with pytest.raises(RunError, match="the metrics of the run are damaged"):
            twin(dataclasses.replace(run, history=lines))
    none = dataclasses.replace(run, config=CONFIG.replace(epochs=0), history=run.history[:2])
    with pytest.raises(RunError, match="the metrics of the run are damaged"):
        twin(none)
    with pytest.raises(ConfigError, match="no metrics of epochs"):
        twin(dataclasses.replace(run, history=run.history[:1]))
    with pytest.raises(ConfigError, match="no metrics of epochs"):
        twin(jd.fit(CONFIG.replace(model="pixel", hidden=jd.TrainConfig().hidden)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "1"], "--epochs needs --against"),
        (["--against", sys.executable, "--epochs", "0"], "epochs must be 1 to 2, as many as"),
        (["--against", sys.executable, "--epochs", "3"], "epochs must be 1 to 2, as many as"),
    ],
)
def test_words_that_say_nothing(folder, cli, words, message):
    code, _, err = cli("twin", folder, *words)
    assert (code, message in err) == (2, True)


def test_what_a_run_computes_on_its_way(folder):
    """Its state after each epoch, which is that after the last step; and each result in a step."""
    trace, run = Trace(folder), jd.load(folder)
    names, epochs = trace.about()["arrays"], trace.epochs(2)
    assert [len(state) for state in epochs] == [len(names)] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    trained = digests(run.params)
    assert trained <= set(epochs[2])
    assert not trained <= set(epochs[1])
    for number in (1, 2):
        steps = trace.steps(number)
        assert len(steps) == -(-run.fingerprint.counts["train"] // CONFIG.batch_size)
        assert steps[-1] == epochs[number]
    operations = trace.operations(2, 3)
    chosen = [0, len(operations) - 1]
    path = Path(trace.values(chosen))
    with np.load(path) as values:
        for number in chosen:
            assert int(digest(values[str(number)])) == operations[number]["digest"]
    path.unlink()
    assert {one["devices"] for one in operations} == {2}
    assert {one["devices"] for one in trace.operations(0, 0)} == {1}


def copied(folder: Path, to: Path, **changes: Any) -> Path:
    """A run's folder with changes in `run.json`."""
    shutil.copytree(folder, to)
    document = json.loads((to / "run.json").read_text())
    (to / "run.json").write_text(json.dumps({**document, **changes}))
    return to


def test_a_step_is_made_of_its_operations(folder, tmp_path, monkeypatch):
    """What it changes are results of some of them, most to the bit: one program has them all."""
    traced, plain = [], traces._plain

    def noted(value):
        traced.append(isinstance(value, Tracer))
        return plain(value)

    monkeypatch.setattr(traces, "_plain", noted)
    trace = Trace(copied(folder, tmp_path / "run", devices=1))
    about = trace.about()
    assert about["devices"] == 1
    before, after = trace.steps(1)[:2]
    operations = trace.operations(1, 2)
    assert sum(traced) == len(operations)
    assert {one["devices"] for one in operations} == {1}
    results = {one["digest"] for one in operations}
    pairs = zip(about["arrays"], before, after, strict=True)
    found = {name: new in results for name, old, new in pairs if new != old}
    assert found["step"]
    weights = [same for name, same in found.items() if name.startswith("params")]
    assert len(weights) == 2
    assert any(weights)


def test_another_scale_is_of_the_data(folder, tmp_path):
    """Not of the run, which has none for pixels as they are."""
    config = {**CONFIG.as_dict(), "scale": "unit"}
    unit = copied(folder, tmp_path / "run", config=config, scaling={"mean": 0.0, "std": 1.0})
    scaled, plain = Trace(folder).epochs(1), Trace(unit).epochs(1)
    assert scaled[1] != plain[1]
    assert Trace(unit, settings={"scale": "standardized"}).epochs(1) == scaled
    assert Trace(folder, settings={"scale": "unit"}).epochs(1) == plain
    assert Trace(folder, settings={"seed": "1"}).epochs(0) != scaled[:1]
    with pytest.raises(ConfigError, match="have nothing to compare: omit dataset"):
        Trace(folder, settings={"dataset": "mnist"})


def test_nobody_left_to_ask(folder):
    """A process that trains, on a device for each core, ends when the one that asked is gone."""
    command = [sys.executable, "-m", "jaxdigits.runs.trace"]
    environment = {name: x for name, x in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    question = {"run": {"run": str(folder)}}
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps(question), file=process.stdin, flush=True)
    about = json.loads(process.stdout.readline())
    assert "arrays" in about
    assert about["devices"] == min(2, usable_cores())
    print(json.dumps({"epochs": {"count": 10**9}}), file=process.stdin, flush=True)
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdout.close()


def test_commands_that_do_not_work(folder):
    with pytest.raises(ConfigError, match="cannot run `nowhere/python`: No such file"):
        compare(folder, (sys.executable, "nowhere/python"))
    with pytest.raises(RunError, match="ended with exit code 1"):
        compare(folder, ("false", "sh -c cat"))
    with pytest.raises(RunError, match="cat'` does not start Python: hello"):
        compare(folder, ("sh -c 'echo hello; cat'", "sh -c cat"))


def test_shares_that_make_a_whole():
    """Results have an axis of devices in front: equal ones count once, others are joined."""
    whole = np.arange(6.0).reshape(1, 6)
    for other in (np.stack([whole[0], whole[0]]), whole.reshape(2, 3)):
        found = _comparable(other, whole)
        assert found is not None
        np.testing.assert_array_equal(found[0], found[1])
    assert _comparable(np.arange(6.0).reshape(2, 3), np.zeros((1, 3))) is None
    images = np.arange(24.0).reshape(1, 6, 4)
    for one, other in (
        (images.reshape(2, 3, 4), images),
        (images, images.reshape(3, 2, 4)),
        (images.reshape(2, 3, 4), images.reshape(3, 2, 4)),
    ):
        found = _comparable(one, other)
        assert found is not None
        for each in found:
            np.testing.assert_array_equal(each, images[0])
    numbers = np.array([1.0, 2.0])  # of two devices a number each: no share of an array
    assert _comparable(numbers, numbers[None]) is None
    assert _comparable(numbers[None], numbers) is None


class Told(Side):
    """A side that has computed these values, each with a name, a place, and inputs."""

    def __init__(self, *operations: tuple[str, str, Any, list[int]], devices: int = 1) -> None:
        super().__init__("nowhere")
        self.values = [np.asarray(value) for _, _, value, _ in operations]
        self.listed = [
            {
                "name": name,
                "place": place,
                "inputs": inputs,
                "devices": devices,
                "shape": list(value.shape),
                "dtype": str(value.dtype),
                "digest": zlib.crc32(value.tobytes()),
            }
            for (name, place, _, inputs), value in zip(operations, self.values, strict=True)
        ]
        self.asked: list[Any] = []

    def tell(self, question):
        self.asked.append(question)

    def hear(self):
        if "operations" in self.asked[-1]:
            return self.listed
        numbers = self.asked[-1]["values"]["numbers"]
        np.savez("values.npz", **{str(number): self.values[number] for number in numbers})
        return "values.npz"


def first_of(first: Told, second: Told) -> Operation | None:
    found = twins._first_operation([first, second], 2, 7)
    assert first.asked[0] == second.asked[0] == {"operations": {"epoch": 2, "step": 7}}
    assert not Path("values.npz").exists()
    return found


def test_the_first_operation_that_differs():
    """Only what both have is compared, wherever it stands in a file; what one lacks is named."""
    zeros, ones = np.zeros(2, np.float32), np.ones(2, np.float32)
    first = Told(
        ("draw", "r (x/d.py:1)", ones, []),
        ("cast", "f (x/a.py:1)", zeros, [0]),
        ("mul", "g (x/a.py:2)", ones, [1]),
        ("fuse", "h (x/b.py:3)", zeros + 5, [2]),
        ("fuse", "h (x/b.py:3)", zeros + 6, [3]),
        ("share", "s (x/a.py:4)", np.array([[1, 2, 3]], np.float32), [4]),
        ("add", "k (x/a.py:5)", np.array([1, -8], np.float32), [2, 5, 1]),
        ("sub", "k (x/a.py:6)", ones, [6]),
    )
    second = Told(
        ("cast", "f (x/a.py:1)", zeros, []),
        ("mul", "g (x/a.py:7)", ones, [0]),
        ("unused", "m (x/c.py:8)", zeros, [0]),
        ("wide", "m (x/c.py:9)", zeros, [1]),
        ("share", "s (x/a.py:10)", np.array([[1, 2]], np.float32), [3]),
        ("add", "k (x/a.py:11)", np.array([3, -8], np.float64), [4]),
        ("sub", "k (x/a.py:12)", zeros, [5]),
    )
    assert first_of(first, second) == Operation(
        "add", "k (x/a.py:5)", (2,), ("float32", "float64"), 2.0, 8.0,
        ["fuse in h (x/b.py:3)", "wide in m (x/c.py:9)"],
    )  # fmt: skip


def test_operations_of_other_functions_are_others():
    """Wherever these stand in a file."""
    first = Told(("add", "f (x/a.py:1)", 1, []))
    second = Told(("add", "g (x/a.py:1)", 5, []), ("add", "f (x/a.py:2)", 1, []))
    assert first_of(first, second) is None


def test_operations_whose_digests_do_not_tell():
    """In other dtypes values may be equal, nan as well; what is no whole is passed over."""
    values = np.array([np.nan, 1.0], np.float32)
    cast, share = ("cast", "f (a:1)"), ("share", "f (a:2)")
    first = Told((*cast, values, []), (*share, np.zeros((1, 3)), []), ("add", "g", 0.5, [0]))
    second = Told((*cast, values.astype(np.float16), []), (*share, np.zeros((1, 2)), []),
                  ("add", "g", 0.25, [0]))  # fmt: skip
    assert first_of(first, second) == Operation(
        "add", "g", (), ("float64", "float64"), 0.25, 0.5, []
    )
    for side in (first, second):
        side.values.pop()
        side.listed.pop()
    assert first_of(first, second) is None


@pytest.mark.parametrize("place", [0, 15, 16, 250])
def test_one_of_many_operations(place):
    """All of one name and place; only values of some around that one are asked for."""
    values = list(range(300))
    first = Told(*[("add", "f (a:1)", value, []) for value in values])
    values[place] += 1
    begin = ("begin", "f (a:1)", 0, [])  # what the first one lacks
    second = Told(begin, *[("add", "f (a:1)", value, []) for value in values])
    found = first_of(first, second)
    assert found is not None
    assert (found.by, found.largest, found.only) == (1, place, [])
    for side in (first, second):
        (asked,) = (len(one["values"]["numbers"]) for one in side.asked[1:])
        assert asked <= 16


def test_results_of_several_devices():
    """Each has an axis of them in front, of which one alone is sent where they are equal."""
    shares = np.arange(6.0).reshape(2, 3)
    ours = [("mul", "f", shares, []), ("psum", "f", np.array([7.0, 7.0]), [0])]
    first = Told(*ours, devices=2)
    second = Told(("mul", "f", shares.reshape(6), []), ("psum", "f", 7.5, [0]))
    assert first_of(first, second) == Operation(
        "psum", "f", (), ("float64", "float64"), 0.5, 7.0, []
    )


def test_values_are_no_programs():
    """What a stranger's process writes is not unpickled, and does not stay."""
    first = Told(("add", "f", 1, []))
    first.values[0] = np.array([{}])
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        first_of(first, Told(("add", "f", 2, [])))
    assert not Path("values.npz").exists()


def test_distances():
    """The largest, in 64 bits, in either direction; none of no values."""
    assert twins._distance(np.array([5, -3], np.int8), np.array([1, 100], np.int8)) == 103
    assert twins._distance([1.0, 2.0], [1.0, 2.25]) == 0.25
    assert twins._distance(np.zeros((0, 3)), np.zeros((0, 3))) == 0


ANSWERS = """
    import json, sys
    answers = json.loads(sys.argv[1])
    with open(sys.argv[2], "w") as log:
        for line in sys.stdin:
            print(line, end="", file=log, flush=True)
            (name,) = json.loads(line)
            print(json.dumps(answers[name]), flush=True)
"""


@pytest.fixture
def told(folder, tmp_path):
    """Compare with processes that answer so; what each was asked."""
    program = tmp_path / "answers.py"
    program.write_text(textwrap.dedent(ANSWERS))

    def ask(*answers: dict[str, Any], **more: Any) -> tuple[Comparison, list[list[Any]]]:
        logs = [tmp_path / "first", tmp_path / "second"]
        first, second = (
            f"{sys.executable} -S {program} '{json.dumps(answer)}' {log}"
            for answer, log in zip(answers, logs, strict=True)
        )
        try:
            found = compare(folder, (first, second), **more)
        finally:
            asked = [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]
            assert [len(one) for one in asked] in ([1, 1], [2, 2], [3, 3], [4, 4])
        return found, asked

    return ask


ABOUT = {"arrays": ["params", "key"], "devices": 1, "device": "cpu"}
ENDS = [[1, 2], [3, 4], [5, 6]]
STEPS = [[3, 9], [4, 9], [5, 6]]


def test_where_nothing_differs(told, folder):
    """The run's data folders are named to both, the settings to the second one."""
    answers = {"run": ABOUT, "epochs": ENDS}
    found, asked = told(answers, answers)
    assert found == ([], None, 0, (), None)
    about = {"run": str(folder), "data_dir": None, "manual_dir": None}
    assert asked == [[{"run": about}, {"epochs": {"count": 2}}]] * 2
    found, asked = told(
        answers, {**answers, "run": {**ABOUT, "device": "gpu"}}, num_epochs=1,
        settings={"seed": "3"}, data_dir=Path("here"), manual_dir="there",
    )  # fmt: skip
    assert found.changes == ["device cpu, there gpu", "seed 0, there 3"]
    about = {"run": str(folder), "data_dir": "here", "manual_dir": "there"}
    abouts = [about, {**about, "settings": {"seed": "3"}}]
    assert asked == [[{"run": one}, {"epochs": {"count": 1}}] for one in abouts]


def test_other_arrays_cannot_be_compared(told):
    other = {"run": {**ABOUT, "arrays": ["params"]}}
    with pytest.raises(ConfigError, match="their states have other arrays: their networks"):
        told({"run": ABOUT}, other)


@pytest.mark.parametrize(
    ("ends", "steps", "expected"),
    [
        ([[1, 3], *ENDS[1:]], STEPS, (0, 0, ["key"])),
        ([ENDS[0], [0, 4], [0, 0]], STEPS, (1, 0, ["params"])),
        ([ENDS[0], [0, 4], [0, 0]], [[7, 9], [8, 9], [9, 6]], (1, 1, ["params"])),
        ([*ENDS[:2], [0, 0]], [STEPS[0], [8, 8], [0, 0]], (2, 2, ["params", "key"])),
        ([*ENDS[:2], [5, 0]], [*STEPS[:2], [5, 0]], (2, 3, ["key"])),
    ],
)
def test_closer_and_closer(told, ends, steps, expected):
    """Steps of the first epoch that differs, and operations of the step, or of the start."""
    more = {"run": ABOUT, "operations": []}
    found, asked = told(
        {**more, "epochs": ENDS, "steps": STEPS}, {**more, "epochs": ends, "steps": steps}
    )
    epoch, step, arrays = expected
    assert found == ([], epoch, step, arrays, None)
    questions = [{"steps": {"epoch": epoch}}] if epoch else []
    questions += [{"operations": {"epoch": epoch, "step": step}}] if step or not epoch else []
    assert [one[2:] for one in asked] == [questions] * 2
