"""Downloads where the network, the server, or the disk misbehaves."""

import contextlib
import http.client
import itertools
import json
import queue
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from helpers import Terminal, emnist_arrays, replace_remote
from misbehaving import KILLS, Web, serving
from tqdm import tqdm
from urllib3.exceptions import ProtocolError

import jaxdigits as jd
from jaxdigits import data
from jaxdigits.data import downloads
from jaxdigits.data.preparation import prepared_folder
from jaxdigits.data.specs import SPECS, RemoteFile
from jaxdigits.errors import DataError, DataUnavailableError

LETTERS = SPECS["emnist/letters"]
LARGE, LAST = LETTERS.files["train-images"], LETTERS.files["test-labels"]
PREPARE = ("data", "prepare", "emnist/letters")
KEPT = Path("datasets", "downloads", "jaxdigits", "emnist")


@pytest.fixture
def web(emnist_files, monkeypatch) -> Iterator[Web]:
    """A server of the files of emnist/letters."""
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.01)
    files = {name: (emnist_files / name).read_bytes() for name in LETTERS.files.values()}
    with serving(files) as web:
        replace_remote(monkeypatch, LETTERS, web.remote)
        yield web


def load() -> data.Dataset:
    return data.load("emnist/letters", "test")


def check_loaded() -> None:
    """All is as it was on the server, and nothing else is left."""
    np.testing.assert_array_equal(load().labels, emnist_arrays()["test-labels"] - 1)
    kept = [*LETTERS.files.values(), ".lock"]
    assert sorted(path.name for path in KEPT.iterdir()) == sorted(kept)


@pytest.mark.parametrize("way", ["well", "well without ranges", "well labeled", "chunked"])
def test_files_are_downloaded_once(web, way):
    web.ways = [way]
    check_loaded()
    assert web.asked == [(way, "")] * 4
    shutil.rmtree(prepared_folder(LETTERS))
    web.head = "404"  # the files that were downloaded are enough
    check_loaded()
    assert len(web.asked) == 4


ONCE = {
    "too short": "127.0.0.1 offers 101,969 bytes of emnist-.*-idx3-ubyte.gz, not 203,939",
    "too long": "offers 203,946 bytes of .*, not 203,939",
    "nonsense": "offers some other number of bytes of .*, not 203,939",
    "other bytes": "is damaged, or another file: it does not have the SHA-256 hash [0-9a-f]{64}",
    "chunked other bytes": "is damaged, or another file",
    "endless": "127.0.0.1 sends more than the 203,939 bytes of emnist-letters-train-images",
    "page": "sends a web page instead of emnist-letters.*, perhaps one to log in",
    "chunked page": "sends a web page",
    "login": "sends a web page",
    "circle": "redirects to where no file is",
    "nowhere": "redirects to where no file is",
    "403": r"127.0.0.1 answers 403 \(Forbidden\) for emnist-letters-train-images",
    "404": r"answers 404 \(Not Found\)",
    "405": r"answers 405 \(Method Not Allowed\)",
}
"""What no second attempt mends, and what is said of it."""

SLOW = {
    "silent": "127.0.0.1 does not answer within 0.4 seconds",
    "trickling headers": "does not answer within 0.4 seconds",
    "stall": "127.0.0.1 stalled for 0.4 seconds after [1-9][0-9,]+ of 203,939 bytes",
    "trickle": "stalled for 0.4 seconds after 0 of",
    "chunked trickle": "stalled for 0.4 seconds after [1-9] of",
}
"""What would never end."""

AGAIN = {
    "truncated": "closed the connection after [1-9][0-9,]+ of 203,939 bytes",
    "chunked too short": "127.0.0.1 ended emnist-.* after 203,930 of 203,939 bytes",
    "chunked cut": "closed the connection after [1-9][0-9,]+ of",
    "chunked nonsense": r"failed \(InvalidChunkLength\) after [1-9][0-9,]+ of",
    "reset": r"failed \(Connection reset by peer\) after [0-9,]+ of",
    "reset at once": r"the connection to 127.0.0.1 failed \(.*\); try again, or download",
    "gibberish": r"failed \(BadStatusLine\)",
    "wrong range": r"answers 206 \(Partial Content\)",
    "408": r"answers 408 \(Request Timeout\)",
    "416": "answers 416",
    "425": r"answers 425 \(Too Early\)",
    "429": r"answers 429 \(Too Many Requests\)",
    "500": r"answers 500 \(Internal Server Error\)",
    "502": r"answers 502 \(Bad Gateway\)",
    "503": r"answers 503 \(Service Unavailable\)",
    "504": r"answers 504 \(Gateway Timeout\)",
}
"""What another attempt may mend."""


