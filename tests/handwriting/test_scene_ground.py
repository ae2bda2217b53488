"""What characters stand on, part by part, with draws that are chosen instead of drawn.

The key of each draw is its share of the range, so that 0 gives the lowest number and 1 the highest;
of normal numbers and noise it is the number itself.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdigits.handwriting import scene_ground
from jaxdigits.handwriting.scene_layout import Layout

SIDE, HEIGHT = 64, 16.0
PLACES = np.arange(SIDE) + 0.5 - SIDE / 2
"""Rows and columns, from the middle, where the center of the block is."""

rows, columns = PLACES[:, None], PLACES[None]


def layout_of(**changes: Any) -> Layout:
    """Two lines of three; the block is 28 high and 40 wide."""
    plain = Layout(*[jnp.array(0.0)] * len(Layout._fields))._replace(
        height=jnp.array(HEIGHT),
        center=jnp.full(2, SIDE / 2),
        block=jnp.array([14.0, 20.0]),
        spacing=jnp.array(20.0),
        pitch=jnp.array(14.0),
        lines=jnp.array(2),
        per_line=jnp.array(3),
        cells=jnp.array(True),
    )
    return plain._replace(**{name: jnp.asarray(value) for name, value in changes.items()})


@pytest.fixture(scope="module")
def chosen() -> Iterator[None]:
    """Small scenes, whose draws are their keys."""

    def between(key: Any, low: Any, high: Any, shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.broadcast_to(low + (high - low) * key, shape)

    def whole(key: Any, shape: tuple[int, ...], low: int, high: int) -> jax.Array:
        return jnp.floor(between(key, low, high, shape)).astype(jnp.int32)

    def uniform(key: Any, shape: tuple[int, ...] = (), minval=0.0, maxval=1.0) -> jax.Array:
        return between(key, minval, maxval, shape)

    random = SimpleNamespace(
        uniform=uniform,
        normal=lambda key, shape: jnp.broadcast_to(key, shape),
        randint=whole,
        split=lambda key: key,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_ground, "SIZE", SIDE)
        patch.setattr(scene_ground, "random", random)
        patch.setattr(scene_ground, "uniform", between)
        patch.setattr(scene_ground, "chance", lambda key, share, shape=(): key < share)
        patch.setattr(scene_ground, "noise", lambda key, cells: jnp.full((SIDE, SIDE), key * cells))
        yield


Part = Callable[..., np.ndarray]


def part_of(
    function: Callable[..., Any], *names: str, places: bool = True, **defaults: Any
) -> Part:
    """A part of the ground as a function of the keys of its draws, in their order."""

    def drawn(keys: list[Any], layout: Layout, *more: Any) -> Any:
        where = scene_ground._coordinates(layout, jnp.array(0.0)) if places else ()
        return function(iter(keys), layout, *where, *more)

    compiled = jax.jit(drawn)

    def part(*more: Any, layout: Layout | None = None, **changes: Any) -> np.ndarray:
        assert set(changes) <= set(names)
        keys = dict.fromkeys(names, 0.5) | defaults | changes
        keys = [jnp.asarray(keys[name], jnp.float32) for name in names]
        return np.asarray(compiled(keys, layout_of() if layout is None else layout, *more))

    return part


def covered(away: np.ndarray, half: float) -> np.ndarray:
    """How much of a pixel a line covers whose middle is so far away."""
    return np.clip(half - np.abs(away) + 0.5, 0, 1)


def check(found: np.ndarray, expected: np.ndarray) -> None:
    assert expected.max() > 0.1
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=2e-4)


@pytest.fixture(scope="module")
def pen(chosen: None) -> Part:
    names = ("half", "line", "below", "slope", "phase", "ends", "radii", "rise", "end", "which")
    flat = {"line": 0.0, "slope": 0.0, "phase": 0.0, "ends": (0.5, 0.5), "end": 1.0, "which": 0.0}
    return part_of(scene_ground._pen_lines, *names, **flat)


def wave(phase: float = 0.0) -> np.ndarray:
    """3% of the height, with a period of half of it times 2 pi."""
    return 0.03 * HEIGHT * np.sin(columns / HEIGHT * 2 + phase)


BELOW = 16 / 2 - 14 + 16 * (0.56 + 0.85) / 2
"""Where the line below the first line of writing is, in the middle of its range."""


def test_a_pen_draws_a_line_below(pen: Part) -> None:
    """As wide as 2.5% to 8% of the height on each side, below any line, to about the block."""
    within = np.abs(columns) < 20 * (0.4 + 1.3) / 2
    for half in (0.0, 1.0):
        expected = covered(rows - BELOW + wave(), HEIGHT * (0.025 + 0.055 * half)) * within
        check(pen(half=half), expected)
    for line, row in ((0.99, 1), (0.13, 1), (0.26, 0)):  # the seventh, first, and second of eight
        expected = covered(rows - BELOW - 20 * row + wave(), HEIGHT * 0.0525) * within
        check(pen(line=line), expected)
    for below, far in ((0.0, 0.56), (1.0, 0.85)):
        expected = covered(rows + 6 - far * HEIGHT + wave(), HEIGHT * 0.0525) * within
        check(pen(below=below), expected)
    for ends, (left, right) in (((0.0, 1.0), (8, 26)), ((1.0, 0.0), (26, 8))):
        inside = (columns > -left) & (columns < right)
        check(pen(ends=ends), covered(rows - BELOW + wave(), HEIGHT * 0.0525) * inside)
    sloping = 0.03 * 2 * columns + wave(6.0)
    check(pen(slope=2.0, phase=1.0), covered(rows - BELOW + sloping, HEIGHT * 0.0525) * within)


@pytest.mark.parametrize(
    ("which", "name"),
    [
        *((0.129, "below"), (0.131, "through"), (0.169, "through"), (0.171, "ring")),
        *((0.209, "ring"), (0.211, "around"), (0.249, "around"), (0.251, "bracket")),
        *((0.309, "bracket"), (0.311, "nothing")),
    ],
)
@pytest.mark.parametrize("radii", [0.0, 0.5, 0.8])
def test_what_a_pen_draws(pen: Part, which: float, name: str, radii: float) -> None:
    """13% are below, 4% through the writing, rings, and frames, 6% brackets."""
    found, half = pen(which=which, radii=radii), HEIGHT * 0.0525
    away = rows - BELOW + wave()
    high, wide = (side * (1.1 + 0.4 * radii) + 0.4 * HEIGHT for side in (14, 20))
    if name == "nothing":
        assert not found.any()
    elif name in {"below", "through"}:
        away = away if name == "below" else away + 0.7 * HEIGHT
        check(found, covered(away, half) * (np.abs(columns) < 17))
    elif name == "ring":
        far = np.hypot(rows / high, columns / wide) - 1
        check(found, covered(far * min(high, wide), half))
    elif name == "around":
        check(found, covered(np.maximum(np.abs(rows) - high, np.abs(columns) - wide), half))
    else:
        bulge = 0.25 * HEIGHT * (rows / high) ** 2
        check(found, covered(np.abs(columns) - wide + bulge, half) * (np.abs(rows) < 0.9 * high))


def test_ends_of_a_line_may_be_turned_up(pen: Part) -> None:
    """A fifth of them, by 10% to 40% of the height; 15% have an arrow's head."""
    half, within = HEIGHT * 0.0525, np.abs(columns) < 17
    line = covered(rows - BELOW + wave(), half) * within
    for rise in (0.0, 1.0):
        long = HEIGHT * (0.1 + 0.3 * rise)
        up = covered(np.abs(columns) - 17, half) * (rows < BELOW) * (rows > BELOW - long)
        check(pen(rise=rise, end=0.199), np.maximum(line, up))
        head = covered((np.abs(rows - BELOW) - 0.7 * (17 - columns)) * 0.8, half)
        head = head * within * (columns > 17 - long)
        for end in (0.201, 0.349):
            check(pen(rise=rise, end=end), np.maximum(line, head))
        check(pen(rise=rise, end=0.351), line)
    uneven = pen(end=0.1, ends=(0.0, 1.0), rise=1.0)
    assert (uneven[int(32 + BELOW) - 4] > 0.5).nonzero()[0].tolist() == [23, 24, 57, 58]


