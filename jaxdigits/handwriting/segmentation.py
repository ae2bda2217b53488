"""Find the characters in a picture, in reading order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from jaxdigits.errors import DataError
from jaxdigits.handwriting.ink import (
    Gray,
    Ink,
    Labels,
    Marks,
    Picture,
    connected,
    find_ink,
    strokes,
)

MOST_CHARACTERS = 2_000
"""Of a page full of writing; a picture with more pieces shows something else."""

MARGIN = 2
"""Pixels that `ink` shows around the box of a character, within the picture."""

_SMALLEST = 0.02  # the least size of a character, as a share of the picture's shorter side
_SPECK = 0.15  # a piece smaller than this share of the usual height is dirt, or a dot
_GAP = 0.03  # strokes nearer than this share of the usual height touch
_SPACE = 0.6  # a gap wider than this share of a line's height is a space
_MOST_REFUSED = 4.0  # the most area of shadows, stains and edges, in areas of strokes
_BLOB = 0.45  # a piece with a stroke wider than this share of its larger side is a blob
NOT_WRITING = "there is no writing in it: what it shows does not look like strokes of a pen"


@dataclass(frozen=True, eq=False)
class Box:
    """A part of a picture: the rows and columns where it begins, and those after its last."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """In rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """In columns."""
        return self.right - self.left

    @property
    def size(self) -> int:
        """The longer side."""
        return max(self.height, self.width)


@dataclass(frozen=True, eq=False)
class Character(Box):
    """A character found in a picture.

    Attributes:
        top: the first row of its box, in pixels of the picture.
        left: the first column.
        bottom: the row after the last.
        right: the column after the last.
        line: the number of its line of text, from 0.
        after_space: whether there is a space before it in its line.
        ink: its own ink, bright on 0, with a margin around the box.
        sign: which of `jaxdigits.handwriting.glyphs.SIGNS` it is; empty for a character.
        certainty: 0..1, that it is that sign, or a character.
    """

    line: int
    after_space: bool
    ink: Gray
    sign: str = ""
    certainty: float = 1.0


def without_signs(characters: Sequence[Character]) -> list[Character]:
    """Those that are no signs, by which sizes are told; signs, where there is nothing else."""
    return [character for character in characters if not character.sign] or list(characters)


@dataclass(frozen=True, eq=False)
class _Piece(Box):
    """Connected ink, or several pieces that belong together; `labels` are theirs."""

    area: int
    labels: list[int]


