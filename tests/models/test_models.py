from collections import defaultdict
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import resnet_variables
from jaxtyping import TypeCheckError

from jaxdigits.config import TrainConfig
from jaxdigits.models import (
    ACTIVATIONS,
    convnet,
    count_params,
    linear,
    make_model,
    mlp,
    pixel,
    resnet,
)
from jaxdigits.models.dropout import drop
from jaxdigits.models.initializers import INITIALIZERS, draw_layers

# Each of these programs runs once or twice: compiling them well would take most of the time.
jit_once = partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)


def test_parameter_counts_of_post_a():
    """Row A8."""
    for config, count in (
        (TrainConfig(model="linear"), 7_850),
        (TrainConfig(model="mlp", hidden=(30,)), 23_860),
    ):
        assert count_params(make_model(config, 10).init(jax.random.key(0))) == count


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5, 3)])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_mlp_against_plain_numpy(hidden, activation, rng):
    import scipy.special

    functions = {
        "relu": lambda z: np.maximum(z, 0),
        "sigmoid": scipy.special.expit,
        "tanh": np.tanh,
        "gelu": lambda z: z * scipy.special.ndtr(z),
    }
    images = rng.normal(size=(4, 28, 28)).astype(np.float32)
    params = mlp.init(jax.random.key(1), 10, hidden)
    values = images.reshape(4, 784)
    for index, layer in enumerate(params):
        values = values @ np.asarray(layer["weight"]).T + np.asarray(layer["bias"])
        if index < len(hidden):
            values = functions[activation](values)
    logits = mlp.apply(params, jnp.asarray(images), activation)
    np.testing.assert_allclose(logits, values, rtol=1e-4, atol=1e-5)


def test_one_hidden_layer_unless_asked_otherwise():
    """As wide as that of the settings."""
    model = make_model(TrainConfig(model="mlp"), 10)
    shapes = (jax.eval_shape(init, jax.random.key(0)) for init in (mlp.init, model.init))
    first, second = ([layer["weight"].shape for layer in params] for params in shapes)
    assert first == second
    assert [outputs for outputs, _ in first][1:] == [10]


def test_nothing_is_dropped_without_a_share_or_a_key():
    params, images = mlp.init(jax.random.key(0), 3, (9,), 4), jnp.ones((2, 4))
    key, plain = jax.random.key(0), mlp.apply(params, images)
    np.testing.assert_array_equal(mlp.apply(params, images, key=key), plain)
    np.testing.assert_array_equal(mlp.apply(params, images, dropout=0.5), plain)
    assert not np.array_equal(mlp.apply(params, images, dropout=0.5, key=key), plain)


@pytest.mark.parametrize(
    ("settings", "function"),
    [
        ({"model": "pixel", "distance": "absolute"}, pixel.apply),
        ({"model": "pixel", "distance": "squared"}, pixel.apply),
        ({"model": "mlp", "hidden": (3,), "activation": "tanh"}, mlp.apply),
        ({"model": "mlp", "hidden": (3,), "activation": "gelu"}, mlp.apply),
    ],
)
def test_a_network_has_the_settings_of_its_config(settings, function, rng):
    config = TrainConfig(**settings)
    model = make_model(config, 4, (2, 5))
    images = jnp.asarray(rng.normal(size=(6, 2, 5)), jnp.float32)
    labels = jnp.array([0, 1, 0, 3, 1, 0])
    if model.fit is None:
        params, setting = model.init(jax.random.key(0)), config.activation
    else:
        params, setting = model.fit(images, labels), config.distance
        assert params["means"].shape == model.init(jax.random.key(0))["means"].shape == (4, 2, 5)
    np.testing.assert_array_equal(model.apply(params, images), function(params, images, setting))


@pytest.mark.parametrize(("pool_activation", "count"), [("gelu", 5), ("none", 2)])
def test_the_convnet_has_the_activations_of_its_config(pool_activation, count):
    """After two dense layers, and after three poolings."""
    config = TrainConfig.from_dict({"pool_activation": pool_activation, "dropout": 0.5})
    model = make_model(config, 4, (16, 16))
    params, images = jax.eval_shape(model.init, jax.random.key(0)), jnp.zeros((2, 16, 16))
    assert model.apply_train is not None
    for function, given in ((model.apply, ()), (model.apply_train, (jax.random.key(0),))):
        assert str(jax.make_jaxpr(function)(params, images, *given)).count("= erf ") == count


