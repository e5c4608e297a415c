"""Files in a zip archive, read at random by any thread or process."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from resnet_jax.buckets import AccessError, BucketError
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.sources.files.folder import check_bytes
from resnet_jax.data.sources.files.ranges import Ranges, Span
from resnet_jax.errors import ConfigError

_STORED, _DEFLATED = 0, 8
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_HEADER_BYTES = _LOCAL_HEADER.size + 512  # with a name and what programs add to it
_ENCRYPTED = 0x1


class _Member(NamedTuple):
    """An entry of the archive's index."""

    offset: int
    packed_size: int
    size: int
    checksum: int
    method: int

    @property
    def span(self) -> Span:
        """Where its header and its data lie, if the header is not unusually long."""
        return Span(self.offset, _HEADER_BYTES + self.packed_size)


class ZipFiles:
    """The files of a zip archive.

    Reading goes past the `zipfile` module, whose archive has one position and one lock, so that
    threads do not wait for each other.

    Args:
        open_archive: Opens the archive.
        origin: Its path.

    Raises:
        ConfigError: There is no such archive, or it is damaged.
    """

    def __init__(self, open_archive: Callable[[], Ranges], *, origin: str) -> None:
        self.origin = origin
        try:
            self._archive = open_archive()
            with self._archive.open() as file, zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except AccessError:
            raise
        except (OSError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"data.name='zip:{origin}': the archive cannot be read ({reason}); give the path "
                "of a whole zip file"
            ) from error
        self._members = {
            _slashed(member.filename): _Member(
                member.header_offset,
                member.compress_size,
                member.file_size,
                member.CRC,
                -1 if member.flag_bits & _ENCRYPTED else member.compress_type,
            )
            for member in members
            if _slashed(member.filename)
        }

    def names(self) -> list[str]:
        """Lists the files, and folders with a `/` at the end."""
        return list(self._members)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._members

    def expect(self, names: Iterable[str]) -> None:
        """Begins to fetch files that will soon be read, where that takes time."""
        self._archive.expect(self._members[name].span for name in names)

    def read(self, name: str) -> bytes:
        """Reads and unpacks a whole file."""
        member = self._members[name]
        if member.method not in (_STORED, _DEFLATED):
            kind = "encrypted" if member.method == -1 else f"packed by method {member.method}"
            raise BadImageError(f"the file is {kind}; pack the archive again with plain zip")
        check_bytes(max(member.size, member.packed_size))
        try:
            data = self._packed(member)
            if member.method == _DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except BucketError:
            raise
        except (OSError, struct.error, zlib.error) as error:
            raise BadImageError(f"the archive is damaged here: {error}") from error
        if len(data) != member.size or zlib.crc32(data) != member.checksum:
            raise BadImageError("the archive is damaged here: the checksum does not fit")
        return data

    def _packed(self, member: _Member) -> bytes:
        content = self._archive.read(member.span)
        header = _LOCAL_HEADER.unpack(content[: _LOCAL_HEADER.size])
        start = _LOCAL_HEADER.size + header[-2] + header[-1]
        if start > _HEADER_BYTES:
            return self._archive.read(Span(member.offset + start, member.packed_size))
        return content[start : start + member.packed_size]


def _slashed(name: str) -> str:
    r"""Writes the name of an entry as a path: some programs write `./a/b.png` or `a\b.png`."""
    parts = name.replace("\\", "/").split("/")
    path = "/".join(part for part in parts if part not in ("", "."))
    return path + "/" if path and not parts[-1] else path
