"""The public library as its users meet it."""

import ast
import inspect
import runpy
from pathlib import Path

import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.errors import ConfigError, DataError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", jd.__all__)
def test_every_public_name_is_there_and_explained(name):
    thing = getattr(jd, name)
    assert inspect.getdoc(thing), f"{name} has no docstring"
    assert name in dir(jd)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        jd.laod  # pyright: ignore  # noqa: B018


def test_the_plain_loop(capsys):
    """Forty lines of jax, optax, and pure functions train the same network."""
    accuracy = runpy.run_path(str(ROOT / "examples" / "plain_loop.py"))["main"]()
    assert accuracy > 0.9
    assert capsys.readouterr().out.startswith("epoch 1: loss ")


def colors(count: int, rng: np.random.Generator, size: int = 32) -> jd.Examples:
    """Images of noise, brighter in the channel of their class."""
    labels = np.arange(count, dtype=np.int32) % 3
    images = rng.integers(0, 120, (count, size, size, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 100
    return jd.Examples(images, labels)


@pytest.mark.parametrize("model", ["linear", "mlp", "convnet", "pixel"])
def test_a_dataset_of_32x32_rgb(model, rng, tmp_path):
    """Trained, drawn, saved, loaded; the convnet is augmented as for digits."""
    data = jd.data.from_arrays("colors", colors(90, rng), colors(30, rng), ["red", "green", "blue"])
    run = jd.fit(jd.TrainConfig(model=model, epochs=2), data, folder=tmp_path / "run")
    loaded = jd.load(tmp_path / "run")
    assert (loaded.image_shape, loaded.config.dataset) == ((32, 32, 3), "colors")
    assert loaded.evaluate(data["test"]).as_dict() == run.results["test"]
    assert run.results["test"]["accuracy"] > 0.9
    assert (tmp_path / "run" / "predictions.png").is_file()
    with pytest.raises(DataError, match=r"takes images of shape \[32, 32, 3\]"):
        loaded.predict(np.zeros((1, 28, 28), np.uint8))


def test_floats_are_pixels_of_0_to_1(rng):
    """As many gray levels, the same network but for rounding."""
    images = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    labels = np.arange(60, dtype=np.int32) % 2
    found = []
    for pixels in (images, (images / 255).astype(np.float32)):
        part = jd.Examples(pixels, labels)
        data = jd.data.from_arrays("noise", part, part, ["a", "b"])
        found.append(jd.fit(jd.TrainConfig(model="linear", epochs=2), data))
    for line, other in zip(found[0].history, found[1].history, strict=True):
        assert line["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-3)


def test_images_too_small_for_a_network(rng):
    data = jd.data.from_arrays("tiny", colors(30, rng, 8), colors(9, rng, 8), ["a", "b", "c"])
    with pytest.raises(ConfigError, match="15x15 pixels or more, not 8x8"):
        jd.fit(jd.TrainConfig(epochs=1), data)


RUNS_CODE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
"""Modules whose files can run code when they are read."""


def code_that_reads_code(path):
    """The lines of a file by which what it reads could run."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                dangerous = bool(RUNS_CODE & {name.name.partition(".")[0] for name in names})
            case ast.ImportFrom(module=str(module)):
                dangerous = module.partition(".")[0] in RUNS_CODE
            case ast.Call(func=ast.Name(id=name)):
                dangerous = name in ("eval", "exec", "__import__")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="load")):
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                dangerous = words.get("allow_pickle") != "False"
            case _:
                dangerous = False
        if dangerous:
            yield f"{path}: {ast.unparse(node)}"


def test_no_file_can_run_code_when_it_is_read(tmp_path):
    """Nothing is unpickled, and no text is taken for a program."""
    found = [
        line for path in (ROOT / "jaxdigits").rglob("*.py") for line in code_that_reads_code(path)
    ]
    assert found == []
    wrong = [
        "import pickle",
        "from joblib import load",
        "np.load(x)",
        "np.load(x, allow_pickle=True)",
    ]
    (tmp_path / "wrong.py").write_text("\n".join([*wrong, "eval(x)"]))
    assert len(list(code_that_reads_code(tmp_path / "wrong.py"))) == 5