@pytest.mark.parametrize("model", ["linear", "mlp", "convnet"])
def test_a_network_starts_as_its_config_says(model):
    """Normal numbers go beyond the bounds of uniform ones."""
    for initializer, low, high in (("normal", 2, 9), ("uniform", 0, 1 / 3)):
        config = TrainConfig.from_dict({"model": model, "initializer": initializer})
        params = make_model(config, 4, (16, 16)).init(jax.random.key(0))
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(params))
        assert low < largest <= high


def test_no_bias_repeats_a_weight():
    layer = linear.init(jax.random.key(0))
    assert not (layer["bias"] == layer["weight"].T).all(axis=1).any()


def test_any_function_is_an_activation():
    params = mlp.init(jax.random.key(0), 10, (5,))
    images = jnp.ones((2, 28, 28))
    np.testing.assert_array_equal(
        mlp.apply(params, images, jnp.tanh), mlp.apply(params, images, "tanh")
    )


def test_linear_against_torch(rng):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(784, 10)
    weight, bias = (jnp.asarray(p.detach().numpy()) for p in layer.parameters())
    images = rng.normal(size=(3, 784)).astype(np.float32)
    expected = layer(torch.tensor(images)).detach().numpy()
    np.testing.assert_allclose(
        linear.apply({"weight": weight, "bias": bias}, jnp.asarray(images)),
        expected,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("name", "mean_square", "bound"), [("normal", 1.0, np.inf), ("uniform", 1 / 300, 0.1)]
)
def test_initializers(name, mean_square, bound):
    drawn = np.asarray(INITIALIZERS[name](jax.random.key(0), (40_000,), 100))
    # The mean of 40,000 squares: within five of its standard errors.
    error = 5 * (drawn**2).std() / np.sqrt(drawn.size)
    assert abs((drawn**2).mean() - mean_square) < error
    assert abs(drawn.mean()) < 5 * drawn.std() / np.sqrt(drawn.size)
    assert np.abs(drawn).max() <= bound
    layer = linear.init(jax.random.key(0), 10, 784, name)
    assert not np.array_equal(layer["bias"], layer["weight"][0, :10])


@pytest.mark.parametrize("name", INITIALIZERS)
def test_layers_draw_together_what_each_draws_alone(name):
    keys = jax.random.split(jax.random.key(1), 3)
    shapes, fans_in = [(3, 4), (50, 7), (1, 1)], [3, 49, 1]
    together = draw_layers(name, keys, shapes, fans_in)
    for found, key, shape, fan_in in zip(together, keys, shapes, fans_in, strict=True):
        np.testing.assert_array_equal(found, INITIALIZERS[name](key, shape, fan_in))


def test_resnet18_starts_as_published():
    """Convolutions by their outputs (torchvision), dense layers by their inputs (fastai): He's."""
    layers = ("Convolution_0", "Convolution_5", "Convolution_7", "Dense_0", "Dense_1")

    @jit_once
    def kernels(key):
        params = resnet.init(key)["params"]
        return {name: params[name]["kernel"] for name in layers}

    for name, kernel in kernels(jax.random.key(0)).items():
        fan = kernel.shape[0] if name.startswith("Dense") else kernel[..., 0, :].size
        error = 5 * np.sqrt(2 / kernel.size)  # of a variance of that many normal numbers
        assert kernel.var() * fan / 2 == pytest.approx(1, abs=error), name


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_no_key_is_used_twice(name):
    """jax's checker of keys finds none that initialization or dropout uses twice."""
    config = TrainConfig(model=name, dropout=0.5)
    model = make_model(config.replace(hidden=(8, 8)) if name == "mlp" else config, 10)
    assert model.apply_train is not None
    with jax.debug_key_reuse(True):
        params = jit_once(model.init)(jax.random.key(0))
        jit_once(model.apply_train)(params, jnp.zeros((2, 28, 28)), jax.random.key(1))


