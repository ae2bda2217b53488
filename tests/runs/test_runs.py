import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jaxdigits as jd
from jaxdigits import data
from jaxdigits.errors import ConfigError, DataError, OutputError, RunError
from jaxdigits.runs.folder import FORMAT, RUN_FILES, WEIGHTS, load_params, save_params
from jaxdigits.transforms.scaling import scale_pixels


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[jd.Run, Path]:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    config = jd.TrainConfig(dataset="digits", model="mlp", epochs=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("JAXDIGITS_PICTURES")
        return jd.fit(config, folder=folder), folder


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(trained[1], tmp_path / "run"))


def test_a_run_folder_holds_what_it_should(trained):
    run, folder = trained
    assert sorted(path.name for path in folder.iterdir()) == sorted(RUN_FILES)
    document = json.loads((folder / "run.json").read_text())
    assert document["config"] == json.loads(json.dumps(run.config.as_dict()))
    assert document["data"] == jd.data.load("digits", "test").fingerprint.as_dict()
    assert {"python", "jax", "jaxlib", "numpy", "optax", "jaxdigits"} == set(document["versions"])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert lines[-1]["train_loss"] < lines[1]["train_loss"]
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_loaded_run_is_the_run(trained):
    run, folder = trained
    loaded = jd.load(folder)
    assert loaded.config == run.config
    for name in (
        *("scaling", "class_names", "fingerprint", "environment", "calibration", "own"),
        *("image_shape", "form", "light_ground", "history", "devices", "folder"),
        *("extent", "light_files", "seconds", "results", "init_from", "stream", "loss"),
    ):
        assert getattr(loaded, name) == getattr(run, name), name
    for mine, theirs in zip(
        jax.tree.leaves(loaded.params), jax.tree.leaves(run.params), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    test = jd.data.load("digits", "test")
    evaluation = loaded.evaluate(test)
    assert evaluation.as_dict() == run.results["test"] == loaded.results["test"]
    assert evaluation.accuracy == (loaded.predict(test.images) == test.labels).mean()
    assert evaluation.low < evaluation.accuracy < evaluation.high


def test_predictions(trained):
    run, _ = trained
    images = jd.data.load("digits", "test").images[:7]
    labels, probabilities = run.predict(images), run.predict_proba(images)
    assert (labels.shape, labels.dtype) == ((7,), np.int32)
    assert (probabilities.shape, probabilities.dtype) == ((7, 10), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), labels)


def test_probabilities_are_calibrated(trained):
    run, _ = trained
    images = jd.data.load("digits", "test").images[:7]
    logits = np.asarray(run.predict_logits(images), np.float64)
    for temperature, found in (
        (1.0, run.predict_uncalibrated_proba(images)),
        (run.calibration.temperature, run.predict_proba(images)),
    ):
        powers = np.exp(logits / temperature)
        expected = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert run.calibration.temperature != 1.0


def test_loading_again_gives_the_same_network(trained):
    """So nothing is compiled again: see `test_programs`."""
    _, folder = trained
    assert jd.load(folder).model == jd.load(folder).model


def test_a_run_is_shown_in_a_line(trained):
    run, _ = trained
    assert "\n" not in repr(run)
    assert f"{run.results['test']['accuracy']:.2%}" in repr(run)


@pytest.mark.parametrize("images", [None, [[0.0]], "photo.png"])
def test_what_is_no_array(images):
    with pytest.raises(DataError, match="must be an array"):
        data.check_images(images)


def test_class_names():
    images, labels = np.zeros((4, 28, 28), np.uint8), np.arange(4) % 2
    part = data.Examples(images, labels)
    assert data.from_arrays("shapes", part, part, ["a", "b"])["test"].class_names == ("a", "b")
    with pytest.raises(DataError, match="'a' appears twice"):
        data.from_arrays("shapes", part, part, ["a", "a"])


