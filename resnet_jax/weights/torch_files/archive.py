"""The two formats of `torch.save`: a zip archive, and a row of pickles followed by the data."""

import io
import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import IO, Any

from resnet_jax.errors import shown
from resnet_jax.weights.torch_files.errors import (
    DamagedError,
    UnsafeGlobalError,
    UnsupportedError,
)
from resnet_jax.weights.torch_files.tensors import ArrayReader, Order
from resnet_jax.weights.torch_files.unpickle import TensorUnpickler
from resnet_jax.weights.torch_files.vocabulary import as_key

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80\x02"

_ORDERS: Mapping[bytes, Order] = {b"little": "<", b"big": ">"}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001


def read(path: str | os.PathLike[str]) -> Any:
    """Reads a file of `torch.save`, in the zip format or the older one.

    Returns:
        The saved object, in which NumPy arrays stand for tensors. Dtypes and devices
        are texts, and values that are not read are marked as `Skipped`.

    Raises:
        UnsafeGlobalError: The file asks for anything but tensors and containers.
        DamagedError: The file is truncated, damaged or of another format.
        UnsupportedError: The file says something that PyTorch rarely or never writes.
        OSError: The file cannot be opened.
    """
    with pathlib.Path(path).open("rb") as file:
        start = file.read(len(ZIP_MAGIC))
        file.seek(0)
        try:
            if start == ZIP_MAGIC:
                return _read_zip(file)
            if start.startswith(pickle.PROTO):
                return _read_legacy(file)
            raise pickle.UnpicklingError("neither format")
        except (UnsafeGlobalError, UnsupportedError):
            raise
        except Exception as error:  # a damaged pickle or archive may raise anything
            raise DamagedError from error


def _read_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = _Entries(archive, os.fstat(file.fileno()).st_size)
        order = _order(entries.read("byteorder")) if "byteorder" in entries else "<"
        unpickler = TensorUnpickler(io.BytesIO(entries.read("data.pkl")))
        saved = unpickler.load()
        wanted = {f"data/{key}": storage.nbytes for key, storage in unpickler.storages.items()}
        for name, size in wanted.items():
            if entries.size(name) != size:
                raise pickle.UnpicklingError("data of another size than its tensors")
        data = {key: entries.read(f"data/{key}") for key in unpickler.storages}
    return ArrayReader(data, order).replace(saved)


class _Entries:
    """The entries of an archive, by their names within its only folder.

    `torch.save` does not compress. Uncompressed entries are together no larger than the file, so
    that a small file takes little memory.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._left = size
        infos = archive.infolist()
        pickles = [info.filename for info in infos if info.filename.endswith("data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("a zip archive, but not of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        self._infos = {info.filename.removeprefix(folder): info for info in infos}
        # Other readers take the first of several, and do not tell capitals apart.
        if len({info.filename.lower() for info in infos}) < len(infos):
            raise UnsupportedError("it has two entries of the same name")

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def size(self, name: str) -> int:
        return self._infos[name].file_size

    def read(self, name: str) -> bytes:
        info = self._infos[name]
        if info.compress_type != zipfile.ZIP_STORED:
            raise UnsupportedError(
                f"its entry {shown(info.filename)} is compressed",
                "torch.save does not compress: unpack the file and save it again with torch.save",
            )
        self._left -= info.file_size
        if self._left < 0:
            raise UnsupportedError("its entries overlap")
        return self._archive.read(info)


def _order(mark: bytes) -> Order:
    if mark not in _ORDERS:
        raise UnsupportedError(
            f"it gives the order of its bytes as {mark[:20]!r}, neither b'little' nor b'big'"
        )
    return _ORDERS[mark]


def _read_legacy(file: IO[bytes]) -> Any:
    """Reads the pickles of a magic number, a version, the system, the object and the keys."""
    if not _is(TensorUnpickler(file).load(), _LEGACY_MAGIC):
        raise pickle.UnpicklingError("a pickle, but not of torch.save")
    if not _is(version := TensorUnpickler(file).load(), _LEGACY_VERSION):
        told = shown(version) if type(version) is int else f"a {type(version).__name__}"
        raise UnsupportedError(f"it has version {told} of the format, not {_LEGACY_VERSION}")
    TensorUnpickler(file).load()  # of the system; the data is little-endian on all
    unpickler = TensorUnpickler(file)
    saved = unpickler.load()
    data = {}
    for key in TensorUnpickler(file).load():
        storage = unpickler.storages[as_key(key)]
        (size,) = struct.unpack("<q", file.read(8))
        left = os.fstat(file.fileno()).st_size - file.tell()
        if size != storage.size or storage.nbytes > left:
            raise pickle.UnpicklingError("data of another size than its tensors")
        data[key] = file.read(storage.nbytes)
    return ArrayReader(data, "<").replace(saved)


def _is(value: Any, number: int) -> bool:
    return type(value) is int and value == number
