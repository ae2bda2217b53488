"""See what a function computes inside: the result of each of its operations.

Functions called inside, and loops of few steps, are opened, so that an operation is one of JAX's
primitives, such as a product. All results come from one program: XLA fuses them much as it would
without, but not always to the bit.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, UInt32

_LONGEST = 64  # loops that are opened
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # what an operation that is a call holds it as
_LOOPS = ("scan", "while", "cond", "shard_map", "custom_linear_solve", "reduce", "sort", "scatter")


class Operation(NamedTuple):
    """An operation of a function.

    Attributes:
        name: the primitive's.
        place: the function that asked for it, its file, and its line; empty if it is not known.
        shape: of its result.
        dtype: of its result.
        inputs: the numbers of the operations whose results it takes.
    """

    name: str
    place: str
    shape: tuple[int, ...]
    dtype: str
    inputs: tuple[int, ...]


def observe(
    function: Callable[..., Any],
) -> tuple[list[Operation], Callable[..., list[Array]]]:
    """The operations of a function, and a function that gives the result of each.

    Args:
        function: pure, of arrays.

    Returns:
        The list is filled when the other function is traced.

    Example:
        >>> operations, results = observe(lambda x: jnp.sin(x).sum() + 1)
        >>> [float(result.max()) for result in jax.jit(results)(jnp.zeros(3))]
        [0.0, 0.0, 1.0]
        >>> [operation.name for operation in operations]
        ['sin', 'reduce_sum', 'add']
    """
    operations: list[Operation] = []

    def results(*args: Any) -> list[Array]:
        operations.clear()
        closed, observer = jax.make_jaxpr(function)(*args), _Observer(operations)
        given = [_Value(leaf) for leaf in jax.tree.leaves(args)]
        observer.evaluate(closed.jaxpr, closed.consts, given)
        return observer.results

    return operations, results


def digest(array: Any) -> UInt32[Array | np.ndarray | np.generic, ""]:
    """A sum over an array's words, each mixed with its place: equal arrays have the same.

    Of an array of NumPy it is computed by NumPy, without a program for each shape. Words are mixed
    as MurmurHash3 ends (Appleby, 2011).

    Example:
        >>> one, other = jnp.array([0.0, 1.0]), np.array([1.0, 0.0], np.float32)
        >>> int(digest(one)) == int(digest(other[::-1])), int(digest(one)) == int(digest(other))
        (True, False)
    """
    numpy = np if isinstance(array, np.ndarray) else jnp
    array = numpy.asarray(array)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    width = min(8 * array.dtype.itemsize, 32)
    bits = array.ravel().view(f"uint{width}").astype(np.uint32)
    mixed = bits + np.uint32(0x9E3779B9) * numpy.arange(bits.size, dtype=np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> shift)) * np.uint32(factor)
    return (mixed ^ (mixed >> 16)).sum(dtype=np.uint32)


class _Value(NamedTuple):
    """A value, and the number of the operation that gave it; -1 for what was given."""

    array: Any
    number: int = -1


class _Observer:
    """Evaluates functions operation by operation, and keeps the results."""

    def __init__(self, operations: list[Operation]) -> None:
        self.operations, self.results = operations, []

    def evaluate(
        self, jaxpr: Any, consts: Sequence[Any], args: Sequence[_Value], outer: str = ""
    ) -> list[_Value]:
        """What a function returns; operations of unknown place are at the outer one."""
        known: dict[Any, _Value] = dict(zip(jaxpr.constvars, map(_Value, consts), strict=True))
        known |= zip(jaxpr.invars, args, strict=True)

        def read(atom: Any) -> _Value:
            return _Value(atom.val) if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            inputs = [read(atom) for atom in equation.invars]
            name, place = equation.primitive.name, _place(equation.source_info) or outer
            inner = next((equation.params[key] for key in _CALLS if key in equation.params), None)
            if name == "scan" and equation.params["length"] <= _LONGEST:
                outputs = self.loop(equation, inputs, place)
            elif inner is not None and name not in _LOOPS:
                outputs = self.evaluate(*_opened(inner), inputs, place)
            else:
                free = [atom for atom in equation.invars if not hasattr(atom, "val")]
                alone = jaxpr.replace(
                    constvars=[], invars=free, outvars=equation.outvars, eqns=[equation]
                )
                function = jaxpr_as_fun(ClosedJaxpr(alone, ()))
                found = function(*(read(atom).array for atom in free))
                outputs = [self.keep(name, place, array, inputs) for array in found]
            known |= zip(equation.outvars, outputs, strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def loop(self, equation: Any, inputs: Sequence[_Value], outer: str) -> list[_Value]:
        """What a loop returns, step by step."""
        params = equation.params
        body, body_consts = _opened(params["jaxpr"])
        # What has an axis more outside than inside is taken row by row, or stacked.
        carried = _alike(equation.outvars, body.outvars)
        fixed = _alike(equation.invars, body.invars) - carried
        consts, carry = inputs[:fixed], inputs[fixed : fixed + carried]
        rows, steps = inputs[fixed + carried :], range(params["length"])
        collected = []
        for step in reversed(steps) if params["reverse"] else steps:
            here = [row._replace(array=row.array[step]) for row in rows]
            found = self.evaluate(body, body_consts, [*consts, *carry, *here], outer)
            carry, more = found[:carried], found[carried:]
            collected.append(more)
        if params["reverse"]:
            collected.reverse()
        stacked = [
            self.keep("stack", outer, jnp.stack([one.array for one in column]), column)
            for column in zip(*collected, strict=True)
        ]
        return [*carry, *stacked]

    def keep(self, name: str, place: str, array: Any, inputs: Sequence[_Value]) -> _Value:
        """Add an operation."""
        sources = tuple(dict.fromkeys(one.number for one in inputs if one.number >= 0))
        self.operations.append(Operation(name, place, array.shape, str(array.dtype), sources))
        self.results.append(array)
        return _Value(array, len(self.results) - 1)


def _opened(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    """A function inside another, and its constants; before jax 0.12 they came as one."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


def _alike(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    """How many arrays have as many axes inside of a loop as outside."""
    pairs = zip(outside, inside, strict=True)
    return sum(one.aval.ndim == other.aval.ndim for one, other in pairs)


def _place(source: Any) -> str:
    """Who asked for an operation: the nearest function outside of jax."""
    frames = source.traceback.frames if source.traceback is not None else []
    jax_folder = str(Path(jax.__file__).parent)
    for frame in frames:
        if not frame.file_name.startswith(jax_folder) and frame.file_name != __file__:
            path = Path(frame.file_name)
            return f"{frame.function_name} ({path.parent.name}/{path.name}:{frame.line_num})"
    return ""
