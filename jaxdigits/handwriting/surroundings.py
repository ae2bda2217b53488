"""Remove what surrounds writing: the edges of a sheet, frames, and underlines."""

import numpy as np
from scipy import ndimage

from jaxdigits.handwriting.ink import Labels, Marks, connected

_SIDE = 0.9  # the least share of one side of the picture that an edge covers,
_SIDES = 1.2  # or of several sides, together
_HELD = 0.3  # the least size of what a frame holds, as a share of its own
_FLAT = 5.0  # the least width of an underline, in its heights
_LARGE = 0.1  # the least size of what must be left, as a share of the picture's shorter side


def without_edges(strokes: Marks) -> Marks:
    """Remove what runs along the picture's border: a table, the edge of a sheet, a scanner's lid.

    Nothing is removed if nothing large would be left: of a digit cut out at its box, the bar of a 7
    runs along the border too.

    Example:
        >>> page = np.zeros((100, 100), bool)
        >>> page[:, :10] = page[:10] = page[40:70, 50:54] = True      # two edges, and a stroke
        >>> left = without_edges(page)
        >>> int(left.sum()), bool(left[50, 52])
        (120, True)
    """
    labels = connected(strokes)
    count = int(labels.max())
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    covered = np.array([np.bincount(side, minlength=count + 1) / len(side) for side in sides])
    edges = (covered.max(axis=0) >= _SIDE) | (covered.sum(axis=0) >= _SIDES)
    return _without(edges, strokes, labels)


def without_frames(strokes: Marks) -> Marks:
    """Remove thin rings around other pieces, and flat pieces that several others stand on.

    Example:
        >>> page = np.zeros((100, 100), bool)
        >>> page[10:90, 10:90] = True
        >>> page[13:87, 13:87] = False                                # a frame
        >>> page[30:60, 30:33] = page[30:60, 50:53] = True            # two strokes in it
        >>> page[66:69, 25:60] = True                                 # a line below them
        >>> int(without_frames(page).sum())
        180
    """
    labels = connected(strokes)
    places = ndimage.find_objects(labels)
    boxes = np.array([[s.start, s.stop] for place in places for s in place]).reshape(-1, 2, 2)
    dropped = np.zeros(len(places) + 1, bool)
    lengths = boxes[:, :, 1] - boxes[:, :, 0]
    centers = boxes.mean(axis=2)
    for number, (box, (height, width)) in enumerate(zip(boxes, lengths, strict=True)):
        inside = ((boxes[:, :, 0] > box[:, 0]) & (boxes[:, :, 1] < box[:, 1])).all(axis=1)
        held = inside & (lengths.max(axis=1) >= _HELD * max(height, width))
        if held.any():
            ring = labels[places[number]] == number + 1
            holes = ndimage.binary_fill_holes(ring) & ~ring
            within = np.unique(labels[places[number]][holes])
            dropped[number + 1] = np.isin(np.flatnonzero(held) + 1, within).any()
        elif width >= _FLAT * height:
            over = (box[1, 0] < centers[:, 1]) & (centers[:, 1] < box[1, 1])
            dropped[number + 1] = np.sum(over & (lengths[:, 0] > 2 * height)) > 1
    return _without(dropped, strokes, labels)


def _without(dropped: np.ndarray, strokes: Marks, labels: Labels) -> Marks:
    """Drop pieces by their numbers, unless nothing large is left."""
    dropped[0] = False
    left = strokes & ~dropped[labels]
    places = ndimage.find_objects(connected(left))
    size = max((side.stop - side.start for place in places for side in place), default=0)
    return left if size >= _LARGE * min(strokes.shape) else strokes
