"""Keep compiled programs few: jax keeps one for every shape that a function is called with.

Each takes a tenth of a second to compile and more than a megabyte for as long as the process lives,
so a process that reads images in batches of changing sizes for days would fill the memory.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Shaped

R = TypeVar("R")


def jit_few(maxsize: int, static: int = 0) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Make a decorator like `jax.jit` that keeps only the programs used last.

    Args:
        maxsize: the number of programs to keep.
        static: how many arguments at the beginning are no arrays; they must be hashable.

    Example:
        >>> @jit_few(maxsize=1)
        ... def double(x):
        ...     print("traced")
        ...     return 2 * x
        >>> for size in (3, 3, 4, 3):
        ...     _ = double(np.ones(size))
        traced
        traced
        traced
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @functools.lru_cache(maxsize)
        def program(fixed: tuple[Any, ...], _: Any) -> Callable[..., R]:
            # Made here, as jax drops the programs of a function when the function is gone.
            def of_arrays(*arrays: Any) -> R:
                return function(*fixed, *arrays)

            of_arrays.__name__ = function.__name__  # as profiles show it
            return jax.jit(of_arrays)

        @functools.wraps(function)
        def call(*args: Any) -> R:
            fixed, arrays = args[:static], args[static:]
            leaves, structure = jax.tree.flatten(arrays)
            return program(fixed, (structure, *map(jax.typeof, leaves)))(*arrays)

        return call

    return decorate


def filled(
    array: Shaped[np.ndarray, "n ..."], most: int | None = None, value: int = 0
) -> Shaped[np.ndarray, "size ..."]:
    """Fill an array up to a power of two, so that few programs serve all lengths.

    Args:
        array: of `most` rows at most.
        most: the largest size; it need not be a power of two. None for no limit.
        value: that it is filled up with.

    Example:
        >>> filled(np.array([1, 2, 3])).tolist(), filled(np.array([1, 2, 3]), most=3).tolist()
        ([1, 2, 3, 0], [1, 2, 3])
    """
    size = 1 << max(len(array) - 1, 0).bit_length()
    if most is not None:
        size = min(size, most)
    result = np.full((size, *array.shape[1:]), value, array.dtype)
    result[: len(array)] = array
    return result
