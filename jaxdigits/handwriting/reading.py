"""Read what is written in a picture with a trained network."""

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from jaxdigits.errors import ConfigError, DataError
from jaxdigits.files import StrPath
from jaxdigits.handwriting.context import SPELLINGS, settle
from jaxdigits.handwriting.ink import Gray, Picture
from jaxdigits.handwriting.opening import open_picture
from jaxdigits.handwriting.page import Page, find_at, look, scales
from jaxdigits.handwriting.parting import Piece, Read, is_alone, part, pieces
from jaxdigits.handwriting.segmentation import NOT_WRITING, Character, find_characters
from jaxdigits.handwriting.touching import split_touching
from jaxdigits.handwriting.turns import page_turns, turns
from jaxdigits.runs.run import Run
from jaxdigits.transforms.form import to_form

WAYS = ("auto", "strokes", "network")
"""To find characters."""

UNSURE = "?"
"""Stands for a character whose probability is below the threshold."""

_READ, _CLEAR = 0.93, 0.85
"""The mean confidence, and the clarity of a page, from which no other scale is tried."""

_PLAIN = 0.8
"""The mean confidence below which what the network finds is less than what strokes show."""

_HAIRLINES = 0.7
"""The clarity of a page above which its lines are not too thin."""

_FINER, _PASSABLE = 2.0, 0.3
"""How much finer scales may be that are tried where the mean confidence is at least that."""

_WORTH, _MANY = 0.1, 0.05
"""What the logarithms of confidence and of the number of characters count, beside clarity."""

_FEW_STROKES, _FEW_FOUND = (5, 0.8), (2, 0.5)
"""From this many characters on, it is not writing if half have a lower probability than this."""

_LEAST_CLEAR = 0.01

_WIDEST = 2.0
"""The widest character, in heights."""

_NONE, _DOUBTFUL, _SIGN, _AGREED = 0.9, 0.8, 0.65, 0.9
"""Of stray marks: how probable it is that one is no character, and how certain the page network is
of one that may be, or of a sign; and from where on the line network's word keeps it."""


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
    spelling: str = "english",
    find: str = "strokes",
) -> Reading:
    """Find the characters in a picture, and read each.

    Each character is brought to the form of the images that the network was trained on, `run.form`.

    Args:
        picture: pixels 0..255, from `jaxdigits.handwriting.open_picture`.
        run: the network.
        threshold: the probability, 0..1, from which the network is sure.
        words: in lower case; one of these is read where it may well be one.
        spelling: `english`, where letters that follow one another in English words are more
            probable, or `none`.
        find: how to find them: `strokes`, by what is connected, which suits drawings of single
            characters; `network`, by the page network, which also takes pages that are turned, and
            tells signs from characters; or `auto`, whichever reads more clearly.

    Raises:
        ConfigError: there is no such way to find them, or no such spelling.
        DataError: there is no writing in the picture, or none that the network can read.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> read(page, jd.load("digits")).text
        '1'
    """
    if spelling not in SPELLINGS:
        raise ConfigError(f"spelling must be {' or '.join(SPELLINGS)}, not {spelling!r}")
    found = _find(picture, run, find)
    pieces = _settled(found, run)
    _check_known(pieces, run, *(_FEW_STROKES if found.by_strokes else _FEW_FOUND))
    characters = [piece.character for piece in pieces]
    probabilities = np.stack([piece.probabilities for piece in pieces])
    labels = probabilities.argmax(axis=1)
    for rows in _words(characters):
        labels[rows] = settle(probabilities[rows], run.class_names, words, spelling)
    images = np.stack([piece.image for piece in pieces])
    return Reading(
        characters, images, probabilities, run.class_names, threshold, labels, found.page.degrees
    )


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
    turns: Float[np.ndarray, "n 5"]
    by_strokes: bool = False

    @property
    def each(self) -> Float[np.ndarray, " n"]:
        """How clear it is what each is, 0..1."""
        return _clear(self.page.characters, self.probabilities, self.turns)

    @property
    def clear(self) -> float:
        """The mean logarithm of that."""
        return float(np.log(np.maximum(self.each, _LEAST_CLEAR)).mean())

    def is_stray(self, row: int) -> bool:
        """Whether a mark beside others seems to be none of the characters."""
        character = self.page.characters[row]
        if self.by_strokes or float(self.each.max()) < _READ:
            return False
        if character.sign:  # dots are too small to be sure of
            return character.sign != "." and character.certainty < _SIGN
        if float(self.turns[row, -1]) < _NONE:
            return False
        return character.certainty < _DOUBTFUL or is_alone(character, self.page)

    @property
    def score(self) -> float:
        many = math.log(len(self.page.characters))
        return self.page.clarity + _WORTH * self.clear + _MANY * many

    @property
    def is_clear(self) -> bool:
        """Whether no other scale need be tried."""
        return self.clear > math.log(_READ) and self.page.clarity > _CLEAR


def _check_known(pieces: Sequence[Piece], run: Run, fewest: int, least: float) -> None:
    """Raise DataError if the network can only guess what most of the characters are."""
    typical = float(np.median([piece.each for piece in pieces]))
    if len(pieces) >= fewest and typical < least:
        raise DataError(
            f"what it shows is not like {', '.join(run.class_names[:3])} and so on: of "
            f"{len(pieces)} pieces the network's median confidence is {typical:.0%}"
        )


