"""Settle by their neighbors what single characters leave open: 0 and o, 1 and l, i and l.

Digits stand with digits, and letters with letters; letters of a word follow one another as those of
English words do. What a network is sure of stays as it is.
"""

import math
import string
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from jaxdigits.errors import DataError
from jaxdigits.files import StrPath
from jaxdigits.handwriting.segmentation import Character
from jaxdigits.runs.folder import WEIGHTS, shipped_params

ENGLISH = "english"
"""The folder of what is known of English words, among those of networks."""

WORDS_FILE = "words.txt"
"""Frequent words, in the order of their frequency."""

LETTERS = " " + string.ascii_lowercase
"""What follows what: no letter, or one."""

SPELLINGS = (ENGLISH, "none")
"""How letters may follow one another."""

NATS = 0.05
"""The step of negative logarithms that are kept as whole numbers."""

_SWITCH = math.log(0.03)  # of going from digits to letters, or back, within a word
_LISTED = 0.9  # how probable it is that a word is one of the list
# Chosen on validation images of letters: words in the list, others, and strings of five letters.
_SPELLING = 0.25  # what the letters of English words count, beside what the characters look like
_FREQUENCY = 0.3  # what the frequency of words counts, likewise
_FREQUENT = 4.0  # and that a word is among the frequent ones
_NUMBER = 2.0  # that a digit is in it
_LONG, _LOOKS = 4, 0.4  # letters, and their mean probability, of what is a word by itself
_RANK = 30  # the word of rank n is as frequent as 1 / (n + this)


