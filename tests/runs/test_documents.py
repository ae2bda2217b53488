"""Files of runs and sweeps from strangers: one sentence, whatever is in them."""

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import jaxdigits as jd
from jaxdigits.data.dataset import Fingerprint
from jaxdigits.errors import ConfigError, JaxdigitsError, RunError
from jaxdigits.evaluation.promises import DOUBTS
from jaxdigits.runs import documents
from jaxdigits.runs.checkpoints import read_manifest
from jaxdigits.runs.resume import manifest_config
from jaxdigits.sweeps.summary import SweepResult

NESTED = '{"a":' * 100_000
STRANGE: list[Any] = [
    *(None, True, -1, 0, 3.5, 10**30, -(10**400), "", "x" * 20_000, "../../x", "\ud800", [], {}),
    *([[]], [None], {"a": 1}, [-1], ["../../x"], [0, "../../x"], float("inf"), float("nan")),
]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield path
    if isinstance(document, dict | list):
        keys = document if isinstance(document, dict) else range(len(document))
        for key in keys:
            yield from places(document[key], (*path, key))


def mutated(document: Any, rng: random.Random) -> str:
    """The text of a document with one to three changes."""
    document = deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice([path for path in places(document) if path])
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        if rng.random() < 0.15:
            del parent[path[-1]]
        else:
            parent[path[-1]] = deepcopy(rng.choice(STRANGE))
        if not document:
            break
    text = json.dumps(document)
    way = rng.random()
    if way < 0.03:
        return text[: rng.randrange(len(text))]
    if way < 0.05:
        place = rng.randrange(len(text))
        return text[:place] + rng.choice(["\x00", "}", '"', NESTED]) + text[place:]
    return text


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two members."""
    folder = tmp_path_factory.mktemp("sweeps") / "sweep"
    config = jd.TrainConfig(dataset="digits", model="linear", epochs=0)
    jd.sweep(config, {}, seeds=2, folder=folder)
    return folder


@pytest.fixture(scope="module")
def unfinished(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an interrupted run leaves of its settings."""
    folder = tmp_path_factory.mktemp("unfinished")
    member = json.loads((swept / "members" / "0" / "run.json").read_text())
    kept = {key: member[key] for key in ("config", "data", "devices", "versions", "device")}
    more = {"own": [], "init_from": None, "stream": False, "chunks_per_epoch": 1}
    (folder / "manifest.json").write_text(json.dumps({"format": 2, **kept, **more}))
    return folder


def read_sweep(folder: Path) -> None:
    """As `jaxdigits evaluate FOLDER` and `jaxdigits sweep --resume FOLDER` do."""
    result = SweepResult.from_folder(folder, jd.load(folder))
    assert result.best.name is not None
    repr(result.ensemble)


def read_run(folder: Path) -> None:
    """As `jaxdigits evaluate FOLDER` does."""
    run = jd.load(folder / "members" / "1")
    repr(run)
    str(run.fingerprint)
    if run.calibration is not None and run.calibration.answers is not None:
        with contextlib.suppress(ConfigError):
            run.calibration.answers.threshold(0.01)


def resume(folder: Path) -> None:
    """As `jaxdigits train --resume FOLDER` does."""
    manifest = read_manifest(folder)
    manifest_config(manifest, folder, jd.TrainConfig(), [])
    str(Fingerprint(**manifest["data"]))


@pytest.mark.parametrize(
    ("name", "read", "count"),
    [
        ("sweep.json", read_sweep, 600),
        ("members/1/run.json", read_run, 900),
        ("manifest.json", resume, 900),
    ],
)
def test_changed_documents(name, read, count, swept, unfinished) -> None:
    """Each is read, or refused in one sentence that names the file or its setting."""
    folder = unfinished if name == "manifest.json" else swept
    path = folder / name
    whole = path.read_text()
    rng, refused = random.Random(0), 0
    try:
        for number in range(count):
            path.write_text(mutated(json.loads(whole), rng))
            message = None
            try:
                read(folder)
            except JaxdigitsError as error:
                message = str(error)
            if message is not None:
                assert "\n" not in message, number
                assert len(message) < 1000, number
                assert str(folder) in message, number
                refused += 1
    finally:
        path.write_text(whole)
    read(folder)
    assert refused > count / 3


