"""What neighbors settle."""

import itertools
from functools import cache

import numpy as np
import pytest

from jaxdigits.errors import DataError
from jaxdigits.handwriting.context import (
    _FREQUENCY,
    _FREQUENT,
    _LISTED,
    _NUMBER,
    _RANK,
    _SPELLING,
    _SWITCH,
    ENGLISH,
    LETTERS,
    NATS,
    read_words,
    settle,
    spells,
    words_of,
)
from jaxdigits.handwriting.segmentation import Character
from jaxdigits.runs.folder import WEIGHTS, shipped_params

NAMES = ["0", "1", "b", "l", "o"]


def of(*rows: dict[str, float]) -> np.ndarray:
    """Probabilities by name; what is left over goes to all classes alike."""
    table = np.zeros((len(rows), len(NAMES)))
    for number, row in enumerate(rows):
        for name, value in row.items():
            table[number, NAMES.index(name)] = value
        table[number] += (1 - table[number].sum()) / len(NAMES)
    return table


def read(probabilities: np.ndarray, words: tuple[str, ...] = (), spelling: str = "english") -> str:
    """The text that is chosen."""
    return "".join(NAMES[label] for label in settle(probabilities, NAMES, words, spelling))


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([{"1": 0.9}, {"o": 0.55, "0": 0.45}], "10"),
        ([{"b": 0.9}, {"0": 0.55, "o": 0.45}], "bo"),
        ([{"0": 0.55, "o": 0.45}], "0"),
        ([{"1": 0.95}, {"0": 0.95}, {"b": 0.99}], "10b"),  # a network that is sure is believed
        ([{"1": 0.7, "l": 0.3}, {"0": 0.4, "o": 0.6}], "10"),
    ],
)
def test_digits_stand_with_digits(rows: list[dict[str, float]], text: str) -> None:
    """Digits stand with digits, letters with letters."""
    assert read(of(*rows), spelling="none") == text


def test_the_best_of_all_texts() -> None:
    """It is what trying every text gives."""
    rng = np.random.default_rng(0)
    digit = np.array([name.isdigit() for name in NAMES])
    for _ in range(30):
        probabilities = rng.dirichlet(np.full(len(NAMES), 0.4), 4)

        def score(
            labels: tuple[int, ...], table: np.ndarray = probabilities, digit: np.ndarray = digit
        ) -> float:
            logs = np.log(np.maximum(table[range(4), labels], 1e-6)).sum()
            kinds = digit[list(labels)]
            return float(logs + _SWITCH * (kinds[1:] != kinds[:-1]).sum())

        best = max(itertools.product(range(len(NAMES)), repeat=4), key=score)
        assert tuple(settle(probabilities, NAMES, spelling="none")) == best


@cache
def english() -> np.ndarray:
    """Negative logarithms of what follows two letters."""
    return NATS * np.asarray(shipped_params(ENGLISH)["trigrams"], np.float64)


WORDS = (WEIGHTS / ENGLISH / "words.txt").read_text().split()


def worth(text: tuple[str, ...]) -> float:
    """What the language counts for a text without digits, the longer of two ways."""
    ends = [0, 0, *map(LETTERS.index, text), 0]
    threes = zip(ends, ends[1:], ends[2:], strict=False)
    spelled = -_SPELLING * sum(english()[three] for three in threes)
    if "".join(text) not in WORDS:
        return spelled
    shares = [1 / (rank + _RANK) for rank in range(len(WORDS))]
    share = shares[WORDS.index("".join(text))] / sum(shares)
    return max(spelled, _FREQUENT + _FREQUENCY * np.log(share))


def test_frequent_words() -> None:
    """Words of two letters and more, each once, the most frequent one first."""
    assert len(WORDS) == len(set(WORDS)) == 8_000
    assert all(len(word) > 1 and set(word) <= set(LETTERS[1:]) for word in WORDS)
    assert max(map(WORDS.index, ("the", "and", "you"))) < 10 < WORDS.index("paper") < 2_000


def test_what_follows_two_letters_is_a_distribution() -> None:
    """It sums to one, up to the steps of its logarithms, and knows what is frequent in English."""
    probabilities = np.exp(-english())
    np.testing.assert_allclose(probabilities.sum(axis=2), 1, atol=NATS)
    at = LETTERS.index
    assert probabilities[at("e"), at("q")].argmax() == at("u")
    assert probabilities[at("i"), at("n")].argmax() == at("g")
    assert probabilities[at("n"), at("g")].argmax() == at(" ")


def test_letters_follow_one_another_as_in_english() -> None:
    """It is what trying every text gives, where none is a digit."""
    rng, names, listed = np.random.default_rng(1), "quilnogt", 0
    for length in 4 * (2, 3, 4):
        probabilities = rng.dirichlet(np.full(len(names), 0.3), length)

        def score(text: tuple[str, ...], table: np.ndarray = probabilities) -> float:
            looks = sum(
                np.log(max(row[names.index(letter)], 1e-6))
                for row, letter in zip(table, text, strict=True)
            )
            return looks + worth(text)

        best = max(itertools.product(names, repeat=length), key=score)
        assert tuple(names[label] for label in settle(probabilities, list(names))) == best
        listed += "".join(best) in WORDS
    assert 0 < listed < 12


