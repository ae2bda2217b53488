"""`jaxdigits reproduce`: the figures of the posts beside ours."""

import dataclasses
import datetime
import importlib
import inspect
import json
import pkgutil
import re
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from jaxdigits import data, runs
from jaxdigits import report as reports
from jaxdigits.commands import note, report, usable_cores
from jaxdigits.commands.train import choose_dataset
from jaxdigits.errors import ConfigError
from jaxdigits.files import making_folder
from jaxdigits.reproduction import Comparison, Study

EXPERIMENTS = "jaxdigits.experiments.posts"
REPORT_FILES = ("report.md", "report.html", "report.json")


def reproduce(
    rows: Sequence[str] = (),
    *,
    seeds: int = 10,
    dataset: str = "auto",
    out: Path | None = None,
    overwrite: bool = False,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    as_json: bool = False,
) -> dict[str, Any]:
    """Runs the experiments of rows, prints the table and writes the report.

    Args:
        rows: such as `A4`; all of them if none is given.
        seeds: how often to repeat what has chance in it.
        dataset: `auto` is MNIST, or the digits inside where it cannot be had.
        out: a folder for the report; if not given, it is only printed.
        overwrite: whether an older report there may be replaced, when the new one is complete.
        data_dir: where prepared data sets are kept.
        manual_dir: a folder with data files downloaded by hand.
        as_json: whether to print one JSON object.

    Raises:
        ConfigError: a row is unknown, or the number of seeds impossible.
        DataError: the data set is unknown, damaged or not to be had.
        OutputError: the folder cannot be written, or is taken.
    """
    began = time.perf_counter()
    names = choose_rows(rows)
    if not 1 <= seeds <= 1000:
        raise ConfigError(f"seeds must be 1 to 1000, not {seeds}")
    name = choose_dataset(dataset, data_dir, manual_dir)
    train_set, test_set = data.load_splits(
        name, ("train+validation", "test"), data_dir=data_dir, manual_dir=manual_dir
    )
    study = Study(train_set, test_set, seeds)
    if not study.compares:
        note(reports.NOT_MNIST)
    if out is None:
        document = _run(study, names, name, began)
        report(reports.text(document), document, as_json=as_json)
        return document
    pictures = [file for row in choose_rows(()) for file in _pictures(row)]
    with making_folder(
        out, numbered=False, overwrite=overwrite, known=(*REPORT_FILES, *pictures, *_pictures())
    ) as folder:
        document = _run(study, names, name, began)
        _write(document, study, names, folder.work)
    where = f"written to {folder.final}: {', '.join(REPORT_FILES)} and pictures"
    report(f"{reports.text(document)}\n\n{where}", document, as_json=as_json)
    return document


def choose_rows(rows: Sequence[str]) -> list[str]:
    """The names of the rows to run, in the order of the posts; all of them if none is asked for.

    Raises:
        ConfigError: there is no such row.

    Example:
        >>> choose_rows(["b5", "A4"])
        ['A4', 'B5']
    """
    folder = importlib.import_module(EXPERIMENTS)
    modules = [module.name.upper() for module in pkgutil.iter_modules(folder.__path__)]
    known = [name for name in modules if re.fullmatch(r"[A-Z]\d+", name)]
    known.sort(key=lambda name: (name[0], int(name[1:])))
    wanted = [row.upper() for row in rows]
    for row in wanted:
        if row not in known:
            raise ConfigError(f"there is no row {row}; there are {', '.join(known)}")
    return [name for name in known if name in wanted or not wanted]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{EXPERIMENTS}.{name.lower()}")


def _pictures(name: str = "pictures") -> dict[str, Callable[[Study], Any]]:
    """The pictures of a row, or those of several rows together, by file name."""
    return getattr(_module(name), "PICTURES", {})


def _run(study: Study, names: Sequence[str], dataset: str, began: float) -> dict[str, Any]:
    """Runs the rows; gives the report as plain values."""
    rows = []
    # tqdm is silent where standard error is not a terminal.
    with tqdm(names, unit="row", disable=None, leave=False) as bar:
        for name in bar:
            bar.set_description(name)
            module = _module(name)
            comparisons: list[Comparison] = module.run(study)
            if not study.compares:
                comparisons = [
                    dataclasses.replace(one, posted=None, digits=one.decimals)
                    for one in comparisons
                ]
            figures = [comparison.as_dict() for comparison in comparisons]
            rows.append({"row": name, "setup": module.SETUP, "figures": figures})
    rows_given = [] if names == choose_rows(()) else names
    speed = [
        {
            "training": training,
            "epochs": trained.accuracy.shape[1],
            "seconds": trained.seconds,
            "seconds_alone": trained.seconds_alone,
        }
        for training, trained in study.trained.items()
        if trained.accuracy.shape[1]
    ]
    return {
        "command": f"jaxdigits reproduce {shlex.join([*rows_given, '--dataset', dataset])} "
        f"--seeds {study.seeds}",
        "date": datetime.date.today().isoformat(),
        "data": study.train_set.fingerprint.as_dict(),
        "compares": study.compares,
        "seeds": study.seeds,
        "seconds": time.perf_counter() - began,
        "cores": usable_cores(),
        **runs.environment(),
        "rows": rows,
        "speed": speed,
    }


def _write(document: dict[str, Any], study: Study, names: Sequence[str], folder: Path) -> None:
    """Draws the pictures and writes the report in its three forms."""
    from jaxdigits import plots

    captions = {}
    for name in (*names, "pictures"):
        for file, draw in _pictures(name).items():
            figure = draw(study)
            if figure is not None:
                plots.save(figure, folder / file)
                captions[file] = inspect.getdoc(draw) or ""
    (folder / "report.md").write_text(reports.markdown(document, captions))
    (folder / "report.html").write_text(reports.html_page(document, captions, folder))
    (folder / "report.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