@pytest.fixture(scope="module")
def form(chosen: None) -> Part:
    names = ("tall", "least", "touch", "wide", "half", "reach", "style")
    return part_of(scene_ground._form, *names, touch=0.6, least=1.0, style=0.0)


across = np.where(rows < 4, rows + 6, rows - 14)
"""From the middle of the first line, or of the second."""

along = columns - 14 * np.round(columns / 14)
"""From the middles of three cells, one of which is in the middle."""

CELLS = (np.abs(rows - 4) < 20) & (np.abs(columns) < 21)


def test_boxes_around_characters(form: Part) -> None:
    """To each side 42% to half of the spacing and of the pitch, if characters are as large."""
    for tall, wide in ((0.0, 1.0), (1.0, 0.0)):
        high, broad = 20 * (0.42 + 0.08 * tall), 14 * (0.42 + 0.08 * wide)
        edge = np.maximum(np.abs(across) - high, np.abs(along) - broad)
        check(form(tall=tall, wide=wide), covered(edge, 0.6) * CELLS)
    for least, high in ((0.0, 0.62 * HEIGHT), (1.0, 10.0)):
        edge = np.maximum(np.abs(across) - high, np.abs(along) - 14 * 0.46)
        check(form(tall=1.0, least=least), covered(edge, 0.6) * CELLS)
    wide = layout_of(spacing=48.0, lines=1)
    edge = np.maximum(np.abs(rows + 6) - 1.2 * HEIGHT, np.abs(along) - 14 * 0.46)
    inside = (np.abs(rows + 6) < 24) & (np.abs(columns) < 21)
    check(form(tall=1.0, layout=wide), covered(edge, 0.6) * inside)
    # In half of the forms, boxes touch.
    edge = np.maximum(np.abs(across) - 10, np.abs(along) - 7)
    check(form(tall=1.0, touch=0.49, wide=0.0), covered(edge, 0.6) * CELLS)
    assert not form(layout=layout_of(cells=False)).any()


