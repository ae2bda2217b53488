"""Remove what surrounds writing: a table, the edges of a sheet, frames, and underlines."""

import numpy as np
from scipy import ndimage

from jaxdigits.handwriting.ink import Labels, Marks, Picture, bright_part, connected

SMALLEST = 0.02
"""The least size of a piece that may be a character, as a share of the picture's shorter side."""

_MUCH = 0.25  # the least share of the picture that a sheet covers
_SQUARE = 0.85  # the least share of a rectangle around it; the fullest digit covers four fifths
_WRITTEN = 0.3  # the most of a sheet that is written on
_SIDE = 0.9  # the least share of one side of the picture that an edge covers,
_SIDES = 1.2  # or of several sides, together
_HELD = 0.3  # the least size of what a frame holds, as a share of its smaller side
_FLAT = 5.0  # the least width of an underline, in its height
_TALLER = 1.2  # the least height of what stands on it, in its height
_MOST_OF_IT = 0.8  # the share of an underline that is no thicker than what counts as its thickness
_LARGE = 0.1  # the least size of what must be left, as a share of the picture's shorter side


def sheet_alone(picture: Picture) -> Picture:
    """Cover the table that a sheet lies on with the color of the sheet; the frame of a board too.

    A sheet is bright where the border is dark, or dark where it is bright; it is nearly a
    rectangle, covers much of the picture, and what is written on it has the border's brightness.

    Example:
        >>> picture = np.full((100, 100, 3), 60, np.uint8)
        >>> picture[15:85, 15:85] = 230
        >>> picture[40:60, 50:54] = 40
        >>> int((sheet_alone(picture)[..., 0] < 100).sum())          # the stroke
        80
    """
    gray = picture.mean(axis=2)
    bright = bright_part(gray)
    if bright is None:
        return picture
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    share = float(border.mean())
    if 0.1 < share < 0.9:
        return picture
    labels = connected(bright if share <= 0.1 else ~bright)
    areas = np.bincount(labels.ravel())[1:]
    number = int(areas.argmax())
    rows, columns = ndimage.find_objects(labels)[number]
    inside = labels[rows, columns] == number + 1
    filled = np.asarray(ndimage.binary_fill_holes(inside))
    written = 1 - areas[number] / filled.sum()
    if filled.sum() < _MUCH * gray.size or _fill(filled) < _SQUARE or not 0 < written < _WRITTEN:
        return picture
    sheet = np.zeros_like(bright)
    sheet[rows, columns] = filled
    # Its blurred rim is table too.
    sheet = ndimage.binary_erosion(sheet, np.ones((3, 3), bool), max(round(0.01 * len(gray)), 2))
    color = np.median(picture[sheet & (labels == number + 1)], axis=0)
    return np.where(sheet[..., None], picture, color.astype(np.uint8))


def _fill(shape: Marks) -> float:
    """Return the share that a shape covers of the smallest rectangle around it, at any angle."""
    points = np.argwhere(shape ^ ndimage.binary_erosion(shape))
    angles = np.radians(np.arange(90))
    along, across = (
        np.ptp(points @ np.stack(axes), axis=0) + 1
        for axes in ((np.cos(angles), np.sin(angles)), (-np.sin(angles), np.cos(angles)))
    )
    return float(shape.sum() / (along * across).min())


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
    """Remove thin rings around other pieces, closed or nearly so, and flat pieces along several.

    A flat piece may slope, wave, or have an arrow's head or a bracket's ends.

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
    # Each is compared with each: not the thousands of dots of a printed picture.
    large = np.flatnonzero(np.ptp(boxes, axis=2).max(axis=1) >= SMALLEST * min(strokes.shape))
    boxes = boxes[large]
    lengths = boxes[:, :, 1] - boxes[:, :, 0]
    centers = boxes.mean(axis=2)
    for number, box, (height, width) in zip(large, boxes, lengths, strict=True):
        within = (box[:, 0] < centers) & (centers < box[:, 1])
        smaller = (lengths < (height, width)).all(axis=1)
        held = within.all(axis=1) & smaller & (lengths.max(axis=1) >= _HELD * min(height, width))
        over = within[:, 1] & (large != number)
        if held.any() or over.sum() > 1:
            piece = labels[places[number]] == number + 1
            thickness = np.quantile(_extents(piece), _MOST_OF_IT)
            taller = lengths[over, 0] > max(2 * thickness, _TALLER * height)
            flat = width >= _FLAT * height and taller.sum() > 1
            inner = (centers[held] - box[:, 0]).astype(int).tolist()
            dropped[number + 1] = flat or any(_is_around(piece, *center) for center in inner)
    return _without(dropped, strokes, labels)


def _extents(piece: Marks) -> np.ndarray:
    """Measure a piece in each of its columns, from its first row there to its last."""
    return len(piece) - piece.argmax(axis=0) - piece[::-1].argmax(axis=0)


def _is_around(piece: Marks, row: int, column: int) -> bool:
    """Tell whether a piece is to the left and right of a place, above, and below."""
    beams = piece[row, :column], piece[row, column:], piece[:row, column], piece[row:, column]
    return all(beam.any() for beam in beams)


def _without(dropped: np.ndarray, strokes: Marks, labels: Labels) -> Marks:
    """Drop pieces by their numbers, unless nothing large is left."""
    dropped[0] = False
    if not dropped.any():
        return strokes
    left = [p for p, out in zip(ndimage.find_objects(labels), dropped[1:], strict=True) if not out]
    size = max((side.stop - side.start for place in left for side in place), default=0)
    return strokes & ~dropped[labels] if size >= _LARGE * min(strokes.shape) else strokes
