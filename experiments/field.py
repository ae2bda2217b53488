"""How often are pages read right that have lines, frames, and edges, or hardly any margin?

    python experiments/field.py --manual-dir FOLDER      # with MNIST's four files in it
    python experiments/field.py --json before.json       # in an older checkout, to compare with

Five test digits in a row, enlarged, in dark ink on noisy paper: as they are, with lines below and
through them, in brackets, in boxes and a ring, with a dark strip on the left, and on a dark table.
And single digits cut out at their box, with 0, 1, or 2 pixels of margin, enlarged four times.
"sure" are pages read wrong with every character above 90%; "before" are pages read right by the
version of `results/field_before.json`. Results are in `results/field.json`.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tabulate import tabulate

import jaxdigits as jd
from jaxdigits import handwriting
from jaxdigits.errors import DataError
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
PAPER, INK, DARK = 235, 40, 45
DIGITS, SCALE, LEFT, TOP, PITCH = 5, 3, 90, 70, 90
SIZE = SCALE * 28
RIGHT, BOTTOM = LEFT + DIGITS * PITCH, TOP + SIZE
HEIGHT, WIDTH = BOTTOM + 70, RIGHT + 60

Draw = Callable[[np.ndarray, np.random.Generator], None]


def underline(page: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a line below the digits that wobbles."""
    phase = rng.uniform(0, 2 * np.pi)
    for x in range(LEFT - 10, RIGHT):
        y = BOTTOM + 10 + round(3 * np.sin(x / 40 + phase))
        page[y : y + 4, x] = INK


def lines(page: np.ndarray, *paths: Sequence[tuple[float, float]]) -> None:
    """Draw lines from point to point, x before y."""
    image = Image.fromarray(page.astype(np.uint8))
    for path in paths:
        ImageDraw.Draw(image).line(path, fill=INK, width=4)
    page[:] = np.asarray(image)


def sloping(page: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a line below the digits that rises or falls by up to a tenth."""
    rise = rng.uniform(-0.1, 0.1) * (RIGHT - LEFT) / 2
    lines(page, [(LEFT, BOTTOM + 25 - rise), (RIGHT, BOTTOM + 25 + rise)])


def bracket_below(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw a bracket below the digits."""
    corners = [(LEFT, BOTTOM), (LEFT, BOTTOM + 16), (RIGHT, BOTTOM + 16), (RIGHT, BOTTOM)]
    lines(page, corners)


def brace_below(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw a brace below the digits."""
    y, middle = BOTTOM + 14, (LEFT + RIGHT) / 2
    half = [(LEFT, y - 12), (LEFT + 10, y), (middle - 12, y), (middle, y + 16)]
    lines(page, [*half, *((LEFT + RIGHT - x, y) for x, y in reversed(half[:3]))])


def arrow(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw an arrow below the digits."""
    y, head = BOTTOM + 20, RIGHT - 20
    lines(page, [(LEFT, y), (RIGHT, y)], [(head, y - 12), (RIGHT, y), (head, y + 12)])


def through(page: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a line through the digits that wobbles."""
    y, phase = (TOP + BOTTOM) / 2 + rng.uniform(-8, 8), rng.uniform(0, 2 * np.pi)
    columns = range(LEFT - 15, RIGHT + 10)
    lines(page, [(x, y + 3 * np.sin(x / 40 + phase)) for x in columns])


def parentheses(page: np.ndarray, _: np.random.Generator) -> None:
    """Put the digits in parentheses."""
    image = Image.fromarray(page.astype(np.uint8))
    box = [LEFT - 30, TOP - 5, LEFT + 10, BOTTOM + 5]
    ImageDraw.Draw(image).arc(box, 120, 240, fill=INK, width=4)
    box = [RIGHT - 20, TOP - 5, RIGHT + 20, BOTTOM + 5]
    ImageDraw.Draw(image).arc(box, -60, 60, fill=INK, width=4)
    page[:] = np.asarray(image)


def ring(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw a ring around the number that does not close."""
    image = Image.fromarray(page.astype(np.uint8))
    box = [LEFT - 60, TOP - 40, RIGHT + 40, BOTTOM + 40]
    ImageDraw.Draw(image).arc(box, -40, 300, fill=INK, width=4)
    page[:] = np.asarray(image)


def rectangle(page: np.ndarray, top: int, left: int, bottom: int, right: int) -> None:
    """Draw the outline of a box."""
    page[top : top + 4, left:right] = page[bottom - 4 : bottom, left:right] = INK
    page[top:bottom, left : left + 4] = page[top:bottom, right - 4 : right] = INK


def frame(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw a box around the number."""
    rectangle(page, TOP - 20, LEFT - 20, BOTTOM + 20, RIGHT + 10)


def boxes(page: np.ndarray, _: np.random.Generator) -> None:
    """Draw a box around each digit."""
    for number in range(DIGITS):
        left = LEFT + number * PITCH
        rectangle(page, TOP - 8, left - 2, BOTTOM + 8, left + SIZE + 2)


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
    "sloping underline": sloping,
    "bracket below": bracket_below,
    "brace below": brace_below,
    "arrow below": arrow,
    "line through the number": through,
    "in parentheses": parentheses,
    "open ring around the number": ring,
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
    before = json.loads((RESULTS / "field_before.json").read_text())["kinds"]
    rows = [
        {"kind": kind, "before": before.get(kind, {}).get("right"), **counts}
        for kind, counts in results.items()
    ]
    print(tabulate(rows, "keys", "github"))
    write_json(options.json, {"data": test.fingerprint.as_dict(), "kinds": results})


if __name__ == "__main__":
    main()
