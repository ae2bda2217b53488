"""Is a page read as well when it is photographed askew, tilted, and bent?

    python experiments/photographed.py --data-dir FOLDER          # 60 pages
    python experiments/photographed.py --save pictures            # with those that are read wrong

Pages of `pages.py` are read twice: flat, and as a photo of the sheet on a table. It is bent around
an axis of any direction (its height a Gaussian ridge, or a curl of one edge), tilted by up to 30
degrees, turned by up to 30 degrees, and projected; its light follows from the angle of the paper.
Nothing of this is in the scenes that the page network was trained on but turning and light.
Results are in `results/photographed.json`.
"""

import argparse
import difflib
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pages
from PIL import Image
from scipy import ndimage
from scipy.interpolate import LinearNDInterpolator
from scipy.stats import bootstrap
from tabulate import tabulate

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.errors import DataError
from jaxdigits.files import write_json

RESULTS = Path(__file__).parent / "results"
KINDS = ("plain", "ruled", "squared", "three_lines", "two_inks", "words")
AWAY = 2.5
"""From the camera to the sheet, in widths of the sheet."""


class Photo(NamedTuple):
    """How a sheet is photographed: angles in degrees, heights in widths of the sheet."""

    turned: float
    tilt: tuple[float, float]
    ridge: float
    curl: float
    axis: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Photo":
        """At random, within the limits of the docstring."""
        tilt, way = rng.uniform(0, 30), rng.uniform(0, 2 * np.pi)
        return cls(
            turned=rng.uniform(-30, 30),
            tilt=(tilt * np.cos(way), tilt * np.sin(way)),
            ridge=rng.uniform(-0.06, 0.06),
            curl=rng.uniform(0, 0.15),
            axis=rng.uniform(0, np.pi),
        )


def turns(photo: Photo) -> np.ndarray:
    """The rotation of the sheet: tilted about both axes, then turned."""
    (a, b), c = np.radians(photo.tilt), np.radians(photo.turned)
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_y) @ np.array(about_x)


def take(page: np.ndarray, photo: Photo, rng: np.random.Generator) -> np.ndarray | None:
    """A photo of a page: uint8 [rows, columns, 3]; None if the sheet hides a part of itself."""
    height, width = page.shape[:2]
    # Beyond the sheet too: what lies between its projected edge and their hull is the table.
    beyond = 0.2 * height
    rows, columns = np.mgrid[
        -beyond : height - 1 + beyond : 57j, -beyond : width - 1 + beyond : 73j
    ]
    x, y = (columns / width - 0.5), (rows - height / 2) / width
    along = x * np.cos(photo.axis) + y * np.sin(photo.axis)
    z = photo.ridge * np.exp(-((along / 0.2) ** 2)) + photo.curl * np.clip(along, 0, None) ** 2 * 4
    steep = np.gradient(z, axis=1) / np.gradient(x, axis=1)
    turned = np.stack([x, y, z], axis=-1) @ turns(photo).T
    shown = turned[..., :2] * (AWAY / (AWAY - turned[..., 2:])) * width
    down, right = np.gradient(shown, axis=0), np.gradient(shown, axis=1)
    if (right[..., 0] * down[..., 1] <= right[..., 1] * down[..., 0]).any():
        return None
    on_it = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    low, high = shown[on_it].min(axis=0) - 60, shown[on_it].max(axis=0) + 60
    size = np.ceil(high - low).astype(int)
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1) + low
    facing = np.maximum(1 - 0.5 * np.abs(steep) - 0.2 * turned[..., 0], 0.2)
    values = np.stack([rows, columns, facing], axis=-1).reshape(-1, 3)
    seen = LinearNDInterpolator(shown.reshape(-1, 2), values, fill_value=-1)(grid)
    places = [seen[..., 0], seen[..., 1]]
    inside = (places[0] >= 0) & (places[0] < height) & (places[1] >= 0) & (places[1] < width)
    paper = np.dstack(
        [
            ndimage.map_coordinates(
                page[..., channel].astype(np.float32), places, order=1, mode="nearest"
            )
            for channel in range(3)
        ]
    )
    table = np.array([[120, 82, 50], [70, 70, 75], [160, 130, 95]][rng.integers(3)], np.float32)
    photo_of = np.where(inside[..., None], paper * seen[..., 2:], table)
    photo_of = ndimage.gaussian_filter(photo_of, (0.7, 0.7, 0)) + rng.normal(0, 3, photo_of.shape)
    return np.clip(photo_of, 0, 255).astype(np.uint8)


def read(picture: np.ndarray, run: jd.Run, text: str) -> tuple[float, bool, float]:
    """The share of characters that are read right, whether all are, and the seconds."""
    start = time.perf_counter()
    try:
        found = jd.handwriting.read(picture, run).text.replace(" ", "")
    except DataError:
        found = ""
    seconds = time.perf_counter() - start
    blocks = difflib.SequenceMatcher(None, found, text, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(text), found == text, seconds


def main() -> None:
    """Draw, photograph, and read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--save", type=Path, help="a folder for the photos that are read wrong")
    parser.add_argument("--json", type=Path, default=RESULTS / "photographed.json")
    options = parser.parse_args()
    samples = pages.load_samples(options.data_dir)
    runs = {name: jd.load(name) for name in samples}
    flat, photos = [], []
    for number in range(options.pages):
        rng = np.random.default_rng([options.seed, number])
        kind = KINDS[number % len(KINDS)]
        name = "letters" if kind == "words" else "digits"
        page, text = pages.KINDS[kind](rng, samples[name])
        picture = None
        while picture is None:
            picture = take(page, Photo.draw(rng), rng)
        flat.append(read(page, runs[name], text))
        photos.append(read(picture, runs[name], text))
        if options.save and not photos[-1][1]:
            options.save.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(options.save / f"{number}-{kind}.png")
            print(number, kind, repr(text), photos[-1], "flat", flat[-1], flush=True)
    rows = np.array(flat, np.float64), np.array(photos, np.float64)
    share = bootstrap(
        (rows[1][:, 0], rows[0][:, 0]),
        lambda taken, flat, axis=-1: taken.mean(axis) / flat.mean(axis),
        paired=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    document = {
        "command": f"python experiments/photographed.py --pages {options.pages} "
        f"--seed {options.seed}",
        "pages": options.pages,
        "characters": {"flat": rows[0][:, 0].mean(), "photos": rows[1][:, 0].mean()},
        "exact": {"flat": int(rows[0][:, 1].sum()), "photos": int(rows[1][:, 1].sum())},
        "seconds": {"flat": np.median(rows[0][:, 2]), "photos": np.median(rows[1][:, 2])},
        "ratio": rows[1][:, 0].mean() / rows[0][:, 0].mean(),
        "interval": [share.low, share.high],
        **environment(),
    }
    table = [[name, *document[name].values()] for name in ("characters", "exact", "seconds")]
    print(tabulate(table, ["", "flat", "photos"], floatfmt=".3f"))
    print(f"ratio {document['ratio']:.3f} ({share.low:.3f} to {share.high:.3f})")
    write_json(options.json, document)


if __name__ == "__main__":
    main()
