"""The benchmark: operations counted, intervals, documents, and the commands."""

import copy
import json
import math
import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdigits as jd
from jaxdigits.bench import document as documents
from jaxdigits.bench import intervals, pair, scaling, time_to
from jaxdigits.bench.compare import compare
from jaxdigits.bench.flops import forward_flops, training_flops
from jaxdigits.bench.peaks import datasheet_peak
from jaxdigits.bench.timing import PRODUCT
from jaxdigits.bench.workloads import WORKLOADS, Benchmark
from jaxdigits.cli import bench
from jaxdigits.cli.options import DataOptions
from jaxdigits.errors import RunError
from jaxdigits.models import convnet, linear, mlp, resnet

LETTERS = [
    26 * 26 * 9 * 32,
    11 * 11 * 9 * 32 * 64,
    4 * 4 * 9 * 64 * 128,
    *(512 * 64, 64 * 128, 128 * 26),
]
"""Multiplications of each layer, by hand."""


def test_operations_by_hand():
    configs = {name: workload.config for name, workload in WORKLOADS.items()}
    assert forward_flops(configs["linear"], 10) == 2 * 784 * 10
    assert training_flops(configs["linear"], 10) == 2 * 2 * 784 * 10
    assert forward_flops(configs["mlp"], 10) == 2 * (784 * 30 + 30 * 10)
    assert training_flops(configs["mlp"], 10) == 2 * (2 * 784 * 30 + 3 * 30 * 10)
    assert forward_flops(configs["letters"], 26) == 2 * sum(LETTERS)
    assert training_flops(configs["letters"], 26) == 2 * (3 * sum(LETTERS) - LETTERS[0])
    wide = Benchmark("mlp", "inference", 64, width=100)
    assert wide.flops_per_image == 2 * (784 * 100 + 100 * 10)


