import itertools
import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from scipy.interpolate import BSpline
from scipy.stats import binom, chisquare, kstest

from jaxdigits.config import AUGMENT
from jaxdigits.environment import tracing_for
from jaxdigits.errors import ConfigError
from jaxdigits.transforms import augment, warp
from jaxdigits.transforms.augment import (
    AUGMENTATIONS,
    jitter,
    jittered_copies,
    make_augment,
    soften,
    thicken,
)
from jaxdigits.transforms.warp import GRID, Warp, affine, resample, translate

KEY = jax.random.key(7)
ALL = make_augment(tuple(AUGMENTATIONS))


def named(name):
    """An augmentation as a function, at its default strength or another one."""

    def change(key, images, strength=AUGMENT[name].default):
        return AUGMENTATIONS[name](key, images, strength)

    return change


CHANGES = {name: named(name) for name in AUGMENTATIONS}
shift, rotate, scale, shear, invert, elastic, thickness, blur, contrast, noise, erase = (
    CHANGES[name] for name in AUGMENT
)
EVERY = {**CHANGES, "jitter": jitter, "all": ALL}


def bends_of(key, shape, pixels):
    """What `elastic` draws with this key."""
    return AUGMENTATIONS["elastic"].draw(key, shape, pixels).bends


def ink(count, height=28, width=28, seed=0):
    """Images with ink up to every edge."""
    random = np.random.default_rng(seed)
    return random.uniform(0.1, 0.9, (count, height, width)).astype(np.float32)


@cache
def compiled(function, **strength):
    return jax.jit(partial(function, **strength))


def run(function, *arguments, **strength):
    return np.asarray(compiled(function, **strength)(*arguments))


def shifted(image, rows, columns):
    """np.roll, with zeros for what comes round."""
    height, width = image.shape
    rolled = np.roll(image, (rows, columns), axis=(0, 1))
    rolled[: max(rows, 0)] = 0
    rolled[:, : max(columns, 0)] = 0
    rolled[height + min(rows, 0) :] = 0
    rolled[:, width + min(columns, 0) :] = 0
    return rolled


def offsets(before, after, pixels=2):
    """The one shift of all that are possible that makes each image before the one after."""
    found = []
    moves = list(itertools.product(range(-pixels, pixels + 1), repeat=2))
    for image, result in zip(before, after, strict=True):
        fitting = [move for move in moves if np.array_equal(shifted(image, *move), result)]
        assert len(fitting) == 1
        found += fitting
    return found


def matrices(function, key, count, size=13):
    """What each image was mapped by, read off two ramps drawn with the same key.

    Bilinear interpolation is exact on a ramp, so the slopes in the middle of the result are the
    rows of the matrix from a place in the result to one in the image.
    """
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    rows = []
    for image in np.meshgrid(ramp, ramp, indexing="ij"):
        result = run(function, key, np.repeat(image[None], count, axis=0))
        middle, reach = size // 2, 3
        down = result[:, middle + reach, middle] - result[:, middle - reach, middle]
        right = result[:, middle, middle + reach] - result[:, middle, middle - reach]
        rows.append(np.stack([down, right], axis=-1) * (size - 1) / (2 * reach))
    return np.stack(rows, axis=1)


def resampled(image, matrix):
    """As `affine` should, by SciPy, in float64."""
    center = (np.array(image.shape) - 1) / 2
    return scipy.ndimage.affine_transform(
        image.astype(np.float64),
        matrix,
        center - matrix @ center,
        order=1,
        mode="grid-constant",
    )


def test_shift_is_a_roll_with_zeros():
    for height, width in ((28, 28), (5, 9)):
        images = ink(50, height, width)
        assert len(set(offsets(images, run(shift, KEY, images)))) > 15


def test_shift_by_more_than_the_image():
    images = ink(200, 2, 2)
    results = run(shift, KEY, images, strength=3)
    inside = list(itertools.product(range(-1, 2), repeat=2))
    for image, result in zip(images, results, strict=True):
        fitting = [move for move in inside if np.array_equal(shifted(image, *move), result)]
        assert fitting or not result.any()


def test_all_shifts_are_equally_likely():
    dot = jnp.zeros((25_000, 5, 5)).at[:, 2, 2].set(1)
    places = run(shift, KEY, dot).reshape(25_000, 25)
    assert (places.sum(axis=1) == 1).all()
    assert chisquare(places.sum(axis=0)).pvalue > 0.001


