"""Serve the page to this machine alone, for any network; it reads photos too.

The server listens on the loopback address. Other sites that are open in the same browser cannot use
it: the address holds a key that they don't know, and requests for another host or from another
origin are refused.
"""

import base64
import io
import json
import secrets
import tempfile
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from jaxdigits.errors import ConfigError, DataError, OutputError
from jaxdigits.files import changing
from jaxdigits.handwriting import (
    Hand,
    correct,
    draw_reading,
    open_or_new,
    open_picture,
    read,
    save_hand,
    teach,
)
from jaxdigits.handwriting.finding import to_image
from jaxdigits.runs.export.page import make_page, make_remote_page, runs_in_browser
from jaxdigits.runs.run import Run, logits_of
from jaxdigits.transforms.scaling import unit_pixels

HOST = "127.0.0.1"
MOST_BYTES = 50_000_000
"""Of a photo."""

MOST_SIDE = 2_000
"""Pixels of a drawing."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _RefusedError(Exception):
    """What is wrong with a request, with the status to answer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class PageServer(ThreadingHTTPServer):
    """A server of the page for one network; `serve_forever` answers until `shutdown`.

    Attributes:
        run: the network, with what it was taught.
        key: what the address must hold.
        url: the address.
    """

    daemon_threads = True

    def __init__(self, run: Run, port: int = 0, hand: Path | None = None) -> None:
        """Listen.

        Args:
            run: any network.
            port: 0 for a free one.
            hand: a file of corrections, which those made on the page are added to; it is made with
                the first one.

        Raises:
            OutputError: the port is taken.
            DataError: the hand cannot be read.
            ConfigError: it is of other networks.

        Example:
            >>> import jaxdigits as jd
            >>> with PageServer(jd.load("digits")) as server:
            ...     server.url.startswith("http://127.0.0.1:")
            True
        """
        self._untaught, self._path, self._lock = run, hand and Path(hand), threading.Lock()
        self.run = teach(run, self._hand())
        self.key = secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = str(error).rstrip(".")
            raise OutputError(f"cannot listen on port {port}: {reason}; choose another") from None
        in_browser = hand is None and runs_in_browser(run)
        page = make_page(run) if in_browser else make_remote_page(run, teach=bool(hand))
        self.page = page.encode()
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.url = f"http://{HOST}:{self.server_port}/?key={self.key}"

    def teach(self, ink: UInt8[np.ndarray, "height width"], name: str) -> dict[str, Any]:
        """Learn what a drawing shows, in the file too; what was learned, in plain values.

        Raises:
            DataError: nothing is drawn.
            ConfigError: the network has no such class.
            OutputError: the file cannot be written.
        """
        assert self._path is not None
        with self._lock:
            learned = correct(self.run, to_image(ink, self.run), name, "drawn on the page")
            if learned is None:
                return {"told": "it is already read as that"}
            with changing(self._path):
                self._keep(self._hand().add([learned]))
            return {"told": f"learned: {learned.read} is {learned.name}"}

    def forget(self) -> dict[str, Any]:
        """Take the last correction back.

        Raises:
            ConfigError: there is none.
            OutputError: the file cannot be written.
        """
        assert self._path is not None
        with self._lock, changing(self._path):
            hand = self._hand()
            kept = hand.without(len(hand.corrections))
            self._keep(kept)
            last = hand.corrections[-1]
            return {"told": f"removed: {last.read} is {last.name}"}

    def _hand(self) -> Hand:
        """What the file holds now: others may have added to it."""
        run = self._untaught
        return Hand.of(run) if self._path is None else open_or_new(self._path, run)

    def _keep(self, hand: Hand) -> None:
        assert self._path is not None
        save_hand(hand, self._path)
        self.run = teach(self._untaught, hand)

    @property
    def learns(self) -> bool:
        """Whether there is a file for corrections."""
        return self._path is not None


