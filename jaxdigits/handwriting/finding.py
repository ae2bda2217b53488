"""Find what is written in a picture in the way, and at the scale, that a network reads best."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from jaxdigits.errors import ConfigError, DataError
from jaxdigits.handwriting.context import spells, words_of
from jaxdigits.handwriting.ink import Gray, Picture, connected
from jaxdigits.handwriting.page import Page, find_at, look, scales
from jaxdigits.handwriting.parting import Piece, Read, is_alone, part, pieces
from jaxdigits.handwriting.segmentation import NOT_WRITING, Character, find_characters
from jaxdigits.handwriting.turns import page_turns, turns
from jaxdigits.runs.run import Run
from jaxdigits.transforms.form import to_form

WAYS = ("auto", "strokes", "network")
"""To find characters."""

_READ, _CLEAR = 0.93, 0.85
"""The mean confidence, and the clarity of a page, from which no other scale is tried."""

_PLAIN, _PLAIN_MANY = 0.8, 0.5
"""The mean confidence below which what the network finds is less than what strokes show, where it
is one character, and where there are several."""

_LARGE, _WITHIN = 0.4, 0.5
"""The share of a picture that a clear drawing covers, from which the network looks too; and the
share of that box which the network's characters cover at most, if it is the outline of a sheet."""

_PARTS, _INKED = 3, 127
"""The most parts of a drawing, and the pixels that its ink exceeds."""

_HAIRLINES = 0.77
"""The clarity of a page above which its lines are not too thin."""

_FINER, _PASSABLE, _LEGIBLE = 2.0, 0.3, 0.7
"""How much finer scales may be that are tried where the mean confidence is at least that; and the
clarity of a page below which a clear character does not count, and the mean confidence below which
a page may lie on its side."""

_TURNS, _STEEP = 3, 45.0
"""How often a page is looked at, until it is upright; and by how many degrees it is turned at least
if it is not."""

_WORTH, _MANY = 0.1, 0.05
"""What the logarithms of confidence and of the number of characters count, beside clarity."""

_LEAST_CLEAR = 0.01

_WIDEST = 2.0
"""The widest character, in heights."""

_NONE, _DOUBTFUL, _SIGN, _AGREED = 0.9, 0.8, 0.65, 0.9
"""Of stray marks: how probable it is that one is no character, and how certain the page network is
of one that may be, or of a sign; and from where on the line network's word keeps it."""


def find_pieces(picture: Picture, run: Run, way: str) -> tuple[list[Piece], float, bool]:
    """Find what is written, and what a network says of it.

    Args:
        picture: pixels 0..255.
        run: the network.
        way: of `WAYS`.

    Returns:
        Characters and signs in reading order; by how many degrees the page was turned,
        counter-clockwise; and whether they were found by their strokes.

    Raises:
        ConfigError: there is no such way.
        DataError: there is no writing in the picture.
    """
    found, settled = _find(picture, run, way)
    return settled, found.page.degrees, found.by_strokes


class _Found(NamedTuple):
    """A page, and what the networks say of its characters."""

    page: Page
    read: Read
    turns: Float[np.ndarray, "n 5"]
    by_strokes: bool = False

    @property
    def clear(self) -> float:
        """The mean logarithm of how clear each is."""
        return float(np.log(np.maximum(self.read.each, _LEAST_CLEAR)).mean())

    @property
    def strays(self) -> list[Character]:
        """Marks beside others that seem to be none of the characters."""
        if float(self.read.each.max()) < _READ:
            return []
        return [
            character
            for character, none in zip(self.page.characters, self.turns[:, -1], strict=True)
            if self._is_stray(character, float(none))
        ]

    def _is_stray(self, character: Character, none: float) -> bool:
        if character.sign:  # dots are too small to be sure of
            return character.sign != "." and character.certainty < _SIGN
        if none < _NONE:
            return False
        return character.certainty < _DOUBTFUL or is_alone(character, self.page)

    @property
    def score(self) -> float:
        many = math.log(len(self.page.characters))
        return self.page.clarity + _WORTH * self.clear + _MANY * many

    @property
    def is_clear(self) -> bool:
        """Whether no other scale need be tried."""
        return self.clear > math.log(_READ) and self.page.clarity > _CLEAR


