"""Images that stream from the disk train the same network as images in memory."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import finish, start_two, stop_after
from jaxtyping import TypeCheckError

import jaxdigits as jd
from jaxdigits import data
from jaxdigits.config import CheckpointConfig
from jaxdigits.errors import ConfigError, StoppedError
from jaxdigits.runs import inputs as feeds
from jaxdigits.runs.fit import train
from jaxdigits.training.trainer import TrainState, default_mesh
from jaxdigits.transforms.scaling import pixel_statistics

CONFIG = jd.TrainConfig(
    dataset="digits", model="mlp", hidden=(16,), batch_size=33, dropout=0.2, average=0.9,
    augment=("shift",), epochs=3,
)  # fmt: skip
PARTS = 14
"""Parts of 3 batches, of 40 in an epoch: the last part is a short one, as is the last batch."""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(feeds, "PART_IMAGES", 100)
    monkeypatch.setattr("jaxdigits.runs.fit._draw", lambda *_: None)


def losses(feed: feeds.Feed, key: jax.Array) -> tuple[list[float], TrainState]:
    start = feed.start(key)
    feed.compile(start)
    *_, (last, _) = parts = list(feed.train(start, 0, feed.epochs * feed.parts))
    found = [float(value) for _, metrics in parts if metrics is not None for value in metrics]
    return found, feed.state(last)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, reduction="sum", scale="unit", optimizer="sgd", schedule="constant"),
        replace(CONFIG, batch_size=10_000, dropout=0.0, augment=()),
    ],
    ids=["mean", "sum", "one batch"],
)
@pytest.mark.parametrize("devices", [1, 2])
def test_the_same_network(digits, config, devices):
    mesh = default_mesh(config, devices)
    trainer = jd.make_trainer(config, 10, mesh=mesh)
    streamed = feeds.Streamed(trainer, data.open_split("digits"), config)
    assert streamed.parts == (PARTS if config.batch_size == 33 else 1)
    memory = feeds.InMemory(trainer, trainer.put(digits))
    assert streamed.epochs == memory.epochs == 3
    key = trainer.put(jax.random.key(config.seed))
    found, state = losses(streamed, key)
    expected, other = losses(memory, key)
    assert len(found) == 6
    assert found == pytest.approx(expected, rel=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), state.params,
        other.params,
    )  # fmt: skip
    assert state.epoch == other.epoch == 3


def test_every_example_once_an_epoch_in_another_order():
    source = data.open_split("digits")
    feed = feeds.Streamed(jd.make_trainer(CONFIG, 10), source, CONFIG)
    orders = []
    for epoch in range(2):
        parts = [feed._read(epoch * PARTS + part) for part in range(PARTS)]
        assert {part.images.shape for part in parts} == {(3, 33, 28, 28)}
        assert sum(int(part.steps) for part in parts) == 40
        seen = [part.images[part.weights > 0] for part in parts]
        orders.append(np.concatenate(seen).reshape(len(source), -1))
    assert not np.array_equal(*orders)
    whole = data.load("digits").images.reshape(len(source), -1)
    for order in orders:
        assert sorted(map(bytes, order)) == sorted(map(bytes, whole))


def test_a_device_has_its_columns(digits):
    """Of 33 columns 17 and 16, and an image of weight 0."""
    trainer = jd.make_trainer(CONFIG, 10, mesh=default_mesh(CONFIG, 2))
    feed = feeds.Streamed(trainer, data.open_split("digits"), CONFIG)
    part = feed._put(feed._read(0))
    assert [shard.data.shape for shard in part.images.addressable_shards] == [(3, 17, 28, 28)] * 2
    assert not np.asarray(part.weights)[:, 33].any()


@pytest.mark.parametrize("devices", [1, 2])
def test_it_goes_on_in_the_middle_of_an_epoch(monkeypatch, cli, devices):
    """To the bit. Its metrics are those of the whole epoch."""
    train(CONFIG, out=Path("alone"), devices=devices, stream=True)
    with monkeypatch.context() as patched:
        stop_after(patched, PARTS + 5)
        saving = CheckpointConfig(checkpoint_epochs=1)
        with pytest.raises(StoppedError, match=r"interrupted after epoch 1\.36 of 3"):
            train(CONFIG, out=Path("run"), devices=devices, stream=True, saving=saving)
    code, _, err = cli("train", "--resume", "run")
    assert (code, err) == (0, "going on after epoch 1.36 of 3\n")
    first, second = (Path(name) / "params.safetensors" for name in ("alone", "run"))
    assert first.read_bytes() == second.read_bytes()
    first, second = (
        [json.loads(line) for line in (Path(name) / "metrics.jsonl").read_text().splitlines()]
        for name in ("alone", "run")
    )
    for one, other in zip(first, second, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_it_goes_on_as_it_was_begun(cli, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(StoppedError):
            train(CONFIG, out=Path("run"))
    code, out, err = cli("train", "--resume", "run", "--stream")
    assert (code, out) == (2, "")
    assert "was begun without --stream, and can only go on so" in err


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
    assert "are for one training, not --seeds" in err


def test_the_pixel_baseline_does_not_stream():
    config = replace(CONFIG, model="pixel")
    with pytest.raises(ConfigError, match="takes all images at once: they cannot stream"):
        feeds.Streamed(jd.make_trainer(config, 10), data.open_split("digits"), config)


def test_the_mean_of_images_on_the_disk(digits):
    expected = pixel_statistics(jnp.asarray(digits.train.images))
    assert feeds._stored_statistics(data.open_split("digits")) == pytest.approx(
        [float(value) for value in expected], rel=1e-6
    )
    grey = replace(
        data.open_split("digits"),
        part=jd.Examples(np.full((9, 28, 28), 7, np.uint8), np.zeros(9, np.int32)),
        rows=np.arange(9),
    )
    assert feeds._stored_statistics(grey) == (pytest.approx(7 / 255), 1.0)


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


def test_a_process_reads_its_own_share(python):
    """Two processes: each has half of the columns of every batch."""
    code = (
        "import sys, jax, jaxdigits as jd, numpy as np\n"
        "from jaxdigits import data\n"
        "from jaxdigits.runs import inputs, multihost\n"
        "from jaxdigits.training.trainer import default_mesh\n"
        "_, where, _, processes, _, number = sys.argv[1:]\n"
        "multihost.connect(where, int(processes), int(number))\n"
        "config = jd.TrainConfig(model='mlp', batch_size=33)\n"
        "trainer = jd.make_trainer(config, 10, mesh=default_mesh(config))\n"
        "feed = inputs.Streamed(trainer, data.open_split('digits'), config)\n"
        "part = feed._read(0)\n"
        "print(part.images.shape, (part.weights > 0).sum())\n"
    )
    first, second = finish(start_two("-c", code))
    assert first[:2] == (0, "(40, 17, 28, 28) 680\n"), first[2]
    assert second[:2] == (0, "(40, 17, 28, 28) 637\n"), second[2]
