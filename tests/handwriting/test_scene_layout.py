"""Where the characters of scenes are: over many keys, within their limits and up to them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from settled import draw_layouts, outline_layouts, settled, some_digits

from jaxdigits.handwriting import scene_layout
from jaxdigits.handwriting.glyphs import SCRIBBLE, SIGNS, WIDTHS, Characters, prepare
from jaxdigits.handwriting.scene_layout import LARGEST, SIZE, SLOTS, SMALLEST, USUAL, Layout

NUMBER = np.arange(SLOTS)


@pytest.fixture(scope="module")
def layouts() -> Layout:
    return draw_layouts()


@pytest.fixture(scope="module")
def widths(layouts: Layout) -> np.ndarray:
    """Of the ink of each slot, in heights."""
    boxes = np.asarray(some_digits().boxes)[layouts.which]
    wide = (boxes[..., 3] - boxes[..., 1]) * layouts.sizes[..., 1] / layouts.height[:, None]
    return np.where(layouts.shapes < 0, wide, WIDTHS[layouts.shapes])


def check_range(values: Any, low: float, high: float, near: float = 0.03) -> None:
    """Whether they are within limits, and come near both."""
    room = near * (high - low)
    assert low - 1e-4 * abs(low) <= values.min() < low + room
    assert high - room < values.max() <= high + 1e-4 * abs(high)


def test_layouts_are_those_of_the_scenes_that_the_page_network_was_trained_on(layouts) -> None:
    """The same keys give the same layouts; all of them differ."""
    now, before = outline_layouts(layouts), settled("layouts")
    for number, (some, known) in enumerate(zip(now, before, strict=True)):
        assert some.keys() == known.keys()
        for name, values in some.items():
            message = f"{name} of layouts {number}"
            np.testing.assert_allclose(values, known[name], 2e-3, 2e-4, err_msg=message)
    assert len(np.unique(layouts.height)) == len(layouts.height)


def test_heights(layouts: Layout) -> None:
    """Most scenes are as if they had been brought to the usual size; others are of any size."""
    assert (SIZE, SMALLEST, LARGEST, USUAL) == (256, 16, 54, 34)
    known, heights = layouts.known, layouts.height
    assert known.mean() == pytest.approx(0.6, abs=0.05)
    check_range(heights[known], 22, 50)
    assert np.median(heights[known]) == pytest.approx(np.sqrt(22 * 50), rel=0.05)
    others = heights[~known]
    small = others < SMALLEST
    assert small.mean() == pytest.approx(0.14, abs=0.04)
    check_range(others[small], 4, 16, 0.1)
    check_range(others[~small], 16, 1.05 * 54)
    check_range(layouts.spacing / heights, 1.25, 2.4)
    check_range(layouts.pitch / heights, 1.05, 1.9)


def test_how_many_there_are(layouts: Layout) -> None:
    """As many lines and columns as there is room for, if there are slots; some are left empty."""
    room = np.clip(SIZE / (1.1 * layouts.height), 1, 14).astype(int)
    assert layouts.per_line.min() == 1
    assert (layouts.per_line <= room).all()
    several = room > 3
    full, alone = (layouts.per_line == room)[several], (layouts.per_line == 1)[several]
    each = (1 / room[several]).mean()
    assert full.mean() == pytest.approx(0.9 * each, abs=0.05)
    assert alone.mean() == pytest.approx(0.9 * each + 0.1, abs=0.05)
    fit = np.clip(SIZE / (1.6 * layouts.height), 1, 8).astype(int)
    assert layouts.lines.min() == 1
    assert (layouts.lines <= np.minimum(fit, SLOTS // layouts.per_line)).all()
    free = (fit > 1) & (fit * layouts.per_line <= SLOTS)
    each = (1 / fit[free]).mean()
    assert (layouts.lines == 1)[free].mean() == pytest.approx(0.45 + 0.55 * each, abs=0.06)
    assert (layouts.lines == fit)[free].mean() == pytest.approx(0.55 * each, abs=0.06)
    cells = (layouts.lines * layouts.per_line)[:, None] > NUMBER
    assert not layouts.used[~cells].any()
    blank = ~layouts.used.any(axis=1)
    assert blank.mean() == pytest.approx(0.05, abs=0.025)
    assert layouts.used[~blank][cells[~blank]].mean() == pytest.approx(0.97, abs=0.01)


def test_what_there_is(layouts: Layout) -> None:
    """Digits of all kinds; signs in half of the scenes, all as often; a few scribbles."""
    shapes = layouts.shapes
    assert np.bincount(layouts.which.ravel(), minlength=200).min() > 60
    assert layouts.which.max() == 199
    assert (shapes == SCRIBBLE).mean() == pytest.approx(0.015, abs=0.003)
    signs = (shapes >= 0) & (shapes < SCRIBBLE)
    signed = signs.any(axis=1)
    assert signed.mean() == pytest.approx(0.5, abs=0.05)
    shares = signs[signed].mean(axis=1)  # 0.1..0.5 of all
    assert shares.mean() == pytest.approx(0.3 * 0.985, abs=0.02)
    assert shares.std() == pytest.approx(np.sqrt(0.4**2 / 12 + 0.3 * 0.7 / SLOTS), abs=0.015)
    counts = np.bincount(shapes[signs], minlength=len(SIGNS))
    np.testing.assert_allclose(counts / counts.sum(), 1 / len(SIGNS), atol=0.02)
    assert shapes.min() == -1


def test_sizes(layouts: Layout) -> None:
    """An image of 20 pixels is of the height, more or less; all of a scene are wide, or narrow."""
    tall = np.log(20 * layouts.sizes[..., 0] / layouts.height[:, None])
    assert tall.mean() == pytest.approx(0, abs=0.01)
    assert tall.std(axis=1).mean() == pytest.approx(0.1, abs=0.005)
    aspects = np.log(layouts.sizes[..., 1] / layouts.sizes[..., 0])
    assert aspects.mean(axis=1).std() == pytest.approx(0.15, abs=0.015)
    assert aspects.std(axis=1).mean() == pytest.approx(0.05, abs=0.003)


def test_turns_and_places(layouts: Layout) -> None:
    """What is known to be upright nearly is; the block of writing is in the scene if it fits."""
    degrees, known = np.rad2deg(layouts.angle), layouts.known
    assert np.abs(degrees[known]).max() <= 10.51
    assert degrees[known].std() == pytest.approx(3.5, abs=0.4)
    check_range(degrees[~known], -180, 180, 0.05)
    # 30% nearly upright; 30%, and a fifth of all others, up to 35 degrees.
    share = np.mean(np.abs(degrees[~known]) < 35)
    assert share == pytest.approx(0.6 + 0.4 * 35 / 180, abs=0.08)
    assert np.mean(np.abs(degrees[~known]) < 4) == pytest.approx(0.3 * 0.82 + 0.3 * 0.11, abs=0.09)
    room = np.maximum(SIZE / 2 - layouts.block, 0.1 * SIZE)
    for axis in (0, 1):
        check_range((layouts.center - SIZE / 2)[:, axis] / room[:, axis], -1, 1)


def test_the_block_is_what_is_used(layouts: Layout, widths: np.ndarray) -> None:
    """From the left side of the first to the right side of the last, from its middle."""
    height = layouts.height[:, None]
    some = layouts.used.any(axis=1)
    across, along = (
        np.ma.array(layouts.places[..., axis], mask=~layouts.used)[some] for axis in (0, 1)
    )
    half, tall, block = (widths * height)[some] / 2, layouts.height[some], layouts.block[some]
    np.testing.assert_allclose((along - half).min(axis=1), -block[:, 1], rtol=1e-3, atol=0.01)
    np.testing.assert_allclose((along + half).max(axis=1), block[:, 1], rtol=1e-3, atol=0.01)
    high = block[:, 0] - tall / 2
    np.testing.assert_allclose(across.min(axis=1), -high, rtol=1e-3, atol=0.01)
    np.testing.assert_allclose(across.max(axis=1), high, rtol=1e-3, atol=0.01)
    np.testing.assert_array_equal(layouts.block[~some], np.stack([layouts.height[~some]] * 2, 1))


def test_characters_in_cells(layouts: Layout) -> None:
    """30% are in cells, straight below each other, but for 8% of the height."""
    assert layouts.cells.mean() == pytest.approx(0.3, abs=0.05)
    per_line = layouts.per_line[:, None]
    row, column = NUMBER // per_line, NUMBER % per_line
    off = layouts.places - np.stack(
        [row * layouts.spacing[:, None], column * layouts.pitch[:, None]], axis=2
    )
    off = off[layouts.cells] / layouts.height[layouts.cells, None, None]
    assert off[..., 1].std(axis=1).mean() == pytest.approx(0.08, abs=0.004)
    # They stand on the line or in the middle of it.
    drops = np.median(off[..., 0].std(axis=1))
    assert 0.045 < drops < 0.09


def test_characters_in_lines(layouts: Layout, widths: np.ndarray) -> None:
    """The gaps between neighbors: close, apart, or usual; with spaces; or they touch."""
    written = ~layouts.cells & (layouts.per_line > 4)
    places, wide = layouts.places[written], widths[written]
    height = layouts.height[written, None]
    beside = NUMBER[1:] % layouts.per_line[written][:, None] > 0
    steps = np.diff(places[..., 1], axis=1) / height
    gaps = np.where(beside, steps - (wide[:, 1:] + wide[:, :-1]) / 2, np.nan)
    usual = np.nanmedian(gaps, axis=1)
    # 10% are close, 20% apart, 30% touch: a quarter of those do not, and some have no ink there.
    assert np.mean(usual > 0.43) == pytest.approx(0.2, abs=0.06)
    assert np.mean(usual < 0.04) == pytest.approx(0.1 + 0.3, abs=0.08)
    check_range(usual[usual > 0.43], 0.43, 1.2, 0.15)
    assert -0.12 < usual.min() < -0.06
    # Lines slope by 3%.
    slopes = [
        np.polyfit(x[:count], y[:count], 1)[0]
        for (y, x), count in zip(places.transpose(0, 2, 1), layouts.per_line[written], strict=True)
    ]
    assert np.std(slopes) == pytest.approx(0.035, abs=0.008)


def test_where_lines_start(layouts: Layout) -> None:
    """In half of the scenes all at one place; in the others the height apart."""
    several = ~layouts.cells & (layouts.lines > 1)
    second = layouts.places[several, layouts.per_line[several], 1]
    apart = (second - layouts.places[several, 0, 1]) / layouts.height[several]
    ragged = np.abs(apart) > 1e-3
    assert ragged.mean() == pytest.approx(0.5, abs=0.1)
    assert apart[ragged].std() == pytest.approx(np.sqrt(2), abs=0.25)


@pytest.fixture(scope="module")
def short() -> Characters:
    """A bar of half the usual height."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 9:19, 11:17] = 255
    return prepare(image)


