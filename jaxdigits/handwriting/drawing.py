"""Draw a picture with what was read in it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxdigits.files import atomic_write
from jaxdigits.handwriting.ink import Gray, Picture, check_picture
from jaxdigits.handwriting.page import turned
from jaxdigits.handwriting.reading import UNSURE, Reading

_SURE, _UNSURE, _GROUND = "#0a7d32", "#c2500a", "white"
_SMALLEST = 600  # pixels of the longer side to which a small picture is enlarged
_SEEN, _MARGIN, _LABEL = 84, 10, 18
"""Pixels of an image that the network saw (enlarged 3x), around it, and of its label."""


def draw_reading(picture: Picture | Gray, reading: Reading) -> Image.Image:
    """Draw the upright page, a box and the reading of each character, and what the network saw.

    Args:
        picture: uint8 [height, width, 3] or [height, width], pixels 0..255.
        reading: of this picture.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> draw_reading(page, jd.handwriting.read(page, jd.load("digits"))).size
        (386, 722)
    """
    picture = turned(check_picture(picture), -reading.degrees)
    factor = max(round(_SMALLEST / max(picture.shape)), 1)
    height, width = (factor * side for side in picture.shape[:2])
    width = max(width, 4 * (_SEEN + _MARGIN) + _MARGIN)
    columns = (width - _MARGIN) // (_SEEN + _MARGIN)
    rows = -(-len(reading.names) // columns)
    below = rows * (_SEEN + _LABEL + _MARGIN) + _MARGIN
    page = Image.new("RGB", (width, height + below), _GROUND)
    shown = Image.fromarray(picture)
    page.paste(shown.resize((factor * shown.width, factor * shown.height)), (0, 0))
    brush = ImageDraw.Draw(page)
    size = max(page.width // 60, 14)
    large, small = ImageFont.load_default(size), ImageFont.load_default(14)
    outlined = {"font": large, "anchor": "lb", "stroke_width": 2, "stroke_fill": _GROUND}
    names, confidences, sure = reading.names, reading.confidences, reading.sure
    for number, character in enumerate(reading.characters):
        name, color = names[number], _SURE if sure[number] else _UNSURE
        left, top = factor * character.left, factor * character.top
        right, bottom = factor * character.right, factor * character.bottom
        brush.rectangle([left - 2, top - 2, right + 2, bottom + 2], outline=color, width=2)
        brush.text((left, max(top - 4, size)), name, fill=color, **outlined)
        left = _MARGIN + number % columns * (_SEEN + _MARGIN)
        top = height + _MARGIN + number // columns * (_SEEN + _LABEL + _MARGIN)
        seen = Image.fromarray(np.squeeze(reading.images[number]))
        page.paste(seen.resize((_SEEN, _SEEN), Image.Resampling.NEAREST), (left, top))
        label = f"{name if sure[number] else name + UNSURE} {confidences[number]:.1%}"
        brush.text((left, top + _SEEN + 2), label, fill=color, font=small)
    return page


def save_reading(path: Path, picture: Picture, reading: Reading) -> None:
    """Write that drawing as a PNG file, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        draw_reading(picture, reading).save(temporary, format="PNG")
