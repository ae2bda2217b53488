"""Printing: results on standard output, everything else on standard error."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxdigits.data.dataset import Fingerprint
from jaxdigits.data.specs import SPECS, is_official
from jaxdigits.files import to_json


def report(text: str, document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a command's result on standard output, in one of its two forms."""
    print(to_json(document) if as_json else text)


def note(text: str) -> None:
    """Print a line that is not a result on standard error."""
    print(text, file=sys.stderr)


def written_to(folder: Path, names: Iterable[str]) -> str:
    """A line about those of the files that are there: pictures may be omitted."""
    return f"written to {folder}: {', '.join(name for name in names if (folder / name).exists())}"


def results_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each split, and the pairs of classes that the last split shows to be hard.

    Args:
        results: as `Run.results`: by split, what `Evaluation.as_dict` gives.
    """
    header = f"{'':12}{'images':>8}{'loss':>9}{'accuracy':>11}   {'95% interval':18}top-2"
    lines, pairs = [header], ""
    for split, found in results.items():
        low, high = found["interval_95"]
        loss = float("nan") if found["loss"] is None else found["loss"]
        lines.append(
            f"{split:12}{found['count']:8,}{loss:9.4f}{found['accuracy']:11.2%}   "
            f"{f'{low:.2%} to {high:.2%}':18}{found['top_2_accuracy']:.2%}"
        )
        pairs = ", ".join(f"{a}/{b} ({n})" for a, b, n in found["most_confused"])
    lines += ["", f"most confused pairs: {pairs or 'none'}"]
    return "\n".join(lines)


def note_counts(fingerprint: Fingerprint) -> None:
    """Say so where a dataset has not as many images as its makers say."""
    spec = SPECS.get(fingerprint.name)
    if spec and not is_official(fingerprint):
        train, test = spec.counts
        note(
            f"{fingerprint.name} here is not the official one of {train:,} training and {test:,} "
            "test images: figures measured on it are not comparable with others'."
        )
