"""Weights files: recognises, reads and writes them; a partial file is never left."""

import functools
import os
import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from resnet_jax.buckets import fetched
from resnet_jax.errors import shown
from resnet_jax.local_paths import user_path
from resnet_jax.weights import torch_files
from resnet_jax.weights.arrays import ArrayInFile
from resnet_jax.weights.errors import WeightsError, foreign_format
from resnet_jax.whole_files import replacing

# The format in the metadata of a file of resnet_jax.save.
OWN_FORMAT = "resnet_jax"

# The dtypes of safetensors that NumPy and JAX have as well.
_DTYPES = {
    "BF16": np.dtype(jnp.bfloat16),
    "BOOL": np.dtype(bool),
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    **{
        f"{kind.upper()}{8 * size}": np.dtype(f"{kind}{size}")
        for kind in "iu"
        for size in (1, 2, 4, 8)
    },
}
_NO_DTYPE = np.dtype("V1")
_MOST_AXES = 64
_START = 16  # bytes that tell the format of a file
_MAPPED = 2**24  # bytes of a file that are read before it is opened anew

FilePath = str | os.PathLike[str]


def read_state_dict(path: FilePath) -> Mapping[str, Any]:
    """Reads a `.safetensors` or `torch.save` file; the content decides which, not the name.

    The arrays of a `.safetensors` file are read when they are used; see `open_safetensors`.

    Raises:
        WeightsError: The file is missing or damaged, has another format, or would run code.
    """
    file = _existing(path)
    if is_own_file(file):
        raise WeightsError(
            f"{path} was written by resnet_jax.save and holds a whole network: read it with "
            f"resnet_jax.load."
        )
    if _is_safetensors(file):
        return open_safetensors(file)[0]
    try:
        saved = torch_files.read(file)
    except torch_files.UnsafeGlobalError as error:
        raise WeightsError(
            f"{path} is refused: it asks for {error}, and reading that may run code. If you trust "
            f"it, load it in PyTorch and save only model.state_dict(), as .safetensors."
        ) from None
    except torch_files.UnsupportedError as error:
        raise WeightsError(f"{path} cannot be read: {error}.") from None
    except torch_files.DamagedError:
        raise _unreadable(file, path) from None
    if not isinstance(saved, Mapping):
        raise WeightsError(
            f"{path} holds a {type(saved).__name__}, not a state dict; save model.state_dict() in "
            f"PyTorch."
        )
    return saved


def read_safetensors(path: FilePath) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays and the metadata of a `.safetensors` file.

    Raises:
        WeightsError: The file is missing or damaged, or has another format.
    """
    arrays, metadata = open_safetensors(path)
    return {key: array.read() for key, array in arrays.items()}, metadata


def open_safetensors(path: FilePath) -> tuple[dict[str, ArrayInFile], dict[str, str]]:
    """Reads the metadata of a `.safetensors` file, and its arrays only when they are used.

    Raises:
        WeightsError: The file is missing or damaged, or has another format.
    """
    file = _existing(path)
    source = _ArraysInFile(file)
    arrays = {}
    with _opened(file, path) as reader:
        for key in reader.keys():  # noqa: SIM118
            part = reader.get_slice(key)
            dtype = _DTYPES.get(part.get_dtype(), _NO_DTYPE)
            read = functools.partial(source.read, key)
            shape = tuple(part.get_shape())
            if len(shape) > _MOST_AXES:
                raise WeightsError(
                    f"{path} cannot be read: {shown(key)!r} has {len(shape)} axes, and NumPy's "
                    f"arrays have at most {_MOST_AXES}; save it in another shape."
                )
            arrays[key] = ArrayInFile(shape, dtype, read)
        return arrays, reader.metadata() or {}


class _ArraysInFile:
    """Reads a file bit by bit.

    A file is mapped into memory, and what has been read of it counts as memory of the process until
    it is closed: it is opened anew from time to time.
    """

    def __init__(self, file: pathlib.Path) -> None:
        self._file = file
        self._reader: Any = None
        self._bytes = 0

    def read(self, key: str) -> np.ndarray:
        if self._reader is None or self._bytes > _MAPPED:
            self._reader, self._bytes = _opened(self._file, self._file), 0
        array: np.ndarray = self._reader.get_tensor(key)
        self._bytes += array.nbytes
        return array


def write_safetensors(
    path: FilePath, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a `.safetensors` file atomically: readers see the old file or the new one.

    Raises:
        WeightsError: The file cannot be written.
    """
    import safetensors.numpy  # loaded with a file, not with a network

    file = user_path(path)
    if file.suffix != ".safetensors":
        raise WeightsError(f"{file} is written as safetensors: name it *.safetensors.")
    if isinstance(file, pathlib.Path) and not file.parent.is_dir():
        raise WeightsError(f"{file} cannot be written: folder {file.parent} does not exist.")
    try:
        with replacing(file) as unfinished:
            unfinished.touch()
            usual = unfinished.stat().st_mode
            safetensors.numpy.save_file(dict(arrays), unfinished, dict(metadata))
            unfinished.chmod(usual)  # safetensors makes files that only their owner may read
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{file} cannot be written: {error}") from None


def is_own_file(path: FilePath) -> bool:
    """Whether `resnet_jax.save` wrote a file.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    return read_metadata(path).get("format") == OWN_FORMAT


def read_metadata(path: FilePath) -> dict[str, str]:
    """Reads the metadata of a `.safetensors` file; files of other formats have none.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    file = _existing(path)
    if not _is_safetensors(file):
        if not _is_torch_saved(_start(file)):
            raise _unreadable(file, path)
        return {}
    with _opened(file, path) as reader:
        return reader.metadata() or {}


def _is_safetensors(file: pathlib.Path) -> bool:
    """Whether a file starts like safetensors: eight bytes of length and a JSON header."""
    start = _start(file)
    named_so = file.suffix == ".safetensors" and not _is_torch_saved(start)
    return start[8:9] == b"{" or named_so


def _is_torch_saved(start: bytes) -> bool:
    return start.startswith((torch_files.ZIP_MAGIC, pickle.PROTO))


def _start(file: pathlib.Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_START)


def _opened(file: pathlib.Path, given: FilePath) -> Any:
    import safetensors

    try:
        return safetensors.safe_open(file, framework="numpy")
    except safetensors.SafetensorError:
        raise _unreadable(file, given) from None


def _existing(path: FilePath) -> pathlib.Path:
    given = user_path(path)
    file = fetched(given)
    if file.is_file() and os.access(file, os.R_OK):
        return file
    if file.is_dir():
        fault = "is a folder; name the weights file in it"
    elif file.exists():
        fault = "cannot be read; check its permissions"
    else:
        fault = "does not exist; check the path"
    raise WeightsError(f"{given} {fault}.")


def _unreadable(file: pathlib.Path, given: FilePath) -> WeightsError:
    if fault := foreign_format(file.name, _start(file)):
        return WeightsError(f"{given} {fault}.")
    size = file.stat().st_size
    fault = "is empty" if size == 0 else f"of {size:,} bytes cannot be read as weights"
    return WeightsError(
        f"{given} {fault}: it is truncated, damaged or in another format; download it again, or "
        f"name a .safetensors or torch.save file."
    )
