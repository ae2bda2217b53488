"""Read what is written in a picture with a trained network."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from jaxdigits.errors import ConfigError, DataError
from jaxdigits.evaluation.promises import AnswerCounts
from jaxdigits.files import StrPath
from jaxdigits.handwriting.context import SPELLINGS, settle, spells, words_of
from jaxdigits.handwriting.finding import find_pieces
from jaxdigits.handwriting.ink import Gray, Picture, check_picture
from jaxdigits.handwriting.opening import open_picture
from jaxdigits.handwriting.parting import Piece
from jaxdigits.handwriting.segmentation import Character
from jaxdigits.runs.run import HAND, Run

UNSURE = "?"
"""Stands for a character whose probability is below the threshold."""

_FEW_STROKES, _FEW_FOUND = (5, 0.8), (1, 0.4)
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
        least: the probability from which other classes are named too, in `sets`.

    The rows of `images` and `probabilities` that belong to signs say nothing of them.
    """

    characters: Sequence[Character]
    images: UInt8[np.ndarray, "n ..."]
    probabilities: Float32[np.ndarray, "n classes"]
    class_names: tuple[str, ...]
    threshold: float = 0.0
    labels: Int[np.ndarray, " n"] | None = None
    degrees: float = 0.0
    least: float | None = None

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
    def sets(self) -> list[tuple[str, ...]]:
        """What each may be: what was read, and classes that are at least as probable as `least`."""
        found = []
        each = zip(self.characters, self.names, self.probabilities, strict=True)
        for character, name, row in each:
            likely = [] if character.sign or self.least is None else np.argsort(-row, kind="stable")
            others = [self.class_names[label] for label in likely if row[label] >= self.least]
            found.append(tuple(dict.fromkeys([name, *others])))
        return found

    @property
    def text(self) -> str:
        """The characters, with spaces and line breaks, and `?` where the network is not sure.

        What may be one of several stands in brackets, such as `[49]`.
        """
        text, line = "", 0
        for character, names, sure in zip(self.characters, self.sets, self.sure, strict=True):
            between = "\n" if character.line != line else " " if character.after_space else ""
            name = names[0] if len(names) == 1 else f"[{''.join(names)}]"
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
            self.sets,
            strict=True,
        )
        for found, row, name, confidence, sure, names in each:
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
            if self.least is not None:
                characters[-1]["set"] = list(names)
        return {"text": self.text, "degrees": self.degrees, "characters": characters}


def read(
    picture: Picture | Gray,
    run: Run,
    *,
    threshold: float = 0.0,
    least: float | None = None,
    words: Collection[str] = (),
    spelling: str = "english",
    find: str = "auto",
) -> Reading:
    """Find the characters in a picture, and read each.

    Each character is brought to the form of the images that the network was trained on, `run.form`.

    Args:
        picture: uint8 [height, width, 3] or [height, width], pixels 0..255, such as
            `jaxdigits.handwriting.open_picture` gives.
        run: the network.
        threshold: the probability, 0..1, from which the network is sure.
        least: the probability, 0..1, from which a character may be another one; None for no others.
        words: in lower case; one of these is read where it may well be one.
        spelling: `english`, where frequent words, and letters that follow one another in English
            words, are more probable; or `none`.
        find: how to find them: `strokes`, by what is connected, which suits drawings of single
            characters; `network`, by the page network, which also takes pages that are turned, and
            tells signs from characters; or `auto`, whichever reads more clearly.

    Raises:
        ConfigError: there is no such way to find them, or no such spelling.
        DataError: it is no picture, or there is no writing in it, or none that the network can
            read.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> read(page, jd.load("digits")).text
        '1'
    """
    if spelling not in SPELLINGS:
        raise ConfigError(f"spelling must be {' or '.join(SPELLINGS)}, not {spelling!r}")
    pieces, degrees, by_strokes = find_pieces(check_picture(picture), run, find)
    characters = [piece.character for piece in pieces]
    probabilities = np.stack([piece.probabilities for piece in pieces])
    each_word = list(words_of(characters))
    _check_known(pieces, each_word, run, *(_FEW_STROKES if by_strokes else _FEW_FOUND))
    labels = probabilities.argmax(axis=1)
    for rows in each_word:
        labels[rows] = settle(probabilities[rows], run.class_names, words, spelling)
    images = np.stack([piece.image for piece in pieces])
    names = run.class_names
    return Reading(characters, images, probabilities, names, threshold, labels, degrees, least)


def threshold(run: Run, error_rate: float) -> float:
    """The confidence from which a character is sure enough for an error rate.

    With a probability of 95%, at most this share of the characters of such a confidence is wrong,
    of all that are like those that were counted: for the networks of the package, characters of
    the pages of `experiments/pages.py`; for others, validation images.

    Args:
        run: the network.
        error_rate: 0..1.

    Raises:
        ConfigError: it is not, or the answers that were counted are too few to promise it.

    Example:
        >>> import jaxdigits as jd
        >>> 0 < threshold(jd.load("digits"), 0.01) < 1
        True
    """
    return _answers(run).threshold(error_rate)


def least_probability(run: Run, coverage: float) -> float:
    """The probability from which classes belong to a set that holds the right one.

    Args:
        run: the network.
        coverage: how often it is to hold it, 0..1, of characters like those counted, as in
            `threshold`.

    Raises:
        ConfigError: it is not, or the answers that were counted are too few to promise it.

    Example:
        >>> import jaxdigits as jd
        >>> 0 < least_probability(jd.load("digits"), 0.99) < 1
        True
    """
    return _answers(run).least_probability(coverage)


def _answers(run: Run) -> AnswerCounts:
    if HAND in run.own:
        raise ConfigError(
            "nothing is promised of a taught network, as its answers have changed; omit the hand, "
            "or --error-rate and --set"
        )
    if run.calibration is None or run.calibration.answers is None:
        raise ConfigError(
            "nothing can be promised of this network, as its answers were not counted: it was "
            "written by an older version, or has diverged; train it again"
        )
    return run.calibration.answers


def _check_known(
    pieces: Sequence[Piece], each_word: Sequence[list[int]], run: Run, fewest: int, least: float
) -> None:
    """Raise DataError if the network can only guess what most are, and they make no word."""
    typical = float(np.median([piece.each for piece in pieces]))
    if (
        len(pieces) >= fewest
        and typical < least  # of a diverged network it is nan
        and not any(
            spells(np.stack([pieces[row].probabilities for row in rows]), run.class_names)
            for rows in each_word
        )
    ):
        raise DataError(
            f"what it shows is not like {', '.join(run.class_names[:3])} and so on: of "
            f"{len(pieces)} pieces the network's median confidence is {typical:.0%}"
        )


def read_files(
    run: Run,
    paths: Sequence[StrPath],
    *,
    threshold: float = 0.0,
    least: float | None = None,
    words: Collection[str] = (),
    spelling: str = "english",
    find: str = "auto",
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
            found = read(
                picture,
                run,
                threshold=threshold,
                least=least,
                words=words,
                spelling=spelling,
                find=find,
            )
        except DataError as error:
            yield DataError(f"{path}: {error}")
        else:
            yield picture, found
