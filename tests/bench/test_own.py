"""Measuring functions of one's own."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits.bench import report
from jaxdigits.errors import ConfigError

FILE = """
import jax.numpy as jnp

def product():
    return (lambda x: x @ x), jnp.ones((32, 32))

def three():
    return 3
"""


def test_a_train_step_may_donate_its_state() -> None:
    """What is given stays readable; each call gets the state of the one before it."""
    seen = []

    def note(step: np.ndarray) -> None:
        seen.append(int(step))

    def train(state: dict, batch: jax.Array) -> tuple[dict, jax.Array]:
        jax.debug.callback(note, state["step"])
        return {"step": state["step"] + 1, "w": state["w"] * batch.mean()}, state["w"].sum()

    state = {"step": jnp.zeros((), jnp.int32), "w": jnp.ones(5)}
    found = jd.bench.measure(jax.jit(train, donate_argnums=0), state, jnp.ones((2, 5)), rounds=2)
    jax.effects_barrier()
    assert sorted(seen) == list(range(len(seen)))
    assert len(seen) >= 5
    np.testing.assert_array_equal(state["w"], np.ones(5))
    assert found.seconds.low <= found.seconds.value <= found.seconds.high
    assert min(found.compile_seconds, found.trace_seconds, found.first_seconds) > 0


def test_the_operations_of_a_product() -> None:
    """Two for each multiplication with its addition, as XLA counts."""
    found = jd.bench.measure(jnp.matmul, jnp.ones((64, 32)), jnp.ones((32, 16)), rounds=2)
    assert found.flops == pytest.approx(2 * 64 * 32 * 16, rel=0.05)
    assert found.flops_per_second == pytest.approx(found.flops / found.seconds.value)
    assert 0 < found.share_of_product < 1


def test_functions_without_arrays() -> None:
    """A function may take nothing, and return something else than it takes."""
    assert jd.bench.measure(lambda: jnp.arange(3), rounds=2).seconds.value > 0
    assert jd.bench.measure(lambda x: (x.sum(), x), jnp.ones(3), rounds=2).seconds.value > 0
    with pytest.raises(ConfigError, match="rounds must be 2 to 10000, not 1"):
        jd.bench.measure(jnp.sum, jnp.ones(3), rounds=1)


def test_by_the_command_line(cli, tmp_path: Path) -> None:
    """Each function in turn; a document with all."""
    (tmp_path / "mine.py").write_text(FILE)
    target = f"{tmp_path}/mine.py:product"
    words = ["bench", "run", target, "--rounds", "2", "--json", tmp_path / "found.json"]
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    assert out.startswith(f"{target}: ")
    assert "of the matrix product's" in out
    found = json.loads((tmp_path / "found.json").read_text())["functions"][target]
    assert found["flops"] == pytest.approx(2 * 32**3, rel=0.05)
    for other, message in (
        ("nowhere.py:product", "there is no file nowhere.py: name a FILE.py:FUNCTION"),
        ("product", "there is no file product: name a FILE.py:FUNCTION"),
        (f"{tmp_path}/mine.py:four", "there is no function four in"),
        (f"{tmp_path}/mine.py:three", "must return (function, *arguments), not int"),
    ):
        code, out, err = cli("bench", "run", other)
        assert (code, out) == (2, "")
        assert message in err


@pytest.mark.parametrize("given", [("--precision", "bfloat16"), ("--batch-sizes", 32)])
def test_settings_of_networks_are_not_for_functions(given, tmp_path: Path, cli):
    code, out, err = cli("bench", "run", f"{tmp_path}/mine.py:one", *given)
    assert (code, out) == (2, "")
    assert err == f"jaxdigits: {given[0]} is not for functions of your own; omit it\n"


def test_operations_that_nobody_counts() -> None:
    """Are left out of the report."""
    found = jd.bench.measure(jnp.sum, jnp.ones(3), rounds=2)._replace(flops=0)
    assert "GFLOP" not in report.function("sum", found)
