"""Find what is written on a page with the page network: its characters, signs, scale, and turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image
from scipy import ndimage
from scipy.spatial import KDTree

from jaxdigits.errors import DataError
from jaxdigits.handwriting import page_network
from jaxdigits.handwriting.ink import Picture, connected
from jaxdigits.handwriting.scenes import CHARACTER, GROUND, NUM_CLASSES, SIGNS, UNIT, USUAL
from jaxdigits.handwriting.segmentation import MOST_CHARACTERS, NOT_WRITING, Character
from jaxdigits.runs.folder import PARAMS_FILE, WEIGHTS, load_params

TILE = 256
"""Pixels along the side of what the network sees at once."""

OVERLAP = 64
"""Pixels that neighboring tiles share."""

PARAMS = WEIGHTS / "page" / PARAMS_FILE

MARGIN = 4
"""Pixels around the box of a character in its `ink`."""

_NAMES = ("", *SIGNS)  # of the classes from `CHARACTER` on
_LEVELS = (256, 512, 128, 1024, 64)  # pixels of the longer side, where that size is looked for
_MOST_ENLARGED = 4.0
_ALIKE, _NEARLY = 0.1, 1.25  # how near scales are that are alike, and sizes that are usual
_INKED, _FAINT = 0.5, 0.3  # the least probabilities of ink, and of its edge
_BLUR = 0.07  # of votes, in sizes
_APART = 0.17  # the least distance of middles, in sizes
_SURE = 0.7  # the least probability of a slash
_SMALLEST = 6  # pixels of ink, as a point has
_FREE, _CLEAR = 0.05, 0.9  # the most ink of the ground, and the least of what is surely ink
_ENOUGH = 20  # pixels of both, to tell their colors
_COARSE = 0.8  # from this scale on, the picture shows ink no more finely than the network saw it
_FEWEST = 0.02  # votes for the middle of a character, smoothed
_PASSES = 3  # the most that come closer to that size, and to upright
_LEVEL, _STEEP = 2.0, 45.0  # degrees; how people write, and what is another way up
_FEW, _FAR = 3, 2.5  # the fewest characters that show a slope, and how far neighbors are, in sizes
_SAME_LINE = 0.6  # the most that middles of neighbors in a line differ, in sizes
_SPACE = 0.6  # a gap wider than this is a space, in sizes


class Seen(NamedTuple):
    """What the network says of each pixel of a picture, at the scale at which it saw it.

    Attributes:
        classes: the probability of each class of pixels.
        middles: rows and columns, where the middle of its character is.
        up: (cosine, sine) of the angle of the page.
    """

    classes: Float32[np.ndarray, "height width classes"]
    middles: Float32[np.ndarray, "height width 2"]
    up: Float32[np.ndarray, "height width 2"]

    @property
    def ink(self) -> Float32[np.ndarray, "height width"]:
        """The probability of being ink of a character or sign."""
        return 1 - self.classes[..., GROUND]


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
    blocks = jnp.concatenate([UNIT * page.offsets, page.up], axis=-1)[0]
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
    ramp = np.minimum(np.arange(1, TILE + 1), np.arange(TILE, 0, -1)).clip(max=OVERLAP)
    trust = np.outer(ramp, ramp)[..., None].astype(np.float32)
    total = np.zeros((*padded.shape[:2], 1), np.float32)
    sums = np.zeros((*padded.shape[:2], NUM_CLASSES + 4), np.float32)
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
        means[..., NUM_CLASSES + 2 :],
    )


def _starts(side: int) -> list[int]:
    """Where tiles begin, so that they cover a side."""
    step = TILE - OVERLAP
    return list(range(0, max(side - OVERLAP, 1), step))


def marks(seen: Seen, size: float) -> list[Mark]:
    """Tell the characters and signs apart: ink that points to one place is one of them.

    Args:
        seen: what the network says.
        size: the usual size of characters.
    """
    ink = seen.ink
    inked = ink > _FAINT
    if not inked.any():
        return []
    votes = np.clip(seen.middles[inked], 0, np.array(ink.shape) - 1)
    counts = np.zeros([side // 2 + 1 for side in ink.shape], np.float32)
    np.add.at(counts, tuple((votes / 2).astype(int).T), ink[inked])
    counts = ndimage.gaussian_filter(counts, _BLUR * size / 2)
    peaks = _peaks(counts, _APART * size / 2)
    if not len(peaks):
        return []
    _, owners = KDTree(2 * peaks + 1).query(votes)
    owned = np.zeros(ink.shape, np.int32)
    owned[inked] = owners + 1
    free = np.pad(ink < _FREE, MARGIN)
    found = []
    for number, box in enumerate(ndimage.find_objects(np.where(ink > _INKED, owned, 0)), 1):
        if box is None:
            continue
        own = np.where(owned[box] == number, ink[box], 0)
        if (own > _INKED).sum() < _SMALLEST:
            continue
        shares = (seen.classes[box] * (own > 0)[..., None]).sum(axis=(0, 1))[CHARACTER:]
        best = int(shares.argmax())
        if _NAMES[best] == "/" and shares[best] < _SURE * shares.sum():
            best = 0  # rather a 1
        rows, columns = box
        found.append(
            Mark(
                *(rows.start, columns.start, rows.stop, columns.stop),
                ink=own,
                sign=_NAMES[best],
                probability=float(shares[best] / shares.sum()),
                free=free[
                    rows.start : rows.stop + 2 * MARGIN, columns.start : columns.stop + 2 * MARGIN
                ],
            )
        )
    return found


def _peaks(values: Float32[np.ndarray, "rows columns"], apart: float) -> Float[np.ndarray, "n 2"]:
    """Places of maxima that are at least so far apart, along rows or along columns."""
    highest = ndimage.maximum_filter(values, max(2 * round(apart) + 1, 3))
    labels = connected((values == highest) & (values > _FEWEST))
    middles = ndimage.center_of_mass(labels > 0, labels, np.arange(1, labels.max() + 1))
    return np.array(middles, np.float64).reshape(-1, 2)


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


def resized(
    picture: Picture,
    scale: float,
    degrees: float = 0.0,
    *,
    known: bool = False,
    thin: bool = False,
) -> UInt8[np.ndarray, "rows columns 4"]:
    """A picture at another scale, perhaps turned, and where it is: the network's input.

    Args:
        picture: pixels 0..255.
        scale: of the result to the picture.
        degrees: to turn it, counter-clockwise.
        known: it will then be upright, with characters nearly of the usual size.
        thin: keep lines thinner than a pixel of the result.
    """
    size = [max(round(side * scale), 8) for side in picture.shape[1::-1]]
    if thin and scale < 1:
        picture = _most_different(picture, int(1 / scale))
    method = Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(picture).resize(size, method))
    image = Image.fromarray(
        np.dstack([small, np.full(small.shape[:2], 255 if known else 128, np.uint8)]), "RGBA"
    )
    if degrees:
        image = image.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    return np.asarray(image)


def _most_different(picture: Picture, factor: int) -> UInt8[np.ndarray, "rows columns 3"]:
    """Reduce a picture: of each block, the pixel that differs most from the usual one there.

    Example:
        >>> page = np.full((4, 8, 3), 250, np.uint8)
        >>> page[:, 2] = 20                                 # a line of one pixel
        >>> _most_different(page, 4)[..., 0]
        array([[ 20, 250]], dtype=uint8)
    """
    height, width = (max(side // factor, 1) for side in picture.shape[:2])
    factors = picture.shape[0] // height, picture.shape[1] // width
    picture = picture[: height * factors[0], : width * factors[1]]
    blocks = picture.reshape(height, factors[0], width, factors[1], 3).transpose(0, 2, 1, 3, 4)
    blocks = blocks.reshape(height, width, -1, 3)
    gray = blocks.mean(axis=3)
    away = np.abs(gray - np.median(gray, axis=2, keepdims=True))
    return np.take_along_axis(blocks, away.argmax(axis=2)[..., None, None], axis=2)[:, :, 0]


def turn(seen: Seen) -> float:
    """The angle by which the page is turned, counter-clockwise, in degrees."""
    ink = seen.ink
    cosine, sine = (seen.up * np.where(ink > _INKED, ink, 0)[..., None]).sum(axis=(0, 1))
    return float(np.degrees(np.arctan2(sine, cosine)))


@dataclass(frozen=True, eq=False)
class Page:
    """A page as it may be understood.

    Attributes:
        picture: upright.
        characters: and signs, in reading order, in pixels of that.
        degrees: by which the page was turned, counter-clockwise.
        scale: at which the network saw it.
        clarity: the mean probability of what may be ink, 0..1.
        thin: whether lines thinner than a pixel were kept at that scale.
    """

    picture: Picture
    characters: list[Character]
    degrees: float
    scale: float
    clarity: float
    thin: bool = False


def find_page(picture: Picture) -> Page:
    """Find what is written in a picture: of `find_pages` the clearest.

    Args:
        picture: pixels 0..255.

    Raises:
        DataError: there is no writing in it.
    """
    return max(find_pages(picture), key=lambda page: page.clarity)


def find_pages(picture: Picture) -> Iterator[Page]:
    """Find what may be written in a picture, at one scale after the other, at least one page.

    Args:
        picture: pixels 0..255.

    Raises:
        DataError: there is no writing in it.
    """
    params, known = page_params(), []
    # Hairlines of a large picture are too faint where its characters are small: try again so.
    for thin in (False, True):
        for level in _LEVELS:
            scale = level / max(picture.shape[:2])
            if scale > _MOST_ENLARGED:
                continue
            seen = see(params, resized(picture, scale, thin=thin))
            found = marks(seen, USUAL)
            if not found:
                continue
            scale = scale * USUAL / usual_size(found)
            if any(abs(np.log(scale / other)) < _ALIKE for other in known):
                continue
            degrees = turn(seen)
            if abs(degrees) < _STEEP:
                degrees = slope(found, degrees)
            page = look(picture, scale, degrees, thin=thin)
            if page is not None:
                known.append(page.scale)
                yield page
        if known:
            return
    raise DataError(NOT_WRITING)


def look(picture: Picture, scale: float, degrees: float, *, thin: bool = False) -> Page | None:
    """Look at a page from near, where characters have the usual size and are upright.

    Args:
        picture: pixels 0..255.
        scale: at which characters have nearly that size.
        degrees: by which the page is turned.
        thin: keep lines thinner than a pixel.

    Returns:
        What was found; None if there is nothing of that size.
    """
    params = page_params()
    for _ in range(_PASSES):
        degrees = 0.0 if abs(degrees) < _LEVEL else degrees
        seen = see(params, resized(picture, scale, -degrees, known=True, thin=thin))
        found, ink = marks(seen, USUAL), seen.ink
        if not 1 <= len(found) <= MOST_CHARACTERS:
            return None
        larger, more = usual_size(found) / USUAL, slope(found, turn(seen))
        if abs(more) < 2 * _LEVEL and 1 / _NEARLY < larger < _NEARLY:
            upright = turned(picture, -degrees)
            clarity = float(ink[ink > _FAINT].mean())
            characters = _in_lines(found, scale, upright)
            return Page(upright, characters, degrees, scale, clarity, thin)
        scale = scale / min(max(larger, 0.5), 2.0)
        degrees = degrees + float(np.clip(more, -15, 15))
    return None


def _in_lines(found: Sequence[Mark], scale: float, upright: Picture) -> list[Character]:
    """Put marks into lines, from left to right, and tell where spaces are."""
    lines: list[list[Mark]] = []
    for mark in sorted(found, key=lambda mark: mark.left):
        best, least = None, _SAME_LINE * USUAL
        for line in lines:
            away = abs(mark.middle - float(np.mean([other.middle for other in line[-3:]])))
            if away < least:
                best, least = line, away
        if best is None:
            lines.append([mark])
        else:
            best.append(mark)
    lines.sort(key=lambda line: float(np.mean([mark.middle for mark in line])))
    characters = []
    for number, line in enumerate(lines):
        for before, mark in zip([line[0], *line], line, strict=False):
            box = [mark.top, mark.left, mark.bottom, mark.right]
            top, left, bottom, right = (
                int(np.clip(round(edge / scale), 0, side))
                for edge, side in zip(box, 2 * upright.shape[:2], strict=True)
            )
            space = mark.left - before.right > _SPACE * USUAL
            ink = _own_ink(mark, scale, upright)
            characters.append(
                Character(top, left, bottom, right, number, space, ink, mark.sign, mark.probability)
            )
    return characters


def _own_ink(mark: Mark, scale: float, upright: Picture) -> UInt8[np.ndarray, "rows columns"]:
    """The ink of a character as finely as the picture shows it, with a margin around its box.

    Ink is what differs from the ground around the character in the way that its own ink does: in
    its own color, whatever the others are written with.
    """
    coarse = np.pad(np.round(255 * mark.ink).astype(np.uint8), MARGIN)
    if scale >= _COARSE:
        return coarse
    top, left = mark.top - MARGIN, mark.left - MARGIN
    edges = np.array([top, left, top + coarse.shape[0], left + coarse.shape[1]]) / scale
    first, last = np.round(edges[:2]).astype(int), np.round(edges[2:]).astype(int)
    size = np.maximum(last - first, 1)
    resize = {"size": tuple(size[::-1].tolist()), "resample": Image.Resampling.BILINEAR}
    own = np.asarray(Image.fromarray(coarse).resize(**resize), np.float32) / 255
    free = np.asarray(Image.fromarray(255 * mark.free.astype(np.uint8)).resize(**resize)) > 250
    # Beyond the border of the picture there is nothing.
    low = np.clip(first, 0, upright.shape[:2])
    high = np.clip(last, 0, upright.shape[:2])
    inside = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
    pixels = upright[low[0] : high[0], low[1] : high[1]].astype(np.float32)
    own_inside, free_inside = own[inside], free[inside]
    clear = own_inside > _CLEAR
    if clear.sum() < _ENOUGH or free_inside.sum() < _ENOUGH:
        return coarse
    ground = np.median(pixels[free_inside], axis=0)
    way = np.median(pixels[clear], axis=0) - ground
    strength = (pixels - ground) @ way / max(float(way @ way), 1.0)
    found = np.zeros(own.shape, np.float32)
    found[inside] = np.clip(1.25 * strength - 0.1, 0, 1) * np.clip(3 * own_inside, 0, 1)
    return np.round(255 * found).astype(np.uint8) if found.max() > _INKED else coarse


def turned(picture: Picture, degrees: float) -> UInt8[np.ndarray, "rows columns 3"]:
    """A picture turned counter-clockwise, whole, with the color of its border around it."""
    if not degrees:
        return picture
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    color = tuple(np.median(border, axis=0).astype(int).tolist())
    image = Image.fromarray(picture)
    return np.asarray(
        image.rotate(degrees, Image.Resampling.BILINEAR, expand=True, fillcolor=color)
    )


@lru_cache(maxsize=1)
def page_params() -> Any:
    """The parameters of the page network that comes with the package."""
    return load_params(PARAMS, page_network.init)