def test_inverted_pixels_are_inverted_and_few():
    images = ink(1000, 5, 5)
    results = run(invert, KEY, images)
    changed = results != images
    assert set(changed.sum(axis=(1, 2))) <= {1, 3, 5}
    np.testing.assert_array_equal(results[changed], 1 - images[changed])


def test_pixels_are_drawn_with_replacement():
    """Of two draws from 6 pixels, 1 in 6 hits the same one again, which is then as before."""
    images = ink(10_000, 2, 3)
    changed = run(invert, KEY, images, strength=2) != images
    numbers = changed.sum(axis=(1, 2))
    assert set(numbers) == {0, 2}
    assert 0.001 < binom.cdf((numbers == 0).sum(), 10_000, 1 / 6) < 0.999
    once = run(invert, KEY, images, strength=1) != images
    assert once.sum() == 10_000
    assert chisquare(once.sum(axis=0).ravel()).pvalue > 0.001


def test_affine_is_scipys():
    random = np.random.default_rng(1)
    transforms = (np.eye(2) + random.uniform(-0.5, 0.5, (20, 2, 2))).astype(np.float32)
    for height, width in ((28, 28), (7, 12)):
        images = ink(20, height, width)
        expected = [resampled(*pair) for pair in zip(images, transforms, strict=True)]
        result = run(affine, images, transforms)
        np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["rotate", "scale", "shear"])
def test_the_result_is_scipys_with_the_drawn_matrix(name):
    function = CHANGES[name]
    images = ink(50)
    drawn = matrices(function, KEY, 50)
    assert len(np.unique(drawn.round(5), axis=0)) == 50
    expected = [resampled(*pair) for pair in zip(images, drawn, strict=True)]
    np.testing.assert_allclose(run(function, KEY, images), expected, atol=2e-4)


def test_angles():
    drawn = matrices(rotate, KEY, 2000)
    angles = np.arctan2(drawn[:, 0, 1], drawn[:, 0, 0])
    cosines, sines = np.cos(angles), np.sin(angles)
    expected = np.moveaxis(np.array([[cosines, sines], [-sines, cosines]]), -1, 0)
    np.testing.assert_allclose(drawn, expected, atol=1e-5)
    assert kstest(np.degrees(angles), "uniform", (-10, 20)).pvalue > 0.001
    wider = matrices(partial(rotate, strength=20.0), KEY, 2000)
    np.testing.assert_allclose(np.arctan2(wider[:, 0, 1], wider[:, 0, 0]), 2 * angles, atol=1e-5)


def test_factors():
    drawn = matrices(scale, KEY, 2000)
    factors = 1 / drawn[:, 0, 0]
    np.testing.assert_allclose(drawn, np.eye(2) / factors[:, None, None], atol=1e-5)
    assert np.abs(factors - 1).max() <= 0.1 + 1e-5
    assert kstest(factors, "uniform", (0.9, 0.2)).pvalue > 0.001


def test_slants():
    drawn = matrices(shear, KEY, 2000)
    slants = -drawn[:, 1, 0]
    np.testing.assert_allclose(drawn[:, 0], [[1, 0]] * 2000, atol=1e-5)
    np.testing.assert_allclose(drawn[:, 1, 1], 1, atol=1e-5)
    assert kstest(slants, "uniform", (-0.1, 0.2)).pvalue > 0.001


def test_rotation_scale_and_shear_are_one_resampling():
    """In this order: the shear first, the rotation last, each as without the others."""
    together = make_augment(["rotate", "scale", "shear"])
    single = {
        name: matrices(make_augment([name]), KEY, 50) for name in ("shear", "scale", "rotate")
    }
    drawn = single["shear"] @ single["scale"] @ single["rotate"]
    np.testing.assert_allclose(matrices(together, KEY, 50), drawn, atol=1e-5)
    images = ink(50)
    expected = [resampled(*pair) for pair in zip(images, drawn, strict=True)]
    np.testing.assert_allclose(run(together, KEY, images), expected, atol=2e-4)


