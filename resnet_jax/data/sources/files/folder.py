"""Files in a folder: listed once, read at random by any thread or process."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.bounds import MAX_BYTES
from resnet_jax.errors import ConfigError


class Files(Protocol):
    """Named files; `origin` says in messages where they lie."""

    origin: str

    def names(self) -> list[str]:
        """Lists the files as paths with `/`, relative to the origin, and empty folders with `/`."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        ...

    def expect(self, names: Iterable[str]) -> None:
        """Begins to fetch files that will soon be read, where that takes time."""

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

    def __init__(self, path: Path) -> None:
        self._root = path
        self.origin = str(path)
        if not self._root.is_dir():
            kinds = {".zip": "zip", ".csv": "csv", ".tsv": "csv"}
            kind = kinds.get(self._root.suffix.lower())
            hint = f"; write {kind}:{path}" if kind else ""
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

    def has(self, name: str) -> bool:
        """Whether there is a file of this name, which may lead out of the folder."""
        return os.path.isfile(self._root / name)  # noqa: PTH113  # is_file raises on odd names

    def expect(self, names: Iterable[str]) -> None:
        """Does nothing: files on this machine are read at once."""

    def read(self, name: str) -> bytes:
        """Reads a whole file."""
        path = self._root / name
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
                raise BadImageError("it is no regular file")
            check_bytes(status.st_size)
            return path.read_bytes()
        except OSError as error:
            raise BadImageError(f"the file cannot be read: {error.strerror}") from error


def check_bytes(size: int) -> None:
    """Refuses a file that is too large for an image."""
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
