"""The network that tells which way up a character is, and what is none.

    python experiments/turn_weights.py --manual-dir FOLDER       # minutes on two cores

It is the third post's network, narrower. Digits are MNIST's, letters EMNIST's, brought to MNIST's
form, each in all four turns; what is no character is made of them: pieces, pairs, and scribbles.
Nothing is chosen by the test images.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from jaxdigits.environment import prepare_jax

prepare_jax()

import numpy as np
from shipping import ship

import jaxdigits as jd
from jaxdigits.handwriting import turns
from jaxdigits.models import count_params
from jaxdigits.runs.folder import WEIGHTS

EACH = 40_000
"""Digits, letters, and images of what is neither, to train on."""

TESTED = 2_000
"""Of each, to validate on, and to test on."""

CONFIG = jd.TrainConfig(
    augment=(
        *("shift=1", "rotate=15", "scale=0.15", "shear=0.2", "elastic=1", "thickness=0.5"),
        *("blur=0.5", "contrast=0.3"),
    ),
    scale="unit",
    ema_decay=0.999,
)


def none(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make of characters what is none: a piece of one, two side by side, or lines across it."""
    first, second = images[rng.integers(len(images), size=2)]
    ink = np.argwhere(first > 100)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    first = first[top:bottom, left:right]
    way, turn = rng.integers(4, size=2).tolist()
    if way == 0:  # a piece
        first = np.rot90(first, turn)
        part = first[: max(round(len(first) * rng.uniform(0.3, 0.6)), 3)]
        return part if part.max() > 100 else none(images, rng)
    if way == 1:  # two that touch
        ink = np.argwhere(second > 100)
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
        second = second[top:bottom, left:right]
        height = max(len(first), len(second))
        both = [np.pad(part, (((height - len(part)) // 2, 0), (0, 0))) for part in (first, second)]
        both = [np.pad(part, ((0, height - len(part)), (0, 0))) for part in both]
        return np.rot90(np.concatenate(both, axis=1), turn)
    page = np.zeros((40, 40))
    if way == 2:  # one that is crossed out
        tall, wide = first.shape
        page[6 : 6 + tall, 6 : 6 + wide] = first
    x, y = np.meshgrid(np.arange(40), np.arange(40))
    for _ in range(rng.integers(4, 10)):
        a, b = rng.uniform(4, 34, (2, 2))
        along = b - a
        t = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(along @ along, 1.0)
        t = np.clip(t, 0, 1)
        away = np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1])
        page = np.maximum(page, 255 * np.clip(1.7 - away, 0, 1))
    return page.astype(np.uint8)


def examples(
    digits: jd.Dataset, letters: jd.Dataset, each: int, rng: np.random.Generator
) -> jd.data.Examples:
    """Images of all classes: of `each` digits and letters all turns, and as many of none."""
    images, labels = [], []
    for kind, dataset in enumerate((digits, letters)):
        chosen = dataset.images[rng.permutation(len(dataset.images))[:each]]
        upright = np.stack([jd.transforms.to_mnist(image) for image in chosen])
        for turn in range(4):
            images.append(np.rot90(upright, turn, axes=(1, 2)))
            labels.append(np.full(len(upright), 4 * kind + turn))
    both = np.concatenate(images[::4])
    images.append(np.stack([jd.transforms.to_mnist(none(both, rng)) for _ in range(each)]))
    labels.append(np.full(each, len(turns.NAMES) - 1))
    return jd.data.Examples(np.concatenate(images), np.concatenate(labels).astype(np.int32))


def load(folders: Mapping[str, Path | None], rng: np.random.Generator) -> dict:
    """Datasets of turned characters by split."""
    digits, letters = (
        jd.data.load_splits(name, ("train", "validation", "test"), **folders)
        for name in ("mnist", "emnist/letters")
    )
    parts = [
        examples(of_digits, of_letters, each, rng)
        for of_digits, of_letters, each in zip(digits, letters, (EACH, TESTED, TESTED), strict=True)
    ]
    train, validation, test = parts
    return jd.data.from_arrays("turns", train, test, turns.NAMES, validation=validation)


def main() -> None:
    """Train, measure, and write the parameters and a card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with downloaded files")
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "turns")
    arguments = parser.parse_args()
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    splits = load(folders, np.random.default_rng(arguments.seed))
    config = CONFIG.replace(epochs=arguments.epochs, seed=arguments.seed)
    run = jd.fit(config, splits, model=turns.NETWORK, progress=True)
    rows = {
        "tells": ", ".join(turns.NAMES),
        "network": f"the third post's, narrower: {count_params(run.params):,} parameters, as "
        "float16; `jaxdigits/handwriting/turns.py`",
        "data": f"{EACH:,} training images of MNIST and of EMNIST's letters each, in MNIST's form",
        "recipe": f"`python experiments/turn_weights.py`: {config.epochs} epochs, "
        f"{(run.seconds or {})['train'] / 60:.0f} minutes",
        "seed": f"{config.seed}, the only one",
        "validation accuracy": f"{run.results['validation']['accuracy']:.1%}",
        "test accuracy": f"{run.results['test']['accuracy']:.1%}; some characters look the same "
        "when they are turned",
    }
    ship(run, arguments.weights, "Which way up a character is", rows)


if __name__ == "__main__":
    main()
