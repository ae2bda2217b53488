"""Starting values for weights and biases, by name.

Each is `f(key, shape, fan_in) -> float32 array`; `fan_in` is the number of inputs of the layer.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Initializer = Callable[[Key[Array, ""], tuple[int, ...], int], Float[Array, "..."]]


def normal(key: Key[Array, ""], shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """The standard normal distribution, whatever the fan-in: post A row A4, post B rows B3 to B6.

    Example:
        >>> import jax
        >>> bool(abs(normal(jax.random.key(0), (1000,), fan_in=784).std() - 1) < 0.1)
        True
    """
    del fan_in
    return jax.random.normal(key, shape)


def uniform(key: Key[Array, ""], shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Uniform in ±1/sqrt(fan_in): what `torch.nn.Linear` does, post A rows A6 to A9.

    Example:
        >>> import jax
        >>> bool(abs(uniform(jax.random.key(0), (1000,), fan_in=100)).max() <= 0.1)
        True
    """
    bound = 1 / jnp.sqrt(jnp.float32(fan_in))
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType({"normal": normal, "uniform": uniform})
