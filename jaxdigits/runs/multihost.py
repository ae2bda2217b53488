"""Several processes, on one host or many, that train one network together.

Each process runs the same command. They share every batch: a mesh holds the devices of all. The
first one alone writes files.

Each function here is for all processes to call at the same place; with one process they do nothing.
"""

import os
import re
import sys
from typing import Any

import jax
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
        max_over_processes(0)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        check_lost(error, "start all of them again")
        raise
    finally:
        os.dup2(output, 1)
        os.close(output)


def check_lost(error: Exception, advice: str) -> None:
    """Raise ProcessLostError, with the advice, if an error says that a process is gone.

    Example:
        >>> check_lost(ValueError("Gloo AllGather failed: connection closed"), "start it again")
        Traceback (most recent call last):
        jaxdigits.errors.ProcessLostError: another process has ended: start it again
        >>> check_lost(ValueError("negative dimensions"), "start it again")
    """
    if _LOST.search(str(error)) and not isinstance(error, JaxdigitsError):
        raise ProcessLostError(f"another process has ended: {advice}") from None


def is_primary() -> bool:
    """Whether this process is the one that writes.

    Example:
        >>> is_primary()
        True
    """
    return jax.process_index() == 0


def max_over_processes(number: int) -> int:
    """The greatest of the processes' numbers.

    Example:
        >>> max_over_processes(15)
        15
    """
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


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
