"""Image files of any kind, brought to one shape, bright strokes on a dark ground.

- EXIF rotation is applied. Images become gray, of 8 bits: 16 bits are scaled to 8; 32 bits and
  floats, whose range is unknown, are stretched from their own to 0..255. Transparent images are
  laid on white if their strokes are dark, otherwise on black.
- The ground is light if at least three quarters of the border's pixels are above the middle
  between the image's darkest and brightest value, and dark if at most a quarter are. (A single
  value speaks for itself.) Where the border does not tell, the majority of the images that are read
  together does. Images on a light ground are inverted.
- An image of the wanted shape stays as it is then. Another one is resized to fit in there
  (Hamming), its ground is continued around it, and its values are stretched to 0..255. It is not
  centered, as MNIST's are.
- With three channels, colors stay as they are: nothing is inverted or stretched.
"""

import stat
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Real, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from jaxdigits.errors import DataError

Gray = UInt8[np.ndarray, "height width"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")

_LARGE = 4096
"""The mean size of a file, in bytes, above which threads are faster than none.

Pillow decodes large images side by side; with small ones threads only wait for each other.
"""


class _Reading(NamedTuple):
    """An image file, brought to the wanted shape."""

    light: bool | None  # whether it is on a light ground; None if its border does not tell
    if_dark: UInt8[np.ndarray, "..."]  # the image, if None is taken for a dark ground
    if_light: UInt8[np.ndarray, "..."]


def read_images(
    paths: Sequence[Path],
    *,
    exact: bool,
    image_shape: tuple[int, ...] = (28, 28),
    light_files: bool | None = None,
) -> tuple[UInt8[np.ndarray, "n height width *channels"], bool]:
    """Read image files to pixels 0..255, with a progress bar on a terminal.

    Args:
        paths: one or more files, PNG, JPEG, BMP, GIF (the first frame), WebP or TIFF.
        exact: whether to take them as they are, and invert none.
        image_shape: (height, width), (height, width, 1), or (height, width, 3) for color.
        light_files: whether files whose border does not tell are on a light ground. Default: as the
            majority of the others is.

    Returns:
        The images, and `light_files` as it was taken.

    Raises:
        DataError: a file is not an image, is damaged, too large, or cannot be read.
    """
    height, width, *channels = image_shape
    if channels not in ([], [1], [3]):
        raise DataError(f"image files have 1 or 3 channels, not those of the shape {image_shape}")
    read = _read_color if channels == [3] else partial(_read_gray, exact=exact)
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        parallel = sum(map(_file_size, paths)) > _LARGE * len(paths)
        readings = list(
            tqdm(
                (pool.map if parallel else map)(partial(read, shape=(height, width)), paths),
                desc="reading",
                total=len(paths),
                unit="image",
                disable=None,
                leave=False,
            )
        )
    votes = [reading.light for reading in readings if reading.light is not None]
    light = sum(votes) > len(votes) / 2 if light_files is None else light_files
    images = np.stack([reading.if_light if light else reading.if_dark for reading in readings])
    return images.reshape(-1, *image_shape), light


def _file_size(path: Path) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe might never end
        raise unreadable(path, ValueError("it is not a file"))
    return status.st_size


def _read_gray(path: Path, shape: tuple[int, int], exact: bool) -> _Reading:
    gray = _open(path, _to_gray)
    light = False if exact else on_light_ground(gray)
    if light is None:
        return _Reading(None, fit(gray, shape), fit(255 - gray, shape))
    image = fit(255 - gray if light else gray, shape)
    return _Reading(light, image, image)


def _read_color(path: Path, shape: tuple[int, int]) -> _Reading:
    height, width = shape

    def convert(image: Image.Image) -> np.ndarray:
        colors = image.convert("RGB")
        return np.asarray(ImageOps.pad(colors, (width, height), Image.Resampling.HAMMING))

    image = _open(path, convert)
    return _Reading(False, image, image)


def _open(path: Path, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    try:
        with Image.open(path, formats=FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return convert(image)
    except Exception as error:  # Pillow's decoders raise all kinds of them for damaged files
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> DataError:
    """Make the error for an image file that cannot be read because of `error`."""
    reason = str(getattr(error, "strerror", None) or error).rstrip(".")
    if isinstance(error, UnidentifiedImageError):
        reason = "it is not an image, or is of another format than " + ", ".join(FORMATS)
    return DataError(f"{path} cannot be read: {reason}; replace or delete it")


def _to_gray(image: Image.Image) -> Gray:
    """Gray of 8 bits from an image of any mode, laid on white or black where it is transparent."""
    if image.mode.startswith("I;16"):
        return ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.mode in ("I", "F"):
        return stretch(np.asarray(image))
    if "A" not in image.getbands() and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    colors = image.convert("RGBA")
    gray, alpha = colors.convert("L"), colors.getchannel("A")
    dark_strokes = np.sum((np.asarray(gray) - 127.5) * np.asarray(alpha)) < 0
    ground = Image.new("L", gray.size, 255 if dark_strokes else 0)
    return np.asarray(Image.composite(gray, ground, alpha))


def on_light_ground(gray: Gray) -> bool | None:
    """Tell by the border whether strokes are dark on a light ground; None where it does not tell.

    Example:
        >>> page = np.full((5, 5), 200, np.uint8)
        >>> page[2, 2] = 10
        >>> on_light_ground(page), on_light_ground(255 - page)
        (True, False)
    """
    low, high = int(gray.min()), int(gray.max())
    if low == high:
        return low > 127
    light = float(np.mean(_border(gray) > (low + high) / 2))
    return None if 0.25 < light < 0.75 else light >= 0.75


def fit(gray: Gray, shape: tuple[int, int] = (28, 28)) -> UInt8[np.ndarray, "rows columns"]:
    """Bring an image with bright strokes to a shape, without distortion.

    Args:
        gray: of any size.
        shape: (height, width).

    Example:
        >>> stroke = np.full((100, 30), 20, np.uint8)
        >>> stroke[10:90, 10:20] = 120
        >>> image = fit(stroke)
        >>> image[[0, 14, 14], [14, 0, 14]].tolist()    # above, beside and on the stroke
        [0, 0, 255]
    """
    if gray.shape == shape:
        return gray
    # Of the border at least a quarter is ground: an image with less was inverted.
    ground = int(np.percentile(_border(gray), 25))
    side, longest = min(zip(shape, gray.shape, strict=True), key=lambda pair: pair[0] / pair[1])
    height, width = (max(round(side * given / longest), 1) for given in gray.shape)
    # A filter without negative weights: with others, clean ground beside ink would not stay clean.
    small = Image.fromarray(gray).resize((width, height), Image.Resampling.HAMMING)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    around = ((top, shape[0] - height - top), (left, shape[1] - width - left))
    return stretch(np.pad(np.asarray(small), around, constant_values=ground))


def _border(gray: Gray) -> UInt8[np.ndarray, " n"]:
    return np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])


def stretch(values: Real[np.ndarray, "height width"]) -> Gray:
    """Stretch the range of values to 0..255; a single value becomes 0."""
    low, high = float(values.min()), float(values.max())
    return np.round((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)
