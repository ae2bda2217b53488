"""Characters that are measured and drawn again, and signs that a pen draws."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.handwriting import glyphs

SIDE = 64
PLACES = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
"""Rows and columns of what is drawn, from its middle."""

BAR, LETTER, BEAM, SEVEN, EMPTY, ROOF, FLOOR = range(7)


@pytest.fixture(scope="module")
def characters() -> glyphs.Characters:
    """A bar 6 pixels wide, an L, a lying bar as wide as the image, a 7, nothing, and two T.

    Those are as large as the image, and one stands on its head.
    """
    images = np.zeros((7, 28, 28), np.uint8)
    images[ROOF:, :, 11:17] = images[ROOF, 0] = images[FLOOR, 27] = 255
    images[BAR, 4:24, 11:17] = 255
    images[LETTER, 4:24, 4:8] = images[LETTER, 20:24, 4:20] = 255
    images[BEAM, 11:17] = 255
    images[SEVEN, 4:8, 4:20] = images[SEVEN, 4:24, 16:20] = 255
    return glyphs.prepare(images)


def test_nothing_is_far_from_all_strokes(characters: glyphs.Characters) -> None:
    np.testing.assert_array_equal(characters.middles[EMPTY], -127)
    np.testing.assert_array_equal(characters.distances[EMPTY], -127)
    assert characters.middles[BAR].max() > -16


@pytest.fixture(scope="module")
def drawn(characters: glyphs.Characters) -> Callable[..., np.ndarray]:
    """Draw an upright bar of its own size on 64x64 pixels, where nothing else is asked for."""
    compiled = jax.jit(glyphs.draw)
    plain = glyphs.Glyph(
        which=jnp.array(BAR),
        shape=jnp.array(-1),
        size=jnp.ones(2),
        angle=jnp.array(0.0),
        slant=jnp.array(0.0),
        bend=jnp.zeros((2, 2)),
        ends=jnp.zeros((8, 2, 2)),
        radius=jnp.array(1.5),
        thick=jnp.array(1.0),
        thin=jnp.array(False),
    )

    def draw(**changes) -> np.ndarray:
        glyph = plain._replace(**{name: jnp.asarray(value) for name, value in changes.items()})
        rows, columns = jnp.asarray(PLACES)[:, None], jnp.asarray(PLACES)[None]
        return np.asarray(compiled(characters, glyph, rows, columns, 20.0))

    return draw


def box_of(ink: np.ndarray) -> list[float]:
    """Top, left, bottom, and right of what is half covered or more, from the middle."""
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    return [side - SIDE / 2 for side in (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)]


def test_what_a_bar_measures(characters: glyphs.Characters) -> None:
    """A bar 6 pixels wide is 2.5 deep in its middle pixels; far away is -4 pixels."""
    np.testing.assert_array_equal(characters.boxes[BAR], [4, 11, 24, 17])
    assert float(characters.depths[BAR]) == 2.5
    assert characters.distances.dtype == characters.middles.dtype == np.int8
    distances, middles = (np.asarray(x[BAR], np.float32) * 4 / 127 for x in characters[:2])
    expected = np.clip(3 - np.abs(np.arange(28) - 13.5), -4, 4)
    np.testing.assert_allclose(distances[14], expected, atol=0.5 * 4 / 127)
    np.testing.assert_allclose(distances[:12, 14], np.clip(np.arange(12) - 3.5, -4, 2.5), atol=0.02)
    # The line in its middle is a third of a pixel wide; it ends where the bar's corners meet.
    expected = np.maximum(-np.abs(np.arange(28) - 13.5), -4)
    np.testing.assert_allclose(middles[14], expected, atol=0.34)
    assert middles[14].max() <= 0
    assert middles[:3, 14].max() <= -2.9
    edges = np.asarray(characters.edges[BAR])
    np.testing.assert_array_equal(edges[4:24], [[11, 17]] * 20)
    np.testing.assert_array_equal(edges[[0, 3, 24, 27]], [[1000, -1000]] * 4)


def test_what_a_letter_measures(characters: glyphs.Characters) -> None:
    """An L is wider below."""
    np.testing.assert_array_equal(characters.boxes[LETTER], [4, 4, 24, 20])
    edges = np.asarray(characters.edges[LETTER])
    np.testing.assert_array_equal(edges[[4, 18]], [[4, 8]] * 2)
    np.testing.assert_allclose(edges[19], [4, 8 + 1 / 3], rtol=1e-6)  # its corner is filled
    np.testing.assert_array_equal(edges[[20, 23]], [[4, 20]] * 2)


def test_nothing_is_nowhere(characters: glyphs.Characters, drawn) -> None:
    """A picture without ink has no depth, no edges, and draws nothing, with any pen."""
    np.testing.assert_array_equal(characters.boxes[EMPTY], [0, 0, 0, 0])
    assert float(characters.depths[EMPTY]) == pytest.approx(0.3)
    np.testing.assert_array_equal(characters.edges[EMPTY], [[1000, -1000]] * 28)
    for thin in (False, True):
        assert drawn(which=EMPTY, thin=thin).max() == 0


@pytest.mark.parametrize(("value", "thirds"), [(164, 1), (165, 1), (166, 3), (255, 3)])
def test_ink_is_what_is_brighter_than_110(value: int, thirds: int) -> None:
    """Values are on lines between pixels: a third of a pixel away 166 is 110.7, and 165 is 110."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 10, 20] = value
    found = glyphs.prepare(image)
    start, end = (3 - thirds) / 6, (3 + thirds) / 6
    box = [10 + start, 20 + start, 10 + end, 20 + end]
    np.testing.assert_allclose(found.boxes[0], box, rtol=1e-6)
    np.testing.assert_allclose(found.edges[0, 10], [20 + start, 20 + end], rtol=1e-6)
    # From the middle of the pixel to that of the nearest third without ink, less half a third.
    inside = ({164: 1, 165: 1, 166: np.sqrt(2), 255: 2}[value] - 0.5) / 3
    assert float(found.depths[0]) == pytest.approx(max(inside, 0.3))
    assert int(found.distances[0, 10, 20]) == round(inside / 4 * 127)


