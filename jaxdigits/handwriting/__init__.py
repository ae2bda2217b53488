"""Reading people's own handwriting: from a picture of any kind to text.

| file | subject |
|---|---|
| `opening.py` | opening picture files, also huge or damaged ones |
| `ink.py` | telling ink from the ground |
| `ruling.py` | taking the lines of ruled paper away |
| `segmentation.py` | finding the characters, in reading order |
| `touching.py` | parting characters that touch |
| `reading.py` | reading them with a network |
| `drawing.py` | drawing what was found |

    import jaxdigits as jd
    from jaxdigits import handwriting as pictures
    picture = pictures.open_picture(Path("note.jpg"))        # uint8 [height, width, 3]
    print(pictures.read(picture, jd.load("digits")).text)
"""

from jaxdigits.handwriting.opening import open_picture
from jaxdigits.handwriting.reading import Reading, read
from jaxdigits.handwriting.segmentation import Character, find_characters

__all__ = ["Character", "Reading", "find_characters", "open_picture", "read"]
