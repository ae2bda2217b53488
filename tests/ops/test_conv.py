"""Convolutions against lax's own in float64: outputs and both gradients, over random shapes."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxdigits.environment import tracing_for
from jaxdigits.models import resnet
from jaxdigits.ops import conv, conv_general_dilated, max_pool, max_pool_3x3
from jaxdigits.ops.conv import _choose

FORM = ("NHWC", "HWIO", "NHWC")


def output_and_gradients(function):
    """A program for the output, and both gradients for the output's gradient `d`."""

    @jax.jit
    def run(images, kernel, d):
        y, pull = jax.vjp(function, images, kernel)
        return y, *pull(d)

    return run


def check(images, kernel, strides, padding, method, tolerance):
    def reference(x, w):
        return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=FORM)

    def ours(x, w):
        return conv(x, w, strides=strides, padding=padding, method=method)

    shape = jax.eval_shape(reference, images.astype(np.float32), kernel.astype(np.float32)).shape
    arrays = images, kernel, np.random.default_rng(0).normal(size=shape)
    with jax.enable_x64(True):
        run = output_and_gradients(reference)
        # Rounding errors are in proportion to the sums of absolute values: sums may be near 0.
        exact, sums = jax.device_get((run(*arrays), run(*map(np.abs, arrays))))
    found = output_and_gradients(ours)(*(array.astype(np.float32) for array in arrays))
    for value, expected, scale in zip(found, exact, sums, strict=True):
        assert value.shape == expected.shape
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected, atol=tolerance * scale.max(), rtol=0)


sizes = st.integers(3, 15)
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=10)
@given(
    count=st.integers(1, 3),
    size=st.tuples(sizes, sizes),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    padding=st.tuples(pads, pads),
)
def test_winograd(count, size, channels, padding):
    """Within 5e-6 of the largest sum of absolute values."""
    random = np.random.default_rng(1)
    images = random.normal(size=(count, *size, channels[0]))
    kernel = random.normal(size=(3, 3, *channels))
    check(images, kernel, (1, 1), padding, "winograd", 5e-6)


@pytest.mark.parametrize("method", ["canonical", "im2col"])
@settings(max_examples=10)
@given(
    size=st.tuples(sizes, sizes),
    span=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.tuples(pads, pads),
)
def test_any_kernel_and_strides(method, size, span, strides, channels, padding):
    random = np.random.default_rng(1)
    images = random.normal(size=(2, *size, channels[0]))
    kernel = random.normal(size=(*span, *channels))
    check(images, kernel, strides, padding, method, 5e-7)


@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        ((1, 1), (1, 1), ((1, 1), (1, 1))),  # eight of nine positions see padding only
        ((2, 2), (2, 2), ((1, 1), (1, 1))),
        ((1, 5), (2, 1), ((3, 3), (0, 0))),  # outputs of which some see nothing
        ((4, 3), (3, 3), ((0, 3), (3, 0))),
    ],
)
def test_patches_that_are_mostly_padding(size, strides, padding, rng):
    images, kernel = rng.normal(size=(2, *size, 3)), rng.normal(size=(3, 3, 3, 2))
    check(images, kernel, strides, padding, "im2col", 5e-7)


def test_patches_of_padding_only(rng):
    """Nothing of the image is seen: zeros, and no gradient."""
    images, kernel = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 1, 1, 3), (1, 1, 3, 2)))
    pads = ((2, 0), (2, 0))
    function = partial(conv, strides=(3, 3), padding=pads, method="im2col")
    y, *gradients = output_and_gradients(function)(images, kernel, jnp.ones((2, 1, 1, 2)))
    assert y.shape == (2, 1, 1, 2)
    for array in (y, *gradients):
        assert not array.any()


def resnet_layers(stem, monkeypatch):
    """Images, kernel, strides and padding of each convolution on 28x28 pixels, once."""
    layers = {}

    def record(images, kernel, *, strides, padding, method):
        layers[images.shape[1:], kernel.shape, strides, padding] = None
        return conv(images, kernel, strides=strides, padding=padding, method=method)

    monkeypatch.setattr(resnet, "conv", record)
    jax.eval_shape(partial(resnet.init, stem=stem), jax.random.key(0))
    return list(layers)