@pytest.mark.parametrize("members", [["../../x"], [0, "../0"], [-1], [True], [1.5]])
def test_members_are_numbers(members, swept, tmp_path) -> None:
    """So that none is outside of the sweep's folder."""
    document = json.loads((swept / "sweep.json").read_text())
    document["settings"][document["best"]]["ensemble"]["members"] = members
    (tmp_path / "sweep.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"sweep\.json is damaged: Expected `int"):
        jd.load(tmp_path)


def test_a_file_that_is_too_large(swept, monkeypatch) -> None:
    """Its size is looked at first."""
    monkeypatch.setattr(documents, "MOST_BYTES", 100)
    with pytest.raises(RunError, match=r"sweep\.json is damaged: it is larger than 100 bytes"):
        jd.load(swept)
    monkeypatch.setattr(documents, "MOST_BYTES", (swept / "sweep.json").stat().st_size)
    for member in (swept / "members").iterdir():
        assert (member / "run.json").stat().st_size < documents.MOST_BYTES
    assert len(jd.load(swept).members) == 2


def test_a_file_of_more_than_256_mebibytes(tmp_path) -> None:
    """It takes no room on the disk, and is not read."""
    with (tmp_path / "run.json").open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(RunError, match=r"run\.json is damaged: it is larger than 268435456 bytes"):
        jd.load(tmp_path)


def test_a_sweep_is_its_best_setting_s_ensemble(swept, tmp_path, monkeypatch) -> None:
    """With what was measured of it; by the only format so far."""
    document = json.loads((swept / "sweep.json").read_text())
    assert document["format"] == 1
    best = document["settings"][document["best"]]["ensemble"]
    monkeypatch.chdir(swept.parent)
    run = jd.load(swept.name)
    assert run.folder == swept
    assert run.results == best["results"]
    assert run.calibration is not None
    assert run.calibration.temperature == best["calibration"]["temperature"]
    assert [member.folder for member in run.members] == [
        swept / "members" / str(number) for number in best["members"]
    ]
    copy = tmp_path / "sweep"
    shutil.copytree(swept, copy)
    for number in (1, 2):
        (copy / "sweep.json").write_text(json.dumps({**document, "best": number}))
        sentence = rf"sweep\.json is damaged: there is no setting {number}; run the sweep again$"
        with pytest.raises(RunError, match=sentence):
            jd.load(copy)
    (copy / "sweep.json").write_text(json.dumps(document))
    path = copy / "members" / "1" / "run.json"
    member = json.loads(path.read_text())
    path.write_text(json.dumps({**member, "scaling": {"mean": 0.0, "std": 1.0}}))
    sentence = f"^{copy} is damaged: the members of an ensemble must have one .*; run the sweep aga"
    with pytest.raises(RunError, match=sentence):
        jd.load(copy)


FULL = len(DOUBTS)


@pytest.mark.parametrize(
    ("kind", "allowed", "refused"),
    [
        (documents.Count, [0, 2**53], [-1, 2**53 + 1]),
        (documents.Positive, [1, 2**31], [0, 2**31 + 1]),
        (documents.Share, [0, 0.0, 1, 1.0], [-1e-9, 1 + 1e-9]),
        (documents.Text, ["", "x" * 10_000], ["x" * 10_001]),
        (documents.Counts, [[0] * FULL], [[0] * (FULL - 1), [0] * (FULL + 1)]),
        (documents.ResultsDocument, [{}, {"count": 3}, {"other": "x"}], [{"count": -1}]),
    ],
)
def test_the_limits_of_values(kind, allowed, refused) -> None:
    """The last that is allowed, and the first that is not."""
    for value in allowed:
        assert documents.check(value, kind, Path("x.json"), "train it again") == value
    for value in refused:
        with pytest.raises(RunError, match=r"^x\.json is damaged: .*; train it again$"):
            documents.check(value, kind, Path("x.json"), "train it again")


def test_the_root_is_no_run(cli) -> None:
    """Nor is a home that there is not."""
    code, out, err = cli("evaluate", "/")
    assert (code, out) == (2, "")
    assert err.startswith("jaxdigits: there is no run in /")
    with pytest.raises(RunError, match="there is no run in ~no-such-user/x"):
        jd.load("~no-such-user/x")
