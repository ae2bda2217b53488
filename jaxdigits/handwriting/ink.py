"""Tell ink from the ground: uneven light, texture, dark or bright strokes, any color."""

from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from PIL import Image
from scipy import ndimage

from jaxdigits.data.dataset import kind_of
from jaxdigits.errors import DataError
from jaxdigits.transforms.skeleton import skeletonize

Picture = UInt8[np.ndarray, "height width 3"]
Gray = UInt8[np.ndarray, "height width"]
Ink = Float32[np.ndarray, "height width"]
Marks = Bool[np.ndarray, "height width"]
Labels = Int[np.ndarray, "height width"]

_APART = 60.0  # the least difference in gray between what is far apart
_COARSE = 96  # pixels of the longer side of the picture in which the ground is estimated
_WIDEST = 0.3  # share of that side: what is dark and wider is ground
_ROOM = 6.0  # the width of that, in stroke widths, once these are known
_DARKEST = 100.0  # differences on a darker ground count as on this one
_FAINTEST = 0.08  # the least contrast of ink, 0..1
_CROP = 0.5  # the most width of a single character cut out at its box, in its height
_NOISES = 6.0  # the least contrast of ink, in deviations of the ground's noise
_CLEARLY = 2.5  # the contrast of strokes over the least; noise reaches up to twice
_BLANK = "there is no writing in it: nothing stands out from the ground"


def check_picture(picture: Any) -> Picture:
    """Return what is a picture, gray ones in three equal channels; raise DataError if it is none.

    Example:
        >>> check_picture(np.zeros((30, 20), np.uint8)).shape
        (30, 20, 3)
        >>> check_picture("photo.jpg")
        Traceback (most recent call last):
        jaxdigits.errors.DataError: a picture must be an array of uint8 (pixels 0..255) of shape
        [height, width, 3] or [height, width], as jaxdigits.handwriting.open_picture reads it from a
        file; this is str
    """
    is_uint8, shape = getattr(picture, "dtype", None) == np.uint8, np.shape(picture)
    if not is_uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)):
        raise DataError(
            "a picture must be an array of uint8 (pixels 0..255) of shape [height, width, 3] or "
            "[height, width], as jaxdigits.handwriting.open_picture reads it from a file; this is "
            f"{kind_of(picture)}"
        )
    if 0 in shape:
        raise DataError(f"the picture has no pixels: it is of shape {list(shape)}")
    found = np.asarray(picture)
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, axis=2)


