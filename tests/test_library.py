"""The public library as its users meet it."""

import ast
import inspect
import pickle
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn import photo
from PIL import Image

import jaxdigits as jd
from jaxdigits.errors import ConfigError, DataError
from jaxdigits.runs.folder import RUN_FILE

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "experiments" / "samples" / "note.jpg"


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


@pytest.mark.usefixtures("pictures")
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
NUMPYS = ("np", "numpy", "jnp")


def code_that_reads_code(path):
    """The lines of a file by which what it reads could run."""
    for node in ast.walk(ast.parse(path.read_text())):
        words = {}
        if isinstance(node, ast.Call):
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        match node:
            case ast.Import(names=names):
                dangerous = bool(RUNS_CODE & {name.name.partition(".")[0] for name in names})
            case ast.ImportFrom(module="numpy" | "jax.numpy" | "torch", names=names):
                dangerous = "load" in {name.name for name in names}
            case ast.ImportFrom(module=str(module)):
                dangerous = module.partition(".")[0] in RUNS_CODE
            case ast.Call(func=ast.Name(id="eval" | "exec" | "__import__")):
                dangerous = True
            case ast.Call(func=ast.Attribute(attr="read_pickle" | "unsafe_load")):
                dangerous = True
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
                dangerous = words.get("weights_only") != "True"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="load")):
                dangerous = name in NUMPYS and "allow_pickle" not in words
            case _:
                dangerous = False
        if dangerous or words.get("allow_pickle", "False") != "False":
            yield f"{path}: {ast.unparse(node)}"


def test_no_file_can_run_code_when_it_is_read(tmp_path):
    """Nothing is unpickled, and no text is taken for a program."""
    rooms = ("jaxdigits", "experiments", "examples", "docs")
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    assert [line for path in paths for line in code_that_reads_code(path)] == []
    wrong = [
        "import pickle",
        "from joblib import load",
        "from numpy import load",
        "np.load(x)",
        "np.load(x, allow_pickle=True)",
        "np.lib.format.read_array(x, allow_pickle=True)",
        "torch.load(x)",
        "eval(x)",
    ]
    for line in wrong:
        (tmp_path / "wrong.py").write_text(line)
        assert len(list(code_that_reads_code(tmp_path / "wrong.py"))) == 1, line


@pytest.fixture
def unpickled():
    """What any library looks up to unpickle it, as Python itself reports."""
    found: list[str] | None = []

    def note(event, arguments):
        if event == "pickle.find_class" and found is not None:
            found.append(".".join(arguments))

    sys.addaudithook(note)  # it cannot be taken away
    yield found
    found = None


def test_no_library_unpickles_what_is_read(unpickled, emnist_files, tmp_path):
    """A dataset, a checkpoint, and a run."""
    folders = {"data_dir": tmp_path / "data", "manual_dir": emnist_files}
    jd.data.prepare("emnist/letters", **folders)
    letters = jd.data.load("emnist/letters", "test", **folders)
    config = jd.TrainConfig(model="linear", epochs=3, dataset="digits")
    for resume in (False, True):
        epoch = next(iter(jd.epochs(config, folder=tmp_path / "run", resume=resume)))
    assert epoch.number == 2
    jd.load("letters").predict(letters.images)
    assert unpickled == []
    pickle.loads(pickle.dumps(jd.TrainConfig))
    assert unpickled == ["jaxdigits.config.TrainConfig"]


def test_every_file_of_data_has_a_license():
    """A page beside it names the file, and the license."""
    package = ROOT / "jaxdigits"
    code = {".py", ".pyc", ".js", ".html", ".css", ".md", ".typed"}
    data = [path for path in package.rglob("*") if path.is_file() and path.suffix not in code]
    assert {path.suffix for path in data} == {".npz", ".safetensors", ".txt", ".json"}
    for path in [*data, SAMPLE]:
        pages = [page.read_text() for page in path.parent.glob("*.md")]
        assert [page for page in pages if path.name == RUN_FILE or path.name in page], path
        license_line = r"^\| license \| MIT, |^CC BY 4\.0 |License: MIT, "
        assert all(re.search(license_line, page, re.MULTILINE) for page in pages), path
    for card in package.glob("weights/*/CARD.md"):
        assert "(../DATA.md)" in card.read_text()


def test_the_sample_is_drawn():
    """As the page beside it says; JPEG takes the noise from it."""
    drawn = photo(["314 159", "2653 8"], 1, ruled=True)
    sample = np.asarray(Image.open(SAMPLE))
    assert np.abs(drawn.astype(int) - sample).mean() < 3


def test_licenses_that_are_not_permissive_are_found(capsys):
    """In whichever field the metadata name them."""
    main = runpy.run_path(str(ROOT / "experiments" / "licenses.py"))["main"]
    fields = [
        {"license_expression": "MIT AND Apache-2.0"},
        {"license": "BSD 3-Clause\n\nCopyright"},
        {"classifier": ["License :: OSI Approved :: MIT License", "Typing :: Typed"]},
        {"license_expression": "MIT AND LGPL-3.0-only"},
        {"classifier": ["License :: OSI Approved"]},
        {},
    ]
    named = [{"name": f"p{number}", "version": "1", **each} for number, each in enumerate(fields)]
    main(named[:3])
    assert "p1 1: BSD 3-Clause\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^not permissive: p3, p4, p5$"):
        main(named)
