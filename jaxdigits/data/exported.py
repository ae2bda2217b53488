"""A dataset as a folder of PNG images, with an index from which exactly the same is read again."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdigits.data.dataset import Dataset, Fingerprint
from jaxdigits.data.sources import StrPath
from jaxdigits.data.splits import SPLITS, VALIDATION_FRACTION, Split, held_out_mask, validation_mask
from jaxdigits.errors import DataError, OutputError
from jaxdigits.files import absolute, staged_directory

INDEX = "jaxdigits.json"
"""The file in an exported folder that says which data it holds."""

FORMAT = 1
"""Of the index: raised when an older reader could not read it."""


def export_folder(splits: Mapping[Split, Dataset], folder: StrPath) -> Path:
    """Write a dataset as a folder of PNG images, from which `load_folder` reads it unchanged.

    The official training images are `train/CLASS/00000.png` and so on, numbered in their order,
    with the usual twelfth of them that `load_folder` holds out again. Another validation split, of
    a folder of your own, is written as `validation`. `jaxdigits.json` lists the classes.

    Args:
        splits: of a dataset, as `from_arrays` and `load_folder` give them.
        folder: a new folder, or an empty one. It appears when all is written.

    Returns:
        Its absolute path.

    Raises:
        DataError: the images are floats, or have other than 1 or 3 channels.
        OutputError: the folder is taken, or cannot be written.
    """
    from PIL import Image
    from tqdm import tqdm

    final = absolute(folder)
    if final.exists() and not (final.is_dir() and next(final.iterdir(), None) is None):
        raise OutputError(f"{final} is taken; choose a folder that is new or empty")
    test = splits["test"]
    if test.images.dtype != np.uint8 or test.image_shape[2:] not in ((), (1,), (3,)):
        raise DataError(
            f"PNG files hold uint8 images of 1 or 3 channels; these are {test.images.dtype} of "
            f"shape {list(test.image_shape)}"
        )
    parts: dict[str, Dataset] = {"train": splits["train+validation"], "test": test}
    labels = parts["train"].labels
    usual = validation_mask(len(labels)), held_out_mask(labels, VALIDATION_FRACTION)
    same = [
        np.array_equal(parts["train"].images[mask], splits["validation"].images) for mask in usual
    ]
    if not any(same):
        parts |= {"train": splits["train"], "validation": splits["validation"]}
    folders = _folder_names(test.class_names)
    known = (INDEX, *SPLITS)
    total = sum(map(len, parts.values()))
    with (
        staged_directory(final, numbered=False, overwrite=False, known=known) as new,
        tqdm(desc="writing", total=total, unit="image", disable=None, leave=False) as bar,
    ):
        # First, so that a folder with only some of the images can be told from a whole one.
        (new.work / INDEX).write_text(
            json.dumps(_make_index(test, folders, stratified=not same[0]), indent=1)
        )
        for part, dataset in parts.items():
            for label in np.unique(dataset.labels):
                (new.work / part / folders[label]).mkdir(parents=True)
            width = max(len(str(len(dataset) - 1)), 5)
            for number, (image, label) in enumerate(zip(*dataset.examples, strict=True)):
                path = new.work / part / folders[label] / f"{number:0{width}}.png"
                pixels = image[..., 0] if image.shape[2:] == (1,) else image
                # Threads would only wait for each other: most of the time is spent in Python.
                Image.fromarray(pixels).save(path, compress_level=1)
                bar.update()
    return final


class Index(NamedTuple):
    """What the index of an exported folder says; `facts` are other arguments of `from_arrays`."""

    classes: dict[str, str]  # names by folder, in the order of the labels
    fingerprint: Fingerprint
    image_shape: tuple[int, ...]
    facts: dict[str, Any]


def _make_index(dataset: Dataset, folders: Sequence[str], *, stratified: bool) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "ink": "dark" if dataset.light_ground else "bright",
        "form": dataset.form,
        "stratified": stratified,
        "image_shape": dataset.image_shape,
        "classes": [
            {"folder": folder, "name": name}
            for folder, name in zip(folders, dataset.class_names, strict=True)
        ],
        "data": dataset.fingerprint.as_dict(),
    }


def read_index(root: Path) -> Index | None:
    """What the index of a folder says; None where it has none, and was not exported."""
    path = root / INDEX
    try:
        document = json.loads(path.read_text())
        if document["format"] != FORMAT or document["ink"] not in ("bright", "dark"):
            raise ValueError("it is of another version of jaxdigits")
        return Index(
            {str(entry["folder"]): str(entry["name"]) for entry in document["classes"]},
            Fingerprint(**document["data"]),
            tuple(map(int, document.get("image_shape", (28, 28)))),
            {
                "form": document.get("form", "plain"),
                "light_ground": document["ink"] == "dark",
                "stratified": document.get("stratified", False) is True,
            },
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); export the dataset again, or delete that file to "
            "read the images without it"
        ) from None


def _folder_names(class_names: Sequence[str]) -> list[str]:
    """Make a folder name for each class; no two are the same where case does not count.

    Example:
        >>> _folder_names(("T-shirt/top", "A", "a", ".."))
        ['T-shirt_top', 'A', 'a-2', '_']
    """
    names: list[str] = []
    for class_name in class_names:
        plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", class_name).strip(". ") or "_"
        candidates = itertools.chain([plain], (f"{plain}-{n}" for n in itertools.count(2)))
        taken = {name.casefold() for name in names}
        names.append(next(name for name in candidates if name.casefold() not in taken))
    return names
