"""Where the files of a dataset are: in a folder of the user's, or still to be downloaded."""

import os
from collections.abc import Mapping
from pathlib import Path

from jaxdigits.data.specs import DatasetSpec, RemoteFile
from jaxdigits.errors import DataError
from jaxdigits.files import absolute, file_sum

StrPath = str | os.PathLike[str]

MANUAL_DIR_VARIABLE = "JAXDIGITS_MANUAL_DIR"
"""Environment variable: a folder with files that the user copied there by hand."""


def local_files(spec: DatasetSpec, manual_dir: StrPath | None) -> dict[str, Path]:
    """Find and verify those files of a dataset that are in the user's folder, if one is given.

    A file is looked for in `manual_dir` itself and in a folder there of the dataset's name, as
    MNIST, Fashion-MNIST and KMNIST use the same file names. EMNIST is taken from its archive, or
    from the four files of the one split.

    Returns:
        Paths by file name.

    Raises:
        DataError: there is no such folder, or a file in it is truncated, corrupted or another one.
    """
    if not manual_dir:
        return {}
    place = absolute(manual_dir)
    found: dict[str, Path] = {}
    try:
        if not place.is_dir():
            raise DataError(
                f"{place} is not a folder: --manual-dir and {MANUAL_DIR_VARIABLE} name the folder "
                "that holds the downloaded files"
            )
        for name in (*spec.files.values(), *spec.remote):
            for folder in (place / spec.name, place / spec.name.split("/")[0], place):
                if (folder / name).is_file():
                    found.setdefault(name, folder / name)
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}") from None
    if set(spec.files.values()) <= set(found):
        # The split's own files are enough: leave a half-gigabyte archive beside them unread.
        found = {name: path for name, path in found.items() if name in spec.files.values()}
    for name, path in found.items():
        if name in spec.remote:
            verify(path, spec.remote[name])
    return found


def missing_files(spec: DatasetSpec, local: Mapping[str, Path]) -> list[RemoteFile]:
    """List the files that would have to be downloaded."""
    if set(spec.files.values()) <= set(local):
        return []
    return [remote for name, remote in spec.remote.items() if name not in local]


def verify(path: Path, remote: RemoteFile) -> None:
    """Compare a file's size and SHA-256 hash with what they must be.

    Raises:
        DataError: names the file, what was expected and what was found.
    """
    try:
        size = path.stat().st_size
        if size != remote.size:
            kind = "truncated" if size < remote.size else "not the right file"
            raise DataError(
                f"{path} is {kind}: expected {remote.size:,} bytes, found {size:,}; "
                f"copy it again from {remote.url}"
            )
        found = file_sum(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if found != remote.sha256:
        raise DataError(
            f"{path} is corrupted or another file: expected the SHA-256 hash {remote.sha256}, "
            f"found {found}; copy it again from {remote.url}"
        )


def how_to_get(spec: DatasetSpec, missing: list[RemoteFile]) -> str:
    """Say what to do when files are missing, with their names, sizes, hashes and addresses."""
    lines = [
        "download the following on another machine, put it into a folder here, and name that "
        f"folder with --manual-dir or {MANUAL_DIR_VARIABLE}:"
    ]
    lines += [
        f"  {remote.name}  {remote.size:,} bytes  sha256 {remote.sha256}\n    {remote.url}"
        for remote in missing
    ]
    if spec.archive:
        lines.append("  or only these, unpacked from it: " + ", ".join(spec.files.values()))
    return "\n".join(lines)
