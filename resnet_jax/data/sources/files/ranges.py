"""Parts of one large file, on this machine or in a bucket."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple, Protocol


class Span(NamedTuple):
    """The bytes from `start` on; fewer where the file ends."""

    start: int
    length: int


class Ranges(Protocol):
    """A file of which parts are read, by any thread or process; `origin` names it in messages."""

    origin: str

    def open(self) -> IO[bytes]:
        """Opens the file to be read from its start."""
        ...

    def expect(self, spans: Iterable[Span]) -> None:
        """Begins to fetch parts that will soon be read, where that takes time."""

    def read(self, span: Span) -> bytes:
        """Reads a part."""
        ...


class LocalRanges:
    """A file on this machine.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.origin = str(path)

    def open(self) -> IO[bytes]:
        """Opens the file."""
        return self._path.open("rb")

    def expect(self, spans: Iterable[Span]) -> None:
        """Does nothing: a file on this machine is read at once."""

    def read(self, span: Span) -> bytes:
        """Reads a part, at no position of the file that threads would have to share."""
        return os.pread(self._descriptor, span.length, span.start)

    @functools.cached_property
    def _descriptor(self) -> int:
        return os.open(self._path, os.O_RDONLY)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_descriptor"}

    def __del__(self) -> None:
        descriptor = self.__dict__.pop("_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)
