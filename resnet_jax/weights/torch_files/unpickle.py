"""Runs a pickle without running code.

A pickle is a list of instructions for a machine with a stack. This machine has the instructions
that files of tensors consist of, in the protocols 2 to 5, and refuses every other one. It uses
nothing of `pickle` but the codes of the instructions.
"""

import pickle
import struct
from collections.abc import Callable, Mapping
from typing import IO, Any

from resnet_jax.errors import shown
from resnet_jax.weights.torch_files.errors import UnsafeGlobalError, UnsupportedError
from resnet_jax.weights.torch_files.tensors import Storage, as_storage
from resnet_jax.weights.torch_files.vocabulary import VOCABULARY, Maker, Skipped, as_key

# A training checkpoint of a network with 1,000 layers has 500 kB and 100,000 instructions. An
# instruction takes at most 250 bytes of memory and a microsecond.
MAX_BYTES = 2**26
MAX_INSTRUCTIONS = 2**20
_LONGEST_NAME = 1000
_LAST_PROTOCOL = 5

_CONSTANTS: Mapping[bytes, Callable[[], Any]] = {
    pickle.NONE: lambda: None,
    pickle.NEWTRUE: lambda: True,
    pickle.NEWFALSE: lambda: False,
    pickle.EMPTY_TUPLE: tuple,
    pickle.EMPTY_LIST: list,
    pickle.EMPTY_DICT: dict,
    pickle.EMPTY_SET: set,
}
# How a number is written.
_NUMBERS = {
    pickle.BININT: "<i",
    pickle.BININT1: "<B",
    pickle.BININT2: "<H",
    pickle.BINFLOAT: ">d",
}
# How the length of what follows is written.
_TEXTS = {pickle.BINUNICODE: "<I", pickle.SHORT_BINUNICODE: "<B", pickle.SHORT_BINSTRING: "<B"}
_BYTES = {pickle.BINBYTES: "<I", pickle.SHORT_BINBYTES: "<B"}
# How the number of a stored object is written.
_GETS = {pickle.BINGET: "<B", pickle.LONG_BINGET: "<I"}
_PUTS = {pickle.BINPUT: "<B", pickle.LONG_BINPUT: "<I"}
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}


