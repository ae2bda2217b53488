"""Which letters follow one another in English words: counted in the docstrings of Python's library.

    python experiments/english.py                                        # 10 seconds
    python experiments/english.py --measure --data-dir FOLDER            # what it is worth

Each word counts once, however often it is used, so that the words of programs count little. What
follows two letters is smoothed by what follows one, and that by how frequent letters are (Witten
and Bell, 1991). Python's documentation is under the licence of the Python Software Foundation; only
counts of letters are taken from it.
"""

import argparse
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
from shipping import write_card

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.evaluation.metrics import wilson_interval
from jaxdigits.files import write_json
from jaxdigits.handwriting.context import ENGLISH, LETTERS, NATS, SPELLINGS, settle
from jaxdigits.runs.folder import PARAMS_FILE, WEIGHTS, save_params

RESULTS = Path(__file__).parent / "results"

FREQUENT = re.findall(
    r"\w+",
    """
    the and you that was for are with his they this have from one had word but not what all
    were when your can said there use each which she how their will other about out many then
    them these some her would make like him into time has look two more write see number way
    could people than first water been call who oil its now find long down day did get come
    made may part
    """,
)
"""Frequent words of English, of two letters and more."""

WITHOUT = {"antigravity", "idlelib", "this", "test", "turtledemo", "__main__", "lib2to3", "tkinter"}
"""Modules that do something when they are imported, or are not everywhere."""


def docstrings() -> Iterator[str]:
    """Those of the modules of the standard library, and of their classes and functions."""
    warnings.simplefilter("ignore")
    for module in pkgutil.iter_modules():
        if module.name not in sys.stdlib_module_names or module.name in WITHOUT:
            continue
        try:
            loaded = import_module(module.name)
        except ImportError:
            continue  # not on this system
        yield str(loaded.__doc__)
        for _, value in inspect.getmembers(loaded):
            if inspect.isclass(value) or inspect.isroutine(value):
                yield str(value.__doc__)
                if inspect.isclass(value):
                    yield from (str(of.__doc__) for _, of in inspect.getmembers(value))
    yield from import_module("pydoc_data.topics").topics.values()


def trigrams(words: set[str]) -> np.ndarray:
    """The probability of each letter after two others: [27, 27, 27], the first of no letter."""
    counts = np.zeros((27, 27, 27))
    for word in words:
        text = [0, 0, *(LETTERS.index(letter) for letter in word), 0]
        for at in range(2, len(text)):
            counts[tuple(text[at - 2 : at + 1])] += 1
    lower = np.full(27, 1 / 27)
    for counted in (counts.sum(axis=(0, 1)), counts.sum(axis=0), counts):
        kinds = (counted > 0).sum(axis=-1, keepdims=True)
        lower = (counted + kinds * lower) / np.maximum(
            counted.sum(axis=-1, keepdims=True) + kinds, 1
        )
        lower = np.where(kinds > 0, lower, 1 / 27)
    return lower


def measure(data_dir: Path | None, count: int = 1_000, seed: int = 1) -> dict:
    """How often words, and random strings of five letters, of test images are read exactly."""
    test, run = jd.data.load("emnist/letters", "test", data_dir=data_dir), jd.load("letters")
    rng = np.random.default_rng(seed)
    by_letter = {
        name: np.flatnonzero(test.labels == label) for label, name in enumerate(run.class_names)
    }
    texts = {
        "words": [str(word) for word in rng.choice(FREQUENT, count)],
        "strings": ["".join(rng.choice(run.class_names, 5)) for _ in range(count)],
    }
    results = {}
    for kind, chosen in texts.items():
        rows = [rng.choice(by_letter[letter]) for text in chosen for letter in text]
        probabilities = run.predict_proba(test.images[rows])
        ends = np.cumsum([len(text) for text in chosen])
        each = list(zip(np.split(probabilities, ends[:-1]), chosen, strict=True))
        for spelling in SPELLINGS:
            right = sum(
                "".join(
                    run.class_names[label]
                    for label in settle(one, run.class_names, spelling=spelling)
                )
                == text
                for one, text in each
            )
            low, high = wilson_interval(right, count)
            results[f"{kind}, --spelling {spelling}"] = {
                "exact": right / count,
                "interval": [low, high],
            }
    return {"count": count, "seed": seed, "results": results, **environment()}


def main() -> None:
    """Count, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS / ENGLISH)
    parser.add_argument("--measure", action="store_true", help="instead, measure its worth")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, default=RESULTS / "english.json")
    arguments = parser.parse_args()
    if arguments.measure:
        document = measure(arguments.data_dir)
        for what, found in document["results"].items():
            low, high = found["interval"]
            print(f"{what:26} {found['exact']:.1%} (95% interval {low:.1%} to {high:.1%})")
        write_json(arguments.json, document)
        return
    found = (re.findall(r"\b[A-Z]?[a-z]{1,19}\b", text) for text in docstrings())
    words = {word.lower() for some in found for word in some}
    table = np.round(-np.log(trigrams(words)) / NATS).clip(max=255).astype(np.uint8)
    arguments.weights.mkdir(parents=True, exist_ok=True)
    save_params({"trigrams": table}, arguments.weights / PARAMS_FILE)
    rows = {
        "tells": "how probable a letter of an English word is after two others",
        "form": f"27 x 27 x 27 negative logarithms in steps of {NATS}; the first is no letter",
        "data": f"{len(words):,} different words in the docstrings of Python's standard library",
        "recipe": f"`python experiments/english.py`, by Python {sys.version.split()[0]}",
    }
    write_card(arguments.weights, "Letters of English words", rows)
    print(f"written to {arguments.weights}: {len(words):,} words")


if __name__ == "__main__":
    main()
