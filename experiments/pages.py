"""How often are whole pages read right? By kind, on pages unlike those the network learned from.

    python experiments/pages.py --data-dir FOLDER             # 20 pages of each kind
    python experiments/pages.py --kinds touching comb --each 50 --save pictures

Characters of the test images, enlarged, on pages that this script draws by itself: nothing is
shared with the scenes that the page network was trained on. A page counts if its text is exact,
spaces aside. Of the characters that `--error-rate 0.01` still prints, the share of wrong ones is
counted too, for the networks that can promise it. Results are in `results/pages.json`.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from tabulate import tabulate

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.errors import ConfigError, DataError
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
HEIGHT, WIDTH = 500, 1000
ERROR_RATE = 0.01


WORDS = (
    *("house", "maker", "brown", "fresh", "water", "under", "paper", "small", "chalk", "board"),
    *("night", "value", "quick", "jumps", "zebra", "fox", "dog", "over", "lazy", "digit"),
)


@dataclass
class Sample:
    """Characters to choose from: images, and the names of their classes; and words."""

    images: np.ndarray
    names: Sequence[str]
    words: Sequence[str] = WORDS

    def choose(self, rng: np.random.Generator, name: str = "") -> int:
        """The number of an image, of that class if it matters."""
        if name:
            return int(rng.choice(np.flatnonzero(np.array(self.names) == name)))
        return int(rng.integers(len(self.names)))


def load_samples(data_dir: Path | None) -> dict[str, Sample]:
    """The test images of digits, and of letters."""
    samples = {}
    for name, dataset in (("digits", "mnist"), ("letters", "emnist/letters")):
        test = jd.data.load(dataset, "test", data_dir=data_dir)
        samples[name] = Sample(test.images, [test.class_names[label] for label in test.labels])
    return samples


class Writing:
    """Ink on a page: how much of each pixel it covers, what it says, and where."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Nothing is written yet."""
        self.rng, self.ink = rng, np.zeros((HEIGHT, WIDTH), np.float32)
        self.pens = np.zeros((HEIGHT, WIDTH), np.int64)
        self.texts: list[str] = [""]
        self.boxes: list[tuple[float, float, float, float]] = []

    def put(self, alpha: np.ndarray, top: float, left: float, pen: int = 0) -> None:
        """Add ink at a place, and remember its box."""
        top, left = round(top), round(left)
        rows, columns = (np.flatnonzero(alpha.max(axis=axis) > 0.5) for axis in (1, 0))
        height, width = alpha.shape
        place = slice(max(top, 0), top + height), slice(max(left, 0), left + width)
        part = self.ink[place]
        alpha = alpha[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
        self.pens[place] = np.where(alpha > part, pen, self.pens[place])
        self.ink[place] = np.maximum(part, alpha)
        self.boxes.append(
            (top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1)
        )

    def bounds(self) -> tuple[int, int, int, int]:
        """The box around all."""
        boxes = np.array(self.boxes)
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def glyph(image: np.ndarray, height: float, rng: np.random.Generator) -> np.ndarray:
    """An image of a character enlarged so that 20 of its pixels are `height`: 0..1."""
    large = np.asarray(
        ndimage.zoom(np.pad(image.astype(np.float32) / 255, 2), height / 20, order=3)
    )
    large = np.clip((large - rng.uniform(0.35, 0.6)) * 3 + 0.5, 0, 1)
    return np.pad(large, 1)


_LINES = {
    "-": [(-0.25, 0, 0.25, 0)],
    "+": [(-0.27, 0, 0.27, 0), (0, -0.27, 0, 0.27)],
    "=": [(-0.27, -0.12, 0.27, -0.12), (-0.27, 0.12, 0.27, 0.12)],
    ".": [(0, 0.45, 0.01, 0.45)],
    ",": [(0.04, 0.42, -0.06, 0.6)],
    "/": [(0.25, -0.6, -0.25, 0.6)],
    ":": [(0, -0.12, 0.01, -0.12), (0, 0.32, 0.01, 0.32)],
}
"""The lines of signs: columns and rows of their ends, in heights from the middle of the line."""

SIGNS = "".join(_LINES)


def sign(name: str, height: float, rng: np.random.Generator) -> np.ndarray:
    """A sign that is drawn, in a square of twice that height whose middle is the line's."""
    side, fine = round(2 * height), 4
    image = Image.new("L", (fine * side, fine * side))
    brush, pen = ImageDraw.Draw(image), max(round(fine * height * rng.uniform(0.08, 0.13)), 4)

    def line(x0: float, y0: float, x1: float, y1: float) -> None:
        ends = np.array([x0, y0, x1, y1]) * height + rng.normal(0, 0.02, 4) * height
        x0, y0, x1, y1 = (fine * (ends + side / 2)).tolist()
        brush.line([x0, y0, x1, y1], fill=255, width=pen)
        for x, y in ((x0, y0), (x1, y1)):
            brush.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=255)

    for ends in _LINES[name]:
        line(*ends)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) / 255


