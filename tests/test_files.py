"""Files and folders: whole or not at all, and nobody else's is touched."""

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from jaxdigits import files
from jaxdigits.errors import OutputError
from jaxdigits.files import (
    absolute,
    atomic_write,
    changing,
    staged_directory,
    to_json,
    unfinished,
    write_json,
)


def staged(final: Path, *, overwrite: bool = False, resume: bool = False):
    return staged_directory(
        final, numbered=False, overwrite=overwrite, known=("a.txt", "logs"), resume=resume
    )


def fill(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("mine")


@pytest.mark.parametrize(
    ("overwrite", "name", "message"),
    [(False, "a.txt", "is taken"), (True, "thesis.txt", "holds other files, such as thesis.txt")],
)
def test_a_folder_that_appears_meanwhile_is_kept(tmp_path, overwrite, name, message):
    """And so is what was written, in the unfinished folder."""
    final = tmp_path / "run"

    def write():
        with staged(final, overwrite=overwrite) as new:
            (new.work / "a.txt").write_text("new")
            fill(final, name)

    with pytest.raises(OutputError, match=message):
        write()
    assert (final / name).read_text() == "mine"
    assert (unfinished(final) / "a.txt").read_text() == "new"


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_killed_process_left(tmp_path, resume):
    """Its results go, or stay to be resumed; temporary files go; links are not followed."""
    final, work, elsewhere = tmp_path / "run", tmp_path / "run.unfinished", tmp_path / "elsewhere"
    fill(work, "a.txt", ".a-temporary.txt")
    fill(elsewhere, "thesis.txt")
    (work / "logs").symlink_to(elsewhere)
    with staged(final, resume=resume) as new:
        left = {path.name for path in new.work.iterdir() if not path.name.startswith(".")}
        assert left == ({"a.txt", "logs"} if resume else set())
        assert not (new.work / ".a-temporary.txt").exists()
        (new.work / "a.txt").write_text("new")
    assert (elsewhere / "thesis.txt").read_text() == "mine"
    names = ["a.txt", "logs"] if resume else ["a.txt"]
    assert sorted(path.name for path in final.iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "run"]


def test_everything_that_a_killed_process_left_goes():
    """Folders and files of known names, and hidden ones; if resumed, only the hidden ones."""
    final = Path("run")
    known = {f"{number}.txt" for number in range(9)} | {"logs"}

    def leave() -> None:
        fill(unfinished(final), *(known - {"logs"}), *(f".{number}" for number in range(9)))
        fill(unfinished(final) / "logs", "log.txt")

    leave()
    with staged_directory(
        final, numbered=False, overwrite=False, known=known, resume=True
    ) as resumed:
        assert {path.name for path in resumed.work.iterdir()} == {*known, ".lock"}
        assert (resumed.work / "logs" / "log.txt").exists()
    assert {path.name for path in final.iterdir()} == known
    leave()
    with staged_directory(final, numbered=False, overwrite=True, known=known) as new:
        assert [path.name for path in new.work.iterdir()] == [".lock"]
    assert not list(final.iterdir())


def numbered(final: Path):
    """As runs are made; an unfinished folder with a checkpoint is taken."""
    return staged_directory(
        final,
        numbered=True,
        overwrite=False,
        known=("a.txt", "checkpoint"),
        resumable=lambda work: (work / "checkpoint").exists(),
    )


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    """The first that is free: neither there, nor being written, nor to be resumed."""
    final = tmp_path / "run"
    for name in ("run", "run-2", "run-3"):
        with numbered(final) as new:
            assert (new.final, new.work) == (tmp_path / name, tmp_path / f"{name}.unfinished")
        assert (tmp_path / name).is_dir()
    (tmp_path / "run-2").rmdir()
    with numbered(final) as first, numbered(final) as second:
        assert (first.final.name, second.final.name) == ("run-2", "run-4")
    fill(unfinished(tmp_path / "run-5"), "checkpoint")
    fill(unfinished(tmp_path / "run-6"), "a.txt")
    with numbered(final) as new:
        assert new.final.name == "run-6"
    assert (tmp_path / "run-5.unfinished" / "checkpoint").exists()
    names = [*(f"run-{number}" for number in (2, 3, 4, 6)), "run-5.unfinished", "run"]
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_an_unfinished_folder_that_should_not_be_lost(tmp_path):
    """Two tries get the same error; it may be resumed, or replaced."""
    final, errors = tmp_path / "run", []

    def again(**options: bool):
        chosen = {"overwrite": False, **options}
        return staged_directory(
            final, numbered=False, known=("a.txt",), resumable=lambda _: True, **chosen
        )

    fill(unfinished(final), "a.txt")
    message = r"run.unfinished holds an unfinished run: resume it with --resume .*run, or give --ov"
    for _ in range(2):
        with pytest.raises(OutputError, match=message) as error, again():
            pass
        errors.append(error)  # with the frames it came through, and what they hold
    assert (unfinished(final) / "a.txt").read_text() == "mine"
    with again(resume=True) as new:
        assert (new.work / "a.txt").exists()
    fill(unfinished(final), "a.txt")
    with again(overwrite=True) as new:
        assert not (new.work / "a.txt").exists()


def test_a_folder_that_another_process_writes(tmp_path):
    """Deeper folders are made; nobody waits."""
    final = tmp_path / "deep" / "run"
    with staged(final) as new:
        (new.work / "a.txt").write_text("mine")
        with pytest.raises(OutputError, match=r"another process is writing to .*run.unfinished; w"):
            staged(final).__enter__()
    assert [path.name for path in final.iterdir()] == ["a.txt"]
    with pytest.raises(OutputError, match=r"run is taken; choose another --out, or give --overwr"):
        staged(final).__enter__()
    (final / "a.txt").unlink()
    with staged(final):  # an empty one is free
        pass


def test_a_folder_without_permission(read_only):
    """Said before anything is written there."""
    for final in (read_only / "run", read_only):
        with pytest.raises(OutputError) as caught:
            staged(final).__enter__()
        assert str(caught.value) == f"cannot write {final}: Permission denied; choose another place"
    with pytest.raises(OutputError, match=r"a.txt: Permission denied; choose another place"):
        write_json(read_only / "a.txt", {})
    with (
        pytest.raises(OutputError, match=r"a.txt: Permission denied"),
        changing(read_only / "a.txt"),
    ):
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_other_files_in_an_unfinished_folder_are_kept(tmp_path, resume):
    """A second try gets the same error, not one about a lock."""
    final, work = tmp_path / "run", tmp_path / "run.unfinished"
    fill(work, "a.txt", "thesis.txt")
    message, errors = "holds other files, such as thesis.txt", []
    for _ in range(2):
        with pytest.raises(OutputError, match=message) as error, staged(final, resume=resume):
            pass
        errors.append(error)  # with the frames it came through, and what they hold
    for name in ("a.txt", "thesis.txt"):
        assert (work / name).read_text() == "mine"


def test_a_system_that_moves_no_open_files_gets_a_closed_lock(tmp_path, monkeypatch):
    """As Windows; elsewhere the lock is held to the end."""
    held = []
    rename = Path.rename

    def watched(path, target):
        if path.name == "run.unfinished":
            lock = FileLock(tmp_path / "run.unfinished" / ".lock")
            with contextlib.suppress(Timeout):
                lock.acquire(blocking=False)
            held.append(not lock.is_locked)
            lock.release()
        return rename(path, target)

    unlink = Path.unlink
    monkeypatch.setattr(Path, "rename", watched)
    monkeypatch.setattr(Path, "unlink", lambda path, *a: path.name == ".lock" or unlink(path, *a))
    for moves in (files._MOVES_OPEN_FILES, True, False):
        monkeypatch.setattr(files, "_MOVES_OPEN_FILES", moves)
        with staged(tmp_path / "run", overwrite=True) as new:
            (new.work / "a.txt").write_text("new")
    assert held == [os.name != "nt", True, False]


def test_an_error_leaves_only_what_is_worth_a_look(tmp_path):
    """And the lock is free again."""
    final = tmp_path / "run"

    def fail(*names):
        with staged(final) as new:
            fill(new.work, *names)
            raise ZeroDivisionError

    for names in ((), ("a.txt",), ()):
        with pytest.raises(ZeroDivisionError):
            fail(*names)
        assert not final.exists()
        assert (unfinished(final) / "a.txt").exists() == bool(names)
        assert unfinished(final).exists() == bool(names)


def test_an_older_folder_is_replaced_at_the_end(tmp_path):
    final = tmp_path / "run"
    fill(final, "a.txt", "logs")
    with staged(final, overwrite=True) as new:
        (new.work / "a.txt").write_text("new")
        assert (final / "a.txt").read_text() == "mine"
    assert [path.name for path in final.iterdir()] == ["a.txt"]
    assert (final / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_replaced_is_hidden_until_it_is_gone(tmp_path, monkeypatch):
    """A program that ends in this moment leaves no second folder that looks like a run."""
    final, beside = tmp_path / "run", []
    fill(final, "a.txt")
    rename = Path.rename

    def watched(self, target):
        found = rename(self, target)
        beside.append({path.name for path in tmp_path.iterdir()} - {"run"})
        return found

    monkeypatch.setattr(Path, "rename", watched)
    with staged(final, overwrite=True) as new:
        (new.work / "a.txt").write_text("new")
    assert len(beside) == 2
    assert any(name.startswith(".replaced-") for name in beside[0])


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_are_readable_as_the_umask_says(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {"a": 1})
    finally:
        after = os.umask(before)
    assert after == mask
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_null(tmp_path, value):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [value, {"c": (value, 0.5)}]})
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert document == {"b": 1, "a": [None, {"c": [None, 0.5]}]}


