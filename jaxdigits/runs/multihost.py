"""Several processes, on one host or many, that train one network together, or a sweep's members.

Each process runs the same command. They share every batch, or the members: a mesh holds the devices
of all. The first one alone writes files.

Each function here is for all processes to call at the same place; with one process they do nothing.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdigits.errors import ConfigError, JaxdigitsError, ProcessLostError

AUTO = "auto"
"""The coordinator that jax finds by itself, under Slurm, Open MPI, Kubernetes and on Cloud TPU."""

_SILENT = 30
"""Seconds after which a process that is not heard of is lost."""

_LOST = re.compile("gloo|nccl|heartbeat|coordination|UNAVAILABLE", re.IGNORECASE)
"""What the errors of jax's collectives say when a process is gone."""


def connect(coordinator: str, processes: int | None, process_id: int | None) -> None:
    """Wait for the other processes. Nothing may have been computed before.

    Args:
        coordinator: host and port of the first process, or `auto`.
        processes: how many there are; jax asks the cluster if it is not given.
        process_id: 0 for the first process.

    Raises:
        ConfigError: the numbers are impossible, or the others were not found.
        ProcessLostError: one of them has ended meanwhile.

    Example:
        >>> connect("localhost", 2, 0)
        Traceback (most recent call last):
        jaxdigits.errors.ConfigError: coordinator must be HOST:PORT or auto, not 'localhost'
    """
    if coordinator != AUTO and not coordinator.rpartition(":")[2].isdigit():
        raise ConfigError(f"coordinator must be HOST:PORT or auto, not {coordinator!r}")
    if coordinator != AUTO and (processes is None or process_id is None):
        raise ConfigError("--coordinator HOST:PORT needs --processes and --process-id")
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be 1 or more, not {processes}")
    if process_id is not None and not 0 <= process_id < (processes or process_id + 1):
        raise ConfigError(f"process_id must be 0 to {(processes or 1) - 1}, not {process_id}")
    try:
        jax.distributed.initialize(
            None if coordinator == AUTO else coordinator,
            processes,
            process_id,
            heartbeat_timeout_seconds=_SILENT,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the other processes cannot be found: {reason}") from None
    # Gloo tells of its connections on standard output, which is for results.
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        with checked("start all of them again"):
            max_over_processes(0)
    finally:
        os.dup2(output, 1)
        os.close(output)


@contextlib.contextmanager
def checked(advice: str = "start all of them again with --resume") -> Iterator[None]:
    """Turn errors of jax that say that a process is gone into ProcessLostError, with the advice.

    Example:
        >>> with checked("start it again"):
        ...     raise ValueError("Gloo AllGather failed: connection closed")  # there is no other
        Traceback (most recent call last):
        ValueError: Gloo AllGather failed: connection closed
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        known = _LOST.search(str(error)) and not isinstance(error, JaxdigitsError)
        if jax.process_count() == 1 or not known:
            raise
        raise ProcessLostError(f"another process has ended: {advice}") from None


def is_primary() -> bool:
    """Whether this process is the one that writes.

    Example:
        >>> is_primary()
        True
    """
    return jax.process_index() == 0


def max_over_processes(*numbers: int) -> list[int]:
    """The greatest that any process has of each number.

    Example:
        >>> max_over_processes(15, True)
        [15, 1]
    """
    found = np.array(numbers, np.int32)
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        found = np.max(multihost_utils.process_allgather(found), axis=0)
    return found.tolist()


def broadcast_from_primary(tree: Any) -> Any:
    """The first process's arrays; those of the others only tell shapes and types.

    Example:
        >>> broadcast_from_primary({"epoch": 3})
        {'epoch': 3}
    """
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)


def document_from_primary(document: Any) -> Any:
    """The first process's plain values, whatever those of the others are.

    Example:
        >>> document_from_primary({"epoch": 3})
        {'epoch': 3}
    """
    if jax.process_count() == 1:
        return document
    text = np.frombuffer(json.dumps(document).encode(), np.uint8)
    (size,) = max_over_processes(len(text) if is_primary() else 0)
    padded = np.zeros(size, np.uint8)
    padded[: len(text)] = text[:size]
    return json.loads(bytes(broadcast_from_primary(padded)))


def gather(tree: Any) -> Any:
    """A pytree whole in each process, of arrays that lie in shares on the devices of all.

    Example:
        >>> gather(jnp.arange(3)).tolist()
        [0, 1, 2]
    """
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    def whole(leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(whole(jax.random.key_data(leaf))))
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(whole, tree)
