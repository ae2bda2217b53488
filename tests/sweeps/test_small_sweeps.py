"""Sweeps of networks that are soon trained: folders, defaults, and what they say."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from helpers import stop_after

import jaxdigits as jd
from jaxdigits.config import TrainConfig
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError, StoppedError
from jaxdigits.runs import multihost
from jaxdigits.runs.resume import CheckpointHook
from jaxdigits.sweeps import train
from jaxdigits.sweeps.grid import make_plan
from jaxdigits.sweeps.sweep import resume
from jaxdigits.sweeps.train import SweepTrainer

PIXEL = TrainConfig(dataset="digits", model="pixel")
DISTANCES = {"distance": ("squared", "absolute")}


def test_a_model_without_epochs(splits, capsys):
    """By default a setting has one member, nothing is written, and nothing is said."""
    found = jd.sweep(PIXEL, DISTANCES, splits)
    assert [one.members for one in found.settings] == [[0], [1]]
    assert [one.dropped_after for one in found.settings] == [None, None]
    assert [one.name for one in found.settings] == ["distance squared", "distance absolute"]
    for distance, one in zip(("squared", "absolute"), found.settings, strict=True):
        alone = jd.fit(PIXEL.replace(distance=distance), splits)
        assert one.accuracies == [pytest.approx(alone.results["validation"]["accuracy"])]
    (member,) = found.ensemble.members
    assert (member.config.epochs, len(member.history)) == (0, 1)
    assert found.folder is None
    assert list(Path().iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_the_folders_of_sweeps(splits):
    """By their data and network, with a number; one that is taken is replaced where asked."""
    folders = [jd.sweep(PIXEL, data=splits, folder="auto").folder for _ in range(2)]
    first = Path("sweeps/digits-pixel").absolute()
    assert folders == [first, first.with_name("digits-pixel-2")]
    again = jd.sweep(PIXEL, DISTANCES, splits, folder="auto", overwrite=True)
    assert again.folder == first
    assert len(list((first / "members").iterdir())) == 2
    with pytest.raises(OutputError, match="digits-pixel is taken; choose another"):
        jd.sweep(PIXEL, data=splits, folder=first)
    (first / "mine.txt").write_text("not a sweep's")
    with pytest.raises(OutputError, match="holds other files, such as mine"):
        jd.sweep(PIXEL, data=splits, folder=first, overwrite=True)
    assert sorted(path.name for path in first.parent.iterdir()) == [
        "digits-pixel",
        "digits-pixel-2",
    ]


def test_a_sweep_of_no_named_dataset_says_what_it_was_trained_on(notes):
    """Without MNIST it is the digits that come with the package."""
    found = jd.sweep(PIXEL.replace(dataset="auto"))
    assert found.document["config"]["dataset"] == found.ensemble.config.dataset == "digits"
    assert "MNIST is not prepared" in notes[0]


@pytest.mark.parametrize("folder", [None, "x"])
def test_what_a_sweep_says(folder, splits, capsys):
    """Which networks, and then the epochs; of several batches, which one it is."""
    config = TrainConfig(dataset="digits", model="linear", epochs=2)
    jd.sweep(config, {"learning_rate": (0.01, 0.02)}, splits, folder=folder, progress=True)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "training 2 networks, 2 settings, on digits: 1,317 images, up to 2 at once"
    assert [line.partition(":")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]


def test_an_epoch_of_a_single_step(splits):
    """A batch of all images: each epoch is in the history, and the last one counts."""
    config = TrainConfig(dataset="digits", model="linear", epochs=3, batch_size=2000)
    found = jd.sweep(config, {"learning_rate": (0.001, 0.01)}, splits, members_per_batch=1)
    for member in found.ensemble.members:
        assert [line["epoch"] for line in member.history] == [0, 1, 2, 3]
        assert member.config.epochs == 3
        last = member.history[-1]["validation_accuracy"]
        assert member.results["validation"]["accuracy"] == pytest.approx(last)
        assert member.seconds is not None
        assert member.seconds["train"] > 0
    assert [one.dropped_after for one in found.settings] == [None, None]
    assert found.document["seconds"]["train"] > 0
    assert found.document["seconds"]["compile"] > 0


def test_epochs_and_augmentation_that_are_not_given_are_written_down(splits):
    """Ten epochs, and nothing that suits the convnet alone."""
    config = TrainConfig(dataset="digits", model="linear", batch_size=2000)
    (member,) = jd.sweep(config, data=splits).ensemble.members
    assert (member.config.epochs, member.config.augment) == (10, ())


def test_a_complete_sweep_is_read_and_another_one_is_not_resumed(splits, notes):
    done = jd.sweep(PIXEL, DISTANCES, splits, folder="x")
    assert jd.sweep(PIXEL, DISTANCES, splits, folder="x", resume=True).order == done.order
    assert resume("x").document == json.loads(Path("x/sweep.json").read_text())
    with pytest.raises(RunError, match="there is no run to resume in"):
        resume("y")
    # Nothing is there yet: it begins.
    begun = jd.sweep(PIXEL, DISTANCES, splits, folder="y", resume=True)
    assert begun.order == done.order


def test_a_sweep_is_resumed_with_its_own_settings(monkeypatch, notes):
    """From either of its names; only what is named must be what it was."""
    config = TrainConfig(dataset="digits", model="linear", epochs=2, batch_size=500)
    rates = {"learning_rate": (0.01, 0.02)}
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(StoppedError, match="after epoch 1 of 2"):
            jd.sweep(config, rates, folder="x")
    other = config.replace(epochs=3, learning_rate=0.5)
    for given, message in (
        (["epochs"], "was begun with epochs 2, not 3"),
        (("learning_rate",), r"was begun with learning_rate 0\.005, not 0\.5"),
    ):
        with pytest.raises(ConfigError, match=message):
            resume("x", expected=other, given=given)
    with pytest.raises(ConfigError, match="was begun with other lists of values: omit them, or"):
        resume("x", grid={"learning_rate": (0.01, 0.03)})
    found = resume("x.unfinished", expected=other, given=["learning_rate"], grid=rates)
    assert found.folder == Path("x").absolute()
    assert [len(one.members) for one in found.settings] == [1, 1]
    assert [line["epoch"] for line in found.ensemble.members[0].history] == [0, 1, 2]
    assert notes == ["resuming after epoch 1 of 2"]
    assert not Path("x.unfinished").exists()


def test_members_of_an_unfinished_sweep_are_not_lost(splits):
    """Those that jobs have written, which leave no checkpoints in the sweep's folder."""
    kept = Path("x.unfinished/members/0")
    kept.mkdir(parents=True)
    with pytest.raises(OutputError, match="holds an unfinished run: resume it with --resume"):
        jd.sweep(PIXEL, data=splits, folder="x")
    assert kept.exists()
    Path("y.unfinished").mkdir()  # nothing is in this one
    assert jd.sweep(PIXEL, data=splits, folder="y").folder == Path("y").absolute()


