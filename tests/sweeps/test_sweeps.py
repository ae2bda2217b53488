"""Many trainings as one program."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import stop_after

import jaxdigits as jd
from jaxdigits.config import CheckpointConfig, parse_grid
from jaxdigits.errors import ConfigError, RunError, StoppedError
from jaxdigits.evaluation.metrics import mean_interval
from jaxdigits.runs.fit import train
from jaxdigits.sweeps import grid as sweeps
from jaxdigits.sweeps.summary import sweep

BASE = jd.TrainConfig(
    dataset="digits", model="mlp", hidden=(8,), batch_size=64, epochs=3, dropout=0.2,
    augment=("shift",), average=0.9, seed=5,
)  # fmt: skip
GRID = {"learning_rate": (0.01, 0.002), "hidden": ((8,), (12,)), "weight_decay": (0.0, 0.1)}
SWEEP = ("sweep", "--dataset", "digits", "--model", "mlp", "--hidden", "8", "--epochs", "4")


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "x"
    sweep(BASE, GRID, seeds=3, out=folder)
    return folder


def document_of(folder: Path) -> dict:
    return json.loads((folder / "sweep.json").read_text())


def leaves_close(first, second, atol):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)


def test_members_are_all_combinations_with_all_seeds(swept):
    settings = sweeps.expand(BASE, GRID)
    assert len(settings) == 8
    for index in range(24):
        run = jd.load(swept / "members" / str(index))
        expected = replace(settings[index // 3], seed=5 + index % 3)
        assert run.config == expected
        lines = (swept / "members" / str(index) / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]
    names = [setting["setting"] for setting in document_of(swept)["settings"]]
    assert names[1] == "learning_rate 0.01, hidden 8, weight_decay 0.1"


@pytest.mark.parametrize("index", [0, 10, 23])
def test_a_member_is_the_same_training_alone(swept, tmp_path, monkeypatch, index):
    monkeypatch.setattr("jaxdigits.runs.fit._draw", lambda *_: None)
    member = jd.load(swept / "members" / str(index))
    alone = train(member.config, out=tmp_path / "alone", devices=1)
    leaves_close(member.params, alone.params, atol=1e-5)
    for measure in ("loss", "accuracy"):
        theirs = alone.results["validation"][measure]
        assert member.results["validation"][measure] == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("model", ["convnet", "linear"])
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_together_on_two_devices_and_alone(digits, model, optimizer):
    """For other models too, and on any platform's way: vmapped, or one after the other."""
    data = replace(digits, train=jd.Examples(digits.train.images[:100], digits.train.labels[:100]))
    base = jd.TrainConfig(
        model=model, optimizer=optimizer, epochs=1, batch_size=32, augment=(), schedule="cosine"
    )
    members = [
        replace(base, learning_rate=rate, momentum=share, weight_decay=1 - share, seed=seed)
        for rate, share, seed in ((0.01, 0.5, 0), (0.001, 0.9, 1))
    ]
    assert sweeps.share_program(members) == [[0, 1]]
    together = sweeps.train_together(members[0], 10, sweeps.members_mesh(2))
    rates = together.spread(sweeps.rates_of(members))
    keys = together.spread(jax.vmap(jax.random.key)(np.array([0, 1], np.uint32)))
    arrays = together.put(data)
    fast = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    states = jax.jit(together.init)(keys, rates, arrays)
    states, metrics = jax.jit(together.train_epoch, compiler_options=fast)(
        states, rates, arrays.train
    )
    states, metrics = jax.device_get((states, metrics))
    for index, config in enumerate(members):
        trainer = jd.make_trainer(config, 10)
        state = jax.jit(trainer.init)(jax.random.key(index), data)
        state, alone = jax.jit(trainer.train_epoch, compiler_options=fast)(state, data.train)
        leaves_close(sweeps.member_state(states, index).params, state.params, atol=1e-5)
        np.testing.assert_allclose(metrics.loss[index], alone.loss, rtol=1e-5)


def test_the_best_setting_is_chosen_on_validation(swept):
    document = document_of(swept)
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
        assert spread["interval_95"] == pytest.approx(interval)
        assert spread["range"] == pytest.approx([min(found), max(found)])
        means.append(mean)
        assert ("test_accuracy" in setting) == (place == document["best"])
    assert np.argmax(means) == document["best"]
    # No other member was measured on the test images.
    for index in range(24):
        assert list(jd.load(swept / "members" / str(index)).results) == ["validation"]


