"""Tensors as a pickle describes them: checked when they are described, and read at the end."""

import math
import pickle
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from resnet_jax.errors import shown
from resnet_jax.weights.torch_files.errors import UnsupportedError

Order = Literal["<", ">"]
_MOST_AXES = 64  # of NumPy and PyTorch
_LARGEST = 2**63 - 1
_WIDEST = 16  # bytes of the largest numbers that an array may become
_DEEPEST = 100


STORAGES = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "QInt32Storage": "int32",
    "QInt8Storage": "int8",
    "QUInt2x4Storage": "uint8",
    "QUInt4x2Storage": "uint8",
    "QUInt8Storage": "uint8",
    "ShortStorage": "int16",
}
# A storage whose numbers the tensors name.
BYTES = "uint8"
STORED = frozenset(STORAGES.values())


class Storage(NamedTuple):
    """A run of numbers, which the file holds outside the pickle.

    Attributes:
        key: Its name in the file.
        dtype: The numbers.
        size: How many they are.
    """

    key: str
    dtype: str
    size: int

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.size * np.dtype(self.dtype).itemsize


class TensorView(NamedTuple):
    """A view of a storage.

    Attributes:
        storage: The numbers.
        dtype: What the view takes them for.
        offset: The place of the first one, in numbers of this dtype.
        shape: The shape.
        strides: The distance of neighbours along each axis.
        negated: Whether the values are the numbers with the other sign.
        conjugated: Whether the values are the conjugates of the numbers.
    """

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    negated: bool = False
    conjugated: bool = False

    @property
    def nbytes(self) -> int:
        """The size of its values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self) -> None:
        """Checks that the tensor lies within its storage and has each number once.

        A tensor that repeats its numbers, as those of `expand` do, may be of any size.

        Raises:
            UnsupportedError: It repeats or interleaves its numbers.
            pickle.UnpicklingError: It reaches beyond its storage, or is no tensor.
        """
        _check_places(self.offset, *self.shape, *self.strides)
        if len(self.shape) != len(self.strides) or len(self.shape) > _MOST_AXES:
            raise pickle.UnpicklingError("a tensor of too many axes")
        if math.prod(filter(None, self.shape)) * _WIDEST > _LARGEST:
            raise pickle.UnpicklingError("a tensor larger than any memory")
        if 0 in self.shape:
            return
        reach = 0
        for step, size in sorted(zip(self.strides, self.shape, strict=True)):
            if size > 1 and step <= reach:
                raise UnsupportedError(
                    f"it has a tensor of shape {shown(list(self.shape))} and strides "
                    f"{shown(list(self.strides))}, whose numbers share memory",
                    "in PyTorch, save its tensor.contiguous()",
                )
            reach += (size - 1) * step
        if (self.offset + reach + 1) * self.dtype.itemsize > self.storage.nbytes:
            raise pickle.UnpicklingError("a tensor that reaches beyond its data")


def _check_places(*numbers: Any) -> None:
    if any(type(number) is not int or not 0 <= number <= _LARGEST for number in numbers):
        raise pickle.UnpicklingError("a size that is not a whole number")


def as_storage(described: Any) -> Storage:
    """Returns the storage that the persistent id of a pickle describes.

    Raises:
        pickle.UnpicklingError: It is of another kind.
    """
    kind, dtype, key, _, size, *view = described
    texts = all(type(text) is str for text in (kind, dtype, key))
    if not texts or kind != "storage" or dtype not in STORED or view not in ([], [None]):
        raise pickle.UnpicklingError("an unknown kind of storage")
    _check_places(size)
    return Storage(key, dtype, size)


class ArrayReader:
    """Makes the arrays of tensors.

    Args:
        data: The bytes of each storage.
        order: The order of the bytes in a number.
    """

    def __init__(self, data: Mapping[str, bytes], order: Order) -> None:
        self._data = data
        self._order: Order = order
        self._copied = sum(map(len, data.values()))  # bytes that may be copied
        # What was done, by identity; the original is kept, so that its identity stays its own.
        self._done: dict[int, tuple[Any, Any]] = {}

    def replace(self, value: Any, depth: int = 0) -> Any:
        """Replaces the tensors in containers by arrays; shared objects stay shared.

        Raises:
            UnsupportedError: The containers are nested too deeply.
        """
        if type(value) not in (TensorView, dict, list, tuple):
            return value
        if id(value) in self._done:
            return self._done[id(value)][1]
        if depth > _DEEPEST:
            raise UnsupportedError(f"its objects are nested more than {_DEEPEST} deep")
        if type(value) is tuple:
            new: Any = tuple(self.replace(inner, depth + 1) for inner in value)
        else:
            new = self._array(value) if type(value) is TensorView else value
        self._done[id(value)] = (value, new)
        if type(value) in (dict, list):
            places = value.items() if type(value) is dict else enumerate(value)
            for place, inner in list(places):
                value[place] = self.replace(inner, depth + 1)
        return new

    def _array(self, view: TensorView) -> np.ndarray:
        dtype = view.dtype.newbyteorder(self._order)
        if 0 in view.shape:
            return np.zeros(view.shape, dtype)
        content = self._data[view.storage.key]
        numbers = np.frombuffer(content, dtype, len(content) // dtype.itemsize)
        steps = [step * dtype.itemsize for step in view.strides]
        start = numbers[view.offset :]
        array = np.lib.stride_tricks.as_strided(start, view.shape, steps, writeable=False)
        if view.negated or view.conjugated:
            self._copied -= view.nbytes
            if self._copied < 0:
                raise UnsupportedError("it negates the same numbers again and again")
        array = np.conjugate(array) if view.conjugated else array
        return np.negative(array) if view.negated else array


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """Returns the dtype of a name, or None if NumPy has no views of such numbers."""
    try:
        dtype = np.dtype(name)
    except TypeError:
        return None
    known = dtype.kind in "biufc" or name == "bfloat16" or name.startswith("float8")
    return dtype if known else None
