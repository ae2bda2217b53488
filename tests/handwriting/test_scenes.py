"""Scenes: pages whose every pixel is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from settled import draw_scenes, outline_scenes, settled

from jaxdigits.handwriting import glyphs, page_network, scenes
from jaxdigits.handwriting.scene_layout import SIZE


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, scenes.Truth]:
    """Scenes and their truth."""
    return draw_scenes()


def test_distances_of_a_bar() -> None:
    """A bar 6 pixels wide is 3 deep; its box is where it is; far away is -4 pixels."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 11:17] = 255
    found = glyphs.prepare(image)
    np.testing.assert_allclose(found.boxes[0], [4, 11, 24, 17], atol=0.34)
    assert 2.5 <= float(found.depths[0]) <= 3.1
    distances = np.asarray(found.distances[0], np.float32) * 4 / 127
    np.testing.assert_allclose(distances[14, 11:17], [0.5, 1.5, 2.5, 2.5, 1.5, 0.5], atol=0.4)
    assert distances[14, 0] == -4


def test_how_far_characters_are_apart_that_touch() -> None:
    """An L and a 7 reach over each other; bars do not; what never meets stands side by side."""
    images = np.zeros((3, 28, 28), np.uint8)
    images[0, 4:24, 4:8] = images[0, 20:24, 4:20] = 255  # an L
    images[1, 4:8, 4:20] = images[1, 4:24, 16:20] = 255  # a 7
    images[2, 4:24, 12:16] = 255  # a bar
    found = glyphs.prepare(images)
    widths = found.boxes[:, 3] - found.boxes[:, 1]

    def reach(*order: int) -> float:
        chosen = jnp.array(order)
        return float(
            glyphs.reach(
                found.edges[chosen], found.boxes[chosen], jnp.zeros(len(order)),
                jnp.ones((len(order), 2)), widths[chosen], jnp.asarray(20.0),
                jnp.ones(len(order), bool),
            )[0]
        )  # fmt: skip

    assert reach(2, 2) == pytest.approx(4, abs=0.4)
    assert reach(0, 2) == pytest.approx(10, abs=0.4)  # the L's foot meets the bar
    assert reach(0, 1) == pytest.approx(0.3 * 16, abs=0.2)  # 4, but they do not hide each other


def test_scenes_are_those_that_the_page_network_was_trained_on(drawn) -> None:
    """The same keys give the same scenes, and all of them differ."""
    now, before = outline_scenes(*drawn), settled("scenes")
    for number, (scene, known) in enumerate(zip(now, before, strict=True)):
        assert scene.keys() == known.keys()
        for name, values in scene.items():
            message = f"{name} of scene {number}"
            np.testing.assert_allclose(values, known[name], 2e-3, 2e-4, err_msg=message)
    assert len({tuple(scene["pixels"]) for scene in now}) == len(now)


def test_the_truth_fits_together(drawn: tuple[np.ndarray, scenes.Truth]) -> None:
    """Pixels and ink are 0..1, nothing is beyond the border, and offsets lead to few places."""
    pixels, truth = drawn
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert np.isfinite(pixels).all()
    assert (pixels[truth.valid == 0] == 0).all()
    assert (truth.ink[truth.valid == 0] == 0).all()
    assert 0 <= truth.classes.min() <= truth.classes.max() < scenes.NUM_CLASSES
    np.testing.assert_allclose((truth.up**2).sum(axis=1), 1, rtol=1e-5)
    for number in range(len(pixels)):
        inked = (truth.ink[number] > 0.5) & (truth.classes[number] > 0)
        places = np.argwhere(inked) + 0.5 + scenes.UNIT * truth.offsets[number][inked]
        # All pixels of a character point to one place, to a tenth of a pixel.
        assert len(np.unique(np.round(places, 1), axis=0)) < 0.3 * max(len(places), 10)
        # And if that is within the picture, it is one of the middles.
        near = truth.middles[number]
        within = ((places >= 0) & (places < SIZE)).all(axis=1)
        rows, columns = (places[within] / 2).astype(int).T
        assert near.min() < 0 or (near[rows, columns] > 0.4).all()


def test_ink_differs_from_what_is_around_it(drawn: tuple[np.ndarray, scenes.Truth]) -> None:
    """In nearly all scenes the ink of characters is darker or brighter than the ground near it."""
    pixels, truth = drawn
    seen = 0
    for page, ink, valid in zip(pixels, truth.ink, truth.valid, strict=True):
        ground = (ink == 0) & (valid == 1)
        if (ink > 0.9).sum() > 30:
            gray = page.mean(axis=-1)
            seen += abs(gray[ink > 0.9].mean() - gray[ground].mean()) > 0.02
    assert seen >= 32


def test_blocks_are_taken_apart_and_put_together() -> None:
    """Blocks of 2x2 lose nothing, and keep each pixel in its place."""
    images = jnp.arange(2 * 4 * 6 * 3, dtype=jnp.float32).reshape(2, 4, 6, 3)
    blocks = page_network._to_blocks(images)
    assert blocks.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(blocks[0, 0, 0], images[0, :2, :2].reshape(-1))
    np.testing.assert_array_equal(page_network._from_blocks(blocks), images)


def test_the_network_is_fully_convolutional() -> None:
    """What is moved by its multiple gives what is moved, away from the border."""
    params = page_network.init(jax.random.key(0))
    image = jax.random.uniform(jax.random.key(1), (1, 64, 64, 4))
    step = page_network.MULTIPLE
    wide = jnp.pad(image, ((0, 0), (160, 160), (160, 160), (0, 0)), constant_values=0.5)
    moved = jnp.roll(wide, (step, 2 * step), axis=(1, 2))
    first, second = (page_network.apply(params, x) for x in (wide, moved))
    assert first.logits.shape == (1, 384, 384, scenes.NUM_CLASSES)
    assert first.offsets.shape == first.up.shape == (1, 192, 192, 2)
    np.testing.assert_allclose(
        jnp.roll(first.logits, (step, 2 * step), axis=(1, 2))[:, 160:256, 160:256],
        second.logits[:, 160:256, 160:256],
        atol=2e-3,
    )
