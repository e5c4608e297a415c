"""The names that a pickle of PyTorch may use, and what each stands for.

They are the names that `torch.load(weights_only=True)` accepts, and `argparse.Namespace`, which
timm's training script saves.
"""

import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType, NoneType
from typing import Any, NamedTuple

import numpy as np

from resnet_jax.weights.torch_files.errors import UnsupportedError
from resnet_jax.weights.torch_files.tensors import BYTES, STORAGES, Storage, TensorView, numpy_dtype

_INTS = (*range(1, 9), 16, 32, 64)
_FLOAT8 = ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")
_DTYPES = (
    "bfloat16",
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in _INTS),
    *(f"float{bits}" for bits in (16, 32, 64, "4_e2m1fn_x2", *(f"8_{kind}" for kind in _FLOAT8))),
    *(f"complex{bits}" for bits in (32, 64, 128)),
    *(f"bits{bits}" for bits in ("1x8", "2x4", "4x2", 8, 16)),
    *("qint8", "qint32", "quint2x4", "quint4x2", "quint8"),
)
_SCHEMES = (
    "per_channel_affine",
    "per_channel_affine_float_qparams",
    "per_channel_symmetric",
    "per_tensor_affine",
    "per_tensor_symmetric",
)
# Tensors that are not a view of one array of numbers.
_OTHER_TENSORS = (
    "_rebuild_device_tensor_from_numpy",
    "_rebuild_meta_tensor_no_storage",
    "_rebuild_nested_tensor",
    "_rebuild_qtensor",
    "_rebuild_sparse_tensor",
    "_rebuild_wrapper_subclass",
)

# Whole numbers of more bits could be chosen to have the same hash.
_KEYS = (str, int, float, bool, bytes, NoneType)
_KEY_BITS = 60


class Skipped(NamedTuple):
    """Stands in place of a value that nothing here uses.

    Attributes:
        name: The class or function of the value.
    """

    name: str


class Maker(NamedTuple):
    """What a pickle calls instead of the class or function that it names.

    Attributes:
        make: Takes the arguments in the pickle.
    """

    make: Callable[..., Any]


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _requires_grad: Any = None,
    _hooks: Any = None,
    metadata: Any = None,
) -> TensorView:
    dtype = storage.dtype if isinstance(storage, Storage) else None
    return _view(storage, dtype, offset, shape, strides, metadata)


