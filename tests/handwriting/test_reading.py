"""From what was found in a picture to what it says."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

import jaxdigits as jd
from jaxdigits.errors import DataError
from jaxdigits.handwriting import Character, Reading, read, read_files, reading
from jaxdigits.handwriting.parting import Piece

NAMES = ("0", "1", "b", "l", "o")


def character(**changes: Any) -> Character:
    place = {"top": 1, "left": 2, "bottom": 5, "right": 4, "line": 0, "after_space": False}
    return Character(**{**place, "ink": np.zeros((12, 10), np.uint8), **changes})


def row(**probabilities: float) -> np.ndarray:
    """Of `NAMES`; digits as `_0`."""
    return np.array(
        [probabilities.get(name, probabilities.get(f"_{name}", 0.0)) for name in NAMES], np.float32
    )


def reading_of(characters: Sequence[Character], rows: Sequence[np.ndarray], **more: Any) -> Reading:
    images = np.zeros((len(characters), 28, 28), np.uint8)
    return Reading(characters, images, np.stack(rows), NAMES, **more)


def test_signs_are_as_sure_as_the_page_network() -> None:
    """And nothing else; a space stands before one as before characters."""
    found = reading_of(
        [
            character(),
            character(sign="-", certainty=0.6, after_space=True, top=3, left=6, bottom=4, right=9),
            character(line=1, after_space=True),
            character(sign=".", certainty=0.4, line=1),
            character(line=3),
        ],
        [row(b=0.8, l=0.2), row(b=0.9, l=0.1), row(l=0.5, _1=0.375), row(o=1.0), row(_0=0.625)],
        threshold=0.5,
        least=0.25,
    )
    assert found.names == ["b", "-", "l", ".", "0"]
    assert found.confidences == pytest.approx([0.8, 0.6, 0.5, 0.4, 0.625])
    assert found.sure == [True, True, True, False, True]
    assert found.sets == [("b",), ("-",), ("l", "1"), (".",), ("0",)]
    assert found.text == "b -\n[l1]?\n0"
    given = found.as_dict()
    assert (given["text"], given["degrees"]) == (found.text, 0.0)
    second = [(one["second"], one["second_confidence"]) for one in given["characters"]]
    assert second == [
        ("l", pytest.approx(0.2)),
        (None, None),
        ("1", pytest.approx(0.375)),
        (None, None),
        ("1", 0.0),
    ]
    assert given["characters"][1] == {
        "character": "-",
        "confidence": pytest.approx(0.6),
        "sure": True,
        "second": None,
        "second_confidence": None,
        "line": 0,
        "box": [6, 3, 9, 4],
        "set": ["-"],
    }
    assert [one["set"] for one in given["characters"]] == [list(names) for names in found.sets]


def test_what_is_not_asked_for() -> None:
    """Everything is sure, nothing may be anything else, and the page is upright."""
    found = reading_of([character(), character()], [row(b=0.0), row(o=0.5, l=0.5)])
    assert found.sure == [True, True]
    assert found.sets == [("0",), ("l",)]
    assert found.as_dict()["degrees"] == 0.0
    assert "set" not in found.as_dict()["characters"][0]


def test_what_neighbors_have_settled() -> None:
    """The label that was chosen counts; the other guess is then the most probable one."""
    found = reading_of(
        [character()] * 3,
        [row(_0=0.5, o=0.375), row(_1=0.5, l=0.25, b=0.125), row(l=0.75, _1=0.25)],
        labels=np.array([4, 2, 3]),
        least=0.25,
        degrees=-90.0,
    )
    assert found.names == ["o", "b", "l"]
    assert found.confidences == [0.375, 0.125, 0.75]
    assert found.sets == [("o", "0"), ("b", "1", "l"), ("l", "1")]
    given = found.as_dict()
    assert [one["second"] for one in given["characters"]] == ["0", "1", "1"]
    assert given["degrees"] == -90.0


def test_classes_that_are_as_probable_stay_in_order() -> None:
    """Half of them are probable, and the others less."""
    names = tuple(map(str, range(40)))
    row = np.where(np.arange(40) % 2, np.float32(0.04), np.float32(0.01))
    found = dataclasses.replace(
        reading_of([character()], [row], least=0.01 - 1e-6), class_names=names
    )
    assert found.sets == [(*names[1::2], *names[::2])]
    given = found.as_dict()["characters"][0]
    assert (given["character"], given["second"]) == ("1", "3")


@pytest.fixture
def run() -> jd.Run:
    return dataclasses.replace(jd.load("digits"), class_names=NAMES)


@pytest.fixture
def finding(monkeypatch: pytest.MonkeyPatch):
    """Have these found in whatever picture; gives the list of ways that were asked for."""

    def finding(pieces: list[Piece], *, by_strokes: bool = False) -> list[str]:
        ways: list[str] = []

        def find_pieces(picture: np.ndarray, run: jd.Run, way: str):
            del run
            assert picture.shape[2] == 3
            ways.append(way)
            return pieces, 12.0, by_strokes

        monkeypatch.setattr(reading, "find_pieces", find_pieces)
        return ways

    return finding


def piece(probabilities: np.ndarray, each: float = 1.0, **changes: Any) -> Piece:
    image = np.full((28, 28), round(100 * float(probabilities.max())), np.uint8)
    return Piece(character(**changes), image, probabilities, each)


PAGE = np.zeros((8, 8), np.uint8)


def test_words_are_settled_one_by_one(finding, run) -> None:
    """A 1 beside an o is rather an l; beside a 0 and behind a space or a sign it is none."""
    unsure, o, zero = row(_1=0.55, l=0.45), row(o=0.9, _0=0.1), row(_0=0.9, o=0.1)
    ways = finding(
        [
            *(piece(unsure), piece(o)),
            *(piece(unsure, after_space=True), piece(zero), piece(row(b=1.0), sign="-")),
            *(piece(o, line=1), piece(unsure, line=1)),
        ]
    )
    found = read(PAGE, run, spelling="none")
    assert found.text == "lo 10-\nol"
    assert (found.threshold, found.least, found.degrees) == (0.0, None, 12.0)
    assert found.images[:, 0, 0].tolist() == [55, 90, 55, 90, 100, 90, 55]
    np.testing.assert_array_equal(found.probabilities[3], zero)
    assert found.class_names == NAMES
    assert ways == ["auto"]


@pytest.mark.parametrize(
    ("pieces", "least", "by_strokes"), [(5, 0.8, True), (1, 0.4, False), (3, 0.4, False)]
)
def test_what_is_like_none_of_the_classes(finding, run, pieces, least, by_strokes) -> None:
    """By half of what is clear of each: 80% of five or more strokes, 40% of what was found."""
    sure = row(b=0.5, l=0.3)

    def found(*each: float) -> int:
        finding([piece(sure, one, after_space=True) for one in each], by_strokes=by_strokes)
        return len(read(PAGE, run).characters)

    assert found(*[least] * pieces) == pieces
    message = (
        f"what it shows is not like 0, 1, b and so on: of {pieces} pieces the network's median "
        f"confidence is {least - 0.01:.0%}"
    )
    with pytest.raises(DataError, match=message):
        found(*[least - 0.01] * pieces)
    few = 4 if by_strokes else 0
    if few:
        assert found(*[0.1] * few) == few
    if pieces > 2:
        half = pieces // 2
        assert found(*[0.0] * half, *[1.0] * (pieces - half)) == pieces
    assert found(*[np.nan] * pieces) == pieces  # of a network that has diverged


@pytest.mark.parametrize(("text", "word"), [("house", True), ("xqzjk", False)])
def test_a_word_is_writing_however_unclear(finding, run, text, word) -> None:
    """What a network reads with half of its doubts, but what spells a frequent word."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    rows = np.full((5, 26), 0.01, np.float32)
    rows[range(5), [letters.index(letter) for letter in text]] = 0.75
    finding([piece(one, 0.1) for one in rows])
    run = dataclasses.replace(run, class_names=tuple(letters))
    if word:
        assert read(PAGE, run).text == "house"
    else:
        with pytest.raises(DataError, match="median confidence is 10%"):
            read(PAGE, run)


