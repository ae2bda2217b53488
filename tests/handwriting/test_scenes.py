"""Scenes: pages whose every pixel is known."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from settled import draw_scenes, outline_scenes, parts, settled, some_digits

from jaxdigits.handwriting import glyphs, page_network, scenes
from jaxdigits.handwriting.scene_layout import SIZE, Layout


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, scenes.Truth]:
    """Scenes and their truth."""
    return draw_scenes()


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
    assert seen >= 16


def truth_of(height: float, *, known: bool = False, near: bool = False) -> scenes.Truth:
    """The truth of a scene with a stroke in its middle, the left side of which is cut off."""
    layout = Layout(*[jnp.array(0)] * len(Layout._fields))
    layout = layout._replace(
        height=jnp.array(height), angle=jnp.array(np.pi / 6), known=jnp.array(known)
    )
    ink = jnp.zeros((SIZE, SIZE)).at[120:128, 128:192].set(1.0).at[:, 192:].set(0.06)
    valid = jnp.ones((SIZE, SIZE)).at[:, :160].set(0.0)
    blocks = jnp.full((SIZE // 2, SIZE // 2), 0.7)
    offsets = jnp.zeros((SIZE, SIZE, 2))
    written = (ink, jnp.zeros((SIZE, SIZE), jnp.int32), offsets, blocks, ink)
    with pytest.MonkeyPatch.context() as patch:
        for name, result in (
            ("make_layout", layout),
            ("_write", written),
            ("draw_ground", (offsets, ink)),
            ("_ink", offsets),
            ("light", jnp.stack([ink] * 3, axis=-1)),
            ("crop", valid),
            ("chance", jnp.array(near)),
        ):
            patch.setattr(scenes, name, lambda *_, result=result: result)
        pixels, truth = scenes.scene(jax.random.key(0), some_digits())
    assert (np.asarray(pixels)[np.asarray(truth.valid) == 0] == 0).all()
    assert pixels.max() == 1
    return jax.tree.map(np.asarray, truth)


@pytest.mark.parametrize(
    ("height", "counts"),
    [
        (12.9, "none is seen"), (13.0, "no"), (15.9, "no"), (16.0, "yes"), (54.0, "yes"),
        (54.1, "no"), (70.2, "no"), (70.3, "none is seen"),
    ],
)  # fmt: skip
def test_characters_of_which_heights_count(height: float, counts: str) -> None:
    """From 16 to 54 pixels; much smaller and larger ones are none, and nearly such do not count."""
    truth = truth_of(height)
    inside = (slice(120, 128), slice(160, 192))
    ink = 0 if counts == "none is seen" else 1
    assert (truth.ink[inside] == ink).all()
    assert (truth.ink[:, :160] == 0).all()
    assert (truth.written[inside] == 1).all()
    assert (truth.written[:, :160] == 0).all()
    middle = {"none is seen": 0, "no": -1, "yes": 0.7}[counts]
    np.testing.assert_allclose(truth.middles, middle, rtol=1e-6)
    # What may be ink of characters that do not count is not to be learned; nor what is cut off.
    assert (truth.counts[inside] == (counts != "no")).all()
    assert (truth.counts[:, 192:] == (counts != "no")).all()
    assert (truth.counts[:120, 160:192] == 1).all()
    assert (truth.counts[:, :160] == 0).all()
    np.testing.assert_allclose(truth.up, [np.cos(np.pi / 6), 0.5], rtol=1e-6)
    assert truth.size == pytest.approx(np.log(height / 34), abs=1e-6)
    assert truth.known == 0


def test_what_is_seen_from_near_is_none() -> None:
    """It is twice as large; not if it is known to be of the usual size, or small."""
    truth = truth_of(36.73, near=True)
    assert truth.size == pytest.approx(np.log(2 * 36.73 / 34), abs=1e-6)
    assert (truth.ink == 0).all()
    assert (truth.middles == 0).all()
    # Rows 120..127 and the columns from 128 on, twice as far from the middle, to the border.
    inside = truth.valid == 1
    np.testing.assert_array_equal(inside[:, 193:], True)
    np.testing.assert_array_equal(truth.valid[:, :191], False)
    assert (truth.written[113:127, 193:254] == 1).all()
    assert (truth.written[:111, 193:254] == 0).all()
    assert (truth.written[129:, 193:254] == 0).all()
    for truth in (truth_of(36.73, known=True, near=True), truth_of(36.71, near=True)):
        assert truth.size < np.log(37 / 34)
        assert truth.ink.max() == 1
        assert truth.valid[0, 160] == 1
    assert truth_of(36.73, known=True).known == 1


def test_what_the_network_is_given() -> None:
    """A half within the picture, 1 where scale and turn are known, 0 beyond its border."""
    truth = truth_of(20.0)
    pixels = np.random.default_rng(0).random((SIZE, SIZE, 3), np.float32)
    for known in (0, 1):
        truth = truth._replace(known=np.array(known, np.float32))
        seen = scenes.network_input(jnp.asarray(pixels), jax.tree.map(jnp.asarray, truth))
        np.testing.assert_array_equal(seen[..., :3], pixels)
        np.testing.assert_array_equal(seen[..., 3], truth.valid * (1 if known else 0.5))


@pytest.fixture(scope="module")
def written() -> tuple[Layout, tuple[np.ndarray, ...]]:
    """A digit, a point, a scribble, a slash, and one that is not used; 48 apart, 32 high."""
    layout = parts()["make_layout"](jax.random.key(0), some_digits())
    places = np.zeros(layout.places.shape, np.float32)
    places[:5, 1] = 48 * np.arange(-2, 3)
    shapes, sizes = np.full(len(places), -1), np.full(places.shape, 32 / 20, np.float32)
    shapes[1:4] = glyphs.SIGNS.index("."), glyphs.SCRIBBLE, glyphs.SIGNS.index("/")
    layout = layout._replace(
        height=jnp.full_like(layout.height, 32),
        angle=jnp.full_like(layout.angle, np.pi / 2),
        center=jnp.array([120.0, 140.0]),
        per_line=jnp.full_like(layout.per_line, 5),
        used=jnp.arange(len(places)) < 4,
        shapes=jnp.asarray(shapes, layout.shapes.dtype),
        places=jnp.asarray(places),
        sizes=jnp.asarray(sizes),
    )
    return layout, jax.device_get(parts()["_write"](jax.random.key(4), layout, some_digits()))


def test_ink_is_where_the_layout_says(written) -> None:
    """Turned by a right angle, lines go up: the first is lowest, and a point is to the right."""
    _, (ink, classes, offsets, middles, second) = written
    assert 0 <= ink.min() < ink.max() == 1
    assert set(np.unique(second)) <= {0.0, 1.0}
    point, slash = (2 + glyphs.SIGNS.index(sign) for sign in "./")
    rows = {scenes.CHARACTER: 216, point: 168, scenes.GROUND: 120, slash: 72}
    for kind, row in rows.items():
        near = ink[row - 16 : row + 17] > 0.5
        assert near.sum() > (3 if kind == point else 30)
        assert (classes[row - 16 : row + 17][near] == kind).all()
        columns = np.flatnonzero(near.any(axis=0))
        middle = 140 + (0.46 * 32 if kind == point else 0)
        assert (columns[0] + columns[-1] + 1) / 2 == pytest.approx(middle, abs=4)
        assert np.ptp(columns) < 1.6 * 32
    assert (ink[:48] == 0).all()  # where the fifth would be
    assert (ink[240:] == 0).all()
    # Offsets lead to one place for each, where it is; that of a scribble is not to be found.
    for kind, row in rows.items():
        inked = (ink > 0.5) & (classes == kind)
        inked[: row - 16] = inked[row + 17 :] = False
        places = np.argwhere(inked) + 0.5 + scenes.UNIT * offsets[inked]
        np.testing.assert_allclose(places, places[:1].repeat(len(places), axis=0), atol=0.01)
        middle = places[0]
        assert middle[0] == pytest.approx(row, abs=3)
        assert middle[1] == pytest.approx(140 + (0.46 * 32 if kind == point else 0), abs=4)
        # A bell is there, 7% of the height wide; blocks are of 2x2 pixels.
        blocks = np.moveaxis(np.mgrid[1:SIZE:2, 1:SIZE:2], 0, -1)
        near = np.abs(blocks - middle).max(axis=-1) < 15
        if kind == scenes.GROUND:
            assert middles[near].max() < 1e-3
            continue
        top = np.average(blocks[near], axis=0, weights=middles[near])
        # That of a sign is where it would be if it were as upright as its page.
        np.testing.assert_allclose(top, middle, atol=0.05 if kind == scenes.CHARACTER else 2)
        bell = np.exp(-0.5 * ((blocks[near] - top) ** 2).sum(axis=-1) / (0.07 * 32) ** 2)
        np.testing.assert_allclose(middles[near], bell, atol=0.01)


def test_two_in_one_place_are_no_more_than_a_middle(written) -> None:
    layout, _ = written
    layout = layout._replace(
        shapes=jnp.full_like(layout.shapes, -1),
        used=jnp.arange(len(layout.used)) < 2,
        places=jnp.zeros_like(layout.places),
    )
    *_, middles, _ = jax.device_get(parts()["_write"](jax.random.key(4), layout, some_digits()))
    away = np.hypot(*(np.mgrid[1:SIZE:2, 1:SIZE:2] - np.array([120, 140])[:, None, None]))
    bells = 2 * np.exp(-0.5 * (away / (0.07 * 32)) ** 2)
    assert bells.max() > 1.5
    np.testing.assert_allclose(middles, np.minimum(bells, 1), atol=0.01)


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
    found = jax.jit(page_network.apply)(params, jnp.concatenate([wide, moved]))
    assert found.logits.shape == (2, 384, 384, scenes.NUM_CLASSES)
    assert found.offsets.shape == found.up.shape == (2, 192, 192, 2)
    first, second = np.asarray(found.logits)
    np.testing.assert_allclose(
        np.roll(first, (step, 2 * step), axis=(0, 1))[160:256, 160:256],
        second[160:256, 160:256],
        atol=2e-3,
    )


@pytest.fixture(scope="module")
def inked() -> Callable[..., np.ndarray]:
    """Ink on 4x5 pixels with draws that are chosen: shares of their ranges, colors, and noise."""
    plain = {"one": (1.0, 0.5, 0.25), "two": (0.2, 0.4, 0.8), "strength": (1.0, 0.5)}
    plain |= {"other": 1.0, "less": 0.5, "rough": 0.5, "noise": 0.0, "texture": 1.0}

    def draw(keys: dict[str, Any], *given: jax.Array) -> jax.Array:
        first, chosen = jnp.zeros(()), [keys[name] for name in plain]

        def split(key: jax.Array, *_: int) -> Any:
            return chosen if key is first else key

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scenes, "random", SimpleNamespace(split=split))
            patch.setattr(scenes, "uniform", lambda key, low, high: low + (high - low) * key)
            patch.setattr(scenes, "chance", lambda key, share: key < share)
            patch.setattr(scenes, "noise", lambda key, cells: jnp.full((4, 5), key * cells))
            patch.setattr(scenes, "ink_color", lambda key, light: key)
            return scenes._ink(first, *given)

    compiled = jax.jit(draw)

    def inked(page: Any, ink: Any, rest: Any = 0.0, second: Any = 0.0, **keys: Any) -> np.ndarray:
        pixels = jnp.broadcast_to(jnp.asarray(page, jnp.float32), (4, 5, 3))
        marks = [
            jnp.broadcast_to(jnp.asarray(one, jnp.float32), (4, 5)) for one in (ink, rest, second)
        ]
        chosen = {name: jax.tree.map(jnp.float32, value) for name, value in (plain | keys).items()}
        chosen = {name: jnp.array(chosen[name]) for name in chosen}
        return np.asarray(compiled(chosen, pixels, *marks))

    return inked


def test_ink_darkens_paper_and_brightens_boards(inked) -> None:
    """By what is around it, most of it brighter than 0.45 or not; a weak pen's by little."""
    color = np.array([1.0, 0.5, 0.25])
    ink = np.zeros((4, 5), np.float32)
    ink[1, 1:4] = 1.0, 0.5, 0.31
    ink[2, 1] = 0.29
    for level, light in ((0.46, True), (0.44, False)):
        page = np.full((4, 5, 3), 1.0 - level)
        page[1, 1:4] = level
        for strength, share in (
            ((0.149, 0.0), 0.25), ((0.149, 1.0), 0.45), ((0.151, 0.0), 0.4), ((0.151, 1.0), 1.0),
        ):  # fmt: skip
            takes = share * color * ink[..., None]
            expected = page * (1 - takes) if light else page + (1 - page) * takes
            found = inked(page, ink, strength=strength)
            np.testing.assert_allclose(found, expected, atol=1e-5)
    # What is a third inked counts as well.
    page = np.full((4, 5, 3), 0.4)
    for third, light in ((0.56, True), (0.54, False)):
        page[1, 3] = third
        found = inked(page, ink)[1, 1]
        np.testing.assert_allclose(
            found, 0.4 * (1 - 0.7 * color) if light else 0.4 + 0.6 * 0.7 * color, atol=1e-5
        )
    # Lines of the pen are drawn with it, where there are no characters.
    rest = np.zeros((4, 5), np.float32)
    rest[1, 2], rest[3] = 0.9, 0.6
    takes = 0.7 * color * np.maximum(ink, rest)[..., None]
    np.testing.assert_allclose(inked(0.8, ink, rest), 0.8 * (1 - takes), atol=1e-5)
    # Nothing is written: that is as on a board.
    takes = 0.7 * color * 0.2
    np.testing.assert_allclose(inked(0.8, 0.2)[0, 0], 0.8 + 0.2 * takes, atol=1e-5)