def test_layers_leave_out_others():
    """Through two layers that change nothing, a quarter of 4,000 values comes."""
    layer = linear.LinearParams(weight=jnp.eye(50), bias=jnp.zeros(50))
    images = jnp.ones((80, 50))
    values = mlp.apply([layer] * 3, images, "relu", dropout=0.5, key=jax.random.key(0))
    assert (values > 0).mean() == pytest.approx(1 / 4, abs=5 * np.sqrt(1 / 4 * 3 / 4 / 4000))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_the_others_grow(share):
    dropped = np.asarray(drop(jax.random.key(0), jnp.full(1000, 3.0), share))
    np.testing.assert_allclose(np.unique(dropped[dropped != 0]), [3 / (1 - share)], rtol=1e-5)
    assert (dropped == 0).mean() == pytest.approx(share, abs=0.07)


def test_derivatives_at_zero():
    """That of ReLU is 0, as in PyTorch."""
    for name, slope in {"relu": 0.0, "sigmoid": 0.25, "tanh": 1.0, "gelu": 0.5}.items():
        assert jax.grad(ACTIVATIONS[name])(0.0) == slope


def test_pixel_model_by_hand(rng):
    images = rng.uniform(size=(6, 28, 28)).astype(np.float32)
    labels = np.array([0, 1, 0, 2, 1, 0])
    params = pixel.fit(jnp.asarray(images), jnp.asarray(labels), num_classes=4)
    np.testing.assert_allclose(params["means"][0], images[[0, 2, 5]].mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(params["means"][2], images[3])
    assert not params["means"][3].any()  # nobody's mean
    assert len(pixel.fit(jnp.asarray(images), jnp.asarray(labels))["means"]) == 10  # by default
    cases: tuple[tuple[pixel.Distance, np.ufunc], ...] = (
        ("absolute", np.abs),
        ("squared", np.square),
    )
    for distance, function in cases:
        expected = [
            [-function(image - mean).mean() for mean in np.asarray(params["means"])]
            for image in images
        ]
        logits = pixel.apply(params, jnp.asarray(images), distance)
        np.testing.assert_allclose(logits, expected, rtol=1e-4)


def test_shapes_of_the_convnet():
    """Post C row C1: 137,178 parameters for 26 classes."""
    params = jax.eval_shape(convnet.init, jax.random.key(0))
    assert count_params(params) == 137_178
    assert [layer["kernel"].shape for layer in params["conv"]] == [
        (3, 3, 1, 32),
        (3, 3, 32, 64),
        (3, 3, 64, 128),
    ]
    assert [layer["weight"].shape for layer in params["dense"]] == [(64, 512), (128, 64), (26, 128)]
    for config, classes in ((TrainConfig(), 26), (TrainConfig(dropout=0.5), 10)):
        model = make_model(config, classes)
        params = jax.eval_shape(model.init, jax.random.key(0))
        assert jax.eval_shape(model.apply, params, jnp.zeros((5, 28, 28))).shape == (5, classes)


def torch_convnet(torch, params, images, pool_activation):
    """Post C's network, the bias added before the pooling, where it stands in the post."""
    f = torch.nn.functional
    values = images[:, None]
    for layer in params["conv"]:
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        values = f.max_pool2d(f.conv2d(values, kernel, layer["bias"]), 2, ceil_mode=True)
        values = f.gelu(values) if pool_activation == "gelu" else values
    first, second, third = params["dense"]
    values = values.permute(0, 2, 3, 1).flatten(1)  # channels last, as ours are
    values = f.gelu(f.linear(values, first["weight"], first["bias"]))
    values = f.gelu(f.linear(values, second["weight"], second["bias"]))
    return f.linear(values, third["weight"], third["bias"])


@pytest.mark.parametrize("pool_activation", ["gelu", "none"])
def test_convnet_against_torch(pool_activation, rng):
    """Logits, and the gradient of every parameter; the bias may as well be added earlier."""
    torch = pytest.importorskip("torch")
    params = convnet.init(jax.random.key(1), 26)
    images = rng.uniform(size=(6, 28, 28)).astype(np.float32)
    theirs = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf), requires_grad=True), params)
    expected = torch_convnet(torch, theirs, torch.tensor(images), pool_activation)
    d_logits = rng.normal(size=expected.shape).astype(np.float32)
    expected.backward(torch.tensor(d_logits))

    @jit_once
    def logits_and_gradients(params, images, d_logits):
        apply = partial(convnet.apply, images=images, pool_activation=pool_activation)
        logits, pull = jax.vjp(apply, params)
        return logits, pull(d_logits)[0]

    logits, gradients = logits_and_gradients(params, images, d_logits)
    np.testing.assert_allclose(logits, expected.detach().numpy(), rtol=1e-4, atol=1e-4)
    for (path, found), their in zip(
        jax.tree_util.tree_leaves_with_path(gradients), jax.tree.leaves(theirs), strict=True
    ):
        wanted = their.grad.numpy()
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(
            found, wanted, rtol=1e-3, atol=1e-4 * scale, err_msg=jax.tree_util.keystr(path)
        )