@pytest.mark.parametrize("way", [*ONCE, *SLOW, *AGAIN])
def test_a_server_that_misbehaves(web, monkeypatch, way):
    web.ways = [way]
    with monkeypatch.context() as patched:
        if way in SLOW:
            patched.setattr(downloads, "STALL_SECONDS", 0.4)
            patched.setattr(downloads, "ATTEMPTS", 2)
        with pytest.raises(DataUnavailableError, match=(ONCE | SLOW | AGAIN)[way]) as caught:
            load()
    message = str(caught.value)
    assert message.startswith("emnist/letters could not be downloaded: ")
    assert ("try again, or download the following" in message) == (way not in ONCE)
    assert "name that folder with --manual-dir" in message
    assert web.remote[LARGE].sha256 in message
    hops = {"login": 2, "circle": 31}.get(way, 1)
    assert len(web.asked) == (hops if way in ONCE else 2 if way in SLOW else downloads.ATTEMPTS)
    assert not prepared_folder(LETTERS).exists()
    assert not (KEPT / LARGE).exists()
    parts = [path.stat().st_size for path in KEPT.glob("*.part")]
    assert (parts == []) if way in ONCE else all(parts)
    web.ways = ["well"]
    check_loaded()


@pytest.mark.parametrize(
    ("ways", "offsets"),
    [
        (["truncated", "well"], [0, 101_969]),
        (["truncated", "truncated", "well"], [0, 101_969, 152_954]),
        (["reset", "well without ranges"], [0, 98_304]),
        (["stall", "503", "well"], [0, 98_304, 98_304]),
        (["truncated", "wrong range", "well"], [0, 101_969, 0]),
        (["truncated", "416", "well"], [0, 101_969, 0]),
        (["chunked cut", "other bytes", "well"], [0, 98_304, 0]),
    ],
)
def test_a_download_is_resumed(web, monkeypatch, ways, offsets):
    """In the same command, where it broke off; from the beginning where that cannot be."""
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.4 if "stall" in ways else 15.0)
    web.ways = [*ways]
    check_loaded()
    asked = [int(told[6:-1] or 0) for _, told in web.asked]  # of "bytes=98304-"
    assert asked[: len(offsets)] == pytest.approx(offsets, abs=downloads._BLOCK_BYTES)
    assert len(asked) == len(offsets) + 3  # and the other files, at once


def test_a_steady_download_may_take_longer_than_a_stall(web, monkeypatch):
    """Each block has the time anew."""
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    web.ways = ["steady", "well"]
    check_loaded()


def test_a_whole_part_is_not_asked_for_again(web):
    """As of a process that was killed just before the file got its name."""
    KEPT.mkdir(parents=True)
    (KEPT / f"{LARGE}.part").write_bytes(web.files[LARGE])
    check_loaded()
    assert len(web.asked) == 3


def test_a_bar_shows_what_arrives_of_each_file(web, monkeypatch):
    """On a terminal; what was there before counts from the beginning."""
    terminal, seen = Terminal(), []
    close = tqdm.close

    def watched(bar: tqdm) -> None:
        if bar.desc.startswith(LARGE):
            seen.append((bar.n, bar.total))
        close(bar)

    monkeypatch.setattr(tqdm, "close", watched)
    monkeypatch.setattr(sys, "stderr", terminal)
    web.ways = ["truncated", "well"]
    downloads.download(SPECS["emnist/letters"], list(web.remote.values()), Path("kept"))
    assert f"{LARGE}: 0.00/204k B" in terminal.bars
    assert seen[-1] == (203_939, 203_939)
    assert sum(part for part, _ in seen) > 203_939


