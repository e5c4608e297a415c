"""Converts the arrays of state dicts between PyTorch's layout and ours, as NumPy arrays."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ArrayInFile:
    """An array that is read when NumPy asks for it, each time anew.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        read: Returns it.
    """

    shape: Shape
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Reads the array; NumPy calls this. What is read is a copy already."""
        del copy
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)


def is_floats(value: Any) -> bool:
    """Whether a value is an array or a tensor of floats; reads no file."""
    if isinstance(value, ArrayInFile):
        return _of_floats(value.dtype)
    return as_numpy(value) is not None


def _of_floats(dtype: np.dtype[Any]) -> bool:
    # The kind of bfloat16 is V, since it is not one of NumPy's own types.
    return dtype.kind == "f" or dtype.name == "bfloat16"


def as_numpy(value: Any) -> np.ndarray | None:
    """Converts a PyTorch tensor, a JAX array or a NumPy array to a NumPy array.

    PyTorch itself is never imported. Returns None for anything but an array of floats.
    """
    if hasattr(value, "detach"):
        value = _tensor_as_numpy(value)
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return None
    array = np.asarray(value)
    return array if _of_floats(array.dtype) else None


def _tensor_as_numpy(tensor: Any) -> np.ndarray | None:
    """Converts a PyTorch tensor; None if NumPy has none of its kind, such as sparse ones."""
    try:
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none; float32 holds it exactly
            tensor = tensor.float()
        return tensor.numpy()
    except (TypeError, RuntimeError):
        return None


def torch_shape(leaf: str, shape: Shape) -> Shape:
    """Returns the shape that a parameter of ours has in PyTorch."""
    return (shape[-1], shape[-2], *shape[:-2]) if leaf == "kernel" else shape


def to_torch_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """Transposes [*spatial, in, out] kernels to [out, in, *spatial]; returns others unchanged."""
    if leaf != "kernel":
        return array
    order = (array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))
    return np.ascontiguousarray(array.transpose(order))


def from_torch_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """Returns a [out, in, *spatial] kernel as a view [*spatial, in, out], and others unchanged."""
    if leaf != "kernel":
        return array
    return array.transpose((*range(2, array.ndim), 1, 0))


def same_matrix(a: Shape, b: Shape) -> bool:
    """Whether two PyTorch shapes are equal, or are a matrix and the same as a 1x1 convolution."""
    return a == b or (len(a) > 1 and len(b) > 1 and _matrix(a) == _matrix(b))


def _matrix(shape: Shape) -> Shape:
    return shape[:2] if math.prod(shape[2:]) == 1 else shape


def adapt_input(array: np.ndarray, in_features: int) -> np.ndarray:
    """Adapts a first convolution to another number of image channels, as timm does.

    One channel gets the sum over the old ones, so a grey image gives the same result as before.
    More channels repeat the old ones in turn, scaled so that their sum keeps its size.

    Args:
        array: [out, in, height, width].
        in_features: The new number of channels.

    Returns:
        [out, in_features, height, width], float32 or wider.
    """
    old = array.shape[1]
    array = array.astype(np.promote_types(np.float32, array.dtype))
    if in_features == 1:
        return array.sum(axis=1, keepdims=True)
    repeated = np.tile(array, (1, -(-in_features // old), 1, 1))[:, :in_features]
    return repeated * np.asarray(old / in_features, repeated.dtype)
