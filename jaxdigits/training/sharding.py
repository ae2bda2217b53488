"""Devices that share each batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from jaxdigits.errors import ConfigError
from jaxdigits.models import Hints

DEVICES = "devices"
"""The name of a mesh's axis."""

LARGE = 200_000
"""Numbers in an array above which it is summed over the devices by itself."""

LEAST_IMAGES = 16
"""On each CPU device that shares a batch."""


def axis_of(mesh: Mesh | None) -> str | None:
    """The axis over which a batch is shared, or None where one device has all of it."""
    return DEVICES if mesh is not None and mesh.size > 1 else None


def num_devices(mesh: Mesh | None) -> int:
    """The number of devices that share a batch."""
    return 1 if mesh is None else mesh.size


def platform_of(mesh: Mesh | None) -> str:
    """`cpu`, `gpu`, or `tpu`."""
    return jax.default_backend() if mesh is None else mesh.devices.flat[0].platform


def sum_over_devices(tree: Any, axis_name: str) -> Any:
    """Sum each array of a pytree over the devices.

    On a CPU each all-reduce costs some tens of microseconds, so the small arrays go together as
    one. Large ones go alone: joining and cutting them would cost more (ResNet-18 trains 1.4x as
    fast so).
    """
    leaves, structure = jax.tree.flatten(tree)
    small, join = ravel_pytree([leaf for leaf in leaves if leaf.size < LARGE])
    joined = iter(join(lax.psum(small, axis_name)))
    return structure.unflatten(
        [next(joined) if leaf.size < LARGE else lax.psum(leaf, axis_name) for leaf in leaves]
    )


def own_share(array: Shaped[Array, "... n"], axis_name: str | None) -> Shaped[Array, "... share"]:
    """The part of the last axis that is this device's, with zeros at the end if it is not even."""
    if axis_name is None:
        return array
    devices = lax.axis_size(axis_name)
    share = -(-array.shape[-1] // devices)
    padding = [(0, 0)] * (array.ndim - 1) + [(0, share * devices - array.shape[-1])]
    start = lax.axis_index(axis_name) * share
    return lax.dynamic_slice_in_dim(jnp.pad(array, padding), start, share, axis=-1)


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Put a pytree on the device, or on all that share a batch, in all processes."""
    return jax.device_put(tree) if mesh is None else shard(tree, mesh, PartitionSpec())


def shard(tree: Any, mesh: Mesh, spec: PartitionSpec) -> Any:
    """Put a pytree, which each process has whole, on the devices of all processes."""
    sharding = NamedSharding(mesh, spec)
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(place, tree)


def default_mesh(hints: Hints, batch_size: int, devices: int | None = None) -> Mesh | None:
    """The devices that should share each batch; None for a single one.

    Default: 1; on a CPU, for a network that gains by it (`hints.shard_on_cpu`), as many as share a
    batch evenly with at least 16 images each. On two cores the letters network trains 1.6x as fast
    on two CPU devices as on one whose operations use both cores; ResNet-18 is 1.1x as fast on one.
    A CPU is one device unless `JAX_NUM_CPU_DEVICES` was set before jax was imported, as the
    command line does.

    Args:
        hints: of the network.
        batch_size: images per step.
        devices: how many.

    Raises:
        ConfigError: there are not that many devices.

    Example:
        >>> default_mesh(Hints(), batch_size=64) is None
        True
    """
    available = jax.devices()
    if devices is None and jax.process_count() > 1:
        devices = len(available)
    if devices is None:
        devices = 1
        if available[0].platform == "cpu" and hints.shard_on_cpu:
            most = max(min(len(available), batch_size // LEAST_IMAGES), 1)
            devices = max(n for n in range(1, most + 1) if batch_size % n == 0)
    alone = devices == 1 and jax.process_count() == 1
    return None if alone else make_mesh(available, devices, DEVICES)


def make_mesh(available: Any, devices: int | None, axis_name: str) -> Mesh:
    """A mesh of the first `devices` of those available, or of all of them.

    Raises:
        ConfigError: there are not that many devices, or several processes leave some of theirs.
    """
    devices = len(available) if devices is None else devices
    if jax.process_count() > 1 and devices != len(available):
        raise ConfigError(
            f"several processes share the work among all of their {len(available)} devices; "
            f"omit --devices {devices} and set JAX_NUM_CPU_DEVICES for each process"
        )
    if not 1 <= devices <= len(available):
        raise ConfigError(
            f"devices must be 1 to {len(available)}, as many as jax has here, not {devices}"
        )
    return Mesh(np.array(available[:devices]), (axis_name,))
