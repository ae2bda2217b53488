"""What makes a character, a line, and a word: on both sides of each limit."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from jaxdigits.errors import DataError
from jaxdigits.handwriting.ink import _clear_ground, bright_part, connected, strokes
from jaxdigits.handwriting.segmentation import (
    _belong_together,
    _is_edge,
    _is_stroke,
    _label,
    _lines,
    _merge_characters,
    _merge_stacked,
    _own_ink,
    _Piece,
    _pieces,
    _stem_of,
    _usual_size,
    _with_spaces,
    find_characters,
    without_signs,
)


def box(top, bottom, left, right, area=None):
    """A piece with nothing but its place."""
    area = (bottom - top) * (right - left) if area is None else area
    return _Piece(top, left, bottom, right, area, [1])


def marks(shape, *boxes):
    """Strokes: top, bottom, left, right of each."""
    page = np.zeros(shape, bool)
    for top, bottom, left, right in boxes:
        page[top:bottom, left:right] = True
    return page


@pytest.mark.parametrize(("area", "size"), [(9, 30), (10, 20), (11, 20)])
def test_the_usual_size_is_that_of_half_of_the_ink(area, size):
    """Or more than half of it in smaller pieces."""
    small, large = box(0, 20, 0, 5, area), box(0, 5, 0, 30, 10)
    assert _usual_size([large, small]) == size


@pytest.mark.parametrize(
    ("piece", "edge"),
    [
        ((10, 81, 0, 10), True),
        ((10, 80, 0, 10), False),  # not along 70%
        ((10, 81, 190, 200), True),
        ((10, 81, 1, 11), False),  # not at the border
        ((10, 81, 189, 199), False),
        ((10, 90, 0, 19), True),
        ((10, 90, 0, 20), False),  # not slim
        ((0, 10, 20, 161), True),
        ((0, 10, 20, 160), False),
        ((90, 100, 20, 161), True),
        ((89, 99, 20, 161), False),
        ((1, 11, 20, 161), False),
    ],
)
def test_what_runs_along_the_border_of_a_picture(piece, edge):
    assert _is_edge(box(*piece), (100, 200)) == edge


@pytest.mark.parametrize(("width", "edge"), [(14, True), (15, False)])
def test_a_1_cut_out_at_its_box_is_no_edge(width, edge):
    """It is half of the picture's width, or of its height."""
    assert _is_edge(box(10, 90, 0, width), (100, 30)) == edge
    assert _is_edge(box(0, width, 10, 90), (30, 100)) == edge


@pytest.mark.parametrize(
    ("lower", "usual", "together"),
    [
        ((45, 60, 10, 30), 40, True),
        ((45, 60, 11, 30), 40, False),  # less than half of the narrower is below the other
        ((45, 60, 0, 9), 20, True),
        ((46, 60, 0, 9), 20, False),  # the gap is three tenths of the usual size
        ((45, 64, 0, 20), 40, True),
        ((45, 65, 0, 20), 40, False),  # together they are over 1.6 times as high
        ((45, 80, 0, 20), 50, True),
        ((45, 81, 0, 20), 50, False),
    ],
)
def test_pieces_one_above_the_other(lower, usual, together):
    for down in (0, 100):
        upper, other = (
            box(down, 40 + down, 0, 20),
            box(lower[0] + down, lower[1] + down, *lower[2:]),
        )
        assert _belong_together(upper, other, float(usual)) == together
        assert _belong_together(other, upper, float(usual)) == together


@pytest.mark.parametrize(
    ("dot", "over"),
    [
        ((31, 50, 100, 108), True),
        ((30, 50, 100, 108), False),  # half as high as the stem
        ((30, 40, 100, 119), True),
        ((30, 40, 100, 120), False),
        ((41, 50, 100, 108), True),
        ((41, 51, 100, 108), False),  # beside it
        ((11, 19, 100, 108), True),
        ((10, 18, 100, 108), False),  # too far above
        ((30, 40, 86, 94), True),
        ((30, 40, 85, 93), False),  # too far to the left
        ((30, 40, 116, 124), True),
        ((30, 40, 117, 125), False),
    ],
)
def test_a_dot_over_a_stem(dot, over):
    stem = box(50, 90, 100, 110)
    assert (_stem_of(box(*dot), [stem]) is stem) == over


