import numpy as np
import pytest
import scipy.ndimage

from jaxdigits.transforms.thinning import thin

EIGHT = scipy.ndimage.generate_binary_structure(2, 2)


def count_parts(marked: np.ndarray, joined: np.ndarray | None = None) -> int:
    return np.asarray(scipy.ndimage.label(marked, joined)[0]).max()  # pyright: ignore


def blobs(rng: np.random.Generator) -> np.ndarray:
    """Random strokes: what a thick pen leaves on some random walks."""
    page = np.zeros((60, 80), bool)
    for _ in range(4):
        row, column = rng.integers(10, 50), rng.integers(10, 70)
        for _ in range(60):
            size = rng.integers(1, 4)
            page[row - size : row + size, column - size : column + size] = True
            row = np.clip(row + rng.integers(-2, 3), 8, 52)
            column = np.clip(column + rng.integers(-2, 3), 8, 72)
    return page


@pytest.mark.parametrize("seed", range(20))
def test_what_is_joined_stays_joined_and_lines_are_thin(seed):
    page = blobs(np.random.default_rng(seed))
    lines = thin(page)
    assert not (lines & ~page).any()
    assert count_parts(lines, EIGHT) == count_parts(page, EIGHT)
    assert count_parts(~lines) == count_parts(~page)  # no hole more or less
    np.testing.assert_array_equal(thin(lines), lines)
    squares = lines[:-1, :-1] & lines[1:, :-1] & lines[:-1, 1:] & lines[1:, 1:]
    assert squares.sum() <= 2  # only where lines cross


def test_lines_stay():
    for line in (np.eye(20, dtype=bool), np.ones((1, 9), bool), np.ones((9, 1), bool)):
        np.testing.assert_array_equal(thin(line), line)
    assert thin(np.zeros((4, 5), bool)).sum() == 0
    assert thin(np.ones((1, 1), bool)).sum() == 1


def test_a_bar_becomes_its_middle():
    bar = np.zeros((9, 40), bool)
    bar[2:7, 3:37] = True
    found = thin(bar)
    assert set(np.nonzero(found)[0]) == {4}
    assert 28 <= found.sum() <= 34