class _Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version = "jaxdigits"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page."""
        try:
            address = urlsplit(self.path)
            self._check(parse_qs(address.query).get("key", [""])[0])
            if address.path != "/":
                raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        except _RefusedError as refused:
            self._answer(refused.status, "text/plain; charset=utf-8", f"{refused}\n".encode())

    def do_POST(self) -> None:
        """Read a drawing or a photo; the answer is JSON."""
        try:
            self._check(self.headers.get("X-Key", ""))
            address = urlsplit(self.path)
            body = self._body()
            query = parse_qs(address.query)
            if address.path == "/look":
                document = look(self.server.run, _drawing(body, query))
            elif address.path == "/teach" and self.server.learns:
                document = self.server.teach(_drawing(body, query), query.get("name", [""])[0])
            elif address.path == "/forget" and self.server.learns:
                document = self.server.forget()
            elif address.path == "/read":
                document = _read_photo(self.server.run, body)
            else:
                raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
            self._answer_json(HTTPStatus.OK, document)
        except _RefusedError as refused:
            self._answer_json(refused.status, {"error": str(refused)})
        except (ConfigError, DataError, OutputError) as error:
            self._answer_json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def _check(self, key: str) -> None:
        """Refuse names of others that point here, pages of other origins, and those with no key."""
        origin = self.headers.get("Origin")
        host = self.headers.get("Host", "")
        if host not in self.server.hosts or origin not in (None, f"http://{host}"):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "this page answers its own address alone")
        if not secrets.compare_digest(key.encode(), self.server.key.encode()):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, "the key is missing: open the address that was printed"
            )

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "the length is missing")
        if int(length) > MOST_BYTES:
            self.close_connection = True
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a photo has at most {MOST_BYTES // 1_000_000} MB; reduce it",
            )
        return self.rfile.read(int(length))

    def _answer_json(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(document).encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def look(run: Run, ink: UInt8[np.ndarray, "height width"]) -> dict[str, Any]:
    """Read one drawn character, in plain values: image, probabilities, and saliency.

    Args:
        run: the network.
        ink: the character, pixels 0..255, bright on 0.

    Raises:
        DataError: nothing is drawn.

    Example:
        >>> import jaxdigits as jd
        >>> ink = np.zeros((280, 280), np.uint8)
        >>> ink[40:240, 130:150] = 255
        >>> found = look(jd.load("digits"), ink)
        >>> max(found["probabilities"]) == found["probabilities"][1]
        True
    """
    image = to_image(ink, run)
    probabilities = run.predict_proba(image[None])[0]
    saliency = saliency_of(run, image, int(probabilities.argmax()))
    seen = image if image.ndim == 2 else image[..., 0]
    return {
        "height": seen.shape[0],
        "width": seen.shape[1],
        "data": seen.reshape(-1).tolist(),
        "probabilities": probabilities.tolist(),
        "saliency": saliency.reshape(-1).tolist(),
    }


def saliency_of(
    run: Run, image: UInt8[np.ndarray, "height width *channels"], label: int
) -> Float32[np.ndarray, "height width"]:
    """Measure how much each pixel matters for a class: |d logit / d pixel|, summed over channels.

    Simonyan, Vedaldi and Zisserman, arXiv 1312.6034.

    Args:
        run: the network.
        image: pixels 0..255.
        label: of the class.

    Example:
        >>> import jaxdigits as jd
        >>> saliency_of(jd.load("digits"), np.zeros((28, 28), np.uint8), 3).shape
        (28, 28)
    """
    gradient_of = jax.grad(lambda pixels: logits_of(run, pixels[None])[0, label])
    gradient = np.abs(np.asarray(gradient_of(unit_pixels(jax.device_put(image)))))
    return gradient if gradient.ndim == 2 else gradient.sum(axis=2)


def _drawing(body: bytes, query: Mapping[str, list[str]]) -> UInt8[np.ndarray, "height width"]:
    """Return the ink of a drawing, a byte a pixel."""
    words = [query.get(name, [""])[0] for name in ("height", "width")]
    sides = [int(word) if word.isdecimal() and len(word) < 6 else 0 for word in words]
    if not all(0 < side <= MOST_SIDE for side in sides) or len(body) != sides[0] * sides[1]:
        raise _RefusedError(
            HTTPStatus.BAD_REQUEST, f"a drawing has height x width bytes, sides up to {MOST_SIDE}"
        )
    return np.frombuffer(body, np.uint8).reshape(sides)


def _read_photo(run: Run, body: bytes) -> dict[str, Any]:
    """Read a picture file, and draw what was read into it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo"
        path.write_bytes(body)
        try:
            picture = open_picture(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), "the photo")) from None
    reading = read(picture, run)
    drawn = io.BytesIO()
    draw_reading(picture, reading).save(drawn, "PNG")
    return {**reading.as_dict(), "picture": base64.b64encode(drawn.getvalue()).decode()}