def test_how_far_it_is_to_the_middle_of_a_dot() -> None:
    """Rounded to 127ths of 4 pixels, and no farther."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 10, 20] = 166
    away = np.hypot(np.arange(28)[:, None] - 10, np.arange(28) - 20)
    expected = np.round(-np.minimum(away / 4, 1) * 127)
    np.testing.assert_array_equal(glyphs.prepare(image).middles[0], expected)


def test_a_character_is_drawn_as_it_was(drawn, characters: glyphs.Characters) -> None:
    """Pixel by pixel, the middle of its box in the middle."""
    expected = np.zeros((SIDE, SIDE))
    expected[22:42, 29:35] = 1
    np.testing.assert_array_equal(drawn(), expected)
    letter = np.zeros((SIDE, SIDE))
    letter[22:42, 24:28] = letter[38:42, 24:40] = 1
    np.testing.assert_allclose(drawn(which=LETTER), letter, atol=0.2)  # for its corner
    turned = drawn(which=LETTER, angle=np.pi / 2)  # counter-clockwise
    np.testing.assert_allclose(turned, np.rot90(drawn(which=LETTER)), atol=1e-4)
    # Nothing is beyond the image's border, however far.
    beam = drawn(which=BEAM)
    assert box_of(beam) == [-3, -14, 3, 14]
    assert beam.sum() == pytest.approx(6 * 28, abs=3)
    assert box_of(drawn(which=LETTER, size=[2.0, 1.0])) == [-20, -8, 20, 8]
    assert box_of(drawn(which=LETTER, size=[1.0, 2.0])) == [-10, -16, 10, 16]


def test_strokes_are_as_wide_as_asked_for(drawn) -> None:
    """Three quarters of its depth of 2.5 more or less on each side, or those of a pen."""
    middle = SIDE // 2

    def width(**changes) -> float:
        return drawn(**changes)[middle].sum()

    assert width(size=[2.0, 2.0]) == pytest.approx(12, abs=0.05)
    assert width(thick=1.5) == pytest.approx(6 + 2 * 0.75 * 0.5 * 2.5, abs=0.05)
    assert width(thick=0.6) == pytest.approx(6 - 2 * 0.75 * 0.4 * 2.5, abs=0.05)
    assert width(thick=1.5, size=[1.0, 3.0]) == pytest.approx(3 * 7.875, abs=0.2)
    for radius in (1.5, 3.0):
        for size in (1.0, 2.0):
            pen = width(thin=True, radius=radius, size=[size, size], thick=1.5)
            assert pen == pytest.approx(2 * radius, abs=0.4)


def test_slant_leans_to_the_right(drawn) -> None:
    """Half a column for each row up."""
    ink = drawn(slant=0.5)[24:40]
    centers = ink @ PLACES / ink.sum(axis=1)
    np.testing.assert_allclose(centers, -0.5 * PLACES[24:40], atol=0.1)


def test_strokes_wave(drawn) -> None:
    """By 3.5% of the height (20 pixels) for a bend of 1, along and across."""
    inner = slice(25, 39)
    ink = drawn(bend=[[0.0, 0.0], [2.0, 0.3]])[inner]
    wave = 0.035 * 20 * 2 * np.sin(PLACES[inner] / 20 * 3 + 9 * 0.3)
    np.testing.assert_allclose(ink @ PLACES / ink.sum(axis=1), -wave, atol=0.05)
    ink = drawn(which=BEAM, bend=[[-2.0, 0.2], [0.0, 0.0]])[:, inner]
    wave = 0.035 * 20 * -2 * np.sin(PLACES[inner] / 20 * 3 + 9 * 0.2)
    np.testing.assert_allclose(PLACES @ ink / ink.sum(axis=0), -wave, atol=0.05)


def test_signs_are_drawn_from_end_to_end(drawn) -> None:
    """Round at their ends; of several lines, the nearest counts."""
    ends = np.zeros((8, 2, 2))
    ends[:] = [[-0.3, -0.4], [0.3, 0.4]]  # 20 pixels, of a height of 20
    rows, columns = PLACES[:, None], PLACES[None]
    along, across = 0.6 * rows + 0.8 * columns, 0.8 * rows - 0.6 * columns
    away = np.hypot(across, np.maximum(np.abs(along) - 10, 0))
    np.testing.assert_allclose(drawn(shape=0, ends=ends), np.clip(2 - away, 0, 1), atol=2e-3)
    ends[3] = [[0.9, -0.8], [0.9, -0.8]]  # a dot
    away = np.minimum(away, np.hypot(rows - 18, columns + 16))
    np.testing.assert_allclose(drawn(shape=3, ends=ends), np.clip(2 - away, 0, 1), atol=2e-3)
    thick = drawn(shape=7, ends=ends, radius=4.0, thick=0.5, thin=True)
    np.testing.assert_allclose(thick, np.clip(4.5 - away, 0, 1), atol=2e-3)
    # Slanted, and turned by what that leaves of a right angle.
    ends[:] = [[-0.5, 0], [0.5, 0]]
    away = np.hypot(columns + 0.5 * rows, np.maximum(np.abs(rows) - 10, 0))
    slanted = drawn(shape=1, ends=ends, slant=0.5)
    np.testing.assert_allclose(slanted, np.clip(2 - away, 0, 1), atol=2e-3)
    turned = drawn(shape=1, ends=ends, slant=0.5, angle=np.pi / 2)
    np.testing.assert_allclose(turned, np.rot90(slanted), atol=2e-3)


def test_values_between_pixels(rng) -> None:
    """Of four neighbors; outside are -127."""
    image = jnp.asarray(rng.integers(-127, 128, (28, 28)), jnp.int8)
    values = np.pad(np.asarray(image, np.float64), 3, constant_values=-127)
    y, x = (
        np.array([0, 27, 5.5, 6.25, -0.5, -1, -9, 27.75, 40, 3]),
        np.array([0, 27, 7.0, 9.5, 4, 3, -7, 27.5, 3, 50]),
    )
    found = glyphs._bilinear(image, jnp.asarray(y, jnp.float32), jnp.asarray(x, jnp.float32))
    y, x = np.clip(y, -2, 29), np.clip(x, -2, 29)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    expected = sum(
        values[top + 3 + r, left + 3 + c] * abs(1 - r - (y - top)) * abs(1 - c - (x - left))
        for r in (0, 1)
        for c in (0, 1)
    )
    np.testing.assert_allclose(found, expected, atol=0.3)


@pytest.fixture(scope="module")
def lines() -> np.ndarray:
    """The lines of each sign and of scribbles, 4000 times each."""
    shapes = jnp.arange(len(glyphs.SIGNS) + 1)[:, None] * jnp.ones((1, 4000), jnp.int32)
    return np.asarray(jax.jit(glyphs.sign_lines)(jax.random.split(jax.random.key(0), 3), shapes))


@pytest.mark.parametrize(
    ("name", "strokes"),
    [
        ("-", [[0, -0.25, 0, 0.25]]),
        ("+", [[0, -0.26, 0, 0.26], [-0.26, 0, 0.26, 0]]),
        ("=", [[-0.14, -0.25, -0.14, 0.25], [0.14, -0.25, 0.14, 0.25]]),
        (".", [[0.46, 0, 0.46, 0.01]]),
        (",", [[0.42, 0.03, 0.6, -0.07]]),
        ("/", [[0.62, -0.24, -0.62, 0.24]]),
        (":", [[-0.12, 0, -0.12, 0.01], [0.32, 0, 0.32, 0.01]]),
    ],
)
def test_what_signs_look_like(name: str, strokes: list[list[float]], lines: np.ndarray) -> None:
    """Strokes from row and column to row and column, in heights; they take turns."""
    number = glyphs.SIGNS.index(name)
    turns = np.array(strokes).reshape(-1, 2, 2)[np.arange(8) % len(strokes)]
    usual = np.exp(0.22**2 / 2)  # the mean of their scales
    np.testing.assert_allclose(lines[number].mean(axis=0), turns * usual, atol=0.007)
    # Each end is a little off.
    np.testing.assert_allclose(lines[number].std(axis=0)[turns == 0], 0.025, rtol=0.1)
    assert glyphs.WIDTHS[number] == pytest.approx(np.ptp(turns[..., 1]), abs=0.12)


def test_signs_differ_in_size(lines: np.ndarray) -> None:
    """Taller or shorter, wider or narrower, as a whole."""
    slash = lines[glyphs.SIGNS.index("/")]
    sizes = np.log((slash[:, :, 1] - slash[:, :, 0]) / [-1.24, 0.48])
    spread = np.hypot(0.22, 0.025 * np.sqrt(2) / np.array([1.24, 0.48]))
    np.testing.assert_allclose(sizes[:, 0].std(axis=0), spread, rtol=0.05)
    (tall, wide), others = sizes[:, 0].T, sizes[:, 5].T
    assert np.corrcoef(tall, others[0])[0, 1] > 0.95
    assert np.corrcoef(wide, others[1])[0, 1] > 0.85
    assert abs(np.corrcoef(tall, wide)[0, 1]) < 0.05


def test_a_scribble_goes_up_and_down(lines: np.ndarray) -> None:
    """From side to side down to the end, and three lines through that; its ends are far off."""
    scribbles = lines[glyphs.SCRIBBLE]
    middle = scribbles.mean(axis=0) / np.exp(0.22**2 / 2)
    way = np.stack([[-0.4, 0.4] * 3, [-0.4, -0.25, -0.1, 0.05, 0.2, 0.4]], axis=1)
    np.testing.assert_allclose(middle[:5], np.stack([way[:-1], way[1:]], axis=1), atol=0.01)
    through = [
        [[-0.3, -0.45], [0.1, 0.45]],
        [[0.4, -0.45], [-0.4, 0.35]],
        [[0, -0.45], [0.1, 0.45]],
    ]
    np.testing.assert_allclose(middle[5:], through, atol=0.01)
    assert scribbles[:, 7, 0, 0].std() == pytest.approx(np.hypot(0.1, 0.025), rel=0.05)
    assert glyphs.WIDTHS[glyphs.SCRIBBLE] == pytest.approx(np.ptp(middle[..., 1]), abs=0.12)


@pytest.fixture(scope="module")
def reach(characters: glyphs.Characters) -> Callable[..., list[float]]:
    """How far each of eight characters reaches beyond its middle, to that of the next."""
    compiled = jax.jit(glyphs.reach)

    def reach(chosen: list[int], drop: Any = 0.0, size: float = 1.0, **changes) -> list[float]:
        order, each = jnp.array(chosen), jnp.ones(8)
        arguments = {
            "drop": jnp.asarray(drop) * each,
            "sizes": size * jnp.ones((8, 2)),
            "widths": size * (characters.boxes[order, 3] - characters.boxes[order, 1]),
            "height": jnp.asarray(20.0 * size),
            "drawn": each > 0,
            **{name: jnp.asarray(value) for name, value in changes.items()},
        }
        found = compiled(characters.edges[order], characters.boxes[order], **arguments)
        return np.asarray(found).tolist()

    return reach


def test_how_far_characters_are_apart_that_touch(reach) -> None:
    """An L and a 7 reach over each other; bars do not; what never meets stands side by side."""
    chosen = [BAR, BAR, LETTER, BAR, LETTER, SEVEN, LETTER, BEAM]
    # A foot, or a stem on the left, is 8 away from the middle; the L and the 7 are 4 apart, but
    # they do not hide each other; the beam, half of it 14, meets the L's stem; and the first bar.
    apart = [3 + 3, 3 + 8, 8 + 3, 3 + 8, 0.3 * 16, 8 + 8, 14 - 4, 14 + 3]
    assert reach(chosen) == pytest.approx(apart)
    assert reach(chosen, size=2.0) == pytest.approx([2 * one for one in apart])
    # Wider ones, as tall.
    wide = reach(
        chosen, sizes=[[1.0, 3.0]] * 8, widths=[3.0 * w for w in (6, 6, 16, 6, 16, 16, 16, 28)]
    )
    assert wide == pytest.approx([3 * one for one in apart])


def test_what_reaches_how_far_depends_on_the_line(reach) -> None:
    """What is more than 0.7 heights below the middle of the line does not count, or above."""
    chosen = [LETTER, BAR] * 4
    assert reach(chosen, drop=7.0)[0] == pytest.approx(11)  # the foot, 6 to 10 below the middle
    assert reach(chosen, drop=9.0)[0] == pytest.approx(0.3 * 11)  # it would be less
    # The first L's foot is below its bar; what is far below the line is nowhere.
    apart = reach(chosen, drop=[0.0, -5.0, 0.0, -3.0, 3.0, 30.0, 30.0, 30.0])
    assert apart == pytest.approx([0.3 * 11, *[11] * 7])
    chosen = [BAR, SEVEN] * 4
    assert reach(chosen, drop=-7.0)[0] == pytest.approx(11)  # its upper stroke, 6 to 10 above
    assert reach(chosen, drop=-9.0)[0] == pytest.approx(0.3 * 11)


@pytest.mark.parametrize(("chosen", "drop"), [(ROOF, -0.1), (FLOOR, 0.1)])
def test_the_first_and_the_last_row_count(reach, chosen: int, drop: float) -> None:
    """Where they are within 0.7 heights of the line's middle, and no row beyond the image does."""
    assert reach([chosen] * 8, drop=drop) == pytest.approx([28] * 8)
    for far in (-drop, -300 * drop, 300 * drop):
        expected = 0.3 * 28 if abs(far) < 1 else 28  # only the stems, or nothing
        assert reach([chosen] * 8, drop=far) == pytest.approx([expected] * 8)