def test_what_json_cannot_hold_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 0.5})
    with pytest.raises(TypeError):
        write_json(path, {"b": 1, "a": object()})
    assert json.loads(path.read_text()) == {"a": 0.5}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_is_not_complete_is_not_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("mine")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["", "more"])
def test_a_file_that_cannot_be_written(tmp_path, name):
    """A name that is a folder's, or lies in a file."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / "file" / name if name else tmp_path / "folder"
    with pytest.raises(OutputError, match="cannot write"), atomic_write(path) as temporary:
        temporary.write_text("new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    """As /dev/null would: a rename would put a file in its place."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_json(tmp_path / "pipe", {"a": 1})
        assert json.loads(os.read(reader, 1000)) == {"a": 1}
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_file_needs_a_name():
    """An empty path is the folder that one is in."""
    for path in ("", ".", "/"):
        with pytest.raises(OutputError, match="is a folder: name a file to write to"):
            write_json(Path(path), {})
        with pytest.raises(OutputError, match="is a folder: name a file to"), changing(path):
            pass


def test_one_process_changes_a_file_at_a_time(tmp_path, monkeypatch):
    """Another one waits, but not forever; after an error the file is free again."""
    path = tmp_path / "a.txt"
    with changing(path):
        monkeypatch.setattr(files, "PATIENCE", 0.05)
        with pytest.raises(OutputError, match=r"another process is changing .*a.txt; try again"):
            changing(path).__enter__()
        with changing(tmp_path / "b.txt"):
            pass
    monkeypatch.setattr(files, "PATIENCE", 60.0)
    with contextlib.suppress(ZeroDivisionError), changing(path):
        raise ZeroDivisionError
    with changing(str(path)):
        pass
    assert {file.name for file in tmp_path.iterdir()} <= {".a.txt.lock", ".b.txt.lock"}