def _find(picture: Picture, run: Run, way: str) -> tuple[_Found, list[Piece]]:
    """Find what is written in one of `WAYS`, and settle what it says."""
    if way not in WAYS:
        raise ConfigError(f"find must be one of {', '.join(WAYS)}, not {way!r}")
    if way == "strokes":
        characters = find_characters(picture)
        images, probabilities = _classify([character.ink for character in characters], run)
        read = Read(images, probabilities, probabilities.max(axis=1))
        upright = np.tile([1.0, 0, 0, 0, 0], (len(images), 1))
        found = _Found(_as_it_is(picture, characters), read, upright, by_strokes=True)
        return found, _settled(found, run)
    if way == "network":
        found = _best(picture, run)
        return found, _settled(found, run)
    try:
        plain = _look_at(_as_it_is(picture, find_characters(picture)), run)
        plain = plain._replace(by_strokes=True)
    except DataError:
        return _find(picture, run, "network")
    drawing = _is_drawing(plain)
    if drawing and _covered(plain.page.characters) < _LARGE * picture[..., 0].size:
        return plain, _settled(plain, run)
    try:
        found, settled = _find(picture, run, "network")
    except DataError:
        return plain, _settled(plain, run)
    if _is_outline(plain, settled):
        return found, settled
    if drawing:
        return plain, _settled(plain, run)
    clear, least = found.clear, _PLAIN
    if min(len(plain.page.characters), len(settled)) > 1:  # the line network settles what touches
        clear, least = max(clear, _sure(settled)), _PLAIN_MANY
    if clear < math.log(least) and plain.clear > clear:
        return plain, _settled(plain, run)
    return found, settled


def _is_drawing(plain: _Found) -> bool:
    """Whether it is one clear character, and no column of them."""
    first, *others = plain.page.characters
    return (
        not others
        and plain.clear > math.log(_READ)
        and int(connected(first.ink > _INKED).max()) <= _PARTS
    )


def _is_outline(plain: _Found, settled: Sequence[Piece]) -> bool:
    """Whether a single character is really a sheet with writing on it, or the table around it."""
    written = _covered([piece.character for piece in settled])
    within = written < _WITHIN * _covered(plain.page.characters)
    return len(plain.page.characters) == 1 and within and _sure(settled) > math.log(_PLAIN)


def _covered(characters: Sequence[Character]) -> int:
    """The pixels that the boxes of characters cover."""
    return sum(character.height * character.width for character in characters)


def _sure(settled: Sequence[Piece]) -> float:
    """The mean logarithm of how probable it is that each is what is read."""
    each = [
        piece.character.certainty if piece.character.sign else float(piece.probabilities.max())
        for piece in settled
    ]
    return float(np.log(np.maximum(each, _LEAST_CLEAR)).mean())


def _as_it_is(picture: Picture, characters: list[Character]) -> Page:
    return Page(picture, characters, degrees=0.0, scale=1.0, clarity=1.0)


def _best(picture: Picture, run: Run) -> _Found:
    """Find what is written, upright, and at the scale at which it reads best.

    The page network finds little on pages that lie on their side. So what reads badly is looked at
    from there, too.
    """
    best = _best_of_scales(picture, run)
    if best is None or best.clear < math.log(_LEGIBLE):
        other = _best_of_scales(picture, run, quarters=1)
        if other and other.page.degrees > _STEEP and other.is_clear:
            best = max(best or other, other, key=lambda read: read.score)
    if best is None:
        raise DataError(NOT_WRITING)
    return best