def test_any_number_of_images(trained, rng):
    run, _ = trained
    images = rng.integers(0, 256, (2500, 28, 28), dtype=np.uint8)
    compute = jax.jit(lambda images: run.model.apply(run.params, scale_pixels(images, run.scaling)))
    expected = compute(images)
    for count in (1, 3, 999, 1000, 1001, 2500):
        found = run.predict_logits(images[:count])
        np.testing.assert_allclose(found, np.asarray(expected)[:count], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", ["linear", "pixel", "mlp"])
def test_every_model_is_kept(model, tmp_path):
    config = jd.TrainConfig(dataset="digits", model=model, epochs=0)
    if model == "mlp":
        config = config.replace(hidden=(8, 8))
    run = jd.fit(config, folder=tmp_path / "run")
    images = jd.data.load("digits", "test").images
    np.testing.assert_array_equal(
        jd.load(tmp_path / "run").predict_logits(images), run.predict_logits(images)
    )


def test_images_that_are_none_are_refused(python, trained):
    code = (
        "import sys, numpy as np, jaxdigits as jd; run = jd.load(sys.argv[1])\n"
        "whole, byte = np.zeros((2, 28, 28), int), np.zeros((30, 30), np.uint8)\n"
        "for bad in (whole, byte, byte[None], np.full((1, 28, 28), 255.0)):\n"
        "    try: run.predict(bad)\n"
        "    except jd.errors.DataError as error: print(error)"
    )
    lines = python("-c", code, str(trained[1])).stdout.splitlines()
    wanted = (
        "images must be of shape [n, height, width] or [n, height, width, channels], uint8 "
        "(pixels 0..255) or floats (0..1); these are "
    )
    assert lines == [
        f"{wanted}int64 of shape [2, 28, 28]",
        f"{wanted}uint8 of shape [30, 30]",
        "the network takes images of shape [28, 28]; these have shape [30, 30]",
        "floats must be 0..1; these are 255 to 255: divide them by their range",
    ]
    with pytest.raises(DataError, match="there is no image"):
        trained[0].predict(np.zeros((0, 28, 28), np.uint8))


def test_folders_without_a_run(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "nothing", tmp_path, tmp_path / "file"):
        with pytest.raises(RunError, match=r"there is no run in .*; `jaxdigits train` makes one$"):
            jd.load(folder)
    (tmp_path / "begun.unfinished").mkdir()
    sentence = rf"; `jaxdigits train --resume {tmp_path}/begun` resumes an unfinished one$"
    with pytest.raises(RunError, match=sentence):
        jd.load(tmp_path / "begun")
    with pytest.raises(RunError, match="File name too long"):
        jd.load(tmp_path / ("x" * 300))


def test_other_classes_are_refused(trained):
    letters = data.Examples(np.zeros((30, 28, 28), np.uint8), np.arange(30) % 2)
    splits = data.from_arrays("other", letters, letters, ("a", "b"))
    with pytest.raises(DataError, match=r"the network knows the classes 0, 1, .* are of a, b"):
        trained[0].evaluate(splits["test"])


def edit(folder: Path, **changes) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_damaged_run_files(copied):
    path = copied / "run.json"
    whole = path.read_text()
    for content, message in (
        (whole[:100], "run.json is damaged"),
        ("[]", "run.json is damaged"),
        ('{"format": 1}', "run.json is damaged: Object missing required field `config`; train"),
    ):
        path.write_text(content)
        with pytest.raises(RunError, match=message):
            jd.load(copied)
    path.write_text(whole)
    edit(copied, format=FORMAT + 1)
    with pytest.raises(RunError, match="written by a newer jaxdigits"):
        jd.load(copied)
    path.write_text(whole)
    edit(copied, config={**json.loads(whole)["config"], "epochs": -1})
    with pytest.raises(RunError, match="impossible setting: epochs must be 0 to"):
        jd.load(copied)


def test_damaged_parameters(copied):
    path = copied / "params.safetensors"
    arrays = safetensors.numpy.load_file(path)
    assert sorted(arrays) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"params\.safetensors cannot be read"):
        jd.load(copied)
    safetensors.numpy.save_file({**arrays, "0.bias": arrays["0.bias"][:5]}, path)
    with pytest.raises(RunError, match=r"expected float32 \[128\] for 0\.bias, found .* \[5\]"):
        jd.load(copied)
    safetensors.numpy.save_file({**arrays, "2.bias": arrays["0.bias"]}, path)
    with pytest.raises(RunError, match=r"it also holds 2\.bias"):
        jd.load(copied)
    safetensors.numpy.save_file({**arrays, "0.bias": arrays["0.bias"] + 1e-3}, path)
    with pytest.raises(RunError, match=r"is damaged, or of another run: its SHA-256 is not"):
        jd.load(copied)
    edit(copied, params_sha256=None)
    assert jd.load(copied).params is not None  # as an older version wrote it
    path.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        jd.load(copied)