def write(
    writing: Writing, sample: Sample, count: int, top: float, left: float, height: float,
    gap: tuple[float, float] = (0.15, 0.4), signs: float = 0, pitch: float | None = None,
    until: bool = False, word: str = "",
) -> None:  # fmt: skip
    """Write a line of random characters, or of a word; gaps may begin where the ink touches."""
    rng, x, text = writing.rng, left, ""
    if count == 0:
        word = word or sample.words[int(rng.integers(len(sample.words)))]
    length = len(word) or count
    for number in range(length):
        middle = 0 < number < length - 1 and text[-1] not in SIGNS
        if signs and middle and rng.random() < signs:
            name = SIGNS[rng.integers(len(SIGNS))]
            alpha, drop = sign(name, height, rng), -height / 2
        else:
            index = sample.choose(rng, word[number] if word else "")
            name, alpha = (
                sample.names[index],
                glyph(sample.images[index], height * rng.uniform(0.93, 1.07), rng),
            )
            drop = (height - len(alpha)) / 2
        columns = np.flatnonzero(alpha.max(axis=0) > 0.5)
        if pitch is not None:
            x = (
                left
                + number * pitch
                - (columns[0] + columns[-1]) / 2
                + rng.normal(0, 0.06) * height
            )
            writing.put(alpha, top + drop, x, number)
        else:
            start = x - columns[0]
            if number and until:
                start = push(writing, alpha, top + drop, start, rng.uniform(*gap) * height)
            writing.put(alpha, top + drop, start, number)
            x = start + columns[-1] + 1 + rng.uniform(*gap) * height * (not until)
        text += name
    writing.texts[-1] += text


def push(writing: Writing, alpha: np.ndarray, top: float, left: float, overlap: float) -> float:
    """How far to the left a character can go until its ink just touches what is there."""
    top, rows = round(top), len(alpha)
    for step in range(80):
        start = round(left) + 40 - step
        part = writing.ink[top : top + rows, start : start + alpha.shape[1]]
        if (np.minimum(part, alpha[: part.shape[0], : part.shape[1]]) > 0.5).sum() > 0:
            return start + overlap
    return left


Kind = Callable[[np.random.Generator, Sample], tuple[np.ndarray, str]]


def paint(
    writing: Writing, paper: np.ndarray | tuple[float, ...], inks: list[tuple[float, float, float]],
    noise: float = 3, blur: float = 0.6, light: np.ndarray | None = None, strength: float = 1,
) -> np.ndarray:  # fmt: skip
    """Put the ink on paper, in colors of 0..255."""
    height, width = writing.ink.shape
    page = np.broadcast_to(np.asarray(paper, np.float32), (height, width, 3)).astype(np.float32)
    colors = np.array(inks, np.float32)[writing.pens % len(inks)]
    alpha = strength * writing.ink[..., None]
    page = page * (1 - alpha) + colors * alpha
    if light is not None:
        page = page * light[..., None]
    page = ndimage.gaussian_filter(page, (blur, blur, 0))
    page = page + writing.rng.normal(0, noise, page.shape)
    return np.clip(page, 0, 255).astype(np.uint8)


def line_of(rng, sample, count=None, **options):
    """One line of characters in the middle of a page."""
    writing = Writing(rng)
    height = rng.uniform(55, 110)
    count = int(rng.integers(4, 8)) if count is None else count
    write(writing, sample, count, HEIGHT / 2 - height / 2, rng.uniform(80, 180), height, **options)
    return writing, height


