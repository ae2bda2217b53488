"""Starting values for weights and biases, by name.

Each is `f(key, shape, fan_in) -> float32 array`; `fan_in` is the number of inputs of the layer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

FanIn = int | Int[Array, ""]

Initializer = Callable[[Key[Array, ""], tuple[int, ...], FanIn], Float[Array, "..."]]


def normal(key: Key[Array, ""], shape: tuple[int, ...], fan_in: FanIn) -> Float[Array, "..."]:
    """The standard normal distribution, whatever the fan-in: post A row A4, post B rows B3 to B6.

    Example:
        >>> import jax
        >>> bool(abs(normal(jax.random.key(0), (1000,), fan_in=784).std() - 1) < 0.1)
        True
    """
    del fan_in
    return jax.random.normal(key, shape, jnp.float32)


def uniform(key: Key[Array, ""], shape: tuple[int, ...], fan_in: FanIn) -> Float[Array, "..."]:
    """Uniform in ±1/sqrt(fan_in): what `torch.nn.Linear` does, post A rows A6 to A9.

    Example:
        >>> import jax
        >>> bool(abs(uniform(jax.random.key(0), (1000,), fan_in=100)).max() <= 0.1)
        True
    """
    bound = 1 / jnp.sqrt(jnp.float32(fan_in))
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType({"normal": normal, "uniform": uniform})


def draw_layers(
    initializer: str,
    keys: Key[Array, " layers"],
    shapes: Sequence[tuple[int, ...]],
    fans_in: Sequence[int],
) -> list[Float[Array, "..."]]:
    """Starting values of several layers: those that each would draw alone, compiled as one draw.

    In jax's usual generator (`jax_threefry_partitionable`) a value depends on its key and place
    alone. So each layer may draw as many as the largest, and drop what it does not need.

    Args:
        initializer: its name.
        keys: of each layer.
        shapes: of each layer.
        fans_in: inputs of each layer.

    Example:
        >>> import jax
        >>> keys = jax.random.split(jax.random.key(0))
        >>> [x.shape for x in draw_layers("uniform", keys, [(5, 3), (2, 6)], [3, 6])]
        [(5, 3), (2, 6)]
    """
    sizes = [math.prod(shape) for shape in shapes]
    draw = INITIALIZERS[initializer]
    drawn = jax.vmap(lambda key, fan_in: draw(key, (max(sizes),), fan_in))(keys, jnp.array(fans_in))
    return [
        layer[:size].reshape(shape) for layer, size, shape in zip(drawn, sizes, shapes, strict=True)
    ]
