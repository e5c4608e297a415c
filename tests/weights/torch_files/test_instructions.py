"""Every instruction of a pickle is read as `pickle` does, or refused by its name."""

import pickle
import pickletools

import numpy as np
import pytest

from resnet_jax.weights import WeightsError
from resnet_jax.weights.files import read_state_dict
from resnet_jax.weights.torch_files import (
    DamagedError,
    UnsafeGlobalError,
    UnsupportedError,
    read,
    unpickle,
    vocabulary,
)
from tests.weights.torch_files.programs import (
    archive,
    entry,
    number,
    numbers,
    storage,
    tensor,
    text,
)

A, B = text("a"), text("b")
# Instruction -> a program that uses it, without its protocol and its end.
READ = {
    "PROTO": b"\x80\x05N",
    "FRAME": b"\x95\x01\x00\x00\x00\x00\x00\x00\x00N",
    "STOP": b"N",
    "MARK": b"(t",
    "NONE": b"N",
    "NEWTRUE": b"\x88",
    "NEWFALSE": b"\x89",
    "BININT": b"J\xfe\xff\xff\xff",
    "BININT1": b"K\xff",
    "BININT2": b"M\xff\xfe",
    "LONG1": b"\x8a\x09" + (-(2**68)).to_bytes(9, "little", signed=True),
    "BINFLOAT": b"G\xbf\xf8\x00\x00\x00\x00\x00\x00",
    "BINUNICODE": text("aé\n"),
    "SHORT_BINUNICODE": b"\x8c\x02\xc3\xa9",
    "SHORT_BINSTRING": b"U\x02\xc3\xa9",
    "BINBYTES": b"B\x02\x00\x00\x00\x00\xff",
    "SHORT_BINBYTES": b"C\x02\x00\xff",
    "EMPTY_TUPLE": b")",
    "EMPTY_LIST": b"]",
    "EMPTY_DICT": b"}",
    "EMPTY_SET": b"\x8f",
    "TUPLE1": A + b"\x85",
    "TUPLE2": A + B + b"\x86",
    "TUPLE3": A + B + b"N\x87",
    "TUPLE": b"(" + A + B + b"NNt",
    "APPEND": b"]" + A + b"a" + B + b"a",
    "APPENDS": b"](" + A + B + b"e",
    "ADDITEMS": b"\x8f(" + A + B + b"\x90",
    "SETITEM": b"}" + A + b"Ns" + B + b"Ns",
    "SETITEMS": b"}(" + A + b"N" + B + b"Nu",
    "BINPUT": b"]q\x07h\x07a",
    "BINGET": A + b"q\x01h\x01\x86",
    "LONG_BINPUT": A + b"r\x00\x00\x00\x01j\x00\x00\x00\x01\x86",
    "LONG_BINGET": A + b"q\x01j\x01\x00\x00\x00\x86",
    "MEMOIZE": A + b"\x94" + B + b"\x94h\x00h\x01\x87",
    "GLOBAL": b"ccollections\nOrderedDict\n)R",
    "STACK_GLOBAL": text("collections") + text("OrderedDict") + b"\x93)R",
    "REDUCE": b"cbuiltins\ncomplex\nK\x01K\x02\x86R",
    "NEWOBJ": b"ccollections\nOrderedDict\n)\x81",
    "BUILD": b"ccollections\nOrderedDict\n)R}" + A + b"Nsb",
}
# Instructions whose results are not those of `pickle`.
OTHER = {"BINPERSID"}


def outcome(value):
    """What tells a value from another, also of a list that holds itself."""
    return type(value), repr(value)


@pytest.mark.parametrize("name", [op.name for op in pickletools.opcodes])
def test_an_instruction_is_read_as_pickle_reads_it_or_refused(name, tmp_path):
    code = next(op.code for op in pickletools.opcodes if op.name == name).encode("latin-1")
    if name in READ:
        program = b"\x80\x02" + READ[name] + b"."
        assert code in program
        saved = read(archive(tmp_path, program))
        expected = pickle.loads(program, encoding="utf-8")
        expected = dict(expected) if isinstance(expected, dict) else expected
        assert outcome(saved) == outcome(expected)
    elif name not in OTHER:
        file = archive(tmp_path, b"\x80\x02((((NNNN" + code + bytes(9) + b".")
        with pytest.raises(UnsupportedError) as caught:
            read(file)
        assert f"has the instruction {code!r};" in str(caught.value)


