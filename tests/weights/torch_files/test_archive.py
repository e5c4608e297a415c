"""The formats of `torch.save`: put-off operations, and orders of bytes."""

import pickle
import zipfile

import numpy as np
import pytest

from resnet_jax.weights import WeightsError
from resnet_jax.weights.arrays import as_numpy
from resnet_jax.weights.files import read_state_dict
from resnet_jax.weights.torch_files import read
from tests.weights.torch_files.programs import storage, text

DEFERRED = {
    "neg": lambda torch: torch._neg_view(torch.tensor([1.0, -2.0, 0.0])),
    "neg_half": lambda torch: torch._neg_view(torch.tensor([1.0, -2.0]).half())[1:],
    "neg_bfloat16": lambda torch: torch._neg_view(torch.tensor([1.0, -2.0]).bfloat16()),
    "conj": lambda torch: torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "imaginary_part_of_conj": lambda torch: torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
    "neg_and_conj": lambda torch: torch._neg_view(torch.tensor([1 + 2j]).conj()),
}


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", DEFERRED)
def test_operations_that_pytorch_put_off_are_done(name, as_zip, torch, tmp_path):
    file = tmp_path / "a.pth"
    saved = {"t": DEFERRED[name](torch)}
    torch.save(saved, file, _use_new_zipfile_serialization=as_zip)
    expected = torch.load(file, weights_only=True)["t"].resolve_conj().resolve_neg()
    wide = torch.complex128 if expected.dtype.is_complex else torch.float64
    array = read(file)["t"].astype(complex if expected.dtype.is_complex else float)
    assert array.tobytes() == expected.to(wide).numpy().tobytes()


@pytest.mark.parametrize("name", ["neg", "neg_half", "neg_bfloat16", "imaginary_part_of_conj"])
def test_live_tensors_are_converted_with_their_signs(name, torch):
    tensor = DEFERRED[name](torch)
    np.testing.assert_array_equal(as_numpy(tensor).astype(float), tensor.double().numpy())


@pytest.mark.parametrize(
    "make",
    [
        lambda torch: torch.ones(2).to_sparse(),
        lambda torch: torch.ones(2, device="meta"),
        lambda torch: torch.ones(2).to(torch.float8_e4m3fn),
        lambda torch: torch.tensor([1j]).conj(),
    ],
    ids=["sparse", "meta", "float8", "conj"],
)
def test_live_tensors_of_other_kinds_are_no_weights(make, torch):
    assert as_numpy(make(torch)) is None


