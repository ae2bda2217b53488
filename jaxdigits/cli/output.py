"""Printing: results on standard output, everything else on standard error."""

import json
import sys
from typing import Any

from jaxdigits.data.dataset import Fingerprint, split_counts
from jaxdigits.data.specs import SPECS


def report(text: str, document: dict[str, Any], *, as_json: bool) -> None:
    """Prints a command's result on standard output, in one of its two forms."""
    print(json.dumps(document, allow_nan=False) if as_json else text)


def note(text: str) -> None:
    """Prints a line that is not a result: on standard error."""
    print(text, file=sys.stderr)


def is_official(fingerprint: Fingerprint) -> bool:
    """Whether a data set has as many images as its makers say."""
    spec = SPECS.get(fingerprint.name)
    return spec is not None and fingerprint.counts == split_counts(*spec.counts)


def note_counts(fingerprint: Fingerprint) -> None:
    """Says so where a data set has not as many images as its makers say."""
    spec = SPECS.get(fingerprint.name)
    if spec and not is_official(fingerprint):
        train, test = spec.counts
        note(
            f"{fingerprint.name} here is not the official one of {train:,} training and {test:,} "
            "test images: figures measured on it are not comparable with others'."
        )
