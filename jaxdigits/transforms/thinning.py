"""Thin strokes to lines of one pixel, by Zhang and Suen's algorithm (1984).

T. Y. Zhang and C. Y. Suen, "A fast parallel algorithm for thinning digital patterns".
"""

import numpy as np
from jaxtyping import Bool

_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""The neighbors of a pixel, clockwise from the one above: bits 0 to 7 of a code of 0..255."""


def _removable() -> tuple[list[Bool[np.ndarray, "256"]], list[Bool[np.ndarray, "256"]]]:
    """Tabulate by code which pixels go: the two tables to repeat, and the four for corners."""
    neighbors = (np.arange(256)[:, None] >> np.arange(8) & 1) == 1
    n, ne, e, se, s, sw, w, nw = neighbors.T
    count = neighbors.sum(axis=1)
    runs = (~neighbors & np.roll(neighbors, -1, axis=1)).sum(axis=1)
    # On the edge of a stroke, but neither its end nor all that joins two of its parts. Zhang and
    # Suen let a count of 2 go as well, which eats diagonal strokes of two pixels up.
    edge = (count >= 3) & (count <= 6) & (runs == 1)
    sides = [edge & ~(n & e & s) & ~(e & s & w), edge & ~(n & e & w) & ~(n & s & w)]
    pairs = ((n, e, s, w, sw), (e, s, w, n, nw), (s, w, n, e, ne), (w, n, e, s, se))
    return sides, [a & b & ~c & ~d & ~between for a, b, c, d, between in pairs]


_SIDES, _CORNERS = _removable()


def thin(strokes: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Thin strokes from all sides at once, until they are lines; what is joined stays joined.

    Example:
        >>> bar = np.zeros((5, 9), bool)
        >>> bar[1:4, 1:8] = True
        >>> thin(bar).astype(int)
        array([[0, 0, 0, 0, 0, 0, 0, 0, 0],
               [0, 0, 0, 0, 0, 0, 0, 0, 0],
               [0, 1, 1, 1, 1, 1, 0, 0, 0],
               [0, 0, 0, 0, 0, 0, 0, 0, 0],
               [0, 0, 0, 0, 0, 0, 0, 0, 0]])
    """
    padded = np.pad(strokes, 1).astype(np.uint8)
    flat = padded.ravel()
    offsets = [rows * padded.shape[1] + columns for rows, columns in _AROUND]
    places, before = np.flatnonzero(flat), -1

    def remove(places: np.ndarray, table: np.ndarray) -> np.ndarray:
        codes = np.zeros(len(places), np.uint8)
        for bit, offset in enumerate(offsets):
            codes |= flat[places + offset] << np.uint8(bit)
        gone = table[codes]
        flat[places[gone]] = 0
        return places[~gone]

    while len(places) != before:
        before = len(places)
        for table in _SIDES:
            places = remove(places, table)
    for table in _CORNERS:  # where a line turns by three pixels, two will do
        places = remove(places, table)
    return padded[1:-1, 1:-1].astype(bool)
