"""From a config to the parts of a run."""

import jax.numpy as jnp
import pytest

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.models import convnet
from jaxdigits.training.resolve import DataSpec, count_epochs, resolve
from jaxdigits.training.trainer import make_trainer
from jaxdigits.transforms.scaling import UNIT, Scaling

SPEC = DataSpec(100, (4, 4), 3, Scaling(*map(jnp.float32, UNIT)))
CONFIG = jd.TrainConfig(model="linear", batch_size=30)


@pytest.mark.parametrize(
    ("examples", "images", "epochs"),
    [
        (275_000, 48_000, 6),  # 5.73
        (275_000, 50_900, 5),  # 5.40
        (275_000, 60_000, 5),  # at least 5
        (60_400, 1000, 60),
        (70_000, 1000, 60),  # at most 60
        (275_000, 22_000, 12),  # 12.5, to the even one
        (50, 1, 50),
        (50, 0, 50),
        (None, 1000, 10),
    ],
)
def test_epochs_that_make_as_many_examples(examples, images, epochs):
    config = jd.TrainConfig(model="mlp")
    assert count_epochs(config, jd.Hints(examples=examples), images) == epochs
    assert count_epochs(config.replace(epochs=3), jd.Hints(examples=examples), images) == 3


def test_the_examples_of_the_convnet():
    assert count_epochs(jd.TrainConfig(), convnet.HINTS, 22_000) == 12


def test_steps_of_a_run():
    """Four batches an epoch, the last one of ten images."""
    parts = resolve(CONFIG.replace(epochs=7), SPEC)
    assert parts.num_steps == 28
    assert parts.config.epochs == 7


def test_what_suits_a_network_is_written_down():
    """In the config of the run, `auto` stands for it no longer."""
    model = jd.Model(
        lambda key: jd.models.linear.init(key, 3, 16),
        jd.models.linear.apply,
        hints=jd.Hints(augment=("shift",), examples=600),
    )
    parts = resolve(CONFIG, SPEC, model=model)
    assert (parts.config.augment, parts.config.epochs) == (("shift",), 6)
    assert parts.augment is not None
    assert resolve(CONFIG.replace(augment=()), SPEC, model=model).augment is None


def test_smoothing_of_a_loss_of_your_own_is_refused_with_the_reason():
    def loss(logits, labels):
        return logits[:, 0] * labels

    with pytest.raises(ConfigError, match="label_smoothing is for cross_entropy; build it into"):
        jd.make_train(CONFIG.replace(label_smoothing=0.1), loss=loss)
    jd.make_train(CONFIG, loss=loss)
    hand = CONFIG.replace(gradients="hand")
    with pytest.raises(ConfigError, match="gradients by hand are for linear and mlp, not for"):
        jd.make_train(hand, loss=loss)
    jd.make_train(hand)


def test_runs_that_differ_in_their_seed_share_their_functions():
    """So that jax compiles them once; the seed, and all else, is each one's."""
    config = CONFIG.replace(epochs=2)
    first, second = (make_trainer(config.replace(seed=seed), SPEC) for seed in (0, 7))
    assert first.train_epoch is second.train_epoch
    assert [one.parts.config.seed for one in (first, second)] == [0, 7]
    assert second.spec is SPEC
    other = make_trainer(config.replace(batch_size=20), SPEC)
    assert other.train_epoch is not first.train_epoch
    own = [make_trainer(config, SPEC, loss=lambda logits, labels: logits[:, 0]) for _ in range(2)]
    assert own[0].train_epoch is not own[1].train_epoch
