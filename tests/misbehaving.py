"""A web server on the loopback address that misbehaves in the ways that it is asked to."""

import contextlib
import functools
import hashlib
import http.server
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxdigits.data.specs import RemoteFile

PAGE = b"<html>Please log in</html>"

PROGRAM = """
import dataclasses, json, sys
from jaxdigits.data import preparation, specs
dataset, remote = sys.argv[1], json.loads(sys.argv[2])
remote = {name: specs.RemoteFile(**file) for name, file in remote.items()}
spec = dataclasses.replace(specs.SPECS[dataset], remote=remote)
specs.SPECS = preparation.SPECS = {**specs.SPECS, dataset: spec}
from jaxdigits import cli
sys.argv[:3] = ["jaxdigits"]
cli.program()
"""

KILLS = """
import json, os, pathlib, signal, sys, tempfile
import filelock, tensorflow_datasets
from jaxdigits import data
from jaxdigits.data import builders, downloads
name, files, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def child(place, last=None):
    # Prepare in a process that is killed when it has run `last` different lines of jaxdigits.data.
    with tempfile.NamedTemporaryFile() as report:
        process = os.fork()
        if process:
            status = os.waitpid(process, 0)[1]
            assert status == (0 if last is None else signal.SIGKILL), (last, status)
            return json.loads(pathlib.Path(report.name).read_text() or "null")
        seen = set()

        def line(frame, event, _):
            seen.add((frame.f_code.co_filename, frame.f_lineno))
            if len(seen) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return line

        def call(frame, *_):
            return line if "jaxdigits/data/" in frame.f_code.co_filename else None

        sys.settrace(call)
        try:
            folder = data.prepare(name, data_dir=place, manual_dir=files)
            sys.settrace(None)
            loaded = data.load(name, "test", data_dir=place)
            left = sorted(path.name for path in folder.parent.iterdir())
            report.write(json.dumps([len(seen), loaded.fingerprint.sha256, left]).encode())
            report.flush()
            os._exit(0)
        finally:
            os._exit(1)

with tempfile.TemporaryDirectory() as root:
    lines = child(f"{root}/whole")[0]
    found = []
    for number in range(count):
        place = f"{root}/{number}"
        child(place, 1 + (2 * number + 1) * lines // (2 * count))
        found.append(child(place)[1:])
print(json.dumps(found))
"""
"""Kill a preparation at lines all over its code, and prepare again; print what is there then."""


class Web:
    """What a server is to do, and what it was asked.

    Attributes:
        files: the content of each, by name: the last part of its path.
        url: where they are.
        ways: how to answer this GET, and the next ones, the last one forever; see `WAYS`.
        head: how to answer HEAD; None: as the next GET.
        asked: how each GET was answered, and the range that it asked for.
        closing: set when the server ends.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.url = ""
        self.ways = ["well"]
        self.head: str | None = "well"
        self.asked: list[tuple[str, str]] = []
        self.closing = threading.Event()

    @property
    def remote(self) -> dict[str, RemoteFile]:
        """The files as a dataset's spec has them."""
        return {
            name: RemoteFile(
                f"{self.url}/{name}", len(content), hashlib.sha256(content).hexdigest()
            )
            for name, content in self.files.items()
        }

    def program(self, dataset: str) -> list[str]:
        """What Python runs instead of `-m jaxdigits` to have a dataset's files come from here."""
        remote = json.dumps({name: vars(file) for name, file in self.remote.items()})
        return ["-c", PROGRAM, dataset, remote]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, web: Web, *arguments: Any) -> None:
        self.web = web
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        WAYS[self.web.head or self.web.ways[0]](self)

    def do_GET(self) -> None:
        way = self.web.ways.pop(0) if len(self.web.ways) > 1 else self.web.ways[0]
        self.web.asked.append((way, self.headers.get("Range", "")))
        self.close_connection = True
        WAYS[way](self)

    @property
    def content(self) -> bytes:
        return self.web.files[self.path.rpartition("/")[2]]

    def start(self, status: int, length: int | None, kind: str = "application/gzip", **more: str):
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": length, "Connection": "close", **more}
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, body: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(body)
            self.wfile.flush()

    def wait(self, seconds: float = 600.0) -> None:
        self.web.closing.wait(seconds)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may leave early."""


@contextlib.contextmanager
def serving(files: Mapping[str, bytes], tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serve files by name until the end of the block."""
    web = Web(files)
    with _Server(("127.0.0.1", 0), functools.partial(Handler, web)) as server:
        web.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield web
        finally:
            web.closing.set()
            server.shutdown()


def well(handler: Handler) -> None:
    """As a good server does, which knows ranges."""
    content = handler.content
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if asked is None:
        handler.start(200, len(content))
        return handler.send(content)
    first = int(asked[1])
    told = f"bytes {first}-{len(content) - 1}/{len(content)}"
    handler.start(206, len(content) - first, Content_Range=told)
    return handler.send(content[first:])


def well_without_ranges(handler: Handler) -> None:
    handler.start(200, len(handler.content))
    handler.send(handler.content)


def well_labeled(handler: Handler) -> None:
    """As some servers do with `.gz`, although nobody is to unpack it."""
    handler.start(200, len(handler.content), Content_Encoding="x-gzip")
    handler.send(handler.content)


def silent(handler: Handler) -> None:
    handler.wait()