def test_the_shift_comes_after_the_rotation():
    images = ink(50)
    moves = offsets(images, run(make_augment(["shift"]), KEY, images))
    turned = run(make_augment(["rotate"]), KEY, images)
    expected = [shifted(image, *move) for image, move in zip(turned, moves, strict=True)]
    result = run(make_augment(["shift", "rotate"]), KEY, images)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_inversion_comes_last():
    images = ink(50)
    before = run(make_augment([name for name in AUGMENTATIONS if name != "invert"]), KEY, images)
    after = run(ALL, KEY, images)
    changed = np.abs(after - before) > 1e-5
    # Only a pixel very near to 1/2 stays as it is; and few are drawn twice.
    assert changed.sum(axis=(1, 2)).max() <= 5
    assert changed.sum() > 200
    np.testing.assert_allclose(after[changed], 1 - before[changed], atol=1e-6)


def test_the_order_is_the_one_of_the_table():
    """The documentation says in which order they are applied."""
    table = re.findall(r"^\| `(\w+)` \|", str(augment.__doc__), re.MULTILINE)
    assert table == list(AUGMENTATIONS)


@pytest.mark.parametrize("function", [jitter, ALL], ids=["jitter", "all"])
def test_no_key_is_used_twice(function):
    """By jax's own checker."""
    with jax.debug_key_reuse(True):
        jax.jit(function)(jax.random.key(3), ink(2, 6, 6))


def test_jitter_is_a_shift_and_five_inverted_pixels():
    blank = run(jitter, KEY, np.zeros((50, 28, 28), np.float32))
    assert set(blank.sum(axis=(1, 2))) <= {1.0, 3.0, 5.0}
    # The same key inverts the same pixels, of whatever is there: take that back.
    images = ink(50)
    result = run(jitter, KEY, images)
    found = set()
    for image, after, flipped in zip(images, result, blank == 1, strict=True):
        fitting = [
            move
            for move in itertools.product(range(-2, 3), repeat=2)
            if np.array_equal(
                np.where(flipped, 1 - shifted(image, *move), shifted(image, *move)), after
            )
        ]
        assert len(fitting) == 1
        found |= set(fitting)
    assert len(found) > 15


def test_no_strength_no_change():
    for height, width in ((28, 28), (5, 8)):
        images = ink(50, height, width)
        np.testing.assert_array_equal(run(shift, KEY, images, strength=0), images)
        np.testing.assert_array_equal(run(invert, KEY, images, strength=0), images)
        np.testing.assert_allclose(run(rotate, KEY, images, strength=0.0), images, atol=1e-6)
        np.testing.assert_allclose(run(scale, KEY, images, strength=0.0), images, atol=1e-6)
        np.testing.assert_allclose(run(shear, KEY, images, strength=0.0), images, atol=1e-6)
        np.testing.assert_allclose(run(elastic, KEY, images, strength=0.0), images, atol=1e-6)
        np.testing.assert_allclose(run(blur, KEY, images, strength=0.0), images, atol=1e-6)
        np.testing.assert_array_equal(run(thickness, KEY, images, strength=0.0), images)
        np.testing.assert_array_equal(run(contrast, KEY, images, strength=0.0), images)
        np.testing.assert_array_equal(run(noise, KEY, images, strength=0.0), images)
        np.testing.assert_array_equal(run(erase, KEY, images, strength=0), images)
        np.testing.assert_array_equal(run(make_augment([]), KEY, images), images)


@pytest.mark.parametrize("function", EVERY.values(), ids=EVERY)
def test_what_holds_for_all(function):
    # Ink to the edges, from 0 to 1; the first 20 images are the same.
    images = ink(50).round()
    images[:20] = images[0]
    result = run(function, KEY, images)
    assert result.shape == images.shape
    assert result.dtype == np.float32
    assert result.min() >= -1e-6
    assert result.max() <= 1 + 1e-6
    assert len(np.unique(result[:20], axis=0)) > 10
    np.testing.assert_array_equal(run(function, KEY, images), result)
    assert not np.array_equal(run(function, jax.random.key(8), images), result)
    # Not compiled, the coordinates differ in the last bits.
    np.testing.assert_allclose(function(KEY, jnp.asarray(images)), result, atol=1e-5)


def test_each_device_can_have_its_key():
    keys = jnp.stack([jax.random.key(8), KEY])
    images = ink(50)
    both = run(jax.vmap(ALL), keys, np.stack([images, images]))
    for key, result in zip(keys, both, strict=True):
        np.testing.assert_allclose(result, run(ALL, key, images), atol=1e-5)


