"""How often are pages read right that have lines, frames, and edges, or hardly any margin?

    python experiments/field.py --manual-dir FOLDER      # with MNIST's four files in it

Five test digits in a row, enlarged, in dark ink on noisy paper: as they are, with a wobbling
underline, in a box, in a box each, with a dark strip on the left, and on a dark table. And single
digits cut out at their box, with 0, 1, or 2 pixels of margin, enlarged four times. "sure" are pages
read wrong with every character above 90%. Results are in `results/field.json`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tabulate import tabulate

import jaxdigits as jd
from jaxdigits import handwriting
from jaxdigits.errors import DataError
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
PAPER, INK, DARK = 235, 40, 45
DIGITS, SCALE, LEFT, TOP, PITCH = 5, 3, 90, 70, 90
SIZE = SCALE * 28
HEIGHT, WIDTH = TOP + SIZE + 70, LEFT + DIGITS * PITCH + 60

Draw = Callable[[np.ndarray, np.random.Generator], None]


def underline(page: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a line below the digits that wobbles."""
    phase = rng.uniform(0, 2 * np.pi)
    for x in range(LEFT - 10, LEFT + DIGITS * PITCH):
        y = TOP + SIZE + 10 + round(3 * np.sin(x / 40 + phase))
        page[y : y + 4, x] = INK


def rectangle(page: np.ndarray, top: int, left: int, bottom: int, right: int) -> None:
    """Draw the outline of a box."""
    page[top : top + 4, left:right] = page[bottom - 4 : bottom, left:right] = INK
    page[top:bottom, left : left + 4] = page[top:bottom, right - 4 : right] = INK


def frame(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw a box around the number."""
    rectangle(page, TOP - 20, LEFT - 20, TOP + SIZE + 20, LEFT + DIGITS * PITCH + 10)


def boxes(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw a box around each digit."""
    for number in range(DIGITS):
        left = LEFT + number * PITCH
        rectangle(page, TOP - 8, left - 2, TOP + SIZE + 8, left + SIZE + 2)


def strip(page: np.ndarray, _: np.random.Generator) -> None:
    """Darken the left edge."""
    page[:, :30] = DARK


def table(page: np.ndarray, _: np.random.Generator) -> None:
    """Darken all edges."""
    page[:25] = page[-25:] = page[:, :30] = page[:, -30:] = DARK


def plain(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw nothing."""


PAGES: dict[str, Draw] = {
    "plain": plain,
    "underline": underline,
    "box around the number": frame,
    "box around each digit": boxes,
    "dark strip on the left": strip,
    "on a dark table": table,
}


def make_page(images: np.ndarray, draw: Draw, rng: np.random.Generator) -> np.ndarray:
    """Draw digits on paper, and what is around them."""
    page = np.full((HEIGHT, WIDTH), PAPER, np.float32)
    for number, image in enumerate(images):
        enlarged = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        left = LEFT + number * PITCH
        place = page[TOP : TOP + SIZE, left : left + SIZE]
        place -= np.asarray(enlarged, np.float32) / 255 * (PAPER - INK)
    draw(page, rng)
    noisy = page + rng.normal(0, 3, page.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def make_crop(image: np.ndarray, margin: int) -> np.ndarray:
    """Cut a digit out at its box, and enlarge it four times."""
    inked = image > 60
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    cut = np.pad(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], margin)
    size = 4 * cut.shape[1], 4 * cut.shape[0]
    large = Image.fromarray(255 - cut).resize(size, Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(large)[..., None], 3, axis=2)


def judge(pictures: list[np.ndarray], texts: list[str], run: jd.Run) -> dict[str, int]:
    """Count what is read right, wrong, wrong with confidence, and refused."""
    counts = {"right": 0, "wrong": 0, "sure": 0, "refused": 0}
    for picture, text in zip(pictures, texts, strict=True):
        try:
            reading = handwriting.read(picture, run)
        except DataError:
            counts["refused"] += 1
            continue
        right = reading.text.replace(" ", "") == text
        counts["right" if right else "wrong"] += 1
        counts["sure"] += not right and min(reading.confidences) > 0.9
    return counts


def main() -> None:
    """Draw, read, count."""
    parser = argparse.ArgumentParser(description="Pages with lines, frames, and edges.")
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--crops", type=int, default=300)
    parser.add_argument("--manual-dir", type=Path)
    parser.add_argument("--json", type=Path, default=RESULTS / "field.json")
    options = parser.parse_args()
    name = jd.data.choose_dataset("auto", None, options.manual_dir)
    test = jd.data.load(name, "test", manual_dir=options.manual_dir)
    run = jd.load("digits")
    results = {}
    for kind, draw in PAGES.items():
        rng = np.random.default_rng(0)  # the same digits for each
        chosen = [rng.integers(0, len(test), DIGITS) for _ in range(options.pages)]
        texts = ["".join(map(str, test.labels[rows])) for rows in chosen]
        pages = [make_page(test.images[rows], draw, rng) for rows in chosen]
        results[kind] = judge(pages, texts, run)
    for margin in range(3):
        crops = [make_crop(image, margin) for image in test.images[: options.crops]]
        texts = [str(label) for label in test.labels[: options.crops]]
        results[f"cut out, margin {margin}"] = judge(crops, texts, run)
    print(
        tabulate([{"kind": kind, **counts} for kind, counts in results.items()], "keys", "github")
    )
    write_json(options.json, {"data": test.fingerprint.as_dict(), "kinds": results})


if __name__ == "__main__":
    main()