def test_the_ensemble_averages_probabilities(swept, cli):
    document = document_of(swept)
    best = document["settings"][document["best"]]
    ensemble, test = jd.load(swept), jd.data.load("digits", "test")
    members = [jd.load(swept / "members" / str(index)) for index in best["members"]]
    mean = np.mean([member.predict_uncalibrated_proba(test.images) for member in members], axis=0)
    np.testing.assert_allclose(
        ensemble.predict_uncalibrated_proba(test.images), mean, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(ensemble.predict(test.images), mean.argmax(axis=1))
    accuracy = (mean.argmax(axis=1) == test.labels).mean()
    code, out, err = cli("evaluate", swept, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["same_as_recorded"] is True
    assert told["results"]["test"]["accuracy"] == pytest.approx(accuracy)
    own = [(member.predict(test.images) == test.labels).mean() for member in members]
    assert told["members"]["test_accuracy"] == pytest.approx(own)
    assert best["test_accuracy"]["values"] == pytest.approx(own)
    code, out, _ = cli("evaluate", swept)
    assert f"own test accuracies are {100 * min(own):.2f} to {100 * max(own):.2f} %" in out


def test_a_diverged_member_harms_no_other(cli):
    code, out, err = cli(
        *SWEEP, "--learning-rate", "0.05,1e20", "--optimizer", "sgd", "--schedule", "constant",
        "--seeds", "2", "--out", "s", "--devices", "2",
    )  # fmt: skip
    assert (code, err) == (0, "")
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


def test_seeds_of_train(cli):
    """Members by three are members by two; without a name the folder is in sweeps."""
    arguments = ("train", *SWEEP[1:], "--seeds", "3", "--seed", "7")
    code, out, err = cli(*arguments)
    assert (code, err) == (0, "")
    assert "the ensemble of its 3 members" in out
    folder = Path("sweeps/digits-mlp")
    assert [jd.load(folder / "members" / str(i)).config.seed for i in range(3)] == [7, 8, 9]
    assert cli(*arguments, "--members-at-once", "2", "--out", "two")[0] == 0
    for index in range(3):
        leaves_close(
            jd.load(folder / "members" / str(index)).params,
            jd.load(Path("two/members") / str(index)).params,
            atol=1e-5,
        )
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def params_of(folder: Path) -> list[bytes]:
    count = len(list((folder / "members").iterdir()))
    return [
        (folder / "members" / str(index) / "params.safetensors").read_bytes()
        for index in range(count)
    ]


def test_it_goes_on_to_the_bit(monkeypatch, cli, tmp_path):
    """Stopped in the second of three calls, and its newest checkpoint damaged."""
    monkeypatch.setattr("jaxdigits.sweeps.summary._draw", lambda *_: None)
    grid = {"hidden": ((8,), (12,))}
    sweep(BASE, grid, seeds=3, out=tmp_path / "alone", members_at_once=2)
    with monkeypatch.context() as patched:
        stop_after(patched, 5, signal.SIGTERM)
        with pytest.raises(StoppedError, match=r"after epoch 5 of 12; .* sweep --resume") as stop:
            sweep(
                BASE, grid, seeds=3, out=tmp_path / "x", members_at_once=2,
                saving=CheckpointConfig(checkpoint_epochs=1),
            )  # fmt: skip
        assert stop.value.exit_code == 143
    assert len(list((tmp_path / "x.unfinished" / "members").iterdir())) == 2
    (tmp_path / "x.unfinished" / "checkpoints" / "5" / "document" / "metadata").write_text("{")
    code, _, err = cli("sweep", "--out", tmp_path / "x")
    assert code == 2
    assert "holds a training that can go on" in err
    code, _, err = cli("train", "--resume", tmp_path / "x")
    assert code == 2
    assert "is a sweep" in err
    code, _, err = cli("sweep", "--resume", tmp_path / "x", "--hidden", "8,16")
    assert code == 2
    assert "was begun with other lists of values" in err
    code, _, err = cli("sweep", "--resume", tmp_path / "x")
    assert code == 0, err
    assert "checkpoints/5 cannot be read: Expecting property name" in err
    assert "going on after epoch 4 of 12" in err
    assert params_of(tmp_path / "x") == params_of(tmp_path / "alone")
    code, _, err = cli("sweep", "--resume", tmp_path / "x")
    assert code == 0
    assert "is complete" in err


def test_killed(cli):
    settings = (*SWEEP, "--epochs", "400", "--seeds", "2", "--checkpoint-epochs", "20")
    process = subprocess.Popen([sys.executable, "-m", "jaxdigits", *settings, "--out", "run"])
    deadline = time.monotonic() + 60
    while not Path("run.unfinished/checkpoints/40").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert cli("sweep", "--resume", "run")[0] == 0
    assert not Path("run/checkpoints").exists()
    assert cli(*settings, "--out", "alone")[0] == 0
    assert params_of(Path("run")) == params_of(Path("alone"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0.1,fast"], "learning_rate must be numbers with commas, not 'fast'"),
        (["--hidden", "32,64.5"], "hidden must be whole numbers with commas, not '64.5'"),
        (["--learning-rate", "0.1,0.1"], "the values of a setting must differ"),
        (["--learning-rate", "0.1,-1"], "learning_rate must be a number above 0, not -1.0"),
        (["--model", "mlp,transformer"], "model must be one of convnet"),
        (["--dataset", "digits,mnist"], "a sweep has one dataset"),
        (["--seed", "1,2"], "a sweep has one seed; give --seeds"),
        (["--seeds", "0"], "seeds must be 1 to 1000, not 0"),
        (["--seeds", "1000", "--hidden", "8,16"], "2,000 members are too many: at most 1000"),
        (["--members-at-once", "0"], "members_at_once must be 1 or more, not 0"),
        (["--devices", "3"], "devices must be 1 to 2, as many as jax has here, not 3"),
        (["--resume", "nowhere"], "there is no training to go on with"),
    ],
)
def test_wrong_settings(cli, arguments, message):
    code, out, err = cli("sweep", "--dataset", "digits", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("sweeps").exists()


def test_lists_of_values():
    config, grid = parse_grid({"augment": "none,shift+rotate", "epochs": "3,4", "hidden": "8x4"})
    assert config.hidden == (8, 4)
    assert grid == {"augment": (("none",), ("shift", "rotate")), "epochs": (3, 4)}
    assert [c.augment for c in sweeps.expand(config, grid)] == [(), (), *[("shift", "rotate")] * 2]


def test_members_share_programs_only_where_shapes_are_the_same():
    base = jd.TrainConfig(model="mlp")
    others = [replace(base, hidden=(9,)), replace(base, epochs=3), replace(base, batch_size=9)]
    same = [replace(base, learning_rate=0.1), replace(base, seed=3, weight_decay=0.5, momentum=0.1)]
    assert sweeps.share_program([base, *others, *same]) == [[0, 4, 5], [1], [2], [3]]


def test_how_many_at_once(digits, monkeypatch):
    """As memory allows, in multiples of the devices; of convolutional networks one on each."""
    mlp, mesh = jd.TrainConfig(model="mlp", hidden=(30,)), sweeps.members_mesh(2)
    assert sweeps.at_once(mlp, 10, digits, 32, mesh) == 32
    assert sweeps.at_once(mlp, 10, digits, 5, mesh) == 6
    assert sweeps.at_once(jd.TrainConfig(), 10, digits, 32, mesh) == 2
    # 23,860 parameters with their two moments, twice, take 573 kB; the data 1.1 MB.
    monkeypatch.setattr(sweeps, "memory_budget", lambda _: 1_200_000 + 3 * 573_000)
    assert sweeps.at_once(mlp, 10, digits, 32, mesh) == 6
    monkeypatch.setattr(sweeps, "memory_budget", lambda _: 0)
    assert sweeps.at_once(mlp, 10, digits, 32, mesh) == 2


def test_members_that_do_not_fit(monkeypatch, tmp_path):
    monkeypatch.setattr(sweeps, "memory_budget", lambda _: 1000)
    with pytest.raises(ConfigError, match="choose fewer --members-at-once"):
        sweep(BASE, {}, seeds=2, out=tmp_path / "x")


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
