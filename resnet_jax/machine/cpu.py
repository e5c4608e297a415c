"""CPU-specific setup of a process: one device per core, and memory that is kept."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os

import jax

_LEAST_IMAGES = 8  # per core: with fewer, a second core does not speed up ResNet-50


def use_every_core(*batch_sizes: int, most: int | None = None) -> None:
    """Makes each core of a CPU a device, as far as all batch sizes divide evenly.

    With one device, XLA spreads the convolutions over the cores, but runs most operations between
    them on one core. With one device per core, everything is split along the batch.

    Call it before JAX computes anything. It does nothing if an accelerator may be present, if the
    process is one of several in a run, or if `JAX_NUM_CPU_DEVICES` or `XLA_FLAGS` sets the number
    of devices.

    Args:
        batch_sizes: The number of images of each kind of step.
        most: The most devices.
    """
    chosen = jax.config.jax_num_cpu_devices != -1  # type: ignore[attr-defined]
    if chosen or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if jax.distributed.is_initialized() or not _has_only_cpu():
        return
    cores = count_cores()
    count = count_devices(*batch_sizes, cores=min(cores, most or cores))
    with contextlib.suppress(RuntimeError):  # JAX has its devices already
        jax.config.update("jax_num_cpu_devices", count)


def count_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_devices(*batch_sizes: int, cores: int) -> int:
    """Returns the number of devices that a CPU is split into.

    Args:
        batch_sizes: The number of images of each kind of step; each device gets an equal share of
            at least eight.
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

    XLA allocates the memory of intermediate values at each step. For large blocks, the C library
    gets it from the kernel and returns it: half a million page faults for ResNet-50.

    Call it before JAX computes anything, since threads choose their arenas early. It does nothing
    if an accelerator may be present, or if the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not _has_only_cpu():
        return
    for parameter, value in _MALLOC_SETTINGS.values():
        mallopt(parameter, value)


_MALLOC_SETTINGS = {  # the numbers of the parameters in malloc.h
    "M_ARENA_MAX": (-8, 1),  # one heap for all threads: other heaps grow only by mapping
    "M_MMAP_MAX": (-4, 0),  # no mappings outside the heap
    "M_TRIM_THRESHOLD": (-1, -1),  # the heap never shrinks
}


def _has_only_cpu() -> bool:
    platforms = jax.config.jax_platforms  # type: ignore[attr-defined]
    if platforms:
        return bool(platforms == "cpu")
    return not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
