"""Datasets in a bucket: their objects, kept on this machine after they were read once."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from typing import IO, Any

from resnet_jax.buckets import AccessError, BucketFile, BucketPath
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.sources.files.cache import FileCache
from resnet_jax.data.sources.files.folder import check_bytes
from resnet_jax.data.sources.files.ranges import Span
from resnet_jax.data.sources.files.read_ahead import ReadAhead
from resnet_jax.errors import ConfigError

ACCESS_PATIENCE = 900.0
"""Seconds for which a run waits for credentials that expired, as it does to save."""

_PAUSE = 2.0
_logger = logging.getLogger(__name__)

_INDEX_BYTES = 2**20
"""An archive's index is read in parts of this size, from the end."""


class BucketFolder:
    """The objects below a path, as a folder; they are listed once.

    Args:
        path: The folder.
        cache: Keeps what was read.

    Raises:
        ConfigError: There are none.
    """

    def __init__(self, path: BucketPath, *, cache: FileCache) -> None:
        self.origin = str(path)
        self._cache = cache
        self._access = _Access()
        self._objects = {str(found.path.relative_to(path)): found for found in path.files()}
        if not self._objects:
            hint = f"; write zip:{path}" if path.suffix == ".zip" else ""
            raise ConfigError(f"data.name='folder:{path}': there is no such folder{hint}")
        self._ahead = ReadAhead(self._fetch)

    def names(self) -> list[str]:
        """Lists the objects."""
        return list(self._objects)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._objects

    def expect(self, names: Iterable[str]) -> None:
        """Begins to fetch objects that will soon be read."""
        self._ahead.expect(names)

    def read(self, name: str) -> bytes:
        """Reads a whole object."""
        try:
            return self._ahead.get(name)
        except FileNotFoundError as error:
            raise BadImageError("the object was removed after it was listed") from error

    def _fetch(self, name: str) -> bytes:
        found = self._objects[name]
        check_bytes(found.size)
        if not found.size:
            return b""
        # A range is one request; for a whole object, s3fs asks for its size first.
        read = self._access.waiting(lambda: found.path.read_range(0, found.size))
        return self._cache.get(_key(found), read)


class BucketRanges:
    """An object of which parts are read.

    Args:
        path: The object.
        cache: Keeps what was read.

    Raises:
        FileNotFoundError: There is no such object.

    Attributes:
        size: Its bytes.
    """

    def __init__(self, path: BucketPath, *, cache: FileCache) -> None:
        self.origin = str(path)
        self._cache = cache
        self._access = _Access()
        self._object = path.file()
        self.size = self._object.size
        self._ahead = ReadAhead(self._fetch)

    def open(self) -> IO[bytes]:
        """Opens the object; what is read of it is fetched in large parts."""
        return io.BufferedReader(_Positioned(self), buffer_size=_INDEX_BYTES)

    def expect(self, spans: Iterable[Span]) -> None:
        """Begins to fetch parts that will soon be read."""
        self._ahead.expect(spans)

    def read(self, span: Span) -> bytes:
        """Reads a part."""
        return self._ahead.get(span)

    def _fetch(self, span: Span) -> bytes:
        end = min(span.start + span.length, self.size)
        if end <= span.start:
            return b""
        key = f"{_key(self._object)} {span.start} {end}"
        read = self._access.waiting(lambda: self._object.path.read_range(span.start, end))
        return self._cache.get(key, read)


class _Positioned(io.RawIOBase):
    """A file with a position, as libraries want one, over parts of an object."""

    def __init__(self, ranges: BucketRanges) -> None:
        self._ranges = ranges
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ranges.size}
        self._position = max(starts[whence] + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        content = self._ranges.read(Span(self._position, len(buffer)))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


class _Access:
    """Waits for credentials that expired: those of its start may not last as long as a run."""

    def __init__(self) -> None:
        self._was_granted = False
        self._is_waiting = False

    def waiting(self, read: Callable[[], bytes]) -> Callable[[], bytes]:
        """Returns a function that reads, and waits if credentials are refused that were not before.

        After `ACCESS_PATIENCE` seconds, it raises the AccessError.
        """

        def call() -> bytes:
            give_up = time.monotonic() + ACCESS_PATIENCE
            while True:
                try:
                    content = read()
                except AccessError as error:
                    if not self._was_granted or time.monotonic() > give_up:
                        raise
                    if not self._is_waiting:
                        _logger.warning("%s; waiting for them", error)
                    self._is_waiting = True
                    time.sleep(_PAUSE)
                else:
                    self._was_granted, self._is_waiting = True, False
                    return content

        return call


def _key(found: BucketFile) -> str:
    """Names a content: an object that is written again has another tag."""
    return f"{found.path} {found.tag}"