def find_ink(picture: Picture) -> Ink:
    """Measure the ink at each pixel: 0 on the ground, 1 in the middle of strokes.

    The ground's brightness is what a morphological closing leaves, which removes dark strokes and
    keeps shadows. Ink is what is darker than that, in the color that shows it best. A picture with
    a dark ground is inverted first.

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
    try:
        return _find(picture)
    except DataError:
        ground = _clear_ground(picture)
        if ground is None:
            raise
        # Of a 1 cut out at its box there is too little ground to measure: add some.
        margin = max(picture.shape[:2])
        around = ((margin, margin), (margin, margin))
        padded = [np.pad(picture[..., c], around, constant_values=ground[c]) for c in range(3)]
        return _find(np.stack(padded, axis=-1))[margin:-margin, margin:-margin]


def _find(picture: Picture) -> Ink:
    small = _reduce(picture, 4 * _COARSE)
    levels = [_level(_contrast(channel, _WIDEST)) for channel in _channels(small)]
    levels[0] *= 4 / 3  # gray, unless a color shows much more: colors are noisier
    if not any(levels):
        raise DataError(_BLANK)
    channel = _channels(picture)[int(np.argmax(levels))]
    ink = _ink(_contrast(channel, _WIDEST))
    # Again, with a ground that follows shadows as closely as these strokes allow.
    share = _ROOM * _median_width(strokes(ink)) / max(ink.shape)
    return _ink(_contrast(channel, share)) if share < _WIDEST else ink


def _clear_ground(picture: Picture) -> UInt8[np.ndarray, "3"] | None:
    """Return the color of the ground of a narrow picture, if it is far brighter than the rest."""
    if min(picture.shape[:2]) >= _CROP * max(picture.shape[:2]):
        return None
    bright = bright_part(ndimage.median_filter(picture.mean(axis=2), 5))  # noise is no contrast
    return None if bright is None else np.median(picture[bright], axis=0).astype(np.uint8)


def bright_part(gray: np.ndarray) -> Marks | None:
    """Mark the brighter of two groups that differ as much as they can, if they are far apart.

    The limit between them is that of Otsu, IEEE SMC 9 (1979).

    Args:
        gray: pixels 0..255.

    Example:
        >>> bright_part(np.array([[10, 12, 11], [200, 210, 205]])).astype(int)
        array([[0, 0, 0],
               [1, 1, 1]])
        >>> bright_part(np.array([[10, 12, 11], [20, 21, 20]])) is None
        True
    """
    counts, edges = np.histogram(gray, 64)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = gray.size - below
    sums = np.cumsum(counts * middles)
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    bright = gray > edges[1:-1][np.argmax(below * above * (means[0] - means[1]) ** 2)]
    if bright.all() or not bright.any():
        return None
    return bright if gray[bright].mean() - gray[~bright].mean() >= _APART else None


def _ink(contrast: Ink) -> Ink:
    level = _level(contrast)
    if level == 0:
        raise DataError(_BLANK)
    return np.clip((contrast / level - 0.2) / 0.6, 0, 1)


def _median_width(marked: Marks) -> float:
    """Measure strokes in pixels, as at half of the places along them; blobs count little."""
    marked = np.pad(marked, 1)
    inside = np.asarray(ndimage.distance_transform_edt(marked))
    return 2 * float(np.median(inside[skeletonize(marked)]))


def _channels(picture: Picture) -> list[Gray]:
    """Return gray, red, green and blue."""
    gray = np.asarray(Image.fromarray(picture).convert("L"))
    return [gray, *np.moveaxis(picture, -1, 0)]


def _on_light_ground(picture: Picture) -> bool:
    """Tell whether what differs from its surroundings is darker than they are."""
    small = _reduce(_channels(picture)[0], 2 * _COARSE).astype(np.float32)
    if small.min() == small.max():
        return bool(small.mean() > 127)
    # Ink is the smaller part, and so further from the mean: of the neighborhood, where strokes are
    # thin and shadows are smooth, or of a wider one.
    skewness = []
    for share in (1 / 40, 1 / 6):
        away = small - ndimage.gaussian_filter(small, share * max(small.shape), mode="nearest")
        skewness.append(float(np.mean(away**3) / np.mean(away**2) ** 1.5))
    return max(skewness, key=abs) < 0


def _contrast(channel: Gray, widest: float) -> Ink:
    """Measure how much darker each pixel is than the ground there, up to 1; brighter is negative.

    What is dark and wider than this share of the longer side is ground.
    """
    small = _reduce(channel, _COARSE).astype(np.float32)
    size = max(round(widest * max(small.shape)), 3)
    ground = ndimage.grey_closing(small, (size, size), mode="nearest")
    ground = ndimage.gaussian_filter(ground, 1.5, mode="nearest")
    height, width = channel.shape
    whole = np.asarray(Image.fromarray(ground).resize((width, height), Image.Resampling.BILINEAR))
    contrast = (whole - channel) / np.maximum(whole, _DARKEST)
    if max(channel.shape) > 4 * _COARSE:
        contrast = ndimage.gaussian_filter(contrast, 0.8)  # a sensor's noise
    return contrast.astype(np.float32)


def _level(contrast: Ink) -> float:
    """Measure the contrast of strokes: 0 if nothing stands out from the noise."""
    # Of a character cut out at its box, most may be ink: what is clearly ink is no noise.
    ground = contrast[contrast <= contrast.max() / 2]
    middle = np.median(ground)
    noise = 1.4826 * float(np.median(np.abs(ground - middle)))
    floor = max(_FAINTEST, float(middle) + _NOISES * noise)
    inked = contrast[contrast > floor]
    if not len(inked):
        return 0.0
    # Only what is above the middle of these, so that ruled lines and specks do not count.
    stronger = inked[inked > (floor + float(inked.max())) / 2]
    level = float(np.median(stronger if len(stronger) > 0.05 * len(inked) else inked))
    return level if level > _CLEARLY * floor else 0.0


def strokes(ink: Ink) -> Marks:
    """Mark ink above a half, and ink above a quarter that is connected with it.

    Example:
        >>> strokes(np.array([[0.0, 0.3, 0.9, 0.0, 0.3]], np.float32)).astype(int)
        array([[0, 1, 1, 0, 0]])
    """
    labels, count = cast(tuple[np.ndarray, int], ndimage.label(ink > 0.25))
    kept = np.zeros(count + 1, bool)
    kept[labels[ink > 0.5]] = True
    return kept[labels]


def connected(marked: Marks) -> Labels:
    """Number connected pieces from 1, diagonal neighbors included; 0 elsewhere.

    Example:
        >>> connected(np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool))
        array([[1, 0, 0, 2],
               [0, 1, 0, 2]], dtype=int32)
    """
    labels, _ = cast(tuple[np.ndarray, int], ndimage.label(marked, np.ones((3, 3), bool)))
    return labels


def _reduce(image: np.ndarray, side: int) -> np.ndarray:
    """Average an image down to this many pixels along its longer side, if it has more."""
    longest = max(image.shape[:2])
    if longest <= side:
        return image
    height, width = (max(round(length * side / longest), 1) for length in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
