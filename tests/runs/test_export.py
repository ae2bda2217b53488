"""Networks in formats that need no library of ours."""

import dataclasses
import json
import logging
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import scipy.special
from flax import nnx
from helpers import drawn, resnet_variables

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.models import make_model
from jaxdigits.models.adapters import from_nnx
from jaxdigits.runs.export import FORMATS, to_onnx, to_stablehlo

ALONE = """
import sys
import numpy as np
from jax import export
_, folder, *names = sys.argv
images = np.load(f"{folder}/images.npy")
for name in names:
    program = export.deserialize(open(f"{folder}/{name}", "rb").read())
    assert not [name for name in sys.modules if name.startswith("jaxdigits")]
    for count in (1, 7):
        np.save(f"{folder}/{name}-{count}.npy", program.call(images[:count]))
"""


def test_stablehlo_is_run_without_the_library(cli, tmp_path, rng):
    """On every platform, and with any number of images."""
    images = rng.integers(0, 256, (7, 28, 28), np.uint8)
    np.save(tmp_path / "images.npy", images)
    for name in ("digits", "letters"):
        code, out, err = cli("export", name, "--format", "stablehlo", "--out", tmp_path / name)
        assert (code, err) == (0, "")
        assert "written to" in out
        program = jax.export.deserialize(bytearray((tmp_path / name).read_bytes()))
        assert program.platforms == ("cpu", "cuda", "tpu")
    subprocess.run([sys.executable, "-c", ALONE, str(tmp_path), "digits", "letters"], check=True)
    for name in ("digits", "letters"):
        expected = jd.load(name).predict_proba(images)
        for count in (1, 7):
            found = np.load(tmp_path / f"{name}-{count}.npy")
            np.testing.assert_allclose(found, expected[:count], atol=1e-5)


def test_a_program_for_other_machines_holds_no_method_of_this_one():
    program = jax.export.deserialize(bytearray(to_stablehlo(jd.load("digits"), ["cpu"])))
    assert program.mlir_module().count("stablehlo.convolution") == 3


