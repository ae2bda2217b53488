import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.transforms.scaling import (
    IMAGE_MEAN,
    IMAGE_STD,
    UNIT,
    Scaling,
    pixel_statistics,
    rescale_each,
    scale_inputs,
    scale_pixels,
    standardize,
    unit_pixels,
)


def test_every_byte_as_a_share_of_255():
    """And exactly back."""
    pixels = jnp.resize(jnp.arange(256, dtype=jnp.uint8), (1, 28, 28))
    shares = np.asarray(unit_pixels(pixels))
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, np.asarray(pixels) / 255, rtol=2e-7)
    np.testing.assert_array_equal(np.round(shares * 255), pixels)


def test_scaling_in_two_steps(rng):
    images = jnp.asarray(rng.integers(0, 256, (4, 28, 28), dtype=np.uint8))
    scaling = Scaling(jnp.float32(0.13), jnp.float32(0.31))
    expected = (np.asarray(images, np.float64) / 255 - 0.13) / 0.31
    np.testing.assert_allclose(scale_pixels(images, scaling), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        scale_pixels(images, scaling), standardize(unit_pixels(images), scaling)
    )


@pytest.mark.parametrize(("brightness", "contrast"), [(0.0, 1.0), (0.4, 0.1), (-5.0, 100.0)])
def test_each_image_to_one_mean_and_deviation(brightness, contrast, rng):
    """Post C row C1; each by itself, whatever the others are."""
    images = rng.uniform(size=(5, 28, 28)).astype(np.float32)
    images[2, 3:] = 0  # little ink
    found = np.asarray(rescale_each(jnp.asarray(brightness + contrast * images)), np.float64)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), IMAGE_MEAN, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=(1, 2)), IMAGE_STD, atol=1e-4)
    np.testing.assert_allclose(found, rescale_each(jnp.asarray(images)), atol=1e-3)
    np.testing.assert_allclose(
        rescale_each(jnp.asarray(brightness + contrast * images[2:3])), found[2:3], atol=1e-6
    )


def test_a_blank_image_stays_blank():
    for level in (0.0, 1.0):
        blank = rescale_each(jnp.full((2, 28, 28), level, jnp.float32))
        np.testing.assert_allclose(blank, IMAGE_MEAN, atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28), (9, 14), (9, 14, 3), (200, 200)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_statistics_of_images_of_any_shape(rng, shape, dtype):
    """Of uint8, 0..255, and of floats, 0..1, alike."""
    images = rng.integers(0, 256, (7, *shape), dtype=np.uint8)
    shares = images.astype(np.float64) / 255
    images = images if dtype == np.uint8 else shares.astype(dtype)
    found = pixel_statistics(jnp.asarray(images))
    np.testing.assert_allclose(found.mean, shares.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.std, shares.std(), rtol=1e-4)
    each = rescale_each(unit_pixels(jnp.asarray(images)))
    assert each.shape == images.shape
    np.testing.assert_allclose(each.reshape(7, -1).mean(axis=1), IMAGE_MEAN, atol=1e-4)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_pixels_that_are_all_alike_have_no_deviation(value):
    """So they are divided by 1, and become 0, however large they are."""
    for sides in ((4, 5), (200, 300)):
        pixels = jnp.full((2, *sides), value, jnp.uint8)
        found = pixel_statistics(pixels)
        np.testing.assert_allclose(found, (value / 255, 1), rtol=1e-6)
        np.testing.assert_allclose(scale_pixels(pixels, found), 0, atol=1e-6)


def test_unit_scaling_leaves_pixels_in_0_to_1():
    pixels = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16)
    scaled = scale_pixels(pixels, Scaling(*map(jnp.float32, UNIT)))
    np.testing.assert_array_equal(scaled, unit_pixels(pixels))


def test_what_scales_there_are(rng):
    """As the training images are, one by one, or not at all."""
    images = jnp.asarray(rng.random((3, 5, 4), np.float32))
    scaling = Scaling(jnp.float32(0.25), jnp.float32(0.5))
    scaled = {
        name: np.asarray(scale_inputs(images, scaling=scaling, scale=name))
        for name in ("standardized", "unit", "image")
    }
    np.testing.assert_allclose(scaled["standardized"], 2 * images - 0.5, atol=1e-6)
    np.testing.assert_array_equal(scaled["unit"], images)
    np.testing.assert_array_equal(scaled["image"], rescale_each(images))
    np.testing.assert_allclose(scaled["image"].mean(axis=(1, 2)), 0.172575, atol=1e-5)
    np.testing.assert_allclose(scaled["image"].std(axis=(1, 2)), 0.25, atol=1e-5)


def test_a_gray_image_is_blank():
    """Of any of the 256 levels."""
    pixels = jnp.broadcast_to(jnp.arange(256, dtype=jnp.uint8)[:, None, None], (256, 28, 28))
    np.testing.assert_allclose(rescale_each(unit_pixels(pixels)), IMAGE_MEAN, atol=1e-6)


def test_what_is_blank_but_for_rounding():
    """A deviation of a millionth, on a ground of 0."""
    faint = np.zeros((2, 4, 4), np.float32)
    faint[:, ::2] = np.array([1.9e-6, 2.1e-6], np.float32)[:, None, None]
    blank, rescaled = np.asarray(rescale_each(jnp.asarray(faint)))
    np.testing.assert_allclose(blank, IMAGE_MEAN, atol=1e-6)
    np.testing.assert_allclose(rescaled[:2, 0], [IMAGE_MEAN + 0.25, IMAGE_MEAN - 0.25], rtol=1e-5)


def test_sums_of_bytes_are_exact(rng):
    """In floats, squares of 784 pixels would be rounded on the way."""
    for _ in range(5):
        pixels = rng.integers(0, 256, (1, 28, 28), dtype=np.uint8)
        mean, square = (np.float32((pixels.astype(int) ** power).sum()) for power in (1, 2))
        mean, square = mean / 784 / np.float32(255), square / 784 / np.float32(255**2)
        found = pixel_statistics(jnp.asarray(pixels))
        np.testing.assert_array_equal(found.mean, mean)
        np.testing.assert_array_equal(found.std, np.sqrt(square - mean**2))


@pytest.mark.parametrize("sides", [(181, 182), (182, 183), (200, 300), (500, 600)])
def test_statistics_of_large_bright_images(sides):
    """Their sums of squares leave 32 bits, from 33,026 pixels an image on."""
    images = np.full((2, *sides), 255, np.uint8)
    images[:, ::2] = 200
    found = pixel_statistics(jnp.asarray(images))
    np.testing.assert_allclose(found, (images.mean() / 255, images.std() / 255), rtol=1e-4)
