"""Many runs as one program."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import psutil
import pytest
from helpers import history, notes, stop_after
from jax.sharding import Mesh

import jaxdigits as jd
from jaxdigits.config import CheckpointConfig, parse_settings
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError, StoppedError
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.runs import fit
from jaxdigits.runs.checkpoints import saved_chunks
from jaxdigits.sweeps import grid as grids
from jaxdigits.sweeps.summary import Setting, SweepResult, rank
from jaxdigits.sweeps.sweep import resume
from jaxdigits.sweeps.train import SweepTrainer
from jaxdigits.training.members import make_vectorized_trainer, members_mesh
from jaxdigits.training.resolve import DataSpec
from jaxdigits.training.sharding import replicate
from jaxdigits.training.trainer import make_trainer

BASE = jd.TrainConfig(
    dataset="digits", model="linear", batch_size=64, epochs=3, weight_decay=0.1,
    augment=("shift",), ema_decay=0.9, seed=5,
)  # fmt: skip
GRID = {"learning_rate": (0.01, 0.002), "ema_decay": (0.9, 0.5)}
SWEEP = ("sweep", "--dataset", "digits", "--model", "linear", "--epochs", "3")


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> SweepResult:
    folder = tmp_path_factory.mktemp("sweeps") / "x"
    return jd.sweep(BASE, GRID, seeds=3, folder=folder)


@pytest.fixture(scope="module")
def swept(result) -> Path:
    return result.folder


def document_of(folder: Path) -> dict:
    return json.loads((folder / "sweep.json").read_text())


def leaves_close(first, second, atol):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)


def test_no_time_is_counted_before_training():
    trainer = SweepTrainer(grids.make_plan(jd.TrainConfig(), {}, 1), {}, 1, None)
    assert trainer.seconds == {"compile": 0, "train": 0}


def test_members_are_all_combinations_with_all_seeds(swept):
    settings = grids.expand(BASE, GRID)
    assert len(settings) == 4
    for index in range(12):
        run = jd.load(swept / "members" / str(index))
        expected = replace(settings[index // 3], seed=5 + index % 3)
        assert run.config == expected
        lines = (swept / "members" / str(index) / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]
    names = [setting["setting"] for setting in document_of(swept)["settings"]]
    assert names[1] == "learning_rate 0.01, ema_decay 0.5"


@pytest.mark.parametrize("index", [0, 11])
def test_a_member_is_the_same_run_alone(swept, index):
    member = jd.load(swept / "members" / str(index))
    alone = jd.fit(member.config, devices=1)
    leaves_close(member.params, alone.params, atol=1e-5)
    for measure in ("loss", "accuracy"):
        theirs = alone.results["validation"][measure]
        assert member.results["validation"][measure] == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize(("model", "optimizer"), [("convnet", "sgd"), ("linear", "adamw")])
def test_together_on_two_devices_and_alone(digits, model, optimizer):
    """For other models too, and on any platform's way: vmapped, or one after the other."""
    data = replace(digits, train=jd.Examples(digits.train.images[:100], digits.train.labels[:100]))
    base = jd.TrainConfig(
        model=model, optimizer=optimizer, epochs=1, batch_size=32, augment=(), schedule="cosine"
    )
    name = "momentum" if optimizer == "sgd" else "weight_decay"
    members = [
        base.replace(learning_rate=rate, seed=seed, **{name: share})
        for rate, share, seed in ((0.01, 0.5, 0), (0.001, 0.9, 1))
    ]
    assert grids.group_by_program(members) == [[0, 1]]
    trainer = make_vectorized_trainer(members[0], data, members_mesh(2))
    hyperparams = {
        name: np.array([config.hyperparams[name] for config in members], np.float32)
        for name in members[0].hyperparams
    }
    assert list(hyperparams) == ["learning_rate", name]
    keys = trainer.shard(jax.vmap(jax.random.key)(np.array([0, 1], np.uint32)))
    arrays = replicate(data, trainer.mesh)
    fast = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    states = jax.jit(trainer.init)(keys, trainer.shard(hyperparams), arrays.train)
    states, metrics = jax.jit(trainer.train_epoch, compiler_options=fast)(states, arrays.train)
    states, metrics = jax.device_get((states, metrics))
    for index, config in enumerate(members):
        one = make_trainer(config, data)
        state = jax.jit(one.init)(jax.random.key(index))
        state, alone = jax.jit(one.train_epoch, compiler_options=fast)(state, data.train)
        leaves_close(
            jax.tree.map(lambda leaf, i=index: leaf[i], states.params), state.params, atol=1e-5
        )
        np.testing.assert_allclose(metrics.loss[index], alone.loss, rtol=1e-5)


