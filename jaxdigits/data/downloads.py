"""Download files, whatever the network does: whole and verified, or a sentence that says why not.

A download that breaks off is resumed: what has arrived of a file is kept in `NAME.part`, for the
next attempt and the next process, and gets its name once its hash is right. Nothing waits forever:
a thread asks, and is left behind where it does not return, as looking up a name has no time limit.
"""

import contextlib
import http
import http.client
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from jaxdigits.data.sources import how_to_get, verify
from jaxdigits.data.specs import DatasetSpec, RemoteFile
from jaxdigits.errors import DataError, DataUnavailableError

if TYPE_CHECKING:
    from requests import Response

ANSWER_SECONDS = 2.0
"""How long a host may take to answer before it counts as out of reach."""

STALL_SECONDS = 15.0
"""How long a block may take to arrive before the download counts as stalled."""

ATTEMPTS = 3
"""How often a file is asked for, where the connection breaks."""

PAUSE_SECONDS = 1.0
"""How long to wait before another attempt."""

_BLOCK_BYTES, _QUEUED = 1 << 14, 64
_SOON_OVER = (408, 425, 429, 500, 502, 503, 504)  # another attempt may find the server well


class _RefusedError(Exception):
    """A file cannot be downloaded; the message says why."""


class _BrokenError(_RefusedError):
    """A download broke off: another attempt may succeed."""


def check_host(spec: DatasetSpec, missing: list[RemoteFile], place: Path) -> None:
    """Find out within `ANSWER_SECONDS` whether the first of the missing files can be downloaded.

    Args:
        spec: the dataset.
        missing: its files that are to be downloaded.
        place: where it would be prepared, for the message.

    Raises:
        DataUnavailableError: it cannot; the message says why, and how to get the files by hand.
    """
    remote = missing[0]
    try:
        with _asking("HEAD", remote, 0, ANSWER_SECONDS) as (response, _):
            # Some servers know no HEAD; whether they have the file, the download shows.
            if response.status_code not in (405, 501):
                _check(response, remote, 0)
    except _RefusedError as error:
        raise DataUnavailableError(
            f"{spec.name} is not prepared in {place}, and {error}; {how_to_get(spec, missing)}",
            str(error),
        ) from None


def kept_files(spec: DatasetSpec, missing: list[RemoteFile], folder: Path) -> dict[str, Path]:
    """Find those of the missing files that were downloaded before, by name."""
    paths = ((remote, _path(spec, remote, folder)) for remote in missing)
    return {remote.name: path for remote, path in paths if _is_whole(path, remote)}


def download(spec: DatasetSpec, missing: list[RemoteFile], folder: Path) -> dict[str, Path]:
    """Download files of a dataset, and keep them.

    Args:
        spec: the dataset.
        missing: the files to download.
        folder: where to keep the downloads of all datasets.

    Returns:
        Their paths, by name.

    Raises:
        DataUnavailableError: a file could not be downloaded; the message says why, and how to get
            what is missing by hand.
        OSError: the folder cannot be written.
    """
    from filelock import FileLock

    found: dict[str, Path] = {}
    for remote in missing:
        path = _path(spec, remote, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path.parent / ".lock"):
                if not _is_whole(path, remote):
                    _download(remote, path)
        except _RefusedError as error:
            left = [one for one in missing if one.name not in found]
            again = "try again, or " if isinstance(error, _BrokenError) else ""
            raise DataUnavailableError(
                f"{spec.name} could not be downloaded: {error}; {again}{how_to_get(spec, left)}",
                str(error),
            ) from None
        found[remote.name] = path
    return found


def _path(spec: DatasetSpec, remote: RemoteFile, folder: Path) -> Path:
    """Where a download is kept: the splits of EMNIST share their archive."""
    return folder / "jaxdigits" / spec.name.partition("/")[0] / remote.name


def _is_whole(path: Path, remote: RemoteFile) -> bool:
    """Whether a file was downloaded before, and has not been damaged since."""
    try:
        verify(path, remote)
    except DataError:
        return False
    return True


