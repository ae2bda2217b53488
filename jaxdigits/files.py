"""Writing files and folders so that a reader never sees half of one."""

import contextlib
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from jaxdigits.errors import OutputError

StrPath = str | os.PathLike[str]

_NUMBERS = re.compile(r"\[\n([-+.\de,\s]+)\]")  # a list of them, a line each

PATIENCE = 60.0
"""Seconds that a process waits for another one that changes the same file."""

_LOCK = ".lock"
_MOVES_OPEN_FILES = os.name != "nt"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it at the end, or removed on an error.

    A device or a pipe, such as /dev/null, stays what it is: it is written to at the end.

    Raises:
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        ...     target.exists()
        False
        >>> target.read_text()
        'whole'
    """
    _check_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        special = path.is_char_device() or path.is_block_device() or path.is_fifo()
        folder = None if special else path.parent
        handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}-", folder)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            if special:
                with temporary.open("rb") as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
                return
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)  # mkstemp keeps files to their owner
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from None


@contextlib.contextmanager
def changing(path: StrPath) -> Iterator[None]:
    """Keep other processes from changing a file between reading and writing it.

    A hidden file beside it is locked, and stays there.

    Raises:
        OutputError: the folder cannot be written, or another process does not come to an end.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "count.txt"
        >>> _ = path.write_text("1")
        >>> with changing(path):
        ...     _ = path.write_text(str(int(path.read_text()) + 1))
        >>> path.read_text()
        '2'
    """
    path = Path(path)
    _check_name(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"another process is changing {path}; try again when it is done"
        ) from None
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _check_name(path: Path) -> None:
    if not path.name:
        raise OutputError(f"{path} is a folder: name a file to write to")


def to_json(document: Any, indent: int | None = None) -> str:
    """Plain values as JSON, which knows no infinity and no nan: they become null.

    Example:
        >>> to_json({"loss": float("nan"), "steps": [1, 2.5]})
        '{"loss": null, "steps": [1, 2.5]}'
    """

    def finite(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: finite(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [finite(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(document), indent=indent, allow_nan=False)


def file_sum(path: Path) -> str:
    """Hash a file: SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write plain values as a JSON file, whole or not at all; a list of numbers is one line.

    Raises:
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "figures.json"
        >>> write_json(target, {"accuracies": [0.5, 0.75]})
        >>> print(target.read_text(), end="")
        {
         "accuracies": [0.5, 0.75]
        }
    """
    with atomic_write(path) as temporary:
        lines = to_json(document, indent=1) + "\n"
        temporary.write_text(_NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", lines))


class NewFolder(NamedTuple):
    """A folder in the making.

    Attributes:
        work: where to write.
        final: the name it gets when it is complete.
    """

    work: Path
    final: Path


def unfinished(final: Path) -> Path:
    """The folder in which `final` is made.

    Example:
        >>> unfinished(Path("runs/x")).name
        'x.unfinished'
    """
    return final.parent / f"{final.name}.unfinished"


@contextlib.contextmanager
def staged_directory(
    final: Path,
    *,
    numbered: bool,
    overwrite: bool,
    known: Collection[str],
    resume: bool = False,
    resumable: Callable[[Path], bool] = lambda _: False,
) -> Iterator[NewFolder]:
    """Give a folder `NAME.unfinished` to write in, renamed to `final` at the end.

    Until then an older folder of that name stays as it is. After an error or a kill the unfinished
    one is left, to be looked at or resumed; the next one of the same name replaces it. While it
    is written in it is locked, so that no second process writes to it.

    Args:
        final: the folder to make.
        numbered: if that is taken, take `final-2`, `final-3` and so on instead.
        overwrite: if that is taken, replace it at the end.
        known: the names of what may be replaced; a folder with anything else is never touched.
        resume: continue in the unfinished folder with what is there.
        resumable: whether an unfinished folder holds what should not be lost: then it counts as
            taken.

    Raises:
        OutputError: the folder is taken, locked or cannot be written.
    """
    final, work, lock = _claim(absolute(final), numbered, overwrite, known, resume, resumable)
    try:
        # What a killed process left; files of others' are not touched.
        left_over = [path for path in work.iterdir() if path.name != _LOCK]
        hidden = {path.name for path in left_over if path.name.startswith(".")}
        _check_free(work, True, {*known, *hidden})
        for path in left_over:
            if resume and path.name not in hidden:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        try:
            yield NewFolder(work, final)
        except BaseException:
            if [path.name for path in work.iterdir()] == [_LOCK]:
                shutil.rmtree(work)  # nothing to look at
            raise
        _check_free(final, overwrite, known)
        try:
            with tempfile.TemporaryDirectory(prefix=".replaced-", dir=final.parent) as trash:
                if final.exists():
                    final.rename(Path(trash) / final.name)
                if not _MOVES_OPEN_FILES:
                    lock.release()
                (work / _LOCK).unlink()
                work.rename(final)
        except OSError as error:
            raise _cannot_write(final, error) from None
    finally:
        lock.release()


def absolute(path: StrPath) -> Path:
    """The path with `~` and `..` resolved; pathlib's own way raises an error for `~nobody`.

    Example:
        >>> absolute(Path("/runs/../x")).as_posix()
        '/x'
    """
    return Path(os.path.abspath(os.path.expanduser(path)))


def _claim(
    final: Path,
    numbered: bool,
    overwrite: bool,
    known: Collection[str],
    resume: bool,
    resumable: Callable[[Path], bool],
) -> tuple[Path, Path, FileLock]:
    """The first name that is free, its unfinished folder, and the lock that is now held there."""
    for number in itertools.count(1):
        name = final if number == 1 else final.with_name(f"{final.name}-{number}")
        if numbered and name.exists():
            continue
        _check_free(name, overwrite, known)
        work = unfinished(name)
        lock = FileLock(work / _LOCK)
        try:
            work.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            if not numbered:
                raise OutputError(
                    f"another process is writing to {work}; wait for it, or choose another folder"
                ) from None
        except OSError as error:
            raise _cannot_write(name, error) from None
        else:
            if resume or overwrite or not resumable(work):
                return name, work, lock
            lock.release()
            if not numbered:
                raise OutputError(
                    f"{work} holds an unfinished run: resume it with --resume {name}, or give "
                    "--overwrite to start anew"
                )
    raise AssertionError("unreachable")


def _check_free(folder: Path, overwrite: bool, known: Collection[str]) -> None:
    try:
        present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise _cannot_write(folder, error) from None
    if folder.exists() and not os.access(
        folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise OutputError(f"cannot write {folder}: Permission denied; choose another place")
    strangers = [name for name in present if name not in {*known, _LOCK}]
    if strangers:
        raise OutputError(
            f"{folder} holds other files, such as {strangers[0]}; choose another folder"
        )
    if present and not overwrite:
        raise OutputError(f"{folder} is taken; choose another --out, or give --overwrite")


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}; choose another place")
