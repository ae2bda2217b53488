"""Prepare a dataset once, with tensorflow-datasets, so that it loads in no time after that."""

import contextlib
import errno
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from jaxdigits.data import arrays, downloads, sources
from jaxdigits.data.sources import StrPath
from jaxdigits.data.specs import SPECS, DatasetSpec
from jaxdigits.errors import DataError
from jaxdigits.files import absolute, file_sum


def data_root(data_dir: StrPath | None) -> Path:
    """Return where prepared datasets are kept.

    That is `data_dir`, or what the environment variable `TFDS_DATA_DIR` names, or
    `~/tensorflow_datasets`, as for tensorflow-datasets. A user without a home has it in the folder
    for temporary files.

    Raises:
        DataError: it is an address, such as `gs://bucket`, not a folder.
    """
    home = os.path.expanduser("~")  # unchanged where there is none
    default = Path(tempfile.gettempdir() if home == "~" else home) / "tensorflow_datasets"
    place = os.fspath(data_dir or os.environ.get("TFDS_DATA_DIR") or default)
    if "://" in place:
        raise DataError(
            f"{place} is an address: prepared datasets are kept in a folder of this machine; name "
            "one with --data-dir or TFDS_DATA_DIR"
        )
    return absolute(place)


def prepared_folder(spec: DatasetSpec, data_dir: StrPath | None = None) -> Path:
    """Return where a dataset lies when it is prepared (whether it is or not)."""
    name, _, config = spec.name.partition("/")
    return data_root(data_dir) / f"jaxdigits_{name}" / config / arrays.VERSION


def is_prepared(name: str, data_dir: StrPath | None = None) -> bool:
    """Tell whether a dataset that comes from files can be loaded without preparing it.

    Raises:
        DataError: there is no such dataset, or its folder cannot be looked into.

    Example:
        >>> is_prepared("emnist/letters", data_dir="nowhere")
        False
    """
    path = prepared_folder(find_spec(name), data_dir) / arrays.INDEX
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path.parent} cannot be read: {error.strerror}") from None


def prepare(name: str, data_dir: StrPath | None = None, manual_dir: StrPath | None = None) -> Path:
    """Prepare a dataset, unless it is prepared already.

    The files come from `manual_dir`, or else are downloaded, and kept for the next time. Nothing
    half-prepared is ever used: the folder gets its name when it is complete. A second process that
    prepares the same waits for the first.

    Args:
        name: `mnist`, `fashion_mnist`, `kmnist` or `emnist/...`; see `jaxdigits.data.names`.
        data_dir: where to keep it; see `data_root`.
        manual_dir: a folder with files downloaded by hand; default: what the environment variable
            `JAXDIGITS_MANUAL_DIR` names.

    Returns:
        The folder with the prepared data.

    Raises:
        DataError: unknown name, a damaged or wrong file, a folder that cannot be written, or the
            dataset is prepared from other files than those in `manual_dir`.
        DataUnavailableError: files are missing, and cannot be downloaded: the host does not answer
            within two seconds, has other files, or the connection breaks three times.
    """
    spec = find_spec(name)
    folder = prepared_folder(spec, data_dir)
    if is_prepared(name, data_dir):
        if manual_dir:
            _check_same_files(spec, folder, sources.local_files(spec, manual_dir))
        return folder
    local = sources.local_files(spec, manual_dir or os.environ.get(sources.MANUAL_DIR_VARIABLE))
    root = data_root(data_dir)
    local |= downloads.kept_files(spec, sources.missing_files(spec, local), root / "downloads")
    if missing := sources.missing_files(spec, local):
        downloads.check_host(spec, missing, root)
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".lock"):
            if not is_prepared(name, data_dir):
                _build(spec, folder, root, local)
    except OSError as error:
        raise DataError(
            f"{spec.name} could not be prepared in {folder.parent}: {_words(error)}; "
            "choose another place with --data-dir or TFDS_DATA_DIR"
        ) from None
    return folder


def _check_same_files(spec: DatasetSpec, folder: Path, local: dict[str, Path]) -> None:
    """Refuse files other than those that the dataset was prepared from."""
    recorded = arrays.read_source_sums(folder)
    for name, path in local.items():
        # A file with a known hash has been verified: it cannot be another one.
        known = name in spec.remote or name not in recorded
        if not known and file_sum(path) != recorded[name]:
            raise DataError(
                f"{spec.name} was prepared from another {name} than {path}: to prepare it again, "
                f"delete {folder}; to keep both, give another --data-dir"
            )


def _build(spec: DatasetSpec, folder: Path, data_dir: Path, local: dict[str, Path]) -> None:
    """Run the builder of tensorflow-datasets; the caller holds the lock."""
    import tensorflow_datasets as tfds

    from jaxdigits.data.builders import builder_for

    for left_over in folder.parent.glob(f"*{folder.name}"):  # of a preparation that was killed
        shutil.rmtree(left_over)
    builder = builder_for(spec, data_dir)
    builder.local_files = local
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # The library announces itself on standard output, which belongs to results.
    with contextlib.redirect_stdout(sys.stderr if sys.stderr.isatty() else None):
        try:
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        except RuntimeError as error:  # so the library that writes records tells of a full disk
            found = re.search(r"\w+\(\) failed: ([^;]+)", str(error))
            if found is None:
                raise
            raise OSError(errno.EIO, found[1]) from None


def _words(error: BaseException) -> str:
    """What the system said; tensorflow-datasets puts its own words around that."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"the disk may be full ({error})"  # so numpy tells of it: "8 requested and 5 written"


def find_spec(name: str) -> DatasetSpec:
    """Look a dataset up by name.

    Raises:
        DataError: there is none; the message lists those there are.
    """
    if name not in SPECS:
        raise DataError(
            f"there is no dataset {name!r}; there are digits (included, no download), "
            + ", ".join(SPECS)
            + "; or give the path of a folder of images, class/image.png in it"
        )
    return SPECS[name]
