"""What is set up once for a process: cores, memory, the cache of compiled code, traces, NaNs."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pathlib
from typing import Self

import filelock
import jax

_CACHE_BYTES = 4 * 2**30
_LEAST_IMAGES = 8  # of a core: ResNet-50 gains by a second core with as few; below, the cores wait


def keep_compiled_code() -> None:
    """Keeps compiled code between processes in the user's cache directory.

    What a process that was killed left unfinished there is removed: jax would not read it, and
    would write nothing more.

    The environment variable `JAX_COMPILATION_CACHE_DIR` names another folder, and
    `JAX_ENABLE_COMPILATION_CACHE=0` switches it off. A folder that cannot be made is done without.
    """
    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        _choose_cache()
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    limited = jax.config.jax_compilation_cache_max_size != -1  # type: ignore[attr-defined]
    if folder and limited and pathlib.Path(folder).is_dir():
        _drop_unfinished(pathlib.Path(folder))


def _choose_cache() -> None:
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(base) / "resnet_jax" / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # With a limit on its size jax takes a lock, so that processes may share it.
    jax.config.update("jax_compilation_cache_max_size", _CACHE_BYTES)


def _drop_unfinished(folder: pathlib.Path) -> None:
    """Removes entries without the time of their last use, which jax writes after them."""
    with contextlib.suppress(OSError), filelock.FileLock(folder / ".lockfile", timeout=10):
        for entry in folder.glob("*-cache"):
            if not entry.with_name(entry.name.removesuffix("cache") + "atime").exists():
                entry.unlink()


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


def search_for_nans() -> None:
    """Stops at the first NaN with the operation that made it; every step takes longer.

    It has to be called before the steps are built: they are then neither donated nor skipped.
    """
    jax.config.update("jax_debug_nans", True)


def searches_for_nans() -> bool:
    """Whether `search_for_nans` was called."""
    return bool(jax.config.jax_debug_nans)  # type: ignore[attr-defined]


class StepTrace:
    """Writes a trace of a few steps for TensorBoard and Perfetto; use it in a `with` statement.

    Args:
        folder: Where to; None traces nothing.
        first: The first step of the trace, late enough that everything is compiled.
        steps: How many steps.
    """

    def __init__(self, folder: pathlib.Path | None, *, first: int, steps: int = 5) -> None:
        self._folder = folder
        self._first = first
        self._last = first + steps
        self._running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False

    def before(self, step: int) -> None:
        """Begins or ends the trace where this step begins or comes after it."""
        if self._folder is None:
            return
        if not self._running and self._first <= step < self._last:
            jax.profiler.start_trace(self._folder)
            self._running = True
        elif self._running and step >= self._last:
            jax.profiler.stop_trace()
            self._running, self._folder = False, None
