"""The two formats of `torch.save`: a zip archive, and a row of pickles followed by the data."""

import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import IO, Any, Literal

import numpy as np

from resnet_jax.weights.torch_files.errors import (
    DamagedError,
    UnsafeGlobalError,
    UnsupportedError,
)
from resnet_jax.weights.torch_files.unpickle import TensorUnpickler
from resnet_jax.weights.torch_files.vocabulary import Skipped, TensorView

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80\x02"

_Order = Literal["<", ">"]
_ORDERS: Mapping[Any, _Order] = {b"little": "<", b"big": ">", True: "<", False: ">"}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001


def read(path: str | os.PathLike[str]) -> Any:
    """Reads a file of `torch.save`, in the zip format or the older one.

    Returns:
        The saved object; its dictionaries hold NumPy arrays instead of tensors. Dtypes and devices
        are texts, and values that are not read are marked as `Skipped`.

    Raises:
        UnsafeGlobalError: The file asks for anything but tensors and containers.
        DamagedError: The file is truncated, damaged or of another format.
        UnsupportedError: The file says something that PyTorch does not write.
        OSError: The file cannot be opened.
    """
    with pathlib.Path(path).open("rb") as file:
        is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        file.seek(0)
        try:
            saved, data, order = _read_zip(file) if is_zip else _read_legacy(file)
            return _with_arrays(saved, data, order, {})
        except (UnsafeGlobalError, UnsupportedError):
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
            order = _order(archive.read(f"{folder}byteorder"))
        with archive.open(pickles[0]) as stream:
            unpickler = TensorUnpickler(stream)
            saved = unpickler.load()
        data = {key: archive.read(f"{folder}data/{key}") for key in unpickler.storages}
    return saved, data, order


def _order(mark: Any) -> _Order:
    if mark not in _ORDERS:
        raise UnsupportedError(
            f"it gives the order of its bytes as {mark[:20]!r}, neither b'little' nor b'big'"
        )
    return _ORDERS[mark]


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, bytes], _Order]:
    """Reads the pickles of a magic number, a version, the system, the object and the keys."""
    if TensorUnpickler(file).load() != _LEGACY_MAGIC:
        raise pickle.UnpicklingError("a pickle, but not of torch.save")
    if (version := TensorUnpickler(file).load()) != _LEGACY_VERSION:
        raise UnsupportedError(f"it has version {version!r} of the format, not {_LEGACY_VERSION}")
    order = _order(TensorUnpickler(file).load()["little_endian"])
    unpickler = TensorUnpickler(file)
    saved = unpickler.load()
    data = {}
    for key in TensorUnpickler(file).load():
        (size,) = struct.unpack(f"{order}q", file.read(8))
        data[key] = file.read(size * np.dtype(unpickler.storages[key].dtype).itemsize)
    return saved, data, order


def _with_arrays(value: Any, data: Mapping[str, bytes], order: _Order, done: dict[int, Any]) -> Any:
    """Replaces the tensors in nested dictionaries; `done` holds those of before, by identity."""
    if isinstance(value, TensorView):
        return _array(value, data, order)
    if not isinstance(value, dict):
        return value
    if id(value) not in done:
        new: dict[Any, Any] = {}
        done[id(value)] = new
        new |= {key: _with_arrays(inner, data, order, done) for key, inner in value.items()}
    return done[id(value)]


def _array(view: TensorView, data: Mapping[str, bytes], order: _Order) -> np.ndarray | Skipped:
    offset, shape, strides = view.offset, tuple(view.shape), tuple(view.strides)
    dtype = _numpy_dtype(view.dtype)
    if dtype is None:
        return Skipped(f"torch.{view.dtype}")
    dtype = dtype.newbyteorder(order)
    content = data[view.storage.key]
    numbers = np.frombuffer(content, dtype, len(content) // dtype.itemsize)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= numbers.size):
        raise pickle.UnpicklingError("a tensor that reaches beyond its data")
    steps = [step * dtype.itemsize for step in strides]
    array = np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)
    array = np.conjugate(array) if view.conjugated else array
    return np.negative(array) if view.negated else array


def _numpy_dtype(name: str) -> np.dtype[Any] | None:
    """Returns the dtype of a name, or None if NumPy has no views of such numbers."""
    try:
        dtype = np.dtype(name)
    except TypeError:
        return None
    return dtype if dtype.kind in "biufcV" else None
