import dataclasses
import json
import pathlib
import re
import resource
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from resnet_jax.data.on_device.augment import normalize
from resnet_jax.errors import ConfigError
from resnet_jax.inference.export import export, exported_function, to_stablehlo
from resnet_jax.models import ResNet
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.weights import WeightsError, load_torch

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)


@pytest.fixture
def logits(trained, pixels):
    return np.asarray(trained.model(normalize(pixels, trained.inputs.mean, trained.inputs.std)))


@pytest.mark.parametrize("fold", [False, True])
def test_the_artefact_runs_for_any_batch(trained, pixels, logits, fold):
    function, image = exported_function(trained, fold=fold, from_pixels=True)
    exported = jax.export.deserialize(bytearray(to_stablehlo(function, image)))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    for count in (1, 5):
        np.testing.assert_allclose(
            exported.call(pixels[:count]), logits[:count], atol=1e-5 * np.abs(logits).max()
        )


def test_the_script_in_the_docs_runs_the_artefact_with_only_jax(trained, pixels, logits, tmp_path):
    written = export(trained, tmp_path / "net.stablehlo", from_pixels=True)
    assert written.size == written.path.stat().st_size
    np.save(tmp_path / "images.npy", pixels)
    page = (ROOT / "docs" / "inference.md").read_text()
    (script,) = re.findall(r"```python\n(import jax.*?)```", page, re.DOTALL)
    assert len(script.splitlines()) == 5
    check = "import sys; assert not {'flax', 'resnet_jax'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", script + check],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(result, logits, rtol=1e-5, atol=1e-5)


def test_what_goes_in_and_out_is_described(trained, tmp_path):
    for from_pixels, dtype in ((False, "float32"), (True, "uint8")):
        written = export(trained, tmp_path / "net.stablehlo", from_pixels=from_pixels)
        assert written.description == tmp_path / "net.stablehlo.json"
        values = json.loads(written.description.read_text())
        assert values["input"]["shape"] == ["batch", 8, 8, 3]
        assert values["input"]["dtype"] == dtype
        assert values["class_names"] == ["blue", "green", "red"]
        assert values["preprocessing"]["mean"] == [0.5]


def test_normalised_inputs_are_taken_unless_pixels_are_asked_for(trained, pixels, logits):
    function, image = exported_function(trained, fold=False, from_pixels=False)
    assert image.dtype == np.float32
    images = normalize(pixels, trained.inputs.mean, trained.inputs.std)
    np.testing.assert_allclose(function(images), logits, rtol=1e-6)


def test_weights_are_named_as_pytorch_names_them(trained, tmp_path):
    written = export(trained, tmp_path / "net.safetensors")
    tensors = safetensors.numpy.load_file(written.path)
    assert tensors["conv1.weight"].shape == (8, 3, 3, 3)
    assert "layer1.0.bn1.running_mean" in tensors
    copy = nnx.eval_shape(lambda: ResNet(trained.model.config, rngs=nnx.Rngs(7)))
    load_torch(copy, written.path)
    copy.eval()
    images = np.ones((1, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(copy(images), trained.model(images))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("net.pb", {}, r"name it \*.stablehlo, \*.onnx, \*.safetensors"),
        ("net.safetensors", {"fold": True}, "holds weights only"),
        ("net.safetensors", {"from_pixels": True}, "holds weights only"),
    ],
)
def test_what_cannot_be_exported_is_refused(trained, tmp_path, name, options, message):
    with pytest.raises(ConfigError, match=message):
        export(trained, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.stablehlo", "net.onnx", "net.safetensors"])
def test_a_full_disk_leaves_the_file_that_was_there(trained, tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"of yesterday")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # A limit on the size of files stands for the disk: writes beyond it fail.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises((OSError, WeightsError)):
            export(trained, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    assert file.read_bytes() == b"of yesterday"
    assert list(tmp_path.iterdir()) == [file]


def test_images_need_a_size(trained, tmp_path):
    sizeless = dataclasses.replace(trained, inputs=NetworkInputs())
    with pytest.raises(ConfigError, match=r"--inputs\.size"):
        export(sizeless, tmp_path / "net.stablehlo")
