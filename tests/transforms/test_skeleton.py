"""Center lines, pixel by pixel against scikit-image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import skeletonize as reference

from jaxdigits.transforms.skeleton import skeletonize


@settings(max_examples=100)
@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.integers(0, 1000), st.floats(0, 4))
def test_random_shapes(size, seed, smooth):
    """From specks to blobs, also in Fortran's order of memory."""
    marked = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), smooth) > 0
    np.testing.assert_array_equal(skeletonize(marked), reference(marked))
    np.testing.assert_array_equal(skeletonize(marked.T), reference(marked.T))


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (40, 3), (31, 32)])
def test_full_rectangles(size):
    marked = np.ones(size, bool)
    np.testing.assert_array_equal(skeletonize(marked), reference(marked))
