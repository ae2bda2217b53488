"""What each command of the command line does; `jaxdigits.cli` declares them.

Results are printed by `report`: a text for people, or one JSON object and nothing else.
"""

import json
import os
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


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def note_counts(fingerprint: Fingerprint) -> None:
    """Says so where a data set has not as many images as its makers say."""
    spec = SPECS.get(fingerprint.name)
    if spec and fingerprint.counts != split_counts(*spec.counts):
        train, test = spec.counts
        note(
            f"{fingerprint.name} here is not the official one of {train:,} training and {test:,} "
            "test images: figures measured on it are not comparable with others'."
        )