def test_members_are_vmapped_on_a_gpu(digits, monkeypatch):
    """The same networks, but for rounding."""
    data = replace(digits, train=jd.Examples(digits.train.images[:99], digits.train.labels[:99]))
    config = jd.TrainConfig(model="mlp", hidden=(8,), epochs=1, batch_size=32, dropout=0.2)
    config = config.replace(augment=("shift",))
    rates = {
        name: np.array(values, np.float32)
        for name, values in {"learning_rate": [0.01, 0.1], "weight_decay": [0, 0.1]}.items()
    }
    keys = jax.random.split(jax.random.key(0), 2)
    found = []
    for platform in ("cpu", "gpu"):
        monkeypatch.setattr("jaxdigits.training.members.platform_of", lambda _, p=platform: p)
        trainer = make_vectorized_trainer(config, data, members_mesh(1))
        state = jax.jit(trainer.init)(keys, rates, data.train)
        found.append(jax.jit(trainer.train_epoch)(state, data.train))
    leaves_close(*(states.params for states, _ in found), atol=1e-5)
    np.testing.assert_allclose(found[0][1].loss, found[1][1].loss, rtol=1e-5)


def test_the_best_setting_is_chosen_on_validation(result, swept):
    document = document_of(swept)
    assert document == json.loads(json.dumps(result.document))
    assert result.best.name == document["settings"][document["best"]]["setting"]
    means = []
    for place, setting in enumerate(document["settings"]):
        assert setting["members"] == [3 * place, 3 * place + 1, 3 * place + 2]
        found = [
            jd.load(swept / "members" / str(index)).results["validation"]["accuracy"]
            for index in setting["members"]
        ]
        spread = setting["validation_accuracy"]
        assert spread["values"] == pytest.approx(found)
        mean, *interval = mean_interval(found)
        assert spread["mean"] == pytest.approx(mean)
        assert spread["interval_95"] == pytest.approx(np.clip(interval, 0, 1))
        assert spread["range"] == pytest.approx([min(found), max(found)])
        means.append(mean)
        assert ("test_accuracy" in setting) == (place == document["best"])
    assert np.argmax(means) == document["best"]
    # No other member was measured on the test images.
    for index in range(12):
        assert list(jd.load(swept / "members" / str(index)).results) == ["validation"]


def test_the_ensemble_averages_probabilities(result, swept):
    best, test = document_of(swept)["settings"][result.order[0]], jd.data.load("digits", "test")
    members = [jd.load(swept / "members" / str(index)) for index in best["members"]]
    mean = np.mean([member.predict_uncalibrated_proba(test.images) for member in members], axis=0)
    for ensemble in (jd.load(swept), result.ensemble):
        np.testing.assert_allclose(
            ensemble.predict_uncalibrated_proba(test.images), mean, rtol=1e-4, atol=1e-6
        )
        np.testing.assert_array_equal(ensemble.predict(test.images), mean.argmax(axis=1))
        assert ensemble.results == best["ensemble"]["results"]
    accuracy = (mean.argmax(axis=1) == test.labels).mean()
    assert result.ensemble.results["test"]["accuracy"] == pytest.approx(accuracy)
    own = [(member.predict(test.images) == test.labels).mean() for member in members]
    assert result.test_accuracies == pytest.approx(own)
    assert best["test_accuracy"]["values"] == pytest.approx(own)