def test_a_second_process_waits_for_the_first(tmp_path):
    path, order = tmp_path / "a.txt", []

    def change() -> None:
        with changing(path):
            order.append("second")

    other = threading.Thread(target=change)
    with changing(path):
        other.start()
        other.join(0.1)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_files_in_new_folders_leave_nothing_open(tmp_path):
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    for number in range(3):
        write_json(tmp_path / str(number) / "deep" / "a.json", {"a": 1})
    write_json(tmp_path / "0" / "deep" / "a.json", {"a": 2})
    assert json.loads((tmp_path / "0" / "deep" / "a.json").read_text()) == {"a": 2}
    with open(os.devnull) as nothing:
        assert nothing.fileno() <= free


def test_lists_of_numbers_are_one_line(tmp_path):
    """Others are as json writes them; each file ends with a line."""
    document = {"a": [1, -2.5, 1e-9], "b": ["x", 1], "c": [[1, 2], [3]], "d": [], "e": {"f": [0]}}
    write_json(tmp_path / "a.json", document)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == document
    assert text.endswith("}\n")
    lines = [line.strip(" ,") for line in text.splitlines()]
    for line in ('"a": [1, -2.5, 1e-09]', "[1, 2]", "[3]", '"x"', '"f": [0]'):
        assert line in lines


def test_json_is_compact_unless_indented():
    """Values that JSON has none of are null wherever they are; true is no number."""
    inf = float("inf")
    assert to_json({"a": (1, [inf, {"b": -inf}]), "c": True}) == (
        '{"a": [1, [null, {"b": null}]], "c": true}'
    )
    assert to_json([1, 2.5], indent=1) == "[\n 1,\n 2.5\n]"


def test_paths_are_those_that_people_write(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("~/runs") == tmp_path / "home" / "runs"
    assert absolute("deep/../runs") == tmp_path / "runs"
    assert absolute("~nobody-of-that-name/x") == tmp_path / "~nobody-of-that-name" / "x"
    assert unfinished(tmp_path / "run") == tmp_path / "run.unfinished"
