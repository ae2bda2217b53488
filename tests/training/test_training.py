from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jaxdigits as jd
from jaxdigits.environment import compiler_options
from jaxdigits.models import convnet
from jaxdigits.models.dropout import drop
from jaxdigits.training import batches, sharding
from jaxdigits.training.batches import shuffled_batches
from jaxdigits.training.optimizers import make_optimizer, make_schedule
from jaxdigits.training.sharding import default_mesh
from jaxdigits.training.state import with_hyperparams
from jaxdigits.training.trainer import compute_logits, make_trainer
from jaxdigits.transforms.scaling import Scaling, pixel_statistics, scale_pixels, standardize

SGD = jd.TrainConfig(
    model="linear", optimizer="sgd", schedule="constant", learning_rate=0.1, epochs=2
)


def small(data: jd.TrainingData, count: int = 100) -> jd.TrainingData:
    return replace(data, train=jd.Examples(data.train.images[:count], data.train.labels[:count]))


def leaves_close(first, second, rtol=1e-4, atol=1e-5):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def mesh_of(devices):
    return default_mesh(jd.Hints(), 1, devices)


def plain_numpy_run(config, state, scaling, examples):
    """The linear model trained with a Python loop in float64, on the batches of `state`'s epoch."""
    weight, bias = (np.asarray(state.params[name], np.float64) for name in ("weight", "bias"))
    mean, std = (float(value) for value in scaling)
    images = (np.asarray(examples.images, np.float64).reshape(-1, 784) / 255 - mean) / std
    onehot = np.eye(10)[examples.labels]
    key = jax.random.fold_in(state.key, 0)
    indices, valid = jax.jit(shuffled_batches, static_argnums=(1, 2))(
        key, len(images), config.batch_size
    )
    loss_sum = correct = 0
    for batch, counts in zip(np.asarray(indices), np.asarray(valid) == 1, strict=True):
        x, y = images[batch[counts]], onehot[batch[counts]]
        logits = x @ weight.T + bias
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        softmax = shifted / shifted.sum(axis=1, keepdims=True)
        loss_sum -= np.log((softmax * y).sum(axis=1)).sum()
        correct += (logits.argmax(axis=1) == y.argmax(axis=1)).sum()
        gradient = (softmax - y) / (len(x) if config.reduction == "mean" else 1)
        weight = weight - config.learning_rate * gradient.T @ x
        bias = bias - config.learning_rate * gradient.sum(axis=0)
    return {"weight": weight, "bias": bias}, loss_sum / len(images), correct / len(images)


@pytest.mark.parametrize(
    ("reduction", "learning_rate", "gradients"),
    [("mean", 0.1, "auto"), ("sum", 0.002, "auto"), ("mean", 0.1, "hand"), ("sum", 0.002, "hand")],
)
def test_an_epoch_against_plain_numpy(digits, reduction, learning_rate, gradients):
    """100 examples in batches of 64: the last batch, of 36, counts, and counts right."""
    config = jd.TrainConfig(
        model="linear",
        optimizer="sgd",
        schedule="constant",
        reduction=reduction,
        learning_rate=learning_rate,
        gradients=gradients,
    )
    data = small(digits)
    trainer = make_trainer(config, data)
    state = jax.jit(trainer.init)(jax.random.key(3), data.train)
    expected, loss, accuracy = plain_numpy_run(config, state, trainer.spec.scaling, data.train)
    state, measured = jax.jit(trainer.epoch)(state, data)
    leaves_close(state.params, expected)
    assert measured.train.loss == pytest.approx(loss, rel=1e-4)
    assert measured.train.accuracy == pytest.approx(accuracy)


def test_against_torch(digits):
    """Momentum and Adam over an epoch, the same batches."""
    torch = pytest.importorskip("torch")
    data = small(digits, 256)

    def decaying_weights(parameters):
        parameters = list(parameters)
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, 0.01)

    base = jd.TrainConfig(model="mlp", hidden=(20,), schedule="constant", learning_rate=0.01)
    for config, theirs in (
        (
            replace(base, optimizer="sgd", momentum=0.9),
            lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
        ),
        (replace(base, optimizer="adam"), lambda p: torch.optim.Adam(p, 0.01)),
        (replace(base, optimizer="adamw"), decaying_weights),
    ):
        trainer = make_trainer(config, data)
        state = trainer.init(jax.random.key(0), data.train)
        net = torch.nn.Sequential(
            torch.nn.Linear(784, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10)
        )
        flat = [np.array(layer[name]) for layer in state.params for name in ("weight", "bias")]
        with torch.no_grad():
            for parameter, array in zip(net.parameters(), flat, strict=True):
                parameter.copy_(torch.tensor(array))
        scaling = trainer.spec.scaling
        images = torch.tensor(np.array(scale_pixels(jnp.asarray(data.train.images), scaling)))
        labels = torch.tensor(np.asarray(data.train.labels, np.int64))
        optimiser = theirs(net.parameters())
        key = jax.random.fold_in(state.key, 0)
        for batch in np.array(shuffled_batches(key, 256, 64)[0]):
            optimiser.zero_grad()
            logits = net(images[batch].reshape(64, 784))
            torch.nn.functional.cross_entropy(logits, labels[batch]).backward()
            optimiser.step()
        state, _ = jax.jit(trainer.epoch)(state, data)
        ours = [layer[name] for layer in state.params for name in ("weight", "bias")]
        for mine, parameter in zip(ours, net.parameters(), strict=True):
            np.testing.assert_allclose(mine, parameter.detach().numpy(), rtol=1e-3, atol=1e-4)