BLUE, BLACK, RED, PENCIL = (30, 45, 140), (30, 30, 35), (170, 30, 40), (110, 110, 115)


def shadow(rng: np.random.Generator) -> np.ndarray:
    """Light that falls off, and the edge of a shadow."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    angle = rng.uniform(0, 6.3)
    edge = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.25)
    return (1 - 0.4 / (1 + np.exp(-edge * rng.uniform(6, 30)))).astype(np.float32)


def plain(rng, sample):
    """A plain sheet."""
    writing, _ = line_of(rng, sample)
    return paint(writing, (242, 240, 234), [[BLUE, BLACK][rng.integers(2)]]), writing.texts[0]


def crop(rng, sample):
    """Cut close to the characters."""
    writing, _ = line_of(rng, sample)
    page = paint(writing, (238, 236, 230), [BLACK])
    top, left, bottom, right = writing.bounds()
    margin = rng.integers(0, 8, 4)
    top, left = max(top - margin[0], 0), max(left - margin[1], 0)
    return page[top : bottom + margin[2], left : right + margin[3]], writing.texts[0]


def table(rng, sample):
    """A sheet on a table, turned a little."""
    writing, _ = line_of(rng, sample)
    page = paint(writing, (240, 238, 232), [BLUE], noise=0)
    top, left, bottom, right = writing.bounds()
    page = page[max(top - 60, 0) : bottom + 60, max(left - 60, 0) : right + 70]
    color = np.array([[120, 82, 50], [70, 70, 75], [160, 130, 95]][rng.integers(3)], np.float32)
    big = np.zeros((page.shape[0] + 360, page.shape[1] + 360, 4), np.float32)
    big[180:-180, 180:-180] = np.dstack([page, np.full(page.shape[:2], 255.0)])
    big = ndimage.rotate(big, rng.uniform(-8, 8), axes=(1, 0), reshape=False, order=1)
    alpha = big[..., 3:] / 255
    wood = color * (
        1
        + 0.1
        * np.sin(
            np.arange(len(big))[:, None, None] / 9
            + ndimage.gaussian_filter(rng.normal(0, 30, big.shape[:2]), 12)[..., None]
        )
    )
    found = big[..., :3] + (1 - alpha) * wood
    return np.clip(found + rng.normal(0, 3, found.shape), 0, 255).astype(np.uint8), writing.texts[0]


def ruled(rng, sample):
    """Ruled paper, with a shadow."""
    writing, height = line_of(rng, sample)
    paper = np.full((HEIGHT, WIDTH, 3), (242, 241, 235), np.float32)
    pitch = rng.uniform(0.9, 1.4) * height
    for y in np.arange(rng.uniform(0, pitch), HEIGHT, pitch):
        paper[int(y) : int(y) + 2] = (150, 175, 215)
    return paint(writing, paper, [BLUE], light=shadow(rng)), writing.texts[0]


def squared(rng, sample):
    """Squared paper, with a shadow, in pencil."""
    writing, height = line_of(rng, sample)
    paper = np.full((HEIGHT, WIDTH, 3), (243, 243, 240), np.float32)
    pitch = rng.uniform(0.35, 0.7) * height
    for y in np.arange(rng.uniform(0, pitch), HEIGHT, pitch):
        paper[int(y) : int(y) + 2] = (180, 200, 225)
    for x in np.arange(rng.uniform(0, pitch), WIDTH, pitch):
        paper[:, int(x) : int(x) + 2] = (180, 200, 225)
    return paint(writing, paper, [PENCIL], light=shadow(rng), strength=0.9), writing.texts[0]


def dim(rng, sample):
    """Dim light: dark and noisy."""
    writing, _ = line_of(rng, sample)
    page = paint(writing, (75, 70, 62), [(28, 27, 26)], noise=6, blur=1.2, light=shadow(rng))
    return page, writing.texts[0]


def chalk(rng, sample):
    """Chalk on a board with a frame."""
    writing, _ = line_of(rng, sample)
    writing.ink *= np.clip(rng.normal(0.85, 0.25, writing.ink.shape), 0.2, 1)
    page = paint(writing, [(38, 62, 48), (40, 42, 45)][rng.integers(2)], [(225, 225, 218)], noise=5)
    width = int(rng.integers(14, 40))
    framed = np.full((HEIGHT + 2 * width, WIDTH + 2 * width, 3), (135, 95, 55), np.uint8)
    framed[width:-width, width:-width] = page
    return framed, writing.texts[0]


def in_cells(rng, sample, narrowest):
    """Characters with a cell each: with paper, the width of cells, and the first one's place."""
    writing, height = Writing(rng), rng.uniform(60, 85)
    pitch, left = height * rng.uniform(narrowest, 1.6), rng.uniform(100, 160)
    top, count = HEIGHT / 2 - height / 2, int(rng.integers(4, 7))
    write(writing, sample, count, top, left, height, pitch=pitch)
    paper = Image.new("RGB", (WIDTH, HEIGHT), (246, 246, 244))
    return writing, paper, height, pitch, left, top, count