def test_the_draws_do_not_depend_on_the_float_type():
    images = ink(50)
    plain = run(ALL, KEY, images)
    with jax.enable_x64(True):
        wide = run(ALL, KEY, images)
    assert wide.dtype == np.float32
    np.testing.assert_allclose(wide, plain, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in AUGMENTATIONS if n not in ("invert", "noise")])
def test_nothing_is_drawn_on_an_empty_ground(name):
    blank = np.zeros((50, 28, 28), np.float32)
    np.testing.assert_array_equal(run(CHANGES[name], KEY, blank), blank)


def test_neither_order_nor_number_of_the_names_matters():
    images = jnp.asarray(ink(50))
    again = make_augment([*list(AUGMENTATIONS)[::-1], "shift", "rotate"])
    np.testing.assert_array_equal(again(KEY, images), ALL(KEY, images))


def test_one_name_does_as_the_function_does():
    images = jnp.asarray(ink(50))
    keys = jax.random.split(KEY, len(AUGMENT))
    for key, name in zip(keys, AUGMENT, strict=True):
        np.testing.assert_array_equal(make_augment([name])(KEY, images), CHANGES[name](key, images))


def test_an_unknown_name_is_refused():
    message = "augment must be auto, none, or some of shift, .*, erase, not 'flip'"
    with pytest.raises(ConfigError, match=message):
        make_augment(["shift", "flip"])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_strengths(name):
    """A strength of 0 changes nothing, another one is what the function itself does with it."""
    images = jnp.asarray(ink(3))
    np.testing.assert_allclose(make_augment([f"{name}=0"])(KEY, images), images, atol=1e-6)
    strength = 2 if isinstance(AUGMENT[name].default, int) else 0.25
    key = dict(zip(AUGMENT, jax.random.split(KEY, len(AUGMENT)), strict=True))[name]
    np.testing.assert_array_equal(
        make_augment([f"{name}={strength}"])(KEY, images),
        AUGMENTATIONS[name](key, images, strength),
    )


def test_strokes_are_scipys_dilated_and_eroded():
    """All the way, and half of it."""
    images, cross = ink(8), scipy.ndimage.generate_binary_structure(2, 1)
    for function, sign in ((scipy.ndimage.grey_dilation, 1), (scipy.ndimage.grey_erosion, -1)):
        expected = [function(image, footprint=cross, mode="constant", cval=0) for image in images]
        shares = np.full(8, sign, np.float32)
        np.testing.assert_allclose(run(thicken, images, shares), expected, atol=1e-6)
        halfway = (images + np.array(expected)) / 2
        np.testing.assert_allclose(run(thicken, images, shares / 2), halfway, atol=1e-6)


def test_blur_is_scipys():
    images = ink(4, 12, 20)
    deviations = np.array([0.3, 0.7, 1.0, 2.5], np.float32)
    expected = [
        scipy.ndimage.gaussian_filter(image, deviation, mode="constant", truncate=12)
        for image, deviation in zip(images, deviations, strict=True)
    ]
    np.testing.assert_allclose(run(soften, images, deviations), expected, atol=1e-6)


def test_a_wide_blur_is_scipys():
    """Of a Gaussian as wide as the image, up to two sides away from each pixel."""
    images = ink(3, 10, 10)
    deviations = np.array([5.0, 10.0, 20.0], np.float32)
    expected = [
        scipy.ndimage.gaussian_filter(image, deviation, mode="constant", truncate=20 / deviation)
        for image, deviation in zip(images, deviations, strict=True)
    ]
    np.testing.assert_allclose(run(soften, images, deviations), expected, rtol=1e-4)


def test_a_blurred_dot_keeps_its_ink_and_widens_as_drawn():
    dots = np.zeros((2_000, 41, 41), np.float32)
    dots[:, 20, 20] = 1
    result = run(blur, KEY, dots, strength=2.0)
    np.testing.assert_allclose(result.sum(axis=(1, 2)), 1, atol=1e-5)
    away = (np.arange(41) - 20) ** 2
    deviations = np.sqrt((result.sum(axis=1) * away).sum(axis=1))
    wide = deviations[deviations > 0.6]  # a narrow Gaussian falls between the pixels
    assert kstest(wide, "uniform", (0.6, 1.4)).pvalue > 0.01


