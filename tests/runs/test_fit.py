"""Training from Python: the loop as a generator, own parts, and runs to start from."""

import dataclasses
import json
import signal
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import notes, stop_after

import jaxdigits as jd
from jaxdigits.errors import ConfigError, DataError, RunError, StoppedError
from jaxdigits.runs.checkpoints import saved_chunks
from jaxdigits.runs.fit import resume
from jaxdigits.runs.folder import RUN_FILES
from jaxdigits.runs.session import IN_MEMORY, Session

CONFIG = jd.TrainConfig(
    dataset="digits", model="mlp", hidden=(8,), batch_size=128, dropout=0.2, ema_decay=0.9,
    augment=("shift",), epochs=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def alone() -> jd.Run:
    """A run that nobody disturbed."""
    return jd.fit(CONFIG)


def same_params(first: jd.Run, second: jd.Run) -> bool:
    assert jax.tree.structure(first.params) == jax.tree.structure(second.params)
    pairs = zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def without_seconds(run: jd.Run) -> list[dict]:
    return [{**line, "seconds": 0} for line in run.history]


def test_the_loop_s_body_sees_every_epoch(alone):
    """In numbers, and as a run that is as good as they say."""
    validation = jd.data.load("digits", "validation")
    found, run = [], alone
    for epoch in jd.epochs(CONFIG):
        found.append(epoch)
        run = epoch.run()
        assert run.evaluate(validation).accuracy == pytest.approx(epoch.validation.accuracy)
        assert int(epoch.state.step) == 11 * epoch.number  # of 1,317 images
    assert [epoch.number for epoch in found] == [1, 2, 3]
    for epoch, line in zip(found, alone.history[1:], strict=True):
        assert epoch.train == (line["train_loss"], line["train_accuracy"])
        assert epoch.validation == (line["validation_loss"], line["validation_accuracy"])
    assert run is not alone
    assert same_params(run, alone)
    assert run.seconds is not None
    assert run.seconds.keys() == alone.seconds.keys()
    assert run.seconds["train"] > 0
    assert list(Path().iterdir()) == []
    assert alone.folder is None
    assert list(alone.results) == ["validation", "test"]


def test_a_run_of_an_epoch_stays_what_it_was(capsys):
    """The next epoch overwrites the state, and not the run; and nothing is shown."""
    runs = [epoch.run() for epoch in jd.epochs(CONFIG)]
    validation = jd.data.load("digits", "validation")
    for number, run in enumerate(runs, 1):
        assert (len(run.history), run.config.dataset, run.devices) == (number + 1, "digits", 1)
        accuracy = run.history[-1]["validation_accuracy"]
        assert run.evaluate(validation).accuracy == pytest.approx(accuracy)
        assert list(run.results) == ["validation"]
    assert not same_params(runs[0], runs[1])
    assert capsys.readouterr() == ("", "")


def test_where_the_time_goes(tmp_path):
    """Seconds of epochs add up to those of training, also if one is resumed in between."""
    for stop in (False, True):
        begin = time.perf_counter()
        folder = tmp_path / f"run-{stop}"
        for epoch in jd.epochs(CONFIG, folder=folder):
            assert 0 < epoch.seconds < time.perf_counter() - begin
            if stop:
                break
        run = jd.fit(CONFIG, folder=folder, resume=True)
        took = time.perf_counter() - begin
        assert [line.get("seconds", 0) > 0 for line in run.history] == [False, True, True, True]
        assert run.seconds is not None
        total = sum(line.get("seconds", 0) for line in run.history)
        assert run.seconds["train"] == pytest.approx(total)
        assert 0 < run.seconds["train"] < took
        if stop:
            assert 0 < run.seconds["compile"] < took


@pytest.mark.parametrize("last", [1, 3])
def test_stopping_early_and_resuming(alone, last):
    """To the bit, also where there was nothing left to train."""
    before = signal.getsignal(signal.SIGINT)
    epoch = None
    for epoch in jd.epochs(CONFIG, folder="run"):
        if epoch.number == last:
            break
    assert epoch is not None
    assert signal.getsignal(signal.SIGINT) is before
    assert saved_chunks(Path("run.unfinished")) == [last]
    assert not Path("run").exists()
    assert len(epoch.run().history) == last + 1
    name = "run" if last == 1 else "run.unfinished"  # either name
    rest = list(jd.epochs(CONFIG, folder=name, resume=True))
    assert [epoch.number for epoch in rest] == list(range(last + 1, 4))
    assert not Path("run.unfinished").exists()
    run = jd.load("run")
    assert same_params(run, alone)
    assert without_seconds(run) == without_seconds(alone)
    assert list(jd.epochs(CONFIG, folder="run", resume=True)) == []


def test_a_callback_ends_the_run(alone):
    """Which is complete then: measured, and written."""
    numbers = []

    def enough(epoch):
        numbers.append(epoch.number)
        return epoch.number == 2

    run = jd.fit(CONFIG, folder="run", on_epoch=enough)
    assert numbers == [1, 2]
    names = sorted(name for name in RUN_FILES if not name.endswith(".png"))
    assert sorted(path.name for path in Path("run").iterdir()) == names
    assert not Path("run.unfinished").exists()
    assert without_seconds(run) == without_seconds(alone)[:3]
    assert jd.load("run").results == run.results
    assert run.results["test"]["count"] == 360
    numbers.clear()
    assert without_seconds(jd.fit(CONFIG, on_epoch=enough)) == without_seconds(run)
    # Whoever returns nothing goes on.
    assert same_params(jd.fit(CONFIG, on_epoch=lambda epoch: None), alone)


def test_own_logging(alone):
    """In the loop's body, such as with Weights & Biases; events for TensorBoard as well."""
    pytest.importorskip("tensorboardX")

    class Tracker:
        def __init__(self):
            self.logged = []

        def log(self, values, step):
            self.logged.append((step, values))

    tracker = Tracker()
    for epoch in jd.epochs(CONFIG, folder="run", tensorboard=True):
        values = {"loss": epoch.train.loss, "accuracy": epoch.validation.accuracy}
        tracker.log(values, step=epoch.number)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert tracker.logged == [
        (line["epoch"], {"loss": line["train_loss"], "accuracy": line["validation_accuracy"]})
        for line in lines[1:]
    ]
    assert len(list(Path("run/tensorboard").iterdir())) == 1
    assert same_params(jd.load("run"), alone)


def test_a_loop_that_is_left_without_a_folder():
    before = signal.getsignal(signal.SIGINT)
    loop = jd.epochs(CONFIG)
    next(loop)
    loop.close()
    assert list(loop) == []
    assert signal.getsignal(signal.SIGINT) is before
    assert list(Path().iterdir()) == []


def test_an_error_in_the_loop_s_body_loses_nothing(alone):
    def fail(epoch):
        if epoch.number == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        jd.fit(CONFIG, folder="run", on_epoch=fail)
    assert saved_chunks(Path("run.unfinished")) == [2]
    assert same_params(jd.fit(CONFIG, folder="run", resume=True), alone)


def test_options_that_there_are_not():
    with pytest.raises(TypeError, match="there is no option fodler"):
        jd.fit(CONFIG, fodler="run")  # pyright: ignore[reportCallIssue]
    wrong: dict[str, Any] = dict.fromkeys("zyxwvut")
    with pytest.raises(TypeError, match="there is no option t, u, v, w, x, y, z"):
        jd.fit(CONFIG, **wrong)
    examples = jd.data.load("digits", "test")
    with pytest.raises(DataError, match="data has no split validation"):
        jd.fit(CONFIG, {"train": examples})


def test_data_of_another_kind():
    """What people give in its place gets a sentence."""
    names = ("train", "validation", "test")
    splits = dict(zip(names, jd.data.load_splits("digits", names), strict=True))
    other = dataclasses.replace(splits["validation"], class_names=tuple("abcdefghij"))
    wrong: dict[str, Any] = {
        "not Dataset$": splits["train"],
        "not TrainingData$": jd.load_training_data("digits"),
        "not str$": "digits",
        "not Examples$": splits["train"].examples,
        "the split train must be a Dataset, such as .*, not ndarray$": {
            **splits,
            "train": splits["train"].images,
        },
        "the split test must be a Dataset, such as .*, not NoneType$": {**splits, "test": None},
        "the splits train and validation differ in their classes": {**splits, "validation": other},
    }
    for sentence, given in wrong.items():
        with pytest.raises(DataError, match=sentence):
            jd.data.check_splits(given, ["train"])
    for train in (jd.fit, lambda config, data: jd.sweep(config, {}, data)):
        with pytest.raises(DataError, match="the splits train and validation differ"):
            train(CONFIG, {**splits, "validation": other})


def network(width: int = 12) -> jd.Model:
    """Two layers with a sine between them."""

    def init(key):
        return jd.models.mlp.init(key, 10, (width,))

    return jd.Model(init, lambda params, images: jd.models.mlp.apply(params, images, jnp.sin))


def focal_loss(logits, labels):
    logs = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
    return -((1 - jnp.exp(logs)) ** 2) * logs


OWN = jd.TrainConfig(dataset="digits", epochs=3)


def test_own_parts_are_asked_for_again():
    model = network()
    run = jd.fit(OWN, folder="run", model=model, loss=focal_loss)
    assert run.own == ("model", "loss")
    assert repr(run).startswith("<Run: own network on digits, test accuracy")
    assert json.loads(Path("run/run.json").read_text())["own"] == ["model", "loss"]
    with pytest.raises(RunError, match=r"your own: give it to jaxdigits\.load\(folder, model="):
        jd.load("run")
    test = jd.data.load("digits", "test")
    loaded = jd.load("run", model=model)
    np.testing.assert_array_equal(
        loaded.predict_logits(test.images), run.predict_logits(test.images)
    )
    with pytest.raises(ConfigError, match=r"a loss of its own: load it with load\(\.\.\., loss="):
        loaded.evaluate(test)
    loaded = jd.load("run", model=model, loss=focal_loss)
    assert loaded.evaluate(test).as_dict() == run.results["test"]
    with pytest.raises(RunError, match=r"is not of this network: expected float32 \[13\]"):
        jd.load("run", model=network(13))
    assert (
        jd.fit(OWN.replace(epochs=0), folder="auto", model=model).folder
        == Path("runs/digits-own").absolute()
    )


def test_other_parts_than_before_are_refused(monkeypatch):
    parts = {"model": network(), "loss": focal_loss}
    undisturbed = jd.fit(OWN, **parts)
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        command = r"resume with: jaxdigits\.fit\(\.\.\., folder='/.*/run', resume=True\)"
        with pytest.raises(StoppedError, match=command):
            jd.fit(OWN, folder="run", **parts)
    for other, words in (
        ({}, "none"),
        ({"model": parts["model"]}, "model"),
        ({**parts, "augment": lambda key, images: images}, "model, loss, augment"),
    ):
        message = f"was begun with model, loss of your own, not {words}: give the same parts"
        with pytest.raises(ConfigError, match=message):
            resume("run", **other)
    assert same_params(resume("run", **parts), undisturbed)
    for run in (resume("run", **parts), jd.fit(OWN, folder="run", resume=True, **parts)):
        assert run.loss is focal_loss
        assert run.model is parts["model"]


@pytest.fixture(scope="module")
def start(alone) -> jd.Run:
    """A network to start from, of images that a camera has taken with dark ink."""
    return dataclasses.replace(alone, form="emnist", light_ground=True, extent=0.625)


@pytest.fixture(scope="module")
def darker() -> dict:
    """The digits in half of their brightness, so that other statistics would suit them."""
    train, test = (jd.data.load("digits", split) for split in ("train+validation", "test"))
    dark = [jd.Examples(split.images // 2, split.labels) for split in (train, test)]
    return dict(jd.data.from_arrays("darker", dark[0], dark[1], train.class_names))


TUNING = jd.TrainConfig(epochs=2, learning_rate=1e-3)


def test_a_run_that_starts_from_another(start, darker):
    """Its network, scaling, and form are the other one's; it goes on learning from there."""
    run = jd.fit(TUNING.replace(epochs=0), darker, init_from=start)
    assert same_params(run, start)
    begun = [epoch.run() for epoch in jd.epochs(TUNING, darker, init_from=start)]
    run = jd.fit(TUNING, darker, init_from=start)
    assert {one.init_from for one in (*begun, run)} == {IN_MEMORY}
    for each in (run, jd.load(run.save("tuned"))):
        assert (each.config.model, each.config.hidden) == ("mlp", (8,))
        assert each.scaling == start.scaling
        assert (each.form, each.light_ground, each.extent) == ("emnist", True, 0.625)
        assert each.fingerprint.name == each.config.dataset == "darker"
    assert not same_params(run, start)
    before = start.evaluate(darker["validation"])
    assert run.history[0]["validation_loss"] == pytest.approx(before.loss, rel=1e-4)
    assert run.results["validation"]["loss"] < before.loss


def test_what_cannot_start_from_a_run(start, darker):
    with pytest.raises(ConfigError, match=r"has hidden \(8,\), not \(9,\): omit that setting"):
        jd.fit(TUNING.replace(model="mlp", hidden=(9,)), darker, init_from=start)
    with pytest.raises(ConfigError, match="has scale standardized, not unit"):
        jd.fit(TUNING.replace(scale="unit"), darker, init_from=start)
    examples = jd.Examples(np.zeros((24, 28, 28), np.uint8), np.arange(24, dtype=np.int32) % 2)
    other = jd.data.from_arrays("other", examples, examples, ("a", "b"))
    with pytest.raises(ConfigError, match=r"knows the classes 0, 1, .*; the data are of a, b"):
        jd.fit(TUNING, other, init_from=start)
    wide = jd.Examples(np.zeros((24, 28, 30), np.uint8), np.arange(24, dtype=np.int32) % 10)
    other = jd.data.from_arrays("wide", wide, wide, start.class_names)
    sentence = r"takes images of shape \[28, 28\], not \[28, 30\]"
    with pytest.raises(ConfigError, match=sentence):
        jd.fit(TUNING, other, init_from=start)


@pytest.mark.parametrize("where", ["nothing", "a folder", "memory", "own data"])
def test_how_to_resume(monkeypatch, start, where):
    """By a command, if all that it needs lies in folders; it names them from the root."""
    network = {"dataset": "digits", "model": "mlp", "hidden": (8,)}
    options: dict[str, Any] = {"manual_dir": "files"}
    if where == "a folder":
        options["init_from"] = start.save("start")
    if where == "memory":
        options["init_from"] = start
    splits = jd.data.load_splits("digits", ("train", "validation"))
    data = dict(zip(("train", "validation"), splits, strict=True)) if where == "own data" else None
    command = rf"jaxdigits train --resume {Path.cwd()}/run --manual-dir {Path.cwd()}/files"
    if where in ("memory", "own data"):
        command = rf"jaxdigits\.fit\(\.\.\., folder='{Path.cwd()}/run', resume=True\)"
    stop_after(monkeypatch, 1)
    with pytest.raises(StoppedError, match=f"epoch 1 of 2; resume with: {command}$"):
        jd.fit(TUNING.replace(**network), data, folder="run", **options)


def test_other_settings_are_refused(start):
    """Each of the config, since it is given whole; also another start than none."""
    for _ in jd.epochs(CONFIG, folder="run"):
        break
    sentence = rf"^the run in {Path.cwd()}/run\.unfinished was begun with epochs 3, not 4"
    with pytest.raises(ConfigError, match=sentence):
        jd.fit(CONFIG.replace(epochs=4), folder="run", resume=True)
    with pytest.raises(ConfigError, match=sentence):
        resume("run", expected=CONFIG.replace(epochs=4), given=["epochs"])
    tuned = CONFIG.replace(hidden=start.config.hidden)
    with pytest.raises(ConfigError, match="was begun from initial values, not from memory: omit"):
        jd.fit(tuned, folder="run", resume=True, init_from=start)


@pytest.mark.parametrize("words", ["RESOURCE_EXHAUSTED: 9 GB", "XLA: Out of memory", "no shape"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_does_not_fit_into_memory(words, stream):
    """Is said with what helps; any other error stays what it is."""

    def loss(logits, labels):
        raise ValueError(words)

    config = jd.TrainConfig(dataset="digits", model="linear", epochs=1)
    expected, sentence = ValueError, f"^{words}"
    if words != "no shape":
        more = "" if stream else ", or leave the images on the disk with --stream"
        expected = ConfigError
        sentence = f"^the run does not fit into memory; choose a smaller network or .*size{more}$"
    with pytest.raises(expected, match=sentence) as error:
        jd.fit(config, loss=loss, stream=stream)
    assert isinstance(error.value, ConfigError) == (expected is ConfigError)


@pytest.mark.parametrize("processes", [1, 2])
def test_several_processes_read_their_own_images(monkeypatch, processes):
    """But for the pixel baseline, which takes all of them at once."""
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    for model in ("linear", "pixel"):
        config = jd.TrainConfig(dataset="digits", model=model)
        session = Session(config, None, {})
        assert session._stream == (processes == 2 and model == "linear")


def test_a_dataset_that_is_chosen(monkeypatch):
    """By what is prepared in the folders that were given."""
    asked = []
    monkeypatch.setattr(jd.data, "choose_dataset", lambda *given: asked.append(given) or "digits")
    config = jd.TrainConfig(model="linear", epochs=0)
    assert config.dataset == "auto"
    run = jd.fit(config, data_dir="here", manual_dir="there")
    assert asked == [("auto", "here", "there")]
    assert run.config.dataset == "digits"


def test_data_without_a_test_split(alone):
    """What is not there is not measured, and nothing is drawn."""
    splits = jd.data.load_splits("digits", ("train", "validation"))
    run = jd.fit(CONFIG, dict(zip(("train", "validation"), splits, strict=True)), folder="run")
    assert list(run.results) == ["validation"]
    assert same_params(run, alone)


def test_an_older_run_without_a_name_is_replaced():
    """If that is asked for, no number is given."""
    config = CONFIG.replace(epochs=0)
    for _ in range(2):
        run = jd.fit(config, folder="auto", overwrite=True)
        assert run.folder == Path("runs/digits-mlp").absolute()
    assert [path.name for path in Path("runs").iterdir()] == ["digits-mlp"]


@pytest.mark.parametrize("kept", [False, True])
def test_a_start_is_asked_for_again(start, darker, kept):
    """Only where it lies in no folder; another one is refused."""
    run = jd.load(start.save("start")) if kept else start
    undisturbed = jd.fit(TUNING, darker, init_from=run)
    for _ in jd.epochs(TUNING, darker, folder="run", init_from=run):
        break
    again = {"folder": "run", "resume": True}
    if kept:
        with pytest.raises(ConfigError, match=r"was begun from /.*/start, not from memory"):
            jd.fit(TUNING, darker, init_from=start, **again)
        resumed = jd.fit(TUNING, darker, **again)
    else:
        with pytest.raises(ConfigError, match="from a run in memory: give init_from again"):
            jd.fit(TUNING, darker, **again)
        resumed = jd.fit(TUNING, darker, init_from=run, **again)
    assert same_params(resumed, undisturbed)
    assert (resumed.scaling, resumed.form) == (start.scaling, "emnist")


def test_a_start_of_one_s_own():
    """A network of one's own comes with the run."""
    model, config = network(), OWN.replace(epochs=0)
    run = jd.fit(config.replace(seed=1), folder="start", model=model)
    assert not same_params(jd.fit(config, model=model), run)
    for tuned in (
        jd.fit(config, init_from=run),
        jd.fit(config, init_from="start", model=model),
    ):
        assert tuned.own == ("model",)
        assert same_params(tuned, run)


def test_a_command_that_starts_from_a_run(cli, start):
    folder = start.save("start")
    settings = ("train", "--dataset", "digits", "--epochs", "0")
    code, _, err = cli(*settings, "--from", "start", "--out", "run")
    assert (code, notes(err)) == (0, "")
    run = jd.load("run")
    assert same_params(run, start)
    assert (run.form, run.scaling) == ("emnist", start.scaling)
    code, _, err = cli(*settings, "--from", folder, "--model", "linear")
    assert (code, err.count("\n")) == (2, 1)
    assert "the run to start from has model mlp, not linear: omit that setting" in err
    code, _, err = cli(*settings, "--from", "letters")
    assert code == 2
    assert "the run to start from knows the classes a, b, c" in err
    code, _, err = cli(*settings, "--from", "start", "--seeds", "2")
    assert code == 2
    assert "--dump-hlo are for one run, not --seeds" in err
