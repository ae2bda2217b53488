"""Tell which way up a character is, and what is none: a small network for that alone.

Networks that read characters answer with one of them whatever they are shown, so they are no judges
of how a page is turned, or of what a stain is. This one has seen digits and letters in all four
turns, and pieces, pairs, and scribbles. It tells digits from letters too, as some are others'
turned: a page of digits is not turned because one of them may be a letter.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from jaxdigits.handwriting.segmentation import Character
from jaxdigits.models import Model, convnet
from jaxdigits.runs.folder import shipped_params
from jaxdigits.training.batches import filled_batches
from jaxdigits.transforms.form import to_mnist

KINDS = ("digit", "letter")

NONE = "none"
"""What is no character."""

NAMES = (*(f"{kind} turned by {turn}" for kind in KINDS for turn in (0, 90, 180, 270)), NONE)
"""The classes; degrees are counter-clockwise."""

NETWORK = Model(
    partial(convnet.init, num_classes=len(NAMES), channels=(12, 24, 40), hidden=(32, 32)),
    convnet.apply,
)


@jax.jit
def _probabilities(params: Any, images: Any) -> Any:
    return jax.nn.softmax(NETWORK.apply(params, images.astype("float32") / 255))


def turns(
    inks: Sequence[UInt8[np.ndarray, "_ _"]], kinds: Collection[str] = KINDS
) -> Float[np.ndarray, "n 5"]:
    """How probable it is that characters are turned by 0, 90, 180, and 270 degrees, or are none.

    Args:
        inks: of characters, bright on 0, of any size.
        kinds: that there may be, of `KINDS`.

    Example:
        >>> four = np.zeros((60, 40), np.uint8)
        >>> four[5:35, 5:9] = four[31:35, 5:35] = four[5:55, 26:30] = 255
        >>> turns([four, np.rot90(four, 2)], ["digit"]).argmax(axis=1).tolist()
        [0, 2]
    """
    images = np.stack([to_mnist(ink) for ink in inks])
    params = shipped_params("turns")
    parts = [np.asarray(_probabilities(params, some)) for some in filled_batches(images, _AT_ONCE)]
    found = np.concatenate(parts)[: len(images)].astype(np.float64)
    chosen = [kind in kinds for kind in KINDS]
    by_turn = found[:, :-1].reshape(-1, len(KINDS), 4)[:, chosen].sum(axis=1)
    both = np.concatenate([by_turn, found[:, -1:]], axis=1)
    return both / both.sum(axis=1, keepdims=True)


_AT_ONCE = 32  # images, so that one program serves all pages
_WRONG = 0.03  # how probable it is that the network is of no use for a character
_GIVEN = 4.0  # how much more probable it is that a picture is upright, as a logarithm
_LINE = 0.7  # and that it has a line less: people write along lines, not down


def page_turns(
    characters: Sequence[Character], shares: Float[np.ndarray, "n 5"], given: int = 0
) -> Float[np.ndarray, " 4"]:
    """How probable it is that a page is turned by 0, 90, 180, and 270 degrees, as logarithms.

    Args:
        characters: and signs, as they were found.
        shares: from `turns`, of each.
        given: the turn, in quarters, of which the picture was: the most probable one beforehand.
    """
    rows = [row for row, character in enumerate(characters) if not character.sign]
    found = [characters[row] for row in rows]
    each = np.zeros(4)
    if len(found) > 1:
        by_turn = shares[rows, :-1] + shares[rows, -1:] / 4
        each = np.log((1 - _WRONG) * by_turn + _WRONG / 4).sum(axis=0)
        boxes = np.array([[c.top, c.bottom, c.left, c.right] for c in found], float)
        size = float(np.median(np.maximum(*(boxes[:, [1, 3]] - boxes[:, [0, 2]]).T)))
        lines, columns = (_groups(boxes[:, at : at + 2].mean(axis=1), size / 2) for at in (0, 2))
        each -= _LINE * np.array([lines, columns, lines, columns])
    each[given] += _GIVEN
    return each


def _groups(places: Float[np.ndarray, " n"], apart: float) -> int:
    """How many groups there are with gaps wider than that between them."""
    return 1 + int((np.diff(np.sort(places)) > apart).sum())