def test_a_stem_is_narrow_and_the_nearest():
    dot = box(10, 14, 20, 24)
    near, far = box(20, 60, 18, 57), box(30, 70, 18, 57)
    assert _stem_of(dot, [far, near]) is near
    assert _stem_of(dot, [box(20, 60, 18, 58)]) is None


@pytest.mark.parametrize(("top", "count"), [(6, 1), (7, 2), (-6, 1), (-7, 2)])
def test_a_line_shares_rows(top, count):
    """More than three tenths of the lower piece."""
    lines = _lines([box(0, 10, 0, 10), box(top, top + 10, 20, 30)])
    assert len(lines) == count
    if count == 2:
        assert lines[0][0].top < lines[1][0].top  # from above


def test_a_piece_joins_the_line_that_it_shares_most_with():
    upper, lower = box(0, 20, 0, 10), box(24, 44, 0, 10)
    near_lower = box(14, 36, 20, 30)
    assert _lines([lower, near_lower, upper]) == [[upper], [lower, near_lower]]


@pytest.mark.parametrize(("gap", "space"), [(6, False), (7, True)])
def test_a_space_is_wider_than_three_fifths_of_the_height(gap, space):
    line = [box(0, 10, 0, 4), box(0, 10, 4 + gap, 8 + gap), box(0, 40, 60, 64)]
    assert [after for _, after in _with_spaces(line)] == [False, space, True]


@pytest.mark.parametrize(("height", "count"), [(14, 3), (15, 4)])
def test_a_speck_is_no_character(height, count):
    """It is smaller than 15% of the usual size."""
    bars = [(20, 120, left, left + 10) for left in (20, 60, 100)]
    labels = connected(marks((200, 200), *bars, (150, 150 + height, 150, 154)))
    assert len(_merge_characters(_pieces(labels), labels)) == count


@pytest.mark.parametrize(("size", "refused"), [(63, False), (64, True)])
def test_stains_are_at_most_four_times_the_writing(size, refused):
    labels = connected(marks((300, 300), (20, 120, 20, 30), (150, 150 + size, 150, 150 + size)))
    if refused:
        with pytest.raises(DataError, match="does not look like strokes"):
            _merge_characters(_pieces(labels), labels)
    else:
        assert len(_merge_characters(_pieces(labels), labels)) == 1


@pytest.mark.parametrize(("size", "count"), [(4, 1), (3, None)])
def test_the_smallest_piece_is_2_percent_of_the_picture(size, count):
    labels = connected(marks((200, 300), (50, 50 + size, 50, 52)))
    if count is None:
        with pytest.raises(DataError, match="does not look like strokes"):
            _merge_characters(_pieces(labels), labels)
    else:
        assert len(_merge_characters(_pieces(labels), labels)) == count


@pytest.mark.parametrize(
    ("height", "width", "stroke"),
    [
        *((100, 44, True), (100, 45, False), (40, 18, True), (40, 19, False)),
        *((9, 9, True), (10, 10, False), (40, 40, False)),
    ],
)
def test_a_stroke_is_no_filled_shape(height, width, stroke):
    labels = connected(marks((160, 160), (20, 20 + height, 20, 20 + width)))
    (piece,) = _pieces(labels)
    assert _is_stroke(piece, labels) == stroke


