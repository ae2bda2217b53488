"""Tell the characters and signs of a picture apart by what the page network says of its pixels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy import ndimage

from jaxdigits.handwriting import page_network
from jaxdigits.handwriting.glyphs import SIGNS
from jaxdigits.handwriting.ink import connected
from jaxdigits.handwriting.scene_layout import USUAL
from jaxdigits.handwriting.scenes import CHARACTER, GROUND, NUM_CLASSES, UNIT

TILE = 256
"""Pixels along the side of what the network sees at once."""

OVERLAP = 64
"""Pixels that neighboring tiles share."""

MARGIN = 4
"""Pixels around the box of a character in its `ink`."""

_NAMES = ("", *SIGNS)  # of the classes from `CHARACTER` on
_SLASH = _NAMES.index("/")
_INKED, _FAINT = 0.5, 0.3  # the least probabilities of ink, and of its edge
_APART = 0.17  # the least distance of middles, in sizes
_LIKELY = 0.4  # the least probability of a middle
_REACH = 1.2  # how far ink is from the middle of its character at most, in sizes
_NEAR = 0.5  # what the distance of ink from a middle counts, beside that of where it points
_TALL, _TALLEST, _WORTH, _SURE = 1.1, 1.5, 12.0, 1.5  # of slashes: heights, their worth, and odds
_SMALLEST = 6  # pixels of ink, as a point has
_FREE = 0.05  # the most ink of the ground
_FEW, _FAR = 3, 2.5  # the fewest characters that show a slope, and how far neighbors are, in sizes


class Seen(NamedTuple):
    """What the network says of each pixel of a picture, at the scale at which it saw it.

    Attributes:
        classes: the probability of each class of pixels.
        points: rows and columns, where the middle of its character is.
        middles: the probability of being that.
        up: (cosine, sine) of the angle of the page.
    """

    classes: Float32[np.ndarray, "height width classes"]
    points: Float32[np.ndarray, "height width 2"]
    middles: Float32[np.ndarray, "height width"]
    up: Float32[np.ndarray, "height width 2"]

    @property
    def ink(self) -> Float32[np.ndarray, "height width"]:
        """The probability of being ink of a character or sign."""
        return 1 - self.classes[..., GROUND]

    @property
    def clarity(self) -> float:
        """The mean probability of what may be ink, where there is some."""
        ink = self.ink
        return float(ink[ink > _FAINT].mean())


class Mark(NamedTuple):
    """A character or a sign, in pixels of what the network saw.

    Attributes:
        top, left, bottom, right: its box.
        ink: its own ink in that box, 0..1.
        sign: which it is, or an empty string for a character.
        probability: of being a sign, or a character.
        free: where in that box, and `MARGIN` around it, nothing is written.
    """

    top: int
    left: int
    bottom: int
    right: int
    ink: Float32[np.ndarray, "rows columns"]
    sign: str
    probability: float
    free: Bool[np.ndarray, "..."]

    @property
    def size(self) -> int:
        """The longer side."""
        return max(self.bottom - self.top, self.right - self.left)

    @property
    def place(self) -> tuple[float, float]:
        """Row and column of its middle."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    @property
    def middle(self) -> float:
        """Its middle row; of what stands on the line or hangs from it, that of the line."""
        shift = {".": 0.45, ",": 0.5}.get(self.sign, 0.0) * USUAL
        return (self.top + self.bottom) / 2 - shift


@jax.jit
def _apply(params: Any, tile: Any) -> Any:
    page = page_network.apply(params, tile[None].astype("float32") / 255)
    middles = jax.nn.sigmoid(page.middles)[..., None]
    blocks = jnp.concatenate([UNIT * page.offsets, middles, page.up], axis=-1)[0]
    return jnp.concatenate([jax.nn.softmax(page.logits)[0], blocks.repeat(2, 0).repeat(2, 1)], -1)


def see(params: Any, pixels: UInt8[np.ndarray, "height width 4"]) -> Seen:
    """Apply the network to a picture of any size, tile by tile.

    Args:
        params: of the network.
        pixels: from `resized`.
    """
    height, width = pixels.shape[:2]
    rows, columns = _starts(height), _starts(width)
    padded = np.zeros((rows[-1] + TILE, columns[-1] + TILE, 4), np.uint8)
    padded[:height, :width] = pixels
    # Where tiles overlap, each counts the more the further it is from its border.
    ramp = np.minimum(np.arange(1, TILE + 1), np.arange(TILE, 0, -1))
    trust = np.outer(ramp, ramp)[..., None].astype(np.float32)
    total = np.zeros((*padded.shape[:2], 1), np.float32)
    sums = np.zeros((*padded.shape[:2], NUM_CLASSES + 5), np.float32)
    for top in rows:
        for left in columns:
            place = slice(top, top + TILE), slice(left, left + TILE)
            sums[place] += trust * np.asarray(_apply(params, padded[place]))
            total[place] += trust
    means = (sums / total)[:height, :width]
    # Offsets are those of blocks of 2x2, from their middles.
    blocks = np.indices((height, width), np.float32).transpose(1, 2, 0) // 2 * 2 + 1
    return Seen(
        means[..., :NUM_CLASSES],
        blocks + means[..., NUM_CLASSES : NUM_CLASSES + 2],
        means[..., NUM_CLASSES + 2],
        means[..., NUM_CLASSES + 3 :],
    )