def test_how_wide_lines_of_boxes_are(form: Part) -> None:
    """0.4 to 1.6 on each side, of characters 40 high; of others, 60% to 130% of that."""
    edge = np.maximum(np.abs(across) - 20 * 0.46, np.abs(along) - 14 * 0.46)
    for half, wide in ((0.0, 0.4), (1.0, 1.6)):
        check(form(half=half), covered(edge, 0.6 * wide) * CELLS)
        large = layout_of(height=24.8)
        first = 24.8 / 2 - 14
        row = np.clip(np.round((rows - first) / 20), -1, 2)
        inside = (row >= 0) & (row < 2) & (np.abs(columns) < 21)
        away = rows - first - 20 * row
        far = np.maximum(np.abs(away) - 20 * 0.46, np.abs(along) - 14 * 0.46)
        check(form(half=half, layout=large), covered(far, 0.62 * wide) * inside)
        for height, share in ((40.0, 1.0), (60.0, 1.3)):
            huge = layout_of(height=height, block=[height / 2, 20.0], spacing=40.0, lines=1)
            far = np.maximum(np.abs(rows) - 40 * 0.46, np.abs(along) - 14 * 0.46)
            inside = (np.abs(rows) < 20) & (np.abs(columns) < 21)
            check(form(half=half, layout=huge), covered(far, share * wide) * inside)


