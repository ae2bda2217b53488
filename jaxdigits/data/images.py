"""Image files of any kind, brought to one shape, bright strokes on a dark ground.

- EXIF rotation is applied. Images become gray, of 8 bits. Those of 16 or 32 bits, and floats, are
  scaled to 0..255 from a range that all files read together have in common: from 0 to the first of
  1, 255, 1023, 4095, 16383, and 65535 that none exceeds, or else from their least to their largest
  value. Transparent strokes are laid on white if they are dark, otherwise on black; an opaque sheet
  with a transparent margin is continued with the color of its edge.
- The ground is light if at least three quarters of the border's pixels are above the middle
  between the image's darkest and brightest value, and dark if at most a quarter are. (A single
  value speaks for itself.) Where the border does not tell, the majority of the images that are read
  together does. Images on a light ground are inverted.
- An image of the wanted shape stays as it is then. Another one is resized to fit in there
  (Hamming), its ground is continued around it, and its values are stretched to 0..255. It is not
  centered, as MNIST's are.
- With three channels, colors stay as they are: nothing is inverted or stretched.
"""

import logging
import stat
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Real, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage
from tqdm import tqdm

from jaxdigits.errors import DataError

logger = logging.getLogger("jaxdigits")

R = TypeVar("R")

Gray = UInt8[np.ndarray, "height width"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""What Pillow reads; HEIF too, with the extra `heic`."""

MOST_PIXELS = 120_000_000
"""More than a scanned page has; such a picture takes up to 0.6 GB while it is reduced."""

MOST_PIXELS_HELD_TWICE = 45_000_000
"""The most in formats whose decoders hold a picture several times, up to 16 bytes a pixel."""

_HELD_TWICE = {"WEBP", "AVIF", "HEIF", "JPEG2000"}

_RANGES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""The largest values that images of more than 8 bits may have, if they begin at 0."""

_SHEET = 0.7
"""The least opaque share of its box that makes a transparent image a sheet."""

_SHOWS = 64
"""The least range of gray on a sheet that shows something."""

_NAMED = 10
"""The most unreadable files that an error names."""

_LARGE = 4096
"""The mean size of a file, in bytes, above which threads are faster than none.

Pillow decodes large images side by side; with small ones threads only wait for each other.
"""


class _Wide(NamedTuple):
    """An image file of more than 8 bits, to be read when the range of all is known."""

    low: float
    high: float


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
        paths: one or more files, of `FORMATS` or HEIC; of several frames, the first.
        exact: whether to take them as they are, and invert none.
        image_shape: (height, width), (height, width, 1), or (height, width, 3) for color.
        light_files: whether files whose border does not tell are on a light ground. Default: as the
            majority of the others is.

    Returns:
        The images, and `light_files` as it was taken.

    Raises:
        DataError: files are not images, are damaged, too large, or cannot be read; it names them.
    """
    height, width, *channels = image_shape
    if channels not in ([], [1], [3]):
        raise DataError(f"image files have 1 or 3 channels, not those of the shape {image_shape}")
    if channels == [3]:
        read: Callable[[Path], _Reading | _Wide] = partial(_read_color, shape=(height, width))
    else:
        read = partial(_read_gray, shape=(height, width), exact=exact)
    readings = _read_wide(paths, _read_all(paths, read), read)
    votes = [reading.light for reading in readings if reading.light is not None]
    light = sum(votes) > len(votes) / 2 if light_files is None else light_files
    images = np.stack([reading.if_light if light else reading.if_dark for reading in readings])
    return images.reshape(-1, *image_shape), light


def _read_all(
    paths: Sequence[Path], read: Callable[[Path], _Reading | _Wide]
) -> list[_Reading | _Wide]:
    """Read files side by side; the error names all that cannot be read."""

    def read_or_fail(path: Path) -> _Reading | _Wide | DataError:
        try:
            return read(path)
        except DataError as error:
            return error

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        parallel = sum(map(_file_size, paths)) > _LARGE * len(paths)
        found = tqdm(
            (pool.map if parallel else map)(read_or_fail, paths),
            desc="reading",
            total=len(paths),
            unit="image",
            disable=None,
            leave=False,
        )
        readings, errors = [], []
        for one in found:
            (errors if isinstance(one, DataError) else readings).append(one)
    if errors:
        more = [f"and {len(errors) - _NAMED} more"] if len(errors) > _NAMED else []
        raise DataError("\n".join([*sorted(map(str, errors))[:_NAMED], *more]))
    return readings


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it gives the error


def _read_wide(
    paths: Sequence[Path],
    readings: Sequence[_Reading | _Wide],
    read: Callable[..., _Reading | _Wide],
) -> list[_Reading]:
    """Read again the files of more than 8 bits, whose common range is known now."""
    wide = {path: one for path, one in zip(paths, readings, strict=True) if isinstance(one, _Wide)}
    again: dict[Path, _Reading | _Wide] = {}
    if wide:
        low, high = min(one.low for one in wide.values()), max(one.high for one in wide.values())
        if low >= 0:
            low, high = 0.0, next((most for most in _RANGES if most >= high), high)
        logger.info("%d images of more than 8 bits: %g..%g become 0..255", len(wide), low, high)
        second = _read_all(list(wide), partial(read, limits=(low, high)))
        again = dict(zip(wide, second, strict=True))
    found = [again.get(path, one) for path, one in zip(paths, readings, strict=True)]
    return [one for one in found if isinstance(one, _Reading)]


def _read_gray(
    path: Path, shape: tuple[int, int], exact: bool, limits: tuple[float, float] | None = None
) -> _Reading | _Wide:
    values = open_image(path, _to_gray)
    if values.dtype != np.uint8:
        if limits is None:
            return _Wide(float(values.min()), float(values.max()))
        values = stretch(values, limits)
    light = False if exact else on_light_ground(values)
    if light is None:
        return _Reading(None, fit(values, shape), fit(255 - values, shape))
    image = fit(255 - values if light else values, shape)
    return _Reading(light, image, image)


def _read_color(path: Path, shape: tuple[int, int]) -> _Reading:
    height, width = shape

    def convert(image: Image.Image) -> np.ndarray:
        colors = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(ImageOps.pad(colors, (width, height), Image.Resampling.HAMMING))

    image = open_image(path, convert)
    return _Reading(False, image, image)


def open_image(path: Path, convert: Callable[[Image.Image], R]) -> R:
    """Open an image file, of any format, and convert it; everything that reads one does so here.

    Args:
        path: of the file.
        convert: from the image, not yet decoded, not turned as its EXIF data say.

    Raises:
        DataError: it does not exist, is not an image, is damaged, or too large.
    """
    try:
        _check_kind(path)
        # An open file: by its path, Pillow maps a TIFF into memory and mixes up its rows.
        with path.open("rb") as file:
            formats = (*FORMATS, *_other_formats(path, file.read(12)))
            file.seek(0)
            with Image.open(file, formats=formats) as image:
                most = MOST_PIXELS_HELD_TWICE if image.format in _HELD_TWICE else MOST_PIXELS
                if image.width * image.height > most:
                    raise _too_large(path, most)
                return convert(image)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; name a picture") from None
    except Image.DecompressionBombWarning:  # an error where many files are read side by side
        raise _too_large(path, Image.MAX_IMAGE_PIXELS or MOST_PIXELS) from None
    except Image.DecompressionBombError:
        raise _too_large(path, MOST_PIXELS) from None
    except Exception as error:  # Pillow's decoders raise all kinds of them for damaged files
        raise unreadable(path, error) from None


def _too_large(path: Path, most: int) -> DataError:
    return DataError(f"{path} has more than {most // 10**6} megapixels; make it smaller")


def _check_kind(path: Path) -> None:
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise DataError(f"{path} is a folder; name the pictures in it, such as {path}/*.png")
    if not stat.S_ISREG(kind):  # reading a pipe might never end
        raise DataError(f"{path} is not a file; name a picture")


def _other_formats(path: Path, head: bytes) -> tuple[str, ...]:
    """Return the formats that need another library, if the file begins as one; refuse a PDF."""
    if not head:
        raise DataError(f"{path} is empty; replace or delete it")
    if head.startswith(b"%PDF"):
        raise DataError(f"{path} is a PDF; save its page as a PNG or JPEG picture")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        try:
            import pillow_heif
        except ImportError:
            raise DataError(
                f"{path} is in HEIC format; pip install 'jaxdigits[heic]', or save it as JPEG"
            ) from None
        pillow_heif.register_heif_opener()
        return ("HEIF",)
    return ()


def unreadable(path: Path, error: Exception) -> DataError:
    """Make the error for an image file that cannot be read because of `error`."""
    reason = str(getattr(error, "strerror", None) or error).rstrip(".")
    if isinstance(error, UnidentifiedImageError):
        reason = "it is not an image, or is of another format than " + ", ".join((*FORMATS, "HEIC"))
    return DataError(f"{path} cannot be read: {reason}; replace or delete it")


def _to_gray(image: Image.Image) -> Real[np.ndarray, "height width"]:
    """Gray from an image of any mode: of 8 bits, or as it is where it has more."""
    upright = ImageOps.exif_transpose(image)
    if is_wide(upright):
        return np.asarray(upright).astype(np.float32)
    if is_transparent(upright):
        upright = opaque(upright.convert("RGBA"))
    return np.asarray(upright.convert("L"))


def is_wide(image: Image.Image) -> bool:
    """Tell whether an image has more than 8 bits a pixel in one channel."""
    return image.mode.startswith("I") or image.mode == "F"


def is_transparent(image: Image.Image) -> bool:
    """Tell whether an image may have transparent pixels."""
    return "A" in image.getbands() or "transparency" in image.info


def opaque(image: Image.Image) -> Image.Image:
    """Lay a transparent image (RGBA) on a ground of one color.

    A sheet that fills most of its box, with something on it, is extended in the color of its edge.
    Strokes without a sheet are laid on white if they are dark, otherwise on black.

    Example:
        >>> card = Image.new("RGBA", (40, 40))
        >>> card.paste((250, 250, 240, 255), (10, 10, 30, 30))
        >>> card.paste((20, 20, 20, 255), (18, 14, 21, 26))
        >>> opaque(card).getpixel((0, 0))
        (250, 250, 240)
    """
    alpha = np.asarray(image.getchannel("A"))
    gray = np.asarray(image.convert("L"))
    solid = alpha >= 250
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if len(rows) and solid.sum() < solid.size:
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        shows = np.ptp(gray[solid].astype(int)) > _SHOWS
        if shows and solid[box].mean() > _SHEET:
            inner = ndimage.binary_erosion(solid, np.ones((3, 3), bool))
            edge = np.median(np.asarray(image)[solid & ~inner][:, :3], axis=0)
            sheet = Image.new("RGB", image.size, tuple(int(value) for value in edge))
            sheet.paste(image.convert("RGB"), mask=Image.fromarray(solid))
            return sheet
    dark_ink = np.sum((gray - 127.5) * alpha) < 0
    ground = Image.new("RGBA", image.size, "white" if dark_ink else "black")
    return Image.alpha_composite(ground, image).convert("RGB")


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
    ground = int(np.percentile(_border(gray), 25, method="lower"))
    side, longest = min(zip(shape, gray.shape, strict=True), key=lambda pair: pair[0] / pair[1])
    height, width = (max(round(side * given / longest), 1) for given in gray.shape)
    # A filter without negative weights: with others, clean ground beside ink would not stay clean.
    small = Image.fromarray(gray).resize((width, height), Image.Resampling.HAMMING)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    around = ((top, shape[0] - height - top), (left, shape[1] - width - left))
    return stretch(np.pad(np.asarray(small), around, constant_values=ground))


def _border(gray: Gray) -> UInt8[np.ndarray, " n"]:
    return np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])


def stretch(
    values: Real[np.ndarray, "height width"], limits: tuple[float, float] | None = None
) -> Gray:
    """Stretch values from their own range, or between limits, to 0..255; a single one becomes 0.

    Example:
        >>> stretch(np.array([[0, 2048, 4095]]), (0.0, 4095.0)).tolist()
        [[0, 128, 255]]
    """
    low, high = limits or (float(values.min()), float(values.max()))
    return np.round((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)