def test_a_word_or_something_with_a_digit_in_it() -> None:
    """It is what trying every text gives; both are chosen somewhere."""
    rng, names = np.random.default_rng(2), "015aiscb"
    chosen = []
    for _ in range(100):
        probabilities = rng.dirichlet(np.full(len(names), 0.1), 3)

        def score(text: tuple[str, ...], table: np.ndarray = probabilities) -> float:
            looks = sum(
                np.log(max(row[names.index(name)], 1e-6))
                for row, name in zip(table, text, strict=True)
            )
            kinds = [name.isdigit() for name in text]
            if any(kinds):
                alike = sum(np.log(10 if kind else 26) for kind in kinds)
                switches = sum(first != second for first, second in itertools.pairwise(kinds))
                return looks - _SPELLING * alike + _SWITCH * switches + _NUMBER
            return looks + worth(text)

        best = max(itertools.product(names, repeat=3), key=score)
        assert tuple(names[label] for label in settle(probabilities, list(names))) == best
        chosen.append(sum(name.isdigit() for name in best))
    assert set(chosen) >= {0, 1, 3}


def test_classes_that_are_neither_stay_as_they_look() -> None:
    """Spelling says nothing of them."""
    names = ["a", "é", "1"]
    unsure = np.array([[0.5, 0.1, 0.4], [0.3, 0.6, 0.1]])
    assert [names[label] for label in settle(unsure, names)] == ["a", "é"]


def test_spelling_settles_what_is_unsure_and_nothing_else() -> None:
    """`l` after `qu` is rather an i; a network that is sure is believed; so is a lone letter."""
    names = list("cikluq")
    sure = 0.99 * np.eye(6) + 0.01 / 6
    word = np.stack([sure[names.index(letter)] for letter in "quick"])
    unsure = word.copy()
    unsure[2] = 0.1 / 4
    unsure[2, [names.index("i"), names.index("l")]] = 0.35, 0.55
    read = lambda rows, **how: "".join(names[label] for label in settle(rows, names, **how))  # noqa: E731
    assert read(unsure) == "quick"
    assert read(unsure, spelling="none") == "qulck"
    assert read(word[[0, 3, 4, 0]]) == "qckq"
    assert read(unsure[2:3]) == "l"


def test_a_word_of_the_list_is_preferred_but_not_at_any_price() -> None:
    """`lob` is read where it may be, and not where the network is sure of something else."""
    unsure = of({"1": 0.5, "l": 0.45}, {"o": 0.9}, {"b": 0.9})
    assert read(unsure, ("lob", "bob")) == "lob"
    sure = of({"b": 0.9999}, {"o": 0.9999}, {"o": 0.9999})
    assert read(sure, ("lob", "bob")) == "boo"
    assert read(unsure, ("lobo",)) == read(unsure)  # of another length
    assert read(unsure, ("löb",)) == read(unsure)  # of other characters
    assert 0.5 < _LISTED < 1


@pytest.mark.parametrize(
    ("words", "probability", "text"),
    [
        (["bb"], 0.850, "bb"),
        (["bb"], 0.864, "aa"),
        (["bb", "b", "bbb", "bö"], 0.745, "bb"),
        (["bb", "b", "bbb", "bö"], 0.755, "aa"),
    ],
)
def test_what_a_word_of_the_list_is_worth(words: list[str], probability: float, text: str) -> None:
    """9 to 1, and any other of the 4 texts is as probable: (p / (1 - p)) ** 2 = 36 at 6/7.

    Of 4 words each has a quarter of that, whatever the others are: 9 at 3/4.
    """
    rows = np.full((2, 2), [probability, 1 - probability])
    labels = settle(rows, ["a", "b"], words, spelling="none")
    assert "".join("ab"[label] for label in labels) == text


@pytest.mark.parametrize(("length", "read"), [(16, False), (17, True)])
def test_a_letter_that_seems_impossible_is_nearly_so(length: int, read: bool) -> None:
    """It counts a millionth, and a listed word 9 * 2 ** n of n letters of 2: 2 ** 17 is 131,072."""
    rows = np.tile([0.0, 1.0], (length, 1))
    labels = settle(rows, ["a", "b"], ["a" + "b" * (length - 1)], spelling="none")
    assert (labels[0] == 0) == read


