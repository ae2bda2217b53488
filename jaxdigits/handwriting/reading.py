"""Read what is written in a picture with a trained network."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int, UInt8

from jaxdigits.errors import ConfigError, DataError
from jaxdigits.files import StrPath
from jaxdigits.handwriting.context import settle
from jaxdigits.handwriting.ink import Gray, Picture
from jaxdigits.handwriting.opening import open_picture
from jaxdigits.handwriting.page import Page, find_pages, look
from jaxdigits.handwriting.segmentation import Character, find_characters
from jaxdigits.handwriting.touching import split_touching
from jaxdigits.runs.run import Run
from jaxdigits.transforms.form import to_form

WAYS = ("strokes", "network")
"""To find characters."""

UNSURE = "?"
"""Stands for a character whose probability is below the threshold."""

_UPRIGHT, _CLEAR = 0.93, 0.85
"""The mean confidence, and the clarity of a page, from which no other scale or turn is tried."""

_WORTH, _MANY = 0.5, 0.05
"""What the logarithms of confidence and of the number of characters count, beside clarity."""

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
        labels: that were chosen, neighbors considered; by default the most probable ones.
        degrees: by which the page was turned, counter-clockwise; boxes are those of it upright.

    The rows of `images` and `probabilities` that belong to signs say nothing of them.
    """

    characters: Sequence[Character]
    images: UInt8[np.ndarray, "n ..."]
    probabilities: Float32[np.ndarray, "n classes"]
    class_names: tuple[str, ...]
    threshold: float = 0.0
    labels: Int[np.ndarray, " n"] | None = None
    degrees: float = 0.0

    @property
    def names(self) -> list[str]:
        """What each character or sign is."""
        return [
            character.sign or self.class_names[label]
            for character, label in zip(self.characters, self._labels, strict=True)
        ]

    @property
    def confidences(self) -> list[float]:
        """The probability of that."""
        return [
            float(character.certainty if character.sign else row[label])
            for character, row, label in zip(
                self.characters, self.probabilities, self._labels, strict=True
            )
        ]

    @property
    def _labels(self) -> Int[np.ndarray, " n"]:
        return self.probabilities.argmax(axis=1) if self.labels is None else self.labels

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
        each = zip(
            self.characters,
            self.probabilities,
            self.names,
            self.confidences,
            self.sure,
            strict=True,
        )
        for found, row, name, confidence, sure in each:
            others = [] if found.sign else np.argsort(-row, kind="stable")[:2].tolist()
            second = next((label for label in others if self.class_names[label] != name), None)
            characters.append(
                {
                    "character": name,
                    "confidence": confidence,
                    "sure": sure,
                    "second": None if second is None else self.class_names[second],
                    "second_confidence": None if second is None else float(row[second]),
                    "line": found.line,
                    "box": [found.left, found.top, found.right, found.bottom],
                }
            )
        return {"text": self.text, "degrees": self.degrees, "characters": characters}


def read(
    picture: Picture,
    run: Run,
    *,
    threshold: float = 0.0,
    words: Collection[str] = (),
    find: str = "strokes",
) -> Reading:
    """Find the characters in a picture, and read each.

    Each character is brought to the form of the images that the network was trained on, `run.form`.

    Args:
        picture: pixels 0..255, from `jaxdigits.handwriting.open_picture`.
        run: the network.
        threshold: the probability, 0..1, from which the network is sure.
        words: in lower case; one of these is read where it may well be one.
        find: how to find them: `strokes`, by what is connected, or `network`, by the page network,
            which also takes pages that are turned, and tells signs from characters. See the guide.

    Raises:
        ConfigError: there is no such way to find them.
        DataError: there is no writing in the picture, or none that the network can read.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> read(page, jd.load("digits")).text
        '1'
    """
    if find == "network":
        page, images, probabilities, _ = _best(picture, run)
        characters, degrees = page.characters, page.degrees
    elif find == "strokes":
        characters, degrees = _split_strokes(picture, run), 0.0
        images, probabilities = _classify([character.ink for character in characters], run)
    else:
        raise ConfigError(f"find must be one of {', '.join(WAYS)}, not {find!r}")
    typical = float(np.median(_clear(characters, probabilities)))
    if len(images) >= _FEW and typical < _GUESSING:
        raise DataError(
            f"what it shows is not like {', '.join(run.class_names[:3])} and so on: of "
            f"{len(images)} pieces the network's median confidence is {typical:.0%}"
        )
    labels = probabilities.argmax(axis=1)
    for rows in _words(characters):
        labels[rows] = settle(probabilities[rows], run.class_names, words)
    return Reading(characters, images, probabilities, run.class_names, threshold, labels, degrees)


