"""The page that is served: to this machine, to its own origin, and to who has the key."""

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.errors import OutputError
from jaxdigits.web import PageServer

SAMPLE = Path(__file__).parents[2] / "experiments" / "samples" / "note.jpg"


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer(jd.load("digits")) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def ask(server, path="", body=None, **headers):
    """The status of an answer, and what it says."""
    url = f"http://127.0.0.1:{server.server_port}/{path}"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, names), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_page(server):
    status, page = ask(server, f"?key={server.key}")
    assert (status, page[:15]) == (200, "<!doctype html>")
    assert server.url.endswith(f"/?key={server.key}")


def test_a_drawing(server):
    ink = np.zeros((280, 280), np.uint8)
    ink[40:240, 130:150] = 255
    status, text = ask(server, "look?height=280&width=280", ink.tobytes(), X_Key=server.key)
    document = json.loads(text)
    assert status == 200
    assert int(np.argmax(document["probabilities"])) == 1
    image = np.array(document["data"], np.uint8).reshape(28, 28)
    np.testing.assert_allclose(
        jd.load("digits").predict_proba(image[None])[0], document["probabilities"], rtol=1e-5
    )
    assert len(document["saliency"]) == 784
    assert min(document["saliency"]) >= 0


def test_a_photo(server):
    status, text = ask(server, "read", SAMPLE.read_bytes(), X_Key=server.key)
    assert status == 200
    assert json.loads(text)["text"] == "314 159\n2653 8"


@pytest.mark.parametrize(
    ("path", "headers", "status", "message"),
    [
        ("", {}, 403, "the key is missing"),
        ("?key=wrong", {}, 403, "the key is missing"),
        ("?key={key}", {"Host": "example.com"}, 403, "answers its own address alone"),
        ("?key={key}", {"Origin": "https://example.com"}, 403, "answers its own address alone"),
        ("secret?key={key}", {}, 404, "no such page"),
    ],
)
def test_other_sites_get_nothing(server, path, headers, status, message):
    found, text = ask(server, path.format(key=server.key), **headers)
    assert found == status
    assert message in text


@pytest.mark.parametrize("origin", ["https://example.com", "http://localhost:1", "null"])
def test_other_origins_read_nothing(server, origin):
    status, text = ask(server, "read", SAMPLE.read_bytes(), X_Key=server.key, Origin=origin)
    assert status == 403
    assert "answers its own address alone" in json.loads(text)["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("look?height=2&width=3", b"four", 400, "a drawing has height x width bytes"),
        ("look?height=-2&width=-2", b"four", 400, "a drawing has height x width bytes"),
        ("look", b"four", 400, "a drawing has height x width bytes"),
        ("look?height=2&width=2", bytes(4), 422, "there is no ink"),
        ("read", b"no photo", 422, "the photo cannot be read"),
        ("write", b"", 404, "no such page"),
    ],
)
def test_bad_requests(server, path, body, status, message):
    found, text = ask(server, path, body, X_Key=server.key)
    assert found == status
    assert message in json.loads(text)["error"]


def test_a_network_that_no_browser_runs():
    """The server runs it."""
    pixel = jd.fit(jd.TrainConfig(dataset="digits", model="pixel"))
    with PageServer(pixel) as server:
        assert b'"remote": true' in server.page
        assert len(server.page) < 40_000


def test_a_port_that_is_taken(server):
    with pytest.raises(OutputError, match=f"cannot listen on port {server.server_port}: "):
        PageServer(jd.load("digits"), server.server_port)


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "jaxdigits", "draw", "--network", "letters", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address) as answer:
            assert "emnist/letters" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_it_learns_from_corrections(tmp_path):
    hand = tmp_path / "mine.hand"
    ink = np.zeros((280, 280), np.uint8)
    for step in range(90):
        ink[60 + step : 76 + step, 170 - step : 186 - step] = 255
    ink[60:230, 170:186] = 255
    drawing = "height=280&width=280"
    with PageServer(jd.load("digits"), hand=hand) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def tell(path: str, body: bytes = ink.tobytes()):
            status, text = ask(server, path, body, X_Key=server.key)
            return status, json.loads(text)

        def best() -> int:
            return int(np.argmax(tell(f"look?{drawing}")[1]["probabilities"]))

        try:
            assert b'"teach": true' in server.page
            assert best() == 7
            assert tell("forget", b"x")[1]["error"] == "the hand has no corrections to take back"
            assert tell(f"teach?{drawing}&name=x")[0] == 422
            assert not hand.exists()
            status, found = tell(f"teach?{drawing}&name=1")
            assert (status, found) == (200, {"told": "learned: 7 is 1"})
            assert best() == 1
            assert [one.name for one in jd.handwriting.open_hand(hand).corrections] == ["1"]
            assert tell(f"teach?{drawing}&name=1")[1]["told"] == "it is already read as that"
            # Another process adds to the file.
            known = jd.handwriting.open_hand(hand)
            other = jd.handwriting.Correction(np.full((28, 28), 9, np.uint8), "3", "5")
            jd.handwriting.save_hand(known.add([other]), hand)
            assert tell("forget", b"x") == (200, {"told": "removed: 5 is 3"})
            assert best() == 1
            assert tell("forget", b"x") == (200, {"told": "removed: 7 is 1"})
            assert best() == 7
        finally:
            server.shutdown()
            thread.join()
    assert jd.handwriting.open_hand(hand).corrections == ()


def test_without_a_file_it_learns_nothing(server):
    assert b'"teach": true' not in server.page
    assert ask(server, "teach?name=1", b"x", X_Key=server.key)[0] == 404
