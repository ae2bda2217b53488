"""Find what is written on a page with the page network: its characters, signs, scale, and turn."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxdigits.errors import DataError
from jaxdigits.handwriting.ink import Picture
from jaxdigits.handwriting.marks import (
    MARGIN,
    Mark,
    marks,
    see,
    slope,
    turn,
    usual_size,
)
from jaxdigits.handwriting.scene_layout import USUAL
from jaxdigits.handwriting.segmentation import NOT_WRITING, Character
from jaxdigits.runs.folder import shipped_params

_MOST = 500  # characters of a page full of writing; what has more shows something else
_LEVELS = (256, 128, 64, 512, 1024)  # pixels of the longer side, where that size is looked for
_MOST_ENLARGED, _LEAST = 2.0, 64  # beyond that many pixels
_ALIKE, _NEARLY = 0.1, 1.25  # how near scales are that are alike, and sizes that are usual
_CLEAR = 0.9  # the least of what is surely ink
_ENOUGH = 20  # pixels of both, to tell their colors
_COARSE = 0.8  # from this scale on, the picture shows ink no more finely than the network saw it
_PASSES = 3  # the most that come closer to that size, and to upright
_LEVEL, _STEEP = 2.0, 45.0  # degrees; how people write, and what is another way up
_SAME_LINE = 0.6  # the most that middles of neighbors in a line differ, in sizes
_SPACE = 0.6  # a gap wider than this is a space, in sizes


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
    """Find what is written in a picture: of what is found at all scales, the clearest.

    Args:
        picture: pixels 0..255.

    Raises:
        DataError: there is no writing in it.
    """
    known: list[Page] = []
    for thin, scale in itertools.product((False, True), scales(picture)):
        if page := find_at(picture, scale, known, thin=thin):
            known.append(page)
    if not known:
        raise DataError(NOT_WRITING)
    return max(known, key=lambda page: page.clarity)


def scales(picture: Picture) -> list[float]:
    """Scales at which to look at a picture from afar, the most probable ones first."""
    side = max(picture.shape[:2])
    return [level / side for level in _LEVELS if level <= max(_MOST_ENLARGED * side, _LEAST)]


def find_at(
    picture: Picture,
    scale: float,
    known: Collection[Page] = (),
    *,
    thin: bool = False,
    quarters: int = 0,
) -> Page | None:
    """Find what may be written in a picture: look at it from afar, then from near.

    Args:
        picture: pixels 0..255.
        scale: to begin with, one of `scales`.
        known: what was found already.
        thin: look for hairlines, which are too faint where a large picture is reduced.
        quarters: the turns of the page by 90 degrees, counter-clockwise.

    Returns:
        What was found; None if that is nothing, or at the scale of something known.
    """
    seen = see(shipped_params("page"), resized(picture, scale, -90.0 * quarters, thin=thin))
    found = marks(seen, USUAL)
    if not found:
        return None
    scale = scale * USUAL / usual_size(found)
    alike = [abs(np.log(scale / other.scale)) < _ALIKE for other in known if other.thin == thin]
    if any(alike):
        return None
    degrees = turn(seen)
    if abs(degrees) < _STEEP:
        degrees = slope(found, degrees)
    return look(picture, scale, degrees + 90 * quarters, thin=thin)


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
    params = shipped_params("page")
    for _ in range(_PASSES):
        degrees = 0.0 if abs(degrees) < _LEVEL else degrees
        seen = see(params, resized(picture, scale, -degrees, known=True, thin=thin))
        found = marks(seen, USUAL)
        if not 1 <= len(found) <= _MOST:
            return None
        larger, more = usual_size(found) / USUAL, slope(found, turn(seen))
        if abs(more) < 2 * _LEVEL and 1 / _NEARLY < larger < _NEARLY:
            upright = turned(picture, -degrees)
            characters = _in_lines(found, scale, upright)
            return Page(upright, characters, degrees, scale, seen.clarity, thin)
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
    return np.round(255 * found).astype(np.uint8) if found.max() > 0.5 else coarse


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
