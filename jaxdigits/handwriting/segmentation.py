"""Finding the characters in a picture, in the order in which they are read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from scipy import ndimage

from jaxdigits.errors import DataError
from jaxdigits.handwriting.ink import connected, find_ink, strokes
from jaxdigits.handwriting.ruling import without_ruling
from jaxdigits.transforms.form import stroke_width

MOST_CHARACTERS = 2_000
"""Of a page full of writing; a picture with more pieces shows something else."""

MARGIN = 2
"""Pixels around the box of a character that its `ink` shows as well, within the picture."""

_SPECK = 0.15
"""Smaller than this share of the usual height, a piece is dirt, or a dot."""

_GAP = 0.03
"""Strokes nearer than this share of the usual height touch."""

_SPACE = 0.6
"""A gap wider than this share of a line's height is a space."""

_MOST_REFUSED = 4.0
"""Times the area of strokes that may be shadows, stains and edges."""

_BLOB = 0.45
"""A stroke wider than this share of a piece's larger side is no stroke."""


@dataclass(frozen=True, eq=False)
class Character:
    """A character found in a picture.

    Attributes:
        top: the first row of its box, in pixels of the picture.
        left: the first column.
        bottom: the row after the last.
        right: the column after the last.
        line: which line of text it is in, from 0.
        after_space: whether there is a space before it, within its line.
        ink: its own ink and no other's, bright on 0, with a margin around the box.
    """

    top: int
    left: int
    bottom: int
    right: int
    line: int
    after_space: bool
    ink: UInt8[np.ndarray, "height width"]


@dataclass
class _Piece:
    """Connected ink, or several pieces that belong together; `labels` are theirs."""

    top: int
    left: int
    bottom: int
    right: int
    area: int
    labels: list[int]

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def size(self) -> int:
        return max(self.height, self.width)


def find_characters(picture: UInt8[np.ndarray, "height width 3"]) -> list[Character]:
    """The characters in a picture, line by line, from left to right.

    Args:
        picture: pixels 0..255, upright, dark ink on a light ground or light ink on a dark one.

    Raises:
        DataError: it is blank, or what it shows is not writing.

    Example:
        >>> page = np.full((60, 100, 3), 250, np.uint8)
        >>> page[10:50, 20:26] = page[10:50, 60:66] = 30           # two strokes
        >>> [(found.top, found.left, found.after_space) for found in find_characters(page)]
        [(10, 20, False), (10, 60, True)]
    """
    ink = find_ink(picture)
    marked = strokes(ink)
    marked = without_ruling(marked, stroke_width(marked.astype(np.uint8)))
    labels = _label(marked)
    pieces = _characters_of(_pieces(labels), marked.shape, labels)
    lines = _lines(pieces)
    found = []
    for number, line in enumerate(lines):
        height = float(np.median([piece.height for piece in line]))
        for before, piece in zip([None, *line], line, strict=False):
            gap = piece.left - before.right if before else 0
            found.append(
                Character(
                    piece.top,
                    piece.left,
                    piece.bottom,
                    piece.right,
                    number,
                    gap > _SPACE * height,
                    _own_ink(piece, ink, labels),
                )
            )
    return found


_NOT_WRITING = "there is no writing in it: what it shows does not look like strokes of a pen"


def _pieces(labels: Int[np.ndarray, "height width"]) -> list[_Piece]:
    areas = np.bincount(labels.ravel())
    return [
        _Piece(rows.start, columns.start, rows.stop, columns.stop, int(areas[label]), [label])
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1)
    ]


def _characters_of(
    pieces: Sequence[_Piece],
    shape: tuple[int, int],
    labels: Int[np.ndarray, "height width"],
) -> list[_Piece]:
    """Pieces without dirt, blobs and frames, and with those joined that are one character."""
    large = [piece for piece in pieces if piece.size >= 0.02 * min(shape)]
    if not 1 <= len(large) <= MOST_CHARACTERS:
        raise DataError(_NOT_WRITING)
    usual = _usual_size(large)
    kept, refused = [], 0
    for piece in large:
        if piece.size < _SPECK * usual:
            continue
        if _is_stroke(piece, labels) and not _is_edge(piece, shape):
            kept.append(piece)
        else:
            refused += piece.area
    if refused > _MOST_REFUSED * sum(piece.area for piece in kept):
        raise DataError(_NOT_WRITING)
    usual = float(np.median([piece.size for piece in kept if piece.size > 0.4 * usual] or [usual]))
    dots = [piece for piece in pieces if piece not in kept and piece.size < 0.4 * usual]
    return _joined(kept, dots, usual)