def test_files_are_read_as_asked_for(finding, run, tmp_path) -> None:
    """All that `read` takes; one that cannot be opened or read does not keep others from it."""
    for name in ("first.png", "second.png"):
        Image.fromarray(PAGE).save(tmp_path / name)
    ways = finding([piece(row(_1=0.55, l=0.45)), piece(row(o=0.9, b=0.1)), piece(row(b=1.0))])
    paths = [tmp_path / "first.png", tmp_path / "none.png", tmp_path / "second.png"]
    options: dict[str, Any] = {"threshold": 0.5, "least": 0.1, "spelling": "none"}
    first, none, second = read_files(run, paths, **options, find="network")
    assert isinstance(none, DataError)
    assert str(none) == f"there is no file {paths[1]}; name a picture"
    for one in (first, second):
        assert isinstance(one, tuple)
        picture, found = one
        assert picture.shape == (8, 8, 3)
        assert (found.threshold, found.least) == (0.5, 0.1)
        assert found.names == ["l", "o", "b"]
        assert found.sure == [False, True, True]
    (plain,) = read_files(run, paths[:1])
    assert isinstance(plain, tuple)
    assert (plain[1].threshold, plain[1].least) == (0.0, None)
    assert ways == ["network", "network", "auto"]
    finding([piece(row(o=0.3), 0.1)])
    (refused,) = read_files(run, paths[:1])
    assert str(refused).startswith(f"{paths[0]}: what it shows is not like 0, 1, b and so on")


@pytest.mark.parametrize(
    ("words", "spelling", "text"),
    [((), "none", "bol"), (("lol",), "none", "lol"), ((), "english", "bob")],
)
def test_words_and_spelling_are_passed_on(finding, run, tmp_path, words, spelling, text) -> None:
    finding([piece(row(b=0.6, l=0.4)), piece(row(o=1.0)), piece(row(l=0.55, b=0.45))])
    Image.fromarray(PAGE).save(tmp_path / "page.png")
    (found,) = read_files(run, [tmp_path / "page.png"], words=words, spelling=spelling)
    assert isinstance(found, tuple)
    assert found[1].text == text
    assert read(PAGE, run, words=words, spelling=spelling).text == text
