"""The convolution, max-pooling and GELU written out by hand, against jax and scipy in float64."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxdigits import losses
from jaxdigits.by_hand import convolution as by_hand
from jaxdigits.by_hand import dense as gradients

FORM = ("NHWC", "HWIO", "NHWC")

# Each program here runs once: compiling well would take most of the time.
jit = partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def assert_close(found, expected):
    """Within 1e-9 of the largest value, each array by itself."""
    found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
    for value, reference in zip(found, expected, strict=True):
        assert value.dtype == reference.dtype == np.float64
        scale = np.abs(reference).max()
        np.testing.assert_allclose(value, reference, rtol=0, atol=1e-9 * scale)


def lax_conv(images, kernel, bias):
    return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=FORM) + bias


def lax_max_pool(images):
    edges = ((0, 0), (0, images.shape[1] % 2), (0, images.shape[2] % 2), (0, 0))
    return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), edges)


def exact_gelu(x):
    return jax.nn.gelu(x, approximate=False)


@settings(max_examples=6)
@given(
    span=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    outputs_size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    count=st.integers(1, 3),
)
def test_conv(span, outputs_size, channels, count):
    random = np.random.default_rng(0)
    size = [extent + k - 1 for extent, k in zip(outputs_size, span, strict=True)]
    images = random.normal(size=(count, *size, channels[0]))
    kernel, bias = random.normal(size=(*span, *channels)), random.normal(size=channels[1])
    d_outputs = random.normal(size=(count, *outputs_size, channels[1]))

    @jit
    def ours(images, kernel, bias, d_outputs):
        outputs = by_hand.conv(images, kernel, bias)
        return outputs, by_hand.conv_backward(images, kernel, d_outputs)

    @jit
    def theirs(images, kernel, bias, d_outputs):
        outputs, pull = jax.vjp(lax_conv, images, kernel, bias)
        return outputs, pull(d_outputs)

    arrays = images, kernel, bias, d_outputs
    assert_close(ours(*arrays), theirs(*arrays))


def test_conv_of_scipy(rng):
    """A convolution of networks is a correlation of mathematics."""
    image, kernel = rng.normal(size=(9, 7)), rng.normal(size=(3, 2))
    found = by_hand.conv(
        jnp.array(image)[None, :, :, None], jnp.array(kernel)[:, :, None, None], jnp.array([0.5])
    )
    expected = scipy.signal.correlate2d(image, kernel, mode="valid") + 0.5
    assert_close(found[0, :, :, 0], expected)


def test_input_gradient_of_the_post(rng):
    """Its loop over output positions, each adding kernel times gradient to the block it saw."""
    kernel, d_outputs = rng.normal(size=(3, 3)), rng.normal(size=(6, 5))
    expected = np.zeros((8, 7))
    for r in range(6):
        for c in range(5):
            expected[r : r + 3, c : c + 3] += kernel * d_outputs[r, c]
    found, _, _ = by_hand.conv_backward(
        jnp.zeros((1, 8, 7, 1)),
        jnp.array(kernel)[:, :, None, None],
        jnp.array(d_outputs)[None, :, :, None],
    )
    assert_close(found[0, :, :, 0], expected)


@settings(max_examples=8)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), ties=st.booleans())
def test_max_pool(size, ties):
    random = np.random.default_rng(2)
    images = random.normal(size=(2, *size, 3))
    images = jnp.array(np.round(images) if ties else images)
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    d_outputs = jnp.array(random.normal(size=(2, rows, columns, 3)))

    @jit
    def ours(images, d_outputs):
        return by_hand.max_pool(images), by_hand.max_pool_backward(images, d_outputs)

    @jit
    def theirs(images, d_outputs):
        outputs, pull = jax.vjp(lax_max_pool, images)
        return outputs, *pull(d_outputs)

    for found, expected in zip(ours(images, d_outputs), theirs(images, d_outputs), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_max_pool_of_equals(value):
    """No gradient is lost, not even to the edges that are filled with minus infinity."""
    found = by_hand.max_pool_backward(jnp.full((1, 3, 3, 1), value), jnp.ones((1, 2, 2, 1)))
    assert found[0, :, :, 0].tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]


def test_gelu(rng):
    x = jnp.array([*np.linspace(-10, 10, 201), *rng.normal(size=20)])
    expected, pull = jax.vjp(exact_gelu, x)
    d_outputs = jnp.array(rng.normal(size=x.shape))
    found, found_backward = by_hand.gelu(x), by_hand.gelu_backward(x, d_outputs)
    assert_close((found, found_backward), (expected, pull(d_outputs)[0]))
    # Relative to each value: the tails are small.
    phi, density = scipy.stats.norm.cdf(x), scipy.stats.norm.pdf(x)
    np.testing.assert_allclose(found, x * phi, rtol=1e-12)
    np.testing.assert_allclose(found_backward, d_outputs * (phi + x * density), rtol=1e-9)


def test_letters_network(rng):
    """Forward and backward of the post's design, layer by layer, with fewer channels."""
    channels, widths = [1, 2, 3, 4], [16, 5, 6, 26]
    convolutions = [
        (jnp.array(rng.normal(size=(3, 3, *pair))), jnp.array(rng.normal(size=pair[1])))
        for pair in pairwise(channels)
    ]
    linears = [
        {
            "weight": jnp.array(rng.normal(size=pair[::-1])),
            "bias": jnp.array(rng.normal(size=pair[1])),
        }
        for pair in pairwise(widths)
    ]
    images, labels = jnp.array(rng.normal(size=(2, 28, 28, 1))), jnp.array([3, 25])
    weights = jnp.full(2, 0.5)

    @jit
    @jax.grad
    def theirs(params):
        convolutions, linears = params
        values = images
        for kernel, bias in convolutions:
            values = exact_gelu(lax_max_pool(lax_conv(values, kernel, bias)))
        values = values.reshape(2, -1)
        for index, params_of_layer in enumerate(linears):
            values = exact_gelu(values) if index else values
            values = values @ params_of_layer["weight"].T + params_of_layer["bias"]
        return losses.cross_entropy(values, labels) @ weights

    @jit
    def ours(params):
        convolutions, linears = params
        # Forward, keeping what each layer was given.
        values, given_to_convolutions = images, []
        for kernel, bias in convolutions:
            convolved = by_hand.conv(values, kernel, bias)
            pooled = by_hand.max_pool(convolved)
            given_to_convolutions.append((values, convolved, pooled))
            values = by_hand.gelu(pooled)
        shape = values.shape
        assert shape == (2, 2, 2, 4)
        values, given_to_linears = values.reshape(2, -1), []
        for index, params_of_layer in enumerate(linears):
            before = values
            values = by_hand.gelu(before) if index else before
            given_to_linears.append((before, values))
            values = values @ params_of_layer["weight"].T + params_of_layer["bias"]
        # Backward.
        d = gradients.cross_entropy_of_logits(values, labels, weights)
        d_linears, d_convolutions = [], []
        for index in reversed(range(3)):
            before, inputs = given_to_linears[index]
            d_linears.append(gradients.layer(inputs, d))
            d = d @ linears[index]["weight"]
            d = by_hand.gelu_backward(before, d) if index else d
        d = d.reshape(shape)
        for index in reversed(range(3)):
            inputs, convolved, pooled = given_to_convolutions[index]
            d = by_hand.max_pool_backward(convolved, by_hand.gelu_backward(pooled, d))
            d, d_kernel, d_bias = by_hand.conv_backward(inputs, convolutions[index][0], d)
            d_convolutions.append((d_kernel, d_bias))
        return d_convolutions[::-1], d_linears[::-1]

    params = convolutions, linears
    found, expected = ours(params), theirs(params)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected)) > 1e-3
    assert_close(found, expected)


