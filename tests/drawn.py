"""Handwriting of no data set: drawn from strokes, on a canvas or on paper under a camera."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import CubicSpline

Stroke = tuple[str, str]
"""`curve` or `line`, and points: column and row, 0 (left, top) to 9 (right, bottom), as `09`."""

SHAPES: dict[str, list[list[Stroke]]] = {
    "0": [[("curve", "50 21 14 27 59 77 85 62 40")], [("curve", "60 31 24 37 49 68 74 61 41")]],
    "1": [[("line", "50 49")], [("line", "32 50 59")], [("line", "32 50 59"), ("line", "29 89")]],
    "2": [
        [("curve", "12 40 72 63 36 09"), ("line", "09 89")],
        [("curve", "12 40 71 64 27 09 18 47 69 88")],
    ],
    "3": [
        [("curve", "11 40 72 54 34"), ("curve", "34 65 77 49 08")],
        [("line", "10 80 44"), ("curve", "44 75 77 49 08")],
    ],
    "4": [
        [("line", "30 06 86"), ("line", "63 69")],
        [("line", "60 06 86"), ("line", "60 69")],
        [("line", "20 15 75"), ("line", "60 59")],
    ],
    "5": [
        [("line", "80 20 14"), ("curve", "14 54 77 59 08")],
        [("line", "21 14"), ("curve", "14 54 77 59 08"), ("line", "21 80")],
    ],
    "6": [
        [("curve", "70 32 16 39 68 76 55 26")],
        [("curve", "60 25 17 49 77 65 36 17")],
    ],
    "7": [
        [("line", "10 80 39")],
        [("line", "10 80 39"), ("line", "25 75")],
        [("line", "11 10 80 49")],
    ],
    "8": [
        [("curve", "71 40 12 34 65 78 49 18 25 54 72 60 40")],
        [("curve", "50 22 44 67 49 27 45 62 50")],
    ],
    "9": [
        [("curve", "72 40 12 34 64 72"), ("line", "72 69")],
        [("curve", "71 40 13 45 73 71"), ("curve", "71 75 59 18")],
    ],
    "A": [[("line", "09 50 99"), ("line", "26 76")]],
    "B": [[("line", "10 19"), ("curve", "10 60 82 64 14"), ("curve", "14 64 87 69 19")]],
    "C": [[("curve", "81 50 14 27 59 88")]],
    "D": [[("line", "10 19"), ("curve", "10 51 84 67 19")]],
    "E": [[("line", "80 10 19 89"), ("line", "14 64")]],
    "F": [[("line", "80 10 19"), ("line", "14 64")]],
    "G": [[("curve", "81 50 14 27 59 86"), ("line", "55 85 89")]],
    "H": [[("line", "10 19"), ("line", "80 89"), ("line", "14 84")]],
    "J": [[("curve", "70 71 77 49 16"), ("line", "40 90")]],
    "K": [[("line", "10 19"), ("line", "80 15"), ("line", "34 89")]],
    "L": [[("line", "10 19 89")]],
    "M": [[("line", "09 10 55 80 99")]],
    "N": [[("line", "19 10 89 80")]],
    "O": [[("curve", "50 21 14 27 59 77 85 62 40")]],
    "P": [[("line", "10 19"), ("curve", "10 70 83 65 15")]],
    "R": [[("line", "10 19"), ("curve", "10 70 83 65 15"), ("line", "45 89")]],
    "S": [[("curve", "81 40 12 44 76 59 18")]],
    "T": [[("line", "00 90"), ("line", "50 59")]],
    "U": [[("curve", "10 15 28 59 77 84 80")]],
    "V": [[("line", "00 49 90")]],
    "W": [[("line", "00 29 43 69 90")]],
    "X": [[("line", "10 89"), ("line", "80 19")]],
    "Y": [[("line", "00 45 90"), ("line", "45 49")]],
    "Z": [[("line", "10 80 09 89")]],
    "i": [[("line", "44 49"), ("line", "41 52")]],
    "j": [[("curve", "54 56 48 18"), ("line", "51 62")]],
}
"""Some ways to write each character."""


def paths(character: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Points along each stroke of a character, [n, 2], x and y of about 0..1; no two are alike."""
    variant = SHAPES[character][rng.integers(len(SHAPES[character]))]
    angle, slant = rng.uniform(-0.12, 0.12), rng.uniform(-0.15, 0.25)
    narrow = rng.uniform(0.55, 0.85)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    form = turn @ np.array([[narrow, -slant], [0, 1]])
    moved: dict[str, np.ndarray] = {}  # where strokes meet they move together

    def place(text: str) -> np.ndarray:
        if text not in moved:
            moved[text] = np.array([int(text[0]), int(text[1])]) / 9 + rng.normal(0, 0.025, 2)
        return moved[text]

    found = []
    for kind, text in variant:
        points = np.array([place(point) for point in text.split()])
        along = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
        fine = np.linspace(0, along[-1], 60)
        if kind == "curve":
            line = CubicSpline(along, points)(fine)
        else:
            line = np.stack([np.interp(fine, along, points[:, axis]) for axis in (0, 1)], axis=1)
        wobble = ndimage.gaussian_filter1d(rng.normal(0, 0.02, line.shape), 6, axis=0)
        found.append((line + wobble) @ form.T)
    return found


