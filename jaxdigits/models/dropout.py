"""Dropout, for the models that are plain functions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def drop(
    key: Key[Array, ""], values: Float[Array, "*shape"], share: float
) -> Float[Array, "*shape"]:
    """Dropout: a share of the values becomes 0, the others grow by 1 / (1 - share).

    Srivastava et al., JMLR 15 (2014).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> sorted(set(drop(jax.random.key(0), jnp.ones(100), 0.5).tolist()))
        [0.0, 2.0]
    """
    keep = jax.random.bernoulli(key, jnp.float32(1 - share), values.shape)
    return jnp.where(keep, values / (1 - share), 0)
