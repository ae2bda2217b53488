"""`jaxdigits predict`: what is written in pictures."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jaxdigits.cli.output import note, report
from jaxdigits.errors import ConfigError, DataError
from jaxdigits.handwriting import Reading, open_picture, read
from jaxdigits.handwriting.drawing import save_reading
from jaxdigits.runs import run as runs


def predict(
    paths: Sequence[Path],
    *,
    network: str = "digits",
    error_rate: float | None = None,
    show: Path | None = None,
    as_json: bool = False,
) -> None:
    """Reads each picture and prints the text with the probability of each character.

    A picture that cannot be read gets a line on standard error; the others are read, and the exit
    code is 2 at the end.

    Args:
        paths: the pictures.
        network: `digits`, `letters`, or a run folder.
        error_rate: share of wrong answers that is tolerated, on validation images; what is less
            sure than that becomes `?`.
        show: a PNG file for the picture with boxes; with several pictures a number is added.
        as_json: whether to print one JSON object.

    Raises:
        RunError: there is no such network.
        ConfigError: the error rate is impossible, or the network's was never measured.
    """
    if not paths:
        raise ConfigError("name a picture, such as: jaxdigits predict photo.jpg")
    run = runs.load(network)
    threshold = 0.0
    if error_rate is not None:
        if run.calibration is None:
            raise ConfigError(
                f"{network} does not say how sure it may be on validation images: it is "
                "of an older version, or has diverged; leave --error-rate out"
            )
        threshold = run.calibration.threshold(error_rate)
    documents, texts, failed = [], [], False
    for number, path in enumerate(paths, 1):
        try:
            picture = open_picture(path)
            try:
                reading = read(picture, run, threshold=threshold)
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
        except DataError as error:
            note(f"jaxdigits: {error}")
            documents.append({"picture": str(path), "error": str(error)})
            failed = True
            continue
        documents.append({"picture": str(path), **reading.as_dict()})
        texts.append("\n".join([f"{path}:"] * (len(paths) > 1) + _lines(reading)))
        if show:
            numbered = show.with_name(f"{show.stem}-{number}{show.suffix}")
            save_reading(numbered if len(paths) > 1 else show, picture, reading)
    document = {"network": network, "threshold": threshold, "pictures": documents}
    if texts or as_json:
        report("\n".join(texts), document, as_json=as_json)
    if failed:
        sys.exit(2)


def _lines(reading: Reading) -> list[str]:
    """Each line of text, and beside it how sure the network is of each character, in per cent."""
    texts = reading.text.split("\n")
    width = max(map(len, texts)) + 3
    lines = []
    for number, text in enumerate(texts):
        confidences = [
            f"{100 * confidence:.1f}"
            for character, confidence in zip(reading.characters, reading.confidences, strict=True)
            if character.line == number
        ]
        lines.append(f"{text:{width}}{' '.join(confidences)} %")
    return lines
