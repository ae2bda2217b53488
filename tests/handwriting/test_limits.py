"""What makes a character, a line, and a word: on both sides of each limit."""

import numpy as np
import pytest

from jaxdigits.errors import DataError
from jaxdigits.handwriting.ink import _clear_ground, bright_part, connected, strokes
from jaxdigits.handwriting.ruling import _level_path, without_strikes
from jaxdigits.handwriting.segmentation import (
    Character,
    _belong_together,
    _is_bracket,
    _is_edge,
    _is_stroke,
    _lines,
    _merge_characters,
    _Piece,
    _pieces,
    _stem_of,
    _usual_size,
    _with_spaces,
    _without_brackets,
)
from jaxdigits.handwriting.surroundings import sheet_alone, without_edges, without_frames
from jaxdigits.handwriting.touching import split_touching


def box(top, bottom, left, right, area=None):
    """A piece with nothing but its place."""
    area = (bottom - top) * (right - left) if area is None else area
    return _Piece(top, left, bottom, right, area, [1])


def sure_of_parts(inks):
    """The confidences of a network that knows the parts of a character, but not the whole."""
    return np.array([0.5, *[0.99] * (len(inks) - 1)])


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
    upper = box(0, 40, 0, 20)
    assert _belong_together(upper, box(*lower), float(usual)) == together
    assert _belong_together(box(*lower), upper, float(usual)) == together


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
    [(100, 44, True), (100, 45, False), (9, 9, True), (10, 10, False), (40, 40, False)],
)
def test_a_stroke_is_no_filled_shape(height, width, stroke):
    labels = connected(marks((160, 160), (20, 20 + height, 20, 20 + width)))
    (piece,) = _pieces(labels)
    assert _is_stroke(piece, labels) == stroke


def bracket(height=110, stem=6, tips=20):
    """A `[`."""
    return marks(
        (height, tips), (0, height, 0, stem), (0, 6, 0, tips), (height - 6, height, 0, tips)
    )


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        (bracket(tips=15), True),
        (bracket(tips=14), False),  # its tips stick out by 8%
        (bracket(tips=65), True),
        (bracket(tips=66), False),  # it is too wide
        (bracket(stem=27, tips=40), True),
        (bracket(stem=28, tips=40), False),  # too thick
    ],
)
def test_a_bracket(shape, found):
    assert _is_bracket(shape) == found


@pytest.mark.parametrize(("depth", "found"), [(9, True), (8, False)])
def test_a_parenthesis_bulges(depth, found):
    """By more than 8% of its height."""
    shape = np.zeros((110, depth + 4), bool)
    for row in range(110):
        left = depth if row < 11 or row >= 99 else 0
        shape[row, left : left + 4] = True
    assert _is_bracket(shape) == found
    assert not _is_bracket(shape[:, ::-1])  # it opens to the other side


def test_an_f_is_no_bracket():
    """It has a tip above and a bar in the middle, but nothing below."""
    assert not _is_bracket(marks((110, 30), (0, 110, 0, 6), (0, 6, 0, 30), (50, 56, 0, 30)))


@pytest.mark.parametrize(("height", "left_out"), [(111, True), (109, False)])
def test_brackets_are_taller_than_what_is_between(height, left_out):
    """By a tenth."""
    page = np.zeros((200, 200), bool)
    page[20 : 20 + height, 10:30] = bracket(height)
    page[20:120, 60:70] = True
    page[20 : 20 + height, 100:120] = bracket(height)[:, ::-1]
    labels = connected(page)
    pieces = sorted(_pieces(labels), key=lambda piece: piece.left)
    assert len(_without_brackets(pieces, labels)) == (1 if left_out else 3)
    assert len(_without_brackets(pieces[:2], labels)) == 2


@pytest.mark.parametrize(("bright", "apart"), [(160, True), (159, False)])
def test_two_groups_of_gray_are_far_apart(bright, apart):
    gray = np.full((10, 10), 100.0)
    gray[:, 5:] = bright
    found = bright_part(gray)
    assert (found is not None) == apart
    if found is not None:
        np.testing.assert_array_equal(found, gray == bright)


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


def sheet(height, width, *, written=4, table=60):
    """A bright sheet with a stroke on a dark table, 100x100."""
    picture = np.full((100, 100, 3), table, np.uint8)
    picture[20 : 20 + height, 20 : 20 + width] = 230
    picture[30:40, 30 : 30 + written] = table
    return picture


@pytest.mark.parametrize(
    ("picture", "covered"),
    [
        (sheet(50, 50), True),
        (sheet(50, 49), False),  # less than a quarter of the picture
        (sheet(60, 60, written=0), False),  # nothing is on it
        (sheet(60, 60, table=171), False),  # hardly darker
        (sheet(60, 60, table=165), True),
    ],
)
def test_a_sheet_on_a_table(picture, covered):
    assert (sheet_alone(picture) is not picture) == covered


