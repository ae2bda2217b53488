"""The report of a reproduction in words: as text, Markdown, and HTML."""

import base64
import html
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from jaxdigits.data.dataset import Fingerprint

Document = Mapping[str, Any]
"""What `jaxdigits.posts.reproduce.reproduce` returns."""

HEADERS = ("row", "what", "posted", "ours", "95% interval", "range", "one more run", "agrees")

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: 14px; display: block; overflow-x: auto }
th, td { padding: .2rem .6rem; text-align: left !important; border-bottom: 1px solid #ddd }
img { max-width: 100%; background: white } figure { margin: 2rem 0 }
figcaption { white-space: pre-line }
"""


def text(document: Document) -> str:
    """For a terminal."""
    widths = [None, 28, 13, 13, None, None, None, None]  # longer lines are wrapped
    table = tabulate(_rows(document), HEADERS, "simple", disable_numparse=True, maxcolwidths=widths)
    reasons = [textwrap.fill(words, 110) for words in _reasons(document)]
    notes = [textwrap.fill(words, 110) for words in _footnotes(document)]
    return "\n\n".join(filter(None, [table, *reasons, _speed(document, "simple"), *notes]))


def brief_table(document: Document) -> str:
    """A line for each row, with its last posted figure, in Markdown; all where none is posted."""
    lines = []
    for row in document["rows"]:
        shown = [figure for figure in row["figures"] if figure["posted"]][-1:] or row["figures"]
        for figure in shown:
            what = f"{row['setup']}: {figure['what']}"
            agrees = {True: "yes", False: "no"}.get(figure["agrees"], "")
            lines.append((row["row"], what, *_cells(figure), agrees))
    headers = ("row", "what", "posted", "ours", "95% interval", "agrees")
    return str(tabulate(lines, headers, "pipe", disable_numparse=True))


def markdown(document: Document, captions: Mapping[str, str]) -> str:
    """`report.md`; captions are those of the pictures, by file name."""
    table = tabulate(_rows(document, "**{}**"), HEADERS, "pipe", disable_numparse=True)
    parts = [f"# {_title(document)}", table, *_reasons(document)]
    for name, caption in captions.items():
        parts += [f"![{caption.splitlines()[0]}]({name})", caption]
    parts += [_speed(document, "pipe"), *_footnotes(document)]
    return "\n\n".join(filter(None, parts)) + "\n"


def html_page(document: Document, captions: Mapping[str, str], folder: Path) -> str:
    """`report.html`, with the pictures of the folder in it."""
    title = html.escape(_title(document))
    rows = [[html.escape(cell) for cell in row] for row in _rows(document)]
    for row in rows:
        if row[0]:  # the set-up
            row[:2] = [f"<b>{cell}</b>" for cell in row[:2]]
    table = tabulate(rows, HEADERS, "unsafehtml", disable_numparse=True)
    parts = [f"<h1>{title}</h1>", str(table), *map(_paragraph, _reasons(document))]
    for name, caption in captions.items():
        data = base64.b64encode((folder / name).read_bytes()).decode()
        words = html.escape(caption)
        parts.append(
            f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
            f"<figcaption>{words}</figcaption></figure>"
        )
    parts += [str(_speed(document, "html")), *map(_paragraph, _footnotes(document))]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        "<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _paragraph(words: str) -> str:
    return f"<p>{html.escape(words.replace('`', ''))}</p>"


def _title(document: Document) -> str:
    rows = [row["row"] for row in document["rows"]]
    return f"The posts' results again: {rows[0]}" + f" to {rows[-1]}" * (len(rows) > 1)


def _rows(document: Document, bold: str = "{}") -> list[Sequence[str]]:
    """The table's lines: for each row its set-up, then its figures."""
    lines: list[Sequence[str]] = []
    numbers = itertools.count(1)
    for row in document["rows"]:
        lines.append((bold.format(row["row"]), bold.format(row["setup"]), *[""] * 6))
        for figure in row["figures"]:
            agrees = "one seed" if figure["posted"] else ""
            if figure["agrees"] is not None:
                agrees = "yes" if figure["agrees"] else f"no ({next(numbers)})"
            ends = ["", ""]
            if "interval_95" in figure:
                ends = [_ends(figure[name], figure) for name in ("range", "prediction_interval_95")]
            lines.append(("", figure["what"], *_cells(figure), *ends, agrees))
    return lines


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
    """Why figures disagree, numbered as in the table."""
    differing = [
        (row["row"], figure)
        for row in document["rows"]
        for figure in row["figures"]
        if figure["agrees"] is False
    ]
    return [
        f"({number}) {row}, {figure['what']}: {figure['reason'] or 'not known'}."
        for number, (row, figure) in enumerate(differing, start=1)
    ]


def _speed(document: Document, form: str) -> str:
    rows = []
    for entry in document["speed"]:
        alone, seconds = entry["seconds_alone"], entry["seconds"]
        ratio = [f"{alone:.1f} s", f"{alone / seconds:.1f}x"] if alone else ["", ""]
        rows.append([entry["training"], *map(str, (entry["epochs"], entry["seeds"]))])
        rows[-1] += [f"{seconds:.1f} s", *ratio]
    headers = ("networks", "epochs", "seeds", "together", "one by one", "speedup")
    return str(tabulate(rows, headers, form, disable_numparse=True)) if rows else ""


def _footnotes(document: Document) -> list[str]:
    """How to read the table, and what it was measured on."""
    figures = [figure for row in document["rows"] for figure in row["figures"]]
    notes = [] if document["compares"] else [OTHER_DATA]
    if any(figure.get("interval_95") for figure in figures):
        notes.append(
            f"Ours is the mean over {document['seeds']} seeds (at most 4 where training takes "
            "minutes) with its 95% interval (Student's t) and the range; the last interval is the "
            "95% prediction interval of one more seed. Figures without intervals hold no chance."
        )
    if any(figure["posted"] for figure in figures):
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
    "The posted figures are for MNIST, EMNIST's digits, and the official EMNIST letters; nothing "
    "is compared with other data."
)
