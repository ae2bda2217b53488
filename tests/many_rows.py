"""Count wrong numbers of compiled programs over 40,000 rows, by NumPy in float64; print JSON.

XLA:CPU of jaxlib 0.10.2 computes a product of narrow rows and a reduction after it wrongly beyond
32,768 rows of float32 (https://github.com/jax-ml/jax/issues/39103). It runs in a separate process:
the tests run with most optimizations off, without which the fault is not met.
"""

import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import jaxdigits as jd
from jaxdigits.evaluation import metrics
from jaxdigits.losses import LOSSES, smoothed_cross_entropy
from jaxdigits.models import pixel
from jaxdigits.training.members import make_vectorized_trainer, members_mesh
from jaxdigits.training.sharding import DEVICES, make_mesh
from jaxdigits.training.trainer import make_trainer
from jaxdigits.transforms.scaling import rescale_each

COUNT = 40_000


def wrong(found, expected):
    """How many numbers are off by more than a thousandth of the usual size."""
    expected = np.asarray(expected, np.float64)
    scale = np.abs(expected).mean()
    close = np.isclose(found, expected, rtol=1e-3, atol=1e-3 * scale)
    return int((~close).sum())


def example(rng):
    """The issue's: a matrix times each row, and the sum of squares."""
    rows = rng.normal(size=(COUNT, 3)).astype(np.float32)
    matrix = rng.normal(size=(3, 3)).astype(np.float32)
    program = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))
    return {"example": wrong(program(rows), ((rows @ matrix.T.astype(np.float64)) ** 2).sum(1))}


def softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def of_logits(rng, classes):
    """Losses and metrics, of logits that are a product themselves."""
    rows = rng.normal(size=(COUNT, 5)).astype(np.float32)
    matrix = rng.normal(size=(5, classes)).astype(np.float32)
    labels = rng.integers(0, classes, COUNT)
    exact = rows.astype(np.float64) @ matrix
    shares, onehot = softmax(exact), np.eye(classes)[labels]
    right = shares[np.arange(COUNT), labels]
    sigmoid = 1 / (1 + np.exp(-exact))
    targets = 0.9 * onehot + 0.1 / classes
    expected = {
        "cross_entropy": -np.log(right),
        "clamped_cross_entropy": -np.log(np.clip(right, 1e-10, 1)),
        "sigmoid_mse": ((onehot - sigmoid) ** 2).mean(1),
        "softmax_mse": ((onehot - shares) ** 2).mean(1),
        "smoothed": -(targets * np.log(shares)).sum(1),
        "confusion": np.histogram2d(labels, exact.argmax(1), classes, [[0, classes]] * 2)[0],
        "top_1": exact.argmax(1) == labels,
    }
    functions = {
        **LOSSES,
        "smoothed": smoothed_cross_entropy,
        "confusion": metrics.confusion_matrix,
        "top_1": lambda logits, labels: logits.argmax(axis=-1) == labels,
    }
    found = {}
    for name, values in expected.items():
        program = jax.jit(lambda x, y, f=functions[name]: f(x @ matrix, y))
        tolerance = 4 if name in ("confusion", "top_1") else 0  # two logits may be nearly equal
        bad = wrong(program(rows, jnp.asarray(labels, jnp.int32)), values)
        found[f"{name}, {classes} classes"] = max(bad - tolerance, 0)
    return found


def by_numpy(params, values):
    """The logits of a linear network, or of an mlp."""
    layers = params if isinstance(params, list | tuple) else [params]
    for number, layer in enumerate(layers):
        values = np.maximum(values, 0) if number else values
        values = values @ np.asarray(layer["weight"], np.float64).T + np.asarray(layer["bias"])
    return values


