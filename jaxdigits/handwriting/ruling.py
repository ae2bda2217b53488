"""Remove the lines of ruled and squared paper, but not what is written over them."""

import numpy as np
from scipy import ndimage

from jaxdigits.handwriting.ink import Labels, Marks, connected

_SPAN = 0.6  # the least length of the paper's lines, as a share of the picture's side
_BRIDGE = 3.0  # the gap that a crossing stroke may leave in a line, in stroke widths


def without_ruling(strokes: Marks, width: float) -> Marks:
    """Remove the lines that go through the picture, horizontal or vertical.

    Where a stroke crosses a line, there is ink on both sides, and it stays. A single line is
    removed only if it is thinner than the strokes: it might be the bar of a 7.

    Args:
        strokes: where ink is.
        width: of strokes, in pixels.

    Example:
        >>> page = np.zeros((200, 300), bool)
        >>> page[100:102] = True                            # a line
        >>> page[60:140, 150:156] = True                    # a stroke across it
        >>> left = without_ruling(page, width=6.0)
        >>> left[100].nonzero()[0].tolist()
        [150, 151, 152, 153, 154, 155]
    """
    rest = strokes & ~_horizontal_lines(strokes, width)
    return rest & ~_horizontal_lines(strokes.T, width).T


def _horizontal_lines(strokes: Marks, width: float) -> Marks:
    """Mark lines from left to right, perhaps bent or a little rotated."""
    length = strokes.shape[1]
    thickness = _vertical_runs(strokes)
    thin = strokes & (thickness <= max(1.6 * width, 3))
    reach = round(_BRIDGE * width) // 2 * 2 + 1
    bridged = ndimage.maximum_filter(thin, (3, reach))
    labels = connected(bridged)
    labels[~thin] = 0
    spans = {
        number: (place[1].start, place[1].stop)
        for number, place in enumerate(ndimage.find_objects(labels), 1)
        if place is not None and place[1].stop - place[1].start >= _SPAN * length
    }
    through = [s for s in spans.values() if s[0] < 0.03 * length and s[1] > 0.97 * length]
    found = np.zeros_like(strokes)
    for number, span in spans.items():
        line = labels == number
        hairline = np.median(thickness[line]) < 0.6 * width
        if len(spans) > 2 or (span in through and (len(through) > 1 or hairline)):
            found |= line
    return found


def _vertical_runs(strokes: Marks) -> Labels:
    """Count the pixels connected with each one in its column; 0 where there is no ink."""
    height = len(strokes)
    rows = np.arange(height)[:, None]
    above = np.maximum.accumulate(np.where(strokes, -1, rows), axis=0)
    below = np.minimum.accumulate(np.where(strokes, height, rows)[::-1], axis=0)[::-1]
    return np.where(strokes, below - above - 1, 0)
