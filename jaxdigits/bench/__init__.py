"""How fast this machine trains and applies the networks, in figures that hold up in an argument.

| file | subject |
|---|---|
| `workloads.py` | what is measured |
| `flops.py`, `peaks.py` | the operations of each network, counted; what makers state for devices |
| `measure.py` | the method: interleaved programs |
| `pair.py` | two versions interleaved, on a machine that others use too |
| `intervals.py`, `compare.py` | how sure a figure is; two measurements side by side |
| `scaling.py` | throughput against batch size, width, and number of devices |
| `time_to.py`, `recipe.py` | a whole process until a network is accurate enough |
| `document.py`, `report.py` | the JSON document; the same in words |
"""