class TensorUnpickler:
    """Rebuilds containers of tensors, records their storages and refuses every other name.

    Objects that the pickle shares are shared. Nothing is built but numbers, texts, bytes, lists,
    tuples, sets, dictionaries and the records of `vocabulary`.

    Attributes:
        storages: The storages that the pickle names.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.storages: dict[str, Storage] = {}
        self._file = file
        self._bytes_left = MAX_BYTES
        self._left = MAX_INSTRUCTIONS
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Runs one pickle, to its end.

        Raises:
            UnsafeGlobalError: It names what is not in the table.
            UnsupportedError: It has an instruction, a key or a size that files of tensors have not.
            Exception: It is damaged.
        """
        while (code := self._read(1)) != pickle.STOP:
            self._left -= 1
            if self._left < 0:
                raise _too_many()
            if code not in _STEPS:
                raise UnsupportedError(f"its pickle has the instruction {code!r}")
            step, *arguments = _STEPS[code]
            step(self, *arguments)
        return self._stack.pop()

    def _read(self, size: int) -> bytes:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise UnsupportedError(f"its pickle has more than {MAX_BYTES:,} bytes")
        content = self._file.read(size)
        if len(content) < size:
            raise EOFError
        return content

    def _line(self) -> str:
        line = self._file.readline(_LONGEST_NAME)
        self._bytes_left -= len(line)
        if not line.endswith(b"\n"):
            raise pickle.UnpicklingError("a name without an end")
        return line[:-1].decode()

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _items(self) -> list[Any]:
        """Returns what lies above the last mark."""
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _top(self, kind: type) -> Any:
        """Returns the container on top, which the instructions for its kind extend."""
        if type(self._stack[-1]) is not kind:
            raise pickle.UnpicklingError(f"items for something that is not a {kind.__name__}")
        return self._stack[-1]

    def _protocol(self) -> None:
        if (protocol := self._number("<B")) > _LAST_PROTOCOL:
            raise UnsupportedError(f"its pickle has protocol {protocol}")

    def _frame(self) -> None:
        self._read(8)  # a length, which only says how much may be read at once

    def _mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _push_new(self, make: Callable[[], Any]) -> None:
        self._stack.append(make())

    def _push_number(self, form: str) -> None:
        self._stack.append(self._number(form))

    def _push_long(self) -> None:
        content = self._read(self._number("<B"))
        self._stack.append(int.from_bytes(content, "little", signed=True))

    def _push_text(self, form: str) -> None:
        self._stack.append(str(self._read(self._number(form)), "utf-8", "surrogatepass"))

    def _push_bytes(self, form: str) -> None:
        self._stack.append(self._read(self._number(form)))

    def _get(self, form: str) -> None:
        self._stack.append(self._memo[self._number(form)])

    def _put(self, form: str) -> None:
        self._memo[self._number(form)] = self._stack[-1]

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _tuple_of(self, size: int) -> None:
        if len(self._stack) < size:
            raise IndexError
        self._stack[-size:] = [tuple(self._stack[-size:])]

    def _tuple_of_items(self) -> None:
        items = tuple(self._items())
        self._stack.append(items)

    def _append(self) -> None:
        item = self._stack.pop()
        self._top(list).append(item)

    def _extend(self) -> None:
        items = self._items()
        self._top(list).extend(items)

    def _add(self) -> None:
        items = self._items()
        self._top(set).update(map(as_key, items))

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._top(dict)[as_key(key)] = value

    def _set_items(self) -> None:
        items = self._items()
        self._top(dict).update(zip(map(as_key, items[::2]), items[1::2], strict=True))

    def _push_name(self) -> None:
        self._named(self._line(), self._line())

    def _name_of_stack(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise pickle.UnpicklingError("a name that is not a text")
        self._named(module, name)

    def _named(self, module: str, name: str) -> None:
        key = ("builtins" if module == "__builtin__" else module, name)
        if key not in VOCABULARY:
            raise UnsafeGlobalError(shown(f"{module}.{name}"))
        self._stack.append(VOCABULARY[key])

    def _call(self) -> None:
        arguments, maker = self._stack.pop(), self._stack.pop()
        if type(maker) is not Maker or type(arguments) is not tuple:
            raise pickle.UnpicklingError("a call of something that cannot be called")
        # What is made may be as large as the arguments, each time that they are used.
        self._left -= sum(len(one) for one in arguments if hasattr(one, "__len__"))
        if self._left < 0:
            raise _too_many()
        self._stack.append(maker.make(*arguments))

    def _new(self) -> None:
        # Some classes ignore arguments here that they use in a call.
        if self._stack[-1] != ():
            raise UnsupportedError("its pickle makes an object from arguments")
        self._call()

    def _build(self) -> None:
        self._stack.pop()  # attributes, which nothing here uses
        if type(self._stack[-1]) not in (dict, Skipped):
            raise UnsupportedError("its pickle sets attributes of something that has none")

    def _storage(self) -> None:
        storage = as_storage(self._stack.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise UnsupportedError("it describes the same data in two ways")
        self._stack.append(storage)


def _too_many() -> UnsupportedError:
    return UnsupportedError(f"its pickle has more than {MAX_INSTRUCTIONS:,} instructions")


# The methods of all instructions, and how they are called.
_STEPS: Mapping[bytes, tuple[Any, ...]] = {
    pickle.PROTO: (TensorUnpickler._protocol,),
    pickle.FRAME: (TensorUnpickler._frame,),
    pickle.MARK: (TensorUnpickler._mark,),
    **{code: (TensorUnpickler._push_new, make) for code, make in _CONSTANTS.items()},
    **{code: (TensorUnpickler._push_number, form) for code, form in _NUMBERS.items()},
    pickle.LONG1: (TensorUnpickler._push_long,),
    **{code: (TensorUnpickler._push_text, form) for code, form in _TEXTS.items()},
    **{code: (TensorUnpickler._push_bytes, form) for code, form in _BYTES.items()},
    **{code: (TensorUnpickler._get, form) for code, form in _GETS.items()},
    **{code: (TensorUnpickler._put, form) for code, form in _PUTS.items()},
    pickle.MEMOIZE: (TensorUnpickler._memoize,),
    pickle.TUPLE: (TensorUnpickler._tuple_of_items,),
    **{code: (TensorUnpickler._tuple_of, size) for code, size in _TUPLES.items()},
    pickle.APPEND: (TensorUnpickler._append,),
    pickle.APPENDS: (TensorUnpickler._extend,),
    pickle.ADDITEMS: (TensorUnpickler._add,),
    pickle.SETITEM: (TensorUnpickler._set_item,),
    pickle.SETITEMS: (TensorUnpickler._set_items,),
    pickle.GLOBAL: (TensorUnpickler._push_name,),
    pickle.STACK_GLOBAL: (TensorUnpickler._name_of_stack,),
    pickle.REDUCE: (TensorUnpickler._call,),
    pickle.NEWOBJ: (TensorUnpickler._new,),
    pickle.BUILD: (TensorUnpickler._build,),
    pickle.BINPERSID: (TensorUnpickler._storage,),
}
