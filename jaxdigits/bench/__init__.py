"""How fast this machine trains and applies the networks, in figures that hold up in an argument.

| file | subject |
|---|---|
| `workloads.py` | what is measured |
| `flops.py`, `peaks.py` | the operations of each network, counted; what makers state for devices |
| `measure.py` | the method: programs in turns |
| `pair.py` | two versions in turns, on a machine that others use too |
| `intervals.py`, `compare.py` | how sure a figure is; two measurements side by side |
| `document.py` | the JSON document |

`jaxdigits bench` is their command line.
"""
