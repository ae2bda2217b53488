"""Draws what each augmentation does to a digit: results/augmentations.png.

python experiments/augmentations.py
"""

from functools import partial
from pathlib import Path

from jaxdigits.environment import prepare_jax

prepare_jax()

import jax
import jax.numpy as jnp
import numpy as np

import jaxdigits as jd
from jaxdigits.config import AUGMENT
from jaxdigits.plots import image_grid, save
from jaxdigits.transforms.augment import AUGMENTATIONS, Augment, make_augment

OUT = Path(__file__).parent / "results" / "augmentations.png"
DRAWS = 10
TOGETHER = "all together"


def main() -> None:
    """A row for each augmentation, each time otherwise; the last row has all of them at once."""
    digit = jd.data.load("digits", "test").images[3] / np.float32(255)
    images = jnp.broadcast_to(digit, (DRAWS, 28, 28))
    changes: dict[str, Augment] = {
        name: partial(AUGMENTATIONS[name], strength=AUGMENT[name].default) for name in AUGMENT
    }
    changes[TOGETHER] = make_augment(tuple(AUGMENT))
    rows = [jax.jit(change)(jax.random.key(1), images) for change in changes.values()]
    pixels = np.round(255 * np.concatenate([np.asarray(row) for row in rows])).astype(np.uint8)
    titles = [name if draw == 0 else "" for name in changes for draw in range(DRAWS)]
    save(image_grid(pixels, titles, columns=DRAWS), OUT)
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()
