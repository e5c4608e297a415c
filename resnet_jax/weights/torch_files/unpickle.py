"""Runs a pickle without running code."""

import pickle
from collections.abc import Callable
from typing import IO, Any, ClassVar

from resnet_jax.weights.torch_files.errors import UnsafeGlobalError
from resnet_jax.weights.torch_files.vocabulary import (
    DTYPES,
    VOCABULARY,
    Skipped,
    Storage,
    TensorView,
    called,
)

# Instructions that PyTorch does not write. They build objects in other ways, or take memory by a
# number in the file.
_REFUSED = (pickle.NEWOBJ_EX, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)


class TensorUnpickler(pickle._Unpickler):
    """Rebuilds containers of tensors, records their storages and refuses every other name.

    The unpickler in C allocates memory by the index of an entry: one wrong byte can take 64 GB.
    """

    dispatch: ClassVar[Any] = {
        code: step
        for code, step in pickle._Unpickler.dispatch.items()
        if code not in {refused[0] for refused in _REFUSED}
    }

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.stack: list[Any]
        self.append: Callable[[Any], None]
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a name stands for."""
        key = ("builtins" if module == "__builtin__" else module, name)
        if key not in VOCABULARY:
            raise UnsafeGlobalError(f"{module}.{name}")
        return VOCABULARY[key]

    def get_extension(self, code: int) -> None:
        """Refuses names by number: they are those of the process, not of the table."""
        raise UnsafeGlobalError(f"extension {code} of copyreg")

    def persistent_load(self, pid: Any) -> Storage:
        """Records a storage."""
        kind, dtype, key, _, size, *view = pid
        known = isinstance(key, str) and isinstance(dtype, str) and dtype in DTYPES
        if kind != "storage" or not known or any(view):
            raise pickle.UnpicklingError("an unknown kind of storage")
        return self.storages.setdefault(key, Storage(key, dtype, size))

    def _instantiate(self, maker: Any, arguments: Any) -> None:
        """Makes what the older instructions for objects name."""
        self.append(called(maker, arguments))

    def load_reduce(self) -> None:
        """Makes what the pickle calls."""
        arguments = self.stack.pop()
        self.stack[-1] = called(self.stack[-1], arguments)

    def load_build(self) -> None:
        """Drops the attributes of an object."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | Skipped | TensorView):
            raise pickle.UnpicklingError("attributes for something that has none")

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build