def find_characters(picture: Picture) -> list[Character]:
    """Find the characters in a picture, line by line, from left to right.

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
    labels = _label(strokes(ink))
    lines = _lines(_merge_characters(_pieces(labels), labels))
    return [
        Character(
            piece.top,
            piece.left,
            piece.bottom,
            piece.right,
            number,
            after_space,
            _own_ink(piece, ink, labels),
        )
        for number, line in enumerate(lines)
        for piece, after_space in _with_spaces(line)
    ]


def _label(marked: Marks) -> Labels:
    """Number the pieces; tiny gaps do not separate them."""
    labels = connected(marked)
    if not labels.any():
        raise DataError(NOT_WRITING)
    reach = round(_GAP * _usual_size(_pieces(labels)) / 2)
    if not reach:
        return labels
    joined = connected(ndimage.maximum_filter(marked, 2 * reach + 1))
    return np.where(marked, joined, 0)


def _pieces(labels: Labels) -> list[_Piece]:
    areas = np.bincount(labels.ravel())
    return [
        _Piece(rows.start, columns.start, rows.stop, columns.stop, int(areas[label]), [label])
        for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1)
    ]


def _usual_size(pieces: Sequence[_Piece]) -> int:
    """Return the size such that half of all ink is in pieces at least as large."""
    by_size = sorted(pieces, key=lambda piece: piece.size)
    inked = np.cumsum([piece.area for piece in by_size])
    return by_size[int(np.searchsorted(inked, inked[-1] / 2))].size


def _merge_characters(pieces: Sequence[_Piece], labels: Labels) -> list[_Piece]:
    """Drop dirt, blobs and frames, and merge the pieces that are one character."""
    large = [piece for piece in pieces if piece.size >= _SMALLEST * min(labels.shape)]
    if not 1 <= len(large) <= MOST_CHARACTERS:
        raise DataError(NOT_WRITING)
    usual = _usual_size(large)
    kept, refused = [], 0
    for piece in large:
        if piece.size < _SPECK * usual:
            continue
        if _is_stroke(piece, labels) and not _is_edge(piece, labels.shape):
            kept.append(piece)
        else:
            refused += piece.area
    if refused > _MOST_REFUSED * sum(piece.area for piece in kept):
        raise DataError(NOT_WRITING)
    usual = float(np.median([piece.size for piece in kept if piece.size > 0.4 * usual] or [usual]))
    dots = [piece for piece in pieces if piece not in kept and piece.size < 0.4 * usual]
    return _merge_dots(_merge_stacked(kept, usual), dots)


def _is_stroke(piece: _Piece, labels: Labels) -> bool:
    """Tell whether a piece is made of strokes, not a filled shape."""
    rows = slice(max(piece.top - 1, 0), piece.bottom + 1)
    columns = slice(max(piece.left - 1, 0), piece.right + 1)
    # The picture's border is no edge: the piece may go on beyond it.
    inside = labels[rows, columns] == piece.labels[0]
    if inside.all():
        return False
    widest = 2 * float(np.asarray(ndimage.distance_transform_edt(inside)).max())
    # A short thick bar is a stroke too: a dash, a dot, a 1.
    return widest <= _BLOB * piece.size or widest <= 1.2 * min(piece.height, piece.width) < 12


def _is_edge(piece: _Piece, shape: tuple[int, ...]) -> bool:
    """Tell whether a piece runs along the picture's border, as the edge of a sheet does.

    Of a 1 cut out at its box, the piece is much of the picture.
    """
    height, width = shape
    beside = piece.left == 0 or piece.right == width
    above = piece.top == 0 or piece.bottom == height
    slim = min(piece.height, piece.width) < 0.25 * piece.size
    return slim and (
        (beside and piece.height > 0.7 * height and piece.width < 0.5 * width)
        or (above and piece.width > 0.7 * width and piece.height < 0.5 * height)
    )


def _merge_stacked(kept: Sequence[_Piece], usual: float) -> list[_Piece]:
    """Merge pieces one above the other, such as a 5 and its bar."""
    pieces = sorted(kept, key=lambda piece: piece.left)
    merged = True
    while merged:  # what has grown may reach one before it
        merged = False
        first = 0
        while first < len(pieces):
            second = first + 1
            while second < len(pieces) and pieces[second].left < pieces[first].right:
                if _belong_together(pieces[first], pieces[second], usual):
                    pieces[first] = _union(pieces[first], pieces.pop(second))
                    merged = True
                    second = first
                second += 1
            first += 1
    return pieces


def _belong_together(a: _Piece, b: _Piece, usual: float) -> bool:
    overlap = min(a.right, b.right) - max(a.left, b.left)
    gap = max(a.top, b.top) - min(a.bottom, b.bottom)
    height = max(a.bottom, b.bottom) - min(a.top, b.top)
    return (
        overlap >= 0.5 * min(a.width, b.width)
        and gap < 0.3 * usual
        and height <= 1.6 * max(usual, a.height, b.height)
    )


def _merge_dots(pieces: list[_Piece], dots: Sequence[_Piece]) -> list[_Piece]:
    """Merge the dots of i and j with their stems."""
    small = [piece for piece in pieces if _stem_of(piece, pieces)]
    for dot in (*small, *dots):
        stem = _stem_of(dot, pieces)
        if stem:
            pieces = [piece for piece in pieces if piece is not stem and piece is not dot]
            pieces.append(_union(stem, dot))
    return pieces


def _stem_of(dot: _Piece, pieces: Sequence[_Piece]) -> _Piece | None:
    """Return the narrow piece that a small one stands over, the nearest."""
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
    """Group pieces into lines of text, which may rise or fall: each follows one beside it."""
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


def _with_spaces(line: Sequence[_Piece]) -> Iterator[tuple[_Piece, bool]]:
    height = float(np.median([piece.height for piece in line]))
    for before, piece in zip([line[0], *line], line, strict=False):
        yield piece, piece.left - before.right > _SPACE * height


def _own_ink(piece: _Piece, ink: Ink, labels: Labels) -> UInt8[np.ndarray, "rows columns"]:
    """Return the ink of a piece, with the gray at its edges, but not its neighbors'."""
    top, left = max(piece.top - MARGIN, 0), max(piece.left - MARGIN, 0)
    box = (slice(top, piece.bottom + MARGIN), slice(left, piece.right + MARGIN))
    own = np.isin(labels[box], piece.labels)
    near = ndimage.binary_dilation(own, np.ones((3, 3), bool), iterations=MARGIN)
    return np.round(255 * np.where(near, ink[box], 0)).astype(np.uint8)