def true_kernel_gradient(image, d_outputs):
    span = [1 + extent - seen for extent, seen in zip(image.shape, d_outputs.shape, strict=True)]
    _, d_kernel, _ = by_hand.conv_backward(
        image[None, :, :, None], jnp.zeros((*span, 1, 1)), d_outputs[None, :, :, None]
    )
    return d_kernel[:, :, 0, 0]


@pytest.mark.parametrize("span", [(1, 1), (3, 3), (2, 4)])
def test_kernel_gradient_of_the_post(span, rng):
    """The post's loop as it is, `*` being the matrix product."""
    d_outputs = rng.normal(size=(5, 5))
    image = rng.normal(size=(4 + span[0], 4 + span[1]))
    expected = np.zeros(span)
    for r in range(span[0]):
        for c in range(span[1]):
            expected[r, c] += np.matmul(image[r : r + 5, c : c + 5], d_outputs).sum()
    expected /= np.sqrt(5 * 5)
    found = by_hand.post_kernel_gradient(jnp.array(image), jnp.array(d_outputs))
    assert_close(found, expected)


def test_where_the_kernel_gradient_of_the_post_is_right(rng):
    """Where the image or the outputs' gradients are constant."""
    image, d_outputs = jnp.array(rng.normal(size=(13, 13))), jnp.array(rng.normal(size=(11, 11)))
    for pair in ((jnp.full((13, 13), 0.7), d_outputs), (image, jnp.full((11, 11), 0.7))):
        assert_close(by_hand.post_kernel_gradient(*pair), true_kernel_gradient(*pair))


@pytest.mark.parametrize(("draw", "low", "high"), [("normal", -0.1, 0.1), ("uniform", 0.5, 0.8)])
def test_kernel_gradient_of_the_post_is_wrong(draw, low, high, rng):
    """Its mean cosine to the true one is near 0.03 for normal images, 0.64 for uniform ones."""
    images = jnp.array(getattr(rng, draw)(size=(1000, 13, 13)))
    d_outputs = jnp.array(rng.normal(size=(1000, 11, 11)))
    posts = jax.vmap(by_hand.post_kernel_gradient)(images, d_outputs).reshape(1000, -1)
    true = jax.vmap(true_kernel_gradient)(images, d_outputs).reshape(1000, -1)
    lengths = jnp.linalg.norm(posts, axis=1) * jnp.linalg.norm(true, axis=1)
    cosine = float(((posts * true).sum(axis=1) / lengths).mean())
    assert low < cosine < high


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes(dtype):
    """What comes out is of the dtype of what goes in."""

    def everything(images, kernel, bias):
        outputs = by_hand.conv(images, kernel, bias)
        pooled = by_hand.max_pool(outputs)
        d_pooled = by_hand.gelu_backward(pooled, by_hand.gelu(pooled))
        d_outputs = by_hand.max_pool_backward(outputs, d_pooled)
        d_kernel = by_hand.post_kernel_gradient(images[0, :, :, 0], d_outputs[0, :, :3, 0])
        d_inputs = by_hand.conv_backward(images, kernel, d_outputs)
        return outputs, pooled, d_pooled, d_outputs, d_kernel, *d_inputs

    shapes = [(1, 4, 5, 1), (2, 2, 1, 3), (3,)]
    arrays = jax.eval_shape(everything, *(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes))
    assert {array.dtype for array in arrays} == {jnp.dtype(dtype)}
