"""The network that finds what is written on a page: trained on scenes, which are made as it learns.

    python experiments/page_weights.py --manual-dir FOLDER --out runs/page  # 90 minutes, 2 cores

`fit` trains a network that judges itself: it looks at a scene, compares what it finds with the
truth, and answers `missed` or `understood`; its loss is how far it is from the truth. A scene is
the image of an example, its truth more channels of that image; those to train on are made by
`augment`, from the key of the step, so no scene is seen twice.

Characters are those of the training images. Nothing is chosen by the test images.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxdigits.environment import prepare_jax

prepare_jax()

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key
from shipping import Made, add_options, fit_made, ship

import jaxdigits as jd
from jaxdigits.handwriting import page_network, scenes
from jaxdigits.handwriting.glyphs import SIGNS, Characters, prepare
from jaxdigits.handwriting.scene_layout import SIZE
from jaxdigits.models import Model, count_params
from jaxdigits.runs.folder import load_params

DIGITS, LETTERS = 24_000, 24_000
"""Characters to choose from."""

STEPS, VALIDATION = 64, 64
"""Steps in what `fit` takes for an epoch, and scenes that are kept to validate on."""

CHANNELS = 4 + 10
"""Of a scene with its truth: see `pack`."""

UNDERSTOOD = 0.8
"""The share of ink that is found, of all that is ink or found to be."""

CLASSES = ("missed", "understood")

_REACH = 8.0  # offsets of up to this many units are packed


def pack(pixels: Float[Array, "256 256 3"], truth: scenes.Truth) -> Float[Array, "256 256 14"]:
    """A scene and its truth as one image, of 0..1."""
    offsets = jnp.clip(truth.offsets / (2 * _REACH) + 0.5, 0, 1)
    up = jnp.broadcast_to((truth.up + 1) / 2, (*truth.ink.shape, 2))
    classes = truth.classes / scenes.NUM_CLASSES
    size = jnp.full(truth.ink.shape, jnp.clip(truth.size / (2 * _REACH) + 0.5, 0, 1))
    middles = (truth.middles + 1).repeat(2, 0).repeat(2, 1) / 2
    more = jnp.stack([truth.ink, classes, truth.counts, truth.written, size, middles], axis=-1)
    return jnp.concatenate([scenes.network_input(pixels, truth), more, offsets, up], axis=-1)


class Packed(NamedTuple):
    """What `pack` has put together, of some scenes."""

    images: Array
    ink: Array
    classes: Array
    counts: Array
    written: Array
    size: Array
    middles: Array
    offsets: Array
    up: Array


def unpack(packed: Float[Array, "n 256 256 14"]) -> Packed:
    """Take them apart."""
    images, rest = packed[..., :4], packed[..., 4:]
    classes = jnp.round(rest[..., 1] * scenes.NUM_CLASSES).astype(jnp.int32)
    size, offsets = ((x - 0.5) * 2 * _REACH for x in (rest[:, 0, 0, 4], rest[..., 6:8]))
    middles, up = 2 * rest[:, ::2, ::2, 5] - 1, 2 * rest[:, 0, 0, 8:] - 1
    ink, _, counts, written = jnp.moveaxis(rest[..., :4], -1, 0)
    return Packed(images, ink, classes, counts, written, size, middles, offsets, up)


def losses(page: page_network.Page, truth: Packed) -> Float[Array, " n"]:
    """How far what the network says is from the truth, for each scene."""
    classes = jax.nn.one_hot(truth.classes, scenes.NUM_CLASSES)
    ground = jax.nn.one_hot(scenes.GROUND, scenes.NUM_CLASSES)
    target = truth.ink[..., None] * classes + (1 - truth.ink[..., None]) * ground
    entropy = -(target * jax.nn.log_softmax(page.logits)).sum(axis=-1)
    is_sign = truth.classes > scenes.CHARACTER
    rare = jnp.where(is_sign, 8.0, 3.0) * (truth.classes != scenes.GROUND)
    weights = (1 + rare * truth.ink) * truth.counts
    pixels = (entropy * weights).sum(axis=(1, 2)) / (truth.counts.sum(axis=(1, 2)) + 1)
    # The other outputs are per block of 2x2, and learned where it is ink.
    inked = truth.ink * (truth.classes != scenes.GROUND) * truth.counts
    n, height, width = inked.shape
    in_blocks = inked.reshape(n, height // 2, 2, width // 2, 2)
    amount = in_blocks.sum(axis=(2, 4))
    by_pixel = truth.offsets.reshape(*in_blocks.shape, 2) * in_blocks[..., None]
    offsets = by_pixel.sum(axis=(2, 4)) / (amount[..., None] + 1e-3)
    counts = (amount > 1).astype(jnp.float32)
    away = jnp.abs(page.offsets - offsets).sum(axis=-1)
    turned = ((page.up - truth.up[:, None, None]) ** 2).sum(axis=-1)
    of_blocks = ((away + 0.5 * turned) * counts).sum(axis=(1, 2)) / (counts.sum(axis=(1, 2)) + 1)
    # The size is learned also where it says that characters are too small or too large.
    written = truth.written.reshape(in_blocks.shape).mean(axis=(2, 4))
    wrong = jnp.abs(page.size - truth.size[:, None, None])
    sizes = (wrong * written).sum(axis=(1, 2)) / (written.sum(axis=(1, 2)) + 1)
    learned = truth.middles > -0.5
    target = jnp.maximum(truth.middles, 0)
    unsure = optax.sigmoid_binary_cross_entropy(page.middles, target) * (1 + 15 * target)
    middles = (unsure * learned).mean(axis=(1, 2))
    return 10 * pixels + of_blocks + 0.5 * sizes + 10 * middles


def found(page: page_network.Page, truth: Packed) -> Float[Array, " n"]:
    """The share of pixels of the right class, of those that are ink or found to be."""
    said = page.logits.argmax(axis=-1)
    right = jnp.where(truth.ink > 0.5, truth.classes, scenes.GROUND)
    counts = truth.counts * ((said != scenes.GROUND) | (right != scenes.GROUND))
    near = jnp.abs(truth.ink - 0.5) > 0.25  # the edge of a stroke is neither
    total = (counts * near).sum(axis=(1, 2))
    return ((said == right) * counts * near).sum(axis=(1, 2)) / jnp.maximum(total, 1) + (total == 0)


def judge(params: Any, packed: Float[Array, "n 256 256 14"]) -> Float[Array, "n 2"]:
    """Look at scenes and compare: minus the loss, and whether they were understood, as logits."""
    truth = unpack(packed)
    page = page_network.apply(params, truth.images)
    loss = losses(page, truth)
    better = found(page, truth) - UNDERSTOOD
    return jnp.stack([-loss, -loss + better], axis=-1)


def loss_of(logits: Float[Array, "n 2"], labels: Any) -> Float[Array, " n"]:
    """The loss that `judge` has computed."""
    del labels
    return -logits[:, 0]


def make_scenes(
    characters: Characters,
) -> Callable[[Key[Array, ""], Array], Float[Array, "n 256 256 14"]]:
    """Make scenes in place of images, whatever these are."""

    def augment(key: Key[Array, ""], images: Array) -> Array:
        # One after the other: each draws only as many characters as it has.
        keys = jax.random.split(key, len(images))
        return jax.lax.map(lambda key: pack(*scenes.scene(key, characters)), keys)

    return augment


def main() -> None:
    """Train, and save the run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_options(parser, "page", steps=10_000, batch_size=8)
    parser.add_argument("--start", type=Path, help="parameters to start from")
    arguments = parser.parse_args()
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    digits, letters = (
        jd.data.load(name, "train", **folders) for name in ("mnist", "emnist/letters")
    )
    rng = np.random.default_rng(arguments.seed)
    images = [
        dataset.images[rng.permutation(len(dataset.images))[:count]]
        for dataset, count in ((digits, DIGITS), (letters, LETTERS))
    ]
    make = make_scenes(prepare(np.concatenate(images)))
    init = page_network.init
    if arguments.start is not None:
        start = load_params(arguments.start, init)
        init = lambda key: start  # noqa: E731
    run = fit_made(
        Made("scenes", make, (SIZE, SIZE, CHANNELS), CLASSES, STEPS, VALIDATION),
        Model(init, judge),
        arguments,
        ema_decay=0.998,
        b2=0.99,
        loss=loss_of,
    )
    results = run.results["validation"]
    rows = {
        "finds": "characters, the signs `" + " ".join(SIGNS) + "`, their scale and turn",
        "network": f"{count_params(run.params):,} parameters, as int8 with scales; "
        "`jaxdigits/handwriting/page_network.py`",
        "data": f"scenes of `jaxdigits/handwriting/scenes.py`, with {DIGITS:,} training digits of "
        f"MNIST and {LETTERS:,} training letters of EMNIST",
        "recipe": "`python experiments/page_weights.py`: "
        f"{(run.config.epochs or 0) * STEPS:,} steps of {run.config.batch_size} scenes, "
        f"{(run.seconds or {})['train'] / 60:.0f} minutes"
        + (f", from the parameters in `{arguments.start}`" if arguments.start else ""),
        "seed": f"{run.config.seed}, the only one",
        "validation": f"loss {results['loss']:.3f}; in {results['accuracy']:.0%} of "
        f"{VALIDATION} scenes more than {UNDERSTOOD:.0%} of the ink is found, and nothing else",
    }
    text = """\
It takes what looks like a character for one, of any alphabet, and what looks like one of its signs
for that, whatever was meant. How often whole pages are read right, by kind: `experiments/pages.py`.
"""
    ship(run, arguments.weights, "The page network", rows, text, dtype=np.int8)


if __name__ == "__main__":
    main()
