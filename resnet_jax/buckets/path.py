"""A path in a bucket, with the methods of `pathlib.Path`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import io
import pathlib
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from resnet_jax.buckets.requests import ask
from resnet_jax.errors import ConfigError, shown

EXTRAS = {"gs": "gcs", "s3": "s3"}
"""The schemes of buckets, each with the extra of this package that reaches them."""

_LARGE = 50 * 2**20
_LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class BucketFile:
    """An object as a listing describes it.

    Attributes:
        path: Its path.
        size: In bytes.
        tag: Changes whenever the object is written: its generation or ETag.
    """

    path: BucketPath
    size: int
    tag: str


@functools.total_ordering
@dataclasses.dataclass(frozen=True, repr=False)
class BucketPath:
    """A path in a bucket, with the methods of `pathlib.Path` that a bucket can offer.

    Folders exist only as beginnings of the names of objects, so `mkdir` does nothing. An object is
    replaced whole: readers see the old one or the new one.

    Attributes:
        scheme: `gs` or `s3`.
        bucket: The name of the bucket.
        key: The name of the object within it, without a slash at either end.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> BucketPath:
        """Reads an address such as `gs://bucket/run`; makes no request.

        Raises:
            ConfigError: It names no bucket, or the extra that reaches the bucket is missing.
        """
        scheme, _, rest = text.partition(":")
        scheme = scheme.lower()
        bucket, _, key = rest.lstrip("/").partition("/")
        address = shown(f"{scheme}://{bucket}/{key}".rstrip("/"))
        parts = [part for part in key.split("/") if part not in ("", ".")]
        if not _BUCKET.fullmatch(bucket) or ".." in parts or rest.startswith("///"):
            raise ConfigError(f"{address} is not a path in a bucket; write {scheme}://BUCKET/PATH")
        if importlib.util.find_spec(_LIBRARIES[scheme]) is None:
            raise ConfigError(
                f"{address}: {scheme}:// needs an extra: pip install 'resnet-jax[{EXTRAS[scheme]}]'"
            )
        return cls(scheme, bucket, "/".join(parts))

    def __str__(self) -> str:
        return f"{self.scheme}://{self._name}"

    def __repr__(self) -> str:
        return f"BucketPath({str(self)!r})"

    def __lt__(self, other: BucketPath) -> bool:
        return str(self) < str(other)

    def __truediv__(self, part: str | pathlib.PurePath) -> BucketPath:
        joined = pathlib.PurePosixPath(self.key, str(part).lstrip("/"))
        return dataclasses.replace(self, key="" if str(joined) == "." else str(joined))

    @property
    def _pure(self) -> pathlib.PurePosixPath:
        return pathlib.PurePosixPath(self.key)

    @property
    def _name(self) -> str:
        return f"{self.bucket}/{self.key}".rstrip("/")

    @property
    def parts(self) -> tuple[str, ...]:
        """The scheme with the bucket, and the parts of the name of the object."""
        return (f"{self.scheme}://{self.bucket}", *self._pure.parts)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """What follows the last dot of the last part, with the dot."""
        return self._pure.suffix

    @property
    def parent(self) -> BucketPath:
        """The folder that the path lies in; the bucket's is the bucket."""
        key = str(self._pure.parent)
        return dataclasses.replace(self, key="" if key == "." else key)

    def with_name(self, name: str) -> BucketPath:
        """Replaces the last part."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> BucketPath:
        """Replaces the suffix of the last part."""
        return dataclasses.replace(self, key=str(self._pure.with_suffix(suffix)))

    def relative_to(self, folder: BucketPath) -> pathlib.PurePosixPath:
        """Returns the rest of the path below a folder.

        Raises:
            ValueError: It does not lie below the folder.
        """
        if (self.scheme, self.bucket) != (folder.scheme, folder.bucket):
            raise ValueError(f"{self} is not below {folder}")
        return self._pure.relative_to(folder._pure)

    def as_posix(self) -> str:
        """Returns the address."""
        return str(self)

    def absolute(self) -> BucketPath:
        """Returns the path itself."""
        return self

    def resolve(self) -> BucketPath:
        """Returns the path itself."""
        return self

    def exists(self) -> bool:
        """Whether there is an object, or anything below the path; two requests at most."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Whether there is an object of this name; two requests at most."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Whether there is anything below the path; two requests at most."""
        return self._kind() == "directory"

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: a bucket has no folders."""

    def read_bytes(self) -> bytes:
        """Reads the object in one request.

        Raises:
            FileNotFoundError: It does not exist.
        """
        return bytes(self._ask(lambda system: system.cat_file(self._name)))

    def read_range(self, start: int, end: int) -> bytes:
        """Reads the bytes from `start` up to `end`, in one request."""
        return bytes(self._ask(lambda system: system.cat_file(self._name, start=start, end=end)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Reads the object as text, in one request."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> BinaryIO:
        """Reads the object whole, in one request, as a file in memory.

        Raises:
            ValueError: Another mode than `rb`: objects are written whole.
        """
        if mode != "rb":
            raise ValueError(f"{self}: objects are written whole; mode {mode!r} cannot be had")
        return io.BytesIO(self.read_bytes())

    def file(self) -> BucketFile:
        """Describes the object, in one or two requests.

        Raises:
            FileNotFoundError: It does not exist.
        """
        found = self._ask(lambda system: system.info(self._name))
        if found["type"] != "file":
            raise FileNotFoundError(f"{self} is not a file")
        return self._described(found)

    def files(self) -> list[BucketFile]:
        """Lists all objects below the path, in the order of their names.

        One request per thousand objects; a second one if there are none.
        """
        prefix = f"{self._name}/"
        try:
            found = self._ask(lambda system: system.find(prefix, detail=True))
        except FileNotFoundError:
            return []
        below = [found[name] for name in sorted(found) if name.startswith(prefix)]
        # Consoles mark an empty folder with an object whose name ends in a slash.
        return [self._described(info) for info in below if not info["name"].endswith("/")]

    def iterdir(self) -> Iterator[BucketPath]:
        """Lists what lies directly below the path; one request per thousand.

        Raises:
            FileNotFoundError: There is nothing.
        """
        listed = self._ask(lambda system: system.ls(self._name, detail=False))
        names = {name.rstrip("/") for name in listed} - {self._name}
        yield from (self._at(name) for name in sorted(names))

    def write_bytes(self, content: bytes) -> None:
        """Writes the object, in one request, or one per 50 MB of a large one."""
        self._ask(lambda system: system.pipe_file(self._name, content), writing=True)

    def write_text(self, text: str) -> None:
        """Writes the object as text in UTF-8."""
        self.write_bytes(text.encode())

    def create(self, content: bytes) -> None:
        """Writes the object, unless it exists; one request. Of several writers, one succeeds.

        Raises:
            FileExistsError: It exists with another content. An object of the same content passes:
                it is what an earlier try wrote, whose answer was lost. So let writers' contents
                differ.
        """
        try:
            self._ask(
                lambda system: system.pipe_file(self._name, content, mode="create"), writing=True
            )
        except FileExistsError:
            if self.read_bytes() != content:
                raise

    def download(self, target: pathlib.Path) -> None:
        """Copies the object to a local file, whole or not at all; one or two requests.

        Args:
            target: Replaced if it exists; its folder has to exist.

        Raises:
            FileNotFoundError: There is no such object.
        """
        unfinished = target.with_name(f".{target.name.lstrip('.')}-{uuid.uuid4().hex}")
        try:
            self._ask(lambda system: system.get_file(self._name, str(unfinished)))
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def upload(self, source: pathlib.Path) -> None:
        """Copies a local file into the object, in one request, or one per 50 MB of a large one.

        A file of less than 50 MB may grow meanwhile: then its beginning is copied.
        """
        if source.stat().st_size < _LARGE:
            self.write_bytes(source.read_bytes())
            return
        self._ask(lambda system: system.put_file(str(source), self._name), writing=True)

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the object, in one request."""
        with contextlib.suppress(*((FileNotFoundError,) if missing_ok else ())):
            self._ask(lambda system: system.rm_file(self._name))

    def _kind(self) -> str | None:
        try:
            found = self._ask(lambda system: system.info(self._name))
        except FileNotFoundError:
            return None
        return str(found["type"])

    def _at(self, name: str) -> BucketPath:
        return dataclasses.replace(self, key=name.partition("/")[2])

    def _described(self, info: dict[str, Any]) -> BucketFile:
        tag = str(info.get("generation") or info.get("ETag") or info.get("etag") or "")
        return BucketFile(self._at(info["name"]), int(info["size"]), tag.strip('"'))

    def _ask(self, action: Callable[[Any], T], *, writing: bool = False) -> T:
        return ask(self.scheme, str(self), action, writing=writing)


AnyPath = pathlib.Path | BucketPath
"""What a user's path becomes: on this machine, or in a bucket."""
