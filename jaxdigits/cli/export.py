"""`jaxdigits export`: a trained network in another format."""

from pathlib import Path
from typing import Literal

from jaxdigits.cli.options import File, Json

Format = Literal["html", "stablehlo"]


def export(run: Path, format: Format = "html", out: File = None, json: Json = False) -> None:
    """Write a trained network in a format that works without this library.

    html is a page to draw on, in one file that needs no server and no connection. stablehlo is a
    program for CPU, CUDA, and TPU, from pixels to probabilities, that `jax.export` loads.

    Args:
        run: digits or letters, which come with the package, or a run folder.
        format: what to write.
        out: the file. Default: NAME.html or NAME.stablehlo.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import report
    from jaxdigits.files import atomic_write
    from jaxdigits.runs.folder import load

    trained = load(run)
    if format == "html":
        from jaxdigits.web import make_page

        content = make_page(trained).encode()
    else:
        from jaxdigits.runs.export import to_stablehlo

        content = to_stablehlo(trained)
    path = out or Path(f"{run.expanduser().resolve().name}.{format}")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    document = {"run": str(run), "format": format, "file": str(path), "bytes": len(content)}
    report(f"written to {path}: {len(content) / 1000:,.0f} kB", document, as_json=json)
