"""Writing files and folders so that a reader never sees half of one."""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxdigits.errors import OutputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, renamed to it at the end, or removed on an error.

    Raises:
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with replacing(target) as temporary:
        ...     _ = temporary.write_text("whole")
        ...     target.exists()
        False
        >>> target.read_text()
        'whole'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}-", path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)  # mkstemp keeps files to their owner
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from None


class NewFolder(NamedTuple):
    """A folder in the making.

    Attributes:
        work: where to write.
        final: the name it gets when it is complete.
    """

    work: Path
    final: Path


@contextlib.contextmanager
def making_folder(
    final: Path, *, numbered: bool, overwrite: bool, known: Collection[str]
) -> Iterator[NewFolder]:
    """Gives a folder `NAME.unfinished` to write in, renamed to `final` at the end.

    Until then an older folder of that name stays as it is. After an error or a kill the unfinished
    one is left, to be looked at; the next one of the same name replaces it. While it is written in
    it is locked, so that no second process writes to it.

    Args:
        final: the folder to make.
        numbered: if that is taken, take `final-2`, `final-3` and so on instead.
        overwrite: if that is taken, replace it at the end.
        known: the names of files that may be replaced; a folder with others is never touched.

    Raises:
        OutputError: the folder is taken, locked or cannot be written.
    """
    from filelock import FileLock, Timeout

    final = final.expanduser().absolute()
    for number in itertools.count(1):
        name = final if number == 1 else final.with_name(f"{final.name}-{number}")
        if numbered and name.exists():
            continue
        _check_free(name, overwrite, known)
        work = name.with_name(f"{name.name}.unfinished")
        lock = FileLock(work / ".lock")
        try:
            work.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            if numbered:
                continue
            raise OutputError(
                f"another process is writing to {work}; wait for it, or choose another --out"
            ) from None
        except OSError as error:
            _remove_if_empty(work)
            raise _cannot_write(name, error) from None
        break
    else:
        raise AssertionError("unreachable")
    with lock:
        # What a killed process left; files of others' are not touched.
        left_over = [path for path in work.iterdir() if path.name != ".lock"]
        _check_free(work, True, {*known, *(p.name for p in left_over if p.name.startswith("."))})
        for path in left_over:
            path.unlink()
        try:
            yield NewFolder(work, name)
        except BaseException:
            if [path.name for path in work.iterdir()] == [".lock"]:
                (work / ".lock").unlink()
                work.rmdir()
            raise
        _check_free(name, overwrite, known)
        try:
            (work / ".lock").unlink(missing_ok=True)
            if name.exists():
                # Two renames, not one: for a moment the old folder is called NAME.old.
                old = name.with_name(f"{name.name}.old")
                shutil.rmtree(old, ignore_errors=True)
                name.rename(old)
                work.rename(name)
                shutil.rmtree(old)
            else:
                work.rename(name)
        except OSError as error:
            raise _cannot_write(name, error) from None


def _check_free(folder: Path, overwrite: bool, known: Collection[str]) -> None:
    try:
        present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise _cannot_write(folder, error) from None
    if folder.exists() and not os.access(
        folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise OutputError(f"cannot write {folder}: Permission denied; choose another place")
    strangers = [name for name in present if name not in {*known, ".lock"}]
    if strangers:
        raise OutputError(
            f"{folder} holds other files, such as {strangers[0]}; choose another --out"
        )
    if present and not overwrite:
        raise OutputError(f"{folder} is taken; choose another --out, or give --overwrite")


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}; choose another place")
