"""How fast this machine trains and applies the networks, in figures that hold up in an argument.

| file | subject |
|---|---|
| `workloads.py` | what is measured |
| `flops.py`, `peaks.py` | the operations of each network, counted; what makers state for devices |
| `ahead.py`, `chips.py` | programs compiled for devices that are not here |
| `timing.py` | the method: interleaved programs |
| `own.py` | the same for a function of your own |
| `pair.py` | two versions interleaved, on a machine that others use too |
| `commands.py` | any two commands in turns, as whole processes |
| `intervals.py`, `compare.py` | how sure a figure is; two measurements side by side |
| `scaling.py` | throughput against batch size, width, and number of devices |
| `time_to.py`, `recipe.py` | a whole process until a network is accurate enough |
| `document.py`, `report.py` | the JSON document; the same in words |
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxdigits.bench.own import Measured, measure
else:

    def __getattr__(name: str) -> object:
        """Import what is asked for; the rest of this room needs no jax at once."""
        if name not in __all__:
            raise AttributeError(f"module 'jaxdigits.bench' has no attribute {name!r}")
        from jaxdigits.bench import own

        return getattr(own, name)


__all__ = ["Measured", "measure"]