@pytest.mark.parametrize("way", ["silent", "endless"])
def test_the_thread_of_a_download_that_was_given_up_ends(web, way):
    """Whether it waits for the host, or for room."""
    web.ways = [way]
    asking = downloads._asking("GET", web.remote[LARGE], 0, 0.2)
    with contextlib.suppress(downloads._BrokenError), asking:
        time.sleep(0.2)  # more is received than anybody reads
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline and any(
        "_receive" in thread.name for thread in threading.enumerate()
    ):
        time.sleep(0.01)
    assert not any("_receive" in thread.name for thread in threading.enumerate())


def test_a_thread_waits_a_little_longer_than_its_reader(monkeypatch):
    """So that the reader says what happened, and the thread ends by itself."""
    asked = []

    def request(method: str, url: str, **options: object) -> None:
        assert options.pop("stream")
        assert options.pop("allow_redirects")  # also of HEAD
        asked.append((method, url, options.pop("timeout"), options.pop("headers")))
        raise requests.ConnectionError("x")

    monkeypatch.setattr(requests, "request", request)
    received = queue.Queue()
    for offset in (0, 5):
        downloads._receive("GET", "http://a/b", offset, 15.0, received, threading.Event())
        assert isinstance(received.get_nowait(), requests.ConnectionError)
    whole = {"Accept-Encoding": "identity"}
    assert [one[:2] for one in asked] == [("GET", "http://a/b")] * 2
    assert all(15 < one[2] <= 30 for one in asked)
    assert [one[3] for one in asked] == [whole, {**whole, "Range": "bytes=5-"}]


def test_who_gives_up_does_not_wait_for_the_connection(python):
    """The thread that still waits for the host does not keep the process."""
    code = (
        "import threading\n"
        "from jaxdigits.data import downloads, specs\n"
        "downloads._receive = lambda *_: threading.Event().wait(60)\n"
        "remote = specs.RemoteFile('http://localhost:9/a', 1, '')\n"
        "try:\n"
        "    with downloads._asking('GET', remote, 0, 0.1): pass\n"
        "except downloads._BrokenError: print('broken')\n"
    )
    done = python("-c", code, timeout=30)
    assert done.stdout == "broken\n", done.stderr


@pytest.mark.parametrize("left", [b"<html>Please log in</html>", bytes(300_000), bytes(203_939)])
def test_what_is_left_of_another_file_is_not_appended_to(web, left):
    KEPT.mkdir(parents=True)
    (KEPT / f"{LARGE}.part").write_bytes(left)
    check_loaded()


def test_a_download_that_was_damaged_later_is_repeated(web):
    check_loaded()
    shutil.rmtree(prepared_folder(LETTERS))
    (KEPT / LAST).write_bytes(bytes(56))
    check_loaded()
    assert len(web.asked) == 5


def test_only_what_is_missing_is_named(web):
    web.ways = ["well", "well", "404"]
    with pytest.raises(DataUnavailableError, match="answers 404") as caught:
        load()
    named = [name in str(caught.value) for name in LETTERS.files.values()]
    assert named == [False, False, True, True]


HEADS = {
    "silent": "127.0.0.1 does not answer within 0.25 seconds",
    "reset at once": "the connection to 127.0.0.1 failed",
    "page": "sends a web page",
    "login": "sends a web page",
    "too short": "offers 101,969 bytes",
    "circle": "redirects to where no file is",
    "404": r"answers 404 \(Not Found\)",
    "500": "answers 500",
}


@pytest.mark.parametrize("way", HEADS)
def test_a_host_that_cannot_help_is_given_up_at_once(web, monkeypatch, way):
    if way == "silent":
        monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.25)
    web.head = way
    with pytest.raises(DataUnavailableError, match=f"is not prepared in .*{HEADS[way]}") as caught:
        load()
    assert re.search(HEADS[way], caught.value.reason)
    named = way in ("page", "login", "too short", "404", "500")
    assert (LARGE in caught.value.reason) == named  # the first of those that are missing
    assert web.asked == []
    assert not Path("datasets").exists()


def test_it_waits_before_another_attempt(web, monkeypatch):
    waits = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    web.ways = ["truncated", "503", "well"]
    check_loaded()
    assert waits == [downloads.PAUSE_SECONDS] * 2


@pytest.mark.parametrize("status", ["405", "501"])
def test_a_server_that_knows_no_head(web, status):
    web.head = status
    check_loaded()