def _best_of_scales(picture: Picture, run: Run, quarters: int = 0) -> _Found | None:
    """The same of a page that is turned by less than 45 degrees from that many quarters."""
    found: list[_Found] = []
    best = None
    for thin, scale in itertools.product((False, True), scales(picture)):
        if best is not None:
            if best.is_clear or (thin and best.page.clarity > _HAIRLINES):
                break
            finest = max(read.page.scale for read in found)
            # A clear character on an unclear page may be the outline of a sheet.
            outline = best.clear > math.log(_READ) and best.page.clarity < _LEGIBLE
            passable = best.clear > math.log(_PASSABLE) and not outline
            if passable and scale > _FINER * finest:
                continue
        known = [read.page for read in found]
        page = find_at(picture, scale, known, thin=thin, quarters=quarters)
        if page is None:
            continue
        found.append(_upright(picture, _look_at(page, run), run))
        best = max(found, key=lambda read: read.score)
    return best


def _upright(picture: Picture, first: _Found, run: Run) -> _Found:
    """Look at a page again while its characters are turned by quarters."""
    found = first
    for _ in range(_TURNS):
        given = -round(found.page.degrees / 90) % 4
        quarters = int(page_turns(found.page.characters, found.turns, given).argmax())
        if not quarters:
            return found
        degrees = (found.page.degrees + 90 * quarters + _STEEP) % 360 - _STEEP
        page = look(picture, first.page.scale, degrees, thin=first.page.thin)
        if page is None:
            break
        found = _look_at(page, run)
    return first


def _settled(found: _Found, run: Run) -> list[Piece]:
    """What the page says, lines considered, and stray marks left out, but those of a word."""
    if found.by_strokes:
        each = found.read.probabilities.max(axis=1)
        return pieces(found.page.characters, found.read._replace(each=each))
    settled = part(found.page, run.class_names, found.read, lambda others: _ask(others, run)[0])
    strays = {_box(character) for character in found.strays}
    words = words_of([piece.character for piece in settled]) if strays else ()
    spelled = {
        row
        for rows in words
        if spells(np.stack([settled[row].probabilities for row in rows]), run.class_names)
        for row in rows
    }
    kept = [
        piece
        for row, piece in enumerate(settled)
        if _box(piece.character) not in strays or piece.agreed > _AGREED or row in spelled
    ]
    lines = sorted({piece.character.line for piece in kept})
    return [
        piece._replace(character=replace(piece.character, line=lines.index(piece.character.line)))
        for piece in kept
    ]


def _box(character: Character) -> tuple[int, int, int, int]:
    return character.top, character.left, character.bottom, character.right


def _look_at(page: Page, run: Run) -> _Found:
    return _Found(page, *_ask(page.characters, run))


def _ask(characters: Sequence[Character], run: Run) -> tuple[Read, Float[np.ndarray, "n 5"]]:
    """What the network says of characters, and what `turns` says."""
    inks = [character.ink for character in characters]
    kinds = {"digit" if name.isdigit() else "letter" for name in run.class_names}
    images, probabilities = _classify(inks, run)
    turned = turns(inks, kinds)
    return Read(images, probabilities, _clear(characters, probabilities, turned)), turned


def _clear(
    characters: Sequence[Character],
    probabilities: Float32[np.ndarray, "n classes"],
    turned: Float[np.ndarray, "n 5"],
) -> Float[np.ndarray, " n"]:
    """How clear it is what each is, 0..1: that it is a character, and which; or a sign."""
    signs = np.array([bool(found.sign) for found in characters])
    certainties = np.array([found.certainty for found in characters])
    wide = np.array([found.width > _WIDEST * found.height for found in characters])
    known = probabilities.max(axis=1) * (1 - turned[:, -1]) * ~wide
    return np.where(signs, certainties, known)


def _classify(
    inks: Sequence[np.ndarray], run: Run
) -> tuple[UInt8[np.ndarray, "n ..."], Float32[np.ndarray, "n classes"]]:
    """What the network sees of characters, and the probability of each class for each."""
    images = np.stack([to_image(ink, run) for ink in inks])
    return images, run.predict_proba(images)


def to_image(ink: Gray, run: Run) -> UInt8[np.ndarray, "..."]:
    """Bring the ink of a character, bright on 0, to the form that a network was trained on."""
    return to_form(ink, run.form, run.image_shape, light_ground=run.light_ground, extent=run.extent)
