"""`jaxdigits teach`: a network learns your hand; `jaxdigits hand` shows what it was taught."""

from pathlib import Path
from typing import Annotated

from jaxdigits.cli.options import Json

HAND = Path("my.hand")

HandFile = Annotated[Path, {"metavar": "FILE"}]


def teach(
    network: str, picture: Path, text: str, hand: HandFile = HAND, json: Json = False
) -> None:
    """Read a picture, and remember what was misread, so that it is read right from then on.

    `jaxdigits predict --hand FILE` and `jaxdigits draw --hand FILE` read with it. The network stays
    as it is; the file holds the misread characters, and can be given to others.

    Args:
        network: digits, letters, or characters (both), which come with the package; or a run
            folder.
        picture: as for `jaxdigits predict`.
        text: all that it says, with or without spaces.
        hand: the file; it is created if there is none.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import report
    from jaxdigits.files import changing
    from jaxdigits.handwriting import learn, open_or_new, open_picture, save_hand
    from jaxdigits.runs.folder import load

    run, shown = load(network), open_picture(picture)
    lesson = learn(run, open_or_new(hand, run), shown, text, picture.name)
    kept = lesson.hand
    if lesson.learned or not hand.exists():
        with changing(hand):  # others may have added to it meanwhile
            kept = open_or_new(hand, run).add(lesson.learned)
            save_hand(kept, hand)
    document = {
        "hand": str(hand),
        "corrections": len(kept.corrections),
        "learned": [{"read": one.read, "is": one.name} for one in lesson.learned],
        "before": lesson.before.text,
        "after": lesson.after.text,
    }
    words = [f"{one.read} is {one.name}" for one in lesson.learned]
    told = f"learned: {', '.join(words)}\n{lesson.after.text}" if words else "nothing was misread"
    report(told, document, as_json=json)


def list_corrections(hand: HandFile = HAND, json: Json = False) -> None:
    """List what a hand was taught.

    Args:
        hand: the file.
    """
    from jaxdigits.cli.output import report
    from jaxdigits.handwriting import open_hand

    found = open_hand(hand).corrections
    lines = [
        f"{number:4}  {one.read} is {one.name}  {one.source}" for number, one in enumerate(found, 1)
    ]
    rows = [{"read": one.read, "is": one.name, "source": one.source} for one in found]
    report(
        "\n".join(lines) or "nothing yet", {"hand": str(hand), "corrections": rows}, as_json=json
    )


def undo(number: int, hand: HandFile = HAND) -> None:
    """Take a correction back.

    Args:
        number: that `jaxdigits hand list` shows.
        hand: the file.
    """
    from jaxdigits.files import changing
    from jaxdigits.handwriting import open_hand, save_hand

    open_hand(hand)  # where there is none, nothing is to be locked
    with changing(hand):
        found = open_hand(hand)
        save_hand(found.without(number), hand)
    one = found.corrections[number - 1]
    print(f"removed: {one.read} is {one.name}")