def test_the_usual_patience():
    """A host out of reach is given up in 2 seconds, a stall in a minute."""
    assert downloads.ANSWER_SECONDS <= 2
    waited = downloads.STALL_SECONDS + downloads.PAUSE_SECONDS
    assert downloads.ATTEMPTS * waited <= 60 - downloads.ANSWER_SECONDS


def elsewhere(monkeypatch, address: str) -> None:
    remote = {name: RemoteFile(f"{address}/{name}", 1, "0") for name in LETTERS.files.values()}
    replace_remote(monkeypatch, LETTERS, remote)


@pytest.mark.parametrize("host", ["unknown", "waits"])
def test_a_name_that_cannot_be_looked_up(monkeypatch, host):
    over = threading.Event()

    def look_up(*_: object, **__: object):
        if host == "waits":
            over.wait(30)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.25)
    monkeypatch.setenv("no_proxy", "*")
    elsewhere(monkeypatch, "http://digits.invalid")
    expected = {
        "unknown": r"the address of digits.invalid cannot be found \(Name or service not known\)",
        "waits": "digits.invalid does not answer within 0.25 seconds",
    }
    with pytest.raises(DataUnavailableError, match=expected[host]):
        load()
    over.set()


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("http://me:secret@127.0.0.1:9", "Connection refused"),
        ("nonsense://127.0.0.1:9", "ProxySchemeUnknown"),
        ("http://", "InvalidProxyURL"),
        ("http://[::1", "LocationParseError"),
    ],
)
def test_a_proxy_that_cannot_be_used(monkeypatch, proxy, reason):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, proxy)
    for scheme in ("http", "https"):
        elsewhere(monkeypatch, f"{scheme}://digits.invalid")
        words = rf"the proxy on the way to digits.invalid cannot be used \({reason}\)"
        with pytest.raises(DataUnavailableError, match=words) as caught:
            load()
        assert "secret" not in str(caught.value)


def test_a_proxy_serves_all(web, monkeypatch):
    """Files are asked for where the environment says."""
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, web.url)
    there = {
        name: RemoteFile(f"http://digits.invalid/{name}", file.size, file.sha256)
        for name, file in web.remote.items()
    }
    replace_remote(monkeypatch, LETTERS, there)
    check_loaded()


