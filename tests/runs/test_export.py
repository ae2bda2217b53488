"""Networks as programs of their own."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.models.adapters import from_nnx
from jaxdigits.runs.export import to_stablehlo

ALONE = """
import sys
import numpy as np
from jax import export
program = export.deserialize(open(sys.argv[1], "rb").read())
assert not [name for name in sys.modules if name.startswith("jaxdigits")]
np.save(sys.argv[3], program.call(np.load(sys.argv[2])))
"""


@pytest.mark.parametrize("name", ["digits", "letters"])
def test_stablehlo_is_run_without_the_library(cli, tmp_path, rng, name):
    run, images = jd.load(name), rng.integers(0, 256, (7, 28, 28), np.uint8)
    np.save(tmp_path / "images.npy", images)
    code, out, err = cli("export", name, "--format", "stablehlo", "--out", tmp_path / "program")
    assert (code, err) == (0, "")
    assert "written to" in out
    files = [str(tmp_path / file) for file in ("program", "images.npy", "found.npy")]
    subprocess.run([sys.executable, "-c", ALONE, *files], check=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, run.predict_proba(images), atol=1e-5)


def test_stablehlo_is_for_every_platform_and_any_number_of_images():
    program = jax.export.deserialize(to_stablehlo(jd.load("digits")))
    assert program.platforms == ("cpu", "cuda", "tpu")
    for count in (1, 3):
        assert program.call(np.zeros((count, 28, 28), np.uint8)).shape == (count, 10)


def test_a_network_that_asks_for_a_plain_number():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(784, 10, rngs=rngs)

        def __call__(self, images):
            return self.dense(images.reshape(len(images), -1))

    model = from_nnx(Net)
    run = jd.fit(jd.TrainConfig(dataset="digits", epochs=1), model=model)
    with pytest.raises(ConfigError, match="own network asks for the number of images"):
        to_stablehlo(run)
