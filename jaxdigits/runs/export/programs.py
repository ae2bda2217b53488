"""A trained network as a program, from pixels to probabilities, or as its parameters alone."""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import Array, Float, UInt8

from jaxdigits.environment import tracing_for
from jaxdigits.errors import ConfigError
from jaxdigits.evaluation.calibration import Calibration
from jaxdigits.runs.checkpoints import named_leaves
from jaxdigits.runs.run import Run, logits_of

PLATFORMS = ("cpu", "cuda", "tpu")

OPSET = 21
"""Of ONNX: read by ONNX Runtime 1.18 and newer, of 2024."""


def to_stablehlo(run: Run, platforms: Sequence[str] = PLATFORMS) -> bytes:
    """Compile a network to a portable program: `jax.export.deserialize(...).call(images)` runs it.

    The program takes uint8 [n, *image_shape], pixels 0..255, for any n, and returns the calibrated
    probabilities, float32 [n, classes]. Its parameters are inside.

    Args:
        run: the network.
        platforms: to compile for.

    Raises:
        ConfigError: the package flatbuffers is missing, or the network cannot take any n.

    Example:
        >>> import jax, jaxdigits as jd
        >>> program = to_stablehlo(jd.load("digits"))
        >>> jax.export.deserialize(bytearray(program)).call(jnp.zeros((5, 28, 28), jnp.uint8)).shape
        (5, 10)
    """
    from jax import export

    images = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), *run.image_shape), jnp.uint8)
    with _any_number(run), tracing_for("any"):
        program = export.export(jax.jit(_program(run)), platforms=platforms)(images)
        try:
            return bytes(program.serialize())
        except ImportError:
            raise ConfigError(
                "StableHLO needs flatbuffers: pip install 'jaxdigits[export]'"
            ) from None


def to_onnx(run: Run) -> bytes:
    """Convert a network to ONNX: `onnxruntime.InferenceSession(...).run(None, {"images": images})`.

    The program takes `images`, uint8 [n, *image_shape], pixels 0..255, for any n, and returns
    `probabilities`, the calibrated ones, float32 [n, classes]. The metadata hold `class_names`, a
    list in JSON.

    Args:
        run: the network.

    Raises:
        ConfigError: the package jax2onnx is missing, or it cannot convert the network.

    Example:
        >>> import jaxdigits as jd
        >>> model = to_onnx(jd.load("digits"))                           # doctest: +SKIP
    """
    try:
        from jax2onnx import to_onnx as convert
    except ImportError:
        raise ConfigError("ONNX needs jax2onnx: pip install 'jaxdigits[onnx]'") from None
    images = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("n"), *run.image_shape), jnp.uint8)
    level = logging.getLogger("onnx_ir").level
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of each shape
    try:
        with (
            _any_number(run),
            tracing_for("any"),
            _mended_converter(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of old interfaces and dtypes inside jax2onnx
            model: Any = convert(
                _program(run),
                [images],
                model_name="jaxdigits",
                opset=OPSET,
                input_names=["images"],
                output_names=["probabilities"],
            )
    except ConfigError:
        raise
    except Exception as error:  # it raises all kinds of them for what it does not know
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"jax2onnx cannot convert {run.network_name}: {reason}") from None
    finally:
        logging.getLogger("onnx_ir").setLevel(level)
    names = model.metadata_props.add()
    names.key, names.value = "class_names", json.dumps(run.class_names)
    return model.SerializeToString()


def to_safetensors(run: Run) -> bytes:
    """Write the parameters as plain arrays, named by their place, such as `conv.0.kernel`.

    The metadata are strings in JSON: the `class_names`; the `image_shape`, `form`, and
    `light_ground` of its images; the `config`; and how pixels become inputs: divided by 255, then
    by the `scale` (`unit`: as they are; `standardized`: less `scaling.mean`, divided by
    `scaling.std`; `image`: see `jaxdigits.transforms.scaling`). The softmax of the logits divided
    by the `temperature` gives the calibrated probabilities.

    Args:
        run: the network.

    Raises:
        ConfigError: it is an ensemble.

    Example:
        >>> import jaxdigits as jd, safetensors.numpy
        >>> arrays = safetensors.numpy.load(to_safetensors(jd.load("digits")))
        >>> arrays["conv.0.kernel"].shape
        (3, 3, 1, 32)
    """
    if run.members:
        raise ConfigError("an ensemble has several sets of parameters: export each of run.members")
    about = {
        "class_names": run.class_names,
        "image_shape": run.image_shape,
        "form": run.form,
        "light_ground": run.light_ground,
        "model": run.network_name,
        "config": run.config.as_dict(),
        "scale": run.config.scale,
        "scaling": {"mean": float(run.scaling.mean), "std": float(run.scaling.std)},
        "temperature": _temperature(run),
    }
    return safetensors.numpy.save(
        {name: np.array(leaf, order="C") for name, leaf in named_leaves(run.params)},
        {name: json.dumps(value) for name, value in about.items()},
    )


def _temperature(run: Run) -> float:
    return (run.calibration or Calibration()).temperature


def _program(run: Run) -> Any:
    """Pixels to probabilities, as a new function: it is traced where it is exported."""
    temperature = _temperature(run)

    def probabilities(images: UInt8[Array, "n ..."]) -> Float[Array, "n classes"]:
        return jax.nn.softmax(logits_of(run, images) / temperature, axis=-1)

    return probabilities


@contextmanager
def _mended_converter() -> Iterator[None]:
    """Mend two faults of jax2onnx, seen in 0.13 to 0.17, as long as it runs.

    One of its passes mixes up the axes of ResNet's sums: it removes pairs of transpositions, as
    ONNX Runtime does anyway. And it looks for a class that jax 0.12 has elsewhere.
    """
    from jax._src import core
    from jax.extend.core import ClosedJaxpr
    from jax2onnx.converter import ir_optimizations as optimizations

    passes = getattr(optimizations, "_OPTIMIZER_PASSES", ())
    sound = tuple(it for it in passes if it.name != "remove_redundant_transpose_pairs")
    with (
        mock.patch.object(optimizations, "_OPTIMIZER_PASSES", sound, create=True),
        mock.patch.object(core, "ClosedJaxpr", ClosedJaxpr, create=True),
    ):
        yield


@contextmanager
def _any_number(run: Run) -> Iterator[None]:
    """Explain why a network cannot take any number of images."""
    try:
        yield
    except TypeError as error:
        if "DimExpr" not in str(error):
            raise
        raise ConfigError(
            f"{run.network_name} asks for the number of images as a plain number: write "
            "images.shape[0], not len(images)"
        ) from None
