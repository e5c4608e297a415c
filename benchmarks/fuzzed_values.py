"""Reads a weights file with this library or with PyTorch, and sums its values up in one text."""

from __future__ import annotations

import hashlib
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Reader = Callable[[pathlib.Path, str], str]


def read_ours() -> Reader:
    """Returns the reader of this library."""
    from benchmarks.fuzzed_files import CONFIG
    from resnet_jax import create_model, load, load_torch
    from resnet_jax.weights import WeightsError, read_record
    from resnet_jax.weights.files import read_state_dict
    from resnet_jax.weights.leaves import skeleton

    network = skeleton(CONFIG)

    def read(path: pathlib.Path, kind: str) -> str:
        if kind == "own":
            load(path, features_only=read_record(path).out_indices is not None)
            read_record(path).inputs()
            return ""
        values = read_state_dict(path)
        text = Digest().of(values)
        try:  # values all the same, if they are those of another network
            load_torch(network, values)
            create_model(CONFIG, pretrained=path)
        except WeightsError:
            pass
        return text

    return read


def read_pytorch() -> Reader:
    """Returns the reader of PyTorch."""
    import safetensors.torch
    import torch

    warnings.simplefilter("ignore")

    def read(path: pathlib.Path, kind: str) -> str:
        if kind == "own":
            raise ValueError("ours alone")
        if kind == "safetensors":
            return Digest().of(safetensors.torch.load_file(path))
        return Digest().of(torch.load(path, map_location="cpu", weights_only=True))

    return read


class Digest:
    """Sums nested values up; what both readers have in common and nothing else.

    Shared containers are summed up once, so that those of a pickle bomb take no time.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, Any]] = {}

    def of(self, value: Any) -> str:
        """Returns the digest of a value."""
        if id(value) not in self._known:
            self._known[id(value)] = "cycle", value
            text = self._text(value)
            self._known[id(value)] = (
                hashlib.sha1(text.encode("utf-8", "replace")).hexdigest(),
                value,
            )
        return self._known[id(value)][0]

    def _text(self, value: Any) -> str:
        name = type(value).__name__
        if hasattr(value, "detach"):
            return array_text(as_array(value))
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            return array_text(as_stored(value))
        if isinstance(value, dict):
            items = (f"{self._text(key)}:{self.of(inner)}," for key, inner in value.items())
            return "dict" + "".join(sorted(items))  # safetensors keeps no order
        if name in ("Skipped", "Storage", "TypedStorage"):
            return "skipped"
        if name == "Maker" or callable(value):  # what a pickle names and does not call
            return "name"
        if isinstance(value, list | tuple):
            kind = "list" if isinstance(value, list) else "tuple"
            return kind + "".join(f"{self.of(inner)}," for inner in value)
        if isinstance(value, set):
            return f"set{sorted(map(repr, value))}"
        if isinstance(value, bytes | bytearray):
            return repr(bytes(value))
        plain = value is None or isinstance(value, bool | int | float | complex | str)
        return repr(value) if plain else repr(str(value))


def array_text(array: np.ndarray | None) -> str:
    """Returns shape and values, in the widest dtype; "skipped" for what NumPy has not."""
    if array is None:
        return "skipped"
    if not array.size:
        return f"{array.shape}"
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag]).astype(np.float64)
    elif array.dtype.kind not in "biu":
        array = array.astype(np.float64)
    else:
        array = array.astype(bool) if array.dtype == bool else array.astype(np.int64)
    array = np.where(np.isnan(array), np.nan, array) if array.dtype.kind == "f" else array
    return f"{array.shape}{array.tobytes()!r}"


def as_stored(value: Any) -> np.ndarray | None:
    """Returns an array of ours; None for the numbers that safetensors has and NumPy has not."""
    return None if value.dtype.kind == "V" and value.dtype.name.startswith("void") else _own(value)


def _own(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.view(np.uint8).astype(bool) if array.dtype == bool else array


def as_array(tensor: Any) -> np.ndarray | None:
    """Returns the values of a tensor, or None for those of other kinds than NumPy's arrays."""
    import torch

    tensor = tensor.detach()
    if tensor.is_sparse or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        return None
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.dtype.is_complex:
        return None if tensor.dtype == torch.complex32 else tensor.numpy()
    if tensor.dtype.is_floating_point:
        try:
            return tensor.to(torch.float64).numpy()
        except (RuntimeError, NotImplementedError):
            return None
    try:
        array = tensor.numpy()
    except TypeError:
        return None
    return array.view(np.uint8).astype(bool) if array.dtype == bool else array