def _split_strokes(picture: Picture, run: Run) -> list[Character]:
    def confidences(inks: Sequence[np.ndarray]) -> np.ndarray:
        return _classify(inks, run)[1].max(axis=1)

    return split_touching(find_characters(picture), confidences)


def _classify(
    inks: Sequence[np.ndarray], run: Run
) -> tuple[UInt8[np.ndarray, "n ..."], Float32[np.ndarray, "n classes"]]:
    """What the network sees of characters, and the probability of each class for each."""
    images = np.stack([to_image(ink, run) for ink in inks])
    return images, run.predict_proba(images)


class _Read(NamedTuple):
    """A page, and what the network says of its characters."""

    page: Page
    images: UInt8[np.ndarray, "n ..."]
    probabilities: Float32[np.ndarray, "n classes"]
    clear: float  # the mean logarithm of how clear it is what each is

    @property
    def score(self) -> float:
        many = np.log(len(self.page.characters))
        return self.page.clarity + _WORTH * self.clear + _MANY * float(many)


def _best(picture: Picture, run: Run) -> _Read:
    """Find what is written, at the scale and in the direction in which it reads best."""
    best = None
    for page in find_pages(picture):
        found = _look_at(page, run)
        if best is None or found.score > best.score:
            best = found
        if best.clear > np.log(_UPRIGHT) and best.page.clarity > _CLEAR:
            return best
    assert best is not None
    if best.clear < np.log(_UPRIGHT):
        pages = [
            look(picture, best.page.scale, best.page.degrees + 90 * quarters, thin=best.page.thin)
            for quarters in (1, 2, 3)
        ]
        return max([best, *(_look_at(page, run) for page in pages if page)], key=lambda r: r.score)
    return best


def _look_at(page: Page, run: Run) -> _Read:
    images, probabilities = _classify([character.ink for character in page.characters], run)
    clear = float(np.log(_clear(page.characters, probabilities)).mean())
    return _Read(page, images, probabilities, clear)


def _clear(
    characters: Sequence[Character], probabilities: Float32[np.ndarray, "n classes"]
) -> Float32[np.ndarray, " n"]:
    """How clear it is what each is, 0..1."""
    certainties = np.array([found.certainty for found in characters], np.float32)
    signs = np.array([bool(found.sign) for found in characters])
    return np.where(signs, certainties, probabilities.max(axis=1))


def _words(characters: Sequence[Character]) -> Iterator[list[int]]:
    """Which characters stand together, without a space or a sign between them."""
    word: list[int] = []
    for number, character in enumerate(characters):
        apart = character.after_space or character.line != characters[number - 1].line
        if word and (apart or character.sign):
            yield word
            word = []
        if not character.sign:
            word.append(number)
    if word:
        yield word


def to_image(ink: Gray, run: Run) -> UInt8[np.ndarray, "..."]:
    """Bring the ink of a character, bright on 0, to the form that a network was trained on."""
    return to_form(ink, run.form, run.image_shape, light_ground=run.light_ground, extent=run.extent)


def read_files(
    run: Run,
    paths: Sequence[StrPath],
    *,
    threshold: float = 0.0,
    words: Collection[str] = (),
    find: str = "strokes",
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
            yield picture, read(picture, run, threshold=threshold, words=words, find=find)
        except DataError as error:
            yield DataError(f"{path}: {error}")