def _tensor_of_dtype(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _requires_grad: Any,
    _hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> TensorView | Skipped:
    name = dtype.removeprefix("torch.")
    if name not in _DTYPES:
        raise pickle.UnpicklingError("a tensor of something that is not a dtype")
    if numpy_dtype(name) is None:
        return Skipped(f"torch.{name}")
    return _view(storage, name, offset, shape, strides, metadata)


def _view(
    storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any, metadata: Any
) -> TensorView:
    """Checks what the pickle says of a tensor."""
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    marks = metadata or {}
    if type(marks) is not dict or not marks.keys() <= {"neg", "conj"}:
        raise UnsupportedError("it marks a tensor in an unknown way")
    # PyTorch asks for the marks and not for their values.
    axes = _sizes(shape), _sizes(strides)
    view = TensorView(storage, np.dtype(dtype), offset, *axes, "neg" in marks, "conj" in marks)
    if view.conjugated and view.dtype.kind != "c":
        raise pickle.UnpicklingError("the conjugates of real numbers")
    view.check()
    return view


def _sizes(sizes: Any = ()) -> tuple[int, ...]:
    if type(sizes) not in (list, tuple) or any(type(size) is not int for size in sizes):
        raise pickle.UnpicklingError("sizes that are not whole numbers")
    return tuple(sizes)


def _first(value: Any, *_: Any) -> Any:
    return value


def _on_device(tensor: Any, dtype: Any, _device: Any, _requires_grad: Any) -> TensorView:
    """A tensor of another device, which the file holds as one of the CPU."""
    if not isinstance(tensor, TensorView) or dtype != f"torch.{tensor.dtype.name}":
        raise UnsupportedError("it converts a tensor to another dtype")
    return tensor


def _of_type(maker: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    """A tensor with attributes, or of a class of its own."""
    if type(maker) is not Maker or maker.make is _of_type or type(arguments) is not tuple:
        raise pickle.UnpicklingError("a tensor that is made of something else")
    return maker.make(*arguments)


def _counter(counts: Any = MappingProxyType({})) -> dict[Any, Any]:
    if not isinstance(counts, dict | MappingProxyType):
        raise UnsupportedError("it counts something else than a dictionary does")
    return dict(counts)


def _ordered(items: Any = ()) -> dict[Any, Any]:
    """A dictionary, from one or from pairs; Python 2 wrote the latter."""
    if type(items) is dict:
        return dict(items)
    if type(items) not in (list, tuple) or any(type(pair) not in (list, tuple) for pair in items):
        raise pickle.UnpicklingError("a dictionary of something else than pairs")
    return {as_key(key): value for key, value in items}


def _set(items: Any = ()) -> set[Any]:
    if type(items) not in (list, tuple):
        raise pickle.UnpicklingError("a set of something that is not a list")
    return set(map(as_key, items))


def _complex(real: Any = 0, imaginary: Any = 0) -> complex:
    if any(type(part) not in (int, float) for part in (real, imaginary)):
        raise pickle.UnpicklingError("a complex number of something else than numbers")
    return complex(real, imaginary)


def _device(kind: Any, index: Any = None) -> str:
    if type(kind) is not str or type(index) not in (int, NoneType):
        raise pickle.UnpicklingError("a device without a name")
    return kind if index is None else f"{kind}:{index}"


def _bytes(content: Any = b"") -> bytes:
    if not isinstance(content, bytes):
        raise pickle.UnpicklingError("a bytearray of something else than bytes")
    return content


def _encoded(text: Any, encoding: Any) -> bytes:
    """Bytes, which older pickles hold as text; another encoding might import a module."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("bytes in another encoding than latin1")
    return text.encode("latin-1")


def as_key(value: Any) -> Any:
    """Returns a value that can be the key of a dictionary or the item of a set.

    Tuples cannot: those of tuples take forever to hash, or the whole stack.

    Raises:
        UnsupportedError: It is something else than a text, a number or None.
    """
    if type(value) not in _KEYS or (type(value) is int and value.bit_length() > _KEY_BITS):
        raise UnsupportedError(
            f"it has a key that is not a text, None or a number of at most {_KEY_BITS} bits"
        )
    return value


def _skipping(name: str) -> Maker:
    return Maker(lambda *_: Skipped(name))


VOCABULARY: Mapping[tuple[str, str], Any] = {
    ("_codecs", "encode"): Maker(_encoded),
    ("argparse", "Namespace"): _skipping("argparse.Namespace"),
    ("builtins", "bytearray"): Maker(_bytes),
    ("builtins", "complex"): Maker(_complex),
    ("builtins", "set"): Maker(_set),
    ("collections", "Counter"): Maker(_counter),
    ("collections", "OrderedDict"): Maker(_ordered),
    ("torch", "Size"): Maker(_sizes),
    ("torch", "Tensor"): "torch.Tensor",
    ("torch", "device"): Maker(_device),
    ("torch._tensor", "_rebuild_from_type_v2"): Maker(_of_type),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): Maker(_on_device),
    ("torch._utils", "_rebuild_parameter"): Maker(_first),
    ("torch._utils", "_rebuild_parameter_with_state"): Maker(_first),
    ("torch._utils", "_rebuild_tensor"): Maker(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Maker(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): Maker(_tensor_of_dtype),
    ("torch.nn.parameter", "Parameter"): Maker(_first),
    ("torch.serialization", "_get_layout"): Maker(_first),
    **{("torch._utils", name): _skipping(f"torch._utils.{name}") for name in _OTHER_TENSORS},
    **{("torch", name): f"torch.{name}" for name in (*_DTYPES, *_SCHEMES)},
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
    ("torch.storage", "UntypedStorage"): BYTES,
}
