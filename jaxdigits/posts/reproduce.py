"""Measure the results of the posts again: the figures of the posts beside ours."""

import dataclasses
import datetime
import importlib
import inspect
import logging
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxdigits import data
from jaxdigits.data import choose_dataset
from jaxdigits.data.specs import is_official
from jaxdigits.environment import environment, usable_cores
from jaxdigits.errors import ConfigError
from jaxdigits.files import StrPath, staged_directory, write_json
from jaxdigits.posts import page, report
from jaxdigits.posts.rows import (
    DIGITS,
    EMNIST_DIGITS,
    EXPERIMENTS,
    LETTERS,
    Row,
    choose_rows,
    load_row,
)
from jaxdigits.posts.study import Study
from jaxdigits.runs.loop import ProgressBar

logger = logging.getLogger("jaxdigits")

MNIST = "039f08633ffed019e1a7730847252cf3c05e6c6c4b4ccc31994c09ef6a5b07ad"
"""The hash of MNIST's images and labels, as in its `Fingerprint`."""

REPORT_FILES = ("report.md", "report.html", "report.json")


def reproduce(
    rows: Sequence[str] = (),
    *,
    seeds: int = 10,
    dataset: str = "auto",
    letters: str = LETTERS,
    folder: StrPath | None = None,
    overwrite: bool = False,
    progress: bool = False,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> dict[str, Any]:
    """Run the experiments of some rows, and write the report if a folder is given.

    Args:
        rows: such as `A4`. Default: all.
        seeds: how often to repeat what has chance in it.
        dataset: `auto` is MNIST, or the digits inside without it.
        letters: the dataset for the rows that are about letters. They are left out if it is not
            prepared, unless these rows, it, or `manual_dir` were given.
        folder: for the report. Default: none is written.
        overwrite: replace an older report there, when the new one is complete.
        progress: show a progress bar on standard error.
        data_dir, manual_dir: see `jaxdigits.data.load`.

    Returns:
        What `report.json` holds; `jaxdigits.posts.report` puts it in words.

    Raises:
        ConfigError: a row is unknown, or the number of seeds impossible.
        DataError: a dataset is unknown, damaged, or unavailable.
        OutputError: the folder cannot be written, or is taken.
    """
    if not 1 <= seeds <= 1000:
        raise ConfigError(f"seeds must be 1 to 1000, not {seeds}")
    start = time.perf_counter()
    chosen = [load_row(name) for name in choose_rows(rows)]
    given = bool(rows) or letters != LETTERS or manual_dir is not None
    if not given and not data.is_prepared(LETTERS, data_dir):
        missing = ", ".join(row.name for row in chosen if row.data == "letters")
        logger.warning(
            "%s is not prepared, so rows %s are left out; `jaxdigits data prepare %s` gets it.",
            *(LETTERS, missing, LETTERS),
        )
        chosen = [row for row in chosen if row.data != "letters"]
    folders = {"data_dir": data_dir, "manual_dir": manual_dir}
    studies = {
        about: _study(about, name, seeds, folders)
        for about, name in _datasets({row.data for row in chosen}, dataset, letters, folders)
    }

    def run() -> dict[str, Any]:
        words = [*(row.name for row in chosen if rows), *_given(dataset, letters)]
        return {
            "command": shlex.join(["jaxdigits", "reproduce", *words, "--seeds", str(seeds)]),
            "date": datetime.date.today().isoformat(),
            "seeds": seeds,
            "cores": usable_cores(),
            **environment(),
            **_run(chosen, studies, seeds, progress),
            "seconds": time.perf_counter() - start,
        }

    if folder is None:
        return run()
    known = {file for name in choose_rows(()) for file in load_row(name).pictures}
    known |= {*REPORT_FILES, *_joint_pictures()}
    with staged_directory(Path(folder), numbered=False, overwrite=overwrite, known=known) as new:
        document = run()
        _write(document, chosen, studies, new.work)
    return document


def _joint_pictures() -> Mapping[str, Callable[[Study], Any]]:
    """The pictures of several rows together."""
    return importlib.import_module(f"{EXPERIMENTS}.pictures").PICTURES


def _given(dataset: str, letters: str) -> list[str]:
    words = [] if dataset == "auto" else ["--dataset", dataset]
    return words if letters == LETTERS else [*words, "--letters", letters]


def _datasets(
    about: set[str], dataset: str, letters: str, folders: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The names of the datasets that rows need, by what the rows are about."""
    found = []
    if EMNIST_DIGITS in about:
        if dataset == "auto" and data.is_prepared(EMNIST_DIGITS, folders["data_dir"]):
            found.append((EMNIST_DIGITS, EMNIST_DIGITS))
        else:
            about = {*about, DIGITS}
    if DIGITS in about:
        found.append((DIGITS, choose_dataset(dataset, **folders)))
    return found + [("letters", letters)] * ("letters" in about)


def _study(about: str, name: str, seeds: int, folders: Mapping[str, Any]) -> Study:
    train_set, test_set = data.load_splits(name, ("train+validation", "test"), **folders)
    found = train_set.fingerprint
    if about == DIGITS:
        return Study(train_set, test_set, seeds, found.sha256 == MNIST)
    posted = LETTERS if about == "letters" else about
    return Study(train_set, test_set, seeds, name == posted and is_official(found))


def _data(row: Row, studies: Mapping[str, Study]) -> str:
    """Which study a row takes: MNIST may stand in for EMNIST's digits."""
    return row.data if row.data in studies else DIGITS


def _run(
    rows: Sequence[Row], studies: Mapping[str, Study], seeds: int, progress: bool
) -> dict[str, Any]:
    """Run the rows; return their part of the report."""
    entries = []
    with ProgressBar(len(rows), "row", show=progress) as bar:
        for done, row in enumerate(rows):
            bar.reach(done)
            bar.begin(row.name, row.setup)
            about = _data(row, studies)
            study = studies[about]
            study.set_seeds(min(seeds, row.most_seeds or seeds))
            comparisons = row.run(study)
            compares = study.compares and about == row.data
            comparisons = [dataclasses.replace(one, compares=compares) for one in comparisons]
            entries.append(
                {
                    "row": row.name,
                    "setup": row.setup,
                    "data": about,
                    "compares": compares,
                    "figures": [comparison.as_dict() for comparison in comparisons],
                    "curves": _curves(row.name, study),
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
    return {
        "data": {about: study.train_set.fingerprint.as_dict() for about, study in studies.items()},
        "compares": all(entry["compares"] for entry in entries),
        "rows": entries,
        "speed": speed,
    }


def _curves(row: str, study: Study) -> dict[str, dict[str, list[float]]]:
    """The accuracy of a row's networks after each epoch: mean and range over the seeds."""
    return {
        name: {
            "mean": trained.accuracy.mean(axis=0).tolist(),
            "low": trained.accuracy.min(axis=0).tolist(),
            "high": trained.accuracy.max(axis=0).tolist(),
        }
        for name, trained in study.trained.items()
        if name.partition(",")[0] == row and trained.accuracy.shape[1]
    }


def _write(
    document: dict[str, Any], rows: Sequence[Row], studies: Mapping[str, Study], folder: Path
) -> None:
    """Draw the pictures, and write the report in its three forms."""
    from jaxdigits import plots

    captions = {}
    drawn = [(row.pictures, studies[_data(row, studies)]) for row in rows]
    if DIGITS in studies:
        drawn.append((_joint_pictures(), studies[DIGITS]))
    for pictures, study in drawn:
        for file, draw in pictures.items():
            with plots.optional():
                figure = draw(study)
                if figure is not None:
                    plots.save(figure, folder / file)
                    captions[file] = inspect.getdoc(draw) or ""
    texts = {
        "report.md": report.markdown(document, captions),
        "report.html": page.html_page(document, captions, folder),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    write_json(folder / "report.json", document)