def test_gradients_by_hand_train_the_same_network(digits):
    """The mlp, over an epoch of 21 steps."""
    found = []
    for gradients in ("auto", "hand"):
        config = jd.TrainConfig(model="mlp", gradients=gradients, epochs=1)
        trainer = make_trainer(config, digits)
        state = jax.jit(trainer.init)(jax.random.key(0))
        found.append(jax.jit(trainer.train_epoch)(state, digits.train))
    (auto, measured), (hand, measured_by_hand) = found
    leaves_close(auto.params, hand.params, atol=1e-3)
    leaves_close(measured, measured_by_hand, atol=1e-3)


def test_one_trace_per_epoch_function(digits):
    traces = []

    def apply(params, images):
        traces.append(images.shape)
        return jd.models.linear.apply(params, images)

    trainer = make_trainer(SGD, digits, model=jd.Model(jd.models.linear.init, apply))
    state = jax.jit(trainer.init)(jax.random.key(0), digits.train)
    epoch = jax.jit(trainer.epoch, donate_argnums=0)
    traces.clear()
    state, _ = epoch(state, digits)
    # Once for training, whatever the size of the last batch, and once for validation.
    assert traces == [(64, 28, 28), (120, 28, 28)]
    for _ in range(3):
        state, _ = epoch(state, digits)
    assert len(traces) == 2


def test_nothing_moves_between_host_and_device_in_an_epoch(digits):
    trainer = make_trainer(SGD, digits)
    data = jax.device_put(digits)
    state = jax.jit(trainer.init)(jax.random.key(0), data.train)
    epoch = jax.jit(trainer.epoch, donate_argnums=0).lower(state, data).compile()
    with jax.transfer_guard("disallow"):
        state, _ = epoch(state, data)
    assert state.step == 21


@pytest.mark.parametrize("given", [False, True])
def test_what_the_caller_gives_stays_the_caller_s(digits, given):
    """A state that was not made in a compiled program is donated like any other."""
    params = jd.models.linear.init(jax.random.key(1))
    model = jd.Model(lambda _: params, jd.models.linear.apply)  # returns existing arrays
    if given:
        model = model._replace(init=jd.models.linear.init)
    data, key, rate = jax.device_put(small(digits)), jax.random.key(0), jnp.float32(0.2)
    trainer = make_trainer(replace(SGD, ema_decay=0.9), data, model=model)
    state = trainer.init(key, data.train, params if given else None)
    state = with_hyperparams(state, learning_rate=rate)
    state, _ = jax.jit(trainer.epoch, donate_argnums=0)(state, data)
    # Only now are they read: what has been read is not donated.
    start = jd.models.linear.init(jax.random.key(1))
    leaves_close((params, data, rate), (start, small(digits), np.float32(0.2)), rtol=0, atol=0)
    assert key == jax.random.key(0)
    assert not np.array_equal(state.params["weight"], params["weight"])


def test_the_images_stay_bytes(digits):
    """No float copy of the images is made: the program's memory is less than one would take."""
    trainer = make_trainer(SGD, digits)
    state = trainer.init(jax.random.key(0), digits.train)
    memory = jax.jit(trainer.epoch).lower(state, digits).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 4 * digits.train.images.size


def test_train_is_the_trainer_in_a_loop(digits):
    config = jd.TrainConfig(model="linear", epochs=3)
    trainer = make_trainer(config, digits)
    state = jax.jit(trainer.init)(jax.random.key(5), digits.train)
    untrained = jax.jit(trainer.evaluate)(state, digits.validation)
    history, epoch = [], jax.jit(trainer.epoch)
    for _ in range(trainer.num_epochs):
        state, measured = epoch(state, digits)
        history.append(measured)
    result = jax.jit(jd.make_train(config))(jax.random.key(5), digits)
    leaves_close(result.state.params, state.params, atol=1e-4)
    leaves_close(result.untrained, untrained)
    leaves_close(result.history, jax.tree.map(lambda *m: np.stack(m), *history), atol=1e-3)


def test_an_optimizer_of_your_own(digits):
    """The post's `BasicOptim`, in a line of optax, is plain SGD."""
    basic = optax.stateless(lambda grads, _: jax.tree.map(lambda g: -0.1 * g, grads))
    data = small(digits)
    ours, theirs = (
        jax.jit(jd.make_train(SGD, optimizer=optimizer))(jax.random.key(0), data)
        for optimizer in (basic, None)
    )
    leaves_close(ours.state.params, theirs.state.params)


def test_a_flax_network_of_your_own(digits):
    import flax.linen as nn

    net = nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(32), nn.relu, nn.Dense(10)])
    model = jd.Model(lambda key: net.init(key, jnp.zeros((1, 28, 28))), net.apply)
    result = jax.jit(jd.make_train(jd.TrainConfig(epochs=5), model=model))(
        jax.random.key(0), digits
    )
    assert result.history.validation.accuracy[-1] > 0.9