def test_a_class_without_images_is_no_number(trained):
    run, _ = trained
    test = jd.data.load("digits", "test")
    only = test.labels != 3
    fewer = dataclasses.replace(test, images=test.images[only], labels=test.labels[only])
    result = run.evaluate(fewer).as_dict()
    assert result["per_class_accuracy"]["3"] is None
    json.dumps(result, allow_nan=False)


OLDER = {
    "dataset": "digits", "model": "mlp", "hidden": [128], "activation": "relu",
    "initializer": "uniform", "distance": "squared", "scale": "standardized",
    "loss": "cross_entropy", "reduction": "mean", "gradients": "auto", "optimizer": "momentum",
    "learning_rate": 0.005, "schedule": "one_cycle", "momentum": 0.9, "weight_decay": 0.1,
    "batch_size": 64, "epochs": 3, "seed": 0,
}  # fmt: skip
"""Settings as format 1 has them."""

MORE = {
    "pool_activation": "none", "stem": "7x7", "dropout": 0.0, "augment": ["auto"],
    "label_smoothing": 0.0, "average": 0.999,
}  # fmt: skip
"""What format 2 has in addition."""


@pytest.mark.parametrize(("number", "config"), [(1, OLDER), (2, {**OLDER, **MORE})])
def test_a_run_of_an_older_version(trained, copied, number, config):
    """Its settings in the words of this version; it predicts what it did."""
    document = json.loads((copied / "run.json").read_text())
    names = ("data", "class_names", "scaling", "results", "seconds", "versions", "device")
    older = {"format": number, "config": config, **{name: document[name] for name in names}}
    older["data"] |= {"name": "emnist/letters"} if number == 2 else {}
    (copied / "run.json").write_text(json.dumps(older))
    run = jd.load(copied)
    assert (run.config.optimizer, run.config.momentum) == ("sgd", 0.9)
    assert run.config.ema_decay == (0.999 if number == 2 else 0)
    assert run.config.pool_activation == "gelu"  # of no use to an mlp
    assert (run.form, run.image_shape) == ("emnist" if number == 2 else "mnist", (28, 28))
    assert (run.own, run.devices, run.light_ground) == ((), 1, False)
    assert (run.extent, run.light_files, run.stream, run.init_from) == (1.0, False, False, None)
    images = jd.data.load("digits", "test").images[:20]
    np.testing.assert_array_equal(run.predict_logits(images), trained[0].predict_logits(images))


def test_a_run_is_saved_anywhere(trained, tmp_path):
    """All but the pictures; and again, only where it may replace what is there."""
    run, _ = trained
    folder = run.save(tmp_path / "deep" / "copy")
    assert folder == tmp_path / "deep" / "copy"
    names = sorted(name for name in RUN_FILES if not name.endswith(".png"))
    assert sorted(path.name for path in folder.iterdir()) == names
    loaded = jd.load(folder)
    assert (loaded.config, loaded.results, loaded.history) == (
        run.config, run.results, run.history
    )  # fmt: skip
    images = jd.data.load("digits", "test").images[:20]
    np.testing.assert_array_equal(loaded.predict_logits(images), run.predict_logits(images))
    with pytest.raises(OutputError, match="is taken"):
        run.save(folder)
    assert run.save(folder, overwrite=True) == folder
    (folder / "thesis.txt").touch()
    with pytest.raises(OutputError, match="holds other files, such as thesis"):
        run.save(folder, overwrite=True)


