"""Does a promised error rate hold, and do sets of characters hold the right one?

    python experiments/promises.py --data-dir FOLDER --calibrate    # for `jaxdigits/weights`
    python experiments/promises.py --data-dir FOLDER                # and whether it holds

Pages are those of `pages.py`, of one line. Of each, one character that was read is counted: the
one at a random place of `PLACES`, where there is one, so that what is counted comes from pages that
have nothing in common. What was read elsewhere than something is written is wrong.

To calibrate, when `weights.py` has trained a network, pages are written with validation images,
each of which is counted once at most. To try the promises, pages are written with test images, and
calibrations of as many answers are drawn from what was read there, 1,000 times. A promise that such
a calibration makes is broken if more of all that was read there is wrong. Results are in
`results/promises.json`. Six times 5,000 pages take an hour and a half on two cores.
"""

import argparse
import difflib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pages
from tabulate import tabulate
from tqdm import tqdm
from weights import load

import jaxdigits as jd
from jaxdigits.data import Split
from jaxdigits.environment import environment, usable_cores
from jaxdigits.errors import ConfigError, DataError
from jaxdigits.evaluation.calibration import Calibration, calibrate
from jaxdigits.evaluation.promises import count_answers
from jaxdigits.files import write_json
from jaxdigits.handwriting.context import WORDS_FILE
from jaxdigits.handwriting.reading import Reading
from jaxdigits.runs.folder import WEIGHTS, save

RESULTS = Path(__file__).parent / "results"
PLACES = 8
RESAMPLED = 1000
ERROR_RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0001)
COVERAGES = (0.9, 0.95, 0.98, 0.99, 0.995)
SPLITS: tuple[Split, ...] = ("validation", "test")

_LINES = [kind for kind in pages.KINDS if kind not in ("three_lines", "words", "room")]
KINDS = {"digits": _LINES, "letters": ["words", "plain"], "characters": ["room", "plain"]}
DATASETS = {
    "digits": ("mnist",),
    "letters": ("emnist/letters",),
    "characters": ("mnist", "emnist/letters"),
}


class Answer(NamedTuple):
    """What was read at a place: how sure, whether it is right, and the row of probabilities.

    Labels are -1 for a sign, and where nothing is written.
    """

    confidence: float
    right: bool
    read: int
    truth: int
    probabilities: np.ndarray


@dataclass
class Fresh(pages.Sample):
    """A sample one of whose choices is an image that was not used before."""

    fresh: int = 0
    after: int = 0

    def choose(self, rng: np.random.Generator, name: str = "") -> int:
        """The fresh image after some choices, if its class does not matter, or is that."""
        found = super().choose(rng, name)
        self.after -= 1
        suits = not name or self.names[self.fresh] == name
        return self.fresh if self.after == -1 and suits else found


def answer(reading: Reading, text: str, place: int) -> Answer | None:
    """What was read at a place, if anything was."""
    if place >= len(reading.names):
        return None
    truth = ""
    matcher = difflib.SequenceMatcher(None, reading.names, list(text), autojunk=False)
    for _, start, end, first, last in matcher.get_opcodes():
        if start <= place < end and end - start == last - first:
            truth = text[first + place - start]
    name, row = reading.names[place], reading.probabilities[place]
    if reading.characters[place].sign:
        row = np.zeros_like(row)
    labels = {name: label for label, name in enumerate(reading.class_names)}
    read, written = labels.get(name, -1), labels.get(truth, -1)
    return Answer(reading.confidences[place], name == truth, read, written, row)


def read_page(network: str, sample: pages.Sample, seed: int, number: int) -> Answer | None:
    """Draw a page, read it, and count a character, if there is one at the place."""
    rng = np.random.default_rng([seed, number])
    place = int(rng.integers(PLACES))
    kind = KINDS[network][number % len(KINDS[network])]
    order = np.random.default_rng(seed).permutation(len(sample.names))
    fresh = int(order[number % len(order)])
    page, text = pages.KINDS[kind](rng, Fresh(**vars(sample), fresh=fresh, after=place))
    try:
        reading = jd.handwriting.read(page, jd.load(network))
    except DataError:
        return None
    return answer(reading, text.replace(" ", ""), place)


def characters(network: str, split: Split, data_dir: Path | None) -> pages.Sample:
    """The images of a split."""
    parts = [jd.data.load(name, split, data_dir=data_dir) for name in DATASETS[network]]
    each = min(map(len, parts))  # as many letters as digits
    names = [part.class_names[label] for part in parts for label in part.labels[:each]]
    images = np.concatenate([part.images[:each] for part in parts])
    words = jd.handwriting.read_words(WEIGHTS / "english" / WORDS_FILE)
    return pages.Sample(images, names, sorted(words))


