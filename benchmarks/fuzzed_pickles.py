"""Pickles built instruction by instruction, most of them nearly those of torch.save."""

from __future__ import annotations

import pickletools
import random
import struct
from collections.abc import Callable

_CODES = [op.code.encode("latin-1") for op in pickletools.opcodes]
_NAMES = (
    *("_codecs encode", "builtins bytearray", "builtins complex", "builtins set", "os system"),
    *("collections Counter", "collections OrderedDict", "torch Size"),
    *("torch device", "torch float32", "torch float16", "torch int4", "torch complex32"),
    *("torch._tensor _rebuild_from_type_v2", "torch.serialization _get_layout"),
    *("torch.nn.parameter Parameter", "__builtin__ set"),
    *(
        f"torch._utils _rebuild_{name}"
        for name in ("parameter", "tensor", "tensor_v2", "tensor_v3")
    ),
    *(f"torch._utils _rebuild_{name}" for name in ("qtensor", "parameter_with_state")),
    *("torch._utils _rebuild_device_tensor_from_cpu_tensor", "argparse Namespace"),
)
_STORAGES = (
    *(("Float", 4), ("Double", 8), ("Half", 2), ("BFloat16", 2), ("Int", 4), ("Long", 8)),
    *(("Byte", 1), ("Bool", 1), ("ComplexFloat", 8), ("Char", 1), ("Short", 2)),
)
_V3 = {"float32": 4, "uint16": 2, "uint64": 8, "float8_e4m3fn": 1, "complex64": 8, "bits8": 1}