def test_signs_reach_as_far_as_they_are_wide(reach) -> None:
    """At every height."""
    drawn = np.arange(8) % 3 > 0
    chosen = [BAR, LETTER, BAR, BAR, LETTER, BAR, BAR, BAR]
    widths = np.where(drawn, 6.0, 10.0)
    widths[[1, 4]] = 16
    apart = [5 + 8, 8 + 3, 3 + 5, 5 + 8, 8 + 3, 3 + 5, 5 + 3, 3 + 5]
    assert reach(chosen, drawn=drawn, widths=widths) == pytest.approx(apart)
    # Only a sign is beside what is far below the line.
    apart = reach(chosen, drawn=drawn, widths=widths, drop=30.0)
    assert apart == pytest.approx([13, 11, 8, 13, 11, 8, 8, 8])


def test_blurring_keeps_the_sum() -> None:
    """The rows sum to 1; a point becomes a bell of that deviation."""
    matrix = np.asarray(glyphs.blur(41, jnp.asarray(2.0)), np.float64)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)
    bell = np.exp(-0.5 * (np.arange(-20, 21) / 2) ** 2)
    np.testing.assert_allclose(matrix[20], bell / bell.sum(), atol=1e-6)
    np.testing.assert_allclose(matrix[0, :20], bell[20:40] / bell[20:].sum(), atol=1e-6)


def test_random_numbers() -> None:
    """Between their limits, as many as asked for; and what happens in a share of cases."""
    key = jax.random.key(0)
    numbers = np.asarray(glyphs.uniform(key, -2, 4.0, (10, 400)))
    assert numbers.shape == (10, 400)
    assert numbers.min() == pytest.approx(-2, abs=0.01)
    assert numbers.max() == pytest.approx(4, abs=0.01)
    assert numbers.mean() == pytest.approx(1, abs=0.1)
    assert np.asarray(glyphs.chance(key, 0.2, (10, 400))).mean() == pytest.approx(0.2, abs=0.02)
    assert glyphs.uniform(key, 0, 1).shape == glyphs.chance(key, 0.5).shape == ()