def test_operations_of_resnet_by_hand():
    """7x7 pixels after the stem, then 4x4, 2x2 and 1x1; only weights that meet a pixel count."""
    # How often a 3x3 kernel meets a pixel along a side of so many pixels, stride 1 and stride 2.
    meets, halving = {7: 19, 4: 10, 2: 4, 1: 1}, {7: 10, 4: 5, 2: 2}
    # A 7x7 kernel at every second pixel of 28, from 3 outside: it meets 4, 6, 7 (11 times), 5.
    products = [(4 + 6 + 11 * 7 + 5) ** 2 * 64] + [meets[7] ** 2 * 64 * 64] * 4
    for (before, after), side in zip(pairwise((64, 128, 256, 512)), (7, 4, 2), strict=True):
        half = -(-side // 2)
        products += [
            halving[side] ** 2 * before * after,
            half**2 * before * after,
            *[meets[half] ** 2 * after * after] * 3,
        ]
    products += [1024 * 512, 512 * 10]
    config = WORKLOADS["resnet18"].config
    assert forward_flops(config, 10) == 2 * sum(products)
    assert training_flops(config, 10) == 2 * (3 * sum(products) - products[0])


@pytest.mark.parametrize("name", WORKLOADS)
def test_operations_by_the_compiler(name):
    """XLA counts what is not in matrix products too: some percent."""
    config, num_classes = WORKLOADS[name].config, WORKLOADS[name].num_classes
    init, apply = {
        "linear": (linear.init, linear.apply),
        "mlp": (lambda key: mlp.init(key, hidden=(30,)), mlp.apply),
        "letters": (convnet.init, _convnet_by_lax),
        "resnet18": (resnet.init, lambda p, x: resnet.apply(p, x, method="lax")),
    }[name]
    params = jax.eval_shape(init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((8, 28, 28), jnp.float32)
    analysis = jax.jit(apply).lower(params, images).compile().cost_analysis()
    assert analysis
    assert analysis["flops"] / 8 == pytest.approx(forward_flops(config, num_classes), rel=0.06)
    if name == "letters":
        grads = jax.grad(lambda params, images: apply(params, images).sum())
        analysis = jax.jit(grads).lower(params, images).compile().cost_analysis()
        assert analysis
        assert analysis["flops"] / 8 == pytest.approx(training_flops(config, num_classes), rel=0.1)


def _convnet_by_lax(params, images):
    values = images[..., None]
    for layer in params["conv"]:
        values = jax.lax.conv_general_dilated(
            values, layer["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        values = jax.lax.reduce_window(
            values, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"
        )
    return convnet.dense(params["dense"], values)


def test_peaks():
    assert datasheet_peak("NVIDIA A100-SXM4-40GB") == 156e12
    assert datasheet_peak("NVIDIA A10") == 62.5e12
    assert datasheet_peak("NVIDIA H100 PCIe") == 378e12
    assert datasheet_peak("TPU v5 lite") == 197e12
    assert datasheet_peak("cpu") is None


def test_intervals_of_a_rate_are_students():
    """With five rounds each is a block of its own."""
    seconds = np.exp(np.random.default_rng(0).normal(size=5) / 10)
    found = intervals.typical(seconds.tolist())
    logs = np.log(seconds)
    expected = stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs))
    assert (found.low, found.high) == pytest.approx(np.exp(expected))
    assert found.value == pytest.approx(np.exp(logs.mean()))


def test_a_ratio_is_that_of_the_fastest_rounds():
    """By hand: eight of 32 rounds, 1% apart; the limit is (0.025^(-1/7) - 1) of 7% below."""
    reach = 1.01 ** (7 * (0.025 ** (-1 / 7) - 1))
    before = [*(1.01**k for k in range(8)), *24 * [9.0]]
    after = [2 * seconds for seconds in before[::-1]]
    expected = (2.0, 2 / reach, 2 * reach)
    assert intervals.ratio(before, after) == pytest.approx(expected)
    assert intervals.ratio([1.0, 1.0], [2.0, 2.0]) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize("rounds", [3, 10, 30, 120])
@pytest.mark.parametrize("noise", [(0.1, 0.1), (0.02, 0.2), (0.2, 0.02)])
def test_the_interval_of_a_ratio_holds(rounds, noise, level):
    """Of 1,000 repetitions no more miss the true ratio than it says, but for chance."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(1000):
        before, after = (np.exp(rng.uniform(0, most, rounds)).tolist() for most in noise)
        found = intervals.ratio(before, after, level)
        missed += not found.low <= 1 <= found.high
    assert missed <= stats.binom.ppf(0.999, 1000, 1 - level)


def test_two_rounds_tell_nothing():
    found = intervals.ratio([1.0, 2.0], [1.0, 2.0], level=0.999)
    assert 0 < found.low < 1e-6
    assert 1e6 < found.high < math.inf


def test_a_ratio_of_interleaved_rounds_is_the_median():
    """By hand: of ten, the second least and greatest ratio bound it 97.9% of the time."""
    ratios = [1.0, 1.01, 1.02, 1.03, 1.04, 1.06, 1.07, 1.08, 1.09, 1.1]
    before = [1.0, 7.0, 3.0, 9.0, 2.0] * 2
    after = [ratio * first for ratio, first in zip(ratios, before, strict=True)]
    expected = (math.sqrt(1.04 * 1.06), 1.01, 1.09)
    assert intervals.paired(before, after, level=0.978) == pytest.approx(expected)
    few = intervals.paired(before[:3], after[:3])
    assert (few.low < 1e-6, few.value, few.high > 1e6) == (True, pytest.approx(1.01), True)


@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize("rounds", [3, 10, 30, 120])
def test_the_interval_of_interleaved_rounds_holds(rounds, level):
    """However the ratios spread: here one in ten is far too great, and one in ten too small."""
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(300):
        spread = rng.normal(0, 0.05, rounds) * np.where(rng.uniform(size=rounds) < 0.2, 20, 1)
        machine = np.exp(rng.exponential(0.3, rounds))
        found = intervals.paired(machine.tolist(), (machine * np.exp(spread)).tolist(), level)
        missed += not found.low <= 1 <= found.high
    assert missed <= stats.binom.ppf(0.999, 300, 1 - level)


def make_document(rng, factors: dict[str, float], noise: float, drift: float = 1.0) -> dict:
    """What `bench --json` would write where others slow each round, `noise` in the mean."""
    return {
        "benchmarks": [
            {
                "name": name,
                "stats": {"data": (drift * factor * np.exp(rng.exponential(noise, 120))).tolist()},
                "extra_info": {"images": 0 if name == PRODUCT else 1000},
            }
            for name, factor in {**factors, PRODUCT: 1.0}.items()
        ],
        "jaxdigits": {"platform": "cpu"},
    }


def changes_of(before, after):
    return compare(before, after).changes


def test_a_slowdown_is_found_and_noise_is_not(monkeypatch):
    """Of a hundred times seven that are the same, at most five find any; of 10%, all do."""
    monkeypatch.setattr("jaxdigits.bench.compare.MARGIN", 1.0)  # the intervals alone
    rng = np.random.default_rng(0)
    names = [f"benchmark {k}" for k in range(8)]
    false_alarms = 0
    for _ in range(100):
        before = make_document(rng, dict.fromkeys(names, 1.0), noise=0.03)
        after = make_document(rng, dict.fromkeys(names, 1.0) | {names[3]: 1.1}, noise=0.03)
        changes = changes_of(before, after)
        verdicts = {change.name: change.verdict for change in changes}
        assert verdicts.pop(names[3]) == "slower"
        false_alarms += set(verdicts.values()) != {"within noise"}
    assert false_alarms <= 5


def test_interleaved_rounds_are_compared_one_by_one():
    """On a machine that gets half as fast and back in the middle of both, and noise besides."""
    rng = np.random.default_rng(7)
    names = [f"benchmark {k}" for k in range(8)]
    machine = np.exp(0.4 + 0.4 * np.sin(np.linspace(0, 5, 120)))
    documents = []
    for factor in (1.0, 1.1):
        factors = dict.fromkeys(names, 1.0) | {names[3]: factor}
        document = make_document(rng, factors, noise=0.03)
        document["jaxdigits"]["pair"] = "the same"
        for entry in document["benchmarks"]:
            entry["stats"]["data"] = (machine * entry["stats"]["data"]).tolist()
        documents.append(document)
    changes = changes_of(*documents)
    verdicts = {change.name: change.verdict for change in changes}
    assert verdicts.pop(names[3]) == "slower"
    assert set(verdicts.values()) == {"within noise"}
    paired = {change.name: change.ratio for change in changes}
    documents[1]["jaxdigits"]["pair"] = "another"
    for change in changes_of(*documents):
        assert change.ratio != paired[change.name]


def test_a_busy_machine_hides_nothing_and_invents_nothing():
    """For a third of the rounds a neighbour takes half of the machine."""
    rng = np.random.default_rng(2)
    names = [f"benchmark {k}" for k in range(8)]
    for start in (0, 40, 80):
        before = make_document(rng, dict.fromkeys(names, 1.0), noise=0.01)
        after = make_document(rng, dict.fromkeys(names, 1.0) | {names[3]: 1.1}, noise=0.01)
        for entry in after["benchmarks"]:
            data = entry["stats"]["data"]
            data[start : start + 40] = [2 * seconds for seconds in data[start : start + 40]]
        changes = changes_of(before, after)
        verdicts = {change.name: change.verdict for change in changes}
        assert verdicts.pop(names[3]) == "slower"
        assert set(verdicts.values()) == {"within noise"}


@pytest.mark.parametrize("drift", [0.8, 1.0, 1.25])
def test_a_slowdown_that_is_called_visible_is_found(drift):
    rng = np.random.default_rng(4)
    before = make_document(rng, {"a": 1.0, "b": 2.0}, noise=0.05)
    after = make_document(rng, {"a": 1.0, "b": 2.0}, noise=0.05, drift=drift)
    changes = changes_of(before, after)
    assert {change.verdict for change in changes} == {"within noise"}
    for entry, change in zip(after["benchmarks"], changes, strict=False):  # the last: the product
        seconds = entry["stats"]["data"]
        entry["stats"]["data"] = [1.001 * change.visible * second for second in seconds]
    changes = changes_of(before, after)
    assert {change.verdict for change in changes} == {"slower"}


def test_times_are_those_of_an_image():
    """A call of twice as many images may take twice as long."""
    rng = np.random.default_rng(5)
    before, after = (make_document(rng, {"a": factor}, noise=0.01) for factor in (1.0, 2.0))
    after["benchmarks"][0]["extra_info"]["images"] *= 2
    assert [change.verdict for change in changes_of(before, after)] == ["within noise"]


def test_a_cpu_and_a_gpu_are_not_compared():
    rng = np.random.default_rng(6)
    before, after = (make_document(rng, {"a": 1.0}, noise=0.01) for _ in range(2))
    after["jaxdigits"]["platform"] = "gpu"
    with pytest.raises(RunError, match="different devices, cpu and gpu"):
        compare(before, after)


def test_nothing_to_compare(measured, cli, tmp_path):
    other = json.loads(measured.read_text())
    for entry in other["benchmarks"]:
        entry["name"] = entry["name"].replace("linear", "mlp")
    (tmp_path / "other.json").write_text(json.dumps(other))
    code, out, err = cli("bench", "compare", measured, tmp_path / "other.json")
    assert (code, out) == (2, "")
    assert "no benchmark in common" in err


def test_a_slower_machine_is_not_a_slower_program():
    rng = np.random.default_rng(1)
    factors = {"a": 1.0, "b": 2.0}
    before = make_document(rng, factors, noise=0.01)
    after = make_document(rng, factors, noise=0.01, drift=1.2)
    changes, machine, *_ = compare(before, after)
    assert machine.value == pytest.approx(1.2, rel=0.02)
    assert {change.verdict for change in changes} == {"within noise"}
    after = make_document(rng, factors | {"b": 1.4}, noise=0.01, drift=1.2)
    changes = changes_of(before, after)
    assert [change.verdict for change in changes] == ["within noise", "faster"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """A document, by the command line."""
    path = tmp_path_factory.mktemp("bench") / "a.json"
    words = ["--workloads", "linear", "--batch-sizes", "64", "256", "--quick", "--rounds", "3"]
    command = [sys.executable, "-m", "jaxdigits", "bench", *words, "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "train[linear-256]" in done.stdout
    assert done.stderr == ""
    return path


def test_the_document(measured):
    document = json.loads(measured.read_text())
    entries = {entry["name"]: entry for entry in document["benchmarks"]}
    assert sorted(entries) == [
        *("inference[linear-256]", "inference[linear-64]", PRODUCT),
        *("train[linear-256]", "train[linear-64]"),
    ]
    for entry in entries.values():
        data, extra = entry["stats"]["data"], entry["extra_info"]
        assert len(data) == entry["stats"]["rounds"] == 3
        assert entry["stats"]["min"] <= entry["stats"]["median"] <= entry["stats"]["max"]
        assert 0 < extra["share_of_product"] <= 1
        assert extra["share_of_datasheet"] is None or extra["share_of_datasheet"] < 1
        assert extra["program_bytes"] > 0
        assert min(extra[f"{part}_seconds"] for part in ("trace", "compile", "first")) > 0
    train = entries["train[linear-64]"]["extra_info"]
    assert train["images"] == 12_800
    assert train["flops"] == train["images"] * 4 * 7840
    low, high = train["interval_95"]
    assert low <= train["images_per_second"] <= high
    ours = document["jaxdigits"]
    assert ours["schema"] == documents.SCHEMA
    assert ours["data"] == jd.data.load("digits").fingerprint.as_dict()
    assert ours["peak_bytes"]["process"] > 5e7
    assert "jax" in ours["versions"]
    assert "JAX_COMPILATION_CACHE_DIR" not in ours["flags"]
    assert {"machine_info", "commit_info", "datetime", "version"} < set(document)
    machine = document["machine_info"]
    assert machine["memory_bytes"] > 10**8
    assert machine["load"] >= 0
    assert machine["clock_mhz"] is None or machine["clock_mhz"] > 100


def test_what_lies_outside_of_the_rest():
    """As pytest-benchmark counts: by deviations from the mean, and by quartiles."""
    found = documents.stats([1.0, 2.0, 3.0, 4.0, 20.0], calls=2)
    assert (found["q1"], found["median"], found["q3"], found["iqr"]) == (2, 3, 4, 2)
    assert (found["ld15iqr"], found["hd15iqr"]) == (1, 4)
    assert (found["stddev_outliers"], found["iqr_outliers"]) == (1, 1)
    assert (found["outliers"], found["total"], found["ops"]) == ("1;1", 60, 1 / 6)
    alone = documents.stats([1.0], calls=1)
    assert (alone["outliers"], alone["stddev"]) == ("0;0", 0)


@pytest.mark.parametrize(("limit", "code"), [("5%", 1), ("0.05", 1), ("30%", 0)])
def test_a_slowdown_may_fail(limit, code, cli, tmp_path):
    """By more than a share, and beyond noise; what was not measured twice is named."""
    rng = np.random.default_rng(0)
    names = {"a": 1.0, "b": 1.0}
    before = make_document(rng, {**names, "old": 1.0}, noise=0.001)
    after = make_document(rng, {"a": 1.2, "b": 1.0, "new": 1.0}, noise=0.001)
    for name, document in (("before", before), ("after", after)):
        document["jaxdigits"]["schema"] = documents.SCHEMA
        (tmp_path / name).write_text(json.dumps(document))
    words = ["bench", "compare", tmp_path / "before", tmp_path / "after", "--fail-above", limit]
    found, out, err = cli(*words)
    assert found == code
    assert "only in the first measurement: old" in err
    assert "only in the second measurement: new" in err
    assert (f"slower by more than {limit}: a\n" in err) == bool(code)
    assert out


def test_a_limit_that_is_none(measured, cli):
    code, out, err = cli("bench", "compare", measured, measured, "--fail-above", "much")
    assert (code, out) == (2, "")
    assert "--fail-above must be a share such as 5%, not 'much'" in err


def test_compare_by_the_command_line(measured, cli, tmp_path):
    code, out, _ = cli("bench", "compare", measured, measured)
    assert code == 0
    assert "within noise" in out
    assert "slower" not in out.replace("is slower", "")
    slow = json.loads(measured.read_text())
    for entry in slow["benchmarks"]:
        if entry["name"] == "train[linear-64]":
            entry["stats"]["data"] = [1e12 * seconds for seconds in entry["stats"]["data"]]
    (tmp_path / "slow.json").write_text(json.dumps(slow))
    code, out, _ = cli("bench", "compare", measured, tmp_path / "slow.json", "--json")
    verdicts = {change["name"]: change["verdict"] for change in json.loads(out)["changes"]}
    assert code == 0
    assert verdicts.pop("train[linear-64]") == "slower"
    assert set(verdicts.values()) == {"within noise"}


def test_pair_by_the_command_line(cli, tmp_path):
    """The same program twice; what is kept of the two gives the same answer again."""
    ours = f"{sys.executable} -m jaxdigits"
    kept = [tmp_path / "before.json", tmp_path / "after.json"]
    words = ["--workloads", "linear", "--modes", "train", "--batch-sizes", "64", "64", "--quick"]
    words += ["--rounds", "10", "--json"]
    files = ["--before-json", kept[0], "--after-json", kept[1]]
    code, out, err = cli("bench", "pair", ours, f"env OMP_NUM_THREADS=2 {ours}", *words, *files)
    assert code == 0
    assert "not the same flags: {'OMP_NUM_THREADS': '1'}, now {'OMP_NUM_THREADS': '2'}" in err
    found = json.loads(out)
    assert found["interleaved"]
    assert [change["name"] for change in found["changes"]] == ["train[linear-64]"]
    assert json.loads(cli("bench", "compare", *kept, "--json")[1]) == found
    before, after = (json.loads(path.read_text()) for path in kept)
    assert before["jaxdigits"]["pair"] == after["jaxdigits"]["pair"]
    ratios = [
        second / first
        for first, second in zip(
            *(document["benchmarks"][0]["stats"]["data"] for document in (before, after)),
            strict=True,
        )
    ]
    assert found["changes"][0]["value"] == pytest.approx(np.median(ratios), rel=0.01)


def test_each_of_a_pair_waits_for_its_turn(tmp_path):
    """Which goes first changes from round to round, with any number of programs."""
    log = tmp_path / "log"
    (tmp_path / "side.py").write_text(
        "import sys\n"
        "for turn in range(6):\n"
        "    print('ready', flush=True)\n"
        "    assert sys.stdin.readline()\n"
        f"    print(sys.argv[1], end='', file=open({str(log)!r}, 'a'))\n"
    )
    commands = [f"{sys.executable} {tmp_path / 'side.py'} {name}" for name in "ab"]
    for programs, expected in ((2, "ba ab ab ba ba ab"), (3, "ba ab ba ab ba ab")):
        log.unlink(missing_ok=True)
        pair.measure_interleaved(
            commands, [], [tmp_path, tmp_path], rounds=6 // programs, programs=programs
        )
        assert log.read_text() == expected.replace(" ", "")
    with pytest.raises(RunError, match=r"side\.py b bench run` ended with exit code 1 before"):
        pair.measure_interleaved(
            [commands[0], f"{sys.executable} -c 1/0 side.py b"], [], [tmp_path] * 2,
            rounds=3, programs=2,
        )  # fmt: skip


def test_what_belongs_to_a_pair_needs_the_other(python):
    words = ["--workloads", "linear", "--modes", "inference", "--pair", "x"]
    done = python("-m", "jaxdigits", "bench", *words, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "ready\n")
    assert "standard input ended before the last round of the pair" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.clear(), "is not what `jaxdigits bench --json` writes"),
        (lambda d: d["jaxdigits"].update(schema=99), "has schema 99, this version reads 1"),
        (lambda d: d["benchmarks"].pop(), "is damaged: rounds are missing"),
        (lambda d: d["benchmarks"][0]["stats"]["data"].clear(), "is damaged"),
        (lambda d: d["benchmarks"][0].pop("stats"), "is damaged"),
        (lambda d: d["benchmarks"][0]["extra_info"].pop("images"), "is damaged"),
    ],
)
def test_documents_that_are_none(change, message, measured, cli, tmp_path):
    document = copy.deepcopy(json.loads(measured.read_text()))
    change(document)
    (tmp_path / "bad.json").write_text(json.dumps(document))
    code, out, err = cli("bench", "compare", measured, tmp_path / "bad.json")
    assert (code, out) == (2, "")
    assert message in err
    (tmp_path / "bad.json").write_text("{")
    assert cli("bench", "compare", tmp_path / "bad.json", measured)[0] == 2
    assert cli("bench", "compare", tmp_path / "none.json", measured)[0] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workloads", "vgg"], "there is no workload vgg; there are linear, mlp"),
        (["--modes", "sleep"], "there is no mode sleep; there are train, inference"),
        (["--rounds", "1"], "rounds must be 2 to 10000, not 1"),
        (["--batch-sizes", "0"], "batch sizes must be 1 to 60000"),
        (["--batch-sizes", "64", "11", "--devices", "2"], "must be multiples of the 2 devices"),
        (["time-to", "--accuracy", "99"], "accuracy must be above 0 and below 1"),
        (["time-to", "--seeds", "1"], "seeds must be 2 to 1000, not 1"),
        (["time-to"], "MNIST is not prepared"),
        (["scaling", "--rounds", "0"], "rounds must be 2 to 10000"),
        (["pair", "x", "y", "--rounds", "1"], "rounds must be 2 to 10000, not 1"),
        (["pair", "x", "y", "--workloads", "vgg"], "there is no workload vgg"),
        (["pair", "no/such", "y"], "cannot run `no/such`: No such file or directory"),
        (["pair", "'x", "y"], "cannot run `'x`: No closing quotation"),
        (["pair", "true", "y"], "`true bench run` ended with exit code 0 before the last round"),
    ],
)
def test_wrong_words(words, message, cli):
    code, out, err = cli("bench", *words)
    assert (code, out) == (2, "")
    assert message in err


def test_scaling(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(scaling, "WORKLOADS", {"linear": WORKLOADS["linear"]})
    monkeypatch.setattr(scaling, "BATCH_SIZES", (64, 256))
    monkeypatch.setattr(scaling, "WIDTHS", (32,))
    bench.scaling(out=tmp_path / "s.png", json=tmp_path / "s.json", rounds=2)
    assert (tmp_path / "s.png").stat().st_size > 10_000
    document = json.loads((tmp_path / "s.json").read_text())
    names = {entry["name"] for entry in document["benchmarks"]}
    assert {"train[linear-256]", "train[mlp-64-width32]", "train[linear-64-devices2]"} < names
    assert "drawn to" in capsys.readouterr().out


def test_time_to(monkeypatch, tmp_path, capsys):
    """The share of runs that get there, and the mean time, of a recipe that is quick to run."""
    (tmp_path / "recipe.py").write_text(
        "import argparse, json\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--seed', type=int)\n"
        "seed = parser.parse_args().seed\n"
        "print(json.dumps({'test_accuracy': 0.985 + 0.005 * seed, 'seconds': {'train': 0.1}}))\n"
    )
    monkeypatch.setattr(time_to, "RECIPE", "recipe")
    monkeypatch.setattr(jd.data, "is_prepared", lambda *_: True)
    bench.time_to(DataOptions(), 0.99, seeds=4, json=tmp_path / "t.json")
    document = json.loads((tmp_path / "t.json").read_text())
    assert (document["reached"], document["seeds"]) == (3, 4)
    assert document["mean_accuracy"] == pytest.approx(0.9925)
    assert 0 < document["mean_seconds"] < 10
    assert "3 of 4 reach 99.00%" in capsys.readouterr().out
    (tmp_path / "recipe.py").write_text("raise SystemExit(1)")
    with pytest.raises(jd.errors.RunError, match="the recipe failed with seed 0"):
        bench.time_to(DataOptions(), 0.99, seeds=2)


def test_the_start_of_the_recipe_is_that_of_the_network():
    """By numpy, but in the same places, of the same sizes, and within the same bounds."""
    with patch.dict(os.environ):  # which it prepares for jax
        recipe = import_module(time_to.RECIPE)

    model = jd.Model(partial(convnet.init, num_classes=10, channels=(4, 5, 6)), convnet.apply)
    start, other = (recipe.initial_params(model, seed) for seed in (0, 1))
    expected = jax.device_get(model.init(jax.random.key(0)))
    assert jax.tree.structure(start) == jax.tree.structure(expected)
    for ours, second, theirs in zip(*map(jax.tree.leaves, (start, other, expected)), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert not np.array_equal(ours, second)
        if ours.size > 100:
            assert abs(ours).max() == pytest.approx(abs(theirs).max(), rel=0.05)
            assert ours.std() == pytest.approx(theirs.std(), rel=0.2)


def test_peers(python, tmp_path):
    """The sides take turns and have equal numbers of parameters."""
    script = Path(__file__).parents[2] / "experiments" / "peers" / "compare.py"
    words = ["--workloads", "mlp", "--images", "128", "--rounds", "6", "--libraries", "flax"]
    done = python(str(script), *words, "--out", str(tmp_path / "peers.json"))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "peers.json").read_text())["rows"]
    assert row["parameters"] == 23_860
    assert {*row["images_per_second"]} == {"jaxdigits", "Flax NNX, jit", "Flax NNX, cached"}
    low, high = row["times_as_fast"]["Flax NNX"]["interval_95"]
    assert low <= row["times_as_fast"]["Flax NNX"]["median"] <= high
    assert (tmp_path / "peers.png").stat().st_size > 10_000