def test_a_bend_is_resampled_as_scipy_does():
    images = ink(5, 12, 20)
    bends = np.asarray(bends_of(KEY, images.shape, 1.5))
    rows, columns = np.mgrid[:12, :20]
    expected = [
        scipy.ndimage.map_coordinates(image, [rows + bend[0], columns + bend[1]], order=1)
        for image, bend in zip(images, bends, strict=True)
    ]
    inside = np.stack([rows + bends[:, 0], columns + bends[:, 1]])
    inside = (inside > 0).all(axis=0) & (inside[0] < 11) & (inside[1] < 19)
    assert inside.mean() > 0.7
    result = run(elastic, KEY, images, strength=1.5)
    np.testing.assert_allclose(result[inside], np.array(expected)[inside], atol=1e-5)


def test_bends_are_as_wide_as_asked_for_and_smooth():
    """Over many draws: in the middle and in the corners alike; by rows and columns independent."""
    bends = np.asarray(bends_of(KEY, (4_000, 28, 28), 1.5))
    np.testing.assert_allclose(bends.std(axis=0), 1.5, rtol=0.05)
    np.testing.assert_allclose(bends.mean(axis=0), 0, atol=0.1)
    assert abs(np.corrcoef(bends[:, 0, 14, 14], bends[:, 1, 14, 14])[0, 1]) < 0.05
    neighbors = np.corrcoef(bends[:, 0, 14, 14], bends[:, 0, 14, 15])[0, 1]
    assert neighbors > 0.95
    assert abs(np.corrcoef(bends[:, 0, 2, 2], bends[:, 0, 25, 25])[0, 1]) < 0.05
    assert GRID == 7


def test_a_bend_comes_before_the_matrix():
    """In one resampling they do what they do in two, where the image is smooth."""
    images = soften(jnp.asarray(ink(5)), jnp.full(5, 3.0))
    bends = bends_of(KEY, images.shape, 0.5)
    turn = jnp.tile(jnp.array([[0.98, 0.2], [-0.2, 0.98]], jnp.float32), (5, 1, 1))
    at_once = np.asarray(resample(images, Warp(turn, bends)))
    in_two = np.asarray(resample(affine(images, turn), Warp(bends=bends)))
    np.testing.assert_allclose(at_once[:, 8:20, 8:20], in_two[:, 8:20, 8:20], atol=0.01)


def test_contrast_and_noise_are_as_strong_as_drawn():
    images = np.full((3_000, 28, 28), 0.5, np.float32)
    factors = 2 * run(contrast, KEY, images, strength=0.5)
    assert np.ptp(factors, axis=(1, 2)).max() < 1e-6
    assert kstest(factors[:, 0, 0], "uniform", (0.5, 0.5)).pvalue > 0.01
    deviations = run(noise, KEY, images, strength=0.1).std(axis=(1, 2))
    assert kstest(deviations, "uniform", (0, 0.1)).pvalue > 0.01
    loud = run(noise, KEY, images, strength=5.0)
    assert (loud.min(), loud.max()) == (0, 1)


def test_what_is_erased_is_a_rectangle():
    images = ink(3_000, 12, 20)
    gone = run(erase, KEY, images, strength=4) == 0
    kept = np.where(gone, images, run(erase, KEY, images, strength=4))
    np.testing.assert_array_equal(kept, images)
    rows, columns = gone.any(axis=2), gone.any(axis=1)
    np.testing.assert_array_equal(gone, rows[:, :, None] & columns[:, None, :])
    for lines in (rows, columns):
        edges = np.abs(np.diff(lines.astype(int), axis=1, prepend=0, append=0)).sum(axis=1)
        assert set(edges) == {0, 2}  # in one piece, or none
    inside = gone[~gone[:, -4:].any(axis=(1, 2)) & ~gone[:, :, -4:].any(axis=(1, 2))]
    heights = inside.any(axis=2).sum(axis=1)
    assert set(heights) == {0, 1, 2, 3, 4}
    starts = rows[rows.any(axis=1)].argmax(axis=1)
    assert set(starts) == set(range(12))


@pytest.mark.parametrize("function", [*CHANGES.values(), jitter, ALL], ids=EVERY)
def test_channels_change_alike(function):
    """Each as an image without channels does, with the same key; those that bend, of any size."""
    for height, width in ((12, 20), (33, 9)) if function in (elastic, blur) else ((12, 20),):
        images = np.stack([ink(5, height, width, seed) for seed in range(3)], axis=-1)
        together = run(function, KEY, images)
        assert together.shape == images.shape
        for channel in range(3):
            alone = run(function, KEY, images[..., channel])
            np.testing.assert_allclose(together[..., channel], alone, atol=1e-6)


