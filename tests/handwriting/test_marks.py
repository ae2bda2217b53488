"""Marks of what the page network sees: on both sides of each limit."""

import inspect
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.handwriting import marks
from jaxdigits.handwriting.marks import Mark, Seen
from jaxdigits.handwriting.scenes import CHARACTER, GROUND, NUM_CLASSES, UNIT

SIZE = 34.0


def blank(rows: int = 64, columns: int = 128) -> Seen:
    """A page that shows nothing."""
    classes = np.zeros((rows, columns, NUM_CLASSES), np.float32)
    classes[..., GROUND] = 1
    points = np.zeros((rows, columns, 2), np.float32)
    up = np.zeros_like(points)
    up[..., 0] = 1
    return Seen(classes, points, np.zeros((rows, columns), np.float32), up)


def put_middle(seen: Seen, row: int, column: int, likely: float = 1.0) -> None:
    """A middle at even places, of a block of 2x2."""
    seen.middles[row : row + 2, column : column + 2] = likely


def put_ink(
    seen: Seen,
    box: tuple[int, int, int, int],
    point: tuple[float, float],
    ink: float = 1.0,
    kind: int = CHARACTER,
) -> None:
    """Ink in a box (top, left, bottom, right) that points to a place."""
    place = slice(box[0], box[2]), slice(box[1], box[3])
    seen.classes[place] = 0
    seen.classes[(*place, GROUND)] = 1 - ink
    seen.classes[(*place, kind)] = ink
    seen.points[place] = point


def boxes(found: list[Mark]) -> list[tuple[int, int, int, int]]:
    """Of marks, from left to right."""
    return sorted(
        ((mark.top, mark.left, mark.bottom, mark.right) for mark in found),
        key=lambda box: box[1],
    )


def mark(top: int, left: int, height: int = 34, width: int = 20, sign: str = "") -> Mark:
    """A mark that is all ink."""
    ink = np.ones((height, width), np.float32)
    free = np.pad(ink, marks.MARGIN) < 0
    return Mark(top, left, top + height, left + width, ink, sign, 0.9, free)


def test_where_a_mark_is() -> None:
    """A point stands on the line, a comma hangs from it: their line is above them."""
    one = mark(30, 50, height=5, width=8)
    assert (one.size, one.place, one.middle) == (8, (32.5, 54.0), 32.5)
    assert mark(30, 50, height=9, width=8).size == 9
    assert one._replace(sign=".").middle == pytest.approx(32.5 - 0.45 * SIZE)
    assert one._replace(sign=",").middle == pytest.approx(32.5 - 0.5 * SIZE)
    assert one._replace(sign="-").middle == 32.5


def test_clarity_is_that_of_what_may_be_ink() -> None:
    """Above 0.3."""
    seen = blank()
    put_ink(seen, (0, 0, 1, 10), (0, 0), 0.4)
    put_ink(seen, (1, 0, 2, 10), (0, 0), 0.9)
    put_ink(seen, (2, 0, 3, 10), (0, 0), 0.29)
    assert seen.clarity == pytest.approx(0.65, abs=1e-6)


def test_what_the_network_says_of_a_tile(monkeypatch) -> None:
    """Of each pixel its classes; the rest is of blocks of 2x2."""
    rng = np.random.default_rng(0)
    logits, offsets = rng.normal(size=(1, 6, 4, NUM_CLASSES)), rng.normal(size=(1, 3, 2, 2))
    middles, up = rng.normal(size=(1, 3, 2)), rng.normal(size=(1, 3, 2, 2))
    said = [jnp.asarray(each, jnp.float32) for each in (logits, offsets, middles, up)]
    asked = []

    def apply(params, pages):
        asked.append((params, np.asarray(pages)))
        return SimpleNamespace(logits=said[0], offsets=said[1], middles=said[2], up=said[3])

    monkeypatch.setattr(marks.page_network, "apply", apply)
    tile = rng.integers(0, 256, (6, 4, 4), np.uint8)
    found = np.asarray(inspect.unwrap(marks._apply)("params", tile))
    ((params, pages),) = asked
    assert params == "params"
    np.testing.assert_allclose(pages, tile[None] / 255, rtol=1e-6)
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found[..., :NUM_CLASSES], shares, atol=1e-6)
    for row, column in np.ndindex(6, 4):
        block = row // 2, column // 2
        likely = 1 / (1 + np.exp(-middles[0][block]))
        expected = [*(UNIT * offsets[0][block]), likely, *up[0][block]]
        np.testing.assert_allclose(found[row, column, NUM_CLASSES:], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("side", "starts"),
    [(1, [0]), (64, [0]), (256, [0]), (257, [0, 192]), (448, [0, 192]), (449, [0, 192, 384])],
)
def test_tiles_are_few_and_overlap_by_64_pixels(side, starts) -> None:
    assert marks._starts(side) == starts


