"""Measure a function of your own with the same care: warm-up, compilation apart, an interval.

    import jaxdigits as jd
    found = jd.bench.measure(step, state, batch)
    print(found.seconds, found.flops_per_second, found.share_of_product)

The method is that of `timing`.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdigits.bench.intervals import Interval, typical
from jaxdigits.bench.timing import PRODUCT, compile_program, interleaved, prepare_product, uncached
from jaxdigits.bench.workloads import FULL, check_rounds
from jaxdigits.errors import ConfigError


class Measured(NamedTuple):
    """What a call of a function takes.

    Attributes:
        seconds: of a call, with a 95% interval.
        trace_seconds: from Python to XLA's input.
        compile_seconds: from there to a program.
        first_seconds: of the first call.
        flops: of a call, as XLA counts them; 0 where it does not tell, and of a loop the body
            once.
        flops_per_second: in the typical call.
        share_of_product: of the speed of this machine's matrix product, measured in between.
        program_bytes: memory that it needs on a device: arguments, results, and temporaries.
    """

    seconds: Interval
    trace_seconds: float
    compile_seconds: float
    first_seconds: float
    flops: int
    flops_per_second: float
    share_of_product: float
    program_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self._asdict(), "seconds": self.seconds._asdict()}


def measure(function: Callable[..., Any], *arguments: Any, rounds: int = FULL[0]) -> Measured:
    """Measure a function of arrays.

    It is compiled, called once, and then timed in turns with a matrix product. A train step, that
    is a function whose result, or the first of whose results, looks like its first argument, gets
    what it returned in the next call, so it may donate that argument.

    Args:
        function: from arrays to arrays, jitted or not.
        arguments: of it; they stay as they are.
        rounds: to time; 2 or more.

    Raises:
        ConfigError: there are too few rounds, or too many.

    Example:
        >>> import jax.numpy as jnp
        >>> found = measure(lambda x: x @ x, jnp.ones((64, 64)), rounds=3)
        >>> found.flops >= 2 * 64**3 - 64**2, found.seconds.value > 0
        (True, True)
    """
    check_rounds(rounds)
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    arguments = jax.tree.map(jnp.array, arguments)  # which may be donated
    first, *rest = arguments if arguments else (None,)
    again = _follows(jax.eval_shape(jitted, *arguments), first)

    def use(compiled: Any) -> Any:
        nonlocal first
        result = compiled(*([first] if arguments else []), *rest)
        if again is not None:
            first = again(result)
        return result

    with uncached():
        program = compile_program(jitted, arguments, use=use)
        product = prepare_product()
    timings = interleaved({"own": program, PRODUCT: product}, rounds=rounds, round_seconds=FULL[1])
    seconds = typical(timings["own"].seconds)
    rate = program.flops / seconds.value
    fastest = product.flops / min(timings[PRODUCT].seconds)
    return Measured(
        seconds,
        program.trace_seconds,
        program.compile_seconds,
        program.first_seconds,
        program.flops,
        rate,
        rate / fastest,
        program.program_bytes,
    )


def _follows(result: Any, first: Any) -> Callable[[Any], Any] | None:
    """How to get the next first argument from a result, if it holds one."""

    def alike(tree: Any) -> bool:
        if jax.tree.structure(tree) != jax.tree.structure(first):
            return False
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(first), strict=True)
        return all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in pairs)

    if first is None:
        return None
    if alike(result):
        return lambda found: found
    if isinstance(result, tuple) and result and alike(result[0]):
        return lambda found: found[0]
    return None


def load_function(target: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What a function in a file gives to be measured: another one, and its arguments.

    Args:
        target: `FILE.py:NAME`; that takes nothing and returns `(function, *arguments)`.

    Raises:
        ConfigError: there is no such file or function, or it gives something else.
    """
    name, colon, attribute = target.rpartition(":")
    path = Path(name)
    if not colon or not path.is_file():
        raise ConfigError(f"there is no file {name or target}: name a FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(f"jaxdigits_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file: name a FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    make = getattr(module, attribute, None)
    if not callable(make):
        raise ConfigError(f"there is no function {attribute} in {path}")
    found = make()
    if not isinstance(found, tuple) or not found or not callable(found[0]):
        raise ConfigError(
            f"{target} must return (function, *arguments), not {type(found).__name__}"
        )
    return found[0], found[1:]