def test_auto_on_the_layers_of_resnet18(monkeypatch, rng):
    """As exact as the least exact of the methods may be, and each of them has its turn."""
    layers = resnet_layers("7x7", monkeypatch)
    chosen = {layer: _choose(layer[0][:2], *layer[1:]) for layer in layers}
    assert len(chosen) == 11
    assert set(chosen.values()) == {"winograd", "im2col", "canonical"}
    for shape, kernel_shape, strides, padding in chosen:
        images, kernel = rng.normal(size=(2, *shape)), rng.normal(size=kernel_shape)
        check(images, kernel, strides, padding, "auto", 5e-6)


@pytest.mark.parametrize(
    ("side", "inputs", "method"),
    [(5, 8, "winograd"), (4, 8, "im2col"), (5, 7, "im2col"), (6, 7, "im2col"), (7, 7, "canonical")],
)
def test_auto_at_the_limits(side, inputs, method):
    """A kernel of 3x3 on images of few pixels and channels."""
    padding = ((0, 0), (0, 0))
    assert _choose((side, side), (3, 3, inputs, 4), (1, 1), padding) == method


@pytest.mark.parametrize(
    ("sides", "kernel", "strides", "padding", "method"),
    [
        # Winograd's where there are three rows and three columns or more, whatever the padding.
        ((3, 3), (3, 3, 8, 4), (1, 1), ((1, 1), (1, 1)), "winograd"),
        ((3, 3), (3, 3, 8, 4), (1, 1), ((2, 0), (0, 2)), "winograd"),
        ((3, 3), (3, 3, 8, 4), (1, 1), ((1, 1), (0, 1)), "im2col"),
        ((4, 30), (3, 3, 8, 4), (1, 1), ((0, 0), (0, 0)), "canonical"),
        ((30, 4), (3, 3, 8, 4), (1, 1), ((0, 0), (0, 0)), "canonical"),
        # Not for other strides and kernels.
        ((9, 9), (3, 3, 8, 4), (2, 2), ((0, 0), (0, 0)), "im2col"),
        ((11, 11), (3, 3, 8, 4), (2, 2), ((0, 0), (0, 0)), "canonical"),
        ((30, 30), (3, 3, 8, 4), (2, 1), ((0, 0), (0, 0)), "canonical"),
        ((30, 30), (3, 3, 8, 4), (1, 2), ((0, 0), (0, 0)), "canonical"),
        ((30, 30), (3, 2, 8, 4), (1, 1), ((0, 0), (0, 0)), "canonical"),
        ((30, 30), (4, 3, 8, 4), (1, 1), ((0, 0), (0, 0)), "canonical"),
        # A kernel of one pixel is a matrix product at any size.
        ((30, 30), (1, 1, 8, 4), (1, 1), ((0, 0), (0, 0)), "im2col"),
        ((30, 30), (1, 2, 8, 4), (1, 1), ((0, 0), (0, 0)), "canonical"),
        ((30, 30), (2, 1, 8, 4), (1, 1), ((0, 0), (0, 0)), "canonical"),
        # Sixteen outputs, in whatever form, and seventeen.
        ((3, 18), (3, 3, 1, 4), (1, 1), ((0, 0), (0, 0)), "im2col"),
        ((3, 19), (3, 3, 1, 4), (1, 1), ((0, 0), (0, 0)), "canonical"),
    ],
)
def test_what_auto_chooses(sides, kernel, strides, padding, method):
    assert _choose(sides, kernel, strides, padding) == method


