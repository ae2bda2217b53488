"""`jaxdigits export`: a trained network in another format."""

from pathlib import Path
from typing import Literal

from jaxdigits.cli.options import File, Json

Format = Literal["html"]


def export(run: Path, format: Format = "html", out: File = None, json: Json = False) -> None:
    """Write a trained network in a format that works without this library.

    html: a page to draw on, in one file that needs no server and no connection.

    Args:
        run: digits or letters, which come with the package, or a run folder.
        format: what to write.
        out: the file. Default: NAME.html.
    """
    from jaxdigits.cli.output import report
    from jaxdigits.files import atomic_write
    from jaxdigits.runs.folder import load
    from jaxdigits.web import make_page

    page = make_page(load(run)).encode()
    path = out or Path(f"{run.expanduser().resolve().name}.{format}")
    with atomic_write(path) as temporary:
        temporary.write_bytes(page)
    document = {"run": str(run), "file": str(path), "bytes": len(page)}
    report(f"written to {path}: {len(page) / 1000:,.0f} kB", document, as_json=json)
