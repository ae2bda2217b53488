"""What surrounds writing is not read: underlines, frames, the edges of a sheet, the table."""

import numpy as np
import pytest
from drawn import canvas
from PIL import Image, ImageDraw

import jaxdigits as jd
from jaxdigits import handwriting
from jaxdigits.errors import DataError

PAPER, INK, DARK = 235, 40, 45
SMALL = (250, 166)
"""Columns and rows at which pages are read: larger ones are looked at at more scales."""


def underline(page):
    page[150:156, 60:190] = INK


def overline(page):
    page[44:50, 60:190] = INK


def frame(page):
    page[20:24, 20:280] = page[176:180, 20:280] = INK
    page[20:180, 20:24] = page[20:180, 276:280] = INK


def boxes(page):
    for left in (60, 140):
        page[40:43, left : left + 50] = page[157:160, left : left + 50] = INK
        page[40:160, left : left + 3] = page[40:160, left + 47 : left + 50] = INK


def edges(page):
    page[:, :30] = page[:30] = DARK


def strip(page):
    page[:, :30] = DARK


def table(page):
    page[:20] = page[-20:] = page[:, :20] = page[:, -20:] = DARK


def wide_table(page):
    page[:45] = page[-45:] = page[:, :60] = page[:, -60:] = DARK


def draw(page, *lines, width=6):
    image = Image.fromarray(page)
    for line in lines:
        ImageDraw.Draw(image).line(line, fill=(INK, INK, INK), width=width)
    page[:] = np.asarray(image)


def sloping(page):
    draw(page, [(50, 166), (200, 150)])


def bracket_below(page):
    draw(page, [(60, 150), (60, 166), (190, 166), (190, 150)], width=4)


def brace_below(page):
    draw(page, [(60, 152), (68, 162), (115, 162), (125, 172), (135, 162), (182, 162), (190, 152)])


def arrow_below(page):
    draw(page, [(60, 164), (190, 164)], [(178, 156), (190, 164), (178, 172)], width=4)


def stroke_through(page):
    draw(page, [(60, 106), (190, 100)], width=5)


AROUND = [
    *(underline, overline, sloping, bracket_below, brace_below, arrow_below, stroke_through),
    *(frame, boxes, edges, strip, table, wide_table),
]


def test_what_is_around_digits_is_not_read():
    """Without a setting: of digits with all of that around them, on paper and on boards."""
    right = 0
    for number, around in enumerate(AROUND):
        page = np.full((200, 300, 3), PAPER, np.uint8)
        for character, left in (("2", 70), ("5", 150)):
            ink = 1 - canvas(character, 5, side=110, pen=7) / 255
            rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
            ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, None]
            place = page[58 : 58 + len(ink), left : left + ink.shape[1]]
            place[:] = PAPER - (PAPER - INK) * ink
        around(page)
        page = np.asarray(Image.fromarray(page).resize(SMALL, Image.Resampling.BOX))
        try:
            reading = handwriting.read(255 - page if number % 2 else page, jd.load("digits"))
        except DataError:
            continue
        right += reading.text.replace(" ", "") == "25"
    assert right == len(AROUND)


def read_cut_out(test: jd.Dataset, margin: int, times: int, count: int) -> float:
    """The share that is read right of digits cut out at their box, and enlarged."""
    run, right = jd.load("digits"), 0
    for image, label in list(zip(test.images, test.labels, strict=True))[:count]:
        rows, columns = (np.flatnonzero((image > 60).any(axis=axis)) for axis in (1, 0))
        cut = np.pad(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], margin)
        size = (times * cut.shape[1], times * cut.shape[0])
        large = np.asarray(Image.fromarray(255 - cut).resize(size, Image.Resampling.BICUBIC))
        try:
            text = handwriting.read(np.repeat(large[..., None], 3, axis=2), run).text
        except DataError:
            continue
        right += text == str(label)
    return right / count


def test_digits_cut_out_at_their_box():
    assert read_cut_out(jd.data.load("digits", "test"), margin=2, times=2, count=30) > 0.9


@pytest.mark.parametrize(("margin", "times", "least"), [(0, 3, 0.93), (1, 2, 0.96)])
def test_digits_of_mnist_cut_out_at_their_box(mnist_dir, margin, times, least):
    """Of 50 of each."""
    test = jd.data.load("mnist", "test", data_dir=mnist_dir)
    assert read_cut_out(test, margin, times, count=50) > least
