"""Settle between two networks what a line says: one cuts it into characters, one does not.

The page network finds characters, and a reader says what each is; where neighbors touch, either may
be wrong. The line network needs no cuts. Where it reads something else, its characters are cut out
too, and what both networks take for more probable is chosen. What they agree to be one character is
what both think it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from jaxdigits.handwriting.glyphs import SIGNS
from jaxdigits.handwriting.line_network import SYMBOLS, UNKNOWN
from jaxdigits.handwriting.lines import Line, Token, paste, read_line
from jaxdigits.handwriting.marks import MARGIN
from jaxdigits.handwriting.page import Page
from jaxdigits.handwriting.segmentation import Character, without_signs

_NEAR, _WIDE = 0.06, 1.15  # gaps and widths that may hide a cut, in sizes
_FINE = 2.0  # resolution of ink that is cut, over the network's
_VOTE, _CUT_VOTE = 0.55, 0.75  # what the line network's word counts, also on its own cuts
_WORTH = 0.5  # what the reader's doubts count, beside how probable the line network finds a text
_LEAST = 0.05  # a probability that no further doubt lowers
_SIGN, _SPLIT = 4.0, 7.0  # how improbable more signs are, and more characters in one alone
_DOUBT = 0.05  # the least that the page network is taken to doubt what it takes for a sign
_PADDING = 0.5  # how far beyond a group the line network looks, in sizes, up to its neighbors


class Read(NamedTuple):
    """What a reader says of characters.

    Attributes:
        images: that it saw.
        probabilities: of its classes.
        each: how clear it is what each is, 0..1.
    """

    images: UInt8[np.ndarray, "n ..."]
    probabilities: Float32[np.ndarray, "n classes"]
    each: Float[np.ndarray, " n"]


class Piece(NamedTuple):
    """A character, and what is said of it.

    Attributes:
        character: its place, and its sign, if it is one.
        image: that the reader saw.
        probabilities: of its classes.
        each: how clear it is what it is, 0..1.
        agreed: how probable the line network finds it, 0..1.
    """

    character: Character
    image: UInt8[np.ndarray, "..."]
    probabilities: Float32[np.ndarray, " classes"]
    each: float
    agreed: float = 0.0


@dataclass
class _Group:
    """Characters of a line that touch, or one that does not: as found, and as the line is read."""

    line: Line
    characters: list[Character]
    alone: bool
    left: float
    right: float
    tokens: list[Token]

    @property
    def names(self) -> list[str]:
        """What was read."""
        return [SYMBOLS[token.symbol] for token in self.tokens]


def part(
    page: Page,
    class_names: Sequence[str],
    found: Read,
    reader: Callable[[Sequence[Character]], Read],
) -> list[Piece]:
    """Settle what the lines of a page say.

    Args:
        page: with the characters that were found.
        class_names: of the reader.
        found: what it says of these.
        reader: to ask it about others.

    Returns:
        The characters in reading order.
    """
    if not set(class_names) <= set(SYMBOLS):
        return pieces(page.characters, found)
    groups = list(_groups_of(page, class_names))
    settled, cuts, start = [], [], 0
    for group in groups:
        mine = pieces(group.characters, found, start)
        start += len(mine)
        settled.append(_voted(mine, group, class_names, _VOTE))
        same = [_name(piece, class_names) for piece in settled[-1]] == group.names
        cuts.append([] if same or len(mine) == len(group.names) == 1 else _cut(group, page))
    others = [character for cut in cuts for character in cut]
    cut_pieces = iter(pieces(others, reader(others)) if others else ())
    for number, (group, cut) in enumerate(zip(groups, cuts, strict=True)):
        if not cut:
            continue
        theirs = _voted(list(islice(cut_pieces, len(cut))), group, class_names, _CUT_VOTE)
        better = _score(theirs, group, class_names) - _score(settled[number], group, class_names)
        if better > _SPLIT * group.alone + _SIGN * _more_signs(theirs, settled[number]):
            settled[number] = [
                piece._replace(each=(piece.each + token.certainty) / 2)
                for piece, token in zip(theirs, group.tokens, strict=False)
            ]
    return [
        piece
        for group, mine in zip(groups, settled, strict=True)
        for piece in _doubted(mine, group, class_names)
    ]


def _doubted(found: Sequence[Piece], group: _Group, class_names: Sequence[str]) -> Iterator[Piece]:
    """Be no surer of characters than the line network is of the text that they make."""
    likelihood = _likelihood(found, group, class_names)
    sure = float(np.exp(likelihood / max(len(found), 1)))
    for piece in found:
        character = piece.character
        if character.sign:
            character = replace(character, certainty=sure * character.certainty)
        spread = (1 - sure) / len(class_names)
        probabilities = (sure * piece.probabilities + spread).astype(np.float32)
        yield piece._replace(character=character, probabilities=probabilities)


def _likelihood(found: Sequence[Piece], group: _Group, class_names: Sequence[str]) -> float:
    """How probable the line network finds these characters, as a logarithm."""
    symbols = [SYMBOLS.index(_name(piece, class_names)) for piece in found]
    return group.line.likelihood(symbols, group.left, group.right)


def pieces(characters: Sequence[Character], read: Read, first: int = 0) -> list[Piece]:
    """Put together what was found and what is said of it, from a row on."""
    return [
        Piece(character, read.images[row], read.probabilities[row], float(read.each[row]))
        for row, character in enumerate(characters, first)
    ]


def is_alone(character: Character, page: Page) -> bool:
    """Whether a character touches no other one of its line, and is no wider than one is."""
    size = _size(page.characters)
    line = [other for other in page.characters if other.line == character.line]
    (group,) = (group for group in _groups(line, size) if character in group)
    return _alone(group, size)


def _alone(group: Sequence[Character], size: float) -> bool:
    return len(group) == 1 and (group[0].width <= _WIDE * size or bool(group[0].sign))


def _groups_of(page: Page, class_names: Sequence[str]) -> Iterator[_Group]:
    """The groups of all lines."""
    size = _size(page.characters)
    for characters in _lines(page.characters):
        line = read_line(characters, page, class_names)
        tokens = line.tokens
        groups = list(_groups(characters, size))
        ends = [max(c.right for c in group) for group in groups]
        starts = [min(c.left for c in group) for group in groups]
        for number, group in enumerate(groups):
            before = ends[number - 1] if number else -np.inf
            after = starts[number + 1] if number + 1 < len(groups) else np.inf
            left = max(starts[number] - _PADDING * size, (starts[number] + before) / 2)
            right = min(ends[number] + _PADDING * size, (ends[number] + after) / 2)
            inside = [token for token in tokens if left <= token.place < right]
            yield _Group(line, group, _alone(group, size), left, right, inside)


def _name(piece: Piece, class_names: Sequence[str]) -> str:
    return piece.character.sign or class_names[int(piece.probabilities.argmax())]


def _score(found: Sequence[Piece], group: _Group, class_names: Sequence[str]) -> float:
    """How probable it is that a group is these characters, as a logarithm."""
    each = np.maximum([piece.each for piece in found], _LEAST)
    return _WORTH * float(np.log(each).sum()) + _likelihood(found, group, class_names)


def _more_signs(theirs: Sequence[Piece], mine: Sequence[Piece]) -> int:
    """How many more signs there are."""
    counts = [sum(bool(piece.character.sign) for piece in found) for found in (theirs, mine)]
    return max(counts[0] - counts[1], 0)


def _voted(
    found: Sequence[Piece], group: _Group, class_names: Sequence[str], vote: float
) -> list[Piece]:
    """Let the line network vote on what characters are, where it sees as many."""
    if len(found) != len(group.tokens):
        return list(found)
    numbers = [SYMBOLS.index(name) for name in class_names]
    voted = []
    for piece, token in zip(found, group.tokens, strict=True):
        shares, sign = token.probabilities, piece.character.sign
        if sign and _is_sign(piece, shares, numbers):
            agreed = token.certainty * float(shares[SYMBOLS.index(sign)])
            voted.append(piece._replace(agreed=agreed))
            continue
        both = (1 - vote) * piece.probabilities + vote * shares[numbers]
        probabilities = (both / both.sum()).astype(np.float32)
        best = int(probabilities.argmax())
        doubt = float(piece.probabilities[best] / piece.probabilities.max())
        voted.append(
            Piece(
                replace(piece.character, sign="") if sign else piece.character,
                piece.image,
                probabilities,
                each=piece.each if sign else piece.each * doubt,
                agreed=token.certainty * float(shares[numbers[best]]),
            )
        )
    return voted


def _is_sign(piece: Piece, shares: Float[np.ndarray, " symbols"], numbers: Sequence[int]) -> bool:
    """Whether what the page network takes for a sign is one, and no character."""
    certainty = min(piece.character.certainty, 1 - _DOUBT)
    sign = certainty * float(shares[SYMBOLS.index(piece.character.sign)])
    return sign >= (1 - certainty) * float(piece.probabilities @ shares[numbers])


def _lines(characters: Sequence[Character]) -> Iterator[list[Character]]:
    for number in sorted({character.line for character in characters}):
        yield [character for character in characters if character.line == number]


def _size(characters: Sequence[Character]) -> float:
    return float(np.median([c.size for c in without_signs(characters)]))


def _groups(line: Sequence[Character], size: float) -> Iterator[list[Character]]:
    """Characters of a line that touch, or nearly do."""
    group: list[Character] = []
    for character in line:
        if group and character.left > max(c.right for c in group) + _NEAR * size:
            yield group
            group = []
        group.append(character)
    yield group


def _cut(group: _Group, page: Page) -> list[Character]:
    """Cut the ink of characters between the places of what was read."""
    whole, found = group.characters, group.tokens
    factor = _FINE * min(page.scale, 1.0)
    top, left = min(c.top for c in whole), min(c.left for c in whole)
    bottom, right = max(c.bottom for c in whole), max(c.right for c in whole)
    shape = max(round((bottom - top) * factor), 1), max(round((right - left) * factor), 1)
    canvas = paste(whole, page, float(top), float(left), shape, factor)
    places = [(token.place - left) * factor for token in found]
    cuts = [0, *(_thinnest(canvas, *both) for both in pairwise(places)), shape[1]]
    parts = []
    for number, (token, low, high) in enumerate(zip(found, cuts, cuts[1:], strict=False)):
        piece = np.round(255 * canvas[:, low:high]).astype(np.uint8)
        rows, columns = (np.flatnonzero((piece > 127).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        box = np.array([rows[0], low + columns[0], rows[-1] + 1, low + columns[-1] + 1]) / factor
        edges = np.round(box + np.array([top, left, top, left])).astype(int).tolist()
        name = SYMBOLS[token.symbol]
        sign = name if name in SIGNS or token.symbol == UNKNOWN else ""
        character = Character(
            *edges,
            line=whole[0].line,
            after_space=whole[0].after_space and not number,
            ink=np.pad(piece[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], MARGIN),
            sign=sign,
            certainty=token.certainty,
        )
        parts.append(character)
    return parts


def _thinnest(canvas: Float32[np.ndarray, "rows columns"], first: float, second: float) -> int:
    """The column with the least ink between two, in the middle part."""
    low, high = (round(first + share * (second - first)) for share in (0.25, 0.75))
    low = min(max(low, 1), canvas.shape[1] - 1)
    return low + int(canvas[:, low : max(high, low) + 1].sum(axis=0).argmin())
