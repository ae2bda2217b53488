"""Members trained together, of which some are left out: on tiny images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.training.members import MEMBERS, make_vectorized_trainer, members_mesh
from jaxdigits.training.state import EpochMetrics, Metrics

CONFIG = jd.TrainConfig(
    model="linear", optimizer="sgd", schedule="constant", batch_size=5, epochs=3
)


@pytest.fixture
def data(rng):
    """Twelve images of 4x4, three classes."""
    labels = (np.arange(12) % 3).astype(np.int32)
    images = rng.integers(0, 99, (12, 4, 4)).astype(np.uint8)
    images[np.arange(12), labels] += 100  # a row brighter
    examples = jd.Examples(images, labels)
    return jd.TrainingData(examples, jd.Examples(images[:5], labels[:5]), 3)


def started(trainer, data, count):
    """States of members with other seeds and rates."""
    keys = jax.random.split(jax.random.key(0), count)
    rates = {"learning_rate": np.linspace(0.1, 0.5, count, dtype=np.float32)}
    return jax.jit(trainer.init)(keys, rates, data.train)


def differ(one, other):
    """Of each member, whether its weights do."""
    weights, others = (np.asarray(state.params["weight"]) for state in (one, other))
    return np.any(weights != others, axis=(1, 2))


@pytest.mark.parametrize(
    ("platform", "alive"),
    [("cpu", "0110"), ("gpu", "01001100")],
)
def test_those_alive_are_trained_and_the_others_stay(platform, alive, data, monkeypatch):
    """Each as without the others: one after the other, as on a CPU, or vmapped in blocks of two.

    Of some blocks one is alive, or none, or both.
    """
    monkeypatch.setattr("jaxdigits.training.members.platform_of", lambda _: platform)
    trainer = make_vectorized_trainer(CONFIG, data, members_mesh(1))
    living = np.array([letter == "1" for letter in alive])
    states = started(trainer, data, len(alive))
    before = [jnp.full(len(alive), value) for value in (-1.0, -2.0)]
    given = EpochMetrics(*(Metrics(value, value) for value in before))
    epoch = jax.jit(trainer.epoch_of_alive)
    found, metrics = epoch(states, living, given, data)
    np.testing.assert_array_equal(differ(found, states), living)
    np.testing.assert_array_equal(found.step, 3 * living)
    trained, of_all = epoch(states, np.ones(len(alive), bool), given, data)
    assert differ(trained, states).all()
    np.testing.assert_allclose(
        found.params["weight"][living], trained.params["weight"][living], rtol=1e-5, atol=1e-6
    )
    leaves = map(jax.tree.leaves, (metrics, of_all, given))
    for value, expected, kept in zip(*leaves, strict=True):
        np.testing.assert_allclose(value, np.where(living, expected, kept), rtol=1e-5)
    if platform == "cpu":  # all of them: as in an epoch without a search
        plain, train = jax.jit(trainer.train_epoch)(states, data.train)
        np.testing.assert_allclose(
            trained.params["weight"], plain.params["weight"], rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(of_all.train.loss, train.loss, rtol=1e-5)


def loops(jaxpr):
    """The lengths of all loops, the outermost first."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation.params["length"]
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from loops(inner)


@pytest.mark.parametrize(("count", "blocks"), [(1, 1), (3, 3), (6, 6), (8, 4), (10, 5), (20, 4)])
def test_vmapped_members_are_in_four_blocks_or_more(count, blocks, data, monkeypatch):
    """As few as divide them evenly: where none of a block is alive, it costs nothing."""
    monkeypatch.setattr("jaxdigits.training.members.platform_of", lambda _: "gpu")
    trainer = make_vectorized_trainer(CONFIG, data, members_mesh(1))
    states = jax.eval_shape(lambda: started(trainer, data, count))
    one = Metrics(jnp.zeros(count), jnp.zeros(count))
    alive, metrics = jnp.ones(count, bool), EpochMetrics(one, one)
    traced = jax.make_jaxpr(trainer.epoch_of_alive)(states, alive, metrics, data)
    assert next(loops(traced.jaxpr)) == blocks


@pytest.mark.parametrize(("platform", "loop"), [("cpu", 7), ("gpu", 3)])
def test_members_are_one_after_the_other_on_a_cpu(platform, loop, data, monkeypatch):
    """The outermost loop is over seven members; elsewhere over the three steps of all of them."""
    monkeypatch.setattr("jaxdigits.training.members.platform_of", lambda _: platform)
    trainer = make_vectorized_trainer(CONFIG, data, members_mesh(1))
    states = jax.eval_shape(lambda: started(trainer, data, 7))
    traced = jax.make_jaxpr(trainer.train_epoch)(states, data.train)
    assert next(loops(traced.jaxpr)) == loop


@pytest.mark.parametrize("devices", [1, 2])
def test_a_trainer_of_members(data, devices):
    """It says what it is made of, and puts a share of the members on each device."""
    mesh = members_mesh(devices)
    trainer = make_vectorized_trainer(CONFIG, data, mesh)
    assert (trainer.mesh, trainer.num_epochs, mesh.axis_names) == (mesh, 3, (MEMBERS,))
    assert trainer.parts.config.model == "linear"
    pieces = trainer.shard(np.arange(4)).addressable_shards
    assert [piece.data.tolist() for piece in pieces] == np.arange(4).reshape(devices, -1).tolist()
    assert trainer.jit(lambda x: x + 1)(1) == 2


def test_members_have_all_devices_unless_asked_otherwise():
    assert members_mesh().size == len(jax.devices()) == 2
