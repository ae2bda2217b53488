"""Accelerators to compile for where there is none: XLA needs their descriptions alone."""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from jaxdigits.errors import ConfigError

_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84978434048
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

GPUS: Mapping[str, str] = MappingProxyType({"h100": _H100})
"""By name: what XLA has to know, as text of its `GpuTargetConfigProto`."""

_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",  # nobody answers where there is no TPU
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # several processes compile at once
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


class Target(NamedTuple):
    """Devices to compile for.

    Attributes:
        name: as it was asked for.
        platform: as JAX names it when it lowers: `tpu` or `cuda`.
        devices: their descriptions, which cannot run anything.
        options: of XLA's compiler.
    """

    name: str
    platform: str
    devices: Sequence[Any]
    options: Mapping[str, Any]


def find_target(name: str) -> Target:
    """Look up devices to compile for.

    Args:
        name: `tpu:` and a topology, such as `tpu:v5e:2x2`, `tpu:v6e:2x2`, `tpu:v5p:2x2x1`, or
            `tpu:v4:2x2x1`, with whole hosts; or `gpu:h100`, also `gpu:h100:8` for eight of them.

    Raises:
        ConfigError: there is no such device, or what compiles for it is not installed.
    """
    platform, _, rest = name.partition(":")
    if platform == "tpu":
        for variable, value in _LIBTPU.items():
            os.environ.setdefault(variable, value)
        devices = _describe(name, "tpu", {"topology_name": rest})
        return Target(name, "tpu", devices, {})
    chip, _, count = rest.partition(":")
    if platform != "gpu" or chip not in GPUS or not (count or "1").isdecimal() or count == "0":
        known = ", ".join(["tpu:v5e:2x2", *(f"gpu:{chip}" for chip in GPUS)])
        raise ConfigError(f"cannot compile for {name!r}; there are {known}, and others like these")
    shape = {"topology_name": "", "topology": f"1x1x{count or 1}", "target_config": GPUS[chip]}
    # Without a device at hand it cannot try which kernels are fastest.
    return Target(name, "cuda", _describe(name, "cuda", shape), {"xla_gpu_autotune_level": 0})


def _describe(name: str, platform: str, shape: Mapping[str, str]) -> Sequence[Any]:
    from jax.experimental import topologies

    extra = {"tpu": "compile-tpu", "cuda": "compile-gpu"}[platform]
    try:
        return topologies.get_topology_desc(platform=platform, **shape).devices
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"cannot compile for {name!r}: {reason}") from None
    except (NotImplementedError, RuntimeError):
        raise ConfigError(
            f"what compiles for {name} is not installed: pip install 'jaxdigits[{extra}]'"
        ) from None