def change_entry(file, name, content):
    """Rewrites one entry of a zip archive."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    (place,) = [entry for entry in entries if entry.rpartition("/")[2] == name]
    with zipfile.ZipFile(file, "w") as archive:
        for entry, old in entries.items():
            archive.writestr(entry, content if entry == place else old)


@pytest.mark.parametrize("mark", [b"Little", b"big\n", b"", b"middle"])
def test_another_order_of_bytes_is_refused(mark, torch, tmp_path):
    file = tmp_path / "a.pth"
    torch.save({"t": torch.ones(2)}, file)
    change_entry(file, "byteorder", mark)
    with pytest.raises((ValueError, RuntimeError)):
        torch.load(file, weights_only=True)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(file)
    assert str(caught.value).startswith(
        f"{file} cannot be read: it gives the order of its bytes as {mark!r}, neither b'little' "
        f"nor b'big'; it is damaged,"
    )


def legacy(*parts):
    header = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return [*parts, *header[len(parts) :], {}, []]


def shared(depth):
    """A tuple that holds the next twice: few bytes, and 2**depth items for whoever prints it."""
    value = ()
    for _ in range(depth):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    ("version", "told"),
    [(1002, "version 1002"), (10**300, "version 1000"), (shared(60), "version a tuple")],
    ids=["next", "long", "shared"],
)
def test_another_version_is_refused(version, told, tmp_path):
    file = tmp_path / "a.pth"
    parts = legacy(0x1950A86A20F9469CFC6C, version)
    file.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(WeightsError, match=f"has {told}") as caught:
        read_state_dict(file)
    assert len(str(caught.value)) < 500


def test_legacy_data_is_little_endian_wherever_it_was_written(torch, tmp_path):
    file = tmp_path / "a.pth"
    torch.save({"t": torch.arange(3.0)}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    place = content.index(b"\x88", content.index(b"little_endian"))
    file.write_bytes(content[:place] + b"\x89" + content[place + 1 :])
    np.testing.assert_array_equal(torch.load(file, weights_only=True)["t"], [0, 1, 2])
    np.testing.assert_array_equal(read(file)["t"], [0, 1, 2])


def test_a_legacy_size_that_is_not_that_of_the_tensors_is_refused(torch, tmp_path):
    file = tmp_path / "a.pth"
    torch.save({"t": torch.arange(3.0)}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    size = (3).to_bytes(8, "little")
    place = content.rindex(size)
    for wrong in (2, 4, 2**40, 2**62, -1):
        bytes_of_wrong = wrong.to_bytes(8, "little", signed=True)
        file.write_bytes(content[:place] + bytes_of_wrong + content[place + 8 :])
        with pytest.raises(WeightsError, match="cannot be read as weights"):
            read_state_dict(file)


def tensors_of(numbers, **settings):
    """The entries of an archive of one tensor, and the archive with changed ones."""

    def write(file, torch, change):
        torch.save({"t": torch.arange(float(numbers))}, file)
        with zipfile.ZipFile(file) as archive:
            entries = [(name, archive.read(name)) for name in archive.namelist()]
        with zipfile.ZipFile(file, "w", **settings) as archive:
            for name, content in change(entries):
                archive.writestr(name, content)

    return write


@pytest.mark.parametrize("size", [0, 12, 17, 64, 4000])
def test_an_entry_of_another_size_than_its_tensors_is_refused(size, torch, tmp_path):
    file = tmp_path / "a.pth"

    def resize(entries):
        return [(n, bytes(size) if n.endswith("data/0") else content) for n, content in entries]

    tensors_of(4)(file, torch, resize)
    with pytest.raises(RuntimeError, match="does not match expected size"):
        torch.load(file, weights_only=True)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(file)


def test_compressed_entries_are_refused_before_they_are_read(torch, tmp_path):
    file = tmp_path / "a.pth"
    tensors_of(2**12, compression=zipfile.ZIP_DEFLATED)(file, torch, lambda entries: entries)
    with pytest.raises(WeightsError, match=r"its entry a/\S+ is compressed; torch.save does not"):
        read_state_dict(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change", [str, str.upper])
def test_two_entries_of_one_name_are_refused(change, torch, tmp_path):
    file = tmp_path / "a.pth"
    tensors_of(4)(
        file, torch, lambda entries: entries + [(change(n), c) for n, c in entries if "data/0" in n]
    )
    with pytest.raises(WeightsError, match="two entries of the same name"):
        read_state_dict(file)


def test_entries_that_overlap_are_refused(tmp_path):
    """Many entries of the index may name one place, so that a file is read again and again."""
    file = tmp_path / "a.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data/0", bytes(4000))
        archive.writestr("a/data.pkl", pickled_storages(40, 1000))
        for number in range(1, 40):
            info = zipfile.ZipInfo(f"a/data/{number}")
            first = archive.getinfo("a/data/0")
            info.file_size = info.compress_size = first.file_size
            info.CRC, info.header_offset = first.CRC, first.header_offset
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    with pytest.raises(WeightsError):
        read_state_dict(file)


def pickled_storages(number, size):
    """A pickle of as many storages of float32."""
    program = b"\x80\x02}("
    for key in range(number):
        program += text(f"t{key}") + storage(size, key=str(key))
    return program + b"u."