def test_an_ensemble_of_runs(trained, tmp_path):
    """The mean of the members' probabilities, whatever their seeds."""
    run, _ = trained
    turned = jax.tree.map(lambda leaf: np.asarray(leaf)[::-1].copy(), run.params)
    other = dataclasses.replace(run, config=run.config.replace(seed=1), params=turned)
    ensemble = jd.stack([run, other])
    images = jd.data.load("digits", "test").images[:50]
    members = [member.predict_uncalibrated_proba(images) for member in (run, other)]
    np.testing.assert_allclose(
        ensemble.predict_uncalibrated_proba(images), np.mean(members, axis=0), rtol=1e-4, atol=1e-7
    )
    logarithms = ensemble.predict_logits(images)
    np.testing.assert_allclose(np.exp(logarithms).sum(axis=1), 1, rtol=1e-5)
    # What was measured of the first member is not true of all together.
    assert run.calibration is not None
    assert (ensemble.calibration, ensemble.results, ensemble.history) == (None, {}, ())
    assert repr(ensemble) == "<Run: ensemble of 2 x mlp on digits>"
    with pytest.raises(OutputError, match="is saved as its members"):
        ensemble.save(tmp_path / "ensemble")
    assert not (tmp_path / "ensemble").exists()
    with pytest.raises(ConfigError, match="at least one run"):
        jd.stack([])
    others = {
        "params": jax.tree.map(lambda leaf: np.asarray(leaf)[:9], run.params),
        "class_names": tuple("abcdefghij"), "light_ground": True, "form": "emnist",
        "image_shape": (28, 29), "scaling": run.scaling._replace(mean=run.scaling.mean + 1),
        "config": run.config.replace(activation="gelu"),
    }  # fmt: skip
    changed = [dataclasses.replace(run, **{name: value}) for name, value in others.items()]
    assert ensemble.folder is None
    assert ensemble.members == (run, other)
    for stranger in changed:
        with pytest.raises(ConfigError, match="must have one network and the same classes"):
            jd.stack([run, stranger])
    with pytest.raises(ConfigError, match="cannot be trained further: start from one of its memb"):
        jd.fit(run.config, init_from=ensemble)


def test_parameters_of_twice_the_bits(tmp_path):
    """They are not cut down in silence."""
    safetensors.numpy.save_file({"bias": np.zeros(3)}, tmp_path / "params")
    with pytest.raises(RunError, match=r"expected float32 \[3\] for bias, found float64 \[3\]"):
        load_params(tmp_path / "params", lambda key: {"bias": jnp.zeros(3)})


def test_parameters_as_whole_numbers(tmp_path, rng):
    """Each within half a step of its column's 127 steps; vectors and counts as they are."""
    kernel = (rng.normal(size=(3, 4, 5)) * [1e-6, 1, 1e6, 0, 10]).astype(np.float32)
    params = {
        "kernel": kernel,
        "bias": rng.normal(size=7).astype(np.float32),
        "count": np.arange(3, dtype=np.int32),
        "flat": rng.normal(size=(4, 2)).astype(np.float32),
    }
    save_params(params, tmp_path / "params", np.int8)
    written = safetensors.numpy.load_file(tmp_path / "params")
    for name, columns in (("kernel", 5), ("flat", 2)):
        assert written[name].dtype == np.int8
        scale = written[f"{name}.scale"]
        assert (scale.shape, scale.dtype) == ((columns,), np.float32)
    assert len(written) == 6
    found = load_params(tmp_path / "params", lambda key: jax.tree.map(jnp.asarray, params))
    np.testing.assert_array_equal(found["bias"], params["bias"])
    np.testing.assert_array_equal(found["count"], params["count"])
    steps = np.abs(kernel).max(axis=(0, 1)) / 127
    assert (np.abs(found["kernel"] - kernel) <= 0.501 * steps).all()
    assert (np.asarray(found["kernel"]) != kernel).any()
    assert found["kernel"].dtype == jnp.float32