@pytest.mark.parametrize(
    ("stem", "count", "first"), [("7x7", 11_708_992, (7, 7)), ("3x3", 11_701_312, (3, 3))]
)
def test_shapes_of_resnet18(stem, count, first):
    """Row B7. Statistics are no parameters; the smaller stem has 64 * 3 * (49 - 9) fewer."""
    model = make_model(TrainConfig(model="resnet18", stem=stem), 10)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    assert count_params(variables) == count
    assert variables["params"]["Convolution_0"]["kernel"].shape == (*first, 3, 64)
    assert len(jax.tree.leaves(variables["batch_stats"])) == 2 * 22
    assert jax.eval_shape(model.apply, variables, jnp.zeros((1, 28, 28))).shape == (1, 10)


@pytest.mark.parametrize(
    ("stem", "side", "sides"), [("7x7", 28, [14, 7, 4, 2, 1]), ("3x3", 32, [32, 32, 16, 8, 4])]
)
def test_every_stage_but_the_first_halves_the_image(stem, side, sides) -> None:
    """Rows, columns, and channels out of each convolution: of the stem, then of each stage."""
    net = resnet.ResNet18(stem=stem, method="lax")
    images = jnp.zeros((2, side, side))
    params = jax.eval_shape(net.init, jax.random.key(0), images)
    jaxpr = jax.make_jaxpr(net.apply)(params, images).jaxpr
    found = [
        equation.outvars[0].aval.shape[1:]
        for equation in jaxpr.eqns
        if equation.primitive.name == "conv_general_dilated"
    ]
    expected = [(sides[0], sides[0], 64)]
    for size, channels in zip(sides[1:], (64, 128, 256, 512), strict=True):
        expected += [(size, size, channels)] * (4 if channels == 64 else 5)
    assert found == expected


