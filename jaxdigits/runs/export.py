"""A trained network as a program that needs neither this library nor its parameters."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxdigits.errors import ConfigError
from jaxdigits.evaluation.calibration import Calibration
from jaxdigits.runs.run import Run, logits_of

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(run: Run, platforms: Sequence[str] = PLATFORMS) -> bytearray:
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
        >>> jax.export.deserialize(program).call(jnp.zeros((5, 28, 28), jnp.uint8)).shape
        (5, 10)
    """
    from jax import export

    temperature = (run.calibration or Calibration()).temperature

    def probabilities(images: UInt8[Array, "n ..."]) -> Float[Array, "n classes"]:
        return jax.nn.softmax(logits_of(run, images) / temperature, axis=-1)

    count = export.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((*count, *run.image_shape), jnp.uint8)
    try:
        program = export.export(jax.jit(probabilities), platforms=platforms)(images)
        return program.serialize()
    except ImportError:
        raise ConfigError("StableHLO needs flatbuffers: pip install 'jaxdigits[export]'") from None
    except TypeError as error:
        if "DimExpr" not in str(error):
            raise
        raise ConfigError(
            f"{run.network_name} asks for the number of images as a plain number: write "
            "images.shape[0], not len(images)"
        ) from None
