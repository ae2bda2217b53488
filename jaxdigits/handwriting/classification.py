"""Label image files of one character each."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxdigits.data.exported import INDEX
from jaxdigits.data.images import read_images
from jaxdigits.errors import DataError
from jaxdigits.files import StrPath
from jaxdigits.handwriting.finding import to_image
from jaxdigits.handwriting.ink import find_ink
from jaxdigits.handwriting.opening import open_picture
from jaxdigits.runs.run import Run


class Classification(NamedTuple):
    """The label of an image file.

    Attributes:
        file: as it was given.
        class_name: the most probable class.
        probability: of that, calibrated, 0..1.
    """

    file: StrPath
    class_name: str
    probability: float


def classify_files(run: Run, files: Sequence[StrPath]) -> list[Classification]:
    """Label image files, each brought to the form of the images that the network was trained on.

    Files of an exported dataset are taken as they are. For a network trained on a folder of images,
    files are read as `jaxdigits.data.load_folder` reads them, so that its test files get the labels
    of `evaluate`. For other networks, files of another size than their images are taken for photos,
    scans or drawings of a character.

    Args:
        run: the network.
        files: PNG, JPEG, BMP, GIF, WebP or TIFF.

    Raises:
        DataError: a file cannot be read, or is blank.

    Example:
        >>> import tempfile, jaxdigits as jd
        >>> from PIL import Image
        >>> page = np.full((100, 60), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> path = tempfile.mkdtemp() + "/one.png"
        >>> Image.fromarray(page).save(path)
        >>> [found.class_name for found in classify_files(jd.load("digits"), [path])]
        ['1']
    """
    if not files:
        return []
    probabilities = run.predict_proba(_read_files(run, [Path(file) for file in files]))
    return [
        Classification(file, run.class_names[int(row.argmax())], float(row.max()))
        for file, row in zip(files, probabilities, strict=True)
    ]


def _read_files(run: Run, paths: Sequence[Path]) -> UInt8[np.ndarray, "n ..."]:
    """Read files as images of the shape that the network takes."""
    images: dict[Path, np.ndarray] = {}
    exported: list[Path] = []
    similar: list[Path] = []
    size = run.image_shape[:2]
    for path in paths:
        if any((folder / INDEX).is_file() for folder in path.absolute().parents[1:3]):
            exported.append(path)
        elif run.form == "plain" or (picture := open_picture(path)).shape[:2] == size:
            similar.append(path)
        else:
            try:
                images[path] = to_image(np.round(255 * find_ink(picture)).astype(np.uint8), run)
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
    if exported:
        found, _ = read_images(exported, exact=True, image_shape=run.image_shape)
        images |= zip(exported, found, strict=True)
    if similar:
        found, _ = read_images(
            similar, exact=False, image_shape=run.image_shape, light_files=run.light_files
        )
        images |= zip(similar, 255 - found if run.light_ground else found, strict=True)
    return np.stack([images[path] for path in paths])
