"""`jaxdigits data list`, `prepare`, `show`, and `export`."""

import math
from pathlib import Path
from typing import Literal

from jaxdigits.cli.options import DataOptions, File, Json
from jaxdigits.errors import ConfigError


def list_datasets(data: DataOptions, json: Json = False) -> None:
    """List the datasets: classes, counts, whether they are prepared."""
    from jaxdigits.cli.output import note, report
    from jaxdigits.data.overview import overview

    lines = [f"{'name':17}{'classes':>7}   {'train/validation/test':25}state"]
    rows = []
    for entry in overview(data.data_dir):
        counts = "/".join(f"{count:,}" for count in entry.counts.values())
        lines.append(f"{entry.name:17}{entry.classes:7}   {counts:25}{entry.state}")
        lines.append(f"    {entry.title}")
        rows.append({**entry._asdict(), "counts": dict(entry.counts)})
        if entry.problem:
            note(entry.problem)
    report("\n".join(lines), {"datasets": rows}, as_json=json)


def prepare(name: str, data: DataOptions, json: Json = False) -> None:
    """Prepare a dataset, from local files or by download.

    Args:
        name: as `jaxdigits data list` shows it.
    """
    from jaxdigits import data as datasets
    from jaxdigits.cli.output import note_counts, report
    from jaxdigits.data import embedded

    inside = name == embedded.NAME or datasets.find_folder(name)
    folder = None if inside else datasets.prepare(name, **data.folders)
    fingerprint = datasets.read_fingerprint(name, data.data_dir)
    assert fingerprint is not None
    text = f"{fingerprint} " + (f"is prepared in {folder}" if folder else "needs no preparation")
    note_counts(fingerprint)
    document = {"folder": str(folder) if folder else None, **fingerprint.as_dict()}
    report(text, document, as_json=json)


def show(
    name: str,
    data: DataOptions,
    split: Literal["train", "validation", "test"] = "train",
    count: int = 50,
    out: File = None,
    json: Json = False,
) -> None:
    """Draw images of a dataset, with their classes, to a PNG.

    Args:
        name: as `jaxdigits data list` shows it, or a folder of images (class/image.png).
        split: which images.
        count: how many, from all over the split.
        out: the picture. Default: NAME-SPLIT.png.
    """
    if count < 1 or count > 1000:
        raise ConfigError(f"count must be 1 to 1000, not {count}")
    from jaxdigits import data as datasets
    from jaxdigits import plots
    from jaxdigits.cli.output import note_counts, report

    dataset = datasets.load(name, split, **data.folders)
    note_counts(dataset.fingerprint)
    short_name = dataset.fingerprint.name  # of a folder, not its path
    path = out.expanduser() if out else Path(f"{short_name.replace('/', '-')}-{split}.png")
    shown = plots.spread(len(dataset), count)
    titles = [dataset.class_names[label] for label in dataset.labels[shown]]
    figure = plots.image_grid(
        dataset.images[shown],
        titles,
        heading=f"{short_name}, {split}: {len(shown)} of {len(dataset):,} images",
        columns=max(10, math.isqrt(count)),
    )
    plots.save(figure, path)
    document = {
        "name": name,
        "split": split,
        "picture": str(path),
        "classes": titles,
        "data": dataset.fingerprint.as_dict(),
    }
    text = f"{len(titles)} images of {dataset.fingerprint}, drawn to {path}"
    report(text, document, as_json=json)


def export(name: str, folder: Path, data: DataOptions, json: Json = False) -> None:
    """Write a dataset as a folder of PNG images, split/class/image.png.

    Args:
        name: as `jaxdigits data list` shows it, or a folder of images to bring to one form.
        folder: a new folder, or an empty one. It can be given wherever a dataset is named.
    """
    from jaxdigits import data as datasets
    from jaxdigits.cli.output import note_counts, report
    from jaxdigits.data.splits import SPLITS

    loaded = datasets.load_splits(name, SPLITS, **data.folders)
    fingerprint = loaded[0].fingerprint
    note_counts(fingerprint)
    path = datasets.export_folder(dict(zip(SPLITS, loaded, strict=True)), folder)
    document = {"folder": str(path), **fingerprint.as_dict()}
    report(f"{fingerprint} is written to {path}", document, as_json=json)
