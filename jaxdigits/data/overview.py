"""What datasets there are, and which are prepared."""

from collections.abc import Mapping
from typing import NamedTuple

from jaxdigits.data import embedded, read_fingerprint
from jaxdigits.data.preparation import data_root
from jaxdigits.data.specs import SPECS
from jaxdigits.data.splits import split_counts
from jaxdigits.errors import DataError
from jaxdigits.files import StrPath


class Entry(NamedTuple):
    """A dataset.

    Attributes:
        name: for `jaxdigits.data.load`.
        title: what it holds.
        classes: the number of classes.
        state: `always there`, `prepared`, `not prepared`, or `damaged`.
        counts: images in train, validation, and test; the official ones where it is not prepared.
        problem: what is damaged, and what to do; empty if nothing is.
    """

    name: str
    title: str
    classes: int
    state: str
    counts: Mapping[str, int]
    problem: str = ""


def overview(data_dir: StrPath | None = None) -> list[Entry]:
    """List the datasets, the digits inside first. `data_dir`: see `jaxdigits.data.load`.

    Example:
        >>> [entry.name for entry in overview()][:2]
        ['digits', 'mnist']
    """
    data_root(data_dir)  # an address is an error here, not of each dataset
    counts = split_counts(embedded.TRAIN_COUNT, embedded.TEST_COUNT)
    classes = len(embedded.CLASS_NAMES)
    entries = [Entry(embedded.NAME, embedded.TITLE, classes, "always there", counts)]
    for name, spec in SPECS.items():
        entry = Entry(
            name, spec.title, len(spec.class_names), "not prepared", split_counts(*spec.counts)
        )
        try:
            fingerprint = read_fingerprint(name, data_dir)
            if fingerprint:
                entry = entry._replace(state="prepared", counts=fingerprint.counts)
        except DataError as error:
            entry = entry._replace(state="damaged", problem=str(error))
        entries.append(entry)
    return entries