def test_a_certificate_that_is_not_accepted(web, monkeypatch, tmp_path):
    openssl = shutil.which("openssl") or pytest.skip("openssl is needed to make a certificate")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = (
        f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
    )
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key]
    subprocess.run([*make.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(web.files, context) as secure:
        replace_remote(monkeypatch, LETTERS, secure.remote)
        with pytest.raises(DataUnavailableError, match=r"certificate of 127.0.0.1 .*\(self.signed"):
            load()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
        with pytest.raises(DataUnavailableError, match="Could not find a suitable TLS CA"):
            load()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        check_loaded()


def test_a_server_without_tls(web, monkeypatch):
    elsewhere(monkeypatch, web.url.replace("http:", "https:"))
    with pytest.raises(DataUnavailableError, match=r"the connection to 127.0.0.1 failed \(\[SSL"):
        load()


BROKEN = {
    "failed (the disk)": [
        requests.ConnectionError(),
        PermissionError(13, "x"),
        OSError(5, "the disk"),
    ],
    "failed (no number)": [requests.ConnectionError("x"), OSError("no number")],
    "failed (ProtocolError)": [requests.ConnectionError(), ProtocolError("x"), KeyError("x")],
    "failed (BadStatusLine)": [ProtocolError("x"), http.client.BadStatusLine("x")],
    "failed (LineTooLong)": [
        *(requests.ConnectionError(), ProtocolError("x"), http.client.LineTooLong("x")),
    ],
    "failed (IncompleteRead)": [ProtocolError("x"), http.client.IncompleteRead(b""), KeyError("x")],
    "closed the connection": [ProtocolError("x"), KeyError("x"), http.client.IncompleteRead(b"")],
    "the address of 127.0.0.1 cannot be found (who?)": [
        *(requests.ConnectionError(), socket.gaierror(1, "who?"), KeyError("x")),
    ],
}
"""What was raised for another reason, and that for another, and the words for it."""


@pytest.mark.parametrize("words", BROKEN)
@pytest.mark.parametrize("kind", ["__cause__", "__context__"])
def test_what_broke_is_said_in_the_words_of_the_system(words, kind):
    for error, reason in itertools.pairwise(BROKEN[words]):
        error.__cause__ = None
        setattr(error, kind, reason)
    found = downloads._explained(BROKEN[words][0], RemoteFile("http://127.0.0.1:9/a", 1, ""))
    assert type(found) is downloads._BrokenError
    assert str(found).endswith(words)
    assert downloads._host(RemoteFile("a", 1, "")) == "a"  # an address without a host
    assert RemoteFile("a", 1, "").name == "a"


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk: no file may grow beyond some bytes."""
    resource = pytest.importorskip("resource", reason="limits are set as on Unix")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("size", "given", "reason"),
    [
        (100_000, False, "File too large"),  # the download
        (100_000, True, "the disk may be full"),  # the arrays
        (250_000, False, "File too large"),  # the records
    ],
)
def test_a_full_disk(web, emnist_files, monkeypatch, size, given, reason):
    if given:
        monkeypatch.setenv("JAXDIGITS_MANUAL_DIR", str(emnist_files))
    message = f"could not be prepared in .*: {reason}.*; choose another place with --data-dir"
    with largest_file(size), pytest.raises(DataError, match=message):
        load()
    assert not list(KEPT.glob("*.part"))
    assert [path.name for path in prepared_folder(LETTERS).parent.iterdir()] == [".lock"]
    monkeypatch.delenv("JAXDIGITS_MANUAL_DIR", raising=False)
    check_loaded()


def test_a_download_that_cannot_be_begun(read_only):
    """The error is the system's, not one about a part that is not there."""
    with pytest.raises(PermissionError):
        downloads._attempt(RemoteFile("http://127.0.0.1:9/a", 1, ""), read_only / "a.part")


def test_a_fault_of_the_library_s_is_no_full_disk(emnist_files, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("jaxdigits.data.arrays.write", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        data.load("emnist/letters", "test", manual_dir=emnist_files)


def test_commands_say_it_in_one_sentence(web, cli):
    web.ways = ["404"]
    for command in (
        PREPARE,
        ("train", "--dataset", "emnist/letters", "--model", "linear"),
    ):
        code, out, err = cli(*command)
        assert (code, out) == (2, "")
        assert err.startswith(
            "jaxdigits: emnist/letters could not be downloaded: 127.0.0.1 answers"
        )
    with pytest.raises(DataUnavailableError, match="answers 404"):
        jd.load_training_data("emnist/letters")
    web.ways = ["well"]
    code, out, _ = cli(*PREPARE, "--json")
    assert (code, load().fingerprint.sha256 in out) == (0, True)
    assert len(jd.load_training_data("emnist/letters").train.labels) == 238


def test_without_a_choice_the_digits_inside_are_taken(web, monkeypatch, notes):
    """Also where the download breaks off."""
    there = {name: RemoteFile(f"{web.url}/{LARGE}", 203_939, "0") for name in SPECS["mnist"].remote}
    replace_remote(monkeypatch, SPECS["mnist"], there)
    web.ways = ["truncated"]
    assert data.choose_dataset() == "digits"
    assert len(notes) == 1
    assert notes[0].startswith("MNIST is not prepared, and 127.0.0.1 closed the connection after ")


def test_killed_while_it_downloads(web):
    web.ways = ["stall", "well"]
    command = [sys.executable, *web.program("emnist/letters"), *PREPARE]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    part = KEPT / f"{LARGE}.part"
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not prepared_folder(LETTERS).exists()
    check_loaded()
    assert web.asked[1][1].startswith("bytes=")


def test_two_processes_download_at_once(web):
    command = [sys.executable, *web.program("emnist/letters"), *PREPARE]
    both = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    check_loaded()
    assert len(web.asked) == 4


def test_killed_while_it_prepares(emnist_files, python):
    """At lines all over its code; prepared again, the dataset is the same."""
    done = python("-c", KILLS, "emnist/letters", str(emnist_files), "4")
    assert (done.returncode, done.stderr) == (0, "")
    expected = data.load("emnist/letters", "test", manual_dir=emnist_files).fingerprint.sha256
    assert json.loads(done.stdout) == 4 * [[expected, [".lock", "1.0.0"]]]
