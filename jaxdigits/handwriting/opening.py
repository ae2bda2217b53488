"""Open a picture of any kind, however large, in little time and memory."""

import itertools
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from jaxdigits.data.images import is_transparent, is_wide, opaque, open_image, stretch
from jaxdigits.files import StrPath
from jaxdigits.handwriting.ink import Picture

SIDE = 1200
"""Pixels that the longer side of a picture is reduced to: enough for a page of writing."""

_BAND = 4_000_000
"""Pixels that are averaged at once."""


def open_picture(path: StrPath) -> Picture:
    """Read a picture: upright, in color, its longer side at most `SIDE` pixels.

    Of several frames, this is the first. `jaxdigits.data.images.opaque` says what a transparent
    picture is laid on.

    Args:
        path: PNG, JPEG, WebP, GIF, BMP, TIFF, or HEIC (with the extra `heic`).

    Raises:
        DataError: it does not exist, is not a picture, is damaged, or has too many pixels.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scan.png"
        >>> Image.new("1", (4000, 3000), 1).save(path)
        >>> picture = open_picture(path)
        >>> picture.shape, int(picture.min())
        ((900, 1200, 3), 255)
    """
    path = Path(path)

    def convert(image: Image.Image) -> np.ndarray:
        image.draft("RGB", (SIDE, SIDE))  # a JPEG can be decoded smaller
        small = _reduce(image)
        ImageOps.exif_transpose(small, in_place=True)
        return np.asarray(opaque(small) if small.mode == "RGBA" else small.convert("RGB"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return open_image(path, convert)


def _reduce(image: Image.Image) -> Image.Image:
    """Return a picture of at most `SIDE` pixels a side, in a mode that can be averaged.

    It is averaged in bands: of a large picture there is never a second whole one.
    """
    exif = image.getexif()  # which way is up
    factor = max(max(image.size) // (2 * SIDE), 1)
    rows = factor * max(_BAND // (factor * image.width), 1)
    edges = [*range(0, image.height, rows), image.height]
    bands = [
        np.asarray(_plain(image.crop((0, top, image.width, bottom))).reduce(factor))
        for top, bottom in itertools.pairwise(edges)
    ]
    values = np.concatenate(bands)
    small = Image.fromarray(stretch(values) if is_wide(image) else values)
    longest = max(small.size)
    if longest > SIDE:
        width, height = (max(round(side * SIDE / max(image.size)), 1) for side in image.size)
        small = small.resize((width, height), Image.Resampling.BOX)
    small.getexif().update(exif)
    return small


def _plain(image: Image.Image) -> Image.Image:
    """Return a picture in a mode whose values can be averaged."""
    if is_wide(image):
        return Image.fromarray(np.asarray(image).astype(np.float32))
    if is_transparent(image):
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")