def test_the_table_has_no_other_instructions():
    codes = {op.name: op.code.encode("latin-1") for op in pickletools.opcodes}
    assert {codes[name] for name in (*READ, *OTHER)} == {*unpickle._STEPS, pickle.STOP}


def test_a_storage_is_named_by_its_id(tmp_path):
    saved = read(archive(tmp_path, entry(tensor(2, [2], [1])), np.float32([1, 2]).tobytes()))
    np.testing.assert_array_equal(saved["t"], np.float32([1, 2]))


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n"
# Programs that would set attributes, call or build objects in other ways, or take memory or time
# that is not in the file.
REFUSED = {
    "state_of_a_function": REBUILD + b"}" + text("seen") + text("x") + b"sb",
    "slots_of_a_function": REBUILD + b"N}" + text("__defaults__") + b"K\x01s\x86b",
    "state_of_a_class": ORDERED + b"N}" + text("x") + b"K\x01s\x86b",
    "state_of_a_tensor": tensor(2, [2], [1]) + storage(2) + numbers([0]) + b"\x86b",
    "state_of_a_list": b"]}b",
    "call_of_a_text": text("print") + b")R",
    "call_of_a_dtype": b"ctorch\nfloat32\n)R",
    "call_with_a_list": ORDERED + b"]R",
    "object_of_a_text": text("print") + b")\x81",
    "object_with_arguments": ORDERED + b"]\x85\x81",
    "dtype_of_objects": b"ctorch._utils\n_rebuild_tensor_v3\n("
    + storage(8, "ByteStorage")
    + number(0)
    + numbers([1])
    + numbers([1])
    + b"NN"
    + text("torch.O")
    + b"tR",
    "type_within_type": b"ctorch._tensor\n_rebuild_from_type_v2\n(" * 2
    + b"ctorch\nSize\nN)NtRN)NtR",
    "codec": b"c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R",
    "memory": b"cbuiltins\nbytearray\n" + number(2**36) + b"\x85R",
    "complex_of_a_text": b"cbuiltins\ncomplex\n" + text("1") + b"\x85R",
    "counts_of_a_text": b"ccollections\nCounter\n" + text("aa") + b"\x85R",
    "dictionary_of_texts": ORDERED + b"]" + text("ab") + b"a\x85R",
    "long_text": b"X\xff\xff\xff\xff",
    "long_name": b"c" + b"a" * 5000 + b"\na\n",
    "name_of_numbers": b"K\x01K\x01\x93",
    "protocol": b"\x80\x06N",
    "tuple_as_key": b"}" + numbers([1]) + b"Ns",
    "tuple_in_a_set": b"\x8f(" + numbers([1]) + b"\x90",
    "list_as_key": b"}]Ns",
    "number_as_key": b"}" + number(2**61 - 1) + b"Ns",
    "key_without_value": b"}(" + A + b"u",
    "items_of_a_text": text("a") + b"(Ne",
    "two_storages": b"}" + A + storage(1) + b"s" + B + storage(2) + b"s",
    "negative_storage": storage(-1),
    "large_storage": storage(2**63),
    "other_persistent_id": text("module") + b"NNNN(tQ",
    "empty_stack": b"",
    "no_mark": b"t",
    "too_few": b"N\x86",
    "unknown_place": b"h\x00",
    "depth": b"N" + b"\x85" * 200,
    "depth_of_dictionaries": (b"}" + A) * 200 + b"N" + b"s" * 200,
    "count": b"N" * (unpickle.MAX_INSTRUCTIONS + 1),
    "copies": b"](" + b"N" * 30000 + b"eq\x00" + b"(" + b"cbuiltins\nset\nh\x00\x85R" * 100 + b"t",
}


