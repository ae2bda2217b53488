"""Image files of any kind, brought to the form of MNIST's: 28x28, bright ink on a dark ground.

- They are turned as their EXIF data say and become grey, of 8 bits. 16 bits are scaled to 8; 32
  bits and floats, of which nobody knows the range, are stretched from their own to 0..255.
  Transparent images are laid on white if their ink is dark, or else on black.
- An image is on a light ground if at least three quarters of the pixels of its border are above
  the middle between its darkest and its brightest value, and on a dark one if at most a quarter
  are. (If there is only one value, that says it.) Where the border does not say it, most of the
  images that are read together do. What is on a light ground is inverted.
- An image of 28x28 pixels stays as it is then. Another one is resized to fit in there (Hamming),
  its ground is continued around it, and its values are stretched to 0..255. The ink is not moved
  to the centre, as it is in MNIST.
"""

import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Real, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from jaxdigits.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")

_LARGE = 4096
"""The mean size of a file, in bytes, above which threads are faster than none.

Pillow decodes large images side by side; with small ones threads only wait for each other.
"""


class _Reading(NamedTuple):
    """An image file, brought to 28x28.

    Attributes:
        light: whether it is on a light ground; None if its border does not say.
        if_dark: the image, uint8 [28, 28], if that None is taken for a dark ground.
        if_light: if it is taken for a light one.
    """

    light: bool | None
    if_dark: UInt8[np.ndarray, "28 28"]
    if_light: UInt8[np.ndarray, "28 28"]


def read_images(paths: Sequence[Path], *, exact: bool) -> UInt8[np.ndarray, "n 28 28"]:
    """Reads image files, with a progress bar where standard error is a terminal.

    Args:
        paths: one or more files, PNG, JPEG, BMP, GIF, WebP or TIFF.
        exact: whether their ink is known to be bright, so that none is inverted.

    Returns:
        Pixels 0..255, ink bright on a dark ground.

    Raises:
        DataError: a file is not an image, is damaged, too large, or cannot be read.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        parallel = sum(map(_file_size, paths)) > _LARGE * len(paths)
        readings = list(
            tqdm(
                (pool.map if parallel else map)(partial(_read, exact=exact), paths),
                desc="reading",
                total=len(paths),
                unit="image",
                disable=None,
                leave=False,
            )
        )
    votes = [reading.light for reading in readings if reading.light is not None]
    light = sum(votes) > len(votes) / 2
    return np.stack([reading.if_light if light else reading.if_dark for reading in readings])


def _file_size(path: Path) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe might never end
        raise unreadable(path, ValueError("it is not a file"))
    return status.st_size


def _read(path: Path, exact: bool) -> _Reading:
    grey = _read_grey(path)
    light = False if exact else on_light_ground(grey)
    if light is None:
        return _Reading(None, fit(grey), fit(255 - grey))
    image = fit(255 - grey if light else grey)
    return _Reading(light, image, image)


def _read_grey(path: Path) -> UInt8[np.ndarray, "height width"]:
    try:
        with Image.open(path, formats=FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return _to_grey(image)
    except Exception as error:  # Pillow's decoders raise all kinds of them for damaged files
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> DataError:
    """What is raised for an image file that `error` says something about."""
    reason = str(getattr(error, "strerror", None) or error).rstrip(".")
    if isinstance(error, UnidentifiedImageError):
        reason = "it is not an image, or is of another format than " + ", ".join(FORMATS)
    return DataError(f"{path} cannot be read: {reason}; replace or delete it")


def _to_grey(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Grey of 8 bits from an image of any mode, laid on white or black where it is transparent."""
    if image.mode.startswith("I;16"):
        return ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.mode in ("I", "F"):
        return stretch(np.asarray(image))
    if "A" not in image.getbands() and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    colours = image.convert("RGBA")
    grey, alpha = colours.convert("L"), colours.getchannel("A")
    dark_ink = np.sum((np.asarray(grey) - 127.5) * np.asarray(alpha)) < 0
    ground = Image.new("L", grey.size, 255 if dark_ink else 0)
    return np.asarray(Image.composite(grey, ground, alpha))


def on_light_ground(grey: UInt8[np.ndarray, "height width"]) -> bool | None:
    """Whether dark ink is on a light ground, as the border says; None where it does not.

    Example:
        >>> page = np.full((5, 5), 200, np.uint8)
        >>> page[2, 2] = 10
        >>> on_light_ground(page), on_light_ground(255 - page)
        (True, False)
    """
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        return low > 127
    light = float(np.mean(_border(grey) > (low + high) / 2))
    return None if 0.25 < light < 0.75 else light >= 0.75


def fit(grey: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    """An image with bright ink, brought to 28x28 without distortion.

    Example:
        >>> stroke = np.full((100, 30), 20, np.uint8)
        >>> stroke[10:90, 10:20] = 120
        >>> image = fit(stroke)
        >>> image[[0, 14, 14], [14, 0, 14]].tolist()    # above, beside and on the stroke
        [0, 0, 255]
    """
    if grey.shape == (28, 28):
        return grey
    # Of the border at least a quarter is ground: an image with less was inverted.
    ground = int(np.percentile(_border(grey), 25))
    height, width = (max(round(28 * side / max(grey.shape)), 1) for side in grey.shape)
    # A filter without negative weights: with others, clean ground beside ink would not stay clean.
    small = Image.fromarray(grey).resize((width, height), Image.Resampling.HAMMING)
    top, left = (28 - height) // 2, (28 - width) // 2
    around = ((top, 28 - height - top), (left, 28 - width - left))
    return stretch(np.pad(np.asarray(small), around, constant_values=ground))


def _border(grey: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, " n"]:
    return np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def stretch(values: Real[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """The range of the values becomes 0..255; a single value becomes 0."""
    low, high = float(values.min()), float(values.max())
    return np.round((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)
