"""The error for weights that cannot be used, and its message."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from resnet_jax.errors import shown

_SHOWN = 4
_LONGEST = 160


class _Format(NamedTuple):
    """A format that holds no weights that can be read.

    Attributes:
        what: What a file of it is.
        suffixes: How such files are named.
        magic: How their content begins, from byte `at`; empty if nothing tells it.
        at: The place of `magic`.
        weights: Where the weights are that it was made from.
    """

    what: str
    suffixes: tuple[str, ...]
    magic: bytes = b""
    at: int = 0
    weights: str = "the run or the weights that it was made from"


_IN_NUMPY = "the same arrays under PyTorch's names in a .safetensors file"
_IN_PYTORCH = "model.state_dict() of that network, saved in PyTorch"
_FORMATS = (
    _Format("an ONNX model", (".onnx",)),
    _Format("a function of jax.export (StableHLO)", (".stablehlo", ".mlir", ".mlirbc"), b"ML\xefR"),
    _Format("a TensorFlow Lite model", (".tflite", ".lite"), b"TFL3", at=4),
    _Format("a Keras or HDF5 file", (".h5", ".hdf5", ".keras"), b"\x89HDF"),
    _Format("a TensorFlow graph", (".pb",)),
    _Format("a Core ML model", (".mlmodel", ".mlpackage")),
    _Format("a TensorRT engine", (".engine", ".plan", ".trt")),
    _Format("a GGUF file", (".gguf",), b"GGUF"),
    _Format(
        "a program of PyTorch (TorchScript or torch.export)", (".pt2", ".ptl"), weights=_IN_PYTORCH
    ),
    _Format("a file of NumPy", (".npz", ".npy"), b"\x93NUMPY", weights=_IN_NUMPY),
    _Format("a file of msgpack (Flax)", (".msgpack",), weights=_IN_NUMPY),
)


def foreign_format(name: str, start: bytes) -> str | None:
    """Says what a file is that holds no weights that can be read, and what to give instead.

    Args:
        name: The file's.
        start: Its first bytes.

    Returns:
        A clause for a message; None if the format is not known.
    """
    suffix = pathlib.PurePath(name).suffix.lower()
    found = [one for one in _FORMATS if one.magic and start[one.at :].startswith(one.magic)]
    found += [one for one in _FORMATS if suffix in one.suffixes]
    if not found and _is_onnx(start):
        found = [_FORMATS[0]]
    if not found:
        return None
    return f"is {found[0].what}, which cannot be read back: give {found[0].weights}"


def _is_onnx(start: bytes) -> bool:
    """Whether a file begins as ONNX's: with a version below 32, and the name of the producer."""
    return start[:1] == b"\x08" and start[1:2] < b"\x20" and start[2:3] == b"\x12"


class WeightsError(ValueError):
    """Weights do not fit, or a weights file cannot be read.

    Every message is one line. The command line prints it as it is and exits with status 2.
    """


class UnavailableWeightsError(WeightsError):
    """Published weights cannot be had, and a file of the user's may take their place.

    Args:
        text: The message, with `{file}` where it says how a file is given.
        passed_as: How the caller takes the path of a file.
    """

    def __init__(self, text: str, *, passed_as: str = "pretrained=PATH") -> None:
        super().__init__(text.format(file=passed_as))
        self._text = text

    def for_flag(self, flag: str) -> UnavailableWeightsError:
        """Returns the same error for a command that takes the path as this flag."""
        return type(self)(self._text, passed_as=flag)


@dataclasses.dataclass
class Mismatch:
    """The reasons why arrays do not fit a module, collected for one message.

    Attributes:
        missing: Keys that the module needs.
        unexpected: Keys that the module does not have.
        shapes: Keys whose arrays have another shape, with both shapes.
        not_floats: Keys whose values are not arrays of floats.
        remedies: Sentences that say how to fix some of the keys and shapes.
        beyond_remedy: Whether no remedy fixes some of them.
    """

    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    shapes: list[str] = dataclasses.field(default_factory=list)
    not_floats: list[str] = dataclasses.field(default_factory=list)
    remedies: list[str] = dataclasses.field(default_factory=list)
    beyond_remedy: bool = False

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes or self.not_floats)

    def __str__(self) -> str:
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.shapes,
            "not an array of floats": self.not_floats,
        }
        parts = [f"{len(keys)} {kind}: {listed(keys)}" for kind, keys in kinds.items() if keys]
        text = "; ".join(parts) + "."
        fixable = not (self.not_floats or self.beyond_remedy)
        return " ".join([text, *dict.fromkeys(self.remedies)]) if fixable else text


def listed(entries: Sequence[str]) -> str:
    """Joins the first few entries and counts the rest: `a, b, c, d and 17 more`."""
    text = ", ".join(shown(entry, most=_LONGEST) for entry in entries[:_SHOWN])
    rest = len(entries) - _SHOWN
    return f"{text} and {rest} more" if rest > 0 else text