def form(rng, sample):
    """Boxes of a form, black or orange."""
    writing, paper, height, pitch, left, top, count = in_cells(rng, sample, 1.35)
    brush, color = ImageDraw.Draw(paper), [(25, 25, 25), (235, 130, 40)][rng.integers(2)]
    apart, width = pitch * rng.choice([0.0, 0.05]), int(rng.integers(2, 5))
    half, above, below = pitch / 2 - apart, top - 0.25 * height, top + 1.25 * height
    for number in range(count):
        x = left + number * pitch
        brush.rectangle([x - half, above, x + half, below], outline=color, width=width)
    return paint(writing, np.asarray(paper), [BLUE]), writing.texts[0]


def comb(rng, sample):
    """A comb: a line below, and short strokes between the characters."""
    writing, paper, height, pitch, left, top, count = in_cells(rng, sample, 1.3)
    brush, width = ImageDraw.Draw(paper), int(rng.integers(2, 5))
    bottom, rise = top + 1.2 * height, height * rng.uniform(0.3, 0.7)
    ends = left - pitch / 2, left + (count - 0.5) * pitch
    brush.line([ends[0], bottom, ends[1], bottom], fill=BLACK, width=width)
    for number in range(count + 1):
        x = left + (number - 0.5) * pitch
        brush.line([x, bottom - rise, x, bottom], fill=BLACK, width=width)
    return paint(writing, np.asarray(paper), [BLUE]), writing.texts[0]


def touching(rng, sample):
    """Characters so near that some touch."""
    writing, _ = line_of(rng, sample, gap=(-0.12, 0.0))
    return paint(writing, (240, 238, 232), [BLACK]), writing.texts[0]


def joined(rng, sample):
    """Characters that all run into one another."""
    writing, _ = line_of(rng, sample, gap=(-0.05, 0.0), until=True)
    return paint(writing, (240, 238, 232), [BLACK]), writing.texts[0]


def three_lines(rng, sample):
    """Three lines."""
    writing, height = Writing(rng), rng.uniform(50, 80)
    for number in range(3):
        if number:
            writing.texts.append("")
        count = int(rng.integers(3, 8))
        write(writing, sample, count, 50 + number * height * 1.6, rng.uniform(60, 130), height)
    return paint(writing, (242, 240, 234), [BLUE]), "\n".join(writing.texts)


def signs(rng, sample):
    """Signs between the characters."""
    writing, _ = line_of(rng, sample, count=int(rng.integers(5, 8)), signs=0.6)
    return paint(writing, (242, 240, 234), [BLACK]), writing.texts[0]


def two_inks(rng, sample):
    """Two inks in turn."""
    writing, _ = line_of(rng, sample)
    inks = [[BLUE, RED], [BLACK, PENCIL]][rng.integers(2)]
    return paint(writing, (242, 240, 234), inks), writing.texts[0]


def turned(rng, sample):
    """A page turned by a quarter, a half, or three quarters."""
    page, text = plain(rng, sample)
    return np.ascontiguousarray(np.rot90(page, rng.integers(1, 4))), text


def tilted(rng, sample):
    """A page turned by 5 to 30 degrees."""
    page, text = plain(rng, sample)
    angle = rng.uniform(5, 30) * rng.choice([-1, 1])
    image = Image.fromarray(page).rotate(
        angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(242, 240, 234)
    )
    return np.asarray(image), text


