"""The cache of compiled code, which processes share."""

from __future__ import annotations

import contextlib
import pathlib

import filelock
import jax

from resnet_jax.local_paths import user_cache

_CACHE_BYTES = 4 * 2**30


def keep_compiled_code() -> None:
    """Keeps compiled code between processes in the user's cache directory.

    It removes the unfinished entries of a process that was killed: JAX would neither read nor
    replace them.

    The environment variable `JAX_COMPILATION_CACHE_DIR` names another folder, and
    `JAX_ENABLE_COMPILATION_CACHE=0` switches the cache off. If the folder cannot be created, there
    is no cache.
    """
    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        _choose_cache()
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    limited = jax.config.jax_compilation_cache_max_size != -1  # type: ignore[attr-defined]
    if folder and limited and pathlib.Path(folder).is_dir():
        _drop_unfinished(pathlib.Path(folder))


def _choose_cache() -> None:
    folder = user_cache() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # With a limit on its size, JAX locks the cache, so that processes can share it.
    jax.config.update("jax_compilation_cache_max_size", _CACHE_BYTES)


def _drop_unfinished(folder: pathlib.Path) -> None:
    """Removes entries without the time of their last use, which JAX writes after them."""
    with contextlib.suppress(OSError), filelock.FileLock(folder / ".lockfile", timeout=10):
        for entry in folder.glob("*-cache"):
            if not entry.with_name(entry.name.removesuffix("cache") + "atime").exists():
                entry.unlink()
