"""How throughput grows with batch size, width, and the number of devices."""

from collections.abc import Mapping
from typing import Any

from jaxdigits.bench.workloads import WORKLOADS, Benchmark, Plan, check_rounds

BATCH_SIZES, WIDTHS = (16, 64, 256, 1024), (32, 128, 512, 2048)
ROUND_SECONDS = 0.1

Sweeps = Mapping[str, list[tuple[int, Benchmark]]]
"""Amounts and benchmarks, by what grows."""


def sweeps(device_count: int) -> Sweeps:
    """Training with batches, widths, and numbers of devices up to those there are.

    Example:
        >>> list(sweeps(1))
        ['batch size', 'width of the hidden layer', 'devices that share a batch of 64']
    """
    counts = [2**k for k in range(device_count.bit_length())]
    return {
        "batch size": [
            (size, Benchmark(name, "train", size)) for name in WORKLOADS for size in BATCH_SIZES
        ],
        "width of the hidden layer": [
            (width, Benchmark("mlp", "train", 64, width=width)) for width in WIDTHS
        ],
        "devices that share a batch of 64": [
            (count, Benchmark(name, "train", 64, count)) for name in WORKLOADS for count in counts
        ],
    }


def plan(swept: Sweeps, rounds: int) -> Plan:
    """Plan the measurement of sweeps, or raise ConfigError if the rounds are impossible."""
    benchmarks = [benchmark for points in swept.values() for _, benchmark in points]
    return Plan(benchmarks, check_rounds(rounds), ROUND_SECONDS)


def panels(
    swept: Sweeps, document: Mapping[str, Any]
) -> dict[str, dict[str, list[tuple[int, float, float]]]]:
    """The points of `jaxdigits.plots.scaling`, from the document of all the benchmarks."""
    entries = {entry["name"]: entry["extra_info"] for entry in document["benchmarks"]}
    found: dict[str, dict[str, list[tuple[int, float, float]]]] = {}
    for label, points in swept.items():
        found[label] = {}
        for amount, benchmark in points:
            extra = entries[benchmark.name]
            point = (amount, extra["images_per_second"], extra["share_of_product"])
            found[label].setdefault(benchmark.workload, []).append(point)
    return found


def heading(document: Mapping[str, Any]) -> str:
    """What stands above the picture."""
    ours, cpu = document["jaxdigits"], document["machine_info"]["cpu"]
    return (
        f"training on {ours['device']} ({cpu['brand_raw']}, {cpu['count']} cores), "
        f"{document['datetime'][:10]}"
    )
