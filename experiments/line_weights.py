"""The network that reads lines without cutting them: trained on lines made as it learns.

    python experiments/line_weights.py --manual-dir FOLDER --out runs/lines

As in `page_weights.py` a network judges itself: its two classes are `read`, with the probability
of the text that is there, and `misread`, so the cross-entropy is the CTC loss. A line is the image
of an example, its symbols a second channel; those to train on are made by `augment`.

Characters are those of the training images. Nothing is chosen by the test images.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxdigits.environment import prepare_jax

prepare_jax()

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key
from shipping import Made, add_options, fit_made, ship

import jaxdigits as jd
from jaxdigits.handwriting import line_network
from jaxdigits.handwriting.glyphs import SIGNS, prepare
from jaxdigits.handwriting.line_network import BLANK, HEIGHT, SYMBOLS
from jaxdigits.handwriting.line_scenes import MOST, WIDTH, Line, line
from jaxdigits.models import Model, count_params

EACH = 50_000
"""Digits, and letters, to choose from."""

STEPS, VALIDATION = 128, 1024
"""Steps in what `fit` takes for an epoch, and lines that are kept to validate on."""

CLASSES = ("misread", "read")


KINDS = jnp.array([0] * (2 + len(SIGNS)) + [1] * 10 + [2] * 26)
"""Of each of `SYMBOLS`: 1 is a digit, 2 a letter, 0 neither."""


def restrict(
    logits: Float[Array, "n places symbols"], symbols: Int[Array, "n most"]
) -> Float[Array, "n places symbols"]:
    """Rule out digits where a line has letters alone, and letters where it has digits alone."""
    there = jnp.stack([(KINDS[symbols] == which).any(axis=1) for which in (1, 2)], axis=1)
    there = there | ~there.any(axis=1, keepdims=True)
    allowed = jnp.concatenate([jnp.ones_like(there[:, :1]), there], axis=1)[:, KINDS]
    return jnp.where(allowed[:, None], logits, -1e4)


def pack(found: Line) -> Float[Array, "32 192 2"]:
    """A line and its symbols as one image, of 0..1."""
    symbols = jnp.zeros((HEIGHT, WIDTH)).at[0, :MOST].set(found.symbols / len(SYMBOLS))
    return jnp.stack([found.ink, symbols], axis=-1)


def judge(params: Any, packed: Float[Array, "n 32 192 2"]) -> Float[Array, "n 2"]:
    """The logarithms of the probabilities that lines are misread and read."""
    symbols = jnp.round(packed[:, 0, :MOST, 1] * len(SYMBOLS)).astype(jnp.int32)
    logits = restrict(line_network.apply(params, packed[..., 0]), symbols)
    places, rest = jnp.zeros(logits.shape[:2]), (symbols == BLANK).astype(jnp.float32)
    loss = jnp.maximum(optax.ctc_loss(logits, places, symbols, rest, blank_id=BLANK), 1e-6)
    return jnp.stack([jnp.log(-jnp.expm1(-loss)), -loss], axis=-1)


def make_lines(
    images: Mapping[str, np.ndarray], labels: np.ndarray
) -> Callable[[Key[Array, ""], Array], Float[Array, "n 32 192 2"]]:
    """Make lines in place of images, whatever these are."""
    characters = prepare(np.concatenate(list(images.values())))
    numbers = jnp.asarray(labels)

    def augment(key: Key[Array, ""], images: Array) -> Array:
        keys = jax.random.split(key, len(images))
        return jax.lax.map(lambda key: pack(line(key, characters, numbers)), keys)

    return augment


def load(folders: Mapping[str, Path | None], rng: np.random.Generator) -> Callable:
    """What makes lines of training digits and letters."""
    images, labels = {}, []
    for name in ("mnist", "emnist/letters"):
        dataset = jd.data.load(name, "train", **folders)
        chosen = rng.permutation(len(dataset.images))[:EACH]
        images[name] = dataset.images[chosen]
        numbers = np.array([SYMBOLS.index(text) for text in dataset.class_names])
        labels.append(numbers[dataset.labels[chosen]])
    return make_lines(images, np.concatenate(labels).astype(np.int32))


def main() -> None:
    """Train, and write the parameters and a card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_options(parser, "lines", steps=12_800, batch_size=64)
    arguments = parser.parse_args()
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    make = load(folders, np.random.default_rng(arguments.seed))
    run = fit_made(
        Made("lines", make, (HEIGHT, WIDTH, 2), CLASSES, STEPS, VALIDATION),
        Model(line_network.init, judge),
        arguments,
        ema_decay=0.999,
        b2=0.999,
    )
    results = run.results["validation"]
    rows = {
        "reads": " ".join(SYMBOLS[1:]) + " in lines; a letter stands for both of its cases",
        "network": f"{count_params(run.params):,} parameters, as float16; "
        "`jaxdigits/handwriting/line_network.py`",
        "data": f"lines of `jaxdigits/handwriting/line_scenes.py`, with {EACH:,} training digits "
        f"of MNIST and {EACH:,} training letters of EMNIST",
        "recipe": "`python experiments/line_weights.py`: "
        f"{(run.config.epochs or 0) * STEPS:,} steps of {run.config.batch_size} lines, "
        f"{(run.seconds or {})['train'] / 60:.0f} minutes",
        "seed": f"{run.config.seed}, the only one",
        "validation": f"loss {results['loss']:.3f} a line; {results['accuracy']:.0%} of "
        f"{VALIDATION} lines get more than half of the probability",
    }
    ship(run, arguments.weights, "The line network", rows)


if __name__ == "__main__":
    main()