@pytest.mark.parametrize(
    ("height", "taller", "removed"),
    [(4, 9, True), (4, 8, False), (5, 40, False)],
)
def test_an_underline_is_flat_and_lower_than_what_stands_on_it(height, taller, removed):
    """Five times as wide as high; two pieces above are more than twice as high."""
    above = [(20, 20 + taller, left, left + 3) for left in (33, 44)]
    page = marks((90, 90), (60, 60 + height, 30, 50), *above)
    assert without_frames(page)[60:].any() != removed


@pytest.mark.parametrize(("size", "removed"), [(24, True), (23, False)])
def test_a_frame_holds_something(size, removed):
    """Three tenths of its smaller side."""
    page = marks((200, 200), (10, 90, 10, 150))
    page[13:87, 13:147] = False
    page[30 : 30 + size, 40:44] = True
    left = without_frames(page)
    assert bool(left[10].any()) != removed


@pytest.mark.parametrize(("width", "parts"), [(75, 1), (76, 2)])
def test_a_piece_wider_than_three_quarters_may_be_two(width, parts):
    ink = np.zeros((100, width), np.uint8)
    ink[:, :6] = ink[:, -6:] = 255
    ink[50:53] = 255  # they touch
    character = Character(0, 0, 100, width, 0, False, ink)
    found = split_touching([character], sure_of_parts)
    assert len(found) == parts


@pytest.mark.parametrize(("thickness", "parts"), [(7, 2), (12, 1)])
def test_a_cut_goes_through_little_ink(thickness, parts):
    """At most 1.3 strokes: these are six wide."""
    ink = np.zeros((100, 90), np.uint8)
    ink[:, :6] = ink[:, -6:] = 255
    ink[50 : 50 + thickness] = 255
    character = Character(0, 0, 100, 90, 0, False, ink)
    found = split_touching([character], sure_of_parts)
    assert len(found) == parts


@pytest.mark.parametrize(("column", "parts"), [(19, 1), (20, 2), (79, 2), (80, 1)])
def test_a_part_is_a_fifth_of_the_width(column, parts):
    """Where the cut goes: only at one place there is little ink."""
    ink = np.zeros((100, 100), np.uint8)
    ink[:, :6] = ink[:, -6:] = 255
    ink[50:64] = 255
    ink[53:64, column] = 0
    character = Character(0, 0, 100, 100, 0, False, ink)
    found = split_touching([character], sure_of_parts)
    assert len(found) == parts
    if parts == 2:
        assert found[1].left == column


@pytest.mark.parametrize(("size", "removed"), [(10, True), (9, False)])
def test_nothing_goes_if_nothing_large_is_left(size, removed):
    """A tenth of the picture's side: the bar of a 7 runs along the border too."""
    page = marks((100, 150), (0, 5, 0, 150), (50, 50 + size, 70, 73))
    assert without_edges(page)[:5].any() != removed


@pytest.mark.parametrize(("width", "covered"), [(20, True), (21, False)])
def test_a_sheet_may_reach_the_border(width, covered):
    """Along a tenth of it."""
    picture = np.full((50, 50, 3), 60, np.uint8)
    picture[15:, 15 : 15 + width] = 230
    picture[25:32, 22:24] = 60
    assert (sheet_alone(picture) is not picture) == covered


@pytest.mark.parametrize(
    ("size", "top"),
    [(12, 30), (39, 30), (45, 80)],
)
def test_what_is_dropped_may_be_the_dot_of_an_i(size, top):
    """Dirt, or a blob, smaller than two fifths of the usual size, over a stem."""
    labels = connected(marks((300, 300), (80, 180, 100, 110), (30, 30 + size, 90, 90 + size)))
    found = min(_merge_characters(_pieces(labels), labels), key=lambda piece: piece.left)
    assert (found.top, found.bottom) == (top, 180)


def test_the_most_level_path_through_ink():
    np.testing.assert_array_equal(_level_path(np.eye(9, dtype=bool)), np.arange(9))
    level = marks((9, 20), (4, 5, 0, 20), (0, 9, 7, 9))
    np.testing.assert_array_equal(_level_path(level), np.full(20, 4))


@pytest.mark.parametrize("slope", [0.0, 0.15, -0.15])
def test_a_line_through_characters_may_slope(slope):
    page = marks((200, 300), *((60, 140, left, left + 6) for left in (80, 150, 220)))
    characters = page.copy()
    for column in range(50, 260):
        row = round(100 + slope * (column - 150))
        page[row : row + 4, column] = True
    left = without_strikes(page, 6.0)
    np.testing.assert_array_equal(left & ~characters, False)
    assert left.sum() > 0.9 * characters.sum()