@pytest.mark.parametrize("program", REFUSED.values(), ids=REFUSED)
def test_programs_that_do_more_are_refused_and_change_nothing(program, tmp_path):
    before = {name: repr(value) for name, value in vocabulary.VOCABULARY.items()}
    state = vars(vocabulary._tensor).copy(), vocabulary._tensor.__defaults__
    file = archive(tmp_path, b"\x80\x02" + program + b".")
    with pytest.raises((DamagedError, UnsupportedError)):
        read(file)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert {name: repr(value) for name, value in vocabulary.VOCABULARY.items()} == before
    assert (vars(vocabulary._tensor), vocabulary._tensor.__defaults__) == state


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n",
        text("os") + text("system") + b"\x93",
        b"cargparse\nNamespace\n)\x81}" + text("a") + b"cos\nsystem\nsb",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN(" + text("ls") + b"tNtR",
    ],
    ids=["name", "name_of_stack", "in_a_namespace", "type_v2"],
)
def test_names_outside_the_table_are_refused_in_every_instruction(program, tmp_path):
    with pytest.raises(UnsafeGlobalError, match=r"^os\.system$"):
        read(archive(tmp_path, b"\x80\x02" + program + b"."))


def test_a_name_is_quoted_on_one_line_and_not_at_length(tmp_path):
    module = "a\n\x1b[2J\u2028" + "b" * 500
    with pytest.raises(WeightsError) as caught:
        read_state_dict(archive(tmp_path, b"\x80\x02" + text(module) + text("x") + b"\x93."))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


# Shape, strides and offset of views of six numbers that PyTorch reads: whether they are read here.
VIEWS = {
    "whole": ([6], [1], 0, True),
    "steps": ([3], [2], 0, True),
    "transposed": ([2, 3], [1, 2], 0, True),
    "part": ([2, 2], [3, 1], 1, True),
    "scalar": ([], [], 5, True),
    "one_number": ([1, 1], [0, 7], 0, True),
    "nothing": ([0, 5], [9, 9], 100, True),
    "much_of_nothing": ([2**40, 0], [1, 1], 0, True),
    "repeated": ([5, 6], [0, 1], 0, False),
    "overlapping": ([3, 3], [1, 1], 0, False),
    "millions": ([40_000_000, 6], [0, 1], 0, False),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_its_own_numbers_is_read_as_pytorch_reads_it(name, torch, tmp_path):
    shape, strides, offset, is_read = VIEWS[name]
    program = entry(tensor(6, shape, strides, offset, end=b"\x89" + ORDERED + b")R"))
    file = archive(tmp_path, program, np.arange(6, dtype=np.float32).tobytes())
    expected = torch.load(file, weights_only=True)["t"]
    if is_read:
        np.testing.assert_array_equal(read(file)["t"], expected.numpy())
    else:
        with pytest.raises(WeightsError, match=r"shape .* and strides .* share memory; in PyTorch"):
            read_state_dict(file)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ([7], [1], 0),
        ([6], [1], 1),
        ([2], [6], 0),
        ([2], [-1], 1),
        ([-1], [1], 0),
        ([2], [1], -1),
        ([2], [1, 1], 0),
        ([1] * 65, [1] * 65, 0),
        ([2**62, 0], [1, 1], 0),
        ([2**62, 2], [2, 1], 0),
    ],
    ids=str,
)
def test_a_view_beyond_its_numbers_is_refused(shape, strides, offset, tmp_path):
    file = archive(tmp_path, entry(tensor(6, shape, strides, offset)), bytes(24))
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(file)


def test_signs_are_not_changed_again_and_again(tmp_path):
    """A copy per tensor: a file of a few megabytes would take gigabytes."""
    negated = tensor(1000, [1000], [1], end=b"\x89N}" + text("neg") + b"\x88s")
    entries = b"".join(text(str(key)) + negated for key in range(50))
    file = archive(tmp_path, b"\x80\x02}(" + entries + b"u.", bytes(4000))
    with pytest.raises(WeightsError, match="negates the same numbers again and again"):
        read_state_dict(file)
