"""`jaxdigits data list`, `prepare` and `show`."""

import math
from pathlib import Path

from jaxdigits import data
from jaxdigits.commands import note, report
from jaxdigits.data import embedded
from jaxdigits.data.dataset import Split, split_counts
from jaxdigits.data.prepare import find_spec
from jaxdigits.data.specs import SPECS
from jaxdigits.errors import ConfigError


def list_datasets(*, data_dir: Path | None = None, as_json: bool = False) -> None:
    """Prints every data set: its classes, its counts, and whether it is prepared."""
    rows = []
    for name in data.names():
        fingerprint = data.read_fingerprint(name, data_dir)
        title, class_names, counts = embedded.TITLE, embedded.CLASS_NAMES, None
        if name in SPECS:
            spec = SPECS[name]
            title, class_names, counts = spec.title, spec.class_names, split_counts(*spec.counts)
        rows.append(
            {
                "name": name,
                "title": title,
                "classes": len(class_names),
                "prepared": fingerprint is not None,
                "counts": fingerprint.counts if fingerprint else counts,
                "sha256": fingerprint.sha256 if fingerprint else None,
            }
        )
    lines = [f"{'name':17}{'classes':>7}   {'train/validation/test':23} {'state':13} what it holds"]
    for row in rows:
        counts = "/".join(f"{count:,}" for count in row["counts"].values())
        state = "prepared" if row["prepared"] else "not prepared"
        if row["name"] == embedded.NAME:
            state = "always there"
        lines.append(f"{row['name']:17}{row['classes']:7}   {counts:23} {state:13} {row['title']}")
    report("\n".join(lines), {"datasets": rows}, as_json=as_json)


def prepare(
    name: str,
    *,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    as_json: bool = False,
) -> None:
    """Prepares a data set and prints what it holds."""
    document: dict = {"name": name, "folder": None}
    text = f"{name} needs no preparation"
    if name != embedded.NAME:
        spec = find_spec(name)
        folder = data.prepare(name, data_dir, manual_dir)
        document["folder"] = str(folder)
        fingerprint = data.read_fingerprint(name, data_dir)
        assert fingerprint is not None
        text = f"{fingerprint} is prepared in {folder}"
        if fingerprint.counts != split_counts(*spec.counts):
            note(
                f"These are not the official {spec.counts[0]:,} training and {spec.counts[1]:,} "
                "test images: figures measured on them are not comparable with others'."
            )
    fingerprint = data.read_fingerprint(name, data_dir)
    assert fingerprint is not None
    report(text, {**document, **fingerprint.as_dict()}, as_json=as_json)


def show(
    name: str,
    *,
    split: Split = "train",
    count: int = 50,
    out: Path | None = None,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    as_json: bool = False,
) -> None:
    """Draws the first images of a split, with their classes, to a PNG."""
    if count < 1 or count > 1000:
        raise ConfigError(f"count must be 1 to 1000, not {count}")
    dataset = data.load(name, split, data_dir=data_dir, manual_dir=manual_dir)
    from jaxdigits import plots

    count = min(count, len(dataset))
    titles = [dataset.class_names[label] for label in dataset.labels[:count]]
    figure = plots.image_grid(
        dataset.images[:count],
        titles,
        heading=f"{name}, {split}: the first {count} of {len(dataset):,} images",
        columns=max(10, math.isqrt(count)),
    )
    path = out or Path(f"{name.replace('/', '-')}-{split}.png")
    plots.save(figure, path)
    document = {
        "name": name,
        "split": split,
        "picture": str(path),
        "classes": titles,
        "data": dataset.fingerprint.as_dict(),
    }
    report(f"{count} images of {dataset.fingerprint}, drawn to {path}", document, as_json=as_json)