def test_labels_of_more_classes_than_the_network_has(rng):
    """Integer cross-entropy would give a silent `nan`: the classes come with the data."""
    images = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    examples = jd.Examples(images, np.arange(60) % 26)
    letters = jd.data.from_arrays("letters", examples, examples, tuple(map(chr, range(97, 123))))
    data = jd.TrainingData.from_datasets(letters["train"], letters["validation"])
    result = jax.jit(jd.make_train(SGD))(jax.random.key(0), data)
    assert result.state.params["weight"].shape == (26, 784)
    assert np.isfinite(result.history.train.loss).all()
    ten = jd.Model(jd.models.linear.init, jd.models.linear.apply)
    with pytest.raises(jd.errors.ConfigError, match=r"\[2, 10\] for 2 images; .* \[2, 26\]"):
        jax.jit(jd.make_train(SGD, model=ten))(jax.random.key(0), data)
    with pytest.raises(jd.errors.DataError, match="label 10 of image 10 is out of range"):
        jd.data.from_arrays("letters", examples, examples, tuple("0123456789"))


def test_no_gradients_by_hand_for_a_model_of_your_own():
    model = jd.Model(jd.models.linear.init, jd.models.linear.apply)
    with pytest.raises(jd.errors.ConfigError, match="not for parts of your own"):
        jd.make_train(jd.TrainConfig(model="mlp", gradients="hand"), model=model)


def test_the_pixel_model_has_no_epochs(digits):
    result = jax.jit(jd.make_train(jd.TrainConfig(model="pixel")))(jax.random.key(0), digits)
    assert result.history.train.loss.shape == (0,)
    assert result.untrained.accuracy > 0.8


def test_mean_images_that_are_given_are_not_fitted(digits):
    trainer = make_trainer(jd.TrainConfig(model="pixel"), digits)
    given = {"means": jnp.ones((10, 28, 28))}
    assert (trainer.init(jax.random.key(0), digits.train, given).params["means"] == 1).all()


@pytest.mark.parametrize(
    ("loss", "activation"),
    [("sigmoid_mse", "sigmoid"), ("softmax_mse", "tanh"), ("clamped_cross_entropy", "gelu")],
)
def test_every_loss_and_activation_learns(digits, loss, activation):
    config = jd.TrainConfig(
        model="mlp", loss=loss, activation=activation, epochs=8, optimizer="adam"
    )
    result = jax.jit(jd.make_train(config))(jax.random.key(0), digits)
    assert result.history.validation.accuracy[-1] > 0.85


@pytest.mark.parametrize("count", [1, 200, 201, 500])
def test_logits_of_any_number_of_images(count, rng):
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    scaling = Scaling(jnp.float32(0.2), jnp.float32(0.3))
    params = jax.jit(jd.models.linear.init)(jax.random.key(0))
    logits = jax.jit(
        lambda images: compute_logits(
            jd.models.linear.apply, params, lambda pixels: standardize(pixels, scaling), images
        )
    )(images)
    inputs = (images.reshape(count, -1) / 255 - 0.2) / 0.3
    expected = inputs @ np.asarray(params["weight"]).T + np.asarray(params["bias"])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("count", "batches", "size"), [(200, 1, 200), (201, 2, 101)])
def test_images_are_evaluated_by_200(count, batches, size):
    """At most: in as few batches as that makes, all of one size."""
    shapes, images = [], jnp.zeros((count, 2, 2), jnp.uint8)

    def apply(params, images):
        shapes.append(images.shape)
        return images.reshape(len(images), -1)

    scaled = partial(compute_logits, apply, None, lambda pixels: pixels)
    assert jax.eval_shape(scaled, images).shape == (count, 4)
    assert shapes == [(size, 2, 2)]
    assert batches * size >= count > (batches - 1) * size


def both_ways(config, data, model=None, model_for_two=None, key=0, validate=True):
    """State after an epoch and its metrics, 119 images for validation: on one device, on two."""
    odd = jd.Examples(data.validation.images[:119], data.validation.labels[:119])
    data = replace(data, validation=odd)
    found = []
    for mesh, net in ((None, model), (mesh_of(2), model_for_two)):
        trainer = make_trainer(config, data, model=net, mesh=mesh)
        assert trainer.mesh is mesh
        whole = mesh and NamedSharding(mesh, PartitionSpec())
        data = jax.device_put(data, whole)
        state = jax.device_put(jax.jit(trainer.init)(jax.random.key(key), data.train), whole)
        # It runs once: compiling it well would take most of the time.
        options = {
            "xla_backend_optimization_level": 0,
            "xla_llvm_disable_expensive_passes": True,
            **compiler_options(mesh),
        }
        epoch, given = (trainer.epoch, data) if validate else (trainer.train_epoch, data.train)
        state, metrics = jax.jit(epoch, compiler_options=options)(state, given)
        # What stands on both devices is the same on both.
        for leaf in jax.tree.leaves((state.trained, metrics)):
            first, *others = (np.asarray(shard.data) for shard in leaf.addressable_shards)
            assert len(others) == (mesh is not None)
            for other in others:
                np.testing.assert_array_equal(first, other)
        found.append(jax.device_get((state, metrics)))
    return found