def read_words(path: StrPath) -> frozenset[str]:
    """Read a list of words, one a line, in lower case.

    Raises:
        DataError: the file cannot be read, is no text, or has no word.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "words.txt"
        >>> _ = path.write_text("Room")
        >>> sorted(read_words(path))
        ['room']
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(f"cannot read the words in {path}: {reason}") from None
    words = frozenset(line.strip().lower() for line in lines if line.strip())
    if not words:
        raise DataError(f"there is no word in {path}: write one a line")
    return words


def words_of(characters: Sequence[Character]) -> Iterator[list[int]]:
    """Which characters stand together, without a space or a sign between them."""
    word: list[int] = []
    for number, character in enumerate(characters):
        apart = character.after_space or character.line != characters[number - 1].line
        if word and (apart or character.sign):
            yield word
            word = []
        if not character.sign:
            word.append(number)
    if word:
        yield word


def spells(probabilities: Float[np.ndarray, "n classes"], class_names: Sequence[str]) -> bool:
    """Tell whether characters look like a frequent word of several letters.

    Args:
        probabilities: of each class for each character of a word.
        class_names: by label.

    Example:
        >>> names = "abcdefghijklmnopqrstuvwxyz"
        >>> word = np.full((5, 26), 0.01)
        >>> word[range(5), [names.index(name) for name in "house"]] = 0.75
        >>> spells(word, names), spells(word[:3], names)
        (True, False)
    """
    if len(probabilities) < _LONG:
        return False
    frequent = _frequent_words(tuple(class_names)).get(len(probabilities))
    if frequent is None:
        return False
    labels = settle(probabilities, class_names)
    looks = np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-6)).mean()
    return bool((frequent[0] == labels).all(axis=1).any() and looks > math.log(_LOOKS))


def settle(
    probabilities: Float[np.ndarray, "n classes"],
    class_names: Sequence[str],
    words: Collection[str] = (),
    spelling: str = "english",
) -> Int[np.ndarray, " n"]:
    """Choose the labels of one word's characters together.

    Digits stand with digits, letters with letters, unless a network is sure; and if there is a
    list of words, the word is more probably one of them than any other letters. In a language,
    frequent words are more probable than others, and letters follow one another as in its words:
    "ui" is more probable than "ul" after "q".

    Args:
        probabilities: of each class for each character of a word.
        class_names: by label.
        words: in lower case.
        spelling: of `SPELLINGS`: as in words of that language, or by looks alone.

    Returns:
        Labels: of each character the most probable one, given the others.

    Example:
        >>> names = ["0", "1", "l", "o"]
        >>> probabilities = np.array([[0.05, 0.9, 0.05, 0], [0.4, 0, 0, 0.6], [0.5, 0.5, 0, 0]])
        >>> [names[label] for label in settle(probabilities, names)]
        ['1', '0', '0']
        >>> [names[label] for label in settle(probabilities[1:2], names)]
        ['o']
        >>> [names[label] for label in settle(np.full((2, 4), 0.25), names, ["lo", "old"])]
        ['l', 'o']
    """
    logs = np.log(np.maximum(probabilities, 1e-6))
    digits = np.array([name.isdigit() for name in class_names])
    labels, _ = _of_one_kind(logs, digits)
    if spelling == ENGLISH and len(labels) > 1:
        labels = _spelled_or_with_digits(logs, class_names, digits, labels)
    by_name = {name: label for label, name in enumerate(class_names)}
    listed = [word for word in words if len(word) == len(logs) and all(c in by_name for c in word)]
    if not listed:
        return labels
    spelled = np.array([[by_name[character] for character in word] for word in listed])
    rows = np.arange(len(logs))
    scores = logs[rows, spelled].sum(axis=1) + math.log(_LISTED / len(words))
    other = (
        logs[rows, labels].sum() + math.log(1 - _LISTED) - len(logs) * math.log(len(class_names))
    )
    best = int(scores.argmax())
    return spelled[best] if scores[best] > other else labels


def _spelled_or_with_digits(
    logs: Float[np.ndarray, "n classes"],
    class_names: Sequence[str],
    digits: np.ndarray,
    labels: Int[np.ndarray, " n"],
) -> Int[np.ndarray, " n"]:
    """Choose between a frequent word, another as English spells them, and one with a digit in it.

    What has a digit in it is spelled in no way: each digit is as frequent as any other, and so is
    each letter.

    Args:
        logs: of the probabilities.
        class_names: by label.
        digits: which classes are digits.
        labels: that are best without that.
    """
    known = {class_names[label] for label in labels} <= {*LETTERS, *string.digits}
    if not known or not set(class_names) & set(LETTERS):
        return labels
    options = [_spelled(logs, class_names)]
    frequent = _frequent_words(tuple(class_names)).get(len(logs))
    if frequent:
        scores = logs[np.arange(len(logs)), frequent[0]].sum(axis=1) + frequent[1]
        options.append((frequent[0][scores.argmax()], float(scores.max())))
    alike = logs - _SPELLING * np.log(np.where(digits, 10, len(LETTERS) - 1))
    for place in range(len(logs)) if digits.any() else ():
        one = alike.copy()
        one[place, ~digits] = -np.inf
        with_digit, score = _of_one_kind(one, digits)
        options.append((with_digit, score + _NUMBER))
    return max(options, key=lambda option: option[1])[0]


def _of_one_kind(
    logs: Float[np.ndarray, "n classes"], digits: np.ndarray
) -> tuple[Int[np.ndarray, " n"], float]:
    """The best labels where a switch between digits and letters costs (Viterbi's algorithm)."""
    if digits.all() or not digits.any():
        return logs.argmax(axis=1), float(logs.max(axis=1).sum())
    kinds = [np.flatnonzero(~digits), np.flatnonzero(digits)]
    each = np.array([[row[kind].max() for kind in kinds] for row in logs])
    switch = np.array([[0.0, _SWITCH], [_SWITCH, 0.0]])
    score, came = each[0], []
    for row in each[1:]:
        choices = score[:, None] + switch
        came.append(choices.argmax(axis=0))
        score = choices.max(axis=0) + row
    state = [int(score.argmax())]
    for step in reversed(came):
        state.append(int(step[state[-1]]))
    labels = [kinds[k][row[kinds[k]].argmax()] for k, row in zip(state[::-1], logs, strict=True)]
    return np.array(labels), float(score.max())


def _spelled(
    logs: Float[np.ndarray, "n classes"], class_names: Sequence[str]
) -> tuple[Int[np.ndarray, " n"], float]:
    """The best labels of letters, given which follow one another in English (Viterbi's algorithm).

    A state is the last two letters.
    """
    costs = shipped_params(ENGLISH)["trigrams"]
    follow = -_SPELLING * NATS * np.asarray(costs, np.float64)
    labels = [class_names.index(letter) if letter in class_names else -1 for letter in LETTERS[1:]]
    known = np.array(labels) >= 0
    seen = np.where(known, logs[:, labels], -np.inf)
    score = np.full((27, 27), -np.inf)
    score[0, 0], came = 0.0, []
    for row in seen:
        ways = score[:, :, None] + follow
        came.append(ways.argmax(axis=0))
        score = ways.max(axis=0)
        score[:, 1:] += row
        score[:, 0] = -np.inf
    score += follow[:, :, 0]
    before, last = np.unravel_index(int(score.argmax()), score.shape)
    found = []
    for step in reversed(came):
        found.append(labels[int(last) - 1])
        before, last = step[before, last], before
    return np.array(found[::-1]), float(score.max())


@lru_cache
def _frequent_words(
    class_names: tuple[str, ...],
) -> dict[int, tuple[Int[np.ndarray, "words letters"], Float[np.ndarray, " words"]]]:
    """By length: the labels of frequent words, and what it counts how frequent they are."""
    text = (WEIGHTS / ENGLISH / WORDS_FILE).read_text(encoding="ascii").split()
    shares = 1 / (np.arange(len(text)) + _RANK)
    counts = _FREQUENCY * np.log(shares / shares.sum()) + _FREQUENT
    by_name = {name: label for label, name in enumerate(class_names)}
    found: dict[int, tuple[list[list[int]], list[float]]] = {}
    for word, count in zip(text, counts, strict=True):
        if by_name.keys() >= set(word):
            labels, worth = found.setdefault(len(word), ([], []))
            labels.append([by_name[letter] for letter in word])
            worth.append(float(count))
    return {
        length: (np.array(labels), np.array(worth)) for length, (labels, worth) in found.items()
    }
