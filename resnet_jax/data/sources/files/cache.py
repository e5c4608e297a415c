"""A folder of bounded size that keeps what was downloaded, shared by all processes of a machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import filelock

from resnet_jax.local_paths import user_cache

_TRIM_SHARE = 0.02
"""Share of the limit that a process writes from one look at the folder's size to the next."""


class FileCache:
    """Keeps contents by their keys, and removes those that were not used for the longest time.

    A process that is killed leaves no half of a file. Several processes may keep the same content:
    the last one wins.

    Args:
        folder: Where the files lie; it is made when the first of them is kept. None: in the folder
            of the user's cache.
        limit: The most bytes that they take. While several processes write, they may take a few
            percent more for a moment.

    Attributes:
        folder: The folder.
        limit: The limit.
    """

    def __init__(self, folder: Path | None = None, *, limit: int = 10**10) -> None:
        self.folder = folder or user_cache() / "data"
        self.limit = limit
        self._contents = self.folder / "contents"
        self._unseen = 0.0  # bytes that were written since the folder was measured

    def get(self, key: str, fetch: Callable[[], bytes]) -> bytes:
        """Returns what is kept under a key, or fetches and keeps it.

        Args:
            key: Names the content, with its version.
            fetch: Gets the content from where it lies.
        """
        path = self._contents / hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            os.utime(path)
            return content
        content = fetch()
        with contextlib.suppress(OSError):  # a full disk makes it slow, not wrong
            self._keep(path, content)
        return content

    def _keep(self, path: Path, content: bytes) -> None:
        if len(content) > self.limit:
            return
        self._contents.mkdir(parents=True, exist_ok=True)
        self._unseen += len(content)
        if self._unseen >= _TRIM_SHARE * self.limit:
            self._trim()
            self._unseen = 0
        descriptor, part = tempfile.mkstemp(dir=self._contents, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(part, path)  # noqa: PTH105
        except BaseException:
            os.unlink(part)  # noqa: PTH108
            raise

    def _trim(self) -> None:
        """Removes the oldest files until there is room for what all processes write meanwhile."""
        try:
            with filelock.FileLock(self._contents / "trim.lock", timeout=0):
                files = sorted(_measured(self._contents))
                total = sum(size for _, size, _ in files)
                for _, size, path in files:
                    if total <= (1 - 5 * _TRIM_SHARE) * self.limit:
                        break
                    Path(path).unlink(missing_ok=True)
                    total -= size
        except filelock.Timeout:
            pass  # another process is at it


def _measured(folder: Path) -> list[tuple[float, int, str]]:
    """Lists time of last use, size and path of the files, also of those that a kill left behind."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                if entry.name != "trim.lock":
                    found.append((status.st_mtime, status.st_size, entry.path))
    return found
