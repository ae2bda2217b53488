"""Reading what is written in a picture with a trained network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from jaxdigits.errors import DataError
from jaxdigits.evaluation.calibration import Calibration
from jaxdigits.handwriting.segmentation import Character, find_characters
from jaxdigits.handwriting.touching import part_touching
from jaxdigits.runs.run import Run
from jaxdigits.transforms.form import to_emnist, to_mnist

UNSURE = "?"
"""Stands for a character of which the network is less sure than is asked for."""

_FEW, _GUESSING = 5, 0.8
"""With at least so many characters, and half of them less sure than this, it is not writing."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read in a picture.

    Attributes:
        characters: the places, in reading order.
        images: what the network saw, pixels 0..255.
        probabilities: of each class for each character, at the temperature of the network's
            calibration, if it has one.
        class_names: by label.
        threshold: below this probability the network counts as not sure.
    """

    characters: Sequence[Character]
    images: UInt8[np.ndarray, "n 28 28"]
    probabilities: Float32[np.ndarray, "n classes"]
    class_names: tuple[str, ...]
    threshold: float = 0.0

    @property
    def names(self) -> list[str]:
        """The most probable class of each character."""
        return [self.class_names[label] for label in self.probabilities.argmax(axis=1)]

    @property
    def confidences(self) -> list[float]:
        """Its probability."""
        return self.probabilities.max(axis=1).tolist()

    @property
    def sure(self) -> list[bool]:
        """Whether that reaches the threshold."""
        return [confidence >= self.threshold for confidence in self.confidences]

    @property
    def text(self) -> str:
        """The characters, with spaces and line breaks, and `?` where the network is not sure."""
        return "".join(self._parts())

    def _parts(self) -> Iterator[str]:
        line = 0
        for character, name, sure in zip(self.characters, self.names, self.sure, strict=True):
            if character.line != line:
                line = character.line
                yield "\n"
            elif character.after_space:
                yield " "
            yield name if sure else UNSURE

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; boxes are left, top, right, bottom in pixels of the picture."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")
        return {
            "text": self.text,
            "characters": [
                {
                    "character": name,
                    "confidence": confidence,
                    "sure": sure,
                    "second": self.class_names[second],
                    "second_confidence": float(row[second]),
                    "line": found.line,
                    "box": [found.left, found.top, found.right, found.bottom],
                }
                for found, name, confidence, sure, second, row in zip(
                    self.characters,
                    self.names,
                    self.confidences,
                    self.sure,
                    order[:, 1],
                    self.probabilities,
                    strict=True,
                )
            ],
        }


def read(
    picture: UInt8[np.ndarray, "height width 3"], run: Run, *, threshold: float = 0.0
) -> Reading:
    """Finds the characters in a picture, and reads each.

    Each is brought to the form of the images that the network was trained on: EMNIST's for
    `emnist/...`, MNIST's for all others.

    Args:
        picture: pixels 0..255, upright, as `jaxdigits.handwriting.open_picture` gives it.
        run: the network.
        threshold: the probability, 0..1, from which the network counts as sure.

    Raises:
        DataError: there is no writing in the picture, or none that the network can read.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> read(page, jd.load("digits")).text
        '1'
    """
    convert = to_emnist if run.fingerprint.name.startswith("emnist/") else to_mnist
    calibration = run.calibration or Calibration()

    def see(inks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        images = np.stack([convert(ink) for ink in inks])
        return images, calibration.probabilities(run.predict_logits(images))

    characters = part_touching(find_characters(picture), lambda inks: see(inks)[1].max(axis=1))
    images, probabilities = see([character.ink for character in characters])
    typical = float(np.median(probabilities.max(axis=1)))
    if len(images) >= _FEW and typical < _GUESSING:
        raise DataError(
            f"what it shows is not like {', '.join(run.class_names[:3])} and so on: of "
            f"{len(images)} pieces the network is typically sure to {100 * typical:.0f} %"
        )
    return Reading(characters, images, probabilities, run.class_names, threshold)
