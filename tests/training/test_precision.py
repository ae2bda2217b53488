"""What each precision computes in, and that it learns as well."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.environment import tracing_for
from jaxdigits.errors import ConfigError
from jaxdigits.losses import cross_entropy
from jaxdigits.models import make_model
from jaxdigits.training.precision import in_precision
from jaxdigits.training.resolve import DataSpec, resolve
from jaxdigits.training.step import autodiff
from jaxdigits.transforms.scaling import UNIT, Scaling

NETWORKS = ("linear", "mlp", "convnet", "resnet18")
PRODUCTS = ("dot_general", "conv_general_dilated")
SPEC = DataSpec(100, (28, 28), 10, Scaling(*map(jnp.float32, UNIT)))


LABELS, WEIGHTS = np.arange(16, dtype=np.int32) % 10, np.full(16, 1 / 16, np.float32)


def gradients_of(name, precision: str):
    """A function that gives a network's gradients."""
    model = make_model(jd.TrainConfig(model=name), 10, (28, 28))
    return autodiff(in_precision(model, precision), cross_entropy)


def given_to(name):
    """What gradients are taken of."""
    rng = np.random.default_rng(0)
    params = jax.jit(make_model(jd.TrainConfig(model=name), 10).init)(jax.random.key(0))
    images = rng.uniform(size=(16, 28, 28)).astype(np.float32)
    return params, images, LABELS, WEIGHTS, jax.random.key(2)


@cache
def shapes_of(name):
    """The shapes of parameters and images."""
    params = jax.eval_shape(make_model(jd.TrainConfig(model=name), 10).init, jax.random.key(0))
    return params, jax.ShapeDtypeStruct((16, 28, 28), np.float32)


def equations(jaxpr):
    """All equations, those of functions that are called too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def products(name: str, precision: str):
    """The products of a network's gradients, but for sums over the batch."""
    given = *shapes_of(name), LABELS, WEIGHTS, jax.random.key(2)
    jaxpr = jax.make_jaxpr(gradients_of(name, precision))(*given).jaxpr
    return [
        one
        for one in equations(jaxpr)
        if one.primitive.name in PRODUCTS and all(x.aval.ndim > 1 for x in one.invars)
    ]


@pytest.mark.parametrize(
    ("name", "platform"),
    [*((name, "cpu") for name in NETWORKS), *((name, "gpu") for name in NETWORKS[:3])],
)
def test_all_products_are_of_bfloat16(name, platform):
    with tracing_for(platform):
        found = products(name, "bfloat16")
    assert len(found) >= {"linear": 2, "mlp": 5, "convnet": 17, "resnet18": 60}[name]
    dtypes = {variable.aval.dtype.name for one in found for variable in one.invars}
    assert dtypes == {"bfloat16"}


@pytest.mark.parametrize("precision", ["float32", "tensorfloat32"])
def test_products_of_float32_are_told_how_to_round(precision):
    with tracing_for("gpu"):
        found = products("mlp", precision)
        usual = products("mlp", "default")
    wanted = {"float32": "HIGHEST", "tensorfloat32": "HIGH"}[precision]
    assert {str(one.params["precision"]).count(wanted) for one in found} == {2}
    assert {one.params["precision"] for one in usual} == {None}


@pytest.mark.usefixtures("small_resnet")
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients_are_float32_and_nearly_the_same(name):
    given = given_to(name)
    logits, grads, changed = jax.device_get(jax.jit(gradients_of(name, "bfloat16"))(*given))
    logits_32, grads_32, changed_32 = jax.device_get(jax.jit(gradients_of(name, "default"))(*given))
    for one in jax.tree.leaves((logits, grads, changed)):
        assert one.dtype == np.float32
    assert 0 < np.abs(logits - logits_32).max() < 0.1 * np.abs(logits_32).max()
    both = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (grads, grads_32)
    ]
    cosine = both[0] @ both[1] / np.linalg.norm(both[0]) / np.linalg.norm(both[1])
    assert cosine > {"resnet18": 0.85}.get(name, 0.995)
    for one, other in zip(jax.tree.leaves(changed), jax.tree.leaves(changed_32), strict=True):
        np.testing.assert_allclose(one, other, rtol=0.2, atol=0.05)


def test_statistics_are_not_rounded():
    """Of a network that keeps some: 0.9 of what they were, and 0.1 of the batch's."""
    old = np.float32(1.2345678)

    def apply_train(params, images, _):
        assert params["params"]["weight"].dtype == jnp.bfloat16
        assert params["batch_stats"].dtype == jnp.float32
        logits = images.reshape(len(images), -1) @ params["params"]["weight"]
        return logits, {"batch_stats": params["batch_stats"]}

    model = jd.Model(lambda _: None, lambda _, __: None, apply_train=apply_train)
    params = {"params": {"weight": jnp.ones((4, 3))}, "batch_stats": jnp.array(old)}
    trained = in_precision(model, "bfloat16")
    assert trained.apply_train is not None
    _, changed = trained.apply_train(params, jnp.ones((2, 2, 2)), jax.random.key(0))
    assert changed["batch_stats"] == old


@pytest.mark.parametrize("name", ["linear", "convnet"])
def test_float32_is_the_default_of_a_cpu(name):
    one, other = (gradients_of(name, precision) for precision in ("default", "float32"))
    given = given_to(name)
    for a, b in zip(
        jax.tree.leaves(jax.jit(one)(*given)[1]),
        jax.tree.leaves(jax.jit(other)(*given)[1]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def rounded() -> jd.Run:
    """A run in bfloat16."""
    return jd.fit(jd.TrainConfig(dataset="digits", model="linear", epochs=2, precision="bfloat16"))


def test_parameters_stay_float32_and_it_learns(rounded):
    assert {leaf.dtype.name for leaf in jax.tree.leaves(rounded.params)} == {"float32"}
    exact = jd.fit(rounded.config.replace(precision="default"))
    accuracies = [one.results["validation"]["accuracy"] for one in (rounded, exact)]
    assert accuracies[0] > accuracies[1] - 0.02
    assert not np.array_equal(rounded.params["weight"], exact.params["weight"])


def test_a_sweep_and_several_devices(rounded):
    swept = jd.sweep(rounded.config, seeds=2, devices=2)
    np.testing.assert_allclose(
        swept.ensemble.members[0].params["weight"], rounded.params["weight"], rtol=0.1, atol=1e-3
    )


def test_what_is_not_to_be_had():
    with pytest.raises(ConfigError, match="precision tensorfloat32 is for GPUs"):
        resolve(jd.TrainConfig(precision="tensorfloat32"), SPEC)
    with tracing_for("gpu"):
        resolve(jd.TrainConfig(precision="tensorfloat32"), SPEC)
    with pytest.raises(ConfigError, match="gradients by hand have the default precision"):
        jd.TrainConfig(model="mlp", gradients="hand", precision="float32")
    with pytest.raises(ConfigError, match="precision applies to model linear and mlp and"):
        jd.TrainConfig(model="pixel", precision="bfloat16")
    with pytest.raises(ConfigError, match="precision must be one of"):
        jd.TrainConfig.from_dict({"precision": "float16"})


def test_it_says_that_it_is_slow(cli, tmp_path):
    words = ("--dataset", "digits", "--model", "linear", "--epochs", "1")
    _, _, err = cli("train", *words, "--precision", "bfloat16", "--out", tmp_path / "run")
    assert "(cpu), in bfloat16, which is slower than float32 on a CPU" in err
