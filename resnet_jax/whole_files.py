"""Files that are written whole or not at all: every other module writes through this one."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import uuid
from collections.abc import Iterator

from resnet_jax.buckets import AnyPath, BucketPath


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[pathlib.Path]:
    """Gives the path of a new local file that takes the place of `path` where the block ends.

    Readers see the old file or the new one, also where the process is killed or the block fails.
    The new file's name differs in every call and starts with a dot, so that several processes, on
    whichever machine, may write the same `path`. If `path` lies in a bucket, the file lies in the
    folder for temporary files, has the name of `path`, and is uploaded.

    Raises:
        OSError: The file cannot be renamed or uploaded.
    """
    if isinstance(path, BucketPath):
        with tempfile.TemporaryDirectory(prefix="resnet_jax_") as folder:
            file = pathlib.Path(folder, path.name)
            yield file
            path.upload(file)
        return
    unfinished = path.with_name(f".{path.name.lstrip('.')}-{uuid.uuid4().hex}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: AnyPath, text: str) -> None:
    """Replaces a file by a text in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: AnyPath, content: bytes) -> None:
    """Replaces a file, whole or not at all."""
    if isinstance(path, BucketPath):
        path.write_bytes(content)
        return
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)