def test_geometry_of_channels():
    images = np.stack([ink(4, 9, 14, seed) for seed in range(2)], axis=-1)
    moves, turn = np.full((4, 2), 2, np.int32), np.full((4, 2, 2), 0.5, np.float32)
    shares = np.linspace(-1, 1, 4).astype(np.float32)
    for function in (
        lambda images: translate(images, jnp.asarray(moves), most=2),
        lambda images: affine(images, jnp.asarray(turn)),
        lambda images: thicken(images, jnp.asarray(shares)),
        lambda images: soften(images, jnp.asarray(shares + 1)),
    ):
        change = jax.jit(function)
        together = np.asarray(change(images))
        for channel in range(2):
            alone = change(images[..., channel])
            np.testing.assert_allclose(together[..., channel], alone, atol=1e-6)


def test_a_tpus_ways_give_the_same_images():
    """Shifts by choosing, also out of the image, and warps as products, channels included."""
    random = np.random.default_rng(0)
    for height, width, most in ((28, 28, 2), (5, 9, 6)):
        images = jnp.asarray(ink(20, height, width))
        moves = jnp.asarray(random.integers(-most, most + 1, (20, 2)).astype(np.int32))
        turns = jnp.asarray((np.eye(2) + random.uniform(-0.5, 0.5, (20, 2, 2))).astype(np.float32))
        bends = jnp.asarray(random.normal(0, 3, (20, 2, height, width)).astype(np.float32))
        changes = {
            "shift": lambda some, moves=moves, most=most: translate(some, moves, most=most),
            "warp": lambda some, turns=turns, bends=bends: resample(some, Warp(turns, bends)),
            "bend": lambda some, bends=bends: resample(some, Warp(None, bends)),
        }
        for name, change in changes.items():
            for given in (images, jnp.stack([images, images / 2], axis=-1)):
                expected = jax.jit(change)(given)
                with tracing_for("tpu"):
                    found = jax.jit(lambda some, change=change: change(some))(given)
                assert not np.array_equal(expected, given)
                np.testing.assert_allclose(found, expected, atol=0 if name == "shift" else 1e-5)


def test_products_are_not_rounded_where_there_are_few_bits():
    """On a GPU or a TPU, which would round what they multiply."""
    images, turn = jnp.ones((2, 6, 6)), Warp(jnp.ones((2, 2, 2)))
    calls = {
        "soften": (lambda images: soften(images, jnp.ones(2)), 2),
        "compose": (lambda images: warp.compose(Warp(images[:, :2, :2]), turn).matrices, 1),
        "resample": (lambda images: resample(images, turn), 1),
    }
    for name, (function, count) in calls.items():
        with tracing_for("tpu"):
            text = str(jax.make_jaxpr(function)(images))
        assert text.count("dot_general[") == count, name
        assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == count, name


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_floats_have_32_bits_whatever_jax_s_own_have(name):
    """Arrays of wider ones would take twice the time."""
    images = jax.ShapeDtypeStruct((2, 6, 6), jnp.float32)
    with jax.enable_x64(True):
        text = str(jax.make_jaxpr(CHANGES[name])(jax.random.key(0), images))
    assert "f32[2,6,6]" in text
    assert not re.findall(r"f64\[\d.*?\]", text)


def test_copies_differ_and_are_the_same_every_time(rng):
    pixels = jnp.asarray(rng.integers(0, 256, (20, 28, 28), dtype=np.uint8))
    first, second = map(np.asarray, jittered_copies(pixels, draws=2))
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(next(jittered_copies(pixels, draws=1)), first)
    exact = np.asarray(jitter(jax.random.key(0), pixels.astype(jnp.float32) / 255))
    np.testing.assert_allclose(first, 255 * exact, atol=1e-3)


@pytest.mark.parametrize("size", [5, 28, 41])
def test_between_places_of_a_bend_lies_a_cubic_spline(size):
    """As scipy has it, each place with the variance of one move."""
    basis = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    places = np.linspace(1, warp.GRID - 2, size)[:, None] - np.arange(warp.GRID)
    weights = np.nan_to_num(basis(places))
    expected = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    np.testing.assert_allclose(warp._spline(size), expected, atol=1e-6)
