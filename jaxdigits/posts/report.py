"""The report of a reproduction in words: as text and Markdown; `page.py` makes HTML of it."""

import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from jaxdigits.data.dataset import Fingerprint
from jaxdigits.posts.rows import POSTS, Row, load_row

Document = Mapping[str, Any]
"""What `jaxdigits.posts.reproduce.reproduce` returns."""

HEADERS = ("what", "posted", "ours", "95% interval", "range", "one more run", "agrees")

WIDTH = 79
"""Of a terminal."""


def text(document: Document) -> str:
    """For a terminal: the figures of each row."""
    parts = [_columns("row", "posted", "ours", "95% interval", "agrees")]
    for row, cells in _rows(document):
        lines = [textwrap.fill(f"{row['row']}  {row['setup']}", WIDTH, subsequent_indent="    ")]
        for what, posted, ours, interval, _, _, agrees in cells:
            lines.append(_columns(f"    {what}", posted, ours, interval, agrees))
        parts.append("\n".join(lines))
    notes = [textwrap.fill(words, WIDTH) for words in _reasons(document) + footnotes(document)]
    return "\n\n".join(filter(None, [*parts, speed(document, "simple"), *notes]))


def chapter(document: Document) -> str:
    """For a terminal: rows with their stories, epoch by epoch beside the post's own numbers."""
    parts = []
    for entry in document["rows"]:
        row = load_row(entry["row"])
        claim, expect = f"Posted: {row.posted}", f"Expect: {row.expect}"
        words = [f"{row.name}: {row.title}", *row.about, claim, expect]
        parts += [textwrap.fill(paragraph.replace("`", ""), WIDTH) for paragraph in words]
        parts.append(_epochs(entry, row))
    return "\n\n".join(filter(None, [*parts, text(document)]))


def _epochs(entry: Mapping[str, Any], row: Row) -> str:
    """The accuracy after each epoch: posted, ours, its range, and that of variations."""
    curves = entry.get("curves", {})
    if not curves:
        return ""
    columns: dict[str, Sequence[str]] = {}
    for name, curve in curves.items():
        means = [f"{mean:.4f}" for mean in curve["mean"]]
        if name == row.name:
            posted = {epoch: f"{value:.4f}" for epoch, value in row.posted_accuracy.items()}
            columns["posted"] = [posted.get(epoch, "") for epoch in range(1, len(means) + 1)]
            columns["ours"] = means
            ends = zip(curve["low"], curve["high"], strict=True)
            columns["range"] = [f"{low:.4f} to {high:.4f}" for low, high in ends]
        else:
            columns[textwrap.fill(name.removeprefix(f"{row.name}, "), 8)] = means
    lines = itertools.zip_longest(*columns.values(), fillvalue="")
    lines = [(epoch, *cells) for epoch, cells in enumerate(lines, start=1)]
    return str(tabulate(lines, ["epoch", *columns], "simple", disable_numparse=True))


def brief_table(document: Document) -> str:
    """A line for each row, with its last posted figure, in Markdown; all where none is posted."""
    lines = []
    for row in document["rows"]:
        shown = [figure for figure in row["figures"] if figure["posted"]][-1:] or row["figures"]
        for figure in shown:
            what = f"{row['setup']}: {figure['what']}"
            lines.append((row["row"], what, *_cells(figure), _agrees(row, figure)))
    headers = ("row", "what", "posted", "ours", "95% interval", "agrees")
    return str(tabulate(lines, headers, "pipe", disable_numparse=True))


def markdown(document: Document, captions: Mapping[str, str]) -> str:
    """`report.md`; captions are those of the pictures, by file name."""
    parts = [f"# {title(document)}"]
    for post, rows in posts(document):
        parts.append(f"## Post {post}: {POSTS[post]}")
        for entry, cells in rows:
            row = load_row(entry["row"])
            parts += [f"### {row.name}: {row.title}", *row.about, f"> Posted: {row.posted}"]
            parts.append(tabulate(cells, HEADERS, "pipe", disable_numparse=True))
            parts += [f"Differs: {words}" for words in reasons(entry)]
            parts += [f"Expect: {row.expect}"]
            for name in pictures_of(row.name, captions):
                parts += [f"![{captions[name].splitlines()[0]}]({name})", captions[name]]
            parts.append(f"The code is `{row.file}`.")
    parts += [speed(document, "pipe"), *footnotes(document)]
    return "\n\n".join(filter(None, parts)) + "\n"


def title(document: Document) -> str:
    """Of the whole."""
    rows = [row["row"] for row in document["rows"]]
    return f"The posts' results again: {rows[0]}" + f" to {rows[-1]}" * (len(rows) > 1)


Cells = list[Sequence[str]]


def posts(
    document: Document,
) -> Iterator[tuple[str, Iterator[tuple[Mapping[str, Any], Cells]]]]:
    """The letter of each post, with its rows and their cells, as in `HEADERS`."""
    return itertools.groupby(_rows(document), key=lambda pair: pair[0]["row"][0])


def pictures_of(row: str, captions: Mapping[str, str]) -> list[str]:
    """The pictures that stand with a row: their names begin with its own."""
    return [name for name in captions if name.partition("-")[0] == row.lower()]


def reasons(row: Mapping[str, Any]) -> list[str]:
    """Why figures of a row disagree."""
    return [
        f"{figure['what']}: {figure['reason'] or 'not known'}."
        for figure in row["figures"]
        if figure["agrees"] is False
    ]


