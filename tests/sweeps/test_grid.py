"""The members of a sweep, and how many of them fit together."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.sweeps import grid as grids
from jaxdigits.sweeps import train
from jaxdigits.sweeps.train import SweepTrainer
from jaxdigits.training.members import make_vectorized_trainer, members_mesh
from jaxdigits.training.resolve import DataSpec
from jaxdigits.transforms.scaling import UNIT, Scaling

LINEAR = jd.TrainConfig(dataset="digits", model="linear", epochs=2)


def rates(count: int) -> dict[str, list[float]]:
    return {"learning_rate": [(number + 1) / 1000 for number in range(count)]}


def test_as_many_members_as_the_limit_allows(monkeypatch):
    """Here six: all settings with all seeds."""
    monkeypatch.setattr(grids, "MAX_MEMBERS", 6)
    plan = grids.make_plan(LINEAR.replace(seed=7), rates(2), 3)
    assert [member.seed for member in plan.members] == [7, 8, 9, 7, 8, 9]
    assert [member.learning_rate for member in plan.members] == [0.001] * 3 + [0.002] * 3
    for grid, seeds in ((rates(7), 1), (rates(1), 7)):
        with pytest.raises(ConfigError, match="7 members are too many: at most 6"):
            grids.make_plan(LINEAR, grid, seeds)


@pytest.mark.parametrize("seeds", [0, 1001])
def test_seeds_of_a_sweep(seeds):
    with pytest.raises(ConfigError, match=f"seeds must be 1 to 1000, not {seeds}"):
        jd.sweep(LINEAR, seeds=seeds)


def test_only_what_differs_has_a_name():
    grid = {"learning_rate": [0.1, 0.2], "epochs": [3], "dropout": [], "dataset": ["mnist"]}
    plan = grids.make_plan(LINEAR, {**grid, "dropout": [0.0], "seed": [5]}, 1)
    assert plan.names == ["learning_rate"]
    assert {(member.epochs, member.dataset, member.seed) for member in plan.members} == {
        (3, "mnist", 0)
    }
    assert {setting.seed for setting in plan.settings} == {5}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "all"),
        (["augment"], "augment none"),
        (["hidden", "seed"], "hidden none, seed 4"),
    ],
)
def test_settings_in_words(names, words):
    config = jd.TrainConfig(model="mlp", hidden=(), augment=(), seed=4)
    assert grids.describe_setting(config, names) == words
    more = config.replace(augment=("shift", "rotate"), hidden=(8,))
    assert grids.describe_setting(more, ["augment", "hidden"]) == "augment shift+rotate, hidden 8"


@pytest.mark.parametrize(
    ("count", "size", "batches"),
    [
        (1, 1, [[0]]),
        (4, 3, [[0, 1, 2], [3, 3, 3]]),
        (5, 3, [[0, 1, 2], [3, 4, 4]]),
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (2, 5, [[0, 1, 1, 1, 1]]),
    ],
)
def test_batches_of_members(count, size, batches):
    assert grids.batch_members(range(count), size) == batches
    assert grids.batch_members([9, 7], 1) == [[9], [7]]


def test_networks_that_are_trained_one_at_a_time():
    """A convolutional network on each device of a CPU, unless they are to be compared."""
    spec = DataSpec(100, (28, 28), 10, Scaling(*map(jnp.float32, UNIT)))
    for devices in (1, 2):
        mesh = members_mesh(devices)
        for name in ("convnet", "resnet18"):
            config = jd.TrainConfig(model=name)
            assert grids.choose_members_per_batch(config, spec, 0, 8, mesh) == devices
    config = jd.TrainConfig()
    assert grids.choose_members_per_batch(config, spec, 0, 7, mesh, all_at_once=True) == 8


def test_bytes_of_a_tree():
    tree = {"a": np.zeros((2, 3), np.float32), "b": [jnp.zeros(5, jnp.int8), np.float64(1)]}
    assert grids.tree_bytes(tree) == 24 + 5 + 8
    assert grids.tree_bytes(jax.ShapeDtypeStruct((7, 2), "int16")) == 28


def test_bytes_of_a_program():
    """Arguments and results, what is both only once; and what it needs on the way."""
    array = jax.ShapeDtypeStruct((1000,), "float32")
    for donated, expected in (((), 8000), (0, 4000)):
        compiled = jax.jit(lambda x: x + 1, donate_argnums=donated).lower(array).compile()
        assert grids.program_bytes(compiled) == expected
    memory = SimpleNamespace(
        argument_size_in_bytes=1000,
        output_size_in_bytes=200,
        temp_size_in_bytes=30,
        alias_size_in_bytes=4,
    )
    for found, expected in ((memory, 1226), (None, 0)):
        program = SimpleNamespace(memory_analysis=lambda found=found: found)
        assert grids.program_bytes(program) == expected


@pytest.mark.parametrize("more", [0, 1])
def test_a_program_may_take_all_that_is_free(more, monkeypatch):
    """Twice the half that members are planned for."""
    spec = DataSpec(100, (4, 4), 3, Scaling(*map(jnp.float32, UNIT)))
    trainer = make_vectorized_trainer(LINEAR, spec, members_mesh(1))
    monkeypatch.setattr(grids, "memory_budget", lambda _: 1_200_000_000)
    monkeypatch.setattr(grids, "program_bytes", lambda _: 2_400_000_000 + more)
    if more:
        with pytest.raises(ConfigError, match=r"takes 2\.4 GB on each device, where 2\.4 GB are"):
            train._check_memory(None, trainer)
    else:
        train._check_memory(None, trainer)


def sizes(splits, members: int, devices: int, wanted: int | None, **more) -> list[int]:
    """How many members of a sweep are trained together."""
    plan = grids.make_plan(LINEAR, rates(members), 1)
    known = more.pop("known", None)
    return SweepTrainer(plan, splits, devices, wanted, **more).prepare(known)


@pytest.mark.parametrize(
    ("members", "devices", "wanted", "size"),
    [
        (5, 1, None, 5),
        (5, 2, None, 6),
        (1, 2, None, 1),
        (5, 2, 1, 1),  # on one of the devices
        (5, 2, 2, 2),
        (5, 2, 3, 2),
        (5, 2, 4, 4),
        (5, 2, 9, 4),
        (5, 1, 9, 5),
    ],
)
def test_as_many_as_are_wanted_and_the_devices_share(splits, members, devices, wanted, size):
    assert sizes(splits, members, devices, wanted) == [size]


@pytest.mark.parametrize(("known", "size"), [(2, 2), (4, 4), (3, 6)])
def test_a_resumed_sweep_trains_as_many_as_before(splits, known, size):
    """If the devices can share them."""
    assert sizes(splits, 5, 2, None, known=[known]) == [size]


def test_the_members_of_a_share(splits):
    assert sizes(splits, 5, 1, None, indices=[1, 3]) == [2]


@pytest.mark.parametrize(
    ("seeds", "devices", "wanted", "size"),
    [(1, 1, None, 4), (3, 2, None, 12), (3, 2, 14, 12), (3, 2, 11, 6), (2, 2, 5, 4), (2, 1, 5, 4)],
)
def test_whole_settings_are_compared(splits, seeds, devices, wanted, size):
    """All seeds of a setting stand in one batch, and a device has as many as another."""
    plan = grids.make_plan(LINEAR, rates(4), seeds)
    trainer = SweepTrainer(plan, splits, devices, wanted, halving=1)
    assert trainer.prepare() == [size]


def test_halving_needs_more_settings_than_it_keeps_one_of(splits):
    assert sizes(splits, 3, 1, None, halving=2) == [3]
    for devices in (1, 2):  # on two of them a fourth place is filled up, which is no setting
        with pytest.raises(ConfigError, match="one of 3 settings, but no more than 3 are trained"):
            sizes(splits, 3, devices, None, halving=3)


def test_convnets_that_are_compared_are_trained_together(splits):
    plan = grids.make_plan(jd.TrainConfig(), rates(3), 1)
    assert SweepTrainer(plan, splits, 1, None).prepare() == [1]
    assert SweepTrainer(plan, splits, 1, None, halving=2).prepare() == [3]