def words(rng, sample):
    """A word."""
    writing, _ = line_of(rng, sample, count=0)
    return paint(writing, (242, 240, 234), [BLACK]), writing.texts[0]


def room(rng, sample):
    """A word and a number, perhaps with a letter (`characters`)."""
    number = str(rng.integers(1, 100)) + "abcd   "[rng.integers(7)].strip()
    writing, height = Writing(rng), rng.uniform(45, 75)
    top = HEIGHT / 2 - height / 2
    write(writing, sample, 0, top, rng.uniform(60, 130), height)
    left = writing.bounds()[3] + rng.uniform(0.7, 1.2) * height
    write(writing, sample, 0, top, left, height, word=number)
    return paint(writing, (242, 240, 234), [BLUE]), writing.texts[0]


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (plain, crop, table, ruled, squared, dim, chalk, form, comb, touching, three_lines,
                 signs, two_inks, turned, tilted, words, joined, room)
}  # fmt: skip


def description(kind: Kind) -> str:
    """What a kind of page is, in words."""
    return (kind.__doc__ or "").rstrip(".").lower()


def wrong(printed: str, text: str) -> int:
    """How many characters are wrong: replaced, or of none; `?` may be any, or of none."""
    before = [0] * (len(text) + 1)
    for found in printed:
        free = found == "?"
        row = [before[0] + (not free)]
        for at, truth in enumerate(text):
            replaced = before[at] + (not free and found != truth)
            row.append(min(replaced, row[at], before[at + 1] + (not free)))
        before = row
    return before[-1]


def threshold(run: jd.Run) -> float | None:
    """The confidence from which on characters are printed; None if nothing can be promised."""
    try:
        return jd.handwriting.threshold(run, ERROR_RATE)
    except ConfigError:
        return None


def main() -> None:
    """Draw the pages, read them, and count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--find", choices=jd.handwriting.WAYS, default="auto")
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--save", type=Path, help="a folder for the pages that are read wrong")
    parser.add_argument("--json", type=Path, default=RESULTS / "pages.json")
    arguments = parser.parse_args()
    samples = load_samples(arguments.data_dir)
    both = list(samples.values())
    samples["characters"] = Sample(
        np.concatenate([one.images for one in both]), [name for one in both for name in one.names]
    )
    runs = {name: jd.load(name) for name in samples}
    thresholds = {name: threshold(run) for name, run in runs.items()}
    rows, right_of_all, printed, mistakes = [], 0, 0, 0
    for kind in arguments.kinds:
        name = {"words": "letters", "room": "characters"}.get(kind, "digits")
        right = 0
        for number in range(arguments.each):
            rng = np.random.default_rng([arguments.seed, list(KINDS).index(kind), number])
            page, text = KINDS[kind](rng, samples[name])
            try:
                reading = jd.handwriting.read(page, runs[name], find=arguments.find)
                found = reading.text
                if (least := thresholds[name]) is not None:
                    sure = replace(reading, threshold=least).text.replace(" ", "")
                    printed += sum(character not in "?\n" for character in sure)
                    mistakes += wrong(sure, text)
            except DataError as error:
                found = f"({error})"[:60]
            exact = found.replace(" ", "") == text
            right += exact
            if not exact and arguments.save:
                arguments.save.mkdir(parents=True, exist_ok=True)
                Image.fromarray(page).save(arguments.save / f"{kind}-{number}.png")
                print(kind, number, repr(text), repr(found), flush=True)
        rows.append([description(KINDS[kind]), right])
        right_of_all += right
    print(tabulate([*rows, ["all", right_of_all]], headers=["kind", f"exact of {arguments.each}"]))
    print(f"at --error-rate {ERROR_RATE}, {mistakes} of {printed} printed characters are wrong")
    document = {
        "command": f"python experiments/pages.py --find {arguments.find} --each {arguments.each} "
        f"--seed {arguments.seed}",
        "each": arguments.each,
        "seed": arguments.seed,
        "exact": dict(rows),
        "error_rate": ERROR_RATE,
        "printed": printed,
        "wrong": mistakes,
        **environment(),
    }
    write_json(arguments.json, document)


if __name__ == "__main__":
    main()
