"""Programs for devices that are not here."""

import importlib.util
import json

import pytest

from jaxdigits import TrainConfig
from jaxdigits.bench import report
from jaxdigits.bench.ahead import Ahead, _instructions, compile_for
from jaxdigits.bench.chips import find_target
from jaxdigits.errors import ConfigError

PROGRAM = """
HloModule jit_step

%fused (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %twice = f32[4]{0} add(%p, %p)
}

%body.1 (arg: (s32[], f32[4])) -> (s32[], f32[4]) {
  %arg = (s32[], f32[4]{0}) parameter(0)
  %at = s32[] get-tuple-element(%arg), index=0
  %next = s32[] add(%at, %at)
  %moved = f32[4]{0} fusion(%at), kind=kLoop, calls=%fused, backend_config={"estimated_cycles":"10"}
  ROOT %out = (s32[], f32[4]{0}) tuple(%next, %moved)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %sum = f32[] reduce(%x), dimensions={0}, to_apply=%fused
  %key = u32[1]{0} xor(%sum, %sum)
  %start = (f32[4]{0}, f32[4]{0}) all-reduce-start(%x), to_apply=%fused
  %done = f32[4]{0} all-reduce-done(%start)
  %near = (f32[4]{0:S(1)}, f32[4]{0}, u32[]{:S(2)}) copy-start(%x)
  %loop = (s32[], f32[4]{0}) while(%t), condition=%c, body=%body.1, backend_config={"known_trip_count":{"n":"7"}}
  %both = (f32[4]{0}, /*index=1*/f32[4]{0}) fusion(%done), calls=%fused, backend_config={"estimated_cycles":"5"}
  ROOT %end = f32[4]{0} copy(%done)
}
"""  # noqa: E501


def test_kernels_of_a_program():
    """A sum, an exchange, the loop's kernel seven times, a fusion of two results, and a copy."""
    found = list(_instructions(PROGRAM))
    assert sum(it.times for it in found if it.is_kernel) == 1 + 1 + 7 + 1 + 1
    assert sum(it.times for it in found if it.is_kernel and it.looped) == 7
    assert [it.collective for it in found if it.collective] == ["all-reduce"]
    assert sum(it.times * (it.cycles or 0) for it in found) == 75


def test_bytes_in_memory():
    """Of 16 bytes each: what is read and written, but not what is copied to the chip."""
    moved = [it.bytes for it in _instructions(PROGRAM) if it.is_kernel or it.is_copy]
    #         sum     exchange  near  loop    both    end
    assert moved == [16 + 4, 32, 16, 4 + 16, 48, 32]


def made(**changes):
    values = {
        "target": "tpu:v5e:2x2", "device": "TPU v5 lite", "devices": 4, "mode": "train",
        "model": "mlp", "batch_size": 64, "seeds": 1, "compile_seconds": 2.0,
        "program_bytes": 10**6, "kernels": 30, "collectives": {"all-reduce": 1},
        "flops": 4 * 197_000_000, "bytes": 819_000, "cycles": 5000,
        "product_seconds": 1e-6, "memory_seconds": 4e-6,
    }  # fmt: skip
    return Ahead(**{**values, **changes})


def test_a_bound():
    assert made().bound == pytest.approx(64 / 4e-6)
    assert made(seeds=8).bound == pytest.approx(8 * 64 / 4e-6)
    assert made(product_seconds=8e-6).bound == pytest.approx(64 / 8e-6)
    assert made(memory_seconds=None).bound is None
    assert "bound by memory: at most 16,000,000 images/s" in report.ahead(made())
    assert "bound by products" in report.ahead(made(product_seconds=8e-6))
    assert "no bound" in report.ahead(made(product_seconds=None))


@pytest.mark.parametrize("name", ["", "cpu", "gpu:a1", "gpu:h100:0", "gpu:h100:two", "h100"])
def test_no_such_device(name, cli):
    with pytest.raises(ConfigError, match="cannot compile for"):
        find_target(name)
    code, _, error = cli("compile", "--for", name)
    assert code == 2
    assert "cannot compile for" in error


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({"dataset": "cats"}, {}, "not for 'cats'"),
        ({}, {"seeds": 2, "mode": "inference"}, "several seeds are for training"),
    ],
)
def test_settings_that_do_not_go_together(config, options, message):
    with pytest.raises(ConfigError, match=message):
        compile_for("tpu:v5e:2x2", TrainConfig(**config), **options)


def test_a_list_of_values(cli):
    code, _, error = cli("compile", "--batch-size", "32,64")
    assert code == 2
    assert "one value of batch_size" in error


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("tpu:v5e:2x2", "libtpu", "compile-tpu"), ("gpu:h100", "jax_cuda12_plugin", "compile-gpu")],
)
def test_without_what_compiles(name, package, extra):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ConfigError, match=f"jaxdigits.{extra}"):
        find_target(name)


TPU = pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu compiles for TPUs")
GPU = pytest.mark.skipif(
    not importlib.util.find_spec("jax_cuda12_plugin"), reason="jax_cuda12_plugin compiles for GPUs"
)


def compiled(python, *arguments):
    done = python("-m", "jaxdigits", "compile", "--json", *map(str, arguments), timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


MODELS = ["linear", "mlp", "convnet", "resnet18"]


@TPU
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("devices", [1, 4])
def test_training_on_a_tpu(model, devices, python):
    """One sum over the chips a step, and no loop over images; the batches are the guide's."""
    found = compiled(python, "--model", model, "--devices", devices, "--batch-size", 256)
    assert found["devices"] == devices
    assert list(found["collectives"]) == ([] if devices == 1 else ["all-reduce"])
    # Batch normalization needs its sums at once: 20 layers, there and back.
    most = 40 if model == "resnet18" else 1
    assert found["collectives"].get("all-reduce", 0) <= most
    assert found["kernels"] < (800 if model == "resnet18" else 150)
    assert found["bound_images_per_second"] > 1e5


@TPU
@pytest.mark.parametrize("model", MODELS)
def test_a_sweep_and_labels_on_a_tpu(model, python):
    sweep = compiled(python, "--model", model, "--seeds", "8")
    assert sweep["seeds"] == 8
    assert not sweep["collectives"]
    labels = compiled(python, "--model", model, "--mode", "inference", "--devices", "1")
    assert labels["devices"] == 1
    assert labels["kernels"] < sweep["kernels"]


@TPU
def test_a_topology_that_is_none(python):
    done = python("-m", "jaxdigits", "compile", "--for", "tpu:v5e:3x1")
    assert done.returncode == 2
    assert "cannot compile for 'tpu:v5e:3x1'" in done.stderr
    assert "Traceback" not in done.stderr


@GPU
@pytest.mark.parametrize("model", MODELS)
def test_a_gpu(model, python):
    found = compiled(python, "--model", model, "--for", "gpu:h100")
    assert found["device"].startswith("NVIDIA H100")
    assert found["kernels"] < (600 if model == "resnet18" else 150)
    assert found["cycles"] is None
    sweep = compiled(python, "--model", model, "--for", "gpu:h100", "--seeds", "4")
    assert sweep["kernels"] < 2 * found["kernels"]
    labels = compiled(python, "--model", model, "--for", "gpu:h100", "--mode", "inference")
    assert labels["kernels"] < found["kernels"]
