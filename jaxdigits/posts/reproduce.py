"""`jaxdigits reproduce`: the figures of the posts beside ours."""

import dataclasses
import datetime
import importlib
import inspect
import pkgutil
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from jaxdigits import data
from jaxdigits.cli.output import is_official, note, note_counts, report
from jaxdigits.environment import environment, usable_cores
from jaxdigits.errors import ConfigError
from jaxdigits.files import staged_directory, write_json
from jaxdigits.posts import report as reports
from jaxdigits.posts.study import LETTERS, MNIST, Comparison, Study
from jaxdigits.runs.fit import choose_dataset

EXPERIMENTS = "jaxdigits.posts"
EMNIST_DIGITS = "emnist/digits"
REPORT_FILES = ("report.md", "report.html", "report.json")


def reproduce(
    rows: Sequence[str] = (),
    *,
    seeds: int = 10,
    dataset: str = "auto",
    letters: str = LETTERS,
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
        letters: the data set for the rows that are about letters. They are left out where it is not
            prepared, unless they, it, or `manual_dir` were given.
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
    wanted = {"dataset": dataset, "letters": letters}
    missing: list[str] = []
    asked = bool(rows) or letters != LETTERS or manual_dir is not None
    if not asked and not data.is_prepared(LETTERS, data_dir):
        missing = [name for name in names if _about(name) == "letters"]
        note(
            f"{LETTERS} is not prepared, so rows {', '.join(missing)} are left out; "
            f"`jaxdigits data prepare {LETTERS}` gets it."
        )
    names = [name for name in names if name not in missing]
    studies = _load(wanted, names, seeds, data_dir, manual_dir)
    for study in studies.values():
        note_counts(study.train_set.fingerprint)
    if not all(study.compares for study in studies.values()):
        note(reports.OTHER_DATA)
    if out is None:
        document = _run(studies, names, wanted, rows, began)
        report(reports.text(document), document, as_json=as_json)
        return document
    pictures = [file for row in choose_rows(()) for file in _pictures(row)]
    with staged_directory(
        out, numbered=False, overwrite=overwrite, known=(*REPORT_FILES, *pictures, *_pictures())
    ) as folder:
        document = _run(studies, names, wanted, rows, began)
        _write(document, studies, names, folder.work)
    where = f"written to {folder.final}: {', '.join(REPORT_FILES)} and pictures"
    report(f"{reports.text(document)}\n\n{where}", document, as_json=as_json)
    return document


def _load(
    wanted: Mapping[str, str],
    names: Sequence[str],
    seeds: int,
    data_dir: Path | None,
    manual_dir: Path | None,
) -> dict[str, Study]:
    """The data that rows are about, by what `_about` calls them."""
    about = {_about(name) for name in names}
    chosen = {}
    if EMNIST_DIGITS in about:
        if wanted["dataset"] == "auto" and data.is_prepared(EMNIST_DIGITS, data_dir):
            chosen[EMNIST_DIGITS] = EMNIST_DIGITS
        else:
            about.add("digits")
    if "digits" in about:
        chosen["digits"] = choose_dataset(wanted["dataset"], data_dir, manual_dir)
    if "letters" in about:
        chosen["letters"] = wanted["letters"]
    return {role: _study(role, name, seeds, data_dir, manual_dir) for role, name in chosen.items()}


def _study(
    role: str, name: str, seeds: int, data_dir: Path | None, manual_dir: Path | None
) -> Study:
    train_set, test_set = data.load_splits(
        name, ("train+validation", "test"), data_dir=data_dir, manual_dir=manual_dir
    )
    found = train_set.fingerprint
    posted = {"letters": LETTERS, EMNIST_DIGITS: EMNIST_DIGITS}.get(role)
    compares = found.sha256 == MNIST if posted is None else name == posted and is_official(found)
    return Study(train_set, test_set, seeds, compares)


def _about(row: str) -> str:
    """What a row is about: `digits` (MNIST), `letters`, or EMNIST's digits."""
    return getattr(_module(row), "DATA", "digits")


def _data(row: str, studies: Mapping[str, Study]) -> str:
    """Which of the studies a row takes: others may stand in for EMNIST's digits."""
    return _about(row) if _about(row) in studies else "digits"


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


def _run(
    studies: Mapping[str, Study],
    names: Sequence[str],
    wanted: Mapping[str, str],
    rows_given: Sequence[str],
    began: float,
) -> dict[str, Any]:
    """Runs the rows; gives the report as plain values."""
    rows = []
    seeds = max(study.seeds for study in studies.values())
    # tqdm is silent where standard error is not a terminal.
    with tqdm(names, unit="row", disable=None, leave=False) as bar:
        for name in bar:
            bar.set_description(name)
            module, about = _module(name), _data(name, studies)
            study = studies[about]
            study.set_seeds(min(seeds, getattr(module, "SEEDS", seeds)))
            comparisons: list[Comparison] = module.run(study)
            compares = study.compares and about == _about(name)
            if not compares:
                comparisons = [
                    dataclasses.replace(one, posted=None, digits=one.decimals)
                    for one in comparisons
                ]
            figures = [comparison.as_dict() for comparison in comparisons]
            rows.append(
                {
                    "row": name,
                    "setup": module.SETUP,
                    "data": about,
                    "compares": compares,
                    "figures": figures,
                }
            )
    speed = [
        {
            "training": training,
            "seeds": len(trained.untrained),
            "epochs": trained.accuracy.shape[1],
            "seconds": trained.seconds,
            "seconds_alone": trained.seconds_alone,
        }
        for study in studies.values()
        for training, trained in study.trained.items()
        if trained.accuracy.shape[1]
    ]
    words = [*(names if rows_given else ())]
    for option, usual in (("dataset", "auto"), ("letters", LETTERS)):
        if wanted[option] != usual:
            words += [f"--{option}", wanted[option]]
    return {
        "command": shlex.join(["jaxdigits", "reproduce", *words, "--seeds", str(seeds)]),
        "date": datetime.date.today().isoformat(),
        "data": {about: study.train_set.fingerprint.as_dict() for about, study in studies.items()},
        "compares": all(row["compares"] for row in rows),
        "seeds": seeds,
        "seconds": time.perf_counter() - began,
        "cores": usable_cores(),
        **environment(),
        "rows": rows,
        "speed": speed,
    }


def _write(
    document: dict[str, Any], studies: Mapping[str, Study], names: Sequence[str], folder: Path
) -> None:
    """Draws the pictures and writes the report in its three forms."""
    from jaxdigits import plots

    captions = {}
    drawn = [(name, _data(name, studies)) for name in names]
    if "digits" in studies:
        drawn.append(("pictures", "digits"))
    for name, about in drawn:
        for file, draw in _pictures(name).items():
            figure = draw(studies[about])
            if figure is not None:
                plots.save(figure, folder / file)
                captions[file] = inspect.getdoc(draw) or ""
    (folder / "report.md").write_text(reports.markdown(document, captions))
    (folder / "report.html").write_text(reports.html_page(document, captions, folder))
    write_json(folder / "report.json", document)