def test_combs(form: Part) -> None:
    """A line below, and strokes up from it; their height differs."""
    tall, wide, half = 20 * 0.46, 14 * 0.46, 0.6
    for reach in (0.0, 1.0):
        up = covered(np.abs(along) - wide, half) * (across > tall * (1.5 * reach - 0.6))
        comb = np.maximum(covered(across - tall, half), up * (across < tall + half))
        comb = comb * (np.abs(along) < wide + 2) * CELLS
        for style in (0.501, 0.949):
            check(form(reach=reach, style=style), comb)
    assert not form(style=0.951).any()
    edge = np.maximum(np.abs(across) - tall, np.abs(along) - wide)
    check(form(style=0.499), covered(edge, half) * CELLS)
    # Of wide cells, the line ends 2 pixels beyond the strokes.
    found = form(style=0.6, wide=0.0, layout=layout_of(pitch=28.0, per_line=1))
    wide = 28 * 0.42
    up = covered(np.abs(columns) - wide, half) * (across > tall * 0.15) * (across < tall + half)
    comb = np.maximum(covered(across - tall, half), up) * (np.abs(columns) < wide + 2)
    check(found, comb * (np.abs(rows - 4) < 20))


@pytest.fixture(scope="module")
def ruling(chosen: None) -> Part:
    names = ("bend", "start", "period", "phase", "half", "kind", "margin", "has_margin")
    return part_of(scene_ground._ruling, *names, bend=0.0, kind=0.0, has_margin=1.0)


def lines_of(places: np.ndarray, period: float, phase: float, half: float) -> np.ndarray:
    turns = places / period + phase
    return covered((turns - np.floor(turns) - 0.5) * period, half)


def test_ruled_and_squared_paper(ruling: Part) -> None:
    """A fifth is ruled, 15% are squared; 0.3 to 2.2 heights apart."""
    half, middle = 0.6 * 0.675, HEIGHT * np.sqrt(0.3 * 2.2)
    level, upright = (lines_of(x, middle, 0.5, half) for x in (rows, columns))
    check(ruling(kind=0.199), level + 0 * columns)
    for kind in (0.201, 0.349):
        check(ruling(kind=kind), np.maximum(level, upright))
    assert not ruling(kind=0.351).any()
    for period, apart in ((0.0, 0.3 * HEIGHT), (1.0, 2.2 * HEIGHT)):
        for phase in (0.0, 0.25, 1.0):
            check(ruling(period=period, phase=phase), lines_of(rows, apart, phase, half))
    for key, wide in ((0.0, 0.25), (1.0, 1.1)):
        check(ruling(half=key), lines_of(rows, middle, 0.5, 0.6 * wide))
        for height, share in ((28.0, 0.7), (48.0, 1.2), (56.0, 1.2)):
            found = ruling(half=key, period=0.0, layout=layout_of(height=height))
            check(found, lines_of(rows, 0.3 * height, 0.5, share * wide))


def test_ruled_lines_may_be_bent(ruling: Part) -> None:
    """By up to 2 pixels, in a wave of 60 times 2 pi."""
    for bend, start in ((1.0, 0.0), (1.0, 1.0), (0.5, 0.5)):
        bent = rows + 2 * bend * np.sin(columns / 60 + 6 * start)
        expected = lines_of(bent, HEIGHT * 2.2, 0.5, 0.6 * 0.675)
        check(ruling(bend=bend, start=start, period=1.0), expected)


def test_a_margin(ruling: Part) -> None:
    """In three tenths of what is ruled, and of a part of what is squared; rather to the left."""
    half = 0.6 * 0.675
    for margin, left in ((0.0, -1.0), (1.0, 2.0)):
        line = covered(columns + 20 + left * HEIGHT, half)
        found = ruling(margin=margin, has_margin=0.299, period=1.0)
        ruled = lines_of(rows, 2.2 * HEIGHT, 0.5, half)
        check(found, np.maximum(line, ruled))
    has = [ruling(kind=kind, has_margin=0.2, margin=0.0)[:, 27:29].all() for kind in (0.24, 0.26)]
    assert has == [True, False]
    assert not ruling(has_margin=0.301, margin=0.0)[:, 27].all()