def states_close(found, atol=1e-5):
    (one, metrics), (two, metrics_of_two) = found
    leaves_close(two.params, one.params, rtol=1e-4, atol=atol)
    leaves_close(two.trained, one.trained, rtol=1e-4, atol=atol)
    leaves_close(metrics_of_two, metrics, rtol=1e-4, atol=1e-6)


def test_two_devices_train_the_same_network(digits):
    """Batches of 33, of which they cannot have halves; the last one is a single image."""
    config = jd.TrainConfig(
        model="mlp",
        hidden=(20,),
        optimizer="sgd",
        momentum=0.9,
        learning_rate=0.01,
        ema_decay=0.9,
        batch_size=33,
        epochs=1,
    )
    states_close(both_ways(config, small(digits, 100)))


def test_two_devices_train_the_same_convnet(digits, monkeypatch):
    """Also where the larger arrays are summed by themselves."""
    config = jd.TrainConfig(
        optimizer="sgd",
        schedule="constant",
        learning_rate=0.1,
        augment=(),
        batch_size=33,
        epochs=1,
        label_smoothing=0.1,
    )
    monkeypatch.setattr(sharding, "LARGE", 10_000)
    states_close(both_ways(config, small(digits, 100), validate=False))


def test_sums_over_devices(monkeypatch, rng):
    """Small arrays go together, large ones alone; each comes back to its place."""
    mesh = mesh_of(2)
    assert mesh is not None
    shapes = {"a": (2, 5, 3), "b": [(2,), (2, 30), (2, 4)], "c": (2, 1, 29), "d": ()}
    leaf = {"is_leaf": lambda x: isinstance(x, tuple)}
    tree = jax.tree.map(
        lambda shape: np.asarray(rng.normal(size=shape), np.float32), shapes, **leaf
    )
    apart = jax.tree.map(lambda x: PartitionSpec("devices") if x.ndim else PartitionSpec(), tree)
    expected = jax.tree.map(
        lambda x: x.reshape(2, 1, *x.shape[1:]).sum(0) if x.ndim else 2 * x, tree
    )
    for large, sums in ((2, 5), (29, 3), (30, 2), (10**6, 1)):
        monkeypatch.setattr(sharding, "LARGE", large)
        function = jax.jit(
            jax.shard_map(
                lambda tree: sharding.sum_over_devices(tree, "devices"),
                mesh=mesh,
                in_specs=(apart,),
                out_specs=PartitionSpec(),
                check_vma=False,
            )
        )
        leaves_close(function(tree), expected)
        assert str(jax.make_jaxpr(function)(tree)).count("psum") == sums


def normalized(axis_name):
    """A network with batch normalisation, as a user would write it with flax."""
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            values = nn.Dense(16)(images.reshape(len(images), -1))
            values = nn.BatchNorm(not train, momentum=0.8, axis_name=axis_name)(values)
            return nn.Dense(10)(nn.relu(values))

    net = Net()

    def apply_train(params, images, key):
        return net.apply(params, images, True, mutable=["batch_stats"])

    def init(key):
        return net.init(key, jnp.zeros((1, 28, 28)))

    return jd.Model(init, net.apply, apply_train=apply_train)


def test_two_devices_gather_the_same_statistics(digits):
    """A batch that is shared evenly: else the first image fills a gap, and counts in them."""
    config = jd.TrainConfig(
        model="linear",
        optimizer="sgd",
        momentum=0.9,
        schedule="constant",
        learning_rate=0.01,
        batch_size=32,
        epochs=1,
        ema_decay=0.5,
    )
    found = both_ways(config, small(digits, 100), normalized(None), normalized("devices"))
    states_close(found, atol=1e-4)
    statistics = found[0][0].params["batch_stats"]["BatchNorm_0"]
    assert np.abs(statistics["mean"]).max() > 0.1
    assert np.abs(statistics["var"] - 1).max() > 0.1


@pytest.mark.usefixtures("small_resnet")
def test_two_devices_share_the_statistics_of_resnet18(digits):
    """Each normalization asks for the other device's: seen in the program, not run.

    There are 12 in two of its four stages.
    """
    config = jd.TrainConfig(model="resnet18", batch_size=32, epochs=1)
    programs = []
    for mesh in (None, mesh_of(2)):
        trainer = make_trainer(config, digits, mesh=mesh)
        state = jax.eval_shape(trainer.init, jax.random.key(0))
        programs.append(str(jax.make_jaxpr(trainer.train_epoch)(state, digits.train)))
    assert "psum" not in programs[0]
    assert programs[1].count("psum") >= 12


def test_which_devices_share_a_batch():
    """A convnet's batch on a CPU, if each device gets 16 images; nobody else's unless asked."""
    sharded = convnet.HINTS
    for hints, batch_size, size in (
        (sharded, 64, 2),
        (sharded, 32, 2),
        (sharded, 31, None),
        (sharded, 33, None),  # they would not share it evenly
        (sharded, 1, None),
        (jd.Hints(), 64, None),
    ):
        mesh = default_mesh(hints, batch_size)
        assert (mesh and mesh.size) == size
    asked = default_mesh(jd.Hints(), 1, 2)
    assert asked is not None
    assert asked.size == 2
    assert default_mesh(sharded, 64, 1) is None
    for devices in (0, 3, -1):
        with pytest.raises(jd.errors.ConfigError, match=f"must be 1 to 2, .* not {devices}"):
            default_mesh(sharded, 64, devices)


