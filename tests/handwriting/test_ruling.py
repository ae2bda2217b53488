"""Lines of the paper: what is one, on both sides of each limit."""

import numpy as np
import pytest

from jaxdigits.handwriting.ruling import without_ruling

WIDTH = 6.0  # of strokes


def lines(*rows, thickness=2, columns=slice(0, 300)):
    """A page of 200x300 with lines from left to right."""
    page = np.zeros((200, 300), bool)
    for row in rows:
        page[row : row + thickness, columns] = True
    return page


def is_removed(page):
    """Whether all of it goes; else all of it stays. Turned by 90 degrees it is the same."""
    left = without_ruling(page, WIDTH)
    turned = without_ruling(page.T, WIDTH)
    np.testing.assert_array_equal(left, turned.T)
    assert left.sum() in (0, page.sum())
    return not left.any()


@pytest.mark.parametrize(("gap", "removed"), [(18, True), (19, False)])
def test_a_crossing_stroke_may_leave_a_gap(gap, removed):
    """Of three stroke widths; beyond, a half is no line."""
    page = lines(100)
    page[:, 150 : 150 + gap] = False
    assert is_removed(page) == removed


@pytest.mark.parametrize(("length", "removed"), [(180, True), (179, False)])
def test_a_line_covers_three_fifths_of_the_picture(length, removed):
    assert is_removed(lines(50, 100, 150, columns=slice(60, 60 + length))) == removed


@pytest.mark.parametrize(("count", "removed"), [(2, False), (3, True)])
def test_lines_that_end_within_the_picture_are_three_or_more(count, removed):
    assert is_removed(lines(*range(40, 40 + 50 * count, 50), columns=slice(40, 240))) == removed


@pytest.mark.parametrize(
    ("start", "stop", "removed"),
    [(8, 292, True), (9, 292, False), (8, 291, False)],
)
def test_two_lines_go_through_from_end_to_end(start, stop, removed):
    """But for 3% on either side."""
    assert is_removed(lines(60, 120, thickness=5, columns=slice(start, stop))) == removed


@pytest.mark.parametrize(("thickness", "removed"), [(3, True), (4, False)])
def test_a_single_line_is_thinner_than_strokes(thickness, removed):
    """It might be the bar of a 7."""
    assert is_removed(lines(100, thickness=thickness)) == removed


@pytest.mark.parametrize(("thickness", "removed"), [(9, True), (10, False)])
def test_no_line_is_thicker_than_strokes(thickness, removed):
    assert is_removed(lines(30, 90, 150, thickness=thickness)) == removed