def torch_resnet(torch, variables, images, stem, train=False):
    """torchvision's ResNet-18 with fastai's head, written for the same variables.

    Gives the logits, and how many values each normalisation had for its statistics; its running
    ones are changed in place.
    """
    f, counts, used = torch.nn.functional, [], defaultdict(int)

    def take(kind, part="params"):
        return variables[part][f"{kind}_{used[kind]}"]

    def convolution(values, stride=1):
        kernel = take("Convolution")["kernel"].permute(3, 2, 0, 1)
        used["Convolution"] += 1
        return f.conv2d(values, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(values):
        layer, running = take("BatchNorm"), take("BatchNorm", "batch_stats")
        used["BatchNorm"] += 1
        counts.append(values.numel() // values.shape[1])
        return f.batch_norm(
            values, running["mean"], running["var"], layer["scale"], layer["bias"], train, 0.1
        )

    def dense(values):
        used["Dense"] += 1
        return norm(values) @ variables["params"][f"Dense_{used['Dense'] - 1}"]["kernel"]

    values = images[:, None].expand(-1, 3, -1, -1)
    values = f.relu(norm(convolution(values, 2 if stem == "7x7" else 1)))
    if stem == "7x7":
        values = f.max_pool2d(values, 3, 2, 1)
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            found = f.relu(norm(convolution(values, stride)))
            found = norm(convolution(found))
            values = f.relu(found + (norm(convolution(values, stride)) if stride > 1 else values))
    pooled = torch.cat([f.adaptive_max_pool2d(values, 1), f.adaptive_avg_pool2d(values, 1)], 1)
    return dense(f.relu(dense(pooled.flatten(1)))), counts


@pytest.mark.parametrize(("stem", "shape"), [("7x7", (27, 29)), ("3x3", (28, 28))])
def test_resnet18_against_torch(stem, shape, rng):
    """With statistics other than those at the start, and sides that strides do not divide."""
    torch = pytest.importorskip("torch")
    variables = resnet_variables(stem, rng)
    images = rng.normal(size=(4, *shape)).astype(np.float32)
    theirs = jax.tree.map(torch.tensor, variables)
    expected, _ = torch_resnet(torch, theirs, torch.tensor(images), stem)
    logits = jit_once(partial(resnet.apply, stem=stem))(variables, images)
    scale = np.abs(expected.numpy()).max()
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-3, atol=1e-4 * scale)


def test_resnet18_in_training_against_torch(rng):
    """Logits and gradients with the batch's statistics, and the statistics gathered.

    Those of the variance are of the batch as it is; torch's are n / (n - 1) times as large.
    """
    torch = pytest.importorskip("torch")
    variables = resnet_variables("7x7", rng)
    images = rng.normal(size=(8, 28, 28)).astype(np.float32)
    theirs = jax.tree.map(torch.tensor, variables)
    leaves = jax.tree.leaves(theirs["params"])
    for leaf in leaves:
        leaf.requires_grad_(True)
    expected, counts = torch_resnet(torch, theirs, torch.tensor(images), "7x7", train=True)
    d_logits = rng.normal(size=expected.shape).astype(np.float32)
    expected.backward(torch.tensor(d_logits))

    @jit_once
    def step(params, statistics, images, d_logits):
        def run(params):
            together = {"params": params, "batch_stats": statistics}
            return resnet.apply_train(together, images, jax.random.key(0), dropout=0.0)

        logits, pull, changed = jax.vjp(run, params, has_aux=True)
        return logits, pull(d_logits)[0], changed

    logits, gradients, changed = step(
        variables["params"], variables["batch_stats"], images, d_logits
    )
    wanted = expected.detach().numpy()
    np.testing.assert_allclose(logits, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    for found, leaf in zip(jax.tree.leaves(gradients), leaves, strict=True):
        # By the length of the difference: a ReLU at nearly 0 may be open there and shut here.
        difference = np.linalg.norm(np.asarray(found) - leaf.grad.numpy())
        assert difference < 1e-2 * np.linalg.norm(leaf.grad.numpy())
    assert set(changed) == {"batch_stats"}
    for index, count in enumerate(counts):
        found, before, after = (
            stats[f"BatchNorm_{index}"]
            for stats in (changed["batch_stats"], variables["batch_stats"], theirs["batch_stats"])
        )
        np.testing.assert_allclose(found["mean"], after["mean"].numpy(), rtol=1e-3, atol=1e-4)
        kept = 0.9 * before["var"]
        biased = kept + (after["var"].numpy() - kept) * (count - 1) / count
        np.testing.assert_allclose(found["var"], biased, rtol=1e-3, atol=1e-4)


def test_dropout_of_resnet18_is_halved_before_the_first_dense_layer(monkeypatch, rng):
    """As in fastai's head."""
    rates, variables, dropout = [], resnet_variables("7x7", rng), resnet.nn.Dropout

    def watched(rate, **more):
        rates.append(rate)
        return dropout(rate, **more)

    monkeypatch.setattr(resnet.nn, "Dropout", watched)
    images = rng.normal(size=(2, 28, 28)).astype(np.float32)
    jax.eval_shape(partial(resnet.apply_train, dropout=0.5), variables, images, jax.random.key(0))
    assert rates == [0.25, 0.5]


def test_dropout_of_resnet18_is_for_training_only(rng):
    """Another key, other logits; the statistics in front of the dropout do not see it."""
    variables = resnet_variables("7x7", rng)
    images = rng.normal(size=(3, 28, 28)).astype(np.float32)
    model = make_model(TrainConfig(model="resnet18", dropout=0.5), 10)
    assert model.apply_train is not None
    apply_train = jit_once(model.apply_train)
    (first, changed), (again, _), (other, changed_too) = (
        apply_train(variables, images, jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, rtol=0.01)
    for index in range(22):
        same = index < 21  # the last normalisation comes behind the first dropout
        name = f"BatchNorm_{index}"
        pair = (tree["batch_stats"][name]["mean"] for tree in (changed, changed_too))
        assert np.array_equal(*pair) == same
    random = "random_bits"
    assert random in str(jax.make_jaxpr(model.apply_train)(variables, images, jax.random.key(0)))
    assert random not in str(jax.make_jaxpr(model.apply)(variables, images))


def test_dropout():
    """Half of 40,000 values, within five standard errors, and no two keys the same ones."""
    share, values = 0.3, jnp.full((200, 200), 7.0)
    dropped, other = (np.asarray(drop(jax.random.key(seed), values, share)) for seed in (0, 1))
    error = np.sqrt(share * (1 - share) / values.size)
    assert abs((dropped == 0).mean() - share) < 5 * error
    np.testing.assert_allclose(dropped[dropped != 0], 7 / 0.7, rtol=1e-6)
    assert abs(dropped.mean() - 7) < 5 * error * 7 / 0.7
    both = ((dropped == 0) & (other == 0)).mean()
    assert abs(both - share**2) < 5 * np.sqrt(share**2 / values.size)
    # As many in each row and each column: nothing is dropped as a whole.
    for axis in (0, 1):
        assert np.abs((dropped == 0).mean(axis=axis) - share).max() < 6 * error * np.sqrt(200)
    np.testing.assert_array_equal(dropped, drop(jax.random.key(0), values, share))


def test_what_is_dropped_does_not_depend_on_the_float_type():
    values = np.ones(50, np.float32)
    plain = drop(jax.random.key(0), jnp.asarray(values), 0.3)
    with jax.enable_x64(True):
        found = drop(jax.random.key(0), jnp.asarray(values), 0.3)
    assert found.dtype == plain.dtype == jnp.float32
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("model", ["mlp", "convnet"])
def test_dropout_is_for_training_only(model, rng):
    base = TrainConfig(model=model)
    if model == "mlp":
        base = base.replace(hidden=(30, 20))
    net, without = make_model(base.replace(dropout=0.5), 10), make_model(base, 10)
    assert without.apply_train is None
    assert net.apply_train is not None
    params = net.init(jax.random.key(0))
    images = jnp.asarray(rng.uniform(size=(4, 28, 28)), jnp.float32)
    np.testing.assert_array_equal(net.apply(params, images), without.apply(params, images))
    apply_train = jit_once(net.apply_train)
    first, again, other = (
        apply_train(params, images, jax.random.key(seed))[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, net.apply(params, images))


def test_what_dropout_leaves_out_learns_nothing(rng):
    """Of the 64 outputs of the convnet's first dense layer, some, others for each image."""
    params = convnet.init(jax.random.key(0))
    image = jnp.asarray(rng.uniform(size=(1, 28, 28)), jnp.float32)

    def loss(params, key):
        return (convnet.apply(params, image, dropout=0.5, key=key) ** 2).sum()

    gradient = jit_once(jax.grad(loss))
    for seed in (0, 1):
        bias = np.asarray(gradient(params, jax.random.key(seed))["dense"][0]["bias"])
        kept = np.asarray(drop(jax.random.key(seed), jnp.ones((1, 64)), 0.5))[0] > 0
        np.testing.assert_array_equal(bias != 0, kept)
        assert 15 < kept.sum() < 49


def test_annotations_are_checked():
    """Or the annotations would be mere prose."""
    with pytest.raises(TypeCheckError):
        linear.apply(
            {"weight": jnp.zeros((10, 784)), "bias": jnp.zeros(10)}, jnp.zeros((2, 784), jnp.int32)
        )
