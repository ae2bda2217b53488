"""`jaxdigits classify`: label image files of one character each."""

from pathlib import Path

from jaxdigits.cli.options import Json
from jaxdigits.errors import ConfigError


def classify(run: str, files: tuple[Path, ...], json: Json = False) -> None:
    """Label image files of one character each, in the form that the network was trained on.

    A test image of a folder gets the same label as `jaxdigits evaluate` gives it there.

    Args:
        run: a run folder; or digits, letters, or characters (both), which come with the package.
        files: PNG, JPEG, BMP, GIF, WebP, or TIFF.
    """
    if not files:
        raise ConfigError("name an image file, such as: jaxdigits classify runs/mine image.png")
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import report
    from jaxdigits.handwriting.classification import classify_files
    from jaxdigits.runs.folder import load

    found = classify_files(load(run), files)
    width = max(len(str(file)) for file in files)
    lines = [
        f"{label.file!s:{width}}  {label.class_name}  {label.probability:.1%}" for label in found
    ]
    rows = [
        {"file": str(label.file), "class": label.class_name, "probability": label.probability}
        for label in found
    ]
    report("\n".join(lines), {"run": run, "files": rows}, as_json=json)