def test_several_processes_share_a_batch_among_all_of_their_devices(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for devices in (None, 2):
        mesh = default_mesh(jd.Hints(), 64, devices)
        assert mesh is not None
        assert mesh.size == 2
    with pytest.raises(jd.errors.ConfigError, match="all of their 2 devices; omit --devices 1 and"):
        default_mesh(jd.Hints(), 64, 1)


def test_which_networks_are_sharded_and_augmented():
    """The hints belong to the network: of these only the third post's has more than one."""
    for name in ("resnet18", "mlp", "linear", "pixel"):
        hints = jd.models.make_model(jd.TrainConfig(model=name), 10).hints
        assert hints == jd.Hints(members_at_once_on_cpu=1 if name == "resnet18" else None)
    assert jd.models.make_model(jd.TrainConfig(), 10).hints == convnet.HINTS
    assert convnet.HINTS == (("shift", "rotate", "scale"), 275_000, 32, True, 1)


def recording(params_of_steps):
    """Plain SGD that hands out the parameters of each step."""

    def update(grads, state, params):
        updates = jax.tree.map(lambda g: -0.1 * g, grads)
        after = optax.apply_updates(params, updates)
        jax.debug.callback(lambda p: params_of_steps.append(p), after, ordered=True)
        return updates, state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)  # pyright: ignore


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_against_a_loop(digits, decay):
    """Over two epochs of five steps: the memory grows from step to step, from 0.1 to `average`."""
    params_of_steps = []
    config = replace(SGD, ema_decay=decay, batch_size=20)
    data = small(digits, 100)
    trainer = make_trainer(config, data, optimizer=recording(params_of_steps))
    state = jax.jit(trainer.init)(jax.random.key(0))
    average = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    assert state.ema_params is not None
    leaves_close(state.ema_params, state.params)
    epoch = jax.jit(trainer.epoch)
    state, metrics = epoch(epoch(state, data)[0], data)
    jax.effects_barrier()
    assert len(params_of_steps) == 10
    for number, params in enumerate(params_of_steps):
        memory = min(decay, (1 + number) / (10 + number))
        average = jax.tree.map(
            lambda mean, leaf, m=memory: m * mean + (1 - m) * np.asarray(leaf, np.float64),
            average,
            params,
        )
    leaves_close(state.ema_params, average, atol=1e-6)
    leaves_close(state.params, params_of_steps[-1])
    assert state.trained is state.ema_params
    # It is the average that is evaluated.
    averaged = state._replace(params=state.ema_params, ema_params=None)
    evaluate = jax.jit(trainer.evaluate)
    leaves_close(evaluate(averaged, data.validation), metrics.validation)
    last = evaluate(state._replace(ema_params=None), data.validation)
    assert abs(last.loss - metrics.validation.loss) > 1e-4


def test_without_an_average_the_last_parameters_are_the_trained_ones(digits):
    state = make_trainer(SGD, digits).init(jax.random.key(0), digits.train)
    assert state.ema_params is None
    assert state.trained is state.params


def test_label_smoothing_is_learned_by_but_not_reported(digits):
    """A first step against its own formula; the loss before it is the plain one."""
    data = small(digits, 64)
    plain, smooth = (replace(SGD, label_smoothing=share) for share in (0.0, 0.3))
    results = []
    for config in (plain, smooth):
        trainer = make_trainer(config, data)
        state = jax.jit(trainer.init)(jax.random.key(0), data.train)
        results.append(jax.jit(trainer.epoch)(state, data))
    (one, metrics), (other, smooth_metrics) = results
    leaves_close(metrics.train, smooth_metrics.train)
    assert not np.allclose(metrics.validation.loss, smooth_metrics.validation.loss, rtol=1e-3)
    # The gradients differ by the labels only: 0.3 of them are taken from the label's class and
    # shared among all ten.
    mean, std = map(float, trainer.spec.scaling)
    x = (data.train.images.reshape(64, 784) / 255 - mean) / std
    taken = 0.3 * (np.eye(10)[data.train.labels] - 0.1)
    difference = np.asarray(one.params["weight"]) - np.asarray(other.params["weight"])
    np.testing.assert_allclose(difference, 0.1 * taken.T @ x / 64, rtol=1e-3, atol=1e-5)


@cache
def random_training(**settings):
    """A jitted run; a second test that asks for the same one needs no second program."""
    base = jd.TrainConfig(model="mlp", hidden=(10,), batch_size=32, epochs=2, **settings)
    return jax.jit(jd.make_train(base))


def test_dropout_and_augmentation_are_the_key_s(digits):
    """The same key gives the same bytes, another one other parameters."""
    data = small(digits, 100)
    train = random_training(dropout=0.5, ema_decay=0.9, augment=("shift",))
    first, again, other = (train(jax.random.key(seed), data) for seed in (3, 3, 4))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(a, b)
    assert not np.allclose(first.history.train.loss, other.history.train.loss)


def test_augmentation_is_for_training_only(digits):
    """What it changes is what the network learns, not what it is measured on."""
    data = small(digits, 100)
    plain, moved = (
        random_training(dropout=0.5, ema_decay=0.9, augment=augment) for augment in ((), ("shift",))
    )
    key = jax.random.key(0)
    leaves_close(moved(key, data).untrained, plain(key, data).untrained)
    trained = (run(key, data).state.params[0]["weight"] for run in (plain, moved))
    assert not np.allclose(*trained)


