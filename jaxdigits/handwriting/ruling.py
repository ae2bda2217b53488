"""Remove lines that go through characters, of the paper or of a pen, but not the characters."""

import numpy as np
from scipy import ndimage

from jaxdigits.handwriting.ink import Labels, Marks, connected

_SPAN = 0.6  # the least length of the paper's lines, as a share of the picture's side
_BRIDGE = 3.0  # the gap that a crossing stroke may leave in a line, in stroke widths
_LONG = 1.5  # the least width of characters that a line connects, in their height
_HIGH = 3.0  # the height that these exceed, in stroke widths
_WHOLE = 0.95  # the least share of that width which the line covers
_STRAIGHT = 1.0  # the most that it deviates from a straight line, in stroke widths
_CROSSED = 1.6  # the thickness of a line, over its usual one, from which a stroke crosses it


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


def without_strikes(strokes: Marks, width: float) -> Marks:
    """Remove lines that were drawn through several characters, or below them so that they touch.

    Args:
        strokes: where ink is.
        width: of strokes, in pixels.

    Example:
        >>> page = np.zeros((100, 200), bool)
        >>> page[20:80, 40:46] = page[20:80, 100:106] = page[20:80, 160:166] = True
        >>> page[50:54, 20:180] = True                       # a line through three strokes
        >>> left = without_strikes(page, width=6.0)
        >>> int(left.sum()), int(left[51].sum())
        (1080, 18)
    """
    rest = strokes.copy()
    labels = connected(strokes)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        height = rows.stop - rows.start
        if columns.stop - columns.start < _LONG * height or height <= _HIGH * width:
            continue  # also the thousands of dots of a printed picture
        piece = labels[rows, columns] == number
        line = _line_through(piece, width)
        places = ndimage.find_objects(connected(piece & ~line))
        crossing = [(x.start, x.stop) for y, x in places if y.stop - y.start > _HIGH * width]
        sticks_out = line[:, : round(width)].any() and line[:, -round(width) :].any()
        if len(crossing) > 1 and sticks_out:
            rest[rows, columns] &= ~line
    return rest


def _line_through(piece: Marks, width: float) -> Marks:
    """Mark a nearly straight line from end to end of a piece, but for what crosses it."""
    path = _level_path(piece)
    columns = np.arange(len(path))
    covered = piece[path, columns]
    none = np.zeros_like(piece)
    if covered.mean() < _WHOLE:
        return none
    straight = np.polyval(np.polyfit(columns, path, 1), columns)
    if np.std(path - straight) > _STRAIGHT * width:
        return none
    thickness = _vertical_runs(piece)
    most = _CROSSED * np.median(thickness[path, columns][covered])
    labels = connected(piece & (thickness <= most))
    on_line = np.unique(labels[path, columns])
    return np.isin(labels, on_line[on_line > 0])


def _level_path(piece: Marks) -> np.ndarray:
    """Find the row in each column of a path through as much ink, and as level, as can be."""
    height, width = piece.shape
    cost = np.where(piece, 0.0, 1.0)
    total, steps = cost[:, 0], np.zeros((width, height), int)
    for column in range(1, width):
        around = np.pad(total, 1, constant_values=np.inf)
        choices = np.stack([around[:-2] + 0.2, around[1:-1], around[2:] + 0.2])
        best = choices.argmin(axis=0)
        steps[column] = best - 1
        total = choices[best, np.arange(height)] + cost[:, column]
    path = [int(total.argmin())]
    for column in range(width - 1, 0, -1):
        path.append(path[-1] + steps[column, path[-1]])
    return np.array(path[::-1])


def _vertical_runs(strokes: Marks) -> Labels:
    """Count the pixels connected with each one in its column; 0 where there is no ink."""
    height = len(strokes)
    rows = np.arange(height)[:, None]
    above = np.maximum.accumulate(np.where(strokes, -1, rows), axis=0)
    below = np.minimum.accumulate(np.where(strokes, height, rows)[::-1], axis=0)[::-1]
    return np.where(strokes, below - above - 1, 0)
