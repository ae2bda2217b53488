"""The center lines of strokes.

Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (1984), with the
exceptions of scikit-image 0.26: the steps of a diagonal line go too, and a 2x2 square leaves
something. As in both, a diagonal line of two pixels gets short.
"""

import itertools

import numpy as np
from jaxtyping import Bool

_BOTH = (10, 40, 130, 160)
_FIRST = (3, 6, 11, 12, 14, 131, 134, 161, 194, 198)
_SECOND = (24, 26, 56, 96, 104, 108, 176, 192, 224)
_NEITHER = (48, 129)
"""The exceptions: neighbors as bits, clockwise from the upper left, and the passes they go in."""


def _removable(*, second: bool) -> Bool[np.ndarray, "256"]:
    """Tabulate whether a pixel with these neighbors goes in the first or the second pass."""
    table = np.zeros(256, bool)
    for code in range(256):
        around = [code >> place & 1 for place in range(8)]
        _, north, _, east, _, south, _, west = around
        starts = sum(a < b for a, b in zip(around, around[1:] + around[:1], strict=True))
        stays = north * west * (east + south) if second else east * south * (north + west)
        table[code] = starts == 1 and 2 <= sum(around) <= 6 and not stays
    table[[*_NEITHER, *(_FIRST if second else _SECOND)]] = False
    table[[*_BOTH, *(_SECOND if second else _FIRST)]] = True
    return table


_PASSES = (_removable(second=False), _removable(second=True))


def skeletonize(marked: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Thin strokes to lines of one pixel, in passes from two sides in turn.

    Example:
        >>> skeletonize(np.ones((3, 7), bool)).astype(int)
        array([[0, 0, 0, 0, 0, 1, 0],
               [1, 1, 1, 1, 1, 0, 0],
               [0, 0, 0, 0, 0, 0, 0]])
    """
    padded = np.pad(marked, 1)
    flat, width = padded.reshape(-1), padded.shape[1]
    around = (-width - 1, -width, 1 - width, 1, width + 1, width, width - 1, -1)
    # A pixel is looked at again when a neighbor has gone since the last pass of the same kind.
    before, changed = np.ones_like(flat), np.ones_like(flat)
    for removable in itertools.cycle(_PASSES):
        pixels = np.flatnonzero(flat & (before | changed))
        if not len(pixels):
            break
        codes = np.zeros(len(pixels), np.uint8)
        for place, step in enumerate(around):
            codes |= flat[pixels + step].view(np.uint8) << place
        gone = pixels[removable[codes]]
        flat[gone] = False
        before, changed = changed, np.zeros_like(flat)
        for step in around:
            changed[gone + step] = True
    return flat.reshape(padded.shape)[1:-1, 1:-1]
