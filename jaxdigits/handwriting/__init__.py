"""From a picture of handwriting to text.

    import jaxdigits as jd
    picture = jd.handwriting.open_picture("note.jpg")        # uint8 [height, width, 3]
    print(jd.handwriting.read(picture, jd.load("digits")).text)

| file | subject |
|---|---|
| `opening.py` | open picture files, also huge or damaged ones |
| `ink.py` | tell ink from the ground |
| `segmentation.py` | find the characters by their strokes, in reading order |
| `page.py` | or find all that with a network: how large, which way up, where each character is |
| `marks.py` | its characters and signs, told apart by what the network says of each pixel |
| `page_network.py`, `line_network.py` | the networks of these two |
| `scenes.py`, `line_scenes.py` | what they learn from, as pure functions of a key |
| `scene_layout.py`, `scene_ground.py` | where the characters of a scene are, and on what |
| `glyphs.py` | how a pen draws them |
| `camera.py` | how it is lit and taken |
| `lines.py` | read whole lines, without cutting them |
| `parting.py` | settle by both what lines say: characters that touch are parted |
| `turns.py` | tell which way up characters are |
| `finding.py` | the way and the scale that read best |
| `reading.py` | read what is found with a network |
| `context.py` | settle by their neighbors what single characters leave open; English spelling |
| `teaching.py`, `hand.py` | a network learns your hand, from what it misread; the file of that |
| `drawing.py` | draw what was read |
| `classification.py` | label image files of one character each |
"""

from jaxdigits.handwriting.classification import Classification, classify_files
from jaxdigits.handwriting.context import read_words
from jaxdigits.handwriting.drawing import draw_reading, save_reading
from jaxdigits.handwriting.finding import WAYS
from jaxdigits.handwriting.hand import (
    Correction,
    Hand,
    open_hand,
    open_or_new,
    save_hand,
)
from jaxdigits.handwriting.opening import open_picture
from jaxdigits.handwriting.page import Page, find_page
from jaxdigits.handwriting.reading import Reading, least_probability, read, read_files, threshold
from jaxdigits.handwriting.segmentation import Character, find_characters
from jaxdigits.handwriting.teaching import Lesson, correct, corrections, learn, teach

__all__ = [
    "WAYS",
    "Character",
    "Classification",
    "Correction",
    "Hand",
    "Lesson",
    "Page",
    "Reading",
    "classify_files",
    "correct",
    "corrections",
    "draw_reading",
    "find_characters",
    "find_page",
    "learn",
    "least_probability",
    "open_hand",
    "open_or_new",
    "open_picture",
    "read",
    "read_files",
    "read_words",
    "save_hand",
    "save_reading",
    "teach",
    "threshold",
]