@pytest.mark.parametrize("devices", [None, 2])
def test_every_draw_has_a_key_of_its_own(digits, devices, monkeypatch):
    """Start, shuffling, augmentation, and dropout, in each step, microbatch, and device.

    No key is that of another draw, nor what another is split into; shuffling draws from the latter.
    """
    seen = set()
    plain = batches.permutation

    def record(key, depth=1):
        def keep(*keys):
            seen.add(tuple(tuple(data.tolist()) for data in keys))

        level = keys = [key]
        for _ in range(depth):
            level = [child for parent in level for child in jax.random.split(parent, 2)]
            keys = keys + level
        jax.debug.callback(keep, *map(jax.random.key_data, keys))

    def permutation(key, count):
        record(key, depth=2)
        return plain(key, count)

    def init(key):
        record(key)
        return jd.models.linear.init(key)

    def apply_train(params, images, key):
        record(key)
        return jd.models.linear.apply(params, images), {}

    def augment(key, images):
        record(key)
        return images

    monkeypatch.setattr(batches, "permutation", permutation)
    hints = jd.Hints(microbatch_size=8)
    model = jd.Model(init, jd.models.linear.apply, apply_train=apply_train, hints=hints)
    mesh = devices and mesh_of(devices)
    config, data = replace(SGD, batch_size=20), small(digits, 40)
    trainer = make_trainer(config, data, model=model, augment=augment, mesh=mesh)
    state, epoch = trainer.init(jax.random.key(0)), jax.jit(trainer.train_epoch)
    for _ in range(2):
        state, _ = epoch(state, data.train)
    jax.effects_barrier()
    # The start, two shuffles; in four steps augmentation, and dropout by microbatches of 20 or 10.
    assert len(seen) == 1 + 2 + (2 * 4 * (1 + 2) if devices else 4 * (1 + 3))
    keys = [key for each in seen for key in each]
    assert len(set(keys)) == len(keys)


def test_no_key_is_used_twice(digits):
    """By jax's own checker."""

    def apply_train(params, images, key):
        return jd.models.linear.apply(params, drop(key, images, 0.5)), {}

    hints = jd.Hints(microbatch_size=8)
    model = jd.Model(
        jd.models.linear.init, jd.models.linear.apply, apply_train=apply_train, hints=hints
    )
    data = small(digits, 50)
    trainer = make_trainer(replace(SGD, augment=("contrast",), batch_size=20), data, model=model)
    with jax.debug_key_reuse(True):
        state = jax.jit(trainer.init)(jax.random.key(0))
        jax.jit(trainer.train_epoch)(state, data.train)


def test_the_schedule_ends_with_the_run(digits):
    """Also where the last batch of an epoch is a smaller one."""
    data = small(digits, 59)
    config = replace(SGD, schedule="cosine", batch_size=20, epochs=2)
    trainer = make_trainer(config, data)
    state, epoch = jax.jit(trainer.init)(jax.random.key(0)), jax.jit(trainer.train_epoch)
    for _ in range(2):
        state, _ = epoch(state, data.train)
    assert trainer.parts.num_steps == state.step == 2 * 3
    rates = make_schedule(config, trainer.parts.num_steps)
    last, end = (float(np.asarray(rates(state.step - left))) for left in (1, 0))
    assert last > 0 == end


@pytest.mark.parametrize("scale", ["standardized", "unit", "image"])
def test_the_pixel_model_is_fitted_to_what_it_is_shown(digits, scale):
    trainer = make_trainer(jd.TrainConfig(model="pixel", scale=scale), digits)
    params = jax.jit(trainer.init)(jax.random.key(0), digits.train).params
    scaled = np.asarray(jax.jit(trainer.parts.scaling)(digits.train.images / np.float32(255)))
    for label in range(10):
        expected = np.mean(scaled[digits.train.labels == label], axis=0)
        np.testing.assert_allclose(params["means"][label], expected, rtol=1e-4, atol=1e-4)


