"""Bring a drawn character to the form of the images that a network was trained on.

A character is uint8 of any size, pixels 0..255, with bright strokes on a ground of 0. A blank one
raises DataError.

| form | `mnist` | `emnist` | `plain` |
|---|---|---|---|
| larger side of the strokes | 20 of 28 pixels | 20 to 26 of 28 | as in most images, of any size |
| in the middle | the center of mass | the bounding box | the bounding box |
| edges | gray by averaging | a Gaussian, bicubic | Hamming |

`mnist` is that of LeCun, Bottou, Bengio and Haffner (1998), `emnist` that of Cohen, Afshar, Tapson
and van Schaik (2017). For both, strokes much thinner or thicker than the dataset's, compared with
the height of a character, are brought to a usual width first. `plain` is what
`jaxdigits.data.load_folder` does with image files.

Measured on 800 validation images, each enlarged four times and moved on a larger ground: where the
pixels were repeated, `to_mnist` gives the image back with a mean difference of 0.2 gray levels of
255 a pixel (three of four exactly), and of 7 where the enlarging was bicubic, half of which it has
blurred away. `to_emnist` gives it back with 13 to 15: how large a letter is among its like was lost
when EMNIST was made.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxdigits.data.dataset import kind_of
from jaxdigits.data.images import stretch
from jaxdigits.errors import DataError
from jaxdigits.transforms.skeleton import skeletonize

_SIDE = 28
_MNIST_BOX = 20
_INK = 0.1
"""Of the largest value: what is brighter belongs to the strokes."""

_STROKE = 0.5
"""Of the largest value: what is brighter is stroke, not its edge or the texture of the paper."""

_EMNIST_BOX = 36
"""Pixels of a frame of 128x128 that a typical letter fills, before it is blurred there."""


def to_mnist(image: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    """Bring a character to the form of MNIST: in a box of 20x20, its center of mass in the middle.

    Example:
        >>> page = np.zeros((300, 200), np.uint8)
        >>> page[50:250, 30:50] = 200                      # a stroke, ten times as high as wide
        >>> image = to_mnist(page)
        >>> rows, columns = image.nonzero()
        >>> set(rows.tolist()) == set(range(4, 24)), set(columns.tolist())
        (True, {14, 15})
    """
    from scipy.ndimage import center_of_mass

    ink = _with_strokes(_cut(image, _INK), _MNIST_BOX, narrowest=1.2, usual=2.2, widest=7.0)
    small = _resized(ink, _MNIST_BOX)
    result = np.zeros((_SIDE, _SIDE), np.uint8)
    row, column = (
        min(max(_SIDE // 2 - round(float(middle)), 0), _SIDE - size)
        for middle, size in zip(np.array(center_of_mass(small)), small.shape, strict=True)
    )
    result[row : row + small.shape[0], column : column + small.shape[1]] = small
    return result


def to_emnist(image: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    """Bring a character to the form of EMNIST: blurred, its box in the middle, bicubic.

    EMNIST's own steps, from a binary image of 128x128: a Gaussian of deviation 1; the region of
    the strokes, put into the middle of a square; two pixels around it; bicubic to 28x28; the values
    stretched to 0..255.

    Example:
        >>> page = np.zeros((300, 200), np.uint8)
        >>> page[50:250, 30:50] = 200                      # a stroke, ten times as high as wide
        >>> image = to_emnist(page)
        >>> rows, columns = (image > 127).nonzero()
        >>> set(rows.tolist()) == set(range(3, 25)), set(columns.tolist())
        (True, {13, 14})
    """
    from scipy.ndimage import gaussian_filter

    half = 0.5
    ink = _with_strokes(_cut(image, half), _EMNIST_BOX, narrowest=2.8, usual=4.4, widest=12.0)
    binary = np.where(_resized(ink, _EMNIST_BOX) > 255 * half, np.float32(255), np.float32(0))
    soft = np.round(gaussian_filter(np.pad(binary, 4), 1)).astype(np.uint8)
    region = _cut(soft, 0.0)
    side = max(region.shape) + 2 * 2
    around = [((side - size) // 2, (side - size + 1) // 2) for size in region.shape]
    small = _resample(np.pad(region, around), (_SIDE, _SIDE), Image.Resampling.BICUBIC)
    values = small.astype(np.float32)
    return np.round(values * (255 / values.max())).astype(np.uint8)


def to_plain(
    image: UInt8[np.ndarray, "height width"],
    shape: tuple[int, int] = (_SIDE, _SIDE),
    extent: float = 1.0,
) -> UInt8[np.ndarray, "rows columns"]:
    """Fit a character into the middle of an image of a given height and width, without distortion.

    Args:
        image: the character.
        shape: height and width.
        extent: what it fills of these, as `measure_extent` gives it.

    Example:
        >>> stroke = np.full((200, 50), 90, np.uint8)
        >>> rows, columns = (to_plain(stroke, (32, 32)) > 127).nonzero()
        >>> set(rows.tolist()) == set(range(32)), set(columns.tolist()) == set(range(12, 20))
        (True, True)
        >>> rows, _ = (to_plain(stroke, (32, 32), extent=0.5) > 127).nonzero()
        >>> set(rows.tolist()) == set(range(8, 24))
        True
    """
    ink = _cut(image, 0.0)
    rows, columns = _box(ink, _STROKE)
    center = (rows.start + rows.stop) / 2, (columns.start + columns.stop) / 2
    lengths = rows.stop - rows.start, columns.stop - columns.start
    factor = max(length / side for length, side in zip(lengths, shape, strict=True)) / extent
    sides = [max(round(factor * side), length) for side, length in zip(shape, lengths, strict=True)]
    top, left = (round(middle - side / 2) for middle, side in zip(center, sides, strict=True))
    window = Image.fromarray(ink).crop((left, top, left + sides[1], top + sides[0]))
    small = _resample(np.asarray(window), shape, Image.Resampling.HAMMING)
    return stretch(small, (0.0, max(float(small.max()), 1.0)))


def measure_extent(
    images: UInt8[np.ndarray, "n height width *channels"], *, light_ground: bool = False
) -> float:
    """Measure what characters fill of their images: the larger share of a side, as in half of them.

    Args:
        images: pixels 0..255, of one character each.
        light_ground: whether strokes are dark.

    Example:
        >>> images = np.zeros((3, 32, 32), np.uint8)
        >>> images[:, 8:24, 14:18] = 200
        >>> measure_extent(images)
        0.5
    """
    shares = []
    for image in images:
        gray = image if image.ndim == 2 else image.mean(axis=2)
        ink = np.round(255 - gray if light_ground else gray).astype(np.uint8)
        if ink.any():
            boxes = zip(_box(ink, _STROKE), ink.shape, strict=True)
            shares.append(max((side.stop - side.start) / length for side, length in boxes))
    return float(np.median(shares or [1.0]))


FORMS: Mapping[str, Callable[..., UInt8[np.ndarray, "rows columns"]]] = MappingProxyType(
    {"mnist": to_mnist, "emnist": to_emnist, "plain": to_plain}
)
"""By the name that `Dataset.form` has."""


def to_form(
    image: UInt8[np.ndarray, "height width"],
    form: str,
    image_shape: tuple[int, ...] = (_SIDE, _SIDE),
    *,
    light_ground: bool = False,
    extent: float = 1.0,
) -> UInt8[np.ndarray, "..."]:
    """Make an image like a dataset's of a character, all channels alike.

    Args:
        image: the character.
        form, image_shape, light_ground: what the `Dataset` has that a network was trained on.
        extent: see `to_plain`.

    Example:
        >>> stroke = np.full((200, 50), 90, np.uint8)
        >>> found = to_form(stroke, "plain", (32, 32, 3), light_ground=True)
        >>> found.shape, found[1, [0, 16]].tolist()
        ((32, 32, 3), [[255, 255, 255], [0, 0, 0]])
    """
    height, width, *channels = image_shape
    sizes = ((height, width), extent) if form == "plain" else ()
    made = FORMS[form](image, *sizes)
    made = 255 - made if light_ground else made
    return np.repeat(made[..., None], channels[0], axis=2) if channels else made


def check_gray(image: Any) -> UInt8[np.ndarray, "height width"]:
    """Return what is a gray image; raise DataError if it is none.

    Example:
        >>> check_gray(np.zeros((28, 28)))
        Traceback (most recent call last):
        jaxdigits.errors.DataError: a character must be an array of uint8 (pixels 0..255) of shape
        [height, width]; this is float64 of shape [28, 28]
    """
    if getattr(image, "dtype", None) != np.uint8 or np.ndim(image) != 2:
        raise DataError(
            "a character must be an array of uint8 (pixels 0..255) of shape [height, width]; this "
            f"is {kind_of(image)}"
        )
    return np.asarray(image)


def _cut(
    image: UInt8[np.ndarray, "height width"], share: float
) -> UInt8[np.ndarray, "rows columns"]:
    """Cut to the box around what is brighter than this share of the largest value, made 255."""
    largest = int(check_gray(image).max(initial=0))
    if not largest:
        raise DataError("there is no ink: the image has no pixel above 0")
    return np.round(image[_box(image, share)] * np.float32(255 / largest)).astype(np.uint8)


def _box(image: UInt8[np.ndarray, "height width"], share: float) -> tuple[slice, slice]:
    """Return the rows and columns of what is brighter than this share of the largest value."""
    bright = image > share * int(image.max())
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _resized(
    image: UInt8[np.ndarray, "height width"], longest: int
) -> UInt8[np.ndarray, "rows columns"]:
    """Resize the longer side to this many pixels: to fewer by averages, to more bicubic."""
    factor = longest / max(image.shape)
    height, width = (max(round(side * factor), 1) for side in image.shape)
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return _resample(image, (height, width), method)


def _resample(
    image: UInt8[np.ndarray, "height width"], shape: tuple[int, int], method: Image.Resampling
) -> UInt8[np.ndarray, "rows columns"]:
    """Resize rows, then columns: Pillow's own order varies, and with it the rounding."""
    tall = Image.fromarray(image).resize((image.shape[1], shape[0]), method)
    return np.asarray(tall.resize((shape[1], shape[0]), method))


