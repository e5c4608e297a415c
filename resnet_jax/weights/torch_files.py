"""Reads the files of `torch.save` without PyTorch.

`torch.load(weights_only=True)` does the same, but users of a JAX library rarely have PyTorch. It is
larger than all other dependencies of this library together, while the format of a state dict is
small and has been stable since 2017. PyTorch is not used even if it is installed, so that a file
reads the same everywhere.

A pickle is a program. This reader lets it name only the classes in `_GLOBALS`, and replaces each of
them by a plain description without methods; it refuses any other name before looking it up. Arrays
are made only after the pickle has ended, and are checked against the data.
"""

import collections
import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import IO, Any, Literal, NamedTuple

import numpy as np

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80\x02"

_Order = Literal["<", ">"]
_ORDERS: tuple[_Order, _Order] = (">", "<")
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
}


class UnsafeGlobalError(Exception):
    """The file asks for something that may run code."""


class DamagedError(Exception):
    """The file is truncated, damaged or of another format."""


class _Storage(NamedTuple):
    """A run of numbers, which the file holds outside the pickle."""

    key: str
    dtype: str
    size: int


class _Tensor(NamedTuple):
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


_GLOBALS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
}


class _Unpickler(pickle._Unpickler):
    """Rebuilds dictionaries of tensors, records their storages and refuses every other name.

    The unpickler in C allocates memory by the index of an entry: one wrong byte can take 64 GB.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise UnsafeGlobalError(f"{module}.{name}")
        return _GLOBALS[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *view = pid
        if kind != "storage" or dtype not in _STORAGES.values() or any(view):
            raise pickle.UnpicklingError("an unknown kind of storage")
        return self.storages.setdefault(key, _Storage(key, dtype, size))


def read(path: str | os.PathLike[str]) -> Any:
    """Reads a file of `torch.save`, in the zip format or the older one.

    Returns:
        The saved object; its dictionaries hold NumPy arrays instead of tensors.

    Raises:
        UnsafeGlobalError: The file asks for anything but tensors and containers.
        DamagedError: The file is truncated, damaged or of another format.
        OSError: The file cannot be opened.
    """
    with pathlib.Path(path).open("rb") as file:
        is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        file.seek(0)
        try:
            saved, data, order = _read_zip(file) if is_zip else _read_legacy(file)
            return _with_arrays(saved, data, order)
        except UnsafeGlobalError:
            raise
        except Exception as error:  # a damaged pickle or archive may raise anything
            raise DamagedError from error


def _read_zip(file: IO[bytes]) -> tuple[Any, dict[str, bytes], _Order]:
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("a zip archive, but not of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        order: _Order = "<"
        if f"{folder}byteorder" in archive.namelist():
            order = _ORDERS[archive.read(f"{folder}byteorder") == b"little"]
        with archive.open(pickles[0]) as stream:
            unpickler = _Unpickler(stream)
            saved = unpickler.load()
        data = {key: archive.read(f"{folder}data/{key}") for key in unpickler.storages}
    return saved, data, order


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, bytes], _Order]:
    """Reads the pickles of a magic number, a version, the system, the object and the keys."""
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise pickle.UnpicklingError("a pickle, but not of torch.save")
    _Unpickler(file).load()
    order = _ORDERS[bool(_Unpickler(file).load()["little_endian"])]
    unpickler = _Unpickler(file)
    saved = unpickler.load()
    data = {}
    for key in _Unpickler(file).load():
        (size,) = struct.unpack(f"{order}q", file.read(8))
        data[key] = file.read(size * np.dtype(unpickler.storages[key].dtype).itemsize)
    return saved, data, order


def _with_arrays(value: Any, data: Mapping[str, bytes], order: _Order) -> Any:
    """Replaces the tensors in nested dictionaries."""
    if isinstance(value, dict):
        return {key: _with_arrays(inner, data, order) for key, inner in value.items()}
    return _array(value, data, order) if isinstance(value, _Tensor) else value


def _array(tensor: _Tensor, data: Mapping[str, bytes], order: _Order) -> np.ndarray:
    storage, offset = tensor.storage, tensor.offset
    shape, strides = tuple(tensor.shape), tuple(tensor.strides)
    dtype = np.dtype(storage.dtype).newbyteorder(order)
    numbers = np.frombuffer(data[storage.key], dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= numbers.size):
        raise pickle.UnpicklingError("a tensor that reaches beyond its data")
    steps = [step * dtype.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)