def draw(
    text: str,
    rng: np.random.Generator,
    *,
    size: float,
    pen: float,
    shape: tuple[int, int],
    start: tuple[float, float],
    spacing: float = 0.45,
) -> np.ndarray:
    """Ink 0..1 of a text in a picture [height, width]; `size` and `pen` are in pixels.

    `start` is the left upper corner of the first character, as column and row.
    """
    fine = 4
    page = Image.new("L", (shape[1] * fine, shape[0] * fine))
    brush = ImageDraw.Draw(page)
    left, top = start
    for character in text:
        if character == " ":
            left += 0.8 * size
            continue
        strokes = paths(character, rng)
        corner = np.min([stroke.min(axis=0) for stroke in strokes], axis=0)
        end = np.max([stroke.max(axis=0) for stroke in strokes], axis=0)
        base = np.array([left, top + rng.uniform(-0.06, 0.06) * size])
        for stroke in strokes:
            points = (base + (stroke - [corner[0], 0]) * size) * fine
            flat = [tuple(point) for point in points]
            brush.line(flat, fill=255, width=max(round(pen * fine), 1), joint="curve")
            radius = pen * fine / 2
            for x, y in (flat[0], flat[-1]):
                brush.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
        left += (end[0] - corner[0]) * size + pen + spacing * size * rng.uniform(0.6, 1)
    return np.asarray(page.resize((shape[1], shape[0]), Image.Resampling.BOX), np.float32) / 255


def canvas(
    character: str,
    seed: int,
    *,
    side: int = 280,
    pen: float = 14.0,
    share: float = 0.6,
    dark: bool = False,
) -> np.ndarray:
    """A character drawn with a mouse, off the centre: uint8 [side, side].

    `share` of the side is its height; ink is dark on white, or white on black.
    """
    rng = np.random.default_rng(seed)
    size = share * side * rng.uniform(0.85, 1.1)
    room = max(side - size - 2 * pen, 1)
    start = (rng.uniform(0.15, 0.6) * room + pen, rng.uniform(0.1, 0.9) * room + pen)
    ink = draw(character, rng, size=size, pen=pen, shape=(side, side), start=start)
    return np.round(255 * (ink if dark else 1 - ink)).astype(np.uint8)


SMALL = (192, 255)
"""The rows and columns of a photo at which the page network looks in one piece."""


def photo(
    lines: Sequence[str],
    seed: int,
    *,
    shape: tuple[int, int] = (600, 800),
    ruled: bool = False,
    squared: bool = False,
    color: tuple[int, int, int] = (40, 45, 80),
    pen: float = 0.06,
    turned: float = 3.0,
    shadow: float = 0.5,
    spacing: float = 0.45,
) -> np.ndarray:
    """Pen on paper under a camera: uint8 [height, width, 3].

    Uneven light with the edge of a shadow, grain, ruling, turned by up to `turned` degrees, blur,
    noise and JPEG's traces. `pen` is in heights of a character.
    """
    rng = np.random.default_rng(seed)
    height, width = shape
    longest = max(map(len, lines))
    size = min(0.55 * height / (len(lines) + 0.5), 0.8 * width / (1.2 * longest))
    ink = np.zeros(shape, np.float32)
    for number, line in enumerate(lines):
        start = (0.1 * width, (0.12 + 0.8 * number / len(lines)) * height)
        drawn = draw(
            line, rng, size=size, pen=pen * size, shape=shape, start=start, spacing=spacing
        )
        ink = np.maximum(ink, drawn)
    pressure = ndimage.gaussian_filter(rng.normal(0, 1, shape), 25)
    ink = ink * np.clip(0.9 + 0.1 * pressure / pressure.std(), 0.6, 1)
    rules = np.zeros(shape, np.float32)
    if ruled or squared:
        apart = max(round(size * 1.3), 12) if ruled else max(round(size / 3), 8)
        rules[apart // 2 :: apart] = 1
        if squared:
            rules[:, apart // 2 :: apart] = 1
        rules = np.clip(2 * ndimage.gaussian_filter(rules, 0.7), 0, 1)
    paper = np.array([235, 232, 222], np.float32)
    page = paper - 0.35 * rules[..., None] * (paper - np.array([120, 150, 200]))
    page = page - ink[..., None] * (page - np.array(color))
    page *= 1 + 0.015 * ndimage.gaussian_filter(rng.normal(0, 1, shape), 1)[..., None] * 4
    angle = rng.uniform(-turned, turned)
    page = ndimage.rotate(page, angle, axes=(1, 0), reshape=False, order=1, mode="nearest")
    rows, columns = np.mgrid[0:height, 0:width] / max(shape)
    direction = rng.uniform(0, 2 * np.pi)
    light = 1 - 0.5 * shadow * (np.cos(direction) * columns + np.sin(direction) * rows)
    edge = np.cos(direction + 1) * (columns - 0.5) + np.sin(direction + 1) * (rows - 0.35)
    light *= 1 - shadow * 0.5 / (1 + np.exp(-edge * 40))  # a hand's shadow
    page = page * light[..., None] * 0.85
    page = ndimage.gaussian_filter(page, (0.8, 0.8, 0))
    page += rng.normal(0, 3, page.shape)
    return np.clip(np.round(page), 0, 255).astype(np.uint8)
