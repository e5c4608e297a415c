"""What a process on a CPU sets up once: a device for each core, memory that it keeps."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os

import jax

_LEAST_IMAGES = 8  # of a core: ResNet-50 gains by a second core with as few; below, the cores wait


def use_every_core(*batch_sizes: int, most: int | None = None) -> None:
    """Makes each core of a CPU a device, as far as all batches divide over them.

    XLA spreads the convolutions of one device over the cores, and leaves most of what stands
    between them to one. With a device a core, all of it is split along the batch.
    Call it before jax computes anything. It does nothing where an accelerator may do the work,
    where the process takes part in a larger run, or where `JAX_NUM_CPU_DEVICES` or `XLA_FLAGS` say
    how many devices there shall be.

    Args:
        batch_sizes: The images of each kind of step.
        most: No more devices than these.
    """
    chosen = jax.config.jax_num_cpu_devices != -1  # type: ignore[attr-defined]
    if chosen or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if jax.distributed.is_initialized() or not _has_cpu_alone():
        return
    cores = count_cores()
    count = count_devices(*batch_sizes, cores=min(cores, most or cores))
    with contextlib.suppress(RuntimeError):  # jax has its devices already
        jax.config.update("jax_num_cpu_devices", count)


def count_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_devices(*batch_sizes: int, cores: int) -> int:
    """Returns into how many devices a CPU is split.

    Args:
        batch_sizes: The images of each kind of step; each has to divide, into eight or more.
        cores: The most devices.
    """
    most = min(cores, *(size // _LEAST_IMAGES for size in batch_sizes))
    return next(
        count
        for count in range(max(1, most), 0, -1)
        if not any(size % count for size in batch_sizes)
    )


def keep_freed_memory() -> None:
    """Keeps the memory that a step on the CPU frees for the next step.

    XLA asks for the memory of a step's intermediate values at each step, and the C library gets
    large pieces from the kernel and gives them back: for ResNet-50 half a million page faults.
    Call it before jax computes anything, since threads choose their arenas early. It does nothing
    where an accelerator may do the work, or where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not _has_cpu_alone():
        return
    for parameter, value in _MALLOC_SETTINGS.values():
        mallopt(parameter, value)


_MALLOC_SETTINGS = {  # the numbers of the parameters in malloc.h
    "M_ARENA_MAX": (-8, 1),  # one heap for all threads: the others grow by mapping alone
    "M_MMAP_MAX": (-4, 0),  # nothing apart from the heap
    "M_TRIM_THRESHOLD": (-1, -1),  # which never shrinks
}


def _has_cpu_alone() -> bool:
    platforms = jax.config.jax_platforms  # type: ignore[attr-defined]
    if platforms:
        return bool(platforms == "cpu")
    return not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