def _download(remote: RemoteFile, path: Path) -> None:
    """Download a file in at most `ATTEMPTS` attempts."""
    part = path.with_name(f"{path.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _attempt(remote, part)
        except _BrokenError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            part.replace(path)
            return


def _attempt(remote: RemoteFile, part: Path) -> None:
    """Download what is missing of a file, and verify the whole."""
    resumed = part.stat().st_size if part.exists() else 0
    if resumed < remote.size:
        try:
            with part.open("ab") as file:
                _append(remote, file, resumed)
        except OSError:  # such as a full disk, which the part would keep full
            part.unlink(missing_ok=True)
            raise
        except _RefusedError:
            if part.stat().st_size == 0:
                part.unlink()
            raise
    try:
        verify(part, remote)
    except DataError:
        part.unlink()
        host, wrong = _host(remote), f"does not have the SHA-256 hash {remote.sha256}"
        # What it was appended to may be to blame.
        kind = _BrokenError if resumed else _RefusedError
        raise kind(f"{remote.name} from {host} is damaged, or another file: it {wrong}") from None


def _append(remote: RemoteFile, file: BinaryIO, offset: int) -> None:
    """Append the bytes of a file from an offset on, or write all where the server knows no ranges.

    Raises:
        _RefusedError: the server has another file, or none.
        _BrokenError: the connection broke, or nothing came for `STALL_SECONDS`.
    """
    from tqdm import tqdm

    host, of_it = _host(remote), f"of {remote.name}"
    options = {"unit": "B", "unit_scale": True, "leave": False}
    with (
        _asking("GET", remote, offset, STALL_SECONDS) as (response, blocks),
        tqdm(desc=remote.name, total=remote.size, disable=None, **options) as bar,
    ):
        size = offset if _continues(response, remote, offset) else 0
        if size or response.status_code in (200, 206, 416):
            file.truncate(size)
        _check(response, remote, size)
        bar.update(size)
        try:
            for block in blocks:
                size += len(block)
                if size > remote.size:
                    file.truncate(0)
                    raise _RefusedError(f"{host} sends more than the {remote.size:,} bytes {of_it}")
                file.write(block)
                bar.update(len(block))
        except _BrokenError as error:
            raise _BrokenError(f"{error} after {size:,} of {remote.size:,} bytes") from None
    if size < remote.size:
        raise _BrokenError(f"{host} ended {remote.name} after {size:,} of {remote.size:,} bytes")


def _continues(response: "Response", remote: RemoteFile, offset: int) -> bool:
    """Whether a response holds the rest of a file from an offset on."""
    told = response.headers.get("Content-Range", "")
    expected = f"bytes {offset}-{remote.size - 1}/{remote.size}"
    return response.status_code == 206 and told == expected


def _check(response: "Response", remote: RemoteFile, offset: int) -> None:
    """Refuse a response that cannot hold a file from an offset on.

    Raises:
        _RefusedError: it is an error, or of another length, such as a page that asks to log in.
        _BrokenError: it is an error that may be over soon.
    """
    host, status = _host(remote), response.status_code
    if status != (206 if offset else 200):
        passing = status in _SOON_OVER or status in (206, 416)  # asked again without a range
        with contextlib.suppress(ValueError):
            status = f"{status} ({http.HTTPStatus(status).phrase})"
        kind = _BrokenError if passing else _RefusedError
        raise kind(f"{host} answers {status} for {remote.name}")
    length, expected = response.headers.get("Content-Length"), remote.size - offset
    if length != str(expected) and response.headers.get("Content-Type", "").startswith("text/html"):
        raise _RefusedError(
            f"{host} sends a web page instead of {remote.name}, perhaps one to log in"
        )
    if length not in (None, str(expected)):
        number = (
            f"{int(length):,}" if re.fullmatch("[0-9]{1,15}", length) else "some other number of"
        )
        raise _RefusedError(f"{host} offers {number} bytes of {remote.name}, not {expected:,}")


@contextlib.contextmanager
def _asking(
    method: str, remote: RemoteFile, offset: int, seconds: float
) -> "Iterator[tuple[Response, Iterator[bytes]]]":
    """Ask for a file from an offset on, in a thread: give the response, and its blocks of bytes.

    Raises:
        _BrokenError: no response, or no block, came within `seconds`, or the connection broke.
        _RefusedError: the host, or the proxy before it, cannot be used.
    """
    import requests  # noqa: F401 (here, or the time that it takes would be the host's)

    received, gone = queue.Queue(_QUEUED), threading.Event()
    arguments = (method, remote.url, offset, seconds, received, gone)
    threading.Thread(target=_receive, args=arguments, daemon=True).start()
    try:
        items = _items(received, remote, seconds)
        response = next(items)
        yield response, items
    finally:
        gone.set()
        with contextlib.suppress(queue.Empty):  # let the thread that waits for room see it
            while True:
                received.get_nowait()


def _receive(
    method: str, url: str, offset: int, seconds: float, received: queue.Queue, gone: threading.Event
) -> None:
    """Put a response, its blocks, and None into a queue, or what was raised instead."""
    import requests

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    # Whoever reads the queue has given up before this timeout, which ends the thread.
    options = {"stream": True, "allow_redirects": True, "timeout": 2 * seconds}
    try:
        with requests.request(method, url, headers=headers, **options) as response:
            received.put(response)
            # Not decoded: some servers call a gzipped file an encoding of another one.
            for block in response.raw.stream(_BLOCK_BYTES, decode_content=False):
                received.put(block)
                if gone.is_set():
                    return
        received.put(None)
    except Exception as error:
        received.put(error)


def _items(received: queue.Queue, remote: RemoteFile, seconds: float) -> Iterator[Any]:
    """Yield what a thread receives, as long as a block arrives within `seconds`."""
    arrived, deadline = _BLOCK_BYTES, 0.0
    answered = False
    while True:
        if arrived >= _BLOCK_BYTES:
            arrived, deadline = 0, time.monotonic() + seconds
        try:
            item = received.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            what = "stalled for" if answered else "does not answer within"
            raise _BrokenError(f"{_host(remote)} {what} {seconds:g} seconds") from None
        if item is None:
            return
        if isinstance(item, Exception):
            raise _explained(item, remote) from None
        arrived += len(item) if isinstance(item, bytes) else 0
        answered = True
        yield item


def _explained(error: Exception, remote: RemoteFile) -> _RefusedError:
    """Say in a few words what went wrong with a connection."""
    import requests

    url, host, causes = remote.url, _host(remote), list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _RefusedError(
                f"the certificate of {host} is not accepted ({cause.verify_message}): where a "
                "proxy reads along, name its certificate in REQUESTS_CA_BUNDLE"
            )
    detail = _detail(causes)
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    if proxy and isinstance(error, requests.exceptions.ProxyError | ValueError):
        return _BrokenError(f"the proxy on the way to {host} cannot be used ({detail})")
    if isinstance(error, requests.TooManyRedirects | ValueError):
        return _RefusedError(f"{host} redirects to where no file is")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return _BrokenError(f"the address of {host} cannot be found ({detail})")
    if isinstance(causes[-1], http.client.IncompleteRead):
        return _BrokenError(f"{host} closed the connection")
    return _BrokenError(f"the connection to {host} failed ({detail})")


def _detail(causes: Sequence[BaseException]) -> str:
    """What the system said, or the name of what was raised first."""
    import requests

    for cause in reversed(causes):
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return cause.strerror or str(cause)
    names = [type(cause).__name__ for cause in causes if type(cause).__module__ != "builtins"]
    return (names or ["ValueError"])[-1]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _host(remote: RemoteFile) -> str:
    return urlsplit(remote.url).hostname or remote.url