def test_parameters_in_half_the_bytes(tmp_path):
    """Rounded to float16, and read as float32; what is no float stays."""
    params = {"a": np.array([1 / 3, 2], np.float32), "b": np.array([70_000], np.int32)}
    save_params(params, tmp_path / "params", np.float16)
    found = load_params(tmp_path / "params", lambda key: jax.tree.map(jnp.asarray, params))
    assert found["a"].dtype == jnp.float32
    np.testing.assert_array_equal(found["a"], params["a"].astype(np.float16))
    np.testing.assert_array_equal(found["b"], params["b"])


def test_metrics_that_cannot_be_read(copied):
    """Without any there is no history."""
    path = copied / "metrics.jsonl"
    for content, message in (
        (b"\xff\n", "cannot be read: .*; delete it, or train it again$"),
        (b'{"epoch": 0}\n{"epoch"', "is damaged: .*; delete it, or train it again$"),
        (b'{"epoch": "0"}\n', "is damaged: Expected `float | null`, got `str`"),
    ):
        path.write_bytes(content)
        with pytest.raises(RunError, match=rf"metrics\.jsonl {message}"):
            jd.load(copied)
    path.unlink()
    assert jd.load(copied).history == ()
    path.mkdir()
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be read: "):
        jd.load(copied)


def test_a_network_that_diverged_is_told(trained, notes, tmp_path):
    """When it is loaded, with a folder that has another place from there on."""
    run, folder = trained
    jd.load(folder)
    assert notes == []
    params = jax.tree.map(np.asarray, run.params)
    params[1]["bias"] = np.full_like(params[1]["bias"], np.inf)
    dataclasses.replace(run, params=params).save("broken")
    assert jd.load("broken").folder == tmp_path / "broken"
    assert notes == ["the training of broken diverged: its parameters are not finite"]


def test_a_run_made_by_hand(trained, tmp_path):
    """Of what it needs at least, for pictures of the usual kind."""
    known, _ = trained
    names = ("config", "model", "params", "scaling", "class_names", "fingerprint", "environment")
    run = jd.Run(results={}, **{name: getattr(known, name) for name in names})
    assert repr(run) == "<Run: mlp on digits>"
    test = jd.data.load("digits", "test")
    np.testing.assert_array_equal(run.predict(test.images[:9]), known.predict(test.images[:9]))
    np.testing.assert_array_equal(
        run.predict_proba(test.images[:9]), run.predict_uncalibrated_proba(test.images[:9])
    )
    assert run.evaluate(test).as_dict() == known.results["test"]
    few = dataclasses.replace(test, images=test.images[:9], labels=test.labels[:9])
    assert run.accuracies_jittered(few) == run.accuracies_jittered(few, 10)
    run.save(tmp_path / "run")
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (document["image_shape"], document["form"], document["extent"]) == ([28, 28], "plain", 1)
    assert not any(document[name] for name in ("light_ground", "light_files", "stream"))
    assert (document["devices"], document["seconds"], document["init_from"]) == (1, {}, None)
    assert "calibration" not in document


@pytest.mark.parametrize("form", ["plain", "mnist"])
@pytest.mark.parametrize("floats", [False, True])
def test_what_a_run_keeps_of_its_images(form, floats):
    """Their form and ground; of plain ones what a character fills, 14 of 28 pixels here."""
    images = np.full((20, 28, 28), 255, np.uint8)
    images[:, 7:21, 10:18] = 0
    labels = np.arange(20, dtype=np.int32) % 2
    part = data.Examples(images, labels)
    splits = data.from_arrays("boxes", part, part, ("a", "b"), form=form, light_ground=True)
    splits = dict(splits)
    kept: dict[str, Any] = {"light_files": True}
    if floats:
        kept["images"] = splits["validation"].images.astype(np.float32) / 255
    splits["validation"] = dataclasses.replace(splits["validation"], **kept)
    run = jd.fit(jd.TrainConfig(model="linear", epochs=0), splits)
    assert (run.form, run.light_ground, run.light_files) == (form, True, True)
    assert run.extent == (0.5 if form == "plain" else 1.0)


def test_what_is_shipped_is_small():
    """All networks together, as they lie in the wheel."""
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*.safetensors")) < 2_000_000
