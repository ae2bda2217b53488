"""The network that finds what is written on a page, against NumPy."""

import jax
import numpy as np
import pytest
from test_line_network import relu, same

from jaxdigits.handwriting import line_network, page_network, turns
from jaxdigits.handwriting.page_network import MULTIPLE
from jaxdigits.handwriting.scenes import NUM_CLASSES
from jaxdigits.runs.folder import WEIGHTS, load_params, shipped_params


def layer(part: dict, values: np.ndarray) -> np.ndarray:
    return same(values, part["kernel"]) + part["bias"]


def residual(parts: list, values: np.ndarray) -> np.ndarray:
    return relu(values + layer(parts[1], relu(layer(parts[0], values))))


def reference(params: dict, images: np.ndarray) -> list[np.ndarray]:
    """Down by blocks of 2x2, and up again; logits, and what is said of each block."""

    def halves(values: np.ndarray) -> list[np.ndarray]:
        return [values[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]

    values = relu(layer(params["first"], np.concatenate(halves(images - 0.5), axis=-1)))
    levels = []
    for part in params["down"]:
        if levels:
            values = relu(layer(part["shrink"], np.mean(halves(values), axis=0)))
        for block in part["blocks"]:
            values = residual(block, values)
        levels.append(values)
    details = levels[:-1]
    for part in params["up"]:
        wide = layer(part["widen"], values).repeat(2, axis=1).repeat(2, axis=2)
        values = residual(part["block"], details.pop() + wide)
    values = layer(params["last"], values)
    n, rows, columns, _ = values.shape
    logits = np.zeros((n, 2 * rows, 2 * columns, NUM_CLASSES))
    for number, place in enumerate(halves(logits)):
        place[:] = values[..., number * NUM_CLASSES : (number + 1) * NUM_CLASSES]
    rest = values[..., 4 * NUM_CLASSES :]
    assert rest.shape[-1] == 6
    return [logits, rest[..., 0:2], rest[..., 2:4], rest[..., 4], rest[..., 5]]


def layers_of(params: dict) -> list[dict]:
    """Every layer."""
    return jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, dict) and "kernel" in node)


def test_it_computes_what_it_says(rng) -> None:
    """With biases that are not zero, and of a page that is wider than high."""
    params = jax.tree.map(np.array, page_network.init(jax.random.key(0)))
    for part in layers_of(params):
        part["bias"] += 0.1 * rng.normal(size=part["bias"].shape).astype(np.float32)
    images = rng.random((1, MULTIPLE, 2 * MULTIPLE, 4), np.float32)
    found = jax.jit(page_network.apply)(params, images)
    expected = reference(jax.tree.map(np.float64, params), images.astype(np.float64))
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)


def test_how_it_begins() -> None:
    """As He et al. have it; blocks begin with little that they add, and the last layer is small."""
    params = jax.tree.map(np.asarray, page_network.init(jax.random.key(1)))
    second = [block[1] for part in params["down"] for block in part["blocks"]]
    second += [part["block"][1] for part in params["up"]]
    small = {id(one["kernel"]) for one in (*second, params["last"])}
    plain = {id(part["widen"]["kernel"]) for part in params["up"]}
    for one in layers_of(params):
        kernel = one["kernel"]
        gain = 0.1 if id(kernel) in small else 1 if id(kernel) in plain else 2
        deviation = np.sqrt(gain / np.prod(kernel.shape[:-1]))
        assert kernel.std() == pytest.approx(deviation, rel=0.15)
        assert abs(kernel.mean()) < 0.25 * deviation
        np.testing.assert_array_equal(one["bias"], np.zeros(kernel.shape[-1]))
    (first, _), (other, _), *_ = params["down"][3]["blocks"]
    assert abs(np.corrcoef(first["kernel"].ravel(), other["kernel"].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("name", "init"),
    [("page", page_network.init), ("lines", line_network.init), ("turns", turns.NETWORK.init)],
)
def test_what_comes_with_the_package_is_of_these_networks(name, init):
    """Also without their `init`, by the names of its arrays alone."""
    jax.tree.map(
        np.testing.assert_array_equal,
        load_params(WEIGHTS / name / "params.safetensors", init),
        shipped_params(name),
    )