class Program:
    """A program of a random generator, and the data of its storages."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._data: dict[str, bytes] = {}
        self._stored = 0
        self._odd = chance.choice((0.0, 0.0, 0.01, 0.05))  # the share of instructions that are odd

    def entries(self) -> list[tuple[str, bytes]]:
        """Returns the entries of the archive."""
        count = self._chance.randrange(1, 5)
        items = b"".join(self._key() + self._value(4) for _ in range(count))
        program = b"\x80\x02}(" + items + b"u."
        data = [(f"archive/data/{key}", content) for key, content in self._data.items()]
        return [("archive/data.pkl", program), *data, ("archive/version", b"3\n")]

    def _key(self) -> bytes:
        if self._chance.random() < 0.9:
            return self._text(self._chance.choice(("a", "conv1.weight", "state_dict", "fc.weight")))
        return self._atom()

    def _value(self, depth: int) -> bytes:
        if self._chance.random() < self._odd:
            return self._chance.choice(_CODES) + self._chance.randbytes(self._chance.randrange(9))
        makers: list[Callable[[int], bytes]] = [lambda _: self._atom(), self._tensor, self._again]
        if depth:
            makers += [self._list, self._tuple, self._dict, self._call, self._chain, self._tensor]
        value = self._chance.choice(makers)(depth - 1)
        if self._chance.random() < 0.3:
            self._stored += 1
            return value + b"q" + bytes([self._stored % 256])
        return value

    def _text(self, value: str) -> bytes:
        content = value.encode()
        if self._chance.random() < 0.2:
            return b"U" + bytes([len(content)]) + content
        return b"X" + len(content).to_bytes(4, "little") + content

    def _number(self, value: int) -> bytes:
        if 0 <= value < 256:
            return b"K" + bytes([value])
        return b"\x8a\x0c" + value.to_bytes(12, "little", signed=True)

    def _atom(self) -> bytes:
        chance = self._chance
        return chance.choice(
            (
                lambda: chance.choice((b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f")),
                lambda: self._number(chance.choice((0, 1, 300, -1, 2**31, 2**61 - 1, -(2**70)))),
                lambda: b"G" + struct.pack(">d", chance.choice((0.5, -0.0, 1e308, float("nan")))),
                lambda: self._text(chance.choice(("", "é\n", "latin1", "cpu", "strided", "neg"))),
                lambda: b"c" + chance.choice(_NAMES).replace(" ", "\n").encode() + b"\n",
            )
        )()

    def _again(self, _: int) -> bytes:
        if not self._stored:
            return self._atom()
        return b"h" + bytes([self._chance.randrange(1, self._stored + 1) % 256])

    def _many(self, depth: int) -> list[bytes]:
        return [self._value(depth) for _ in range(self._chance.randrange(4))]

    def _list(self, depth: int) -> bytes:
        return b"](" + b"".join(self._many(depth)) + b"e"

    def _tuple(self, depth: int) -> bytes:
        return b"(" + b"".join(self._many(depth)) + b"t"

    def _dict(self, depth: int) -> bytes:
        items = b"".join(self._key() + value for value in self._many(depth))
        return self._chance.choice((b"}", b"ccollections\nOrderedDict\n)R")) + b"(" + items + b"u"

    def _call(self, depth: int) -> bytes:
        name = b"c" + self._chance.choice(_NAMES).replace(" ", "\n").encode() + b"\n"
        arguments = self._chance.choice((b")", self._value(depth) + b"\x85", self._tuple(depth)))
        state = self._value(depth) + b"b" if self._chance.random() < 0.2 else b""
        return name + arguments + self._chance.choice((b"R", b"R", b"\x81")) + state

    def _chain(self, _: int) -> bytes:
        """Containers that each hold the next twice, or each other in depth."""
        link = self._chance.choice((b"q\xffh\xff\x86", b"\x85", b"q\xff(h\xffh\xffh\xfft"))
        return b"N" + link * self._chance.choice((3, 30, 300))

    def _tensor(self, _: int) -> bytes:
        chance = self._chance
        kind, bytes_each = chance.choice(_STORAGES)
        size = chance.choice((0, 1, 6, 6, 24))
        key = str(len(self._data)) if chance.random() < 0.8 or not self._data else "0"
        storage_name = f"ctorch\n{kind}Storage\n"
        build, end = "_rebuild_tensor_v2", b"\x89N"
        if chance.random() < 0.2:
            dtype, each = chance.choice(sorted(_V3.items()))
            storage_name, build = "ctorch.storage\nUntypedStorage\n", "_rebuild_tensor_v3"
            end = b"\x89Nctorch\n" + dtype.encode() + b"\n"
            in_bytes, bytes_each = size * each, 1
        else:
            in_bytes = size * bytes_each
        said = in_bytes // bytes_each if chance.random() < 0.95 else chance.choice((0, 5, 2**40))
        self._data.setdefault(key, chance.randbytes(in_bytes))
        parts = (self._text("storage"), storage_name.encode(), self._text(key), self._text("cpu"))
        storage = b"(" + b"".join(parts) + self._number(said) + b"tQ"
        shape, strides, offset = self._view(size)
        places = self._number(offset) + self._numbers(shape) + self._numbers(strides)
        if chance.random() < 0.2:
            end += b"}" + self._text(chance.choice(("neg", "conj", "odd"))) + b"\x88s"
        return f"ctorch._utils\n{build}\n(".encode() + storage + places + end + b"tR"

    def _view(self, size: int) -> tuple[list[int], list[int], int]:
        chance = self._chance
        if size == 24 and chance.random() < 0.6:
            return chance.choice((([2, 3, 4], [12, 4, 1], 0), ([4, 3], [1, 8], 0), ([12], [2], 1)))
        if chance.random() < 0.6:
            return [size], [1], 0
        axes = chance.randrange(4)
        odd = (0, 1, 1, 2, 3, 6, 2**40, 2**62, -1)
        shape, strides = ([chance.choice(odd) for _ in range(axes)] for _ in range(2))
        return shape, strides, chance.choice((0, 0, 1, 5, 2**40))

    def _numbers(self, values: list[int]) -> bytes:
        return b"(" + b"".join(map(self._number, values)) + b"t"