@pytest.fixture(scope="module")
def stain(chosen: None) -> Part:
    names = ("place", "radii", "noise", "sharp", "is_there")
    start = {"place": (0.5, 0.5), "radii": (0.5, 0.5), "noise": 0.0, "is_there": 0.0}
    return part_of(scene_ground._stain, *names, places=False, **start)


def test_stains(stain: Part) -> None:
    """In 12% of scenes, anywhere, 0.15 to 1.5 heights to each side, sharp or soft."""
    assert not stain(is_there=0.121).any()

    def expected(place, radii, sharp, more=0.0):
        rows, columns = (np.arange(SIDE) + 0.5 - SIDE * at for at in place)
        high, wide = (HEIGHT * (0.15 + 1.35 * one) for one in radii)
        far = np.hypot(rows[:, None] / high, columns[None] / wide) + more
        return 1 / (1 + np.exp(-np.clip((1 - far) * (3 + 27 * sharp), -80, 80)))

    for place, radii, sharp in (
        ((0.5, 0.25), (0.0, 1.0), 0.0),
        ((1.0, 0.5), (1.0, 0.0), 1.0),
        ((0.0, 1.0), (0.5, 0.5), 0.5),
    ):
        found = stain(place=place, radii=radii, sharp=sharp, is_there=0.119)
        check(found, expected(place, radii, sharp))
    check(stain(noise=0.05), expected((0.5, 0.5), (0.5, 0.5), 0.5, 0.15 * 24 * 0.05))


def test_paper_and_boards(chosen: None) -> None:
    """Light paper is 0.62 to 1 bright, a board 0.04 to 0.35; both have a tint, and are uneven."""
    names = ("tint", "board", "sheet", "fine", "coarse")

    def of_layout(keys: Iterator[Any], dark: Any) -> Any:
        return scene_ground._paper(keys, dark)

    paper = part_of(of_layout, *names, places=False, tint=0.0, fine=0.0, coarse=0.0)

    def of(dark: bool, **changes: Any) -> np.ndarray:
        return paper(layout=jnp.array(dark), **changes)

    for key, board, sheet in ((0.0, 0.04, 0.62), (0.5, 0.195, 0.81), (1.0, 0.35, 1.0)):
        np.testing.assert_allclose(of(True, board=key), board, rtol=1e-5)
        np.testing.assert_allclose(of(False, sheet=key), sheet, rtol=1e-5)
    tinted = of(False, sheet=0.0, tint=[1.0, -2.0, 9.0], fine=0.1, coarse=-0.2)
    uneven = 1 + 0.02 * 64 * 0.1 - 0.04 * 9 * 0.2
    np.testing.assert_allclose(tinted[3, 4], np.array([0.67, 0.52, 1.0]) * uneven, rtol=1e-5)
    black = of(True, board=0.0, tint=-1.0)
    np.testing.assert_allclose(black, 0.02, rtol=1e-5)
    assert tinted.shape == (SIDE, SIDE, 3)


@pytest.fixture(scope="module")
def table(chosen: None) -> Part:
    names = (
        *("tilt", "room", "sides", "gray", "color", "grain", "fine", "rough", "striped", "stripe"),
        *("frame", "tint", "broad", "framed", "dim", "far", "lying"),
    )
    few = {"sides": np.full((2, 2), 0.25), "room": (0.0, 0.0), "lying": 0.0}
    none = {"striped": 1.0, "framed": 1.0, "dim": 0.0, "grain": 0.0, "fine": 0.0}
    zero = {"tilt": 0.0, "color": 0.0, "tint": 0.0, "frame": (0.475 - 0.1) / 0.85}  # as the table
    part = part_of(scene_ground._on_a_table, *names, places=False, **few, **none, **zero)
    white = jnp.ones((SIDE, SIDE, 3))
    block = {"block": [8.2, 10.2]}
    return lambda **changes: part(white, layout=layout_of(**block), **changes)