def answers(network: str, split: Split, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """What was read on pages; kept in a file, as it takes long."""
    path = options.answers / f"{network}-{split}.npz"
    if not path.exists():
        sample = characters(network, split, options.data_dir)
        count = min(options.pages, len(sample.names))
        one = partial(read_page, network, sample, options.seed + SPLITS.index(split))
        with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
            found = list(tqdm(pool.map(one, range(count), chunksize=50), total=count))
        kept = [part for part in found if part is not None]
        columns = zip(Answer._fields, map(np.array, zip(*kept, strict=True)), strict=True)
        options.answers.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **dict(columns))
    return dict(np.load(path, allow_pickle=False))


def truths(found: dict[str, np.ndarray]) -> np.ndarray:
    """The probabilities of the right classes; what was read right is always in the set."""
    return np.where(found["right"], 1.0, of_label(found, "truth", 0.0))


def of_label(found: dict[str, np.ndarray], name: str, otherwise: float) -> np.ndarray:
    """The probabilities of a column of labels."""
    rows = np.take_along_axis(found["probabilities"], found[name][:, None], axis=1)[:, 0]
    return np.where(found[name] < 0, otherwise, rows)


def promises(found: dict[str, np.ndarray], count: int) -> list[dict[str, Any]]:
    """How often promises of resampled calibrations are broken, and what they cost."""
    rng, rows = np.random.default_rng(0), []
    confidence, right = found["confidence"], found["right"]
    for rate in ERROR_RATES:
        broken, shares = 0, []
        for _ in range(RESAMPLED):
            drawn = rng.integers(len(right), size=count)
            counts = count_answers(confidence[drawn], right[drawn], confidence[drawn])
            try:
                given = confidence >= counts.threshold(rate)
            except ConfigError:
                continue
            shares.append(given.mean())
            broken += (~right[given]).mean() > rate if given.any() else 0
        rows.append(
            {
                "error rate": rate,
                "promised": len(shares),
                "broken": int(broken),
                "still printed": float(np.mean(shares)) if shares else None,
            }
        )
    return rows


def sets(
    found: dict[str, np.ndarray], calibration: Calibration, names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """How often sets hold the right class, how large they are, and the class worst off."""
    truth, probabilities = truths(found), found["probabilities"]
    assert calibration.answers is not None
    for coverage in COVERAGES:
        try:
            least = calibration.answers.least_probability(coverage)
        except ConfigError:
            continue
        held = truth >= least
        sizes = (probabilities >= least).sum(axis=1) + (of_label(found, "read", -1.0) < least)
        each = {
            name: float(held[found["truth"] == label].mean())
            for label, name in enumerate(names)
            if (found["truth"] == label).sum() >= 20
        }
        worst = min(each, key=each.__getitem__)
        yield {
            "sets": coverage,
            "hold the right one": float(held.mean()),
            "mean size": float(sizes.mean()),
            "class worst off": worst,
            "its sets hold it": each[worst],
            "by class": each,
        }


def main() -> None:
    """Read pages; write calibrations, or try promises."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--networks", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--pages", type=int, default=5000, help="of each network and split")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--answers", type=Path, default=Path("answers"), help="a folder to keep")
    parser.add_argument("--processes", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path, default=RESULTS / "promises.json")
    options = parser.parse_args()
    before = json.loads(options.json.read_text())["networks"] if options.json.exists() else {}
    document: dict[str, Any] = {
        "command": "python experiments/promises.py --networks NAME --pages N",
        "places": PLACES,
        "resampled": RESAMPLED,
        "networks": before,
        **environment(),
    }
    for network in options.networks:
        found = answers(network, "validation" if options.calibrate else "test", options)
        run = jd.load(network)
        if options.calibrate:
            counts = count_answers(found["confidence"], found["right"], truths(found))
            validation = load(run.config.dataset, {"data_dir": options.data_dir})["validation"]
            calibration = calibrate(run.predict_logits(validation.images), validation.labels)
            calibration = replace(calibration, pages=counts)
            save(replace(run, calibration=calibration), WEIGHTS / network, dtype=np.float16)
            print(f"{network}: {counts.answers} answers, {counts.wrong[0]} of them wrong")
            continue
        assert run.calibration is not None
        assert run.calibration.pages is not None
        calibrated = run.calibration.pages.answers
        row = {
            "answers": len(found["right"]),
            "pages": options.pages,
            "calibrated with": calibrated,
            "wrong": int((~found["right"]).sum()),
            "promises": promises(found, calibrated),
            "sets": list(sets(found, run.calibration, run.class_names)),
        }
        document["networks"][network] = row
        print(f"\n{network}: {row['answers']} answers, {row['wrong']} of them wrong")
        print(tabulate(row["promises"], "keys", "github"))
        shown = [{name: one[name] for name in one if name != "by class"} for one in row["sets"]]
        print(tabulate(shown, "keys", "github", floatfmt=".3f"))
    if not options.calibrate:
        write_json(options.json, document)


if __name__ == "__main__":
    main()
