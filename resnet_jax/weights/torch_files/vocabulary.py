"""The names that a pickle of PyTorch may use, and what each stands for.

They are the names that `torch.load(weights_only=True)` accepts, and `argparse.Namespace`, which
timm's training script saves.
"""

import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

_STORAGES = {
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
# A storage of bytes; the tensor says what they are.
_UNTYPED = "uint8"
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

DTYPES = frozenset(_STORAGES.values())


class Storage(NamedTuple):
    """A run of numbers, which the file holds outside the pickle."""

    key: str
    dtype: str
    size: int


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
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    negated: bool = False
    conjugated: bool = False


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
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    _requires_grad: Any = None,
    _hooks: Any = None,
    metadata: Any = None,
) -> TensorView:
    marks = metadata if isinstance(metadata, dict) else {}
    return TensorView(
        storage, storage.dtype, offset, shape, strides, "neg" in marks, "conj" in marks
    )


def _tensor_of_dtype(
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: Any,
    hooks: Any,
    dtype: str,
    metadata: Any = None,
) -> TensorView:
    view = _tensor(storage, offset, shape, strides, requires_grad, hooks, metadata)
    name = dtype.removeprefix("torch.")
    if name not in _DTYPES:
        raise pickle.UnpicklingError("a tensor of something that is not a dtype")
    return view._replace(dtype=name)


def _first(value: Any, *_: Any) -> Any:
    return value


def _of_type(maker: Maker, _type: Any, arguments: Iterable[Any], _state: Any) -> Any:
    """A tensor with attributes, or of a class of its own."""
    return called(maker, arguments)


def _device(kind: str, index: int | None = None) -> str:
    return kind if index is None else f"{kind}:{index}"


def _bytes(content: bytes = b"") -> bytes:
    if not isinstance(content, bytes):
        raise pickle.UnpicklingError("a bytearray of something else than bytes")
    return content


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, which older pickles hold as text; another encoding might import a module."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("bytes in another encoding than latin1")
    return text.encode("latin-1")


def _skipping(name: str) -> Maker:
    return Maker(lambda *_: Skipped(name))


def called(maker: Any, arguments: Iterable[Any]) -> Any:
    """Makes a value from its arguments in the pickle.

    Raises:
        pickle.UnpicklingError: The pickle calls something that is not a name of the table.
    """
    if not isinstance(maker, Maker):
        raise pickle.UnpicklingError("a call of something that cannot be called")
    return maker.make(*arguments)


VOCABULARY: Mapping[tuple[str, str], Any] = {
    ("_codecs", "encode"): Maker(_encoded),
    ("argparse", "Namespace"): _skipping("argparse.Namespace"),
    ("builtins", "bytearray"): Maker(_bytes),
    ("builtins", "complex"): Maker(complex),
    ("builtins", "set"): Maker(set),
    ("collections", "Counter"): Maker(dict),
    ("collections", "OrderedDict"): Maker(dict),
    ("torch", "Size"): Maker(lambda sizes=(): tuple(sizes)),
    ("torch", "Tensor"): "torch.Tensor",
    ("torch", "device"): Maker(_device),
    ("torch._tensor", "_rebuild_from_type_v2"): Maker(_of_type),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): Maker(_first),
    ("torch._utils", "_rebuild_parameter"): Maker(_first),
    ("torch._utils", "_rebuild_parameter_with_state"): Maker(_first),
    ("torch._utils", "_rebuild_tensor"): Maker(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Maker(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): Maker(_tensor_of_dtype),
    ("torch.nn.parameter", "Parameter"): Maker(_first),
    ("torch.serialization", "_get_layout"): Maker(_first),
    ("torch.storage", "UntypedStorage"): _UNTYPED,
    **{("torch._utils", name): _skipping(f"torch._utils.{name}") for name in _OTHER_TENSORS},
    **{("torch", name): f"torch.{name}" for name in (*_DTYPES, *_SCHEMES)},
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
}