def outside(rows: np.ndarray, columns: np.ndarray, room=(4.8, 4.8), sides=(4, 4, 4, 4)):
    """How far it is to the sheet: below, above, right, and left of it."""
    high, wide = 8.2 + room[0], 10.2 + room[1]
    away = np.maximum(rows - high - sides[0], -rows - high - sides[1])
    return np.maximum(away, np.maximum(columns - wide - sides[2], -columns - wide - sides[3]))


def on(away: np.ndarray, color: Any) -> np.ndarray:
    """A white sheet on a table of a color."""
    share = np.clip(away + 0.5, 0, 1)[..., None]
    return 1 - share + np.asarray(color) * share


def test_a_sheet_lies_on_a_table(table: Part) -> None:
    """In 35% of scenes, a little turned, 0.3 to 2 heights from the block, and up to one more."""
    check(table(), on(outside(rows, columns), 0.475))
    check(table(lying=0.349), on(outside(rows, columns), 0.475))
    assert (table(lying=0.351) == 1).all()
    cosine, sine = np.cos(0.06 * 2), np.sin(0.06 * 2)
    turned = outside(cosine * rows + sine * columns, cosine * columns - sine * rows)
    check(table(tilt=2.0), on(turned, 0.475))
    sides = 16 * np.array([[0.0, 0.1], [0.2, 0.3]])
    for room, far in (((0.0, 1.0), (4.8, 32.0)), ((1.0, 0.0), (32.0, 4.8))):
        away = outside(rows, columns, far, tuple(sides.ravel()))
        check(table(room=room, sides=sides / 16), on(away, 0.475))


def test_what_a_table_looks_like(table: Part) -> None:
    """Of any color, grained, 30% striped; a quarter of its light is missing in stripes."""
    away = outside(rows, columns)
    for gray, found in ((0.0, 0.05), (1.0, 0.9)):
        check(table(gray=gray), on(away, found))
    check(table(color=[1.0, -2.0, 0.5]), on(away, [0.595, 0.235, 0.535]))
    check(table(gray=1.0, color=[1.0, -9.0, 0.0]), on(away, [1.0, 0.0, 0.9]))
    for rough, share in ((0.0, 0.0), (1.0, 0.08)):
        grain = share * (6 * 0.3 + 0.5 * 40 * 0.05)
        check(table(grain=0.3, fine=0.05, rough=rough), on(away, 0.475 + grain))
    for stripe, apart in ((0.0, 2.0), (1.0, 12.0)):
        stripes = 1 - 0.25 * (np.sin(columns / apart) > 0.8)
        expected = on(away, 0.475 * (stripes + 0 * rows)[..., None])
        check(table(striped=0.299, stripe=stripe), expected)
    check(table(striped=0.301, stripe=0.0), on(away, 0.475))


def test_sheets_have_frames_and_shadows(table: Part) -> None:
    """Half have a frame, 2 to 14 pixels wide; a shadow fades within 1 to 6 pixels."""
    away = outside(rows, columns)
    for broad, wide in ((0.0, 2.0), (1.0, 14.0)):
        for frame, gray in ((0.0, 0.1), (1.0, 0.95)):
            expected = on(away, np.where(away < wide, gray, 0.475)[..., None])
            check(table(framed=0.499, broad=broad, frame=frame), expected)
    assert table(framed=0.501, frame=1.0)[0, 0, 0] == pytest.approx(0.475)
    tinted = np.where((away < 8)[..., None], [0.625, 0.175, 1.0], 0.475)
    check(table(framed=0.0, tint=[1.0, -2.0, 9.0]), on(away, tinted))
    for dim, share in ((0.5, 0.3), (1.0, 0.6)):
        for far, wide in ((0.0, 1.0), (1.0, 6.0)):
            shade = 1 - share * np.exp(-np.maximum(away, 0) / wide)
            check(table(dim=dim, far=far), on(away, 0.475 * shade[..., None]))
