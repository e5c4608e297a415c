"""Files in a folder or in a zip archive: listed once, read at random by any thread or process."""

from __future__ import annotations

import functools
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.bounds import MAX_BYTES
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import local_path

_STORED, _DEFLATED = 0, 8
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1


class Files(Protocol):
    """Named files; `origin` says in messages where they lie."""

    origin: str

    def names(self) -> list[str]:
        """Lists the files as paths with `/`, relative to the origin, and empty folders with `/`."""
        ...

    def read(self, name: str) -> bytes:
        """Reads a whole file.

        Raises:
            BadImageError: It cannot be read.
        """
        ...


class FolderFiles:
    """The files below a folder.

    Args:
        path: The folder.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, path: str | Path) -> None:
        self._root = local_path(path)
        self.origin = str(self._root)
        if not self._root.is_dir():
            hint = f"; write zip:{path}" if self._root.suffix == ".zip" else ""
            raise ConfigError(f"data.name='folder:{path}': there is no such folder{hint}")

    def names(self) -> list[str]:
        """Lists the files, and empty folders with a `/` at the end."""
        found: list[str] = []
        walk = os.walk(self._root, onerror=_refuse_folder, followlinks=True)
        for folder, subfolders, files in walk:
            subfolders[:] = [name for name in subfolders if not _leads_back(Path(folder), name)]
            relative = os.path.relpath(folder, self._root)
            prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
            found.extend(prefix + name for name in files)
            if prefix and not files and not subfolders:
                found.append(prefix)
        return found

    def read(self, name: str) -> bytes:
        """Reads a whole file."""
        path = self._root / name
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
                raise BadImageError("it is no regular file")
            _check_bytes(status.st_size)
            return path.read_bytes()
        except OSError as error:
            raise BadImageError(f"the file cannot be read: {error.strerror}") from error


class ZipFiles:
    """The files of a zip archive.

    Reading goes past the `zipfile` module, whose archive has one position and one lock, so that
    threads do not wait for each other.

    Args:
        path: The archive.

    Raises:
        ConfigError: There is no such archive, or it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = local_path(path)
        self.origin = str(self._path)
        try:
            with zipfile.ZipFile(self._path) as archive:
                members = archive.infolist()
        except (OSError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"data.name='zip:{path}': the archive cannot be read ({reason}); give the path of "
                "a whole zip file"
            ) from error
        self._members = {
            _slashed(member.filename): (
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

    def read(self, name: str) -> bytes:
        """Reads and unpacks a whole file."""
        offset, packed_size, size, checksum, method = self._members[name]
        if method not in (_STORED, _DEFLATED):
            kind = "encrypted" if method == -1 else f"packed by method {method}"
            raise BadImageError(f"the file is {kind}; pack the archive again with plain zip")
        _check_bytes(max(size, packed_size))
        try:
            header = _LOCAL_HEADER.unpack(os.pread(self._descriptor, _LOCAL_HEADER.size, offset))
            start = offset + _LOCAL_HEADER.size + header[-2] + header[-1]
            data = os.pread(self._descriptor, packed_size, start)
            if method == _DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        except (OSError, struct.error, zlib.error) as error:
            raise BadImageError(f"the archive is damaged here: {error}") from error
        if len(data) != size or zlib.crc32(data) != checksum:
            raise BadImageError("the archive is damaged here: the checksum does not fit")
        return data

    @functools.cached_property
    def _descriptor(self) -> int:
        return os.open(self._path, os.O_RDONLY)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_descriptor"}

    def __del__(self) -> None:
        descriptor = self.__dict__.pop("_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)


def _slashed(name: str) -> str:
    r"""Writes the name of an entry as a path: some programs write `./a/b.png` or `a\b.png`."""
    parts = name.replace("\\", "/").split("/")
    path = "/".join(part for part in parts if part not in ("", "."))
    return path + "/" if path and not parts[-1] else path


def _check_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise BadImageError(f"the file has {size} bytes, the limit is {MAX_BYTES}")


def _refuse_folder(error: OSError) -> None:
    raise ConfigError(
        f"{error.filename}: the folder cannot be read: {error.strerror}; allow it, or move it"
    ) from error


def _leads_back(folder: Path, name: str) -> bool:
    """Tells a link to one of the folders around it, through which a walk would come round again."""
    path = folder / name
    return path.is_symlink() and folder.resolve().is_relative_to(path.resolve())
