"""The network that reads lines, against NumPy."""

import jax
import numpy as np
import pytest

from jaxdigits.handwriting import line_network
from jaxdigits.handwriting.line_network import HEIGHT, STEP, SYMBOLS


def same(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A convolution whose result is as large as what it is given, zeros around that."""
    sides = kernel.shape[:2]
    around = [(0, 0), *((side // 2, side // 2) for side in sides), (0, 0)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, around), sides, (1, 2))
    return np.einsum("nhwcab,abco->nhwo", windows, kernel, optimize=True)


def relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def reference(params: dict, ink: np.ndarray) -> np.ndarray:
    """The layers that the module's docstring lists."""
    values = ink[..., None] - 0.2
    for columns, part in zip((2, 1, 1), params["planes"], strict=True):
        values = relu(same(values, part["kernel"]) + part["bias"])
        n, height, width, planes = values.shape
        blocks = values.reshape(n, height // 2, 2, width // columns, columns, planes)
        values = blocks.max(axis=(2, 4))
    n, rows, places, planes = values.shape
    values = np.stack([values[:, row] for row in range(rows)], axis=2)
    values = values.reshape(n, places, rows * planes)
    values = relu(values @ params["rows"]["kernel"] + params["rows"]["bias"])
    first, *others = params["along"]
    values = relu(same(values[:, None], first["kernel"][None])[:, 0] + first["bias"])
    for part in others:
        values = values + relu(same(values[:, None], part["kernel"][None])[:, 0] + part["bias"])
    return values @ params["last"]["kernel"] + params["last"]["bias"]


def test_it_computes_what_it_says(rng) -> None:
    """With biases that are not zero, and of two lines at once."""
    params = jax.tree.map(np.array, line_network.init(jax.random.key(0)))
    for part in (*params["planes"], params["rows"], *params["along"], params["last"]):
        part["bias"] += 0.3 * rng.normal(size=part["bias"].shape).astype(np.float32)
    ink = rng.random((2, HEIGHT, 12), np.float32)
    found = jax.jit(line_network.apply)(params, ink)
    assert found.shape == (2, 12 // STEP, len(SYMBOLS))
    expected = reference(jax.tree.map(np.float64, params), ink.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_how_it_begins() -> None:
    """As He et al. have it, each layer keeps how large values are; but the last is small."""
    params = jax.tree.map(np.asarray, line_network.init(jax.random.key(1)))
    layers = [*params["planes"], params["rows"], *params["along"], params["last"]]
    for number, layer in enumerate(layers):
        kernel = layer["kernel"]
        gain = 0.1 if number == len(layers) - 1 else 2
        deviation = np.sqrt(gain / np.prod(kernel.shape[:-1]))
        assert kernel.std() == pytest.approx(deviation, rel=0.15)
        assert abs(kernel.mean()) < 0.25 * deviation
        np.testing.assert_array_equal(layer["bias"], np.zeros(kernel.shape[-1]))
    first, second = (layer["kernel"] for layer in params["along"][1:])
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