def test_a_second_pen_and_paper_that_is_rough(inked) -> None:
    """In 30% of scenes it has another color, and 40% to all of its strength; 40% are rough."""
    one, two = 0.7 * np.array([1.0, 0.5, 0.25]), np.array([0.2, 0.4, 0.8])
    second = np.zeros((4, 5), np.float32)
    second[:, 2], second[:, 3] = 1.0, 0.4
    for less, share in ((0.0, 0.4), (1.0, 1.0)):
        expected = np.broadcast_to(1 - one, (4, 5, 3)).copy()
        expected[:, 2] = 1 - share * two
        found = inked(1.0, 1.0, second=second, other=0.299, less=less)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
        inked(1.0, 1.0, second=second, other=0.301)[0, 2], 1 - one, atol=1e-5
    )
    for noise, rough, less in (
        (0.0, 0.5, 0.25 * 0.5), (0.003, 1.0, 0.5 * (0.5 + 0.7 * 128 * 0.003)), (1.0, 1.0, 0.5),
        (-1.0, 1.0, 0.0), (0.003, 0.0, 0.0),
    ):  # fmt: skip
        found = inked(1.0, 1.0, texture=0.399, noise=noise, rough=rough)
        np.testing.assert_allclose(found[0, 0], 1 - one * (1 - less), atol=1e-5)
    np.testing.assert_allclose(inked(1.0, 1.0, texture=0.401)[0, 0], 1 - one, atol=1e-5)