@pytest.mark.parametrize("upright", [True, False])
def test_a_tile_counts_less_near_its_border(upright, monkeypatch) -> None:
    """Along the 64 pixels that two tiles share, one fades into the other."""

    def apply(_, tile) -> np.ndarray:
        first = float(tile[0, 0, 0]) / 255
        values = [1 - first, first, *[0] * (NUM_CLASSES - 2), 8, 6, 0.3, 0.6, 0.8]
        return np.broadcast_to(np.array(values, np.float32), (*tile.shape[:2], len(values)))

    monkeypatch.setattr(marks, "_apply", apply)
    pixels = np.zeros((4, 400, 4), np.uint8)
    pixels[0, 0] = 255  # what the first tile is about
    seen = marks.see(None, pixels if upright else pixels.transpose(1, 0, 2))
    ink = seen.ink if upright else seen.ink.T
    expected = np.concatenate([np.ones(192), np.arange(64, 0, -1) / 65, np.zeros(144)])
    np.testing.assert_allclose(ink, np.tile(expected, (4, 1)), atol=1e-5)
    np.testing.assert_allclose(seen.middles, 0.3, rtol=1e-5)
    np.testing.assert_allclose(seen.up, np.broadcast_to([0.6, 0.8], seen.up.shape), rtol=1e-5)
    rows, columns = seen.points[:6, 0, 0], seen.points[0, :6, 1]
    middles = np.array([1, 1, 3, 3, 5, 5])
    np.testing.assert_allclose(rows, middles[: len(rows)] + 8, rtol=1e-5)
    np.testing.assert_allclose(columns, middles[: len(columns)] + 6, rtol=1e-5)


@pytest.mark.parametrize(("likely", "found"), [(0.41, True), (0.39, False)])
def test_the_least_probability_of_a_middle(likely, found) -> None:
    seen = blank()
    put_middle(seen, 26, 24, likely)
    put_ink(seen, (10, 20, 44, 30), (27, 25))
    assert boxes(marks.marks(seen, SIZE)) == [(10, 20, 44, 30)] * found


@pytest.mark.parametrize("mirrored", [False, True])
def test_middles_in_neighboring_blocks_are_one(mirrored) -> None:
    """Even where characters are tiny."""
    values = np.zeros((4, 12), np.float32)
    values[1, 2], values[1, 4], values[1, 8:10] = 0.9, 0.95, (0.9, 0.95)
    found = marks._peaks(values[:, ::-1] if mirrored else values, 0.4)
    columns = sorted(11 - column if mirrored else column for _, column in found.tolist())
    assert columns == [2, 4, 9]


def test_middles_without_ink_and_ink_without_middles() -> None:
    """Are no marks, and do not hide others."""
    seen = blank()
    put_middle(seen, 10, 90)
    assert marks.marks(seen, SIZE) == []
    put_ink(seen, (20, 20, 50, 30), (35, 25))
    assert marks.marks(seen, SIZE) == []
    put_middle(seen, 34, 24)
    assert boxes(marks.marks(seen, SIZE)) == [(20, 20, 50, 30)]


@pytest.mark.parametrize(("apart", "count"), [(6, 1), (8, 2)])
def test_how_near_middles_are_one(apart, count) -> None:
    """Of 34 pixels, up to 3 blocks of two."""
    seen = blank()
    for left, likely in ((20, 1.0), (20 + apart, 0.9)):
        put_middle(seen, 26, left, likely)
        put_ink(seen, (10, left, 44, left + 2), (27, left + 1))
    assert len(marks.marks(seen, SIZE)) == count


@pytest.mark.parametrize("upright", [True, False])
def test_how_far_ink_is_from_its_middle(upright) -> None:
    """Up to 1.2 sizes: here 40.8 pixels."""
    seen = blank(128, 128)
    row, column = (60, 30) if upright else (30, 60)
    put_middle(seen, row, column)
    box = (60, 0, 62, 128) if upright else (0, 60, 128, 62)
    put_ink(seen, box, (row + 1, column + 1))
    expected = (60, 0, 62, 72) if upright else (0, 60, 72, 62)
    assert boxes(marks.marks(seen, SIZE)) == [expected]


@pytest.mark.parametrize(("point", "owner"), [(33, 0), (37, 1)])
def test_ink_belongs_where_it_points_or_to_what_is_near(point, owner) -> None:
    """Its distance from a middle counts half as much as that of where it points."""
    seen = blank()
    for left in (20, 40):
        put_middle(seen, 26, left)
        put_ink(seen, (10, left, 44, left + 2), (27, left + 1))
    put_ink(seen, (26, 10, 28, 14), (27, point))
    found = boxes(marks.marks(seen, SIZE))
    assert [box[1] for box in found] == ([10, 40] if owner == 0 else [10, 20])
    assert found[0][3] == (22 if owner == 0 else 42)


@pytest.mark.parametrize(("width", "count"), [(3, 2), (2, 1)])
def test_the_smallest_mark_is_a_point_of_6_pixels(width, count) -> None:
    """A smaller one is left out, and hides no other."""
    seen = blank()
    put_middle(seen, 10, 90)
    put_ink(seen, (10, 90, 12, 90 + width), (11, 91))
    put_ink(seen, (10, 90 + width, 11, 100), (11, 91), 0.5)  # no ink
    put_middle(seen, 34, 24)
    put_ink(seen, (20, 20, 50, 30), (35, 25))
    assert len(marks.marks(seen, SIZE)) == count