def test_a_sweep_is_evaluated(result, swept, cli):
    code, out, err = cli("evaluate", swept, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    own = told["members"]["test_accuracy"]
    assert told["same_as_recorded"] is True
    assert told["results"] == result.ensemble.results
    assert own == pytest.approx(result.test_accuracies)
    code, out, _ = cli("evaluate", swept)
    assert f"whose test accuracies are {min(own):.2%} to {max(own):.2%}" in out


def test_a_complete_sweep_is_read_again(result, swept, notes):
    """What `sweep` gave, however it is asked for."""
    before = notes.copy()
    for again in (resume(swept), jd.sweep(BASE, GRID, seeds=3, folder=swept, resume=True)):
        assert again.settings == result.settings
        assert (again.order, again.folder) == (result.order, result.folder)
        assert again.test_accuracies == result.test_accuracies
        assert again.document == document_of(swept)
    assert notes == [*before, f"{swept} is complete: there is nothing to resume"]


def test_a_sweep_without_a_folder():
    """Of data in memory; a member is the run of its settings."""
    train, test = (jd.data.load("digits", split) for split in ("train+validation", "test"))
    splits = jd.data.from_arrays("mine", train.examples, test.examples, train.class_names)
    config = jd.TrainConfig(model="linear", epochs=2, seed=3)
    found = jd.sweep(config, {"learning_rate": [1e-6, 0.01]}, splits, seeds=2)
    assert list(Path().iterdir()) == []
    assert found.folder is None
    assert found.best.name == "learning_rate 0.01"
    assert found.best.members == [2, 3]
    assert repr(found.ensemble).startswith("<Run: ensemble of 2 x linear on mine, test accuracy")
    for member, seed in zip(found.ensemble.members, (3, 4), strict=True):
        assert member.config == config.replace(learning_rate=0.01, seed=seed, augment=())
        alone = jd.fit(member.config, splits)
        leaves_close(member.params, alone.params, atol=1e-5)
        assert [line["epoch"] for line in member.history] == [0, 1, 2]
    with pytest.raises(DataError, match="data has no split test: give a mapping"):
        jd.sweep(config, {}, {name: splits[name] for name in ("train", "validation")})


def test_a_diverged_member_harms_no_other(cli):
    code, out, err = cli(
        *SWEEP, "--learning-rate", "0.05,1e38", "--optimizer", "sgd", "--schedule", "constant",
        "--seeds", "2", "--out", "s", "--devices", "2",
    )  # fmt: skip
    assert (code, notes(err)) == (0, "")
    assert "2 of 2 diverged" in out
    assert "best on validation: learning_rate 0.05" in out
    assert [setting["diverged"] for setting in document_of(Path("s"))["settings"]] == [0, 2]
    assert cli(*SWEEP, "--learning-rate", "0.05", "--optimizer", "sgd", "--schedule", "constant",
               "--seeds", "2", "--out", "alone")[0] == 0  # fmt: skip
    for index in ("0", "1"):
        leaves_close(
            jd.load(Path("s/members") / index).params,
            jd.load(Path("alone/members") / index).params,
            atol=1e-5,
        )
    assert cli("evaluate", "s")[0] == 0


@pytest.mark.usefixtures("pictures")
def test_seeds_of_train(cli):
    """Members by three are members by two; without a name the folder is in sweeps."""
    arguments = ("train", *SWEEP[1:], "--seeds", "3", "--seed", "7")
    code, out, err = cli(*arguments)
    assert (code, notes(err)) == (0, "")
    assert "the ensemble of its 3 members" in out
    folder = Path("sweeps/digits-linear")
    assert [jd.load(folder / "members" / str(i)).config.seed for i in range(3)] == [7, 8, 9]
    assert cli(*arguments, "--members-per-batch", "2", "--out", "two")[0] == 0
    for index in range(3):
        leaves_close(
            jd.load(folder / "members" / str(index)).params,
            jd.load(Path("two/members") / str(index)).params,
            atol=1e-5,
        )
    drawn = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert drawn.keys() == {"curves.png", "settings.png"}
    assert all(picture.startswith(b"\x89PNG") for picture in drawn.values())
    assert out.endswith("digits-linear: sweep.json, members, settings.png, curves.png\n")


def metrics_of(folder: Path) -> list[list[dict]]:
    count = len(list((folder / "members").iterdir()))
    return [history(folder / "members" / str(index)) for index in range(count)]


def params_of(folder: Path) -> list[bytes]:
    count = len(list((folder / "members").iterdir()))
    return [
        (folder / "members" / str(index) / "params.safetensors").read_bytes()
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("platform", "stats", "budget"),
    [
        ("gpu", {"bytes_limit": 900, "bytes_in_use": 300}, 300),
        ("gpu", None, 125),  # a device that does not say
        ("gpu", {}, 125),
        ("gpu", {"bytes_in_use": 300}, 125),
        (
            "cpu",
            {"bytes_limit": 900, "bytes_in_use": 300},
            125,
        ),  # the machine's, for all its devices
    ],
)
def test_half_of_the_free_memory_may_be_taken(monkeypatch, platform, stats, budget):
    device = mock.Mock(platform=platform)
    device.memory_stats.return_value = stats
    mesh = mock.create_autospec(Mesh, instance=True)
    mesh.local_devices, mesh.size = [device] * 4, 8  # as many in another process
    monkeypatch.setattr(psutil, "virtual_memory", lambda: mock.Mock(available=1000))
    assert grids.memory_budget(mesh) == budget


def test_it_resumes_to_the_bit(monkeypatch, notes, tmp_path):
    """Stopped in the second of three batches, and its newest checkpoint damaged."""
    monkeypatch.setattr("jaxdigits.plots.save", lambda *_: None)
    grid, folder = {"augment": (("shift",), ())}, tmp_path / "x"
    jd.sweep(BASE, grid, seeds=3, folder=tmp_path / "alone", members_per_batch=2)
    with monkeypatch.context() as patched:
        stop_after(patched, 5, signal.SIGTERM)
        with pytest.raises(StoppedError, match=r"after epoch 5 of 12; .* sweep --resume") as stop:
            jd.sweep(
                BASE, grid, seeds=3, folder=folder, members_per_batch=2,
                saving=CheckpointConfig(checkpoint_epochs=1),
            )  # fmt: skip
        assert stop.value.exit_code == 143
    work = tmp_path / "x.unfinished"
    assert len(list((work / "members").iterdir())) == 2
    path = work / "checkpoints" / "5.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(OutputError, match="holds an unfinished run: resume it with --resume"):
        jd.sweep(BASE, grid, seeds=3, folder=folder)
    with pytest.raises(ConfigError, match="is a sweep: resume it with `jaxdigits sweep --resume"):
        fit.resume(folder)
    with pytest.raises(ConfigError, match="is a sweep: resume it with `jaxdigits sweep --resume"):
        jd.fit(BASE, folder=folder, resume=True)
    with pytest.raises(ConfigError, match="was begun with other lists of values"):
        resume(folder, grid={"augment": (("rotate",), ())})
    again = {"folder": folder, "resume": True}
    for other in ({"seeds": 2, "members_per_batch": 2}, {"seeds": 3, "members_per_batch": 3}):
        name = "seeds" if other["seeds"] == 2 else "members_per_batch"
        with pytest.raises(ConfigError, match=f"was begun with other {name}"):
            jd.sweep(BASE, grid, **other, **again)
    with pytest.raises(ConfigError, match=r"was begun with label_smoothing 0\.0, not 0\.5"):
        resume(folder, expected=BASE.replace(label_smoothing=0.5), given={"label_smoothing"})
    resume(folder, expected=BASE, given={"label_smoothing", "augment"}, grid=grid)
    first, second = notes
    assert "checkpoints/5.safetensors cannot be read: " in first
    assert second == "resuming after epoch 4 of 12"
    assert params_of(folder) == params_of(tmp_path / "alone")
    assert metrics_of(folder) == metrics_of(tmp_path / "alone")


def test_it_resumes_with_less_memory(monkeypatch, tmp_path):
    """The members are trained together as before, to the bit."""
    monkeypatch.setattr("jaxdigits.plots.save", lambda *_: None)
    config = BASE.replace(epochs=2)
    jd.sweep(config, seeds=3, folder=tmp_path / "alone")
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(StoppedError):
            jd.sweep(config, seeds=3, folder=tmp_path / "x")
    monkeypatch.setattr(grids, "choose_members_per_batch", lambda *_: 2)
    resume(tmp_path / "x")
    assert params_of(tmp_path / "x") == params_of(tmp_path / "alone")


def test_killed(cli):
    settings = (*SWEEP, "--epochs", "200", "--seeds", "2", "--checkpoint-epochs", "20")
    command = [sys.executable, "-m", "jaxdigits", *settings, "--out", "run"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while 40 not in saved_chunks(Path("run.unfinished")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    code, _, err = cli("sweep", "--resume", "run")
    assert code == 0
    assert re.fullmatch(r"resuming after epoch \d+ of 200\n", notes(err))
    assert not Path("run/checkpoints").exists()
    assert cli(*settings, "--out", "alone")[0] == 0
    assert params_of(Path("run")) == params_of(Path("alone"))
    assert metrics_of(Path("run")) == metrics_of(Path("alone"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0.1,fast"], "learning_rate must be a number, not 'fast'"),
        (["--hidden", "32,64.5"], "hidden must be a whole number, not '64.5'"),
        (["--learning-rate", "0.1,0.1"], "the values of a setting must differ"),
        (["--learning-rate", "0.1,-1"], "learning_rate must be a number above 0, not -1.0"),
        (["--model", "mlp,transformer"], "model must be one of convnet"),
        (["--dataset", "digits,mnist"], "a sweep has one dataset"),
        (["--seed", "1,2"], "a sweep has one seed; give --seeds"),
        (["--seeds", "0"], "seeds must be 1 to 1000, not 0"),
        (
            ["--seeds", "1000", "--model", "mlp", "--hidden", "8,16"],
            "2,000 members are too many: at most 1000",
        ),
        (["--model", "mlp,linear", "--hidden", "8"], "hidden applies to model mlp only"),
        (["--members-per-batch", "0"], "members_per_batch must be 1 or more, not 0"),
        (["--devices", "3"], "devices must be 1 to 2, as many as jax has here, not 3"),
        (["--resume", "nowhere"], "there is no run to resume in"),
    ],
)
def test_wrong_settings(cli, arguments, message):
    code, out, err = cli("sweep", "--dataset", "digits", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("sweeps").exists()


def test_lists_of_values():
    config, grid = parse_settings(
        {"model": "mlp", "augment": "none,shift+rotate", "epochs": "3,4", "hidden": "8x4"}
    )
    assert config.hidden == (8, 4)
    assert grid == {"augment": (("none",), ("shift", "rotate")), "epochs": (3, 4)}
    assert [c.augment for c in grids.expand(config, grid)] == [(), (), *[("shift", "rotate")] * 2]


def test_members_share_programs_only_where_shapes_are_the_same():
    base = jd.TrainConfig(model="mlp")
    others = [replace(base, hidden=(9,)), replace(base, epochs=3), replace(base, batch_size=9)]
    same = [replace(base, learning_rate=0.1), replace(base, seed=3, weight_decay=0.5)]
    assert grids.group_by_program([base, *others, *same]) == [[0, 4, 5], [1], [2], [3]]
    # An optimizer without momentum keeps no average of gradients.
    sgd = replace(base, optimizer="sgd")
    members = [sgd, replace(sgd, momentum=0.1), replace(sgd, momentum=0.9)]
    assert grids.group_by_program(members) == [[0], [1, 2]]


def test_how_many_at_once(digits, monkeypatch):
    """As memory allows, in multiples of the devices; of convolutional networks one on each."""
    mlp, mesh = jd.TrainConfig(model="mlp", hidden=(30,)), members_mesh(2)
    spec, size = DataSpec.of(digits, "unit"), grids.tree_bytes(digits)

    def choose(config, members):
        return grids.choose_members_per_batch(config, spec, size, members, mesh)

    assert choose(mlp, 32) == 32
    assert choose(mlp, 5) == 6
    assert choose(jd.TrainConfig(), 32) == 2
    # 23,860 parameters with their two moments, twice, take 573 kB; the data 1.1 MB.
    monkeypatch.setattr(grids, "memory_budget", lambda _: 1_200_000 + 3 * 573_000)
    assert choose(mlp, 32) == 6
    monkeypatch.setattr(grids, "memory_budget", lambda _: 0)
    assert choose(mlp, 32) == 2


def test_members_that_do_not_fit(monkeypatch, tmp_path):
    monkeypatch.setattr(grids, "memory_budget", lambda _: 1000)
    with pytest.raises(ConfigError, match="choose fewer --members-per-batch"):
        jd.sweep(BASE, {}, seeds=2, folder=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_damaged_sweeps(swept, tmp_path):
    document = document_of(swept)
    for content, message in (
        ("{", "sweep.json is damaged"),
        (json.dumps({**document, "format": 99}), "written by a newer jaxdigits"),
        (json.dumps({**document, "best": 99}), "sweep.json is damaged"),
    ):
        (tmp_path / "sweep.json").write_text(content)
        with pytest.raises(RunError, match=message):
            jd.load(tmp_path)


def test_a_setting_with_a_diverging_member_comes_last():
    """However accurate the others are; diverging ones among themselves by accuracy."""
    names = {"good": ([0.9, 0.9], 0), "one diverged": ([0.99], 1), "two diverged": ([0.95], 2)}
    settings = [Setting(name, [0, 1], values, [0], n) for name, (values, n) in names.items()]
    assert rank(settings) == [0, 1, 2]
    assert rank(settings[::-1]) == [2, 1, 0]


def test_settings_of_one_member_each(cli):
    """Each compiles to a separate program, and shows its epochs."""
    code, out, err = cli(
        *("sweep", "--dataset", "digits", "--model", "linear", "--batch-size", "500,700"),
        *("--epochs", "2"),
    )
    assert code == 0
    assert re.search(r"^batch_size 500 +1 +\d", out, re.MULTILINE)
    first, *epochs = err.splitlines()
    assert first == "training 2 networks, 2 settings, on digits: 1,317 images, up to 1 at once"
    assert [line.partition(":")[0] for line in epochs] == [
        f"batch {batch} of 2, epoch {epoch} of 2" for batch in (1, 2) for epoch in (1, 2)
    ]
    assert all("loss " in line and "validation accuracy" in line for line in epochs)
