"""In which precision a network is trained: float32, TensorFloat-32, or bfloat16."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxdigits.environment import target_platform
from jaxdigits.errors import ConfigError
from jaxdigits.models import Model, Params


def in_precision(model: Model, precision: str) -> Model:
    """The network as it is trained in a precision; as it is applied afterwards, it stays.

    With `bfloat16`, parameters and inputs are rounded to it, and all between is computed in it, as
    in Micikevicius et al., "Mixed precision training" (2018). Logits, and so the loss, are float32
    again, and so are gradients, before anything is summed up over microbatches or devices. Batch
    statistics stay as they are. `float32` and `tensorfloat32` say how products of float32 are
    computed where the backend would round: they change nothing on a CPU.

    Args:
        model: the network.
        precision: of `jaxdigits.TrainConfig`.

    Raises:
        ConfigError: TensorFloat-32 is not available.

    Example:
        >>> from jaxdigits.models import linear
        >>> model = in_precision(Model(linear.init, linear.apply), "bfloat16")
        >>> params = model.init(jax.random.key(0))
        >>> logits, _ = model.apply_train(params, jnp.ones((2, 28, 28)), jax.random.key(1))
        >>> exact = model.apply(params, jnp.ones((2, 28, 28)))
        >>> logits.dtype.name, bool(0 < abs(logits - exact).max() < 0.1)
        ('float32', True)
    """
    if precision == "default":
        return model
    if precision == "tensorfloat32" and target_platform() != "gpu":
        raise ConfigError("precision tensorfloat32 is for GPUs; choose float32, or omit it")
    train = model.apply_train or (lambda params, images, _: (model.apply(params, images), {}))

    def apply_train(params: Params, images: Any, key: Any) -> tuple[Any, Any]:
        if precision != "bfloat16":
            with jax.default_matmul_precision(precision):
                return train(params, images, key)
        logits, changed = train(_rounded(params), images.astype(jnp.bfloat16), key)
        return _floats_as(jnp.float32, logits), _floats_as(jnp.float32, changed)

    return model._replace(apply_train=apply_train)


def _rounded(params: Params) -> Params:
    """Parameters in bfloat16; of flax's collections only these, not statistics."""
    if isinstance(params, Mapping) and "params" in params:
        return {**params, "params": _floats_as(jnp.bfloat16, params["params"])}
    return _floats_as(jnp.bfloat16, params)


def _floats_as(dtype: Any, tree: Any) -> Any:
    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