def stall(handler: Handler) -> None:
    handler.start(200, len(handler.content))
    handler.send(handler.content[: len(handler.content) // 2])
    handler.wait()


def steady(handler: Handler) -> None:
    """Sends all, a block of 16 KiB after the other, with pauses."""
    handler.start(200, len(handler.content))
    for at in range(0, len(handler.content), 1 << 14):
        handler.send(handler.content[at : at + (1 << 14)])
        handler.wait(0.06)


def trickle(handler: Handler) -> None:
    handler.start(200, len(handler.content))
    for byte in handler.content:
        handler.send(bytes([byte]))
        handler.wait(0.05)


def trickling_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.web.closing.is_set():
        handler.wfile.write(b"x")
        handler.wait(0.05)


def truncated(handler: Handler) -> None:
    """Resumes where a range is asked for, and sends half of the rest again."""
    content = handler.content
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    first = int(asked[1]) if asked else 0
    told = f"bytes {first}-{len(content) - 1}/{len(content)}"
    more = {"Content_Range": told} if asked else {}
    handler.start(206 if asked else 200, len(content) - first, **more)
    handler.send(content[first : (first + len(content)) // 2])


def too_short(handler: Handler) -> None:
    handler.start(200, len(handler.content) // 2)
    handler.send(handler.content[: len(handler.content) // 2])


def too_long(handler: Handler) -> None:
    handler.start(200, len(handler.content) + 7)
    handler.send(handler.content + b"surplus")


def nonsense(handler: Handler) -> None:
    handler.start(200, None, Content_Length=5000 * "9" + "\x1b[2J")


def other_bytes(handler: Handler) -> None:
    handler.start(200, len(handler.content))
    handler.send(bytes(len(handler.content)))


def _chunk(handler: Handler, body: bytes) -> None:
    handler.send(b"%x\r\n%s\r\n" % (len(body), body))


def _chunked(handler: Handler, body: bytes, end: bytes = b"0\r\n\r\n") -> None:
    handler.start(200, None, Transfer_Encoding="chunked")
    for at in range(0, len(body), 4096):
        _chunk(handler, body[at : at + 4096])
    handler.send(end)


def chunked(handler: Handler) -> None:
    _chunked(handler, handler.content)


def chunked_other_bytes(handler: Handler) -> None:
    _chunked(handler, bytes(len(handler.content)))


def chunked_too_short(handler: Handler) -> None:
    _chunked(handler, handler.content[:-9])


def chunked_cut(handler: Handler) -> None:
    _chunked(handler, handler.content[: len(handler.content) // 2], b"1000\r\nxy")


def chunked_nonsense(handler: Handler) -> None:
    _chunked(handler, handler.content[: len(handler.content) // 2], b"no number\r\n\r\n")


def endless(handler: Handler) -> None:
    handler.start(200, None, Transfer_Encoding="chunked")
    with contextlib.suppress(OSError):
        while not handler.web.closing.is_set():
            _chunk(handler, bytes(1 << 16))


def page(handler: Handler) -> None:
    handler.start(200, len(PAGE), "text/html; charset=utf-8")
    handler.send(PAGE)


def chunked_page(handler: Handler) -> None:
    handler.start(200, None, "text/html", Transfer_Encoding="chunked")
    _chunk(handler, PAGE)
    handler.send(b"0\r\n\r\n")


def chunked_trickle(handler: Handler) -> None:
    handler.start(200, None, Transfer_Encoding="chunked")
    for byte in handler.content:
        _chunk(handler, bytes([byte]))
        handler.wait(0.05)


def login(handler: Handler) -> None:
    """Redirect to a page that asks to log in."""
    if handler.path == "/login":
        return page(handler)
    return handler.start(302, 0, Location=f"{handler.web.url}/login")


def circle(handler: Handler) -> None:
    handler.start(302, 0, Location=handler.path)


def nowhere(handler: Handler) -> None:
    handler.start(302, 0, Location="http://[broken")


def reset(handler: Handler) -> None:
    handler.start(200, len(handler.content))
    handler.send(handler.content[: len(handler.content) // 2])
    _reset(handler)


def reset_at_once(handler: Handler) -> None:
    _reset(handler)


def _reset(handler: Handler) -> None:
    """Close with RST, not FIN."""
    handler.wait(0.05)  # what was sent is to arrive before
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)
    handler.wfile.close()
    handler.rfile.close()
    handler.connection.close()


def gibberish(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")


def wrong_range(handler: Handler) -> None:
    """Sends from elsewhere than it was asked to."""
    content = handler.content
    handler.start(206, len(content) - 1, Content_Range=f"bytes 1-{len(content) - 1}/{len(content)}")
    handler.send(content[1:])


def _status(number: int) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.start(number, len(PAGE), "text/html")
        handler.send(PAGE)

    return answer


STATUSES = (403, 404, 405, 408, 416, 425, 429, 500, 501, 502, 503, 504)
"""With a page that explains it."""

WAYS: dict[str, Callable[[Handler], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        *(
            well,
            well_without_ranges,
            well_labeled,
            silent,
            stall,
            steady,
            trickle,
            trickling_headers,
            truncated,
        ),
        *(
            too_short,
            too_long,
            nonsense,
            other_bytes,
            chunked,
            chunked_other_bytes,
            chunked_too_short,
        ),
        *(
            chunked_cut,
            chunked_nonsense,
            endless,
            page,
            chunked_page,
            chunked_trickle,
            login,
            circle,
            nowhere,
        ),
        *(reset, reset_at_once, gibberish, wrong_range),
    )
} | {str(number): _status(number) for number in STATUSES}
"""How to answer, by name."""
