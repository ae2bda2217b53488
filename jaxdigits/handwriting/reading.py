"""Read what is written in a picture with a trained network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from jaxdigits.errors import DataError
from jaxdigits.files import StrPath
from jaxdigits.handwriting.ink import Gray, Picture
from jaxdigits.handwriting.opening import open_picture
from jaxdigits.handwriting.segmentation import Character, find_characters
from jaxdigits.handwriting.touching import split_touching
from jaxdigits.runs.run import Run
from jaxdigits.transforms.form import to_form

UNSURE = "?"
"""Stands for a character whose probability is below the threshold."""

_FEW, _GUESSING = 5, 0.8
"""From this many characters on, it is not writing if half have a lower probability than this."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read in a picture.

    Attributes:
        characters: their places, in reading order.
        images: what the network saw, pixels 0..255.
        probabilities: of each class for each character, calibrated if the network is.
        class_names: by label.
        threshold: a character of a lower probability is not sure.
    """

    characters: Sequence[Character]
    images: UInt8[np.ndarray, "n ..."]
    probabilities: Float32[np.ndarray, "n classes"]
    class_names: tuple[str, ...]
    threshold: float = 0.0

    @property
    def names(self) -> list[str]:
        """The most probable class of each character."""
        return [self.class_names[label] for label in self.probabilities.argmax(axis=1)]

    @property
    def confidences(self) -> list[float]:
        """The probability of that class."""
        return self.probabilities.max(axis=1).tolist()

    @property
    def sure(self) -> list[bool]:
        """Whether that reaches the threshold."""
        return [confidence >= self.threshold for confidence in self.confidences]

    @property
    def text(self) -> str:
        """The characters, with spaces and line breaks, and `?` where the network is not sure."""
        text, line = "", 0
        for character, name, sure in zip(self.characters, self.names, self.sure, strict=True):
            between = "\n" if character.line != line else " " if character.after_space else ""
            text += between + (name if sure else UNSURE)
            line = character.line
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; boxes are left, top, right, bottom in pixels."""
        characters = []
        for found, row in zip(self.characters, self.probabilities, strict=True):
            first, second = np.argsort(-row, kind="stable")[:2]
            characters.append(
                {
                    "character": self.class_names[first],
                    "confidence": float(row[first]),
                    "sure": float(row[first]) >= self.threshold,
                    "second": self.class_names[second],
                    "second_confidence": float(row[second]),
                    "line": found.line,
                    "box": [found.left, found.top, found.right, found.bottom],
                }
            )
        return {"text": self.text, "characters": characters}


def read(picture: Picture, run: Run, *, threshold: float = 0.0) -> Reading:
    """Find the characters in a picture, and read each.

    Each is brought to the form of the images that the network was trained on, `run.form`.

    Args:
        picture: pixels 0..255, upright, from `jaxdigits.handwriting.open_picture`.
        run: the network.
        threshold: the probability, 0..1, from which the network is sure.

    Raises:
        DataError: there is no writing in the picture, or none that the network can read.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> read(page, jd.load("digits")).text
        '1'
    """

    def see(inks: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([to_image(ink, run) for ink in inks])

    characters = split_touching(
        find_characters(picture), lambda inks: run.predict_proba(see(inks)).max(axis=1)
    )
    images = see([character.ink for character in characters])
    probabilities = run.predict_proba(images)
    typical = float(np.median(probabilities.max(axis=1)))
    if len(images) >= _FEW and typical < _GUESSING:
        raise DataError(
            f"what it shows is not like {', '.join(run.class_names[:3])} and so on: of "
            f"{len(images)} pieces the network's median confidence is {typical:.0%}"
        )
    return Reading(characters, images, probabilities, run.class_names, threshold)


def to_image(ink: Gray, run: Run) -> UInt8[np.ndarray, "..."]:
    """Bring the ink of a character, bright on 0, to the form that a network was trained on."""
    return to_form(ink, run.form, run.image_shape, light_ground=run.light_ground, extent=run.extent)


def read_files(
    run: Run, paths: Sequence[StrPath], *, threshold: float = 0.0
) -> Iterator[tuple[Picture, Reading] | DataError]:
    """Open and read picture files one by one; where one cannot be read, give the error.

    Args: see `read`.
    """
    for path in paths:
        try:
            picture = open_picture(path)
        except DataError as error:
            yield error
            continue
        try:
            yield picture, read(picture, run, threshold=threshold)
        except DataError as error:
            yield DataError(f"{path}: {error}")
