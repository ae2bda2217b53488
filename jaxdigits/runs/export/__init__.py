"""Trained networks in formats that need neither this library nor a run folder.

| format | what it is | needs |
|---|---|---|
| `html` | a page to draw on; the network runs in the browser | |
| `onnx` | a program for ONNX Runtime and the like | the extra `onnx` |
| `safetensors` | the parameters alone, and what else one has to know | |
| `stablehlo` | a program for JAX on CPU, CUDA, and TPU | the extra `export` |

The two programs take uint8 [n, *image_shape], pixels 0..255, for any n, and return the calibrated
probabilities, float32 [n, classes].
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxdigits.errors import ConfigError
from jaxdigits.files import StrPath, absolute, atomic_write
from jaxdigits.runs.export.page import make_page
from jaxdigits.runs.export.programs import to_onnx, to_safetensors, to_stablehlo
from jaxdigits.runs.run import Run

__all__ = ["FORMATS", "export", "make_page", "to_onnx", "to_safetensors", "to_stablehlo"]

FORMATS: Mapping[str, Callable[[Run], bytes]] = {
    "html": lambda run: make_page(run).encode(),
    "onnx": to_onnx,
    "safetensors": to_safetensors,
    "stablehlo": to_stablehlo,
}
"""By name: what makes the content of a file."""


def export(run: Run, path: StrPath, format: str | None = None) -> Path:
    """Write a trained network in another format; see `Run.export`."""
    path = absolute(path)
    format = format or path.suffix.removeprefix(".")
    if format not in FORMATS:
        raise ConfigError(
            f"there is no format {format!r}: name the file .html, .onnx, .safetensors, or "
            ".stablehlo, or give the format"
        )
    content = FORMATS[format](run)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path