def test_only_weights_decay(digits):
    """AdamW without a gradient: weights shrink by rate times decay, all else stays."""
    config = jd.TrainConfig(schedule="constant", learning_rate=0.01, weight_decay=0.5)
    params = {
        "conv": {
            "kernel": np.full((3, 3, 2, 4), 2.0, np.float32),
            "bias": np.full(4, 2.0, np.float32),
        },
        "dense": [
            {"weight": np.full((5, 4), 2.0, np.float32), "bias": np.full(5, 2.0, np.float32)}
        ],
        "norm": {"scale": np.full(4, 2.0, np.float32), "mean": np.full(4, 2.0, np.float32)},
    }
    transform = make_optimizer(config, 10)

    @jax.jit
    def without_gradient(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = transform.update(zeros, transform.init(params), params)
        return optax.apply_updates(params, updates)

    after = without_gradient(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(after):
        decays = path[-1].key in ("kernel", "weight")
        np.testing.assert_allclose(leaf, 2 * (1 - 0.01 * 0.5) if decays else 2.0, rtol=1e-6)


def test_epochs_that_are_not_given(digits):
    """Of the convnet as many as make 275,000 images, within 5 and 60; of others ten."""
    assert make_trainer(jd.TrainConfig(), digits).num_epochs == 60
    assert make_trainer(jd.TrainConfig(model="mlp"), digits).num_epochs == 10
    assert make_trainer(jd.TrainConfig(epochs=0), digits).num_epochs == 0
    assert make_trainer(jd.TrainConfig(model="pixel"), digits).num_epochs == 0


def test_statistics_of_pixels(rng):
    images = rng.integers(0, 256, (50, 28, 28), dtype=np.uint8)
    mean, std = jax.jit(pixel_statistics)(images)
    assert mean == pytest.approx((images / 255).mean(), rel=1e-5)
    assert std == pytest.approx((images / 255).std(), rel=1e-5)
    blank = pixel_statistics(jnp.zeros((2, 28, 28), jnp.uint8))
    assert np.isfinite(scale_pixels(jnp.zeros((1, 28, 28), jnp.uint8), blank)).all()


def test_statistics_of_mnist(mnist_dir):
    """Row A1: 0.1307 and 0.3081; 0 and 1.0000 when standardised."""
    images = jd.data.load("mnist", "train+validation", data_dir=mnist_dir).images
    scaling = jax.jit(pixel_statistics)(images)
    assert f"{scaling.mean:.4f} {scaling.std:.4f}" == "0.1307 0.3081"
    # Of each of 256 values it is enough to know how often it is there.
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    scaled = np.asarray(scale_pixels(jnp.asarray(values), scaling), np.float64).ravel()
    share = np.bincount(images.ravel(), minlength=256) / images.size
    mean = share @ scaled
    assert abs(mean) < 1e-4
    assert f"{np.sqrt(share @ (scaled - mean) ** 2):.4f}" == "1.0000"


def test_mnist_is_learned(mnist_dir):
    """A short run of the default network: well above what chance or a linear model give."""
    data = jd.load_training_data("mnist", data_dir=mnist_dir)
    trainer = make_trainer(jd.TrainConfig(model="mlp", epochs=2), data)
    result = jax.jit(jd.make_train(jd.TrainConfig(model="mlp", epochs=2)))(jax.random.key(0), data)
    test = jd.data.load("mnist", "test", data_dir=mnist_dir).examples
    assert jax.jit(trainer.evaluate)(result.state, test).accuracy > 0.965


def test_a_large_batch_in_microbatches_is_the_whole_batch(digits):
    """99 images are four microbatches, of which the last is filled up."""
    config = jd.TrainConfig(model="mlp", epochs=1, batch_size=99, learning_rate=1e-4)
    data = replace(digits, train=jd.Examples(digits.train.images[:150], digits.train.labels[:150]))
    found = []
    for size in (32, 100):
        hints = jd.Hints(microbatch_size=size)
        model = jd.models.make_model(config, 10)._replace(hints=hints)
        trainer = make_trainer(config, data, model=model)
        state = jax.jit(trainer.init)(jax.random.key(0))
        found.append(jax.jit(trainer.train_epoch)(state, data.train))
    (first, measured), (second, expected) = found
    np.testing.assert_allclose(measured.loss, expected.loss, rtol=1e-5)
    assert measured.accuracy == expected.accuracy
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), first.opt_state, second.opt_state
    )


def test_keys_and_learning_rates_are_vmapped(digits):
    """One program, two runs: each as if it were alone."""
    data = small(digits)
    config = replace(SGD, epochs=2)
    rates = np.array([0.01, 0.3], np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    train = jd.make_train(config)
    together = jax.jit(jax.vmap(train, in_axes=(0, None, None, 0)))(
        keys, data, None, {"learning_rate": rates}
    )
    for index, rate in enumerate(rates.tolist()):
        alone = jax.jit(jd.make_train(replace(config, learning_rate=rate)))(keys[index], data)
        leaves_close(
            jax.tree.map(lambda leaf, i=index: leaf[i], (together.state.params, together.history)),
            (alone.state.params, alone.history),
        )
    with pytest.raises(jd.errors.ConfigError, match="no hyperparameter rate; it has learning_rate"):
        train(jax.random.key(0), data, None, {"rate": 1.0})


def focal_loss(logits, labels, gamma=2.0):
    log_probabilities = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]
    return -((1 - jnp.exp(right)) ** gamma) * right


def test_a_loss_of_your_own(digits):
    """A focal loss: reported, and minimized; the first step against its own gradient."""
    data = small(digits, 64)
    trainer = make_trainer(replace(SGD, epochs=1), data, loss=focal_loss)
    state = jax.jit(trainer.init)(jax.random.key(0))
    after, measured = jax.jit(trainer.train_epoch)(state, data.train)

    def mean_loss(params):
        x = scale_pixels(jnp.asarray(data.train.images), trainer.spec.scaling)
        return focal_loss(jd.models.linear.apply(params, x), jnp.asarray(data.train.labels)).mean()

    value, grads = jax.jit(jax.value_and_grad(mean_loss))(state.params)
    np.testing.assert_allclose(measured.loss, value, rtol=1e-5)
    leaves_close(
        after.params,
        jax.tree.map(lambda p, g: np.asarray(p) - 0.1 * np.asarray(g), state.params, grads),
    )
    with pytest.raises(jd.errors.ConfigError, match="label_smoothing is for cross_entropy"):
        jd.make_train(replace(SGD, label_smoothing=0.1), loss=focal_loss)(jax.random.key(0), data)


