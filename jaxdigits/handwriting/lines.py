"""Part characters that touch, by a network that reads whole lines: see `line_network`.

Where ink of neighbors touches, or is too wide for one character, what the page network takes for
characters is uncertain. The line network needs no cuts: where it reads another number of characters
there, they are parted at the places where it saw them.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32
from PIL import Image

from jaxdigits.handwriting import line_network
from jaxdigits.handwriting.glyphs import SIGNS
from jaxdigits.handwriting.line_network import BLANK, HEIGHT, STEP, SYMBOLS, TALL, UNKNOWN
from jaxdigits.handwriting.marks import MARGIN
from jaxdigits.handwriting.page import Page
from jaxdigits.handwriting.scene_layout import USUAL
from jaxdigits.handwriting.segmentation import Character
from jaxdigits.runs.folder import shipped_params
from jaxdigits.training.batches import filled_batches

_WINDOW, _OVERLAP = 192, 64  # columns of a line that the network sees at once, and twice
_AT_ONCE = 4  # windows, so that one program serves all lines
_NEAR, _WIDE = 0.06, 1.15  # gaps and widths that may hide a cut, in sizes
_SURE = 0.6  # the least mean probability of what is read instead
_FINE = 2.0  # resolution of ink that is cut, over the network's


class Token(NamedTuple):
    """A symbol that was read.

    Attributes:
        place: the column of its middle.
        probabilities: of each of `SYMBOLS`, if one is there.
        certainty: that one is, and the most probable one.
    """

    place: float
    probabilities: Float[np.ndarray, " symbols"]
    certainty: float

    @property
    def symbol(self) -> int:
        """The most probable one."""
        return int(self.probabilities.argmax())


class Part(NamedTuple):
    """A character that was parted from others, and what it may be.

    Attributes:
        character: its place and ink; its sign, if it is one.
        probabilities: of the class names that were asked for.
    """

    character: Character
    probabilities: Float32[np.ndarray, " classes"]


def part(page: Page, class_names: Sequence[str]) -> list[Character | Part]:
    """Part characters that touch.

    Args:
        page: with the characters that were found.
        class_names: what may be read, in addition to signs.

    Returns:
        The characters in reading order: those of the page, or parts in their place.
    """
    if not set(class_names) <= set(SYMBOLS):
        return list(page.characters)
    found: list[Character | Part] = []
    size = _size(page.characters)
    for line in _lines(page.characters):
        groups = list(_groups(line, size))
        if not any(_uncertain(group, size) for group in groups):
            found += line
            continue
        tokens = _read(line, page, class_names)
        for group in groups:
            left, right = group[0].left, max(character.right for character in group)
            inside = [token for token in tokens if left <= token.place <= right]
            if _uncertain(group, size) and _differ(inside, group):
                found += _cut(group, inside, page, class_names)
            else:
                found += group
    return found


def is_alone(character: Character, page: Page) -> bool:
    """Whether a character touches no other one of its line, and is no wider than one is."""
    size = _size(page.characters)
    line = [other for other in page.characters if other.line == character.line]
    (group,) = (group for group in _groups(line, size) if character in group)
    return not _uncertain(group, size)


def _differ(tokens: Sequence[Token], group: Sequence[Character]) -> bool:
    """Whether something else was read, with enough confidence."""
    if not tokens or len(tokens) == len(group):
        return False
    return float(np.mean([token.certainty for token in tokens])) >= _SURE


def _lines(characters: Sequence[Character]) -> Iterator[list[Character]]:
    for number in sorted({character.line for character in characters}):
        yield [character for character in characters if character.line == number]


def _size(characters: Sequence[Character]) -> float:
    whole = [c for c in characters if not c.sign] or list(characters)
    return float(np.median([max(c.bottom - c.top, c.right - c.left) for c in whole]))


def _groups(line: Sequence[Character], size: float) -> Iterator[list[Character]]:
    """Characters of a line that touch, or nearly do."""
    group: list[Character] = []
    for character in line:
        if group and character.left > max(c.right for c in group) + _NEAR * size:
            yield group
            group = []
        group.append(character)
    yield group


def _uncertain(group: Sequence[Character], size: float) -> bool:
    width = max(c.right for c in group) - group[0].left
    return len(group) > 1 or (width > _WIDE * size and not group[0].sign)


def _read(line: Sequence[Character], page: Page, class_names: Collection[str]) -> list[Token]:
    """Read a line; places are columns of the picture."""
    factor = TALL * page.scale / USUAL
    whole = [c for c in line if not c.sign] or list(line)
    middle = float(np.median([(c.top + c.bottom) / 2 for c in whole]))
    left = min(c.left for c in line) - TALL / factor / 2
    right = max(c.right for c in line) + TALL / factor / 2
    width = int(np.ceil((right - left) * factor / STEP)) * STEP
    ink = _paste(line, page, middle - HEIGHT / 2 / factor, left, (HEIGHT, width), factor)
    allowed = [name in {"", *class_names, "?", *SIGNS} for name in SYMBOLS]
    return [
        token._replace(place=token.place / factor + left)
        for token in tokens(ink, np.array(allowed))
    ]


def _paste(
    characters: Sequence[Character],
    page: Page,
    top: float,
    left: float,
    shape: tuple[int, int],
    factor: float,
) -> Float32[np.ndarray, "rows columns"]:
    """The ink of characters on one canvas, 0..1.

    Args:
        characters: to put there.
        page: that they are from.
        top: the row of the picture where the canvas begins.
        left: the column.
        shape: of the canvas.
        factor: its pixels for one of the picture.
    """
    canvas = np.zeros(shape, np.float32)
    margin = MARGIN / page.scale
    for c in characters:
        edges = np.array([c.top - margin - top, c.left - margin - left,
                          c.bottom + margin - top, c.right + margin - left])  # fmt: skip
        first, last = np.round(factor * edges).astype(int).reshape(2, 2)
        rows, columns = np.maximum(last - first, 1).tolist()
        image = Image.fromarray(c.ink).resize((columns, rows), Image.Resampling.BOX)
        low, high = np.clip(first, 0, shape), np.clip(first + image.size[::-1], 0, shape)
        inside = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
        place = canvas[low[0] : high[0], low[1] : high[1]]
        np.maximum(place, np.asarray(image, np.float32)[inside] / 255, out=place)
    return canvas


def tokens(ink: Float32[np.ndarray, "32 width"], allowed: np.ndarray) -> list[Token]:
    """Read a line: the best path, repetitions and blanks left out.

    Args:
        ink: 0..1, characters `line_network.TALL` high; the width is a multiple of 2.
        allowed: which of `SYMBOLS` there may be.
    """
    step = _WINDOW - _OVERLAP
    starts = list(range(0, max(ink.shape[1] - _OVERLAP, 1), step))
    padded = np.zeros((HEIGHT, starts[-1] + _WINDOW), np.float32)
    padded[:, : ink.shape[1]] = ink
    windows = np.stack([padded[:, start : start + _WINDOW] for start in starts])
    params = shipped_params("lines", line_network.init)
    parts = [np.asarray(_apply(params, some)) for some in filled_batches(windows, _AT_ONCE)]
    logits = np.concatenate(parts)[: len(starts)]
    # Of what two windows see, each has the half that is further from its border.
    half, last = _OVERLAP // 2 // STEP, len(starts) - 1
    logits = np.concatenate(
        [
            part[half * (number > 0) : len(part) - half * (number < last)]
            for number, part in enumerate(logits)
        ]
    )
    logits = np.where(allowed, logits, -np.inf)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = shares / shares.sum(axis=1, keepdims=True)
    best = shares.argmax(axis=1)
    found = []
    edges = np.flatnonzero(np.diff(best, prepend=BLANK, append=BLANK))
    for first, end in pairwise(edges):
        if best[first] == BLANK:
            continue
        row = shares[first:end].max(axis=0)
        row[BLANK] = 0
        weights = shares[first:end, best[first]]
        place = (np.arange(first, end) + 0.5) @ weights / weights.sum()
        found.append(Token(STEP * float(place), row / row.sum(), float(weights.max())))
    return found


def _cut(
    group: Sequence[Character],
    found: Sequence[Token],
    page: Page,
    class_names: Sequence[str],
) -> list[Character | Part]:
    """Cut the ink of characters between the places of what was read."""
    factor = _FINE * min(page.scale, 1.0)
    top, left = min(c.top for c in group), min(c.left for c in group)
    bottom, right = max(c.bottom for c in group), max(c.right for c in group)
    shape = max(round((bottom - top) * factor), 1), max(round((right - left) * factor), 1)
    canvas = _paste(group, page, float(top), float(left), shape, factor)
    places = [(token.place - left) * factor for token in found]
    cuts = [0, *(_least(canvas, *both) for both in pairwise(places)), shape[1]]
    numbers = [SYMBOLS.index(name) for name in class_names]
    parts: list[Character | Part] = []
    for number, (token, low, high) in enumerate(zip(found, cuts, cuts[1:], strict=False)):
        piece = np.round(255 * canvas[:, low:high]).astype(np.uint8)
        rows, columns = (np.flatnonzero((piece > 127).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        box = np.array([rows[0], low + columns[0], rows[-1] + 1, low + columns[-1] + 1]) / factor
        edges = np.round(box + np.array([top, left, top, left])).astype(int).tolist()
        name = SYMBOLS[token.symbol]
        sign = name if name in SIGNS or token.symbol == UNKNOWN else ""
        row = token.probabilities[numbers].astype(np.float32)
        character = Character(
            *edges,
            line=group[0].line,
            after_space=group[0].after_space and not number,
            ink=np.pad(piece[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], MARGIN),
            sign=sign,
            certainty=token.certainty,
        )
        parts.append(Part(character, row))
    return parts or list(group)


def _least(canvas: Float32[np.ndarray, "rows columns"], first: float, second: float) -> int:
    """The column with the least ink between two, in the middle part."""
    low, high = (round(first + share * (second - first)) for share in (0.25, 0.75))
    low = min(max(low, 1), canvas.shape[1] - 1)
    return low + int(canvas[:, low : max(high, low) + 1].sum(axis=0).argmin())


@jax.jit
def _apply(params: Any, windows: Any) -> Any:
    return line_network.apply(params, windows)
