"""Files of buckets for libraries that open files of this machine."""

from __future__ import annotations

import functools
import pathlib
import tempfile

from resnet_jax.buckets.path import AnyPath, BucketPath


def fetched(path: AnyPath) -> pathlib.Path:
    """Returns a file on this machine: a copy, if it lies in a bucket.

    A copy keeps its name, and is made once for as long as the object stays the same. It is removed
    when the process ends. A path that is no object is returned as a path that does not exist.

    Args:
        path: The file.

    Raises:
        BucketError: The bucket cannot be read.
    """
    if not isinstance(path, BucketPath):
        return path
    try:
        tag = path.file().tag
    except FileNotFoundError:
        return pathlib.Path(_copies().name, "missing", path.name)
    return _copy(path, tag)


@functools.cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="resnet_jax_", ignore_cleanup_errors=True)


@functools.lru_cache(maxsize=64)
def _copy(path: BucketPath, tag: str) -> pathlib.Path:
    del tag  # with another one, the object is another
    target = pathlib.Path(tempfile.mkdtemp(dir=_copies().name), path.name)
    path.download(target)
    return target