def _rows(document: Document) -> Iterator[tuple[Mapping[str, Any], Cells]]:
    """Each row with its lines of the table."""
    for row in document["rows"]:
        lines = []
        for figure in row["figures"]:
            ends = ["", ""]
            if "interval_95" in figure:
                ends = [_ends(figure[name], figure) for name in ("range", "prediction_interval_95")]
            lines.append((figure["what"], *_cells(figure), *ends, _agrees(row, figure)))
        yield row, lines


def _agrees(row: Mapping[str, Any], figure: Mapping[str, Any]) -> str:
    if not figure["posted"]:
        return ""
    if not row["compares"]:
        return "other data"
    return {True: "yes", False: "no", None: "one seed"}[figure["agrees"]]


def _columns(what: str, posted: str, ours: str, interval: str, agrees: str) -> str:
    """A line of 79 characters, or several where a cell has more words than fit."""
    indent = len(what) - len(what.lstrip())
    cells = (
        textwrap.wrap(what, 31, subsequent_indent=" " * indent),
        *(textwrap.wrap(posted, 9), textwrap.wrap(ours, 9), [interval], [agrees]),
    )
    lines = itertools.zip_longest(*cells, fillvalue="")
    return "\n".join(f"{a:<31} {b:<9} {c:<9} {d:<16} {e}".rstrip() for a, b, c, d, e in lines)


def _cells(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    """What is posted, ours, and its interval."""
    ours = " ".join(_number(value, figure) for value in figure["ours"])
    interval = _ends(figure["interval_95"], figure) if "interval_95" in figure else ""
    return figure["posted"] or "", ours, interval


def _number(value: float, figure: Mapping[str, Any]) -> str:
    # Adding 0 turns a minus zero into a plain one.
    return f"{round(value, figure['decimals']) + 0:.{figure['decimals']}f}"


def _ends(pair: Sequence[float], figure: Mapping[str, Any]) -> str:
    return " to ".join(_number(end, figure) for end in pair)


def _reasons(document: Document) -> list[str]:
    rows = document["rows"]
    return [f"{row['row']} differs: {words}" for row in rows for words in reasons(row)]


def speed(document: Document, form: str) -> str:
    """A table of how long training took."""
    rows = []
    for entry in document["speed"]:
        alone, seconds = entry["seconds_alone"], entry["seconds"]
        ratio = [f"{alone:.1f} s", f"{alone / seconds:.1f}x"] if alone else ["", ""]
        rows.append([entry["training"], *map(str, (entry["epochs"], entry["seeds"]))])
        rows[-1] += [f"{seconds:.1f} s", *ratio]
    headers = ("networks", "epochs", "seeds", "together", "one by one", "speedup")
    return str(tabulate(rows, headers, form, disable_numparse=True)) if rows else ""


def footnotes(document: Document) -> list[str]:
    """How to read the tables, and what they were measured on."""
    figures = [figure for row in document["rows"] for figure in row["figures"]]
    notes = [] if document["compares"] else [OTHER_DATA]
    if any(figure.get("interval_95") for figure in figures):
        notes.append(
            f"Ours is the mean over {document['seeds']} seeds (at most 4 where training takes "
            "minutes) with its 95% interval (Student's t). The report also has the range, and the "
            "95% prediction interval of one more run. Figures without intervals hold no chance."
        )
    if any(figure["agrees"] is not None for figure in figures):
        notes.append(
            "A posted figure is one run of one seed. It agrees if it lies in our prediction "
            "interval, or where there is no chance, if all its digits are the same; a bound agrees "
            "if our mean keeps it. Where the interval is wide, as in A5 to A7, agreement means "
            "little; and of 20 figures that agree in truth, about one will seem not to. In post C, "
            "whose program does not follow the gradient, better figures agree as well."
        )
        notes.append(
            "Accuracy is over all test images. The posts average over batches, of which the last, "
            "of 16, counts as a whole one. In post A, which shuffles the test images, that is "
            "noise of about 0.001; in post B they are sorted by digit and the last are all nines, "
            "which lowers its figures, after the first epoch by about 0.006."
        )
        notes.append(
            "At a learning rate of 1 rounding errors grow, so the seeds of A4 to A7 give other "
            "figures on another machine, or another number of devices."
        )
    if document["speed"]:
        notes.append(
            "Together: one program for all seeds, sharded over the devices (on a CPU, one per "
            "core). One by one: estimated from the fastest of six epochs of one seed, where that "
            "takes seconds. Both without compiling."
        )
    return [*notes, measured(document)]


def measured(document: Document) -> str:
    """When, by which command, on which data, and with what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    about = "; ".join(
        f"{Fingerprint(**fingerprint)} (row{'s' * (len(rows) > 1)} {', '.join(rows)})"
        for name, fingerprint in document["data"].items()
        if (rows := [row["row"] for row in document["rows"] if row["data"] == name])
    )
    return (
        f"Measured on {document['date']} by `{document['command']}` in {document['seconds']:.0f} "
        f"s, on {about}; {document['device']}, {document['cores']} cores; {versions}."
    )


OTHER_DATA = (
    "The posted figures are for MNIST, EMNIST's digits, and the official EMNIST letters; those "
    "marked 'other data' stand beside ours, but are not compared with them."
)
