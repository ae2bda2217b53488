"""Networks of flax and equinox as a `Model`.

Each function imports its library when it is called; equinox need not be installed.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxdigits.models import Model, Params
from jaxdigits.models.hints import Hints


def from_linen(
    module: Any, image_shape: tuple[int, ...] = (28, 28), *, hints: Hints | None = None
) -> Model:
    """Make a `Model` of a flax.linen module.

    Its dropout draws from the key of the step, and its statistics (batch normalization) follow the
    batches. A module that differs in training takes an argument `train`, or `deterministic`.

    Args:
        module: takes images, float32 [n, *image_shape], and gives logits.
        image_shape: of one image.
        hints: what suits the network; none by default.

    Example:
        >>> import flax.linen as nn
        >>> class Net(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, images, train):
        ...         values = nn.Dropout(0.1, deterministic=not train)(images)
        ...         return nn.Dense(10)(values.reshape(len(values), -1))
        >>> model = from_linen(Net())
        >>> model.init(jax.random.key(0))["params"]["Dense_0"]["kernel"].shape
        (784, 10)
    """

    def init(key: Key[Array, ""]) -> Params:
        params_key, dropout_key = jax.random.split(key)
        rngs = {"params": params_key, "dropout": dropout_key}
        return dict(module.init(rngs, jnp.zeros((1, *image_shape)), **mode(train=False)))

    def apply(params: Params, images: Float[Array, "n ..."]) -> Any:
        return module.apply(params, images, **mode(train=False))

    def apply_train(params: Params, images: Float[Array, "n ..."], key: Key[Array, ""]) -> Any:
        logits, changed = module.apply(
            params,
            images,
            **mode(train=True),
            rngs={"dropout": key},
            mutable=[name for name in params if name != "params"],
        )
        return logits, dict(changed)

    def mode(*, train: bool) -> dict[str, bool]:
        names = inspect.signature(type(module).__call__).parameters
        values = {"train": train, "deterministic": not train}
        return {name: value for name, value in values.items() if name in names}

    return Model(init, apply, apply_train=apply_train, hints=hints or Hints())


def from_nnx(make: Callable[[Any], Any], *, hints: Hints | None = None) -> Model:
    """Make a `Model` of a flax.nnx module, batch normalization and dropout included.

    Args:
        make: from `nnx.Rngs` to the module, which takes images, float32 [n, *image_shape], and
            gives logits: its class, if it takes nothing else.
        hints: what suits the network; none by default.

    Example:
        >>> from flax import nnx
        >>> class Net(nnx.Module):
        ...     def __init__(self, rngs):
        ...         self.norm = nnx.BatchNorm(784, rngs=rngs)
        ...         self.dense = nnx.Linear(784, 10, rngs=rngs)
        ...     def __call__(self, images):
        ...         return self.dense(self.norm(images.reshape(len(images), -1)))
        >>> params = from_nnx(Net).init(jax.random.key(0))
        >>> params["params"]["dense"]["kernel"].shape, params["batch_stats"]["norm"]["mean"].shape
        ((784, 10), (784,))
    """
    from flax import nnx

    kinds = (nnx.Param, nnx.BatchStat, ...)
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    graph, *states = nnx.split(abstract, *kinds)

    def init(key: Key[Array, ""]) -> Params:
        _, params, stats, _ = nnx.split(make(nnx.Rngs(key)), *kinds)
        return _named(params=nnx.to_pure_dict(params), batch_stats=nnx.to_pure_dict(stats))

    def merge(params: Params, key: Key[Array, ""]) -> Any:
        filled = [jax.tree.map(lambda leaf: leaf, state) for state in states]
        nnx.replace_by_pure_dict(filled[0], params["params"])
        if "batch_stats" in params:
            nnx.replace_by_pure_dict(filled[1], params["batch_stats"])
        leaves, structure = jax.tree.flatten(filled[2])
        drawn = [_start_of_stream(leaf, number, key) for number, leaf in enumerate(leaves)]
        return nnx.merge(graph, *filled[:2], jax.tree.unflatten(structure, drawn))

    def apply(params: Params, images: Float[Array, "n ..."]) -> Any:
        module = merge(params, jax.random.key(0))
        module.eval()
        return module(images)

    def apply_train(params: Params, images: Float[Array, "n ..."], key: Key[Array, ""]) -> Any:
        module = merge(params, key)
        module.train()
        logits = module(images)
        return logits, _named(batch_stats=nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))

    return Model(init, apply, apply_train=apply_train, hints=hints or Hints())


def from_equinox(make: Callable[[Any], Any], *, hints: Hints | None = None) -> Model:
    """Make a `Model` of an equinox module that takes one image, and a key if it has dropout.

    Modules with a state, such as `equinox.nn.BatchNorm`, are not supported.

    Args:
        make: from a key to the module, which takes an image, float32 [*image_shape], and gives
            logits [classes].
        hints: what suits the network; none by default.

    Example:
        >>> import equinox as eqx                                            # doctest: +SKIP
        >>> model = from_equinox(lambda key: eqx.nn.MLP(784, 10, 64, 2, key=key))  # doctest: +SKIP
    """
    import equinox as eqx  # pyright: ignore[reportMissingImports]

    first = make(jax.random.key(0))
    _, static = eqx.partition(first, eqx.is_inexact_array)
    takes_key = "key" in inspect.signature(type(first).__call__).parameters

    def init(key: Key[Array, ""]) -> Params:
        return eqx.filter(make(key), eqx.is_inexact_array)

    def apply(params: Params, images: Float[Array, "n ..."]) -> Any:
        return jax.vmap(eqx.nn.inference_mode(eqx.combine(params, static)))(images)

    def apply_train(params: Params, images: Float[Array, "n ..."], key: Key[Array, ""]) -> Any:
        module = eqx.combine(params, static)
        keys = jax.random.split(key, len(images))
        return jax.vmap(lambda image, key: module(image, key=key))(images, keys), {}

    return Model(
        init, apply, apply_train=apply_train if takes_key else None, hints=hints or Hints()
    )


def _named(**collections: Any) -> dict[str, Any]:
    """The collections that hold anything."""
    return {name: values for name, values in collections.items() if values}


def _start_of_stream(leaf: Any, number: int, key: Key[Array, ""]) -> Any:
    """A random stream's first key, another one for each, or its count."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.fold_in(key, number)
    return jnp.zeros(leaf.shape, leaf.dtype)