def test_pieces_one_above_the_other_are_merged_in_every_place():
    """The first, the last, and three of which one fits only when two have grown together."""
    two = [box(0, 5, 0, 20), box(8, 30, 0, 20)]
    more = [box(0, 5, 60, 80), box(8, 30, 60, 80)]
    three = [box(0, 30, 100, 104), box(8, 14, 102, 122), box(16, 30, 103, 123)]
    merged = _merge_stacked([*more, *two, *three], 30.0)
    boxes = [(one.left, one.right) for one in merged]
    assert boxes == [(0, 20), (60, 80), (100, 123)]
    alone = [box(0, 30, 0, 20), box(0, 30, 30, 50)]
    assert _merge_stacked(alone, 30.0) == alone


def test_pieces_are_merged_whatever_lies_between_them():
    """One that does not fit, or one that fits only what two others have become."""
    first, below, near = box(0, 10, 0, 30), box(60, 90, 5, 35), box(12, 20, 10, 30)
    merged = _merge_stacked([first, below, near], 30.0)
    assert [(one.top, one.bottom) for one in merged] == [(0, 20), (60, 90)]
    bar, body, hook = box(0, 10, 0, 40), box(25, 35, 5, 60), box(13, 22, 30, 70)
    (merged,) = _merge_stacked([bar, body, hook], 30.0)
    assert (merged.top, merged.left, merged.bottom, merged.right) == (0, 0, 35, 70)


def test_lines_are_in_the_order_of_their_middles():
    """A line may begin lower than the next one."""
    rising = [box(40 - 8 * n, 60 - 8 * n, 30 * n, 30 * n + 20) for n in range(5)]
    level = [box(34, 54, 30 * n, 30 * n + 20) for n in range(5, 8)]
    assert _lines([*level, *rising]) == [rising, level]


@pytest.mark.parametrize(("bright", "apart"), [(160, True), (159, False)])
def test_two_groups_of_gray_are_far_apart(bright, apart):
    gray = np.full((10, 10), 100.0)
    gray[:, 5:] = bright
    found = bright_part(gray)
    assert (found is not None) == apart
    if found is not None:
        np.testing.assert_array_equal(found, gray == bright)


