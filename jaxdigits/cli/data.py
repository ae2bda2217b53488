"""`jaxdigits data list`, `prepare`, `show` and `export`."""

import math
from pathlib import Path

from jaxdigits import data
from jaxdigits.cli.output import note, note_counts, report
from jaxdigits.data import embedded
from jaxdigits.data.dataset import SPLITS, Split, split_counts
from jaxdigits.data.specs import SPECS
from jaxdigits.errors import ConfigError, DataError


def list_datasets(*, data_dir: Path | None = None, as_json: bool = False) -> None:
    """Prints every data set: its classes, its counts, and whether it is prepared."""
    rows = [
        {
            "name": embedded.NAME,
            "title": embedded.TITLE,
            "classes": len(embedded.CLASS_NAMES),
            "state": "always there",
            "counts": split_counts(embedded.TRAIN_COUNT, embedded.TEST_COUNT),
        }
    ]
    for name, spec in SPECS.items():
        counts, state = split_counts(*spec.counts), "not prepared"
        try:
            fingerprint = data.read_fingerprint(name, data_dir)
            if fingerprint:
                counts, state = fingerprint.counts, "prepared"
        except DataError as error:
            state = "damaged"
            note(str(error))
        rows.append(
            {
                "name": name,
                "title": spec.title,
                "classes": len(spec.class_names),
                "state": state,
                "counts": counts,
            }
        )
    lines = [f"{'name':17}{'classes':>7}   {'train/validation/test':23} {'state':13} what it holds"]
    for row in rows:
        counts = "/".join(f"{count:,}" for count in row["counts"].values())
        lines.append(
            f"{row['name']:17}{row['classes']:7}   {counts:23} {row['state']:13} {row['title']}"
        )
    report("\n".join(lines), {"datasets": rows}, as_json=as_json)


def prepare(
    name: str,
    *,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    as_json: bool = False,
) -> None:
    """Prepares a data set and prints what it holds."""
    at_hand = name == embedded.NAME or data.find_folder(name)
    folder = None if at_hand else data.prepare(name, data_dir, manual_dir)
    fingerprint = data.read_fingerprint(name, data_dir)
    assert fingerprint is not None
    text = f"{fingerprint} " + (f"is prepared in {folder}" if folder else "needs no preparation")
    note_counts(fingerprint)
    document = {"folder": str(folder) if folder else None, **fingerprint.as_dict()}
    report(text, document, as_json=as_json)


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
    """Draws images from all over a split, with their classes, to a PNG."""
    if count < 1 or count > 1000:
        raise ConfigError(f"count must be 1 to 1000, not {count}")
    dataset = data.load(name, split, data_dir=data_dir, manual_dir=manual_dir)
    from jaxdigits import plots

    short_name = dataset.fingerprint.name  # of a folder, not its path
    shown = plots.spread(len(dataset), count)
    titles = [dataset.class_names[label] for label in dataset.labels[shown]]
    figure = plots.image_grid(
        dataset.images[shown],
        titles,
        heading=f"{short_name}, {split}: {len(shown)} of {len(dataset):,} images",
        columns=max(10, math.isqrt(count)),
    )
    note_counts(dataset.fingerprint)
    path = out.expanduser() if out else Path(f"{short_name.replace('/', '-')}-{split}.png")
    plots.save(figure, path)
    document = {
        "name": name,
        "split": split,
        "picture": str(path),
        "classes": titles,
        "data": dataset.fingerprint.as_dict(),
    }
    report(
        f"{len(shown)} images of {dataset.fingerprint}, drawn to {path}", document, as_json=as_json
    )


def export(
    name: str,
    folder: Path,
    *,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    as_json: bool = False,
) -> None:
    """Writes a data set as a folder of PNG images, whole or not at all."""
    loaded = data.load_splits(name, SPLITS, data_dir=data_dir, manual_dir=manual_dir)
    fingerprint = loaded[0].fingerprint
    note_counts(fingerprint)
    path = data.export_folder(dict(zip(SPLITS, loaded, strict=True)), folder)
    document = {"folder": str(path), **fingerprint.as_dict()}
    report(f"{fingerprint} is written to {path}", document, as_json=as_json)
