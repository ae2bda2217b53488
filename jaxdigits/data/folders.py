"""A dataset as a folder of images: `split/class/image.png`, or `class/image.png`.

Of your own, whatever the size, colors and ground of the images, or exported ones.
"""

import dataclasses
import itertools
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxdigits.data import embedded
from jaxdigits.data.dataset import Dataset, Examples, from_arrays, hold_out_test
from jaxdigits.data.exported import INDEX, read_index
from jaxdigits.data.idx import find_idx_files, load_idx_folder
from jaxdigits.data.sources import StrPath
from jaxdigits.data.specs import SPECS
from jaxdigits.data.splits import Split
from jaxdigits.errors import DataError
from jaxdigits.files import absolute

logger = logging.getLogger("jaxdigits")

_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".jp2", ".pgm", ".ppm", ".pbm", ".pnm"),
)

_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What the folders of splits may be called, in lower case, and what they hold."""

_SHAPE = (28, 28)
"""Of images, if nothing else is asked for or was exported."""

_LAYOUT = "images belong in class/image.png or in split/class/image.png, split being train or test"


def find_folder(name: str) -> Path | None:
    """Find the folder that is meant where a dataset is named: its absolute path, or None.

    A dataset's name is never a folder: a folder `mnist` is named `./mnist`.

    Example:
        >>> find_folder("mnist") is None, find_folder("..") == Path.cwd().parent
        (True, True)
    """
    if not name or name == embedded.NAME or name in SPECS:
        return None
    path = absolute(name)
    return path if os.path.isdir(path) else None  # pathlib would raise for a name too long


def load_folder(
    path: StrPath, *, image_shape: tuple[int, ...] | None = None
) -> dict[Split, Dataset]:
    """Load a dataset from a folder of images, your own or exported ones.

    The tree is `split/class/image.png`, or `class/image.png` without a level of splits. Folders of
    splits are called train (or training), test (testing) and validation (valid, val), in any case;
    only train is required. Without test, a seventh of each class becomes the test split, the same
    images every time; without validation, a twelfth of the training images, as in `from_arrays`.
    Classes are in natural order (2 before 10), the images of a split in that of their file names.
    Hidden files are ignored, other files without the suffix of an image too, which is logged.

    A folder may also hold IDX files, plain or gzipped, as MNIST's: see `jaxdigits.data.idx`.

    `jaxdigits.data.images` says how files of any size and colors become images of one shape. Those
    of an exported folder are taken as they are, and their hash is compared.

    Args:
        path: the folder; its own name becomes the name of the data.
        image_shape: (height, width), or (height, width, 3) to keep colors. Default: 28x28, or what
            was exported.

    Returns:
        The splits `train`, `validation`, `test` and `train+validation`, as `load` gives them.

    Raises:
        DataError: the tree is another one, an image cannot be read, a class has too few images,
            or a folder does not hold what was exported to it.

    Example:
        >>> import tempfile, jaxdigits as jd
        >>> drawings = Examples(np.zeros((24, 28, 28), np.uint8), np.arange(24) % 2)
        >>> shapes = from_arrays("shapes", drawings, drawings, ("box/square", "disc"))
        >>> folder = jd.data.export_folder(shapes, Path(tempfile.mkdtemp()) / "shapes")
        >>> sorted(path.name for path in (folder / "train").iterdir())
        ['box_square', 'disc']
        >>> again = load_folder(folder)["validation"]
        >>> len(again), again.class_names, again.fingerprint == shapes["test"].fingerprint
        (2, ('box/square', 'disc'), True)
    """
    from jaxdigits.data.images import read_images

    root = absolute(path)
    if idx_files := find_idx_files(root):
        return load_idx_folder(root, idx_files)
    parts = _find_parts(root)
    index = read_index(root)
    classes = index.classes if index else {name: name for name in _natural_order(parts["train"])}
    _check_classes(root, parts, classes, INDEX if index else "train")
    labels = {name: label for label, name in enumerate(classes)}
    files = {
        part: sorted(_File(path.name, labels[name], path) for name in found for path in found[name])
        for part, found in parts.items()
    }
    shape = index.image_shape if index else image_shape or _SHAPE
    if image_shape not in (None, shape):
        raise DataError(f"{root} holds images of shape {shape}, as exported, not {image_shape}")
    paths = [file.path for part in files.values() for file in part]
    images, light = read_images(paths, exact=index is not None, image_shape=shape)
    cuts = np.cumsum([len(part) for part in files.values()])[:-1]
    examples = {
        part: Examples(pixels, np.array([file.label for file in listed], np.int32))
        for (part, listed), pixels in zip(files.items(), np.split(images, cuts), strict=True)
    }
    if "test" not in examples:
        examples["train"], examples["test"] = hold_out_test(examples["train"])
    splits = from_arrays(
        root.name,
        examples["train"],
        examples["test"],
        tuple(classes.values()),
        examples.get("validation"),
        **(index.facts if index else {}),
    )
    found = splits["test"].fingerprint
    if index and found != dataclasses.replace(index.fingerprint, name=root.name):
        raise DataError(
            f"{root} does not hold what was exported to it: {found} is not {index.fingerprint}; "
            f"export it again, or delete its {INDEX} to read the images as they are now"
        )
    return {name: dataclasses.replace(split, light_files=light) for name, split in splits.items()}


def _natural_order(names: Collection[str]) -> list[str]:
    """Sort names as people do: by the numbers in them, and without regard to case.

    Example:
        >>> _natural_order(["b", "A", "10", "2"])
        ['2', '10', 'A', 'b']
    """

    def key(name: str) -> tuple[list[str | int], str]:
        pieces = enumerate(re.split(r"(\d+)", name.casefold()))  # every second is a number
        return [int(piece) if place % 2 else piece for place, piece in pieces], name

    return sorted(names, key=key)


def _find_parts(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Find the images by part (`train` is always one) and by class folder."""
    folders, images, _ = _list(root)
    if not folders:
        raise DataError(f"there is no class folder in {root}: {_LAYOUT}")
    if not all(folder.name.lower() in _PARTS and _list(folder)[0] for folder in folders):
        return {"train": _find_classes(root)}
    if images:
        raise _astray(images[0])
    parts: dict[str, dict[str, list[Path]]] = {}
    for folder in folders:
        part = _PARTS[folder.name.lower()]
        if part in parts:
            raise DataError(f"{root} has two folders of {part} images; put them together in one")
        parts[part] = _find_classes(folder)
    if "train" not in parts:
        raise DataError(f"{root} has no folder train beside {folders[0].name}: {_LAYOUT}")
    return parts