def test_groups_of_gray_are_those_that_differ_most():
    """Otsu's threshold: of all between bins, the one with the largest variance between the two."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        share = rng.uniform(0.1, 0.9)
        gray = np.where(rng.random((40, 40)) < share, rng.normal(60, 25, (40, 40)), 180.0)
        counts, edges = np.histogram(gray, 64)
        values = np.repeat((edges[1:] + edges[:-1]) / 2, counts)

        def spread(edge: float, values: np.ndarray = values) -> float:
            low, high = values[values < edge], values[values > edge]
            return len(low) * len(high) * (low.mean() - high.mean()) ** 2

        best = max(edges[1:-1], key=spread)
        found = bright_part(gray)
        assert found is not None
        np.testing.assert_array_equal(found, gray > best)


def test_what_is_clearly_ink():
    """Above a half, or above a quarter beside it."""
    ink = np.array([[0.5, 0.0, 0.26, 0.51, 0.25, 0.0, 0.3]], np.float32)
    assert strokes(ink).astype(int).tolist() == [[0, 0, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize(("width", "narrow"), [(49, True), (50, False)])
def test_a_crop_is_less_than_half_as_wide_as_high(width, narrow):
    crop = np.full((100, width, 3), 30, np.uint8)
    crop[:, :10] = 220, 210, 200
    for picture in (crop, crop.transpose(1, 0, 2)):
        ground = _clear_ground(picture)
        assert (ground is not None) == narrow
        if ground is not None:
            assert ground.tolist() == [220, 210, 200]


@pytest.mark.parametrize(
    ("size", "top"),
    [(12, 30), (39, 30), (40, 80), (45, 80)],
)
def test_what_is_dropped_may_be_the_dot_of_an_i(size, top):
    """Dirt, or a blob, smaller than two fifths of the usual size, over a stem."""
    labels = connected(marks((300, 300), (80, 180, 100, 110), (30, 30 + size, 90, 90 + size)))
    found = min(_merge_characters(_pieces(labels), labels), key=lambda piece: piece.left)
    assert (found.top, found.bottom) == (top, 180)


@pytest.mark.parametrize(("size", "stroke"), [(22, True), (23, False)])
def test_a_stroke_may_reach_beyond_the_border(size, stroke):
    """Of 100 pixels it is up to 45 wide, half of which are seen."""
    for place in ((0, size, 20, 120), (20, 120, 0, size)):
        labels = connected(marks((160, 160), place))
        (piece,) = _pieces(labels)
        assert _is_stroke(piece, labels) == stroke
    labels = np.ones((20, 20), np.int32)
    assert not _is_stroke(_pieces(labels)[0], labels)  # a picture of nothing else


def test_stains_of_exactly_four_times_the_writing():
    labels = connected(marks((300, 300), (20, 120, 20, 30), (150, 200, 150, 230)))
    assert len(_merge_characters(_pieces(labels), labels)) == 1


def test_a_page_has_at_most_2000_pieces():
    """What has more shows something else, be they specks."""
    labels = connected(marks((40, 40), (2, 32, 4, 7)))
    specks = [box(36, 37, 20, 21) for _ in range(2000)]
    (bar,) = _pieces(labels)
    pieces = [replace(bar, area=9000), *specks]
    assert len(_merge_characters(pieces[:2000], labels)) == 1
    with pytest.raises(DataError, match="does not look like strokes"):
        _merge_characters(pieces, labels)


def test_no_strokes_are_no_writing():
    with pytest.raises(DataError, match="does not look like strokes"):
        _label(np.zeros((5, 5), bool))


@pytest.mark.parametrize(("gap", "count"), [(10, 8), (20, 9)])
def test_gaps_are_measured_by_the_usual_size(gap, count):
    """As of half of the pieces that are larger than two fifths of that of the ink."""
    bars = [(10, 14, 60, 110), (14 + gap, 18 + gap, 60, 110), (100, 104, 60, 110)]
    small = [(180, 182, 10 + 30 * n, 30 + 30 * n) for n in range(5)]
    labels = connected(marks((200, 200), (10, 110, 10, 30), *bars, *small))
    assert len(_merge_characters(_pieces(labels), labels)) == count


@pytest.mark.parametrize(("size", "count"), [(40, 3), (41, 4)])
def test_what_is_smaller_than_two_fifths_does_not_tell_the_usual_size(size, count):
    """Two bars one above the other are one, as their gap is small beside the large stroke."""
    bars = [(10, 14, 60, 60 + size), (30, 34, 60, 60 + size), (180, 184, 60, 60 + size)]
    labels = connected(marks((200, 200), (10, 110, 10, 30), *bars))
    assert len(_merge_characters(_pieces(labels), labels)) == count


@pytest.mark.parametrize("turned", range(4))
def test_the_ink_of_a_character_is_near_it(turned):
    """Within two pixels, gray as it is; what is further away is a neighbor's."""
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 10:13] = labels[27:30, 10:30] = 1  # an L
    labels = np.ascontiguousarray(np.rot90(labels, turned))
    ink = np.where(labels > 0, np.float32(0.9), np.float32(0.3))
    (piece,) = _pieces(labels)
    found = _own_ink(piece, ink, labels)
    away = np.asarray(ndimage.distance_transform_cdt(labels == 0, "chessboard"))
    expected = np.where(labels > 0, 230, np.where(away <= 2, 76, 0))[8:32, 8:32]
    np.testing.assert_array_equal(found, expected)
    (piece,) = _pieces(labels[10:30, 10:30])
    found = _own_ink(piece, ink[10:30, 10:30], labels[10:30, 10:30])
    np.testing.assert_array_equal(found, expected[2:-2, 2:-2])  # the whole picture


def test_what_strokes_show_is_certainly_no_sign():
    page = np.full((60, 100, 3), 250, np.uint8)
    page[10:50, 20:26] = page[10:50, 60:66] = 30
    found = find_characters(page)
    assert [(one.sign, one.certainty, one.size) for one in found] == [("", 1.0, 40)] * 2
    assert without_signs(found) == found
