"""Open a picture of any kind, however large, in little time and memory."""

import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from jaxdigits.data.images import FORMATS, stretch, unreadable
from jaxdigits.errors import DataError
from jaxdigits.files import StrPath
from jaxdigits.handwriting.ink import Picture

MOST_PIXELS = 120_000_000
"""More than a scanned page has; such a picture takes 0.5 GB while it is reduced."""

SIDE = 1200
"""Pixels that the longer side of a picture is reduced to: enough for a page of writing."""


def open_picture(path: StrPath) -> Picture:
    """Read a picture: upright, in color, its longer side at most `SIDE` pixels.

    Of several frames, this is the first. A transparent picture is laid on white if its ink is dark,
    otherwise on black.

    Args:
        path: PNG, JPEG, WebP, GIF, BMP, TIFF, or HEIC (with the extra `heic`).

    Raises:
        DataError: it does not exist, is not a picture, is damaged or has more than `MOST_PIXELS`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scan.png"
        >>> Image.new("1", (4000, 3000), 1).save(path)
        >>> picture = open_picture(path)
        >>> picture.shape, int(picture.min())
        ((900, 1200, 3), 255)
    """
    path = Path(path)
    formats = (*FORMATS, *_other_formats(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                image.draft("RGB", (SIDE, SIDE))  # a JPEG can be decoded smaller
                small = _reduce(image)
                ImageOps.exif_transpose(small, in_place=True)
                return np.asarray(_opaque(small))
    except Image.DecompressionBombError:
        raise DataError(
            f"{path} has more than {MOST_PIXELS // 10**6} megapixels; make it smaller"
        ) from None
    except Exception as error:  # Pillow's decoders raise all kinds of them for damaged files
        raise unreadable(path, error) from None


def _other_formats(path: Path) -> tuple[str, ...]:
    """Return the formats that need another library, if the file has one; refuse what is none."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise DataError(f"{path} is a folder; name the pictures in it, such as {path}/*.png")
        if not stat.S_ISREG(kind):  # reading a pipe might never end
            raise DataError(f"{path} is not a file; name a picture")
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; name a picture") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if not head:
        raise DataError(f"{path} is empty; name a picture")
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


def _reduce(image: Image.Image) -> Image.Image:
    """Return a picture of at most `SIDE` pixels a side, in a mode that can be averaged."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(stretch(np.asarray(image).astype(np.float32)))
    elif "transparency" in image.info or image.mode in ("LA", "PA", "La"):
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGB")
    longest = max(image.size)
    if longest <= SIDE:
        return image.copy()
    width, height = (max(round(side * SIDE / longest), 1) for side in image.size)
    exif = image.getexif()
    small = image.resize((width, height), Image.Resampling.BOX, reducing_gap=2)
    small.getexif().update(exif)  # which way is up
    return small


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    alpha = np.asarray(image.getchannel("A"), np.float32)
    dark_ink = np.sum((np.asarray(image.convert("L")) - 127.5) * alpha) < 0
    ground = Image.new("RGBA", image.size, "white" if dark_ink else "black")
    return Image.alpha_composite(ground, image).convert("RGB")
