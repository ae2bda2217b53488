"""What scenes show and what pages say, as it was when that was last settled.

Whoever changes either should know: networks that were trained on other scenes are to be trained
again, and other readings are to be looked at. Then write the new ones:

    PYTHONPATH=tests python tests/handwriting/settled.py
"""

import functools
import json
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from drawn import canvas, draw, photo
from scipy import ndimage

import jaxdigits as jd
from jaxdigits.errors import DataError
from jaxdigits.files import write_json
from jaxdigits.handwriting import glyphs, line_scenes, scene_layout, scenes
from jaxdigits.handwriting.line_network import SYMBOLS

SETTLED = Path(__file__).with_suffix(".json")

# fmt: off
SCENES = (
    6, 162, 229, 298, 323, 368, 424, 469, 500, 642, 692, 1065, 1211, 1338, 1507, 1541, 1697, 1814,
    1825, 1974, 2077, 2079, 2144, 2206, 2284, 2292, 2524, 2815, 2872, 2916, 2972, 2998,
)
# fmt: on
"""Chosen of 3000: whatever a scene may have, at least two of these have, and two have not."""


def settled(name: str) -> Any:
    """What was settled of `layouts`, `scenes`, `lines`, or `pages`."""
    return json.loads(SETTLED.read_text())[name]


def outline(values: np.ndarray) -> list[float]:
    """The mean of an array, and how its values are spread over it, to 4 digits."""
    values = np.asarray(values, np.float64)
    found = [values.mean()]
    for axis, side in enumerate(values.shape[:2]):
        wave = np.cos(np.arange(side) * 8 * np.pi / side + axis)
        found.append(np.tensordot(values, wave, (axis, 0)).mean())
    return [float(f"{value:.4g}") for value in found]


@functools.cache
def some_digits() -> glyphs.Characters:
    """200 of the digits that come with the package."""
    return glyphs.prepare(jd.data.load("digits", "train").images[:200])


