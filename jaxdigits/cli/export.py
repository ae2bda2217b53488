"""`jaxdigits export`: a trained network in another format."""

from pathlib import Path
from typing import Literal

from jaxdigits.cli.options import File, Json

Format = Literal["html", "onnx", "safetensors", "stablehlo"]


def export(run: Path, format: Format | None = None, out: File = None, json: Json = False) -> None:
    """Write a trained network in a format that works without this library.

    html is a page to draw on, in one file that needs no server and no connection. onnx is a program
    for ONNX Runtime, stablehlo one for JAX on CPU, CUDA, and TPU; both take pixels 0..255 and
    return probabilities. safetensors are the parameters alone.

    Args:
        run: digits, letters, or characters (both), which come with the package; or a run folder.
        format: what to write. Default: what the file's name ends with; html without --out.
        out: the file. Default: NAME.FORMAT.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import report
    from jaxdigits.runs.folder import load

    if out is None:
        out = Path(f"{run.expanduser().resolve().name}.{format or 'html'}")
    out = load(run).export(out, format)
    size = out.stat().st_size
    document = {"run": str(run), "file": str(out), "bytes": size}
    report(f"written to {out}: {size / 1000:,.0f} kB", document, as_json=json)
