"""A process that lives long keeps few programs, whatever the sizes that it meets."""

import io
from collections.abc import Callable, Sequence

import jax
import numpy as np
import pytest
from jax import lax
from PIL import Image

import jaxdigits as jd
from jaxdigits.evaluation.metrics import evaluate
from jaxdigits.evaluation.robustness import CONDITIONS, changed
from jaxdigits.handwriting import read
from jaxdigits.programs import filled, jit_few
from jaxdigits.runs import ensemble
from jaxdigits.web.server import look

SIZES = (97, 101, 103, 107, 109, 113, 121, 128)
"""All are filled up to 128."""


def programs_more(call: Callable[[int], object], sizes: Sequence[int] = SIZES) -> int:
    """How many programs jax has more after calls with all sizes than after two calls."""
    call(sizes[0])
    call(sizes[1])
    client = jax.devices()[0].client
    before = len(client.live_executables())
    for size in sizes:
        call(size)
    return len(client.live_executables()) - before


def test_jax_itself_keeps_one_for_each_size():
    double = jax.jit(lambda x: 2 * x)
    assert programs_more(lambda size: double(np.ones(size, np.float32))) == len(SIZES) - 2


def test_jit_few_drops_what_was_not_used_for_longest():
    traced = []

    @jit_few(maxsize=2, static=1)
    def power(exponent, x):
        traced.append(len(x))
        return lax.integer_pow(x, exponent)

    for exponent, size in ((2, 3), (2, 4), (2, 3), (3, 3), (2, 4), (3, 3)):
        assert power(exponent, np.full(size, 5.0, np.float32)).tolist() == [5.0**exponent] * size
    assert traced == [3, 4, 3, 4]  # (2, 4) was dropped for (3, 3)
    assert programs_more(lambda size: power(2, np.ones(size, np.float32))) <= 0


def test_jit_few_tells_dtypes_and_structures_apart_and_can_be_traced():
    add = jit_few(maxsize=4)(lambda pair: pair["a"] + pair["b"])
    pair = {"a": np.array([1], np.int32), "b": np.array([2], np.int32)}
    assert add(pair).dtype == np.int32
    assert add({name: value.astype(np.float32) for name, value in pair.items()}).dtype == np.float32
    gradient = jax.grad(lambda x: add({"a": x, "b": x}).sum())(np.ones(2, np.float32))
    assert gradient.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("count", "size"), [(1, 1), (2, 2), (3, 4), (5, 8), (150, 200), (200, 200)]
)
def test_filled(count, size):
    rows = np.arange(1, count + 1, dtype=np.uint8)[:, None]
    result = filled(rows, most=200, value=7)
    assert (result.shape, result.dtype) == ((size, 1), np.uint8)
    assert result[:, 0].tolist() == [*range(1, count + 1), *[7] * (size - count)]


@pytest.fixture(scope="module")
def run():
    return jd.load("digits")


def test_predictions_of_changing_sizes(run):
    images = jax.device_put(np.zeros((128, 28, 28), np.uint8))
    assert programs_more(lambda size: run.predict(np.asarray(images)[:size])) == 0
    assert programs_more(lambda size: run.predict(jax.device_put(np.asarray(images)[:size]))) == 0


@pytest.mark.parametrize("loss", ["cross_entropy", "own"])
def test_evaluations_of_changing_sizes(loss):
    rng = np.random.default_rng(0)
    names = list("0123456789")

    def call(size):
        logits = rng.normal(size=(size, 10)).astype(np.float32)
        labels = rng.integers(10, size=size).astype(np.int32)
        loss_of = loss if loss != "own" else lambda logits, labels: (logits**2).sum(axis=1)
        found = evaluate(logits, labels, names, loss_of)
        order = np.argsort(-logits, axis=1)
        assert found.accuracy == (order[:, 0] == labels).mean()
        assert found.top_2 == (order[:, :2] == labels[:, None]).any(axis=1).mean()
        logs = logits - np.log(np.exp(logits.astype(float)).sum(axis=1, keepdims=True))
        each = (logits**2).sum(axis=1) if loss == "own" else -logs[np.arange(size), labels]
        assert found.loss == pytest.approx(each.mean(), rel=1e-5)

    # Of a loss made anew each time the last eight are kept.
    assert programs_more(call) <= (0 if loss != "own" else 8)


def test_loads_and_ensembles(run, tmp_path):
    images = np.zeros((8, 28, 28), np.uint8)
    folder = run.save(tmp_path / "run")
    assert programs_more(lambda _: jd.load(folder).predict(images)) == 0
    assert programs_more(lambda _: ensemble.stack([run, run]).predict(images)) == 0


def test_training_again_with_another_seed():
    config = jd.TrainConfig(dataset="digits", model="linear", epochs=1)
    runs = {}

    def call(size):
        runs[size] = jd.fit(config.replace(seed=size))

    assert programs_more(call) == 0
    assert runs[101].config.seed == 101
    first, second = (jax.tree.leaves(runs[seed].params)[-1] for seed in (101, 103))
    assert not np.allclose(first, second)


def test_networks_and_data_of_ones_own():
    rng = np.random.default_rng(0)

    def call(size):
        images = rng.integers(256, size=(size, 8, 8), dtype=np.uint8)
        part = jd.Examples(images, (np.arange(size) % 3).astype(np.int32))
        data = jd.data.from_arrays("noise", part, part, ["a", "b", "c"])
        model = jd.Model(
            lambda key: {"w": jax.random.normal(key, (64, 3))},
            lambda params, images: images.reshape(len(images), -1) @ params["w"] / size,
        )
        jd.fit(jd.TrainConfig(epochs=1), data=data, model=model).predict(images)

    # Of four more networks the logits at two sizes, and of two more sizes the scaling of pixels: of
    # these the last 16 and the last 8 are kept.
    assert programs_more(call, SIZES[:4]) <= 4 * 2 + 2


def test_changed_images():
    def call(size):
        images = jax.device_put(np.zeros((size, 28, 28), np.uint8))
        for condition in CONDITIONS[:2]:
            changed(condition, images)

    assert programs_more(call) <= 16


def test_drawings_and_photos_of_changing_sizes(run):
    ink = np.zeros((128, 128), np.uint8)
    ink[20:90, 40:55] = 255
    assert programs_more(lambda size: look(run, ink[:size])) == 0
    page = np.full((400, 600), 250, np.uint8)
    page[100:170, 100:110] = page[100:170, 200:210] = 30

    def call(size):
        file = io.BytesIO()
        Image.fromarray(page).resize((4 * size, 3 * size)).save(file, "PNG")
        file.seek(0)
        assert read(np.asarray(Image.open(file).convert("RGB")), run)

    assert programs_more(call) == 0
