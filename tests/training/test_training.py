from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jaxdigits as jd
from jaxdigits.training import trainer as training
from jaxdigits.training.batches import shuffled_batches
from jaxdigits.training.optimizers import make_optimizer, make_schedule
from jaxdigits.training.trainer import compute_logits, default_mesh
from jaxdigits.transforms.scaling import pixel_statistics, scale_pixels

SGD = jd.TrainConfig(
    model="linear", optimizer="sgd", schedule="constant", learning_rate=0.1, epochs=2
)


def small(data: jd.TrainingData, count: int = 100) -> jd.TrainingData:
    return replace(data, train=jd.Examples(data.train.images[:count], data.train.labels[:count]))


def leaves_close(first, second, rtol=1e-4, atol=1e-5):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def plain_numpy_run(config, state, examples):
    """The linear model trained with a Python loop in float64, on the batches of `state`'s epoch."""
    weight, bias = (np.asarray(state.params[name], np.float64) for name in ("weight", "bias"))
    mean, std = (float(value) for value in state.scaling)
    images = (np.asarray(examples.images, np.float64).reshape(-1, 784) / 255 - mean) / std
    onehot = np.eye(10)[examples.labels]
    key = jax.random.fold_in(state.key, state.epoch)
    indices, valid = shuffled_batches(key, len(images), config.batch_size)
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
    trainer = jd.make_trainer(config, 10)
    state = trainer.init(jax.random.key(3), data)
    expected, loss, accuracy = plain_numpy_run(config, state, data.train)
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
        (replace(base, optimizer="momentum"), lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
        (replace(base, optimizer="adam"), lambda p: torch.optim.Adam(p, 0.01)),
        (replace(base, optimizer="adamw"), decaying_weights),
    ):
        trainer = jd.make_trainer(config, 10)
        state = trainer.init(jax.random.key(0), data)
        net = torch.nn.Sequential(
            torch.nn.Linear(784, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10)
        )
        flat = [np.array(layer[name]) for layer in state.params for name in ("weight", "bias")]
        with torch.no_grad():
            for parameter, array in zip(net.parameters(), flat, strict=True):
                parameter.copy_(torch.tensor(array))
        images = torch.tensor(np.array(scale_pixels(jnp.asarray(data.train.images), state.scaling)))
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
    results = [
        jax.jit(jd.make_train(jd.TrainConfig(model="mlp", gradients=gradients, epochs=2)))(
            jax.random.key(0), digits
        )
        for gradients in ("auto", "hand")
    ]
    leaves_close(results[0].state.params, results[1].state.params, atol=1e-3)


def test_one_trace_per_epoch_function(digits):
    traces = []

    def apply(params, images):
        traces.append(images.shape)
        return jd.models.linear.apply(params, images)

    trainer = jd.make_trainer(SGD, 10, model=jd.Model(jd.models.linear.init, apply))
    state = trainer.init(jax.random.key(0), digits)
    epoch = jax.jit(trainer.epoch, donate_argnums=0)
    traces.clear()
    state, _ = epoch(state, digits)
    # Once for training, whatever the size of the last batch, and once for validation.
    assert traces == [(64, 28, 28), (120, 28, 28)]
    for _ in range(3):
        state, _ = epoch(state, digits)
    assert len(traces) == 2


def test_nothing_moves_between_host_and_device_in_an_epoch(digits):
    trainer = jd.make_trainer(SGD, 10)
    data = jax.device_put(digits)
    state = jax.jit(trainer.init)(jax.random.key(0), data)
    epoch = jax.jit(trainer.epoch, donate_argnums=0).lower(state, data).compile()
    with jax.transfer_guard("disallow"):
        state, _ = epoch(state, data)
    assert state.epoch == 1


def test_the_images_stay_bytes(digits):
    """No float copy of the images is made: the program's memory is less than one would take."""
    trainer = jd.make_trainer(SGD, 10)
    state = trainer.init(jax.random.key(0), digits)
    memory = jax.jit(trainer.epoch).lower(state, digits).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 4 * digits.train.images.size