@pytest.mark.parametrize("nearly", [0.99, 1.01])
def test_what_a_frequent_word_is_worth(nearly: float) -> None:
    """Beside two digits, and beside a letter and a digit: by hand, with literal numbers."""
    rank, ranks = WORDS.index("it"), np.arange(len(WORDS))
    frequent = 4 + 0.3 * np.log(1 / (rank + 30) / (1 / (ranks + 30)).sum())
    digits, both = 2 - 0.25 * np.log(10 * 10), 2 - 0.25 * np.log(10 * 26) + np.log(0.03)
    names = ["1", "i", "t"]

    def rows(*odds: float) -> np.ndarray:
        """As probable is a 1, to one of that letter."""
        found = np.array([[odds[0], 1, 1e-5], [odds[1], 1e-5, 1]])
        return found / found.sum(axis=1, keepdims=True)

    two = nearly * np.exp((frequent - digits) / 2)
    labels = settle(rows(two, two), names)
    assert "".join(names[label] for label in labels) == ("11" if nearly > 1 else "it")
    one = (1 + (nearly - 1) / 2) * np.exp(frequent - both)
    labels = settle(rows(1e-4, one), names)
    assert "".join(names[label] for label in labels) == ("i1" if nearly > 1 else "it")


def test_a_network_of_digits_alone_spells_nothing() -> None:
    """Nor does one of other letters: both are read by looks."""
    rows = np.array([[0.6, 0.4], [0.3, 0.7], [0.6, 0.4]])
    for names in (["0", "1"], ["ä", "ö"]):
        assert settle(rows, names).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("names", "rows", "text"),
    [
        ("uzq", [[0.02, 0.03, 0.95], [0.4, 0.55, 0.05]], "qu"),
        ("tzo", [[0.17, 0.72, 0.11], [0.87, 0.07, 0.06], [0.04, 0.57, 0.39]], "zoo"),
    ],
)
def test_letters_that_a_network_does_not_know_are_not_read(names, rows, text) -> None:
    """Of a network of few letters, a word of them; English would have others."""
    labels = settle(np.array(rows), list(names))
    assert "".join(names[label] for label in labels) == text


def written(text: str) -> list[Character]:
    """Characters and signs, with spaces and line breaks."""
    found, line, after_space, ink = [], 0, False, np.zeros((1, 1), np.uint8)
    for name in text:
        if name.isspace():
            line, after_space = line + (name == "\n"), name == " "
            continue
        sign = "" if name.isalnum() else name
        found.append(Character(0, 0, 1, 1, line, after_space, ink, sign))
        after_space = False
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("a", [[0]]),
        ("abc", [[0, 1, 2]]),
        ("ab cd", [[0, 1], [2, 3]]),
        ("ab\ncd\ne", [[0, 1], [2, 3], [4]]),
        ("ab-cd", [[0, 1], [3, 4]]),
        ("-ab", [[1, 2]]),
        ("ab-", [[0, 1]]),
        ("a- b", [[0], [2]]),
        ("a -b", [[0], [2]]),
        ("--", []),
    ],
)
def test_what_stands_together(text: str, words: list[list[int]]) -> None:
    """Without a space, a sign, or the end of a line between."""
    assert list(words_of(written(text))) == words


LATIN = "abcdefghijklmnopqrstuvwxyz"


def looking_like(text: str, *probabilities: float) -> np.ndarray:
    """Probabilities of each letter; the others share what is left."""
    rows = np.tile((1 - np.array(probabilities))[:, None] / 25, (1, 26))
    rows[range(len(text)), [LATIN.index(letter) for letter in text]] = probabilities
    return rows


@pytest.mark.parametrize(
    ("text", "probabilities", "word"),
    [
        ("with", [0.41] * 4, True),
        ("with", [0.39] * 4, False),
        ("with", [0.8, 0.21, 0.8, 0.2], True),
        ("with", [0.8, 0.19, 0.8, 0.2], False),  # the mean is that of logarithms
        ("the", [0.9] * 3, False),  # too short
        ("xqzj", [0.9] * 4, False),
        ("z" * 30, [0.9] * 30, False),  # there is no word of that length
    ],
)
def test_what_looks_like_a_frequent_word(text: str, probabilities: list[float], word: bool) -> None:
    """Four letters or more, of a mean probability above 40%."""
    assert spells(looking_like(text, *probabilities), LATIN) == word


def test_a_word_may_have_all_the_letters_that_there_are() -> None:
    assert spells(0.6 * np.eye(4) + 0.1, "with")
    assert not spells(0.6 * np.eye(4)[::-1] + 0.1, "with")


def test_words_are_read_from_a_file(tmp_path) -> None:
    """In lower case, one a line, without what is around them."""
    (tmp_path / "words.txt").write_text("Room\n\n  ÖL \t\nroom\n", encoding="utf-8")
    assert read_words(tmp_path / "words.txt") == {"room", "öl"}
    (tmp_path / "latin.txt").write_text("Öl", encoding="latin-1")
    (tmp_path / "blank.txt").write_text(" \n\t\n")
    for name, message in (
        ("none", r"cannot read the words in .*none\.txt: No such file or directory"),
        ("latin", r"cannot read the words in .*latin\.txt: it is no text"),
        ("blank", r"there is no word in .*blank\.txt: write one a line"),
    ):
        with pytest.raises(DataError, match=message):
            read_words(tmp_path / f"{name}.txt")