def stroke_width(ink: UInt8[np.ndarray, "height width"]) -> float:
    """Measure how wide strokes are, in pixels: their area over the length of their skeleton.

    Args:
        ink: pixels 0..255; those above half of the largest value count.

    Example:
        >>> bar = np.zeros((40, 20), np.uint8)
        >>> bar[2:38, 5:10] = 255
        >>> 5 <= stroke_width(bar) < 6
        True
    """
    strokes = np.pad(2 * ink.astype(np.int32) > ink.max(initial=0), 1)
    return float(strokes.sum() / max(skeletonize(strokes).sum(), 1))


def _with_strokes(
    ink: UInt8[np.ndarray, "height width"],
    longest: int,
    *,
    narrowest: float,
    usual: float,
    widest: float,
) -> UInt8[np.ndarray, "rows columns"]:
    """Give strokes the usual width where they are narrower, or far wider.

    The widths are in pixels of a character whose longer side has `longest`.
    """
    from scipy.ndimage import distance_transform_edt

    scale = longest / max(ink.shape)
    width = scale * stroke_width(ink)
    if narrowest <= width <= widest:
        return ink
    half = round(np.ceil((usual - width) / scale / 2)) if width < narrowest else 0
    strokes = np.pad(2 * ink.astype(np.int32) > 255, half)
    change = abs(usual - width) / scale / 2  # on each side
    if half:
        away = np.asarray(distance_transform_edt(~strokes), np.float32)
        wider = np.clip(change + 0.5 - away, 0, 1)
        return np.maximum(np.pad(ink, half), np.round(255 * wider).astype(np.uint8))
    away = np.asarray(distance_transform_edt(np.pad(strokes, 1)), np.float32)[1:-1, 1:-1]
    change = min(change, float(away.max()) - 1)  # some of it stays, whatever its form
    kept = np.clip(away - change + 0.5, 0, 1)
    return _cut(np.round(kept * ink).astype(np.uint8), _INK)