def test_a_network_of_your_own_is_not_augmented(digits):
    """`TrainConfig()` names the convnet, whose augmentation is none of this one's business."""
    trainer = make_trainer(
        jd.TrainConfig(), digits, model=jd.Model(jd.models.linear.init, jd.models.linear.apply)
    )
    assert trainer.parts.augment is None
    assert trainer.parts.own == ("model",)
    assert trainer.num_epochs == 10


@pytest.mark.parametrize(
    "part",
    [
        {"model": jd.Model(jd.models.linear.init, jd.models.linear.apply)},
        {"loss": focal_loss},
        {"optimizer": optax.sgd(0.1)},
        {"augment": lambda key, images: images},
    ],
    ids=lambda part: next(iter(part)),
)
def test_parts_of_your_own_are_named(part, digits):
    """They replace the config's, and a run names them for whoever loads it."""
    (name,) = part
    parts = make_trainer(replace(SGD, augment=("shift",)), digits, **part).parts
    assert parts.own == (name,)
    assert getattr(parts, name) is part[name]
    assert parts.config.augment == (() if name == "augment" else ("shift",))


@pytest.mark.parametrize("model", ["linear", "mlp", "convnet", "pixel"])
def test_each_image_rescaled(model, rng):
    """Brightness and contrast make no difference, and a blank image is none to fear."""
    config = jd.TrainConfig(model=model, scale="image")
    if model in ("mlp", "convnet"):
        config = config.replace(dropout=0.5)
    images, labels = rng.uniform(size=(3, 28, 28)).astype(np.float32), np.arange(3, dtype=np.int32)
    examples = jd.Examples(images, labels)
    trainer = make_trainer(config, jd.TrainingData(examples, examples, 10))
    net, scaling = trainer.parts.model, trainer.parts.scaling
    init = jax.jit(trainer.init)
    params = init(jax.random.key(0), examples).params
    if net.fit is not None:
        dark = init(jax.random.key(0), jd.Examples(images / 3, labels)).params
        np.testing.assert_allclose(params["means"], dark["means"], rtol=1e-4, atol=1e-4)
    apply = jax.jit(lambda images: compute_logits(net.apply, params, scaling, images))
    logits = apply(images)
    assert np.std(logits) > 0
    changed = images * np.array([0.2, 1.0, 3.0], np.float32)[:, None, None] + np.float32(0.3)
    np.testing.assert_allclose(apply(changed), logits, rtol=1e-3, atol=1e-4)
    grays = np.array([0.0, 1.0, 0.3], np.float32)
    blank = np.broadcast_to(grays[:, None, None], images.shape)
    assert np.isfinite(apply(blank)).all()
    if net.apply_train is not None:
        apply_train = jax.jit(net.apply_train)
        dim, bright = (
            apply_train(params, scaling(jnp.asarray(each)), jax.random.key(0))[0]
            for each in (images, changed)
        )
        np.testing.assert_allclose(dim, bright, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["linear", "mlp", "convnet", "pixel"])
def test_images_of_32x32_rgb(model, rng):
    """Applied by all networks, and trained on by one that is soon compiled."""
    images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    labels = (images[..., 0].mean(axis=(1, 2)) > images[..., 1].mean(axis=(1, 2))).astype(np.int32)
    examples = jd.Examples(images, labels)
    data = jd.TrainingData(examples, examples, 2)
    trainer = make_trainer(jd.TrainConfig(model=model, epochs=1, augment=()), data)
    state = jax.jit(trainer.init)(jax.random.key(0), examples)
    assert np.isfinite(jax.jit(trainer.evaluate)(state, examples).loss)
    if model == "pixel":
        return
    train = (
        jax.jit(trainer.train_epoch)
        if model == "linear"
        else partial(jax.eval_shape, trainer.train_epoch)
    )
    after, measured = train(state, examples)
    shapes = [jax.tree.map(jnp.shape, one.params) for one in (after, state)]
    assert shapes[0] == shapes[1]
    if model == "linear":
        assert np.isfinite(measured.loss)


def test_resnet18_takes_32x32_rgb():
    model = jd.models.make_model(jd.TrainConfig(model="resnet18"), 7, (32, 32, 3))
    params = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    assert jax.eval_shape(model.apply, params, images).shape == (2, 7)


def test_images_too_small_for_the_convnet():
    assert jd.models.make_model(jd.TrainConfig(), 10, (15, 15)) is not None
    with pytest.raises(jd.errors.ConfigError, match="15x15 pixels or more, not 14x20"):
        jd.models.make_model(jd.TrainConfig(), 10, (14, 20))


def test_reduce_on_plateau_gets_the_loss(digits):
    """It divides the rate by two each time that ten steps bring no better loss."""
    data = small(digits, 64)
    plateau = optax.chain(
        optax.sgd(0.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=2, cooldown=0)
    )
    trainer = make_trainer(replace(SGD, epochs=1), data, optimizer=plateau)
    state, epoch = trainer.init(jax.random.key(0)), jax.jit(trainer.train_epoch)
    for _ in range(8):
        state, _ = epoch(state, data.train)
    found: Any = state.opt_state
    assert float(found[1].scale) < 1
