"""Images that stream from the disk train the same network as images in memory."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import stop_after
from jaxtyping import TypeCheckError

import jaxdigits as jd
from jaxdigits import data
from jaxdigits.config import CheckpointConfig
from jaxdigits.errors import ConfigError, StoppedError
from jaxdigits.runs import inputs as pipelines
from jaxdigits.runs.fit import resume
from jaxdigits.training.sharding import default_mesh
from jaxdigits.training.state import TrainState
from jaxdigits.training.trainer import Trainer, make_trainer
from jaxdigits.transforms.scaling import pixel_statistics

CONFIG = jd.TrainConfig(
    dataset="digits", model="mlp", hidden=(16,), batch_size=33, dropout=0.2, ema_decay=0.9,
    augment=("shift",), epochs=3,
)  # fmt: skip
CHUNKS = 14
"""Chunks of 3 batches, of 40 in an epoch: the last chunk is a short one, as is the last batch."""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(pipelines, "CHUNK_IMAGES", 100)
    monkeypatch.setattr("jaxdigits.runs.session.draw", lambda *_: None)


def streamed(trainer: Trainer, digits: jd.TrainingData) -> pipelines.Streamed:
    key = jax.random.key(trainer.parts.config.seed)
    return pipelines.Streamed(trainer, data.open_split("digits"), digits.validation, key)


def losses(inputs: pipelines.InputPipeline) -> tuple[list[float], TrainState]:
    start = inputs.start()
    inputs.compile(start)
    *_, (last, _) = chunks = list(inputs.train(start, 0))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(start))  # its memory is used again
    found = [float(value) for _, metrics in chunks if metrics is not None for value in metrics]
    return found, inputs.state(last)


LINEAR = replace(CONFIG, model="linear", hidden=(128,), dropout=0.0, augment=(), ema_decay=0.0)


@pytest.mark.parametrize(
    ("config", "devices"),
    [
        (CONFIG, 1),
        (CONFIG, 2),
        (replace(LINEAR, reduction="sum", scale="unit", optimizer="sgd", schedule="constant"), 2),
        (replace(LINEAR, batch_size=10_000), 1),
        (replace(LINEAR, batch_size=10_000), 2),
    ],
    ids=["mean-1", "mean-2", "sum-2", "one batch-1", "one batch-2"],
)
def test_the_same_network(digits, config, devices):
    trainer = make_trainer(config, digits, mesh=default_mesh(jd.Hints(), 33, devices))
    disk = streamed(trainer, digits)
    assert disk.chunks_per_epoch == (CHUNKS if config.batch_size == 33 else 1)
    memory = pipelines.InMemory(trainer, digits, jax.random.key(config.seed))
    assert disk.num_epochs == memory.num_epochs == 3
    found, state = losses(disk)
    expected, other = losses(memory)
    assert len(found) == 6
    assert found == pytest.approx(expected, rel=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), state.params,
        other.params,
    )  # fmt: skip
    assert state.step == other.step == 3 * (40 if config.batch_size == 33 else 1)


def test_every_example_once_an_epoch_in_another_order(digits):
    inputs = streamed(make_trainer(CONFIG, digits), digits)
    count = len(digits.train.labels)
    orders = []
    for epoch in range(2):
        chunks = [inputs._read(epoch * CHUNKS + chunk) for chunk in range(CHUNKS)]
        assert {batches.images.shape for batches, _ in chunks} == {(3, 33, 28, 28)}
        assert sum(int(steps) for _, steps in chunks) == 40
        seen = [batches.images[batches.weights > 0] for batches, _ in chunks]
        orders.append(np.concatenate(seen).reshape(count, -1))
    assert not np.array_equal(*orders)
    whole = digits.train.images.reshape(count, -1)
    for order in orders:
        assert sorted(map(bytes, order)) == sorted(map(bytes, whole))


def test_a_device_has_its_columns(digits):
    """Of 33 columns 17 and 16, and an image of weight 0."""
    trainer = make_trainer(CONFIG, digits, mesh=default_mesh(jd.Hints(), 33, 2))
    inputs = streamed(trainer, digits)
    batches, _ = inputs._put(inputs._read(0))
    shards = [shard.data.shape for shard in batches.images.addressable_shards]
    assert shards == [(3, 17, 28, 28)] * 2
    assert not np.asarray(batches.weights)[:, 33].any()


@pytest.mark.parametrize("devices", [1, 2])
def test_it_resumes_in_the_middle_of_an_epoch(monkeypatch, notes, devices):
    """To the bit. Its metrics are those of the whole epoch."""
    jd.fit(CONFIG, folder="alone", devices=devices, stream=True)
    with monkeypatch.context() as patched:
        stop_after(patched, CHUNKS + 5)
        saving = CheckpointConfig(checkpoint_epochs=1)
        with pytest.raises(StoppedError, match=r"interrupted after epoch 1\.36 of 3"):
            jd.fit(CONFIG, folder="run", devices=devices, stream=True, saving=saving)
    resume("run")
    assert notes == ["resuming after epoch 1.36 of 3"]
    first, second = (Path(name) / "params.safetensors" for name in ("alone", "run"))
    assert first.read_bytes() == second.read_bytes()
    first, second = (
        [json.loads(line) for line in (Path(name) / "metrics.jsonl").read_text().splitlines()]
        for name in ("alone", "run")
    )
    for one, other in zip(first, second, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize("stream", [False, True])
def test_it_resumes_as_it_was_begun(monkeypatch, stream):
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(StoppedError):
            jd.fit(CONFIG, folder="run", stream=stream)
    word = "with" if stream else "without"
    with pytest.raises(ConfigError, match=f"was begun {word} --stream, and can only be resumed so"):
        jd.fit(CONFIG, folder="run", resume=True, stream=not stream)


def test_the_loop_s_body_sees_a_streamed_run(notes):
    """Its state and its run; left after the last epoch, it is complete when it is resumed."""
    config = replace(CONFIG, epochs=1, batch_size=700, augment=())
    epoch = None
    for epoch in jd.epochs(config, folder="run", stream=True):
        assert int(epoch.state.step) == 2
        assert epoch.run().stream
        break
    assert epoch is not None
    assert list(jd.epochs(config, folder="run", stream=True, resume=True)) == []
    run = jd.load("run")
    assert run.history[1]["validation_loss"] == epoch.validation.loss
    assert notes == ["resuming after epoch 1 of 1"]


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"),
    [(1000, 100, 10), (1000, 101, 10), (1001, 100, 11), (1000, 50, 10), (1000, 34, 15),
     (1000, 33, 11), (1000, 400, 3), (70, 100, 1), (1000, 1000, 1)],
)  # fmt: skip
def test_how_many_chunks_an_epoch_has(count, batch_size, expected):
    """Of 100 images at most, but of one batch at least."""
    assert pipelines.chunks_per_epoch(count, batch_size) == expected


def test_a_command_that_streams(cli):
    settings = ["--dataset", "digits", "--model", "linear", "--epochs", "1", "--seed", "3"]
    found = {}
    for name, flags in (("memory", []), ("disk", ["--stream"])):
        code, _, err = cli("train", *settings, *flags, "--out", name)
        assert code == 0, err
        found[name] = json.loads((Path(name) / "run.json").read_text())["results"]["test"]["loss"]
    assert found["disk"] == pytest.approx(found["memory"], rel=1e-5)
    code, out, err = cli("train", *settings, "--stream", "--seeds", "2")
    assert (code, out) == (2, "")
    assert "are for one run, not --seeds" in err


def test_data_in_memory_do_not_stream():
    images, labels = np.zeros((24, 28, 28), np.uint8), np.arange(24, dtype=np.int32) % 2
    examples = jd.Examples(images, labels)
    splits = data.from_arrays("shapes", examples, examples, ("a", "b"))
    with pytest.raises(ConfigError, match="data in memory is not streamed"):
        jd.fit(CONFIG, splits, stream=True)


def test_the_pixel_baseline_does_not_stream(digits):
    trainer = make_trainer(jd.TrainConfig(model="pixel"), digits)
    with pytest.raises(ConfigError, match="takes all images at once: they cannot be streamed"):
        streamed(trainer, digits)


def test_the_mean_of_images_on_the_disk(digits):
    expected = pixel_statistics(jnp.asarray(digits.train.images))
    assert pipelines.stored_statistics(data.open_split("digits")) == pytest.approx(
        [float(value) for value in expected], rel=1e-6
    )
    grey = replace(
        data.open_split("digits"),
        part=jd.Examples(np.full((9, 28, 28), 7, np.uint8), np.zeros(9, np.int32)),
        rows=np.arange(9),
    )
    assert pipelines.stored_statistics(grey) == (pytest.approx(7 / 255), 1.0)


@pytest.mark.parametrize("split", ["train", "validation", "test", "train+validation"])
def test_a_split_on_the_disk_is_that_in_memory(emnist_files, split):
    folders = {"data_dir": emnist_files / "prepared", "manual_dir": emnist_files}
    stored = data.open_split("emnist/letters", split, **folders)
    loaded = data.load("emnist/letters", split, **folders)
    assert isinstance(stored.part.images, np.memmap)
    images, labels = stored.read(np.arange(len(stored)))
    np.testing.assert_array_equal(images, loaded.images)
    np.testing.assert_array_equal(labels, loaded.labels)
    assert (stored.split, stored.class_names) == (split, loaded.class_names)
    assert stored.fingerprint == loaded.fingerprint
    assert stored.read(np.array([[0, 1]])).images.shape == (1, 2, 28, 28)


def test_an_unknown_split():
    with pytest.raises((jd.errors.DataError, TypeCheckError)):
        data.open_split("digits", "rest")  # pyright: ignore[reportArgumentType]