@pytest.mark.parametrize(("dtype", "convolutions"), [(jnp.float32, 0), (jnp.bfloat16, 1)])
def test_auto_is_exact_enough_for_bfloat16(dtype, convolutions):
    """By Winograd's products in float32, by a convolution in bfloat16."""
    images, kernel = jnp.ones((1, 9, 9, 8), dtype), jnp.ones((3, 3, 8, 2), dtype)
    assert str(jax.make_jaxpr(conv)(images, kernel)).count("conv_general_dilated[") == convolutions
    np.testing.assert_array_equal(conv(images, kernel), np.full((1, 7, 7, 2), 72))


@pytest.mark.parametrize("platform", ["gpu", "tpu", "any"])
def test_auto_is_lax_where_there_is_no_cpu(platform, monkeypatch):
    for stem in ("7x7", "3x3"):
        for shape, *rest in resnet_layers(stem, monkeypatch):
            with tracing_for(platform):
                assert _choose(shape[:2], *rest) == "lax"


def test_auto_asks_for_the_backend(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert _choose((28, 28), (3, 3, 8, 8), (1, 1), ((0, 0), (0, 0))) == "lax"


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_padding_by_name(padding, strides, rng):
    images, kernel = rng.normal(size=(2, 9, 10, 8)), rng.normal(size=(3, 3, 8, 4))
    check(images, kernel, strides, padding, "auto", 5e-6)
    check(images, kernel, strides, padding, "lax", 5e-7)


def test_what_conv_cannot_do_is_left_to_lax(rng):
    images, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 4))
    same = partial(conv_general_dilated, window_strides=(1, 1), padding="VALID")
    same = partial(same, dimension_numbers=FORM)
    assert same(images, kernel, batch_group_count=2).shape == (1, 6, 6, 4)
    images, kernel = images.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    assert same(images, kernel, preferred_element_type=jnp.float32).dtype == jnp.float32


def test_wrong_method(rng):
    images = jnp.ones((1, 9, 9, 8))
    with pytest.raises(ValueError, match="for a kernel of 3x3 and strides of 1, not for 5x5"):
        conv(images, jnp.ones((5, 5, 8, 2)), method="winograd")
    with pytest.raises(ValueError, match=r"not for 3x3 and \(2, 2\)"):
        conv(images, jnp.ones((3, 3, 8, 2)), strides=(2, 2), method="winograd")


def test_unknown_method(python):
    """In a process of its own, where the annotations are not checked by other means."""
    code = (
        "import jax.numpy as jnp; from jaxdigits.ops import conv;"
        "conv(jnp.ones((1, 9, 9, 8)), jnp.ones((3, 3, 8, 2)), method='winogard')"
    )
    assert "unknown method 'winogard'; choose from auto, lax" in python("-c", code).stderr


@settings(max_examples=10)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ties=st.booleans(),
    platform=st.sampled_from(["cpu", "tpu"]),
)
def test_max_pool(size, ties, platform):
    random = np.random.default_rng(2)
    images = random.normal(size=(2, *size, 3)).astype(np.float32)
    images = np.round(images) if ties else images

    def reference(x):
        window, form = (1, 2, 2, 1), ((0, 0), (0, size[0] % 2), (0, size[1] % 2), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, form)

    @jax.jit
    def both(x, d):
        return [(y, *pull(d)) for y, pull in (jax.vjp(f, x) for f in (max_pool, reference))]

    d = random.normal(size=(2, *((side + 1) // 2 for side in size), 3)).astype(np.float32)
    with tracing_for(platform):
        ours, theirs = both(images, d)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 5), (7, 14)])
