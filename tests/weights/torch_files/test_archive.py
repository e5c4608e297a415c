"""The formats of `torch.save`: put-off operations, and orders of bytes."""

import pickle
import zipfile

import numpy as np
import pytest

from resnet_jax.weights import WeightsError
from resnet_jax.weights.arrays import as_numpy
from resnet_jax.weights.files import read_state_dict
from resnet_jax.weights.torch_files import read

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


@pytest.mark.parametrize(
    ("version", "little_endian", "message"),
    [(1001, "no", "as 'no', neither"), (1002, True, "has version 1002 of the format")],
)
def test_another_legacy_header_is_refused(version, little_endian, message, tmp_path):
    file = tmp_path / "a.pth"
    parts = (0x1950A86A20F9469CFC6C, version, {"little_endian": little_endian}, {}, [])
    file.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(WeightsError, match=message):
        read_state_dict(file)
