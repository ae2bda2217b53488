"""What the JSON files of runs and sweeps hold, and their only reader.

A folder may come from a stranger, or a disk may have lost a part of it: each value has the type
that is written here before anything uses it, and one sentence says which one has not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from jaxdigits.config import APPLIES, TrainConfig
from jaxdigits.errors import RunError
from jaxdigits.evaluation.promises import DOUBTS

MOST_BYTES = 256 * 2**20
"""A larger file is none of ours."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**31)]
Share = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(max_length=10_000)]


class DataDocument(TypedDict):
    """A `Fingerprint`."""

    name: Text
    counts: dict[Text, Count]
    sha256: Text


class ScalingDocument(TypedDict):
    """A `Scaling`."""

    mean: float
    std: float


Counts = Annotated[list[Count], Meta(min_length=len(DOUBTS), max_length=len(DOUBTS))]


class CountsDocument(TypedDict):
    """An `AnswerCounts`."""

    answers: Count
    given: Counts
    wrong: Counts
    missed: Counts


class CalibrationDocument(TypedDict):
    """A `Calibration`; before format 4 without counts that promises are made from."""

    temperature: Annotated[float, Meta(gt=0)]
    counts: NotRequired[CountsDocument]
    pages: NotRequired[CountsDocument]


class ResultsDocument(TypedDict, total=False):
    """The metrics of a split; null where there is no number."""

    count: Count
    loss: float | None
    accuracy: Share | None
    interval_95: list[float | None]
    top_2_accuracy: Share | None
    most_confused: list[tuple[Text, Text, Count]]
    per_class_accuracy: dict[Text, Share | None]


class RunDocument(TypedDict):
    """`run.json`; what is not required came with later versions."""

    format: Count
    config: dict[str, Any]
    data: DataDocument
    class_names: Annotated[list[Text], Meta(min_length=1, max_length=100_000)]
    scaling: ScalingDocument
    params_sha256: NotRequired[Text | None]
    results: dict[Text, ResultsDocument]
    versions: dict[Text, Text]
    device: Text
    processor: NotRequired[Text]
    flags: NotRequired[dict[Text, Text]]
    init_from: NotRequired[Text | None]
    stream: NotRequired[bool]
    calibration: NotRequired[CalibrationDocument | None]
    image_shape: NotRequired[
        Annotated[
            list[Annotated[int, Meta(ge=1, le=100_000)]],
            Meta(min_length=2, max_length=3),
        ]
    ]
    form: NotRequired[Literal["mnist", "emnist", "plain"]]
    light_ground: NotRequired[bool]
    extent: NotRequired[Annotated[float, Meta(gt=0)]]
    light_files: NotRequired[bool]
    own: NotRequired[list[Text]]
    seconds: NotRequired[dict[Text, float] | None]
    devices: NotRequired[Positive]


class SpreadDocument(TypedDict):
    """Accuracies of members."""

    values: Annotated[list[Share], Meta(min_length=1)]


class EnsembleDocument(TypedDict):
    """Of the best setting's members."""

    members: Annotated[list[Count], Meta(min_length=1)]
    results: dict[Text, ResultsDocument]
    calibration: NotRequired[CalibrationDocument | None]


class SettingDocument(TypedDict):
    """What the members of a setting gave."""

    setting: Text
    members: Annotated[list[Count], Meta(min_length=1)]
    diverged: Count
    dropped_after: NotRequired[Count | None]
    validation_accuracy: SpreadDocument


class BestDocument(SettingDocument):
    """What the members of the best setting gave."""

    test_accuracy: SpreadDocument
    ensemble: EnsembleDocument


class SweepDocument(TypedDict):
    """`sweep.json`."""

    format: Count
    settings: Annotated[list[SettingDocument], Meta(min_length=1)]
    best: Count


class ManifestDocument(TypedDict):
    """`manifest.json` of an unfinished run, or of a sweep, which has the last four."""

    format: Count
    config: dict[str, Any]
    data: DataDocument
    devices: Positive
    versions: dict[Text, Text]
    device: Text
    own: NotRequired[list[Text]]
    init_from: NotRequired[Text | None]
    stream: NotRequired[bool]
    chunks_per_epoch: NotRequired[Positive]
    grid: NotRequired[dict[Text, Annotated[list[Any], Meta(min_length=1)]]]
    seeds: NotRequired[Positive]
    members_per_batch: NotRequired[Positive | None]
    halving: NotRequired[Positive | None]
    batch_sizes: NotRequired[Any]


class CheckpointDocument(TypedDict):
    """What is written beside the arrays of a checkpoint, with all of the manifest."""

    format: Count
    chunk: Count
    progress: dict[str, Any]
    sha256: Text


def read_document(path: Path, kind: Any, newest: int, remedy: str = "train it again") -> Any:
    """Read a JSON file that states its format, and check it.

    Args:
        path: of the file.
        kind: what it should hold: one of the classes above.
        newest: the last format that this version reads.
        remedy: what to do where it is damaged.

    Returns:
        Plain values, also those that `kind` does not know.

    Raises:
        FileNotFoundError: there is none.
        RunError: it is damaged, cannot be read, or is of a newer format.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RunError(f"{path} is damaged: it is larger than {MOST_BYTES} bytes; {remedy}")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    document = decode(content, _Stated, path, remedy)
    if document["format"] > newest:
        number = document["format"]
        raise RunError(f"{path} was written by a newer jaxdigits (format {number}): upgrade")
    return check(document, kind, path, remedy)


def decode(content: bytes, kind: Any, path: Path, remedy: str) -> Any:
    """Plain values from JSON, checked; arguments as of `read_document`.

    Raises:
        RunError: it is damaged.
    """
    try:
        document = msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise RunError(f"{path} is damaged: {error}; {remedy}") from None
    return check(document, kind, path, remedy)


def check(document: Any, kind: Any, path: Path, remedy: str) -> Any:
    """Plain values as they are, if they have the types of `kind`; arguments as above.

    Raises:
        RunError: they have not.

    Example:
        >>> check({"mean": 1, "std": "2"}, ScalingDocument, Path("run.json"), "train it again")
        Traceback (most recent call last):
        jaxdigits.errors.RunError: run.json is damaged: Expected `float`, got `str` - at `$.std`; \
train it again
    """
    try:
        msgspec.convert(document, kind)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        raise RunError(f"{path} is damaged: {error}; {remedy}") from None
    return document


class _Stated(TypedDict):
    format: Count


def upgrade_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that an older version wrote, in the words of this one.

    Settings that did not apply were kept at any value; they become the default.

    Example:
        >>> old = {"model": "linear", "hidden": [8], "optimizer": "momentum", "momentum": 0.9}
        >>> upgrade_settings({**old, "average": 0.5})
        {'model': 'linear', 'optimizer': 'sgd', 'momentum': 0.9, 'ema_decay': 0.5}
    """
    new = dict(values)
    if "average" in new:
        new["ema_decay"] = new.pop("average")
    if new.get("optimizer") == "momentum":
        new["optimizer"] = "sgd"
    elif "optimizer" in new:
        new.pop("momentum", None)
    for name, (of, allowed) in APPLIES.items():
        if name in new and new.get(of, getattr(TrainConfig, of)) not in allowed:
            del new[name]
    return new