def _nearest(
    points: Float[np.ndarray, "n d"], among: Float[np.ndarray, "m d"]
) -> Int[np.ndarray, " n"]:
    """Which of some places each point is nearest to.

    `scipy.spatial` would tell, too, but takes as long to import as this takes for a large page.
    """
    lengths = (among**2).sum(axis=1) / 2
    parts = [some @ among.T - lengths for some in np.array_split(points, len(points) // 4096 + 1)]
    return np.concatenate([part.argmax(axis=1) for part in parts])


def _starts(side: int) -> list[int]:
    """Where tiles begin, so that they cover a side."""
    step = TILE - OVERLAP
    return list(range(0, max(side - OVERLAP, 1), step))


def marks(seen: Seen, size: float) -> list[Mark]:
    """Tell the characters and signs apart: each has a middle, and the ink that points to it.

    Args:
        seen: what the network says.
        size: the usual size of characters.
    """
    ink = seen.ink
    inked = ink > _FAINT
    peaks = _peaks(seen.middles[::2, ::2], _APART * size / 2)
    if not inked.any() or not len(peaks):
        return []
    # Where strokes of two meet they point to somewhere between: there the nearer one counts.
    peaks, places = 2 * peaks + 1, np.argwhere(inked) + 0.5
    owners = _nearest(
        np.hstack([seen.points[inked], _NEAR * places]), np.hstack([peaks, _NEAR * peaks])
    )
    owned = np.zeros(ink.shape, np.int32)
    far = np.hypot(*(places - peaks[owners]).T) > _REACH * size
    owned[inked] = np.where(far, 0, owners + 1)
    free = np.pad(ink < _FREE, MARGIN)
    found, slashes = [], []
    for number, box in enumerate(ndimage.find_objects(np.where(ink > _INKED, owned, 0)), 1):
        if box is None:
            continue
        own = np.where(owned[box] == number, ink[box], 0)
        if (own > _INKED).sum() < _SMALLEST:
            continue
        shares = (seen.classes[box] * (own > 0)[..., None]).sum(axis=(0, 1))[CHARACTER:]
        shares = shares / shares.sum()
        best = int(shares.argmax())
        slashes.append(float(shares[_SLASH]))
        rows, columns = box
        found.append(
            Mark(
                *(rows.start, columns.start, rows.stop, columns.stop),
                ink=own,
                sign=_NAMES[best],
                probability=float(shares[best]),
                free=free[
                    rows.start : rows.stop + 2 * MARGIN, columns.start : columns.stop + 2 * MARGIN
                ],
            )
        )
    heights = [mark.bottom - mark.top for mark in found if not mark.sign]
    usual = float(np.median(heights)) if heights else None
    return [_slash_or_one(*each, usual) for each in zip(found, slashes, strict=True)]


def _slash_or_one(mark: Mark, slash: float, usual: float | None) -> Mark:
    """A stroke is rather a 1 than a slash, unless surely a slash, or taller than characters."""
    if mark.sign not in {"", "/"}:
        return mark
    if usual is None:
        return mark._replace(sign="")
    slash = min(max(slash, 1e-6), 1 - 1e-6)
    taller = min((mark.bottom - mark.top) / usual, _TALLEST) - _TALL
    odds = float(np.log(slash / (1 - slash))) + _WORTH * taller
    if odds <= _SURE:
        return mark._replace(sign="")
    return mark._replace(sign="/", probability=1 / (1 + float(np.exp(-odds))))


def _peaks(values: Float32[np.ndarray, "rows columns"], apart: float) -> Float[np.ndarray, "n 2"]:
    """Places of maxima that are at least so far apart, along rows or along columns."""
    highest = ndimage.maximum_filter(values, max(2 * round(apart) + 1, 3))
    labels = connected((values == highest) & (values > _LIKELY))
    middles = ndimage.center_of_mass(labels > 0, labels, np.arange(1, labels.max() + 1))
    return np.array(middles, np.float64).reshape(len(middles), 2)


def slope(found: Sequence[Mark], otherwise: float) -> float:
    """The angle of lines, as of half of the neighbors, counter-clockwise, in degrees.

    Args:
        found: on a page that is turned by less than 45 degrees.
        otherwise: the angle where there are too few.
    """
    places = np.array([mark.place for mark in found if not mark.sign]).reshape(-1, 2)
    if len(places) < _FEW:
        return otherwise
    ways = places[None] - places[:, None]
    right = (ways[..., 1] > 0) & (np.abs(ways[..., 0]) < ways[..., 1])
    far = np.where(right, np.hypot(ways[..., 0], ways[..., 1]), np.inf)
    next_to, near = far.argmin(axis=1), far.min(axis=1) < _FAR * usual_size(found)
    if near.sum() < _FEW - 1:
        return otherwise
    rows, columns = ways[np.arange(len(ways)), next_to][near].T
    return float(np.degrees(np.median(np.arctan2(-rows, columns))))


def usual_size(found: Sequence[Mark]) -> float:
    """The longer side of characters, as of half of their ink, in pixels; of signs, if alone."""
    whole = [mark for mark in found if not mark.sign] or list(found)
    whole.sort(key=lambda mark: mark.size)
    inked = np.cumsum([mark.ink.sum() for mark in whole])
    return float(whole[int(np.searchsorted(inked, inked[-1] / 2))].size)


def turn(seen: Seen) -> float:
    """The angle by which the page is turned, counter-clockwise, in degrees."""
    ink = seen.ink
    cosine, sine = (seen.up * np.where(ink > _INKED, ink, 0)[..., None]).sum(axis=(0, 1))
    return float(np.degrees(np.arctan2(sine, cosine)))
