"""Runs a compiler in a process of its own, with room for its recursion."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import jax

from resnet_jax.errors import ConfigError

_STACK = 2**30  # of addresses; a thread takes memory only for what it uses

T = TypeVar("T")


def run_apart(function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
    """Calls a function in a new process, whose threads have large stacks.

    With the usual 8 MiB, the compiler for TPUs overflows the stack of a thread on ResNet-50's step
    for v6e, which ends its process. A process takes the size for its threads when it starts.

    Args:
        function: Can be imported by its name, as can what it returns.
        *arguments: Can be pickled.
        **keywords: Can be pickled.

    Raises:
        ConfigError: The process ended before the function did.
    """
    spawn = multiprocessing.get_context("spawn")
    with _large_stacks(), ProcessPoolExecutor(1, spawn, _prepare) as pool:
        try:
            return pool.submit(function, *arguments, **keywords).result()
        except BrokenProcessPool as error:
            raise ConfigError(
                "the compiler ended its process, often for lack of memory; try a smaller batch, or "
                "another version of jax and of the compiler (libtpu or the extra cuda)"
            ) from error


def _prepare() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Where libtpu is installed and no TPU, JAX would look for one for seconds.
    jax.config.update("jax_platforms", "cpu")


def _end_with_parent() -> None:
    """Ends this process with the one that it works for, which may be killed while it compiles."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _large_stacks() -> Iterator[None]:
    """Lets the threads of processes that are started have large stacks, as far as it is allowed."""
    limits = soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    most = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
    # Without a limit, glibc gives a thread 2 MiB.
    if soft == resource.RLIM_INFINITY or soft < most:
        resource.setrlimit(resource.RLIMIT_STACK, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, limits)