def test_max_pool_3x3(size, rng):
    def reference(x):
        form = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), form)

    @jax.jit
    def both(x, d):
        found = [(y, *pull(d)) for y, pull in (jax.vjp(f, x) for f in (max_pool_3x3, reference))]
        return found, jax.vjp(max_pool_3x3, x)[1](jnp.ones_like(d))[0]

    shape = (2, *((side + 1) // 2 for side in size), 3)
    d = rng.normal(size=shape).astype(np.float32)
    images = rng.normal(size=(2, *size, 3)).astype(np.float32)
    with tracing_for("tpu"):
        y, gradient_there = jax.jit(
            lambda x, d: (max_pool_3x3(x), *jax.vjp(max_pool_3x3, x)[1](d))
        )(images, d)
    ((ours, gradient), (theirs, expected)), _ = both(images, d)
    np.testing.assert_array_equal(y, theirs)
    np.testing.assert_allclose(gradient_there, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    # Among equals the gradient is shared: nobody gets less than nothing, and the sum is the same.
    ((ours, gradient), (theirs, expected)), of_ones = both(np.round(images), d)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(gradient.sum((1, 2)), expected.sum((1, 2)), rtol=1e-4, atol=1e-4)
    assert (np.asarray(of_ones) >= 0).all()


@pytest.mark.parametrize("method", ["winograd", "canonical", "im2col"])
def test_it_composes(method, rng):
    """With jit, vmap over seeds, scan and shard_map."""
    images = jnp.asarray(rng.normal(size=(3, 2, 9, 9, 8)), jnp.float32)
    kernels = jnp.asarray(rng.normal(size=(3, 3, 3, 8, 4)), jnp.float32)

    def loss(x, w, method):
        return (max_pool(conv(x, w, method=method)) ** 2).sum()

    step, by_lax = (jax.grad(partial(loss, method=m), argnums=(0, 1)) for m in (method, "lax"))
    one_by_one = jax.jit(lambda *pairs: lax.map(lambda pair: by_lax(*pair), pairs))
    expected = one_by_one(images, kernels)
    mesh = Mesh(np.array(jax.devices()[:1]), ("seeds",))
    along = PartitionSpec("seeds")
    together = jax.vmap(step)
    for function in (
        jax.jit(together),
        lambda x, w: lax.scan(lambda _, pair: (None, step(*pair)), None, (x, w))[1],
        jax.jit(jax.shard_map(together, mesh=mesh, in_specs=along, out_specs=along)),
    ):
        for ours, theirs in zip(function(images, kernels), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max(), rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"strides": 2}, {"kernel_dilation": 2}, {"feature_group_count": 2}),
        {"input_dilation": 2, "padding": 0},
    ],
)
def test_in_flax(options, rng):
    images = jnp.asarray(rng.normal(size=(2, 9, 9, 8)), jnp.float32)
    usual = nn.Conv(4, (3, 3), **options)
    ours = nn.Conv(4, (3, 3), conv_general_dilated=conv_general_dilated, **options)
    params = usual.init(jax.random.key(0), images)
    found, expected = (np.asarray(jax.jit(net.apply)(params, images)) for net in (ours, usual))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if not options:  # by Winograd's products
        assert "conv_general_dilated" not in str(jax.make_jaxpr(ours.apply)(params, images))


def test_axes_by_their_letters():
    """As flax names them by numbers: what the images and the kernel have is not left to lax."""
    function = partial(conv_general_dilated, window_strides=(1, 1), padding="VALID")
    traced = jax.make_jaxpr(partial(function, dimension_numbers=FORM))(
        jnp.ones((1, 9, 9, 8)), jnp.ones((3, 3, 8, 2))
    )
    assert "conv_general_dilated" not in str(traced)


def test_other_axes_and_layouts_are_left_to_lax(rng):
    """One axis instead of two, and channels first."""
    images = jnp.asarray(rng.normal(size=(2, 9, 8)), jnp.float32)
    usual = nn.Conv(4, (3,))
    ours = nn.Conv(4, (3,), conv_general_dilated=conv_general_dilated)
    params = usual.init(jax.random.key(0), images)
    np.testing.assert_array_equal(ours.apply(params, images), usual.apply(params, images))
    images = jnp.asarray(rng.normal(size=(2, 8, 9, 8)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 8, 3, 3)), jnp.float32)
    given = images, kernel, (1, 2), "VALID"
    expected = lax.conv_general_dilated(*given)
    for numbers in (None, ("NCHW", "OIHW", "NCHW")):
        found = conv_general_dilated(*given, dimension_numbers=numbers)
        np.testing.assert_array_equal(found, expected)
