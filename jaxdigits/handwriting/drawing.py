"""A picture with what was read in it."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from jaxdigits.files import atomic_write
from jaxdigits.handwriting.reading import UNSURE, Reading

_SURE, _UNSURE, _GROUND = "#0a7d32", "#c2500a", "white"
_SMALLEST = 600
"""Pixels of the longer side to which a small picture is enlarged."""

_SEEN, _MARGIN, _LABEL = 84, 10, 18
"""Pixels of an image that the network saw (three times its own), around it, and of its label."""


def draw_reading(picture: UInt8[np.ndarray, "height width 3"], reading: Reading) -> Image.Image:
    """The picture with a box and its reading for each character; below, what the network saw.

    Args:
        picture: pixels 0..255.
        reading: of this picture.

    Example:
        >>> import jaxdigits as jd
        >>> from jaxdigits.handwriting import read
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> draw_reading(page, read(page, jd.load("digits"))).size
        (386, 722)
    """
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
    over, small = ImageFont.load_default(size), ImageFont.load_default(14)
    found = zip(
        reading.characters,
        reading.images,
        reading.names,
        reading.confidences,
        reading.sure,
        strict=True,
    )
    for number, (character, image, name, confidence, sure) in enumerate(found):
        colour = _SURE if sure else _UNSURE
        box = [
            factor * side
            for side in (character.left, character.top, character.right, character.bottom)
        ]
        brush.rectangle([box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2], outline=colour, width=2)
        place = (box[0], max(box[1] - 4, size))
        brush.text(
            place, name, fill=colour, font=over, anchor="lb", stroke_width=2, stroke_fill=_GROUND
        )
        left = _MARGIN + number % columns * (_SEEN + _MARGIN)
        top = height + _MARGIN + number // columns * (_SEEN + _LABEL + _MARGIN)
        enlarged = Image.fromarray(image).resize((_SEEN, _SEEN), Image.Resampling.NEAREST)
        page.paste(enlarged, (left, top))
        label = f"{name if sure else name + UNSURE} {100 * confidence:.1f} %"
        brush.text((left, top + _SEEN + 2), label, fill=colour, font=small)
    return page


def save_reading(
    path: Path, picture: UInt8[np.ndarray, "height width 3"], reading: Reading
) -> None:
    """Writes that picture as a PNG file, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        draw_reading(picture, reading).save(temporary, format="PNG")
