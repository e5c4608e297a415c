"""Pickles: what PyTorch reads is read, and nothing that runs code or changes the process."""

import argparse
import collections
import io
import pickle

import numpy as np
import pytest

from resnet_jax.weights import WeightsError, load_torch, to_torch
from resnet_jax.weights.files import read_state_dict
from resnet_jax.weights.torch_files import read, vocabulary
from tests.weights.torch_files.programs import archive


def tagged(tensor):
    tensor.tag = "x"
    return tensor


# What to save with torch -> what reading gives.
VALUES = {
    "counter": (lambda torch: collections.Counter({30: 1, 60: 2}), {30: 1, 60: 2}),
    "size": (lambda torch: torch.ones(2, 3).size(), (2, 3)),
    "set": (lambda torch: {1, 2}, {1, 2}),
    "dtype": (lambda torch: [torch.float32, torch.qint8], ["torch.float32", "torch.qint8"]),
    "device": (lambda torch: [torch.device("cuda:1"), torch.device("cpu")], ["cuda:1", "cpu"]),
    "layout": (lambda torch: torch.strided, "torch.strided"),
    "scheme": (lambda torch: torch.per_tensor_affine, "torch.per_tensor_affine"),
    "bytes": (lambda torch: [b"a\x00\xff", bytearray(b"ab")], [b"a\x00\xff", b"ab"]),
    "complex": (lambda torch: 1 + 2j, 1 + 2j),
    "ordered": (lambda torch: collections.OrderedDict(a=1), {"a": 1}),
}


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", VALUES)
def test_values_next_to_the_weights_are_read(name, as_zip, torch, tmp_path):
    make, expected = VALUES[name]
    file = tmp_path / "saved.pth"
    torch.save({"extra": make(torch)}, file, _use_new_zipfile_serialization=as_zip)
    torch.load(file, weights_only=True)
    assert read(file) == {"extra": expected}


# Tensors whose pickles name more than a plain one's.
TENSORS = {
    "parameter_with_attribute": lambda torch: tagged(torch.nn.Parameter(torch.arange(3.0))),
    "tensor_with_attribute": lambda torch: tagged(torch.arange(3.0)),
    "uint16": lambda torch: torch.arange(8.0).to(torch.uint16)[1::3],
    "float8": lambda torch: torch.arange(8.0).to(torch.float8_e4m3fn)[2:],
    "complex": lambda torch: torch.arange(3.0) + 1j,
}


@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS)
def test_tensors_are_read_as_pytorch_reads_them(make, torch, tmp_path):
    file = tmp_path / "saved.pth"
    torch.save({"t": make(torch)}, file)
    expected = torch.load(file, weights_only=True)["t"].detach()
    array = read(file)["t"]
    assert array.dtype.name == str(expected.dtype).removeprefix("torch.")
    wide = torch.complex128 if expected.dtype.is_complex else torch.float64
    np.testing.assert_array_equal(array.astype(complex), expected.to(wide).numpy())


@pytest.mark.parametrize(
    "make",
    [
        lambda torch: torch.ones(2).to_sparse(),
        lambda torch: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        lambda torch: torch.ones(2, device="meta"),
        lambda torch: torch.ones(2, dtype=torch.complex32),
    ],
    ids=["sparse", "quantized", "meta", "complex32"],
)
@pytest.mark.filterwarnings("ignore")  # PyTorch's, about kinds of tensors that it gives up
def test_other_tensors_are_no_weights_but_hinder_no_others(make, torch, tmp_path, network):
    weights = {k: torch.from_numpy(np.array(v)) for k, v in to_torch(network(seed=1)).items()}
    file = tmp_path / "saved.pth"
    torch.save({"state_dict": weights, "optimizer": {"state": make(torch)}}, file)
    load_torch(network(), file)
    torch.save({**weights, "bn1.bias": make(torch)}, file)
    with pytest.raises(WeightsError, match=r"1 not an array of floats: bn1\.bias\.$"):
        load_torch(network(), file)


def test_every_name_that_pytorch_reads_is_known(torch):
    accepted = torch._weights_only_unpickler._get_allowed_globals()
    missing = accepted.keys() - {".".join(name) for name in vocabulary.VOCABULARY}
    # Classes of tensors and storages, which are not written any more.
    assert {name for name in missing if not name.endswith(("Tensor", "Storage"))} == set()


def test_the_arguments_of_a_training_script_are_skipped(torch, tmp_path):
    file = tmp_path / "last.pth.tar"
    torch.save({"args": argparse.Namespace(lr=0.1), "state_dict": {"a": torch.ones(1)}}, file)
    saved = read_state_dict(file)
    assert saved["args"] == vocabulary.Skipped("argparse.Namespace")
    np.testing.assert_array_equal(saved["state_dict"]["a"], [1])


@pytest.mark.timeout(10)
def test_shared_dictionaries_are_read_once(tmp_path):
    for kind in (lambda a: {"a": a, "b": a}, lambda a: [a, a], lambda a: (a, a)):
        nested = {"t": 1}
        for _ in range(60):
            nested = kind(nested)
        saved = read(archive(tmp_path, pickle.dumps({"a": nested, "b": nested}, 2)))
        assert saved["a"] is saved["b"]
    recursive = {}
    recursive["self"] = recursive
    saved = read(archive(tmp_path, pickle.dumps(recursive, 2)))
    assert saved["self"] is saved


def test_attributes_of_a_state_dict_are_dropped(torch, tmp_path):
    file = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2).state_dict(), file)  # its attribute is _metadata
    (tmp_path / "a.pth").write_bytes(file.getvalue())
    assert list(read(tmp_path / "a.pth")) == ["weight", "bias"]