def _label(marked: Bool[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
    """Numbers the pieces; a gap too small to be meant does not part them."""
    labels = connected(marked)
    if not labels.any():
        raise DataError(_NOT_WRITING)
    reach = round(_GAP * _usual_size(_pieces(labels)) / 2)
    if not reach:
        return labels
    joined = connected(ndimage.maximum_filter(marked, 2 * reach + 1))
    return np.where(marked, joined, 0)


def _usual_size(pieces: Sequence[_Piece]) -> int:
    """Half of all ink is in pieces at least as large as this."""
    by_size = sorted(pieces, key=lambda piece: piece.size)
    inked = np.cumsum([piece.area for piece in by_size])
    return by_size[int(np.searchsorted(inked, inked[-1] / 2))].size


def _is_stroke(piece: _Piece, labels: Int[np.ndarray, "height width"]) -> bool:
    """Whether a piece is made of strokes, rather than a filled shape."""
    rows = slice(max(piece.top - 1, 0), piece.bottom + 1)
    columns = slice(max(piece.left - 1, 0), piece.right + 1)
    # The picture's border is no edge: what goes on behind it is as wide at least.
    inside = labels[rows, columns] == piece.labels[0]
    if inside.all():
        return False
    widest = 2 * float(np.asarray(ndimage.distance_transform_edt(inside)).max())
    # A short thick bar is a stroke as well: a dash, a dot, a 1.
    return widest <= _BLOB * piece.size or widest <= 1.2 * min(piece.height, piece.width) < 12


def _is_edge(piece: _Piece, shape: tuple[int, int]) -> bool:
    """Whether a piece runs along the picture's border, as the edge of a table or a sheet does."""
    height, width = shape
    beside = piece.left == 0 or piece.right == width
    above = piece.top == 0 or piece.bottom == height
    slim = min(piece.height, piece.width) < 0.25 * piece.size
    return slim and (
        (beside and piece.height > 0.7 * height) or (above and piece.width > 0.7 * width)
    )


def _joined(kept: Sequence[_Piece], dots: Sequence[_Piece], usual: float) -> list[_Piece]:
    """Joins pieces one above the other: a 5 and its bar, an i and its dot."""
    pieces = sorted(kept, key=lambda piece: piece.left)
    joined = True
    while joined:  # what has grown may reach one before it
        joined = False
        first = 0
        while first < len(pieces):
            second = first + 1
            while second < len(pieces) and pieces[second].left < pieces[first].right:
                if _belong_together(pieces[first], pieces[second], usual):
                    pieces[first] = _union(pieces[first], pieces.pop(second))
                    joined = True
                    second = first
                second += 1
            first += 1
    small = [piece for piece in pieces if _stem_of(piece, pieces)]
    for dot in (*small, *dots):
        stem = _stem_of(dot, pieces)
        if stem:
            pieces = [piece for piece in pieces if piece is not stem and piece is not dot]
            pieces.append(_union(stem, dot))
    return pieces


def _stem_of(dot: _Piece, pieces: Sequence[_Piece]) -> _Piece | None:
    """The narrow piece that a small one stands over, as the dots of i and j do."""
    middle = (dot.left + dot.right) / 2
    below = [
        piece
        for piece in pieces
        if dot.size < 0.5 * piece.height
        and piece.width < piece.height
        and piece.left - 0.25 * piece.height <= middle <= piece.right + 0.25 * piece.height
        and 0 <= piece.top - dot.bottom < 0.8 * piece.height
    ]
    return min(below, key=lambda piece: piece.top - dot.bottom, default=None)


def _belong_together(a: _Piece, b: _Piece, usual: float) -> bool:
    over = min(a.right, b.right) - max(a.left, b.left)
    gap = max(a.top, b.top) - min(a.bottom, b.bottom)
    together = max(a.bottom, b.bottom) - min(a.top, b.top)
    return (
        over >= 0.5 * min(a.width, b.width)
        and gap < 0.3 * usual
        and together <= 1.6 * max(usual, a.height, b.height)
    )


def _union(a: _Piece, b: _Piece) -> _Piece:
    return _Piece(
        min(a.top, b.top),
        min(a.left, b.left),
        max(a.bottom, b.bottom),
        max(a.right, b.right),
        a.area + b.area,
        a.labels + b.labels,
    )


def _lines(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Lines of text, which may rise or fall: a piece follows one that it stands beside."""
    lines: list[list[_Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.left):
        best, most = None, 0.3
        for line in lines:
            last = line[-1]
            shared = min(last.bottom, piece.bottom) - max(last.top, piece.top)
            share = shared / min(last.height, piece.height)
            if share > most:
                best, most = line, share
        if best is None:
            lines.append([piece])
        else:
            best.append(piece)
    return sorted(lines, key=lambda line: np.mean([(p.top + p.bottom) / 2 for p in line]))


def _own_ink(
    piece: _Piece,
    ink: Float32[np.ndarray, "height width"],
    labels: Int[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "rows columns"]:
    """The ink of a piece, with the grey at its edges, and without its neighbours'."""
    top, left = max(piece.top - MARGIN, 0), max(piece.left - MARGIN, 0)
    box = (slice(top, piece.bottom + MARGIN), slice(left, piece.right + MARGIN))
    own = np.isin(labels[box], piece.labels)
    near = ndimage.binary_dilation(own, np.ones((3, 3), bool), iterations=MARGIN)
    return np.round(255 * np.where(near, ink[box], 0)).astype(np.uint8)