def of_networks(rng):
    """Evaluation, labels, and sweeps of networks with narrow rows, on one device and on two."""
    images = rng.integers(0, 256, (COUNT, 4, 4), np.uint8)
    labels = rng.integers(0, 3, COUNT).astype(np.int32)
    few = jd.data.Examples(images[:8], labels[:8])
    data = jd.TrainingData(few, jd.data.Examples(images, labels), 3)
    inputs = images.reshape(COUNT, -1) / 255
    found = {}
    for hidden in ((), (3,)):
        model = "mlp" if hidden else "linear"
        settings = {"hidden": hidden, "activation": "relu"} if hidden else {}
        config = jd.TrainConfig(model=model, batch_size=8, scale="unit", **settings)
        for name, mesh in (("one", None), ("two", make_mesh(jax.devices(), 2, DEVICES))):
            trainer = make_trainer(config, data, mesh=mesh)
            state = trainer.init(jax.random.key(0), few)
            measured = trainer.jit(trainer.evaluate)(state, data.validation)
            values = by_numpy(state.params, inputs)
            losses = -np.log(softmax(values)[np.arange(COUNT), labels])
            correct = (values.argmax(1) == labels).mean()
            found[f"{model} on {name}"] = wrong(measured.loss, losses.mean()) + wrong(
                measured.accuracy, correct
            )
        sweep = make_vectorized_trainer(config, data, members_mesh(2))
        states = sweep.init(jax.random.split(jax.random.key(1), 2), {}, few)
        together = sweep.jit(sweep.evaluate)(states, data.validation)
        for member in range(2):
            own = jax.tree.map(lambda leaf, member=member: leaf[member], states.params)
            losses = -np.log(softmax(by_numpy(own, inputs))[np.arange(COUNT), labels])
            found[f"{model}, member {member}"] = wrong(together.loss[member], losses.mean())
    return found


def of_images(rng):
    """The pixel baseline, statistics of each image, and a run's labels."""
    images = rng.random((COUNT, 3, 3)).astype(np.float32)
    labels = rng.integers(0, 3, COUNT)
    means = np.stack([images[labels == k].astype(np.float64).mean(0) for k in range(3)])
    params = jax.jit(pixel.fit, static_argnums=2)(images, jnp.asarray(labels, jnp.int32), 3)
    apart = images[:, None].astype(np.float64) - means
    found = {"pixel.fit": wrong(params["means"], means)}
    distances: dict[pixel.Distance, np.ndarray] = {"absolute": np.abs(apart), "squared": apart**2}
    for distance, values in distances.items():
        program = jax.jit(partial(pixel.apply, distance=distance))
        found[f"pixel, {distance}"] = wrong(program(params, images), -values.mean((2, 3)))
    exact = images.astype(np.float64)
    scaled = (exact - exact.mean((1, 2), keepdims=True)) / exact.std((1, 2), keepdims=True)
    rescaled = np.asarray(jax.jit(rescale_each)(images), np.float64)
    ours = (rescaled - rescaled.mean((1, 2), keepdims=True)) / rescaled.std((1, 2), keepdims=True)
    found["rescale_each"] = wrong(ours, scaled)
    pixels = rng.integers(0, 256, (COUNT, 4, 4), np.uint8)
    names = ("a", "b", "c")
    splits = jd.data.from_arrays(
        "squares",
        jd.data.Examples(pixels[:60], np.arange(60, dtype=np.int32) % 3),
        jd.data.Examples(pixels[:60], np.arange(60, dtype=np.int32) % 3),
        names,
    )
    run = jd.fit(jd.TrainConfig(model="linear", epochs=1, scale="unit", augment=()), splits)
    logits = by_numpy(run.params, pixels.reshape(COUNT, -1) / 255)
    first = np.sort(logits, axis=1)
    sure = first[:, -1] - first[:, -2] > 1e-4
    found["run.predict"] = int((run.predict(pixels) != logits.argmax(1))[sure].sum())
    shares = run.predict_uncalibrated_proba(pixels)
    found["run.predict_proba"] = wrong(shares, softmax(logits))
    return found


if __name__ == "__main__":
    counts = example(np.random.default_rng(0))
    for classes in (3, 10, 26):
        counts |= of_logits(np.random.default_rng(1), classes)
    counts |= of_networks(np.random.default_rng(2))
    counts |= of_images(np.random.default_rng(3))
    json.dump(counts, sys.stdout)