def _find_classes(folder: Path) -> dict[str, list[Path]]:
    """Find the images by class folder, of which each has some."""
    folders, images, _ = _list(folder)
    if images:
        raise _astray(images[0])
    classes: dict[str, list[Path]] = {}
    skipped: list[str] = []
    for path in folders:
        deeper, classes[path.name], others = _list(path)
        for inner in deeper:
            if any(_is_image(name) for _, _, names in os.walk(inner) for name in names):
                raise DataError(
                    f"{inner} holds images, but lies in {path}, which is taken for a class: "
                    f"{_LAYOUT}"
                )
        if not classes[path.name]:
            held = f"only files such as {others[0]}" if others else "nothing"
            raise DataError(
                f"there is no image in {path}: it holds {held}; add images of the class"
            )
        skipped += others
    if skipped:
        logger.warning(
            "%d files in %s are no images by their names, and are skipped: %s",
            *(len(skipped), folder, ", ".join(skipped[:5]) + ", ..." * (len(skipped) > 5)),
        )
    return classes


def _list(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """List the visible folders in a folder, its images, and the names of other files, in order."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(
                (entry.name, entry.is_dir(), entry.is_file())
                for entry in scan
                if entry.name[0] != "."
            )
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read as a folder of images: {error.strerror}"
        ) from None
    folders = [folder / name for name, is_folder, _ in entries if is_folder]
    images = [folder / name for name, is_folder, _ in entries if not is_folder and _is_image(name)]
    others = [name for name, _, is_file in entries if is_file and not _is_image(name)]
    return folders, images, others


def _is_image(name: str) -> bool:
    """Tell by its name whether a file is an image, and visible."""
    return name[0] != "." and os.path.splitext(name)[1].lower() in _SUFFIXES


def _astray(path: Path) -> DataError:
    return DataError(f"{path} is in no class folder; move it into one: {_LAYOUT}")


def _check_classes(
    root: Path,
    parts: Mapping[str, Mapping[str, Sequence[Path]]],
    classes: Collection[str],
    known_from: str,
) -> None:
    """Refuse class folders that are too few, too alike, or not among the known `classes`."""
    for name in (root.name, *classes):
        if not name.isprintable():  # a run would fail at its end, when its pictures are drawn
            raise DataError(f"{str(root)!r}: {name!r} cannot be printed; rename that folder")
    if len(classes) < 2:
        raise DataError(f"{root} has only one class, {min(classes)}; there must be two or more")
    alike: dict[str, str] = {}
    for name in itertools.chain(classes, *parts.values()):
        other = alike.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"the classes {other} and {name} of {root} differ only in case; rename one of "
                "them, or put their images together"
            )
    for part, folders in parts.items():
        for name in folders:
            if name not in classes:
                raise DataError(
                    f"{root} has a class {name} in {part} that is not in {known_from}; rename or "
                    "delete that class folder"
                )
    for name, paths in parts["train"].items() if "test" not in parts else ():
        if len(paths) < 2:
            raise DataError(
                f"the class {name} of {root} has only one image, but a seventh of each class "
                "becomes the test split; add images, or a folder test beside a folder train"
            )


class _File(NamedTuple):
    """An image file. They are sorted by their fields: first by name, then by label."""

    name: str
    label: int
    path: Path
