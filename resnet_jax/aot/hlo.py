"""What a compiled program does, counted in its HLO: memory traffic, collectives, instructions.

Every instruction of the scheduled program reads its operands from memory and writes its results to
it; what is fused is one instruction. Loops count as often as they run, where XLA knows it.
"""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax

_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}  # others end with their width
_SHAPE = re.compile(r"\b(pred|bf16|[sufc]\d+|f8\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(
    r"(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=%?([\w.\-]+))"
)
_TRIPS = re.compile(r'known_trip_count\\?":\{\\?"n\\?":\\?"(\d+)')
_FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all"),
    *("partition-id", "replica-id", "opt-barrier"),
}
_COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all"),
    "ragged-all-to-all",
)


class Instruction(NamedTuple):
    """An instruction of HLO: `name = type opcode(operands), attributes`."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str


class Module(NamedTuple):
    """A program: its computations by their names, and the name of the first."""

    computations: Mapping[str, tuple[Instruction, ...]]
    entry: str


class Collective(NamedTuple):
    """Exchanges of one kind between devices.

    Attributes:
        times: How many there are in a run of the program.
        bytes: What one device receives by them.
    """

    times: int
    bytes: float


def parse_hlo(compiled: jax.stages.Compiled) -> Module:
    """Parses the text of a compiled program."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in (compiled.as_text() or "").splitlines():
        if (header := _HEADER.match(line)) and " = " not in line.partition("(")[0]:
            current = computations.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line.strip())):
            operands, attributes = _split_at_close(found[4])
            names = tuple(re.findall(r"%([\w.\-]+)", operands))
            current.append(Instruction(found[1], found[2], found[3], names, attributes))
    return Module({name: tuple(body) for name, body in computations.items()}, entry)


def memory_traffic(module: Module, *, platform: str) -> float:
    """Counts the bytes that a run of the program reads from and writes to a device's memory.

    Args:
        module: From `parse_hlo`.
        platform: `tpu`, where memory spaces other than 0 are on the chip, or another one.
    """
    on_chip = platform == "tpu"
    total = 0.0
    for body, times in _executed(module):
        types = {instruction.name: instruction.type for instruction in body}
        total += times * sum(_traffic_of(each, types, on_chip=on_chip) for each in body)
    return total


def collectives(module: Module) -> dict[str, Collective]:
    """Counts the exchanges between devices by their kind."""
    found: dict[str, Collective] = {}
    for body, times in _executed(module, fused=True):
        for instruction in body:
            kind = instruction.opcode.removesuffix("-start")
            if kind in _COLLECTIVES:
                count, received = found.get(kind, Collective(0, 0.0))
                own = _received(instruction)
                found[kind] = Collective(count + times, received + times * own)
    return found


def opcodes(module: Module) -> collections.Counter[str]:
    """Counts the instructions of all computations by their opcode, loops once."""
    return collections.Counter(
        each.opcode for body in module.computations.values() for each in body
    )


def type_bytes(text: str, *, on_chip: bool = False) -> float:
    """Adds up the arrays of a type.

    Args:
        text: Such as `(bf16[8,128]{1,0:T(8,128)S(1)}, f32[])`.
        on_chip: Whether memory spaces other than 0 are not counted.
    """
    total = 0.0
    for dtype, sizes, layout in _SHAPE.findall(text):
        if on_chip and re.search(r"S\([1-9]", layout):
            continue
        bits = _BITS.get(dtype) or int(re.findall(r"\d+", dtype)[0])
        total += bits / 8 * math.prod(map(int, filter(None, sizes.split(","))))
    return total


def _executed(
    module: Module, *, fused: bool = False, name: str | None = None, times: int = 1
) -> Iterator[tuple[tuple[Instruction, ...], int]]:
    """Yields the computations that run, and how often; of fusions only if these are asked for."""
    body = module.computations.get(name or module.entry, ())
    yield body, times
    for instruction in body:
        inner = times
        if instruction.opcode == "while":
            trips = _TRIPS.search(instruction.attributes)
            inner *= int(trips[1]) if trips else 1
        elif instruction.opcode == "conditional":
            for listed, single in _BRANCHES.findall(instruction.attributes):
                for branch in re.findall(r"[\w.\-]+", listed or single):
                    yield from _executed(module, fused=fused, name=branch, times=times)
            continue
        elif instruction.opcode != "call" and not fused:
            continue
        for called in _CALLED.findall(instruction.attributes):
            yield from _executed(module, fused=fused, name=called, times=inner)


def _traffic_of(instruction: Instruction, types: Mapping[str, str], *, on_chip: bool) -> float:
    """Adds up the results of an instruction and its operands, each once."""
    opcode = instruction.opcode
    if opcode in _FREE or opcode in ("while", "conditional", "call"):
        return 0.0
    if opcode.endswith(("-done", "-update")):
        return 0.0
    if opcode in ("copy-start", "slice-start"):
        return _moved(instruction, on_chip=on_chip)
    read = sum(
        type_bytes(types[name], on_chip=on_chip)
        for name in dict.fromkeys(instruction.operands)
        if name in types
    )
    return read + type_bytes(instruction.type, on_chip=on_chip)


def _moved(instruction: Instruction, *, on_chip: bool) -> float:
    """Counts what an asynchronous copy or slice reads and writes; its type names both ends."""
    shapes = [match[0] for match in _SHAPE.finditer(instruction.type)][:2]
    if len(shapes) < 2:
        return 0.0
    size = min(type_bytes(shape) for shape in shapes)
    return sum(size for shape in shapes if type_bytes(shape, on_chip=on_chip))


def _received(instruction: Instruction) -> float:
    """Counts what a collective gives a device; the type of a start names operands first."""
    kind = instruction.opcode
    if kind in ("all-gather-start", "collective-permute-start"):
        parts = _SHAPE.findall(instruction.type)
        return max(type_bytes(f"{dtype}[{sizes}]") for dtype, sizes, _ in parts)
    return type_bytes(instruction.type)


def _split_at_close(text: str) -> tuple[str, str]:
    """Splits `operands), attributes` at the parenthesis that closes the operands."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[:place], text[place + 1 :]
    return text, ""