def test_train_is_the_trainer_in_a_loop(digits):
    config = jd.TrainConfig(model="mlp", epochs=3)
    trainer = jd.make_trainer(config, 10)
    state = jax.jit(trainer.init)(jax.random.key(5), digits)
    untrained = trainer.evaluate(state, digits.validation)
    history = []
    for _ in range(trainer.count_epochs(digits)):
        state, measured = jax.jit(trainer.epoch)(state, digits)
        history.append(measured)
    result = jax.jit(jd.make_train(config))(jax.random.key(5), digits)
    leaves_close(result.state.params, state.params, atol=1e-4)
    leaves_close(result.untrained, untrained)
    leaves_close(result.history, jax.tree.map(lambda *m: jnp.stack(m), *history), atol=1e-3)


def test_many_keys_at_once(digits):
    config = jd.TrainConfig(model="mlp", epochs=2)
    train = jd.make_train(config)
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(train, in_axes=(0, None)))(keys, digits)
    for index in range(3):
        alone = jax.jit(train)(keys[index], digits)
        leaves_close(
            jax.tree.map(lambda leaf, i=index: leaf[i], together.state.params),
            alone.state.params,
            atol=1e-3,
        )
    assert not np.array_equal(together.history.train.loss[0], together.history.train.loss[1])


