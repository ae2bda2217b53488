"""Successive halving: many settings, of which the best go on."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import stop_after
from hypothesis import given
from hypothesis import strategies as st

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.training.halving import Search, _ranks, make_epoch, plan_rungs, start
from jaxdigits.training.members import make_vectorized_trainer, members_mesh
from jaxdigits.training.state import EpochMetrics, Metrics

CONFIG = jd.TrainConfig(
    dataset="digits",
    model="linear",
    optimizer="sgd",
    schedule="constant",
    batch_size=256,
    epochs=6,
)
GRID = {"learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1e38]}
KEPT = [4, 4, 2, 2, 2, 2]


@given(st.integers(1, 1000), st.integers(0, 40), st.integers(2, 10))
def test_rungs(settings, epochs, one_in):
    """Never more than before, each a share of the one before, and a few to the end."""
    kept = plan_rungs(settings, epochs, one_in)
    assert len(kept) == epochs
    for before, after in zip([settings, *kept], kept, strict=False):
        assert after in (before, math.ceil(before / one_in))
    if epochs:
        assert kept[-1] >= 1
        if epochs > 10:
            assert kept[-1] <= one_in
        # Nothing is dropped in vain: the last ones are trained once more.
        assert kept[-1] == [settings, *kept][-2]


@pytest.mark.parametrize(
    ("settings", "epochs", "one_in", "kept"),
    [
        (256, 2, 4, [64, 64]),  # of three rungs only the first
        (256, 3, 4, [64, 16, 16]),
        (256, 1, 4, [256]),
        (256, 0, 4, []),
        (5, 3, 2, [3, 2, 2]),
        (3, 5, 2, [3, 2, 2, 2, 2]),  # a third of the epochs, 1.67
        (2, 3, 2, [2, 2, 2]),
        (4, 3, 4, [4, 4, 4]),
        (5, 5, 4, [2, 2, 2, 2, 2]),  # a fifth
        (9, 8, 3, [9, 3, 3, 3, 3, 3, 3, 3]),  # a quarter
    ],
)
def test_rungs_by_hand(settings, epochs, one_in, kept):
    assert plan_rungs(settings, epochs, one_in) == kept


def search_of(losses: list[float], alive: list[bool]) -> Search:
    """Members of which nothing but these is known."""
    nothing = Metrics(jnp.zeros(len(losses)), jnp.zeros(len(losses)))
    metrics = EpochMetrics(nothing, Metrics(jnp.array(losses), nothing.accuracy))
    state: Any = None
    return Search(state, jnp.arange(len(losses)), jnp.array(alive), metrics)


@pytest.mark.parametrize(
    ("losses", "alive", "ranks"),
    [
        ([3, 1, 2], "111", [2, 0, 1]),
        ([0, 1, -1], "111", [1, 2, 0]),  # a loss of 0 is as good as any other
        ([3, np.nan, 2], "111", [1, 2, 0]),
        ([3, np.inf, 2], "111", [1, 2, 0]),
        ([3, 1, 2], "101", [1, 2, 0]),  # dropped before
        ([np.nan, 1, 2], "101", [1, 2, 0]),  # and so behind what diverges
    ],
)
def test_ranks_of_settings(losses, alive, ranks):
    """The smaller the loss the better; last comes what was dropped."""
    search = search_of(losses, [letter == "1" for letter in alive])
    assert _ranks(search, jnp.arange(3), 3).tolist() == ranks


def test_ranks_are_of_means():
    """Of three members, of two, of one, and of none: 2, 1.5, 1.75."""
    search = search_of([1, 1, 4, 2, 1, 1.75], [True] * 6)
    ids = jnp.array([0, 0, 0, 1, 1, 2])
    assert _ranks(search, ids, 4).tolist() == [2, 0, 1, 3]
    # A setting of which one member is alive was not dropped.
    search = search_of([1, 1, 4, 2, 1, 1.75], [False, False, True, False, False, True])
    assert np.argsort(_ranks(search, ids, 4)[:3]).tolist() == [2, 0, 1]


@pytest.mark.parametrize("devices", [1, 2])
def test_what_fills_up_is_neither_trained_nor_judged(devices, rng):
    """Four settings and two places more: the best two of four go on, one on each device."""
    labels = (np.arange(12) % 3).astype(np.int32)
    images = rng.integers(0, 99, (12, 4, 4)).astype(np.uint8)
    images[np.arange(12), labels] += 100
    examples = jd.Examples(images, labels)
    data = jd.TrainingData(examples, examples, 3)
    config = CONFIG.replace(batch_size=4, epochs=3)
    trainer = make_vectorized_trainer(config, data, members_mesh(devices))
    rates = {"learning_rate": np.array([0.3, 0.24, 0.21, 0.27, 0.27, 0.27], np.float32)}
    keys = jax.vmap(jax.random.key)(np.zeros(6, np.uint32))
    settings, kept = [0, 1, 2, 3, -1, -1], [2, 2, 1]
    search = jax.jit(partial(start, trainer, settings))(keys, rates, data)
    assert search.alive.tolist() == [True] * 4 + [False] * 2
    untrained = np.asarray(search.metrics.validation.loss)
    assert search.metrics.train.loss.tolist() == untrained.tolist()
    epoch = jax.jit(make_epoch(trainer, settings, kept))
    for number, living in enumerate(([0, 3], [0, 3], [0]), start=1):
        search = epoch(search, data)
        members, alive, step, losses = jax.device_get(
            (search.members, search.alive, search.states.step, search.metrics.validation.loss)
        )
        order = np.argsort(members)
        assert members[order].tolist() == list(range(6))
        assert np.flatnonzero(alive[order]).tolist() == living
        assert step[order].tolist() == [3 * number, 3, 3, 3 * number, 0, 0]
        losses = losses[order]
        assert losses[0] < losses[3] < losses[1] < losses[2] < losses[4]
        assert losses[4:].tolist() == untrained[4:].tolist()
        if len(living) == devices:
            assert alive.reshape(devices, -1).sum(axis=1).tolist() == [1] * devices


def expected(histories: list[list[dict]], kept: list[int]) -> list[int]:
    """By NumPy: the epochs of each setting, from histories that were trained to the end."""
    alive, epochs = list(range(len(histories) // 2)), [0] * (len(histories) // 2)

    def key(setting: int, epoch: int) -> float:
        losses = [histories[2 * setting + seed][epoch]["validation_loss"] for seed in range(2)]
        return math.inf if None in losses else float(np.mean(losses))

    for epoch, keep in enumerate(kept, start=1):
        for setting in alive:
            epochs[setting] = epoch
        alive = sorted(alive, key=lambda setting: key(setting, epoch))[:keep]
    return epochs


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_the_best_go_on(whole_runs, platform, monkeypatch):
    """As they are in a sweep without it, on two devices; on GPUs members are vmapped, in blocks."""
    monkeypatch.setattr("jaxdigits.training.members.platform_of", lambda _: platform)
    folder, histories, params = whole_runs
    found = jd.sweep(CONFIG, GRID, seeds=2, halving=2, devices=2, folder=folder / platform)
    epochs = [6 if one.dropped_after is None else one.dropped_after for one in found.settings]
    assert epochs == expected(histories, KEPT)
    assert sorted(epochs) == [1] * 4 + [3] * 2 + [6] * 2
    assert [epochs[index] for index in found.order[:5]] == [6, 6, 3, 3, 1]
    assert found.folder is not None
    for index, history in enumerate(histories):
        run = jd.load(found.folder / "members" / str(index))
        assert len(run.history) == epochs[index // 2] + 1
        for mine, all_of in zip(run.history, history, strict=False):
            assert mine["validation_accuracy"] == pytest.approx(all_of["validation_accuracy"])
        if epochs[index // 2] == 6:
            np.testing.assert_allclose(run.params["weight"], params[index]["weight"], atol=1e-5)


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    """All settings, trained to the end: a folder, histories, and parameters."""
    folder = tmp_path_factory.mktemp("halving")
    jd.sweep(CONFIG, GRID, seeds=2, folder=folder / "whole")
    runs = [jd.load(folder / "whole" / "members" / str(index)) for index in range(16)]
    return folder, [list(run.history) for run in runs], [run.params for run in runs]


def test_seeds_stay_together():
    """A batch holds whole settings, whatever the seeds; the last one is filled up with nothing."""
    grid = {"learning_rate": [1e-4, 0.01, 0.03, 0.1, 1e38]}
    # Of 14 members three settings of three seeds on two devices: twelve, and three that are left.
    found = jd.sweep(CONFIG, grid, seeds=3, halving=2, members_per_batch=14, devices=2)
    dropped = [one.dropped_after for one in found.settings]
    assert dropped.count(None) == 3
    assert (dropped[0] is None, dropped[4]) == (False, None)  # the last one is alone
    assert found.order[-1] == 4  # and diverges
    assert {len(one.members) for one in found.settings} == {3}
    with pytest.raises(ConfigError, match="no more than 2 are trained together"):
        jd.sweep(CONFIG, grid, seeds=3, halving=2, members_per_batch=10, devices=2)


def test_resumed(tmp_path, cli, monkeypatch):
    """A search that was stopped after its second epoch ends as if it had not been."""
    words = ["sweep", "--dataset", "digits", "--model", "linear", "--epochs", "4", "--halving", "2",
             "--optimizer", "sgd", "--learning-rate", "0.001,0.003,0.01,0.03,0.1"]  # fmt: skip
    code, out, _ = cli(*words, "--out", "alone")
    assert code == 0
    assert "dropped after epoch 1" in " ".join(out.split())
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        code, _, err = cli(*words, "--out", "stopped", "--checkpoint-epochs", "1")
    assert (code, "resume" in err) == (130, True)
    code, _, _ = cli("sweep", "--resume", "stopped")
    assert code == 0
    for index in range(5):
        name = f"members/{index}/params.safetensors"
        first, second = (tmp_path / where / name for where in ("alone", "stopped"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--halving", "1"], "halving keeps one of 2 settings or more, not of 1"),
        (["--halving", "4"], "halving keeps one of 4 settings, but no more than 1 are trained"),
        (["--halving", "4", "--launcher", "local"], "halving compares runs on the way"),
    ],
)
def test_what_cannot_be(cli, options, message):
    code, _, err = cli("sweep", "--dataset", "digits", *options)
    assert (code, message in err) == (2, True)


def test_data_of_ones_own(whole_runs):
    with pytest.raises(ConfigError, match="not of 0"):
        jd.sweep(CONFIG, GRID, halving=0)
