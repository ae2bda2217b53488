"""`jaxdigits predict`: read what is written in pictures."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from jaxdigits.cli.options import File, Json
from jaxdigits.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jaxdigits.handwriting import Reading


def predict(
    pictures: tuple[Path, ...],
    network: Annotated[str, {"metavar": "RUN"}] = "digits",
    error_rate: float | None = None,
    set_: float | None = None,
    hand: File = None,
    words: File = None,
    spelling: Literal["english", "none"] = "english",
    find: Literal["auto", "strokes", "network"] = "auto",
    show: File = None,
    json: Json = False,
) -> None:
    """Read the characters in pictures: photos, scans, drawings of your own handwriting.

    Prints the text with the confidence in each character. A picture that cannot be read gets a line
    on standard error, and the exit code is 2 at the end.

    Args:
        pictures: PNG, JPEG, WebP, GIF, BMP, TIFF, or HEIC; dark on light or light on dark.
        network: digits, letters, or characters (both), which come with the package; or a run
            folder.
        error_rate: share of wrong characters to accept; what is less sure is shown as ?, so that
            with a probability of 95% the share holds on pages like those of the guide.
        set_: show what a character may be, as [49], so that in this share of cases, such as 0.99,
            the right one is among it.
        hand: what `jaxdigits teach` wrote: corrections of how the network reads your hand.
        words: a text file of words, one a line; where one may well be written, it is read.
        spelling: letters are read as English words have them, or by looks alone.
        find: characters by their strokes, by a network that knows turned pages, forms, and signs,
            or by whichever reads more clearly.
        show: a PNG to draw what was read into; with several pictures its name is numbered.
    """
    if not pictures:
        raise ConfigError("name a picture, such as: jaxdigits predict photo.jpg")
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import note, report
    from jaxdigits.handwriting import (
        least_probability,
        open_hand,
        read_files,
        read_words,
        save_reading,
        teach,
        threshold,
    )
    from jaxdigits.runs.folder import load

    run = load(network)
    if hand:
        run = teach(run, open_hand(hand))
    sure = 0.0 if error_rate is None else threshold(run, error_rate)
    least = None if set_ is None else least_probability(run, set_)
    documents, texts, failed = [], [], False
    listed = read_words(words) if words else ()
    readings = read_files(
        run, pictures, threshold=sure, least=least, words=listed, spelling=spelling, find=find
    )
    for number, (path, found) in enumerate(zip(pictures, readings, strict=True), 1):
        if isinstance(found, DataError):
            note(f"jaxdigits: {found}")
            documents.append({"picture": str(path), "error": str(found)})
            failed = True
            continue
        picture, reading = found
        documents.append({"picture": str(path), **reading.as_dict()})
        texts += [f"{path}:"] * (len(pictures) > 1) + _lines(reading)
        if show:
            several = show.name and len(pictures) > 1
            numbered = show.with_name(f"{show.stem}-{number}{show.suffix}") if several else show
            save_reading(numbered, picture, reading)
    document = {"network": network, "threshold": sure, "least": least, "pictures": documents}
    if texts or json:
        report("\n".join(texts), document, as_json=json)
    if failed:
        sys.exit(2)


def _lines(reading: "Reading") -> list[str]:
    """Write each line of text, and beside it the confidence in each character."""
    texts = reading.text.split("\n")
    width = max(map(len, texts)) + 3
    lines = []
    for number, text in enumerate(texts):
        confidences = [
            f"{confidence:.1%}"
            for character, confidence in zip(reading.characters, reading.confidences, strict=True)
            if character.line == number
        ]
        lines.append(f"{text:{width}}{' '.join(confidences)}")
    return lines