def _find(picture: Picture, run: Run, way: str) -> _Read:
    """Find what is written in one of `WAYS`."""
    if way not in WAYS:
        raise ConfigError(f"find must be one of {', '.join(WAYS)}, not {way!r}")
    if way == "strokes":
        characters = _split_strokes(picture, run)
        images, probabilities = _classify([character.ink for character in characters], run)
        upright = np.tile([1.0, 0, 0, 0, 0], (len(images), 1))
        return _Read(_as_it_is(picture, characters), images, probabilities, upright, True)
    if way == "network":
        return _best(picture, run)
    try:
        plain = _look_at(_as_it_is(picture, _split_strokes(picture, run)), run)
        plain = plain._replace(by_strokes=True)
    except DataError:
        return _best(picture, run)
    if len(plain.page.characters) == 1 and plain.clear > math.log(_READ):
        return plain  # a drawing
    try:
        found = _best(picture, run)
    except DataError:
        return plain
    return plain if found.clear < math.log(_PLAIN) and plain.clear > found.clear else found


def _split_strokes(picture: Picture, run: Run) -> list[Character]:
    """Find what is connected, those that touch split."""

    def confidences(inks: Sequence[np.ndarray]) -> np.ndarray:
        return _classify(inks, run)[1].max(axis=1)

    return split_touching(find_characters(picture), confidences)


def _as_it_is(picture: Picture, characters: list[Character]) -> Page:
    return Page(picture, characters, degrees=0.0, scale=1.0, clarity=1.0)


def _best(picture: Picture, run: Run) -> _Read:
    """Find what is written, upright, and at the scale at which it reads best."""
    found: list[_Read] = []
    best = None
    for thin, scale in itertools.product((False, True), scales(picture)):
        if best is not None:
            if best.is_clear or (thin and best.page.clarity > _HAIRLINES):
                break
            finest = max(read.page.scale for read in found)
            if scale > _FINER * finest and best.clear > math.log(_PASSABLE):
                continue
        page = find_at(picture, scale, [read.page for read in found], thin=thin)
        if page is None:
            continue
        found.append(_upright(picture, _look_at(page, run), run))
        best = max(found, key=lambda read: read.score)
    if best is None:
        raise DataError(NOT_WRITING)
    return best


def _upright(picture: Picture, found: _Read, run: Run) -> _Read:
    """Look at a page again if its characters are turned by quarters."""
    quarters = int(page_turns(found.page.characters, found.turns).argmax())
    if not quarters:
        return found
    page = look(picture, found.page.scale, found.page.degrees + 90 * quarters, thin=found.page.thin)
    if page is None:
        return found
    again = _look_at(page, run)
    return found if page_turns(page.characters, again.turns).argmax() else again


def _settled(found: _Read, run: Run) -> list[Piece]:
    """What the page says, lines considered, and stray marks left out."""
    characters = found.page.characters
    if found.by_strokes:
        each = found.probabilities.max(axis=1)
        return pieces(characters, Read(found.images, found.probabilities, each))

    def reader(characters: Sequence[Character]) -> Read:
        images, probabilities, turned = _ask(characters, run)
        return Read(images, probabilities, _clear(characters, probabilities, turned))

    read = Read(found.images, found.probabilities, found.each)
    rows = {id(character): row for row, character in enumerate(characters)}
    strays = {number for number, row in rows.items() if found.is_stray(row)}
    settled = part(found.page, run.class_names, read, reader)
    kept = [
        piece for piece in settled if id(piece.character) not in strays or piece.agreed > _AGREED
    ]
    lines = sorted({piece.character.line for piece in kept})
    return [
        piece._replace(character=replace(piece.character, line=lines.index(piece.character.line)))
        for piece in kept
    ]


def _look_at(page: Page, run: Run) -> _Read:
    return _Read(page, *_ask(page.characters, run))


def _ask(
    characters: Sequence[Character], run: Run
) -> tuple[UInt8[np.ndarray, "n ..."], Float32[np.ndarray, "n classes"], Float[np.ndarray, "n 5"]]:
    """What the network sees of characters, what it says, and what `turns` says."""
    inks = [character.ink for character in characters]
    kinds = {"digit" if name.isdigit() else "letter" for name in run.class_names}
    return *_classify(inks, run), turns(inks, kinds)


def _clear(
    characters: Sequence[Character],
    probabilities: Float32[np.ndarray, "n classes"],
    turned: Float[np.ndarray, "n 5"],
) -> Float[np.ndarray, " n"]:
    """How clear it is what each is, 0..1: that it is a character, and which; or a sign."""
    signs = np.array([bool(found.sign) for found in characters])
    certainties = np.array([found.certainty for found in characters])
    wide = np.array([found.width > _WIDEST * found.height for found in characters])
    known = probabilities.max(axis=1) * (1 - turned[:, -1]) * ~wide
    return np.where(signs, certainties, known)


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
    spelling: str = "english",
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
            found = read(
                picture, run, threshold=threshold, words=words, spelling=spelling, find=find
            )
        except DataError as error:
            yield DataError(f"{path}: {error}")
        else:
            yield picture, found
