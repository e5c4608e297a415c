"""Files of weights: what is read, and what is refused with one line."""

import io
import json
import os
import pickle
import random
import struct
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from resnet_jax import model_config
from resnet_jax.weights import WeightsError, load, load_torch, to_torch
from resnet_jax.weights.files import read_safetensors, read_state_dict, write_safetensors

PUBLISHED = {"resnet20": "resnet20-12fca82f.th", "resnet32": "resnet32-d509ac18.th"}


class Attack:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch attacked",)


def zipped(pickled):
    return lambda file: zip_of(file, {"archive/data.pkl": pickled})


def zip_of(file, entries):
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def legacy(pickled):
    header = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001)]
    system = pickle.dumps({"little_endian": True}, 2)
    return lambda file: file.write_bytes(b"".join((*header, system, pickled, pickle.dumps([], 2))))


@pytest.fixture
def resnet20(network):
    return network(model_config("resnet20"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_of_pytorch_load_without_it(name, network, shared_data):
    file = shared_data / "data" / "cifar_resnet_weights" / PUBLISHED[name]
    model = network(model_config(name))
    load_torch(model, file)
    weights = read_state_dict(file)["state_dict"]
    np.testing.assert_array_equal(model.head.kernel, weights["module.linear.weight"].transpose())
    np.testing.assert_array_equal(
        model.stages[2][1].norm2.var, weights["module.layer3.1.bn2.running_var"]
    )


@pytest.mark.parametrize("form", [zipped, legacy], ids=["zip", "legacy"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(form, folder, resnet20):
    file = folder / "evil.pth"
    form(pickle.dumps({"state_dict": {"conv1.weight": Attack()}}, 2))(file)
    with pytest.raises(WeightsError, match=r"evil.pth is refused: it asks for \w+.system"):
        load_torch(resnet20, file)
    assert not (folder / "attacked").exists()


@pytest.mark.parametrize(
    "function", [b"cbuiltins\neval", b"cnumpy\nload", b"c__builtin__\ngetattr"]
)
def test_only_names_of_tensors_are_looked_up(function, folder):
    file = folder / "evil.pth"
    zipped(b"\x80\x02}X\x01\x00\x00\x00a" + function + b"\nX\x03\x00\x00\x001+1\x85Rs.")(file)
    with pytest.raises(WeightsError, match="is refused"):
        read_state_dict(file)


def write(content):
    return lambda file: file.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (lambda file: None, "missing.pth", "missing.pth does not exist; check the path"),
        (lambda file: file.mkdir(), "folder.pth", "folder.pth is a folder; name the weights file"),
        (write(b""), "empty.pth", "empty.pth is empty: it is truncated"),
        (write(b""), "empty.safetensors", "empty.safetensors is empty: it is truncated"),
        (write(b"<!DOCTYPE html>"), "page.pth", "page.pth of 15 bytes cannot be read"),
        (write(b"<!DOCTYPE html>"), "page.safetensors", "of 15 bytes cannot be read"),
        (write(struct.pack("<Q", 90) + b'{"a": '), "cut.safetensors", "of 14 bytes cannot be"),
        (lambda file: zip_of(file, {"a.txt": "x"}), "a.zip", "cannot be read as weights"),
        (zipped(pickle.dumps([1, 2], 2)), "list.pth", "holds a list, not a state dict"),
        (write(pickle.dumps({"a": 1}, 2)), "plain.pkl", "cannot be read as weights"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[:20] else "",
)
def test_what_is_no_file_of_weights_gets_one_line(make, name, message, folder, resnet20):
    file = folder / name
    make(file)
    with pytest.raises(WeightsError, match=message) as caught:
        load_torch(resnet20, file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("net.onnx", b"", "an ONNX model"),
        ("renamed", b"\x08\x08\x12\nresnet-jax", "an ONNX model"),
        ("renamed.safetensors", b"\x08\x08\x12\nresnet-jax", "an ONNX model"),
        ("net.stablehlo", b"<\x00\x00\x008", r"a function of jax.export \(StableHLO\)"),
        ("renamed.bin", b"ML\xefR\rStableHLO", r"a function of jax.export \(StableHLO\)"),
        ("renamed.bin", b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
        ("net.h5", b"\x89HDF\r\n", "a Keras or HDF5 file"),
        ("net.npz", b"PK\x03\x04", "a file of NumPy"),
        ("net.pt2", b"PK\x03\x04", r"a program of PyTorch \(.*\)"),
        ("net.msgpack", b"\x81\xa1a", r"a file of msgpack \(Flax\)"),
    ],
)
@pytest.mark.parametrize("read", [read_state_dict, load])
def test_other_formats_are_named(name, content, what, read, folder):
    (folder / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} is {what}, which cannot be read back: give"):
        read(folder / name)


def test_content_decides_and_not_the_name(folder, resnet20):
    write_safetensors(folder / "a.safetensors", to_torch(resnet20), {})
    (folder / "a.safetensors").rename(folder / "a.pth")
    load_torch(resnet20, folder / "a.pth")
    load_torch(resnet20, str(folder / "a.pth"))


@pytest.mark.parametrize("place", ["anywhere", "header"])
def test_damage_never_shows_as_another_error(place, folder, shared_data):
    """Truncated anywhere, or with wrong bytes: read, or refused as weights, never more."""
    whole = (shared_data / "data" / "cifar_resnet_weights" / PUBLISHED["resnet20"]).read_bytes()
    numbers = random.Random(0)
    outcomes = set()
    for _ in range(60):
        content = bytearray(
            whole[: numbers.randrange(len(whole))] if place == "anywhere" else whole
        )
        end = len(content) if place == "anywhere" else 20000
        for _ in range(3):
            if content:
                content[numbers.randrange(min(end, len(content)))] = numbers.randrange(256)
        (folder / "damaged.th").write_bytes(content)
        try:
            read_state_dict(folder / "damaged.th")
            outcomes.add("read")
        except WeightsError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_writing_keeps_the_old_file_until_the_new_one_is_whole(folder):
    file = folder / "a.safetensors"
    write_safetensors(file, {"a": np.ones(3, np.float32)}, {"k": "v"})
    with pytest.raises(WeightsError, match=r"a.safetensors cannot be written"):
        write_safetensors(file, {"a": np.array(["text"])}, {})
    arrays, metadata = read_safetensors(file)
    np.testing.assert_array_equal(arrays["a"], np.ones(3))
    assert metadata == {"k": "v"}
    assert [entry.name for entry in folder.iterdir()] == ["a.safetensors"]


def test_a_written_file_can_be_read_by_whom_other_files_can(folder):
    (folder / "plain").touch()
    write_safetensors(folder / "a.safetensors", {"a": np.ones(3, np.float32)}, {})
    assert (folder / "a.safetensors").stat().st_mode == (folder / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.pth", r"name it \*.safetensors"),
        ("nowhere/a.safetensors", "folder .*nowhere does not exist"),
    ],
)
def test_a_place_that_cannot_be_written_gets_one_line(name, message, folder):
    with pytest.raises(WeightsError, match=message):
        write_safetensors(folder / name, {"a": np.ones(3, np.float32)}, {})


def test_the_published_checkpoint_recognises_photos(resnet20, shared_data):
    """Through the file alone: 200 real test images, normalised as its author did."""
    load_torch(resnet20, shared_data / "data" / "cifar_resnet_weights" / PUBLISHED["resnet20"])
    resnet20.eval()
    with zipfile.ZipFile(shared_data / "data" / "cifar10_jpeg.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))[::50]
        images = np.stack(
            [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
        )
    classes = sorted({name.split("/")[1] for name in names})
    labels = np.array([classes.index(name.split("/")[1]) for name in names])
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    logits = jax.jit(lambda x: resnet20(x))(((images / 255 - mean) / std).astype(np.float32))
    assert len(labels) == 200
    assert (np.argmax(logits, -1) == labels).mean() > 0.75


def test_more_axes_than_numpy_has_are_one_line(folder):
    entry = {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}
    header = json.dumps({"odd\n" * 100: entry}).encode()
    file = folder / "a.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(
        WeightsError, match=r"has 65 axes, and NumPy's arrays have at most 64"
    ) as it:
        read_safetensors(file)
    assert str(it.value).isprintable()
