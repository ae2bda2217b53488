"""Read whole lines without cutting them, by the network of `line_network`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
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
from jaxdigits.handwriting.segmentation import Character, without_signs
from jaxdigits.runs.folder import shipped_params
from jaxdigits.training.batches import filled_batches

_WINDOW, _OVERLAP = 192, 64  # columns of a line that the network sees at once, and twice
_AT_ONCE = 4  # windows, so that one program serves all lines


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


@dataclass(frozen=True, eq=False)
class Line:
    """What the network says of a line.

    Attributes:
        shares: the probability of each of `SYMBOLS` at each place.
        left: the column of the picture where the first place begins.
        step: columns of the picture from one place to the next.
    """

    shares: Float[np.ndarray, "places symbols"]
    left: float
    step: float

    @property
    def tokens(self) -> list[Token]:
        """The best path, repetitions and blanks left out."""
        best = self.shares.argmax(axis=1)
        found = []
        edges = np.flatnonzero(np.diff(best, prepend=BLANK, append=BLANK))
        for first, end in pairwise(edges):
            if best[first] == BLANK:
                continue
            row = self.shares[first:end].max(axis=0)
            row[BLANK] = 0
            weights = self.shares[first:end, best[first]]
            place = (np.arange(first, end) + 0.5) @ weights / weights.sum()
            place = self.left + self.step * float(place)
            found.append(Token(place, row / row.sum(), float(weights.max())))
        return found

    def likelihood(self, symbols: Sequence[int], left: float, right: float) -> float:
        """The logarithm of the probability that a part of the line says this.

        Args:
            symbols: numbers of `SYMBOLS`.
            left: the column of the picture where the part begins.
            right: where it ends.
        """
        first, end = (round((column - self.left) / self.step) for column in (left, right))
        shares = np.maximum(self.shares[max(first, 0) : max(end, first + 1)], 1e-6)
        # Graves et al.: symbols with blanks between; a blank between two that differ may be left
        # out. `ways` has the probability of all paths to each of them.
        path = np.full(2 * len(symbols) + 1, BLANK)
        path[1::2] = symbols
        skip = np.zeros(len(path), bool)
        skip[3::2] = path[3::2] != path[1:-2:2]
        ways, total = np.zeros(len(path)), 0.0
        ways[0] = 1.0
        for row in shares[:, path]:
            moved = ways + np.pad(ways, (1, 0))[:-1] + np.where(skip, np.pad(ways, (2, 0))[:-2], 0)
            ways = moved * row
            total += float(np.log(ways.sum()))
            ways = ways / ways.sum()
        return total + float(np.log(max(ways[-2:].sum(), 1e-30)))


def read_line(characters: Sequence[Character], page: Page, class_names: Collection[str]) -> Line:
    """Read a line.

    Args:
        characters: of a line.
        page: that they are from.
        class_names: what may be read, in addition to signs.
    """
    factor = TALL * page.scale / USUAL
    whole = without_signs(characters)
    middle = float(np.median([(c.top + c.bottom) / 2 for c in whole]))
    left = min(c.left for c in characters) - TALL / factor / 2
    right = max(c.right for c in characters) + TALL / factor / 2
    width = int(np.ceil((right - left) * factor / STEP)) * STEP
    ink = paste(characters, page, middle - HEIGHT / 2 / factor, left, (HEIGHT, width), factor)
    allowed = [name in {"", *class_names, SYMBOLS[UNKNOWN], *SIGNS} for name in SYMBOLS]
    return Line(_shares(ink, np.array(allowed)), left, STEP / factor)


def _shares(
    ink: Float32[np.ndarray, "32 width"], allowed: np.ndarray
) -> Float[np.ndarray, "places symbols"]:
    """Apply the network to a line, window by window.

    Args:
        ink: 0..1, characters `line_network.TALL` high; the width is a multiple of 2.
        allowed: which of `SYMBOLS` there may be.
    """
    step = _WINDOW - _OVERLAP
    starts = list(range(0, max(ink.shape[1] - _OVERLAP, 1), step))
    padded = np.zeros((HEIGHT, starts[-1] + _WINDOW), np.float32)
    padded[:, : ink.shape[1]] = ink
    windows = np.stack([padded[:, start : start + _WINDOW] for start in starts])
    params = shipped_params("lines")
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
    return shares / shares.sum(axis=1, keepdims=True)


@jax.jit
def _apply(params: Any, windows: Any) -> Any:
    return line_network.apply(params, windows)


def paste(
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