def test_a_member_that_was_begun_is_written_anew(splits, tmp_path):
    """As where the process was killed in between."""
    few = {
        name: replace(split, images=split.images[:60], labels=split.labels[:60])
        for name, split in splits.items()
    }
    folder = tmp_path / "members" / "0"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("{")
    trainer = SweepTrainer(make_plan(PIXEL, {}, 1), few, 1, None)
    assert trainer.prepare() == [1]
    with CheckpointHook() as hook:
        (run,) = trainer.train(hook, tmp_path)
    assert run.folder == folder
    assert len(run.history) == 1


def test_the_time_of_members_that_are_read(monkeypatch, tmp_path):
    """A batch took as long as one of its members; an older version kept no times."""
    known: dict[str, dict[str, float] | None] = {"0": {"train": 3.0}, "1": {"train": 4.0}}
    known |= {"2": {"compile": 9.0}, "3": None, "4": {"train": 0.25}}
    monkeypatch.setattr(train, "load", lambda path: SimpleNamespace(seconds=known[path.name]))
    for name in known:
        (tmp_path / "members" / name).mkdir(parents=True)
        (tmp_path / "members" / name / "run.json").touch()
    trainer = SweepTrainer(make_plan(PIXEL, {}, 7), {}, 1, None)
    for batch, seconds in (([0, 1], 4), ([2, 3], 4), ([4, 4], 4.25), ([4, 5], 4.25)):
        assert trainer._complete(batch, tmp_path) == (5 not in batch)
        assert trainer.seconds == {"compile": 0, "train": seconds}
    assert not trainer._complete([0, 1], None)


@pytest.mark.parametrize(("members", "most", "size"), [(1, 9, 2), (8, 9, 8), (8, 4, 4)])
def test_members_of_several_processes(splits, monkeypatch, members, most, size):
    """All devices take part, if there are fewer members; the smallest memory decides."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost, "max_over_processes", lambda number: [max(number, -most)])
    config = PIXEL.replace(model="linear")
    trainer = SweepTrainer(make_plan(config, {}, members), splits, 2, None)
    assert trainer.prepare() == [size]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members_per_batch": 0}, "members_per_batch must be 1 or more, not 0"),
        ({"seeds": 0}, "seeds must be 1 to 1000, not 0"),
        ({"halving": 1}, "halving keeps one of 2 settings or more, not of 1"),
        ({"halving": 2}, "one of 2 settings, but no more than 1 are trained together"),
    ],
)
def test_impossible_options(options, message, splits):
    with pytest.raises(ConfigError, match=message):
        jd.sweep(PIXEL, data=splits, **options)


def test_a_folder_that_is_not_there(tmp_path):
    """Where data are kept, and where their files lie, is passed on."""
    config = PIXEL.replace(dataset="mnist")
    with pytest.raises(DataError, match=str(tmp_path / "by-hand")):
        jd.sweep(config, data_dir=tmp_path, manual_dir=tmp_path / "by-hand")
