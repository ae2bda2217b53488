"""Activations, by name."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def gelu(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """The exact GELU, x times the normal distribution function of x. Post C, "GELU".

    Hendrycks and Gimpel, arXiv 1606.08415. `jax.nn.gelu(x, approximate=False)` writes it with
    `erfc`, which keeps more digits far below 0, where the result is nearly 0 anyway, and takes 2.3
    times as long on a CPU; the forward rate of the letters network is 1.4 times that with `erfc`.

    Example:
        >>> import jax.numpy as jnp
        >>> f"{float(gelu(jnp.float32(1.0))):.4f}"
        '0.8413'
    """
    return 0.5 * values * (1 + lax.erf(values * math.sqrt(0.5)))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "gelu": gelu}
)