def test_the_same_key_gives_the_same_bytes(digits):
    train = jax.jit(jd.make_train(jd.TrainConfig(model="mlp", epochs=2)))
    first, second = (train(jax.random.key(7), digits) for _ in range(2))
    for a, b in zip(
        jax.tree.leaves(first.state.params), jax.tree.leaves(second.state.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_an_optimizer_of_your_own(digits):
    """The post's `BasicOptim`, in a line of optax, is plain SGD."""
    basic = optax.stateless(lambda grads, _: jax.tree.map(lambda g: -0.1 * g, grads))
    ours = jd.make_train(SGD, optimizer=basic)(jax.random.key(0), digits)
    leaves_close(ours.state.params, jd.make_train(SGD)(jax.random.key(0), digits).state.params)


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
    with pytest.raises(jd.errors.ConfigError, match="for 10 classes, the data have 26"):
        jd.make_trainer(SGD, 10).init(jax.random.key(0), data)
    ten = jd.Model(jd.models.linear.init, jd.models.linear.apply)
    with pytest.raises(jd.errors.ConfigError, match=r"\[2, 10\] for 2 images; .* \[2, 26\]"):
        jax.jit(jd.make_train(SGD, model=ten))(jax.random.key(0), data)
    with pytest.raises(jd.errors.DataError, match="label 10 of image 10 is out of range"):
        jd.data.from_arrays("letters", examples, examples, tuple("0123456789"))


def test_no_gradients_by_hand_for_a_model_of_your_own():
    model = jd.Model(jd.models.linear.init, jd.models.linear.apply)
    with pytest.raises(jd.errors.ConfigError, match="not for your own model"):
        jd.make_train(jd.TrainConfig(model="mlp", gradients="hand"), model=model)


def test_the_pixel_model_has_no_epochs(digits):
    result = jax.jit(jd.make_train(jd.TrainConfig(model="pixel")))(jax.random.key(0), digits)
    assert result.history.train.loss.shape == (0,)
    assert result.untrained.accuracy > 0.8


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "gelu"])
@pytest.mark.parametrize("loss", ["sigmoid_mse", "softmax_mse", "clamped_cross_entropy"])
def test_every_loss_and_activation_learns(digits, loss, activation):
    config = jd.TrainConfig(
        model="mlp", loss=loss, activation=activation, epochs=8, optimizer="adam"
    )
    result = jax.jit(jd.make_train(config))(jax.random.key(0), digits)
    assert result.history.validation.accuracy[-1] > 0.85


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_logits_of_any_number_of_images(count, rng):
    images = jnp.asarray(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
    scaling = pixel_statistics(images)
    params = jd.models.linear.init(jax.random.key(0))
    logits = compute_logits(jd.models.linear.apply, params, scaling, images)
    expected = jd.models.linear.apply(params, scale_pixels(images, scaling))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_schedules():
    def at(schedule, *steps):
        config = jd.TrainConfig(model="mlp", schedule=schedule, learning_rate=0.5)
        return [np.asarray(make_schedule(config, 100)(step)).item() for step in steps]

    assert at("constant", 0, 50, 100) == [0.5, 0.5, 0.5]
    assert at("cosine", 0, 50, 100) == pytest.approx([0.5, 0.25, 0.0], abs=1e-6)
    assert at("one_cycle", 0, 30, 100) == pytest.approx([0.02, 0.5, 0.02 * 1e-4], rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_every_optimizer_goes_downhill(optimizer, schedule):
    config = jd.TrainConfig(model="mlp", optimizer=optimizer, schedule=schedule, learning_rate=0.1)
    transform = make_optimizer(config, 100)
    params, loss = jnp.array([3.0, -2.0]), lambda p: (p**2).sum()
    state, start = transform.init(params), loss(params)
    for _ in range(100):
        updates, state = transform.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    assert loss(params) < start / 10


def both_ways(config, data, model=None, model_for_two=None, key=0):
    """State after an epoch and its metrics, 119 images for validation: on one device, on two."""
    odd = jd.Examples(data.validation.images[:119], data.validation.labels[:119])
    data = replace(data, validation=odd)
    found = []
    for mesh, net in ((None, model), (default_mesh(config, 2), model_for_two)):
        trainer = jd.make_trainer(config, 10, model=net, mesh=mesh)
        assert trainer.mesh is mesh
        whole = mesh and NamedSharding(mesh, PartitionSpec())
        data = jax.device_put(data, whole)
        state = jax.device_put(trainer.init(jax.random.key(key), data), whole)
        # It runs once: compiling it well would take most of the time.
        options = {
            "xla_backend_optimization_level": 0,
            "xla_llvm_disable_expensive_passes": True,
            **trainer.compiler_options,
        }
        state, metrics = jax.jit(trainer.epoch, compiler_options=options)(state, data)
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


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_two_devices_train_the_same_network(digits, reduction):
    """Batches of 33, of which they cannot have halves; the last one is a single image."""
    config = jd.TrainConfig(
        model="mlp",
        hidden=(20,),
        optimizer="momentum",
        learning_rate=0.01 if reduction == "mean" else 0.0003,
        reduction=reduction,
        average=0.9,
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
    monkeypatch.setattr(training, "LARGE", 10_000)
    states_close(both_ways(config, small(digits, 100)))


def test_sums_over_devices(monkeypatch, rng):
    """Small arrays go together, large ones alone; each comes back to its place."""
    mesh = default_mesh(SGD, 2)
    assert mesh is not None
    shapes = {"a": (2, 5, 3), "b": [(2,), (2, 30), (2, 4)], "c": (2, 1, 29), "d": ()}
    leaf = {"is_leaf": lambda x: isinstance(x, tuple)}
    tree = jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), shapes, **leaf
    )
    apart = jax.tree.map(lambda x: PartitionSpec("devices") if x.ndim else PartitionSpec(), tree)
    expected = jax.tree.map(
        lambda x: x.reshape(2, 1, *x.shape[1:]).sum(0) if x.ndim else 2 * x, tree
    )
    for large, sums in ((2, 5), (29, 3), (30, 2), (10**6, 1)):
        monkeypatch.setattr(training, "LARGE", large)
        function = jax.jit(
            jax.shard_map(
                lambda tree: training._sum_over_devices(tree, "devices"),
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
        optimizer="momentum",
        schedule="constant",
        learning_rate=0.01,
        batch_size=32,
        epochs=1,
        average=0.5,
    )
    found = both_ways(config, small(digits, 100), normalized(None), normalized("devices"))
    states_close(found, atol=1e-4)
    statistics = found[0][0].params["batch_stats"]["BatchNorm_0"]
    assert np.abs(statistics["mean"]).max() > 0.1
    assert np.abs(statistics["var"] - 1).max() > 0.1


def test_two_devices_share_the_statistics_of_resnet18(digits):
    """Each of the 22 normalisations asks for the other device's: seen in the program, not run."""
    config = jd.TrainConfig(model="resnet18", batch_size=32, epochs=1)
    programs = []
    for mesh in (None, default_mesh(config, 2)):
        trainer = jd.make_trainer(config, 10, mesh=mesh)
        state = jax.eval_shape(trainer.init, jax.random.key(0), digits)
        programs.append(str(jax.make_jaxpr(trainer.train_epoch)(state, digits.train)))
    assert "psum" not in programs[0]
    assert programs[1].count("psum") >= 22


def test_which_devices_share_a_batch():
    """A convnet's batch on a CPU, if each device gets 16 images; nobody else's unless asked."""
    for config, size in (
        (jd.TrainConfig(), 2),
        (jd.TrainConfig(batch_size=32), 2),
        (jd.TrainConfig(batch_size=31), None),
        (jd.TrainConfig(batch_size=33), None),  # they would not share it evenly
        (jd.TrainConfig(batch_size=1), None),
        (jd.TrainConfig(model="resnet18"), None),
        (jd.TrainConfig(model="mlp"), None),
        (jd.TrainConfig(model="linear"), None),
    ):
        mesh = default_mesh(config)
        assert (mesh and mesh.size) == size
    asked = default_mesh(jd.TrainConfig(model="mlp", batch_size=1), 2)
    assert asked is not None
    assert asked.size == 2
    assert default_mesh(jd.TrainConfig(), 1) is None
    for devices in (0, 3, -1):
        with pytest.raises(jd.errors.ConfigError, match=f"must be 1 to 2, .* not {devices}"):
            default_mesh(jd.TrainConfig(), devices)


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
    config = replace(SGD, average=decay, batch_size=20)
    trainer = jd.make_trainer(config, 10, optimizer=recording(params_of_steps))
    data = small(digits, 100)
    state = trainer.init(jax.random.key(0), data)
    average = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    assert state.average is not None
    leaves_close(state.average, state.params)
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
    leaves_close(state.average, average, atol=1e-6)
    leaves_close(state.params, params_of_steps[-1])
    assert state.trained is state.average
    # It is the average that is evaluated.
    averaged = state._replace(params=state.average, average=None)
    leaves_close(trainer.evaluate(averaged, data.validation), metrics.validation)
    last = trainer.evaluate(state._replace(average=None), data.validation)
    assert abs(last.loss - metrics.validation.loss) > 1e-4


def test_without_an_average_the_last_parameters_are_the_trained_ones(digits):
    state = jd.make_trainer(SGD, 10).init(jax.random.key(0), digits)
    assert state.average is None
    assert state.trained is state.params


def test_label_smoothing_is_learned_by_but_not_reported(digits):
    """A first step against its own formula; the loss before it is the plain one."""
    data = small(digits, 64)
    plain, smooth = (replace(SGD, label_smoothing=share) for share in (0.0, 0.3))
    results = []
    for config in (plain, smooth):
        trainer = jd.make_trainer(config, 10)
        state = trainer.init(jax.random.key(0), data)
        results.append((state, *jax.jit(trainer.epoch)(state, data)))
    (start, one, metrics), (_, other, smooth_metrics) = results
    leaves_close(metrics.train, smooth_metrics.train)
    assert not np.allclose(metrics.validation.loss, smooth_metrics.validation.loss, rtol=1e-3)
    # The gradients differ by the labels only: 0.3 of them are taken from the label's class and
    # shared among all ten.
    x = np.asarray(scale_pixels(jnp.asarray(data.train.images), start.scaling)).reshape(64, 784)
    taken = 0.3 * (np.eye(10)[data.train.labels] - 0.1)
    difference = np.asarray(one.params["weight"]) - np.asarray(other.params["weight"])
    np.testing.assert_allclose(difference, 0.1 * taken.T @ x / 64, rtol=1e-3, atol=1e-5)


def random_training(**settings):
    base = jd.TrainConfig(model="mlp", hidden=(10,), batch_size=32, epochs=2, **settings)
    return jax.jit(jd.make_train(base))


def test_dropout_and_augmentation_are_the_key_s(digits):
    """The same key gives the same bytes, another one other parameters."""
    data = small(digits, 100)
    train = random_training(dropout=0.5, average=0.9, augment=("shift",))
    first, again, other = (train(jax.random.key(seed), data) for seed in (3, 3, 4))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(a, b)
    assert not np.allclose(first.history.train.loss, other.history.train.loss)
    keys = jax.vmap(jax.random.key)(jnp.array([3, 4]))
    together = jax.jit(jax.vmap(train, in_axes=(0, None)))(keys, data)
    for index, alone in enumerate((first, other)):
        leaves_close(
            jax.tree.map(lambda leaf, i=index: leaf[i], together.state.trained),
            alone.state.trained,
            atol=1e-3,
        )


def test_augmentation_is_for_training_only(digits):
    """What it changes is what the network learns, not what it is measured on."""
    data = small(digits, 100)
    plain, moved = (random_training(augment=augment) for augment in ((), ("shift",)))
    key = jax.random.key(0)
    for measure in (lambda run: run.untrained.loss, lambda run: run.state.scaling):
        leaves_close(measure(moved(key, data)), measure(plain(key, data)))
    trained = (run(key, data).state.params[0]["weight"] for run in (plain, moved))
    assert not np.allclose(*trained)


class Seen(NamedTuple):
    """What a spying model saw in training."""

    images: list
    keys: list


def spying():
    """A linear model that hands out the images and the keys of each step."""
    seen = Seen([], [])

    def keep(images, key_data):
        seen.images.append(np.array(images))
        seen.keys.append(tuple(np.array(key_data).tolist()))

    def apply_train(params, images, key):
        jax.debug.callback(keep, images, jax.random.key_data(key))
        return jd.models.linear.apply(params, images), {}

    model = jd.Model(jd.models.linear.init, jd.models.linear.apply, apply_train=apply_train)
    return model, seen


def test_every_step_draws_anew(digits):
    """Two epochs of five steps on one image, on one device and on two: no movement comes twice."""
    image = np.zeros((100, 28, 28), np.uint8)
    image[:, 10:18, 10:18] = 255
    data = replace(digits, train=jd.Examples(image, np.zeros(100, np.int32)))
    config = replace(SGD, augment=("rotate",), scale="unit", batch_size=20)
    for mesh in (None, default_mesh(config, 2)):
        model, seen = spying()
        trainer = jd.make_trainer(config, 10, model=model, mesh=mesh)
        state, epoch = trainer.init(jax.random.key(0), data), jax.jit(trainer.train_epoch)
        for _ in range(2):
            state, _ = epoch(state, data.train)
        jax.effects_barrier()
        steps = 10 * (mesh.size if mesh else 1)
        assert len(seen.keys) == len(set(seen.keys)) == steps
        images = np.concatenate(seen.images)
        assert len(np.unique(images, axis=0)) == len(images) == 200


def test_only_weights_decay(digits):
    """AdamW without a gradient: weights shrink by rate times decay, all else stays."""
    config = jd.TrainConfig(schedule="constant", learning_rate=0.01, weight_decay=0.5)
    params = {
        "conv": {"kernel": jnp.full((3, 3, 2, 4), 2.0), "bias": jnp.full(4, 2.0)},
        "dense": [{"weight": jnp.full((5, 4), 2.0), "bias": jnp.full(5, 2.0)}],
        "norm": {"scale": jnp.full(4, 2.0), "mean": jnp.full(4, 2.0)},
    }
    transform = make_optimizer(config, 10)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = transform.update(zeros, transform.init(params), params)
    after = optax.apply_updates(params, updates)
    for path, leaf in jax.tree_util.tree_leaves_with_path(after):
        decays = path[-1].key in ("kernel", "weight")
        np.testing.assert_allclose(leaf, 2 * (1 - 0.01 * 0.5) if decays else 2.0, rtol=1e-6)


def test_epochs_that_are_not_given(digits):
    """Of the convnet as many as make 275,000 images, within 5 and 60; of others ten."""
    assert jd.make_trainer(jd.TrainConfig(), 10).count_epochs(digits) == 60
    assert jd.make_trainer(jd.TrainConfig(model="mlp"), 10).count_epochs(digits) == 10
    assert jd.make_trainer(jd.TrainConfig(epochs=0), 10).count_epochs(digits) == 0
    assert jd.make_trainer(jd.TrainConfig(model="pixel"), 10).count_epochs(digits) == 0


def test_statistics_of_pixels(rng):
    images = rng.integers(0, 256, (50, 28, 28), dtype=np.uint8)
    mean, std = pixel_statistics(jnp.asarray(images))
    assert mean == pytest.approx((images / 255).mean(), rel=1e-5)
    assert std == pytest.approx((images / 255).std(), rel=1e-5)
    blank = pixel_statistics(jnp.zeros((2, 28, 28), jnp.uint8))
    assert np.isfinite(scale_pixels(jnp.zeros((1, 28, 28), jnp.uint8), blank)).all()


def test_statistics_of_mnist(mnist_dir):
    """Row A1: 0.1307 and 0.3081; 0 and 1.0000 when standardised."""
    images = jnp.asarray(jd.data.load("mnist", "train+validation", data_dir=mnist_dir).images)
    scaling = pixel_statistics(images)
    assert f"{scaling.mean:.4f} {scaling.std:.4f}" == "0.1307 0.3081"
    scaled = np.asarray(scale_pixels(images, scaling), np.float64)
    assert abs(scaled.mean()) < 1e-4
    assert f"{scaled.std():.4f}" == "1.0000"


def test_mnist_is_learned(mnist_dir):
    """A short run of the default network: well above what chance or a linear model give."""
    data = jd.load_training_data("mnist", data_dir=mnist_dir)
    trainer = jd.make_trainer(jd.TrainConfig(model="mlp", epochs=2), 10)
    result = jax.jit(jd.make_train(jd.TrainConfig(model="mlp", epochs=2)))(jax.random.key(0), data)
    test = jd.data.load("mnist", "test", data_dir=mnist_dir).examples
    assert trainer.evaluate(result.state, test).accuracy > 0.965


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_large_batch_in_pieces_is_the_whole_batch(digits, monkeypatch, reduction):
    """99 images are four pieces, of which the last is filled up."""
    config = jd.TrainConfig(
        augment=(), epochs=1, batch_size=99, reduction=reduction, learning_rate=1e-4
    )
    data = replace(digits, train=jd.Examples(digits.train.images[:150], digits.train.labels[:150]))
    found = []
    for size in (32, 100):
        monkeypatch.setattr("jaxdigits.training.trainer.PIECE", size)
        trainer = jd.make_trainer(config, 10)
        state = jax.jit(trainer.init)(jax.random.key(0), data)
        found.append(jax.jit(trainer.train_epoch)(state, data.train))
    (first, measured), (second, expected) = found
    np.testing.assert_allclose(measured.loss, expected.loss, rtol=1e-5)
    assert measured.accuracy == expected.accuracy
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), first.opt_state, second.opt_state
    )
