"""`report.html`: the report as one page, with its pictures and the code in it."""

import base64
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxdigits.posts import report
from jaxdigits.posts.rows import POSTS, load_row

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
nav a { margin-right: .6rem } section { border-top: 1px solid var(--line); padding: .5rem 0 }
table { border-collapse: collapse; font-size: 14px; width: 100%; margin: 1rem 0 }
th, td { padding: .2rem .6rem .2rem 0; text-align: left !important; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: 4px solid #0072b2;
  background: var(--soft) }
table:not(.figures) { display: block; overflow-x: auto }
img { max-width: 100%; background: white } figure { margin: 1rem 0 }
figcaption { white-space: pre-line; font-size: 14px } pre { overflow-x: auto; font-size: 12px;
  background: var(--soft); padding: .5rem }
@media (max-width: 600px) {
  .figures thead { display: none } .figures tr { display: block; padding: .4rem 0;
    border-bottom: 1px solid var(--line) }
  .figures td { display: block; border: 0; padding: 0 } .figures td:empty { display: none }
  .figures td + td::before { content: attr(data-label) ": "; opacity: .7 }
}
@media print { nav, details { display: none } figure, tr, blockquote { break-inside: avoid } }
"""


def html_page(document: report.Document, captions: Mapping[str, str], folder: Path) -> str:
    """The page.

    Args:
        document: the report.
        captions: of its pictures, by file name.
        folder: that the pictures lie in.
    """
    title = html.escape(report.title(document))
    names = [entry["row"] for entry in document["rows"]]
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in names)
    parts = [f"<h1>{title}</h1>", f"<nav>{links}</nav>"]
    for post, rows in report.posts(document):
        parts.append(f"<h2>Post {post}: {html.escape(POSTS[post])}</h2>")
        for entry, cells in rows:
            parts += _section(entry, cells, captions, folder)
    parts += ["<section>", report.speed(document, "html")]
    parts += [*map(_paragraph, report.footnotes(document)), "</section>"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        "<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _section(
    entry: Mapping[str, Any], cells: report.Cells, captions: Mapping[str, str], folder: Path
) -> Iterator[str]:
    row = load_row(entry["row"])
    yield f'<section id="{row.name.lower()}"><h3>{row.name}: {_inline(row.title)}</h3>'
    yield from map(_paragraph, row.about)
    yield f"<blockquote>{_paragraph(f'Posted: {row.posted}')}</blockquote>"
    yield _table(cells)
    yield from (_paragraph(f"Differs: {words}") for words in report.reasons(entry))
    yield _paragraph(f"Expect: {row.expect}")
    for name in report.pictures_of(row.name, captions):
        data = base64.b64encode((folder / name).read_bytes()).decode()
        words = html.escape(captions[name])
        yield (
            f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
            f"<figcaption>{words}</figcaption></figure>"
        )
    code = html.escape(row.code)
    yield f"<details><summary>{row.file}</summary><pre>{code}</pre></details></section>"


def _table(cells: Sequence[Sequence[str]]) -> str:
    """A table that becomes a list where the page is narrow."""
    head = "".join(f"<th>{name}</th>" for name in report.HEADERS)
    lines = []
    for line in cells:
        pairs = zip(report.HEADERS, line, strict=True)
        tags = "".join(f'<td data-label="{name}">{html.escape(cell)}</td>' for name, cell in pairs)
        lines.append(f"<tr>{tags}</tr>")
    return (
        f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody>'
        "</table>"
    )


def _inline(words: str) -> str:
    escaped = re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(words))
    return re.sub(r"\*(\w+)\*", r"<em>\1</em>", escaped)


def _paragraph(words: str) -> str:
    return f"<p>{_inline(words)}</p>"
