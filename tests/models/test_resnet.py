"""ResNet-18 with few channels against plain NumPy in float64, layer by layer."""

from collections import defaultdict
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import resnet_variables

from jaxdigits.config import TrainConfig
from jaxdigits.models import make_model, resnet

CHANNELS = (3, 4, 5, 6)


@pytest.fixture
def narrow(monkeypatch):
    """A network of few channels: as deep, and soon compiled."""
    monkeypatch.setattr(resnet, "CHANNELS", CHANNELS)


def convolution(values, kernel, stride):
    """A correlation with zeros around, so that a stride of 1 keeps the size."""
    span = len(kernel)
    values = np.pad(values, [(0, 0), (span // 2,) * 2, (span // 2,) * 2, (0, 0)])
    rows, columns = ((side - span) // stride + 1 for side in values.shape[1:3])
    return sum(
        values[:, i : i + stride * rows : stride, j : j + stride * columns : stride] @ kernel[i, j]
        for i in range(span)
        for j in range(span)
    )


def largest_of_nine(values):
    """The maximum of 3x3 pixels around each second one."""
    values = np.pad(values, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    rows, columns = ((side - 3) // 2 + 1 for side in values.shape[1:3])
    return np.max(
        [
            values[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2]
            for i in range(3)
            for j in range(3)
        ],
        axis=0,
    )


class Reference:
    """The network on variables of ours; `after` gathers the statistics of a batch."""

    def __init__(self, variables, *, train: bool) -> None:
        self.variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
        self.train, self.used, self.after = train, defaultdict(int), {}

    def take(self, kind):
        name = f"{kind}_{self.used[kind]}"
        self.used[kind] += 1
        return name, self.variables["params"][name]

    def conv(self, values, stride=1):
        return convolution(values, self.take("Convolution")[1]["kernel"], stride)

    def norm(self, values):
        name, layer = self.take("BatchNorm")
        running = self.variables["batch_stats"][name]
        found = dict(running)
        if self.train:
            axes = tuple(range(values.ndim - 1))
            found = {"mean": values.mean(axis=axes), "var": values.var(axis=axes)}
            self.after[name] = {key: 0.9 * running[key] + 0.1 * found[key] for key in found}
        scaled = (values - found["mean"]) / np.sqrt(found["var"] + 1e-5)
        return scaled * layer["scale"] + layer["bias"]

    def logits(self, images, stem):
        values = images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)
        values = np.maximum(self.norm(self.conv(values, 2 if stem == "7x7" else 1)), 0)
        values = largest_of_nine(values) if stem == "7x7" else values
        for stage in range(4):
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                found = np.maximum(self.norm(self.conv(values, stride)), 0)
                found = self.norm(self.conv(found))
                values = self.norm(self.conv(values, stride)) if stride > 1 else values
                values = np.maximum(values + found, 0)
        values = np.concatenate([values.max(axis=(1, 2)), values.mean(axis=(1, 2))], axis=1)
        values = self.norm(values) @ self.take("Dense")[1]["kernel"]
        return self.norm(np.maximum(values, 0)) @ self.take("Dense")[1]["kernel"]


@pytest.mark.parametrize(("stem", "shape"), [("7x7", (27, 33)), ("3x3", (11, 18, 3))])
def test_against_plain_numpy(narrow, stem, shape, rng):
    """With the statistics gathered, and with the batch's; sides that strides do not divide.

    A gray image, of one channel or without that axis, stands for three equal ones.
    """
    variables = resnet_variables(stem, rng, num_classes=7)
    images = rng.normal(size=(5, *shape)).astype(np.float32)
    settings = {"num_classes": 7, "stem": stem}
    usual, training = (Reference(variables, train=train) for train in (False, True))
    expected, in_training = (net.logits(images, stem) for net in (usual, training))

    @jax.jit
    def both(variables, images):
        trained = resnet.apply_train(variables, images, jax.random.key(0), dropout=0.0, **settings)
        images = images if images.ndim == 4 else images[..., None]
        return resnet.apply(variables, images, **settings), *trained

    logits, logits_in_training, changed = both(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(logits_in_training, in_training, rtol=1e-2, atol=1e-2)
    assert list(changed) == ["batch_stats"]
    assert set(changed["batch_stats"]) == set(training.after)
    for name, found in changed["batch_stats"].items():
        for key, value in found.items():
            np.testing.assert_allclose(value, training.after[name][key], rtol=1e-3, atol=1e-3)


def dropouts(monkeypatch, function, *given):
    """The rates of dropout in a function, which is traced only."""
    rates, usual = [], resnet.nn.Dropout
    monkeypatch.setattr(
        resnet.nn, "Dropout", lambda rate, **more: rates.append(rate) or usual(rate, **more)
    )
    jax.eval_shape(function, *given)
    return rates


def test_half_is_dropped_unless_asked_otherwise(narrow, monkeypatch):
    """Before the last layer; half of that before the last but one."""
    images, key = jnp.zeros((2, 9, 9)), jax.random.key(0)
    variables = jax.eval_shape(resnet.init, key)
    assert dropouts(monkeypatch, resnet.apply_train, variables, images, key) == [0.25, 0.5]
    net = resnet.ResNet18()
    assert dropouts(monkeypatch, net.init, key, images) == [0.25, 0.5]
    three = partial(resnet.apply_train, dropout=0.3)
    assert dropouts(monkeypatch, three, variables, images, key) == [0.15, 0.3]


def test_a_config_without_dropout_drops_nothing(narrow):
    model = make_model(TrainConfig(model="resnet18"), 10)
    key, images = jax.random.key(0), jnp.zeros((2, 9, 9))
    variables = jax.eval_shape(model.init, key)
    assert model.apply_train is not None
    assert "random_bits" not in str(jax.make_jaxpr(model.apply_train)(variables, images, key))


def test_ten_classes_unless_asked_otherwise(narrow):
    images, key = jnp.zeros((2, 9, 9)), jax.random.key(0)
    for init, given in ((resnet.init, (key,)), (resnet.ResNet18().init, (key, images))):
        variables = jax.eval_shape(init, *given)
        assert variables["params"]["Dense_1"]["kernel"].shape == (512, 10)
        assert jax.eval_shape(resnet.apply, variables, images).shape == (2, 10)
        logits, _ = jax.eval_shape(resnet.apply_train, variables, images, key)
        assert logits.shape == (2, 10)


def test_the_method_of_its_convolutions(narrow):
    """Twenty convolutions, which `lax` does all, and `im2col` none."""
    images, key = jnp.zeros((2, 9, 9)), jax.random.key(0)
    variables = jax.eval_shape(resnet.init, key)
    for method, count in (("lax", 20), ("im2col", 0)):
        for function, given in (
            (resnet.apply, (variables, images)),
            (resnet.apply_train, (variables, images, key)),
        ):
            jaxpr = jax.make_jaxpr(partial(function, method=method))(*given)
            assert str(jaxpr).count("conv_general_dilated[") == count


@pytest.mark.parametrize(("shape", "channels"), [((1, 6, 7, 1), 3), ((1, 6, 7, 2), 2)])
def test_a_convolution_of_3x3_keeps_the_size(shape, channels):
    layer = resnet.Convolution(4)
    outputs, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.zeros(shape))
    assert variables["params"]["kernel"].shape == (3, 3, channels, 4)
    assert outputs.shape == (1, 6, 7, 4)
