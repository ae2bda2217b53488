"""What a network was taught of somebody's writing, and the file that keeps it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import UInt8
from msgspec import Meta

from jaxdigits.errors import ConfigError, DataError
from jaxdigits.files import StrPath, atomic_write
from jaxdigits.runs.run import Run

MOST = 1000
"""Corrections of a hand."""

_FORMAT = "jaxdigits-hand"
_MOST_BYTES = 100_000_000  # of a file; a larger one is none of ours

_Text = Annotated[str, Meta(max_length=1_000)]


@dataclass(frozen=True, eq=False)
class Correction:
    """A character that was misread.

    Attributes:
        image: what the network saw, pixels 0..255.
        name: the class that it shows.
        read: what it was read as.
        source: where it was, in words.
    """

    image: UInt8[np.ndarray, "..."]
    name: str
    read: str
    source: str = ""


@dataclass(frozen=True, eq=False)
class Hand:
    """What networks of some classes were taught of one person's writing.

    Attributes:
        class_names: of these networks, by label.
        image_shape: of the images that they take.
        form: of these.
        corrections: the first one first.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    form: str
    corrections: tuple[Correction, ...] = ()

    @classmethod
    def of(cls, run: Run) -> "Hand":
        """A hand of which nothing is known, for networks like this one."""
        return cls(run.class_names, run.image_shape, run.form)

    def add(self, corrections: Iterable[Correction]) -> "Hand":
        """The hand with more corrections; of the same image the last one counts.

        Raises:
            DataError: these are too many, or not of these networks.
        """
        corrections = tuple(corrections)
        for one in corrections:
            if one.name not in self.class_names:
                known = ", ".join(self.class_names)
                raise DataError(f"a correction says {one.name!r}; the network knows {known}")
            if one.image.shape != self.image_shape or one.image.dtype != np.uint8:
                raise DataError(
                    f"a correction has an image of {one.image.dtype} {list(one.image.shape)}; the "
                    f"network takes uint8 {list(self.image_shape)}"
                )
        before = (
            one
            for one in self.corrections
            if not any(np.array_equal(one.image, other.image) for other in corrections)
        )
        corrections = (*before, *corrections)
        most = min(MOST, _MOST_BYTES // math.prod(self.image_shape) - 1)
        if len(corrections) > most:
            raise DataError(f"a hand holds up to {most:,} corrections; take some back first")
        return replace(self, corrections=corrections)

    def without(self, number: int) -> "Hand":
        """The hand without a correction, from 1.

        Raises:
            ConfigError: there is no such correction.
        """
        if not 1 <= number <= len(self.corrections):
            if not self.corrections:
                raise ConfigError("the hand has no corrections to take back")
            raise ConfigError(
                f"there is no correction {number}; the hand has 1 to {len(self.corrections)}"
            )
        before, after = self.corrections[: number - 1], self.corrections[number:]
        return replace(self, corrections=(*before, *after))


class _Document(TypedDict):
    format: Literal["jaxdigits-hand"]
    class_names: Annotated[list[_Text], Meta(min_length=1, max_length=100_000)]
    form: Literal["mnist", "emnist", "plain"]
    names: list[_Text]
    read: list[_Text]
    sources: list[_Text]


def save_hand(hand: Hand, path: StrPath) -> None:
    """Write a hand as one file (safetensors, which holds nothing that could run).

    Raises:
        OutputError: the file cannot be written.
    """
    document = {
        "format": _FORMAT,
        "class_names": list(hand.class_names),
        "form": hand.form,
        "names": [one.name for one in hand.corrections],
        "read": [one.read for one in hand.corrections],
        "sources": [_printable(one.source)[:1_000] for one in hand.corrections],
    }
    images = np.zeros((len(hand.corrections), *hand.image_shape), np.uint8)
    for number, one in enumerate(hand.corrections):
        images[number] = one.image
    with atomic_write(Path(path)) as temporary:
        metadata = {"hand": msgspec.json.encode(document).decode()}
        safetensors.numpy.save_file({"images": images}, temporary, metadata)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def open_or_new(path: StrPath, run: Run) -> Hand:
    """The hand in a file, or one of which nothing is known where there is no file.

    Raises: see `open_hand`.
    """
    return open_hand(path) if Path(path).exists() else Hand.of(run)


def open_hand(path: StrPath) -> Hand:
    """Read what `save_hand` wrote.

    Raises:
        DataError: there is no such file, or it is none.

    Example:
        >>> import tempfile, jaxdigits as jd
        >>> path = tempfile.mkdtemp() + "/mine.hand"
        >>> save_hand(Hand.of(jd.load("digits")), path)
        >>> open_hand(path).corrections
        ()
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is too large to be a hand")
        with safetensors.safe_open(path, "np") as file:
            document = (file.metadata() or {}).get("hand", "")
            part = file.get_slice("images")
            fits = part.get_dtype() == "U8" and len(part.get_shape()) in (3, 4)
            images = file.get_tensor("images") if fits else np.zeros((0, 1, 1), np.uint8)
        told = msgspec.json.decode(document, type=_Document)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; `jaxdigits teach` writes one") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (safetensors.SafetensorError, msgspec.MsgspecError):
        raise DataError(
            f"{path} is not a file of corrections, or damaged; `jaxdigits teach` writes one"
        ) from None
    columns = told["names"], told["read"], told["sources"]
    known = set(told["names"]) <= set(told["class_names"])
    known &= all(word.isprintable() for column in columns for word in column)
    counts = {len(images), *map(len, columns)}
    if not (known and fits) or len(counts) > 1 or len(images) > MOST:
        raise DataError(f"{path} is damaged: its parts do not fit together; teach anew")
    each = zip(images, *columns, strict=True)
    return Hand(
        tuple(told["class_names"]),
        tuple(images.shape[1:]),
        told["form"],
        tuple(Correction(image, *words) for image, *words in each),
    )