@pytest.fixture(scope="module")
def networks() -> dict[str, jd.Run]:
    """What ONNX is to take: a network inside, one with channels, and one of your own."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(320, rngs=rngs)
            self.dense = nnx.Linear(320, 2, rngs=rngs)

        def __call__(self, images):
            return self.dense(self.norm(images.mean(axis=3).reshape(images.shape[0], -1)))

    rng, digits = np.random.default_rng(0), jd.load("digits")

    def with_colors(config, model, **more):
        params = drawn(jax.eval_shape(model.init, jax.random.key(0)), rng)
        shape, names = (16, 20, 3), ("odd", "even")
        return dataclasses.replace(
            digits, config=config, model=model, params=params, image_shape=shape,
            class_names=names, **more,
        )  # fmt: skip

    mlp = jd.TrainConfig(model="mlp", scale="image")
    resnet18 = jd.TrainConfig(model="resnet18")
    return {
        "letters": jd.load("letters"),
        "colors": with_colors(mlp, make_model(mlp, 2, (16, 20, 3))),
        "own": with_colors(mlp, from_nnx(Net), own=("model",)),
        "resnet18": dataclasses.replace(
            digits, config=resnet18, model=make_model(resnet18, 10),
            params=resnet_variables("7x7", rng),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["letters", "colors", "own", "resnet18"])
def test_onnx_computes_what_the_library_does(networks, tmp_path, rng, name):
    runtime = pytest.importorskip("onnxruntime")
    run = networks[name]
    path = run.export(tmp_path / "network.onnx")
    session = runtime.InferenceSession(path)
    images = rng.integers(0, 256, (7, *run.image_shape), np.uint8)
    expected = run.predict_proba(images)
    for count in (1, 7):
        (found,) = session.run(["probabilities"], {"images": images[:count]})
        np.testing.assert_allclose(found, expected[:count], atol=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == list(run.class_names)


def test_onnx_on_real_digits(mnist_dir):
    runtime = pytest.importorskip("onnxruntime")
    run = jd.load("digits")
    session = runtime.InferenceSession(to_onnx(run))
    images = jd.data.load("mnist", "test", data_dir=mnist_dir).images[:1000]
    (found,) = session.run(None, {"images": images})
    np.testing.assert_allclose(found, run.predict_proba(images), atol=1e-5)


def test_what_onnx_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ConfigError, match=r"pip install 'jaxdigits\[onnx\]'"):
        to_onnx(jd.load("digits"))


def test_safetensors_say_all_one_has_to_know(networks, tmp_path, rng):
    """An mlp computed by hand from what the file holds alone."""
    run = networks["colors"]
    path = run.export(tmp_path / "colors.safetensors")
    with safetensors.safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = {name: json.loads(value) for name, value in file.metadata().items()}
    assert about["class_names"] == ["odd", "even"]
    assert (about["image_shape"], about["scale"]) == ([16, 20, 3], "image")
    images = rng.integers(0, 256, (3, 16, 20, 3), np.uint8)
    flat = images.reshape(3, -1) / 255
    flat = flat - flat.mean(axis=1, keepdims=True)
    values = 0.172575 + 0.25 * flat / flat.std(axis=1, keepdims=True)
    for layer in range(len(arrays) // 2):
        values = np.maximum(values, 0) if layer else values
        values = values @ arrays[f"{layer}.weight"].T + arrays[f"{layer}.bias"]
    expected = scipy.special.softmax(values / about["temperature"], axis=1)
    np.testing.assert_allclose(run.predict_proba(images), expected, atol=1e-5)


def test_the_name_of_a_file_says_the_format(cli, tmp_path):
    for name in FORMATS:
        if name != "onnx":
            code, out, err = cli("export", "digits", "--out", tmp_path / f"new.{name}")
            assert (code, err) == (0, "")
            assert f"new.{name}" in out
    (tmp_path / "new.html").rename(tmp_path / "old.html")
    assert jd.load("digits").export(tmp_path / "page.txt", "html").name == "page.txt"
    assert (tmp_path / "page.txt").read_bytes() == (tmp_path / "old.html").read_bytes()
    code, out, err = cli("export", "digits", "--out", tmp_path / "new.pt")
    assert (code, out) == (2, "")
    assert "there is no format 'pt': name the file .html, .onnx, .safetensors, or .stablehlo" in err
    assert not (tmp_path / "new.pt").exists()


def test_an_ensemble(cli, monkeypatch, tmp_path):
    """It has several sets of parameters; as a program it is like any network."""
    digits = jd.load("digits")
    ensemble = jd.stack([digits, digits])
    with pytest.raises(ConfigError, match=r"export each of run.members"):
        ensemble.export(tmp_path / "two.safetensors")
    program = jax.export.deserialize(bytearray(to_stablehlo(ensemble, ["cpu"])))
    images = np.zeros((2, 28, 28), np.uint8)
    np.testing.assert_allclose(program.call(images), ensemble.predict_proba(images), atol=1e-6)


def test_a_file_in_the_users_home(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, err = cli("export", "digits", "--out", "~/digits.safetensors")
    assert (code, err) == (0, "")
    assert str(tmp_path / "digits.safetensors") in out


def own(apply) -> jd.Run:
    """A run of a network of your own, of no parameters."""
    model = jd.Model(lambda key: {}, apply)
    return dataclasses.replace(jd.load("digits"), model=model, params={}, own=("model",))


def other_type(params, images):
    """Pixels are wanted as another type."""
    raise TypeError("no such type")


def as_many(params, images):
    return jnp.zeros((len(images), 10))


def unknown(params, images):
    raise NotImplementedError("no such operation\nand much more")


def unsaid(params, images):
    raise NotImplementedError


def test_why_a_network_is_not_exported():
    """In a sentence, where it is known what to do; any other error stays what it is."""
    with pytest.raises(ConfigError, match="own network asks for the number of images as a plain"):
        to_stablehlo(own(as_many))
    with pytest.raises(TypeError, match="no such type"):
        to_stablehlo(own(other_type))


@pytest.mark.parametrize(
    ("apply", "sentence"),
    [
        (as_many, "own network asks for the number of images as a plain number: write"),
        (other_type, "jax2onnx cannot convert own network: no such type$"),
        (unknown, "jax2onnx cannot convert own network: no such operation$"),
        (unsaid, "jax2onnx cannot convert own network: NotImplementedError$"),
    ],
)
def test_what_onnx_cannot_take(apply, sentence):
    """Whatever went wrong is one sentence; the converter's own warnings are heard again."""
    pytest.importorskip("jax2onnx")
    before = logging.getLogger("onnx_ir").level
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        to_onnx(own(apply))
    assert logging.getLogger("onnx_ir").level == before


def test_what_stablehlo_needs(monkeypatch):
    exported = jax.export.Exported

    def serialize(self):
        raise ImportError("no module named flatbuffers")

    monkeypatch.setattr(exported, "serialize", serialize)
    sentence = r"StableHLO needs flatbuffers: pip install 'jaxdigits\[export\]'"
    with pytest.raises(ConfigError, match=sentence):
        to_stablehlo(own(lambda params, images: images[:, 0, :10]), ["cpu"])


def test_onnx_is_for_runtimes_since_1_18():
    """Of May 2024: they read version 21 of its operations."""
    pytest.importorskip("jax2onnx")
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(to_onnx(own(lambda params, images: images[:, 0, :10])))
    assert {one.domain: one.version for one in model.opset_import}[""] == 21
    assert model.graph.name == "jaxdigits"
    assert [one.name for one in model.graph.input] == ["images"]
    assert [one.name for one in model.graph.output] == ["probabilities"]
