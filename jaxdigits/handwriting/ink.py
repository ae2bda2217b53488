"""Telling ink from the ground it is on: uneven light, texture, either polarity, any colour."""

from typing import cast

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from PIL import Image
from scipy import ndimage

from jaxdigits.errors import DataError
from jaxdigits.transforms.skeleton import skeletonize

_COARSE = 96
"""Pixels of the longer side of the picture in which the ground is estimated."""

_WIDEST = 0.3
"""Of that side: what is dark and wider than this is ground."""

_ROOM = 6.0
"""Stroke widths that ground must be wide, once the width of strokes is known."""

_DARKEST = 100.0
"""Differences on a darker ground are not taken for more than they would be on this one."""

_FAINTEST = 0.08
"""Contrast, 0..1, below which nothing is ink."""

_NOISES = 6.0
"""Contrast below so many deviations of the ground's noise is not ink either."""

_CLEARLY = 2.5
"""Strokes have so many times the contrast below which nothing is ink; noise has up to twice."""


_BLANK = "there is no writing in it: nothing stands out from the ground"


def find_ink(picture: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
    """How much ink is at each pixel: 0 on the ground, 1 in the middle of strokes.

    The ground's brightness is what a morphological closing leaves, which takes away dark strokes
    and keeps shadows; ink is what is darker than that, in the colour that shows it best. On a dark
    ground all is inverted first.

    Args:
        picture: pixels 0..255.

    Raises:
        DataError: there is no contrast.

    Example:
        >>> page = np.full((40, 40, 3), 200, np.uint8)
        >>> page[10:30, 18:22] = 40
        >>> ink = find_ink(page)
        >>> ink[20, 20].item(), ink[20, 5].item(), np.array_equal(ink, find_ink(255 - page))
        (1.0, 0.0, True)
    """
    picture = picture if _on_light_ground(picture) else 255 - picture
    small = _reduced(picture, 4 * _COARSE)
    levels = [_level(_contrast(channel, _WIDEST)) for channel in _channels(small)]
    # Grey, unless a colour shows much more: colours are noisier.
    levels[0] *= 4 / 3
    if not any(levels):
        raise DataError(_BLANK)
    channel = _channels(picture)[int(np.argmax(levels))]
    ink = _ink(_contrast(channel, _WIDEST))
    # Once more, with a ground that follows shadows as closely as these strokes let it.
    share = _ROOM * _median_width(strokes(ink)) / max(ink.shape)
    return _ink(_contrast(channel, share)) if share < _WIDEST else ink


def _ink(contrast: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    level = _level(contrast)
    if level == 0:
        raise DataError(_BLANK)
    return np.clip((contrast / level - 0.2) / 0.6, 0, 1)


def _median_width(marked: Bool[np.ndarray, "height width"]) -> float:
    """The width of strokes in pixels, as at half of the places along them; blobs count little."""
    marked = np.pad(marked, 1)
    inside = np.asarray(ndimage.distance_transform_edt(marked))
    return 2 * float(np.median(inside[skeletonize(marked)]))


def _channels(
    picture: UInt8[np.ndarray, "height width 3"],
) -> list[UInt8[np.ndarray, "height width"]]:
    """Grey, red, green and blue."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    return [grey, *np.moveaxis(picture, -1, 0)]


def _on_light_ground(picture: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Whether what differs from its surroundings is darker than they are."""
    small = _reduced(_channels(picture)[0], 2 * _COARSE).astype(np.float32)
    if small.min() == small.max():
        return bool(small.mean() > 127)
    # Ink is the smaller part, and so the further from the mean of both: near by, where strokes are
    # thin and shadows are smooth, or else over some way.
    skewness = []
    for share in (1 / 40, 1 / 6):
        away = small - ndimage.gaussian_filter(small, share * max(small.shape), mode="nearest")
        skewness.append(float(np.mean(away**3) / np.mean(away**2) ** 1.5))
    return max(skewness, key=abs) < 0


def _contrast(
    channel: UInt8[np.ndarray, "height width"], widest: float
) -> Float32[np.ndarray, "height width"]:
    """How much darker each pixel is than the ground there, up to 1; below 0 it is brighter.

    What is dark and wider than this share of the longer side is ground.
    """
    small = _reduced(channel, _COARSE).astype(np.float32)
    size = max(round(widest * max(small.shape)), 3)
    ground = ndimage.grey_closing(small, (size, size), mode="nearest")
    ground = ndimage.gaussian_filter(ground, 1.5, mode="nearest")
    height, width = channel.shape
    whole = np.asarray(Image.fromarray(ground).resize((width, height), Image.Resampling.BILINEAR))
    contrast = (whole - channel) / np.maximum(whole, _DARKEST)
    if max(channel.shape) > 4 * _COARSE:
        contrast = ndimage.gaussian_filter(contrast, 0.8)  # a sensor's noise
    return contrast.astype(np.float32)


def _level(contrast: Float32[np.ndarray, "height width"]) -> float:
    """The contrast of strokes, or 0 if nothing stands out from the noise."""
    middle = np.median(contrast)
    noise = 1.4826 * float(np.median(np.abs(contrast - middle)))
    floor = max(_FAINTEST, float(middle) + _NOISES * noise)
    inked = contrast[contrast > floor]
    if not len(inked):
        return 0.0
    # Once more above the middle of these, so that ruled lines and specks do not count.
    stronger = inked[inked > (floor + float(inked.max())) / 2]
    level = float(np.median(stronger if len(stronger) > 0.05 * len(inked) else inked))
    return level if level > _CLEARLY * floor else 0.0


def strokes(ink: Float32[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Where ink is: above a half, and whatever above a quarter is connected with that.

    Example:
        >>> strokes(np.array([[0.0, 0.3, 0.9, 0.0, 0.3]], np.float32)).astype(int)
        array([[0, 1, 1, 0, 0]])
    """
    labels, count = cast(tuple[np.ndarray, int], ndimage.label(ink > 0.25))
    holds = np.zeros(count + 1, bool)
    holds[labels[ink > 0.5]] = True
    return holds[labels]


def connected(marked: Bool[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
    """Numbers the connected pieces from 1, corners included; elsewhere 0.

    Example:
        >>> connected(np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool))
        array([[1, 0, 0, 2],
               [0, 1, 0, 2]], dtype=int32)
    """
    labels, _ = cast(tuple[np.ndarray, int], ndimage.label(marked, np.ones((3, 3), bool)))
    return labels


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """The image averaged down to so many pixels along its longer side, if it has more."""
    longest = max(image.shape[:2])
    if longest <= side:
        return image
    height, width = (max(round(length * side / longest), 1) for length in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