def stack(each: list[Any]) -> Any:
    """Arrays of each, with an axis in front."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(each))


def draw_layouts() -> scene_layout.Layout:
    """512 layouts of scenes."""
    characters, make = some_digits(), jax.jit(scene_layout.make_layout)
    return stack([make(key, characters) for key in jax.random.split(jax.random.key(7), 512)])


def outline_layouts(layouts: scene_layout.Layout) -> list[dict[str, list[float]]]:
    """Outlines of 16 layouts each."""
    return [
        {name: outline(values[at : at + 16]) for name, values in layouts._asdict().items()}
        for at in range(0, len(layouts.height), 16)
    ]


@functools.cache
def parts() -> dict[str, Any]:
    """The parts of a scene, compiled: each alone is sooner than all of them at once."""
    names = ("make_layout", "_write", "draw_ground", "_ink", "light", "crop")
    return {name: jax.jit(getattr(scenes, name)) for name in names}


def draw_scenes() -> tuple[np.ndarray, scenes.Truth]:
    """The scenes of `SCENES`, and their truth."""
    characters, keys = some_digits(), [jax.random.fold_in(jax.random.key(5), n) for n in SCENES]
    with mock.patch.multiple(scenes, **parts()):
        return stack([scenes.scene(key, characters) for key in keys])


def outline_scenes(pixels: np.ndarray, truth: scenes.Truth) -> list[dict[str, list[float]]]:
    """Outlines of scenes, and of what is known of them."""
    fields = {"pixels": pixels, **truth._asdict()}
    return [
        {name: outline(values[number]) for name, values in fields.items()}
        for number in range(len(pixels))
    ]


@functools.cache
def compiled_line() -> Any:
    """Draws a line, compiled."""
    return jax.jit(line_scenes.line)


def draw_lines() -> line_scenes.Line:
    """64 lines of digits."""
    digits = jd.data.load("digits", "train")
    labels = jnp.asarray(np.tile(digits.labels[:100], 2) + SYMBOLS.index("0"))
    characters = glyphs.prepare(np.tile(digits.images[:100], (2, 1, 1)))
    keys = jax.random.split(jax.random.key(6), 64)
    return stack([compiled_line()(key, characters, labels) for key in keys])


def outline_lines(lines: line_scenes.Line) -> list[dict[str, Any]]:
    """Outlines of lines, and their symbols."""
    return [
        {"ink": outline(ink), "symbols": symbols.tolist()}
        for ink, symbols in zip(lines.ink, lines.symbols, strict=True)
    ]


def sheet(text: str, seed: int, size: float = 60.0, spacing: float = 0.45) -> np.ndarray:
    """Ink 0..1 of a line in the middle of 200x480 pixels."""
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"shape": (200, 480), "start": (60, 65), "spacing": spacing}
    return draw(text, rng, size=size, pen=0.08 * size, **options)


def on_paper(ink: np.ndarray, paper: float = 235.0, pen: float = 45.0) -> np.ndarray:
    """Ink of a gray on paper of a gray, a little blurred: uint8 [rows, columns, 3]."""
    gray = ndimage.gaussian_filter(paper + (pen - paper) * ink, 0.7)
    return np.repeat(np.round(gray).astype(np.uint8)[..., None], 3, axis=2)


def boxed(ink: np.ndarray, *, comb: bool) -> np.ndarray:
    """Boxes around fifths of a line, or strokes between them from below."""
    page = on_paper(ink)
    color = np.array([40, 40, 40] if comb else [220, 120, 40])
    page[138:141, 40:441] = color
    for left in range(40, 441, 80):
        page[(110 if comb else 50) : 141, left : left + 2] = color
    if not comb:
        page[50:53, 40:441] = color
    return page


def fields(text: str, seed: int) -> np.ndarray:
    """Ink of five characters, 80 pixels apart."""
    ink = np.zeros((200, 480), np.float32)
    for number, character in enumerate(text):
        options: dict[str, Any] = {"shape": (200, 480), "start": (62 + 80 * number, 68)}
        rng = np.random.default_rng(seed + number)
        ink = np.maximum(ink, draw(character, rng, size=55, pen=5, **options))
    return ink


def signs() -> np.ndarray:
    """A 2, a minus, a 3, a point, and a 5."""
    ink = fields("2 3 5", 4)
    ink[92:98, 150:185] = 1
    ink[118:125, 315:322] = 1
    return on_paper(ink)


def on_a_table(page: np.ndarray) -> np.ndarray:
    """A sheet on brown wood."""
    rng = np.random.default_rng(0)
    rows, columns = page.shape[0] + 120, page.shape[1] + 140
    grain = ndimage.gaussian_filter(rng.normal(0, 1, (rows, columns)), (1, 20))
    table = np.array([110, 75, 50]) + 80 * grain[..., None]
    table[60:-60, 70:-70] = page
    return np.clip(np.round(table), 0, 255).astype(np.uint8)


def pages() -> dict[str, tuple[str, np.ndarray]]:
    """Pages by their kinds, with the network that reads them."""
    small: dict[str, Any] = {"shape": (300, 400)}
    drawing = canvas("3", 2, dark=True)
    found = {
        "photo": photo(["31", "4159"], 0, **small),
        "ruled": photo(["2718"], 1, ruled=True, **small),
        "squared": photo(["1618"], 12, squared=True, **small),
        "pencil in shade": photo(["57", "72"], 3, color=(130, 130, 130), shadow=0.9, **small),
        "touching": on_paper(sheet("20358", 1, spacing=-0.12)),
        "close": on_paper(sheet("47382", 2, spacing=0.1))[58:132, 52:400],
        "aslant": photo(["9024"], 5, turned=25.0, **small),
        "turned": np.ascontiguousarray(np.rot90(photo(["2457"], 0, **small))),
        "chalk": np.pad(on_paper(sheet("61374", 6), 40, 225), ((20, 20), (20, 20), (0, 0))),
        "boxes": boxed(fields("27495", 3), comb=False),
        "comb": boxed(fields("83524", 8), comb=True),
        "signs": signs(),
        "on a table": on_a_table(on_paper(sheet("3952", 9))),
        "small": on_paper(sheet("705", 10))[::3, ::3],
        "drawing": np.repeat(drawing[..., None], 3, axis=2),
        "small drawing": np.repeat(canvas("5", 1, side=28, pen=2.5)[..., None], 3, axis=2),
    }
    words = {
        "letters": photo(["HELD", "JURY"], 7, **small),
        "dots": on_paper(sheet("BiKjE", 12)),
    }
    return {
        **{kind: ("digits", page) for kind, page in found.items()},
        **{kind: ("letters", page) for kind, page in words.items()},
    }


def read_pages() -> dict[str, Any]:
    """What pages say: texts, boxes, confidences, and how much ink was seen.

    What shows little else than characters is read by its strokes too, drawings by the networks.
    """
    others = dict.fromkeys(("drawing", "small drawing"), "network")
    others |= dict.fromkeys(("photo", "small", "letters", "dots"), "strokes")
    runs = {name: jd.load(name) for name in ("digits", "letters")}
    found: dict[str, Any] = {}
    for kind, (name, page) in pages().items():
        for way in ("auto", *([others[kind]] if kind in others else [])):
            try:
                reading = jd.handwriting.read(page, runs[name], find=way)
            except DataError as error:
                found[f"{kind}, {way}"] = {"error": str(error)}
                continue
            found[f"{kind}, {way}"] = {
                "text": reading.text,
                "degrees": round(reading.degrees, 1),
                "boxes": [[c.top, c.left, c.bottom, c.right] for c in reading.characters],
                "confidences": [round(sure, 3) for sure in reading.confidences],
                "ink": [round(float(image.mean()), 2) for image in reading.images],
            }
    return found


if __name__ == "__main__":
    write_json(
        SETTLED,
        {
            "layouts": outline_layouts(draw_layouts()),
            "scenes": outline_scenes(*draw_scenes()),
            "lines": outline_lines(draw_lines()),
            "pages": read_pages(),
        },
    )
