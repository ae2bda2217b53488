"""From a picture of handwriting to text.

    import jaxdigits as jd
    picture = jd.handwriting.open_picture("note.jpg")        # uint8 [height, width, 3]
    print(jd.handwriting.read(picture, jd.load("digits")).text)

| file | subject |
|---|---|
| `opening.py` | open picture files, also huge or damaged ones |
| `ink.py` | tell ink from the ground |
| `ruling.py` | remove the lines of ruled paper |
| `segmentation.py` | find the characters, in reading order |
| `touching.py` | split characters that touch |
| `reading.py` | read them with a network |
| `drawing.py` | draw what was read |
| `classification.py` | label image files of one character each |
"""

from jaxdigits.handwriting.classification import Classification, classify_files
from jaxdigits.handwriting.drawing import draw_reading, save_reading
from jaxdigits.handwriting.opening import open_picture
from jaxdigits.handwriting.reading import Reading, read, read_files
from jaxdigits.handwriting.segmentation import Character, find_characters

__all__ = [
    "Character",
    "Classification",
    "Reading",
    "classify_files",
    "draw_reading",
    "find_characters",
    "open_picture",
    "read",
    "read_files",
    "save_reading",
]
