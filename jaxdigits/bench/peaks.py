"""The peak rates that makers state for their devices: operations and bytes per second.

Operations are for the arithmetic that JAX's matrix products of float32 use by default: TF32 on
NVIDIA's GPUs since Ampere, without sparsity; bfloat16 on TPUs; float32 elsewhere. They are per
device as JAX counts them (a TPU v2 or v3 chip has two). CPUs are not listed: their peak depends on
the clock, which depends on the load.

Sources: NVIDIA's datasheets of these GPUs and of the Turing, Ada and Ampere architectures; Google
Cloud's pages of TPU versions.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

PEAKS: Mapping[str, float] = MappingProxyType(
    {
        "B200": 1.1e15,
        "H200": 494.7e12,
        "H100 PCIe": 378e12,
        "H100": 494.7e12,
        "GH200": 494.7e12,
        "A100": 156e12,
        "A10": 62.5e12,
        "L40S": 183e12,
        "L40": 90.5e12,
        "L4": 60e12,
        "RTX 4090": 82.6e12,
        "RTX 3090": 35.6e12,
        "V100": 15.7e12,
        "T4": 8.1e12,
        "GTX 1660 Ti": 5.4e12,
        "TPU v2": 22.5e12,
        "TPU v3": 61.5e12,
        "TPU v4": 275e12,
        "TPU v5 lite": 197e12,
        "TPU v5": 459e12,
        "TPU v6 lite": 918e12,
    }
)
"""Operations per second, by words of the name that JAX gives the device."""

BANDWIDTHS: Mapping[str, float] = MappingProxyType(
    {
        "H200": 4.8e12,
        "H100": 3.35e12,
        "A100": 2.04e12,
        "TPU v4": 1.2e12,
        "TPU v5 lite": 819e9,
        "TPU v5": 2765e9,
        "TPU v6 lite": 1640e9,
    }
)
"""Bytes of memory per second."""


def datasheet_peak(device_kind: str) -> float | None:
    """The peak of a device, by the longest entry that is in its name; None if there is none.

    Example:
        >>> datasheet_peak("NVIDIA H100 80GB HBM3"), datasheet_peak("cpu")
        (494700000000000.0, None)
    """
    return _look_up(PEAKS, device_kind)


def datasheet_bandwidth(device_kind: str) -> float | None:
    """The bytes per second of a device's memory, likewise.

    Example:
        >>> datasheet_bandwidth("TPU v5 lite")
        819000000000.0
    """
    return _look_up(BANDWIDTHS, device_kind)


def _look_up(rates: Mapping[str, float], device_kind: str) -> float | None:
    names = [name for name in rates if re.search(rf"\b{name}\b", device_kind)]
    return rates[max(names, key=len)] if names else None