def test_the_ink_of_a_mark() -> None:
    """Its faint edge belongs to it within its box, and says what it is, too."""
    seen = blank()
    put_middle(seen, 26, 24)
    put_ink(seen, (10, 20, 44, 30), (27, 25))
    put_ink(seen, (10, 20, 12, 24), (27, 25), 0.4, CHARACTER + 1)
    put_ink(seen, (12, 20, 14, 24), (27, 25), 0.29)  # none
    put_ink(seen, (4, 20, 10, 30), (27, 25), 0.5)  # beyond the box
    put_ink(seen, (44, 20, 46, 30), (27, 25), 0.51)
    (found,) = marks.marks(seen, SIZE)
    assert (found.top, found.left, found.bottom, found.right) == (10, 20, 46, 30)
    expected = np.ones((36, 10))
    expected[:2, :4], expected[2:4, :4], expected[-2:] = 0.4, 0, 0.51
    np.testing.assert_allclose(found.ink, expected, atol=1e-6)
    others, total = 8 * 0.4, 324 + 8 * 0.4 + 20 * 0.51
    assert found.sign == ""
    assert found.probability == pytest.approx((total - others) / total, rel=1e-5)


def test_where_nothing_is_written() -> None:
    """Around a mark: ink of less than 5% is none; beyond the picture there is no ground."""
    seen = blank(64, 64)
    put_middle(seen, 18, 4)
    put_ink(seen, (2, 2, 36, 12), (19, 5))
    put_ink(seen, (10, 13, 20, 14), (19, 5), 0.04)
    put_ink(seen, (10, 14, 20, 15), (19, 5), 0.07)
    (found,) = marks.marks(seen, SIZE)
    expected = np.ones((42, 18), bool)
    expected[:2], expected[:, :2] = False, False
    expected[4:38, 4:14] = False
    expected[12:22, 16] = False
    np.testing.assert_array_equal(found.free, expected)


def along(*places: tuple[int, int]) -> list[Mark]:
    """Marks with their middles at rows and columns."""
    return [mark(row - 17, column - 10) for row, column in places]


@pytest.mark.parametrize(
    ("places", "degrees"),
    [
        ([(100, 0), (90, 40), (80, 80)], 14.04),
        ([(100, 0), (110, 40), (120, 80)], -14.04),
        ([(100, 0), (100, 40), (95, 80), (83, 120)], 7.13),  # 0, 7.13, 16.7: the middle one
        ([(100, 0), (100, 40)], 50.0),  # too few
        ([(100, 0), (90, 40), (20, 140)], 50.0),  # the third is too far away
        ([(100, 0), (100, 84), (100, 168)], 0.0),  # 2.5 sizes are 85 pixels
        ([(100, 0), (100, 86), (100, 172)], 50.0),
        ([(100, 80), (100, 0), (100, 40)], 0.0),  # in any order
        ([(100, 0), (60, 40), (20, 80)], 50.0),  # above, not beside
        ([(100, 0), (61, 40), (22, 80)], 44.27),
        ([(100, 0), (100, 40), (100, 80), (140, 60), (180, 60)], 0.0),
    ],
)
def test_the_slope_of_lines(places, degrees) -> None:
    """As of half of the neighbors, which lie to the right, and near."""
    assert marks.slope(along(*places), 50.0) == pytest.approx(degrees, abs=0.01)


def test_signs_show_no_slope() -> None:
    found = along((100, 0), (100, 40), (100, 80))
    assert marks.slope(found, 50.0) == 0
    assert marks.slope([found[0]._replace(sign="-"), *found[1:]], 50.0) == 50


@pytest.mark.parametrize(("width", "size"), [(5, 30.0), (6, 20.0)])
def test_the_usual_size_is_that_of_half_of_the_ink(width, size) -> None:
    """Signs do not count, unless they are all there is."""
    small, large = mark(0, 0, height=20, width=width), mark(0, 0, height=4, width=30)
    sign = mark(0, 0, height=5, width=80, sign="-")
    assert marks.usual_size([sign, large, small]) == size
    assert marks.usual_size([sign]) == 80


@pytest.mark.parametrize(("likely", "degrees"), [(0.51, 90.0), (0.5, 0.0)])
def test_only_what_is_rather_ink_tells_the_turn(likely, degrees) -> None:
    """By how much it is ink."""
    seen = blank()
    put_ink(seen, (0, 0, 4, 10), (0, 0), likely)
    seen.up[:4] = 0, 1
    assert marks.turn(seen) == pytest.approx(degrees, abs=1e-3)
    put_ink(seen, (10, 0, 14, 10), (0, 0), 0.8)
    expected = np.degrees(np.arctan2(likely if degrees else 0, 0.8))
    assert marks.turn(seen) == pytest.approx(expected, abs=1e-3)
