"""Which words are frequent in English, and which letters follow one another in them.

    pip install pyspellchecker
    python experiments/english.py                                        # 10 seconds
    python experiments/english.py --measure --data-dir FOLDER            # what it is worth

The words of pyspellchecker (MIT license) come with counts of how often they are used. The most
frequent ones are kept, in that order. Letters are counted in more of them, each word once: what
follows two letters is smoothed by what follows one, and that by how frequent letters are (Witten
and Bell, 1991).
"""

import argparse
import gzip
import importlib.metadata
import importlib.resources
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from shipping import write_card

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.evaluation.metrics import wilson_interval
from jaxdigits.files import atomic_write, write_json
from jaxdigits.handwriting.context import ENGLISH, LETTERS, NATS, SPELLINGS, WORDS_FILE, settle
from jaxdigits.runs.folder import PARAMS_FILE, WEIGHTS, save_params

RESULTS = Path(__file__).parent / "results"

KEPT, COUNTED = 8_000, 20_000
"""How many of the most frequent words are kept, and in how many letters are counted."""


def frequent_words() -> list[str]:
    """Words of two letters and more, the most frequent one first."""
    path = importlib.resources.files("spellchecker") / "resources" / "en.json.gz"
    counts = json.loads(gzip.decompress(path.read_bytes()))
    plain = [word for word in counts if re.fullmatch("[a-z]{2,20}", word)]
    return sorted(plain, key=lambda word: (-counts[word], word))


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


def _some(words: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    return [str(word) for word in rng.choice(words, count)]


def measure(data_dir: Path | None, count: int = 1_000, seed: int = 1) -> dict:
    """How often words, and random strings of five letters, of test images are read exactly."""
    words = frequent_words()
    test, run = jd.data.load("emnist/letters", "test", data_dir=data_dir), jd.load("letters")
    rng = np.random.default_rng(seed)
    by_letter = {
        name: np.flatnonzero(test.labels == label) for label, name in enumerate(run.class_names)
    }
    texts = {
        "the 1,000 most frequent words": _some(words[:1_000], count, rng),
        f"others of the {KEPT:,} that are kept": _some(words[1_000:KEPT], count, rng),
        "words that are not kept": _some(words[20_000:50_000], count, rng),
        "strings of five letters": ["".join(rng.choice(run.class_names, 5)) for _ in range(count)],
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
    words = frequent_words()
    table = np.round(-np.log(trigrams(set(words[:COUNTED]))) / NATS).clip(max=255).astype(np.uint8)
    arguments.weights.mkdir(parents=True, exist_ok=True)
    with atomic_write(arguments.weights / WORDS_FILE) as path:
        path.write_text("\n".join(words[:KEPT]) + "\n", encoding="ascii")
    save_params({"trigrams": table}, arguments.weights / PARAMS_FILE)
    version = importlib.metadata.version("pyspellchecker")
    rows = {
        "tells": "how probable a letter of an English word is after two others: 27 x 27 x 27 "
        f"negative logarithms in steps of {NATS}; the first is no letter",
        f"`{WORDS_FILE}`": f"the {KEPT:,} most frequent words, in that order",
        "data": f"the {COUNTED:,} most frequent words of [pyspellchecker](../DATA.md) {version}",
        "recipe": "`python experiments/english.py`",
        "license": "MIT, copyright (c) 2018-2021 Tyler Barrus; the terms are those of the "
        "package's `LICENSE`",
    }
    write_card(arguments.weights, "English words", rows)
    print(f"written to {arguments.weights}: {KEPT:,} words")


if __name__ == "__main__":
    main()
