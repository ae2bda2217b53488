"""A network learns your hand: what it misread is remembered, with what it was.

    import jaxdigits as jd
    run, picture = jd.load("digits"), jd.handwriting.open_picture("note.jpg")
    reading = jd.handwriting.read(picture, run)
    hand = jd.handwriting.Hand.of(run).add(jd.handwriting.corrections(reading, "314 159"))
    run = jd.handwriting.teach(run, hand)                    # reads like `run`, but for these
    jd.handwriting.save_hand(hand, "mine.hand")

Nothing is trained. A taught network compares the logits of an image with those of each correction,
and adds to the logit of the class that the correction shows

    max(STRENGTH * exp(-s * d), margin * exp(-max(s, SAMENESS) * d)),    d = 1 - cosine,

of each class the largest. The margin is what that logit lacked to be the largest, and STRENGTH: so
an image that was corrected is read right at once, and what resembles it unless the network is very
sure. How sharply that fades depends on the correction: s = max(NEARNESS, APART / d'), where d' is
its distance from an image that the network is sure shows what it was misread as. So a 1 that looks
like any 7 does not turn others' 7s into 1s.

A correction that is taken back leaves no trace, and what resembles none is read as before. It is a
cache beside a network, as in Grave, Joulin and Usunier, "Improving neural language models with a
continuous cache" (2017). `experiments/teaching.py` measures what it is worth, and chose the
constants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxdigits.errors import ConfigError, DataError
from jaxdigits.handwriting.hand import Correction, Hand
from jaxdigits.handwriting.ink import Picture
from jaxdigits.handwriting.reading import Reading, read
from jaxdigits.models import Apply, Model
from jaxdigits.runs.run import HAND, Run

STRENGTH, SAMENESS = 6.0, 1000.0
"""What a similar image adds to a logit, and how fast what the same image adds fades."""

NEARNESS, APART = 128.0, 6.0
"""How fast what a similar image adds fades at least, and how far it has faded at an image that the
network is sure of: to exp(-APART)."""

_PASSES = 3  # the most times that a picture is read again
_FEWEST = 16  # places for corrections in a program, so that few programs are compiled


def corrections(reading: Reading, text: str, source: str = "") -> list[Correction]:
    """The characters of a reading that are not what was written.

    Args:
        reading: of a picture.
        text: what the picture says, with or without spaces and line breaks; where a class has a
            name of several letters, with a space between characters.
        source: where the picture is from.

    Raises:
        DataError: another number of characters was found.
        ConfigError: the network has no such class.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> reading = jd.handwriting.read(page, jd.load("digits"))
        >>> [(one.read, one.name) for one in corrections(reading, "7")]
        [('1', '7')]
    """
    single = all(len(name) == 1 for name in reading.class_names)
    written, found = ("".join(text.split()) if single else text.split()), reading.names
    if len(written) != len(found):
        raise DataError(
            f"what was found is {len(found)} character{'s' * (len(found) != 1)} "
            f"({('' if single else ' ').join(found)}), but the text has {len(written)}; name all "
            "that the picture shows, or cut it"
        )
    wrong: list[Correction] = []
    for number, (character, name, taken) in enumerate(
        zip(reading.characters, written, found, strict=True), 1
    ):
        if character.sign:  # the page network's, which learns nothing here
            continue
        name = _class_named(name, reading.class_names)
        if name != taken:
            where = f"{source}, character {number}" if source else f"character {number}"
            wrong.append(Correction(reading.images[number - 1], name, taken, where))
    return wrong


def correct(
    run: Run, image: UInt8[np.ndarray, "..."], text: str, source: str = ""
) -> Correction | None:
    """The correction of an image of a character; None if it is read so.

    Args:
        run: the network.
        image: of the shape that it takes, pixels 0..255.
        text: what it shows.
        source: where it is from.

    Raises:
        ConfigError: the network has no such class.

    Example:
        >>> import jaxdigits as jd
        >>> image = np.zeros((28, 28), np.uint8)
        >>> image[4:24, 13:15] = 255
        >>> correct(jd.load("digits"), image, "1") is None
        True
    """
    name = _class_named(text.strip(), run.class_names)
    taken = run.class_names[int(run.predict(image[None])[0])]
    return None if taken == name else Correction(image, name, taken, source)


class Lesson(NamedTuple):
    """What `learn` gives.

    Attributes:
        hand: with what was learned.
        learned: the characters that were misread.
        before: how the picture was read.
        after: how it is read with the hand.
    """

    hand: Hand
    learned: list[Correction]
    before: Reading
    after: Reading


def learn(run: Run, hand: Hand, picture: Picture, text: str, source: str = "") -> Lesson:
    """Read a picture with a hand, and add what is misread to it.

    Args:
        run: the network, untaught.
        hand: what it was taught so far.
        picture: uint8 [height, width, 3], pixels 0..255.
        text: what it says.
        source: where it is from.

    Raises: as `read`, `corrections`, `teach`.

    Example:
        >>> import jaxdigits as jd
        >>> page = np.full((100, 60, 3), 250, np.uint8)
        >>> page[20:80, 28:34] = 30
        >>> lesson = learn(jd.load("digits"), Hand.of(jd.load("digits")), page, "7")
        >>> lesson.before.text, lesson.after.text
        ('1', '7')
    """
    before = after = read(picture, teach(run, hand))
    learned: list[Correction] = []
    for _ in range(_PASSES):  # what is read otherwise may be found otherwise, too
        try:
            wrong = corrections(after, text, source)
        except DataError:
            if not learned:
                raise
            break
        if not wrong:
            break
        hand, learned = hand.add(wrong), [*learned, *wrong]
        after = read(picture, teach(run, hand))
    return Lesson(hand, learned, before, after)


def _class_named(name: str, class_names: Sequence[str]) -> str:
    for case in (name, name.lower(), name.upper()):
        if case in class_names:
            return case
    raise ConfigError(f"the network knows {', '.join(class_names)}, not {name!r}")


def teach(run: Run, hand: Hand) -> Run:
    """The network with what it was taught; the other stays as it is.

    No error rate is promised of it, as its answers have changed. It is not saved, nor trained
    further: save the hand, and keep the network.

    Raises:
        ConfigError: the hand is of networks of other classes or images.

    Example:
        >>> import jaxdigits as jd
        >>> run, image = jd.load("digits"), np.zeros((28, 28), np.uint8)
        >>> image[4:24, 13:15] = 255
        >>> hand = Hand.of(run).add([Correction(image, "7", "1")])
        >>> run.predict(image[None]).tolist(), teach(run, hand).predict(image[None]).tolist()
        ([1], [7])
    """
    _check_same(hand, run)
    if not hand.corrections:
        return run
    logits = run.predict_logits(np.stack([one.image for one in hand.corrections]))
    labels = [run.class_names.index(one.name) for one in hand.corrections]
    shown = np.eye(logits.shape[1], dtype=np.float32)[labels]
    margins = logits.max(axis=1) - (logits * shown).sum(axis=1) + STRENGTH
    sure = np.eye(logits.shape[1], dtype=np.float32)[logits.argmax(axis=1)]
    away = 1 - (_directions(logits) * _directions(sure)).sum(axis=1)
    sharpness = np.maximum(NEARNESS, APART / np.maximum(away, 1e-6))
    count = max(_FEWEST, 1 << (len(labels) - 1).bit_length())
    memory = {"logits": logits, "shown": shown, "margins": margins, "sharpness": sharpness}
    more = (0, count - len(labels))
    memory = {
        name: np.pad(np.asarray(array, np.float32), [more, (0, 0)][: np.ndim(array)])
        for name, array in memory.items()
    }
    calibration = run.calibration
    return replace(
        run,
        model=_taught(run.model.init, run.model.apply),
        params={"network": run.params, "memory": memory},
        calibration=calibration and replace(calibration, counts=None, pages=None),
        results={},
        own=tuple(dict.fromkeys([*run.own, "model", HAND])),
        folder=None,
    )


@lru_cache(maxsize=16)
def _taught(init: Any, apply: Apply) -> Model:
    """Make the taught network: equal arguments give the same object, as of `make_model`."""

    def taught(
        params: Mapping[str, Any], images: Float[Array, "n ..."]
    ) -> Float[Array, "n classes"]:
        logits, memory = apply(params["network"], images), params["memory"]
        known = _directions(memory["logits"]).T
        # In full precision, as the smallest distances count.
        away = 1 - jnp.matmul(_directions(logits), known, precision="highest")
        away = jnp.maximum(away, 0)
        sharpness = memory["sharpness"]
        similar = STRENGTH * jnp.exp(-sharpness * away)
        same = memory["margins"] * jnp.exp(-jnp.maximum(sharpness, SAMENESS) * away)
        added = jnp.maximum(similar, same)
        return logits + (added[:, :, None] * memory["shown"]).max(axis=1)

    return Model(init, taught)


def _directions(logits: Float[Array | np.ndarray, "n classes"]) -> Float[Array, "n classes"]:
    """Logits without what softmax does not see, as vectors of length 1."""
    logits = logits - logits.mean(axis=1, keepdims=True)
    return jnp.asarray(logits) / jnp.maximum(jnp.linalg.norm(logits, axis=1, keepdims=True), 1e-6)


def _check_same(hand: Hand, run: Run) -> None:
    """Raise ConfigError where a hand is not of networks like this one."""
    if hand.class_names != run.class_names:
        raise ConfigError(
            f"the hand is of networks that know {', '.join(hand.class_names)}; this one knows "
            f"{', '.join(run.class_names)}"
        )
    if (hand.form, hand.image_shape) != (run.form, run.image_shape):
        raise ConfigError(
            f"the hand has images of the form {hand.form}, {list(hand.image_shape)}; the network "
            f"takes {run.form}, {list(run.image_shape)}"
        )