def many(function: Any, number: int, *arguments: Any) -> Any:
    """What it gives with many keys, each of which is split as that of a scene."""
    each = jax.vmap(lambda key: function(iter(jax.random.split(key, 48)), *arguments))
    return jax.device_get(jax.jit(each)(jax.random.split(jax.random.key(3), number)))


def test_short_characters_stand_on_the_line(short: Characters) -> None:
    """In half of the scenes: a quarter of the height below its middle. Signs never do."""
    shapes, _, sizes, drop, _ = many(scene_layout._characters, 200, short, jnp.asarray(40.0))
    written = shapes < 0
    below = np.array([np.median(row[some]) for row, some in zip(drop, written, strict=True)])
    standing = below > 5
    assert standing.mean() == pytest.approx(0.5, abs=0.1)
    assert abs(np.median(below[~standing])) < 0.5
    rest = (drop - 10 * sizes[..., 0] / 2)[standing]
    assert rest[written[standing]].mean() == pytest.approx(0, abs=0.1)
    assert rest[written[standing]].std() == pytest.approx(0.05 * 40, rel=0.1)
    for shape in (0, 3, SCRIBBLE):
        assert abs(drop[shapes == shape].mean()) < 0.6


def test_signs_that_touch_do_so_at_their_sides(short: Characters) -> None:
    """Also the first of them: no rows of a character say how far a dash reaches."""
    ones = jnp.ones(SLOTS)
    sizes, height = jnp.ones((SLOTS, 2)), jnp.asarray(20.0)
    signs = jnp.zeros(SLOTS, jnp.int32)
    given = (signs, signs, sizes, 0 * ones, 40 * ones)
    steps = many(scene_layout._steps, 200, short, height, *given)
    assert steps.min() == pytest.approx(40 - 0.1 * 20 - 2, abs=2)
    narrow = many(scene_layout._steps, 200, short, height, signs - 1, *given[1:])
    assert narrow.min() < 0.3 * 40 + 0.03 * 20


def test_an_empty_page_has_its_block_in_the_middle() -> None:
    places, none = jnp.linspace(-5.0, 90.0, SLOTS), jnp.zeros(SLOTS, bool)
    middle, block = scene_layout._block(places, places, places, none, jnp.asarray(30.0))
    np.testing.assert_array_equal(middle, [0, 0])
    np.testing.assert_array_equal(block, [30, 30])


@pytest.mark.parametrize("known", [True, False])
def test_how_far_pages_are_turned(known: bool) -> None:
    """What is known to be upright to 3 deviations of 3.5 degrees; others to any side."""
    degrees = np.rad2deg(many(scene_layout._angle, 4000, jnp.asarray(known)))
    if known:
        check_range(degrees, -10.5, 10.5, 1e-3)
        assert np.std(degrees) == pytest.approx(3.5, rel=0.05)
    else:
        check_range(degrees, -180, 180)
