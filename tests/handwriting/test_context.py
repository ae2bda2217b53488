"""What neighbors settle."""

import itertools

import numpy as np
import pytest

from jaxdigits.handwriting.context import _LISTED, _SWITCH, settle

NAMES = ["0", "1", "b", "l", "o"]


def of(*rows: dict[str, float]) -> np.ndarray:
    """Probabilities by name; what is left over goes to all classes alike."""
    table = np.zeros((len(rows), len(NAMES)))
    for number, row in enumerate(rows):
        for name, value in row.items():
            table[number, NAMES.index(name)] = value
        table[number] += (1 - table[number].sum()) / len(NAMES)
    return table


def read(probabilities: np.ndarray, words: tuple[str, ...] = ()) -> str:
    """The text that is chosen."""
    return "".join(NAMES[label] for label in settle(probabilities, NAMES, words))


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
    assert read(of(*rows)) == text


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
        assert tuple(settle(probabilities, NAMES)) == best


def test_a_word_of_the_list_is_preferred_but_not_at_any_price() -> None:
    """`lob` is read where it may be, and not where the network is sure of something else."""
    unsure = of({"1": 0.5, "l": 0.45}, {"o": 0.9}, {"b": 0.9})
    assert read(unsure, ("lob", "bob")) == "lob"
    sure = of({"b": 0.9999}, {"o": 0.9999}, {"o": 0.9999})
    assert read(sure, ("lob", "bob")) == "boo"
    assert read(unsure, ("lobo",)) == read(unsure)  # of another length
    assert read(unsure, ("löb",)) == read(unsure)  # of other characters
    assert 0.5 < _LISTED < 1
