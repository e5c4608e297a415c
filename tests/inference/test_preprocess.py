import io
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import resnet_jax
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.errors import ConfigError
from resnet_jax.network_inputs import NetworkInputs


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture
def content(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_every_form_of_an_image_gives_the_same(pixels, content, tmp_path):
    (tmp_path / "image.png").write_bytes(content)
    prepare = resnet_jax.preprocessing("resnet20")
    expected = prepare(pixels)
    assert (expected.dtype, expected.shape) == (np.float32, (32, 32, 3))
    forms = (
        content,
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
        Image.fromarray(pixels),
        jnp.asarray(pixels),
        np.dstack([pixels, np.full((40, 60, 1), 255, np.uint8)]),
    )
    for form in forms:
        np.testing.assert_array_equal(prepare(form), expected)
    batch = prepare([content, pixels])
    np.testing.assert_array_equal(batch, prepare(np.stack([pixels, pixels])))
    np.testing.assert_array_equal(batch[0], expected)


def test_greyscale_becomes_what_the_network_takes(pixels):
    prepare = resnet_jax.preprocessing("resnet20")
    grey = pixels[..., 0]
    np.testing.assert_array_equal(prepare(grey), prepare(np.dstack([grey] * 3)))
    np.testing.assert_array_equal(prepare(grey), prepare(grey[..., None]))


def test_levels_are_normalised():
    prepare = resnet_jax.preprocessing("resnet50.a1_in1k")
    black = prepare(np.zeros((300, 400, 3), np.uint8))
    mean, std = (np.asarray(values) for values in (prepare.inputs.mean, prepare.inputs.std))
    np.testing.assert_allclose(black, np.broadcast_to(-mean / std, (224, 224, 3)), rtol=1e-6)


def test_labels_are_those_of_the_weights(build, tmp_path):
    assert resnet_jax.preprocessing("resnet50.a1_in1k").labels[207] == "golden retriever"
    assert resnet_jax.preprocessing("resnet20").labels is None
    inputs = NetworkInputs(size=8, class_names=("a", "b", "c"))
    resnet_jax.save(build(), tmp_path / "net.safetensors", preprocessing=inputs)
    prepare = resnet_jax.preprocessing(tmp_path / "net.safetensors")
    assert (prepare.inputs, prepare.labels) == (inputs, ("a", "b", "c"))


def test_a_network_knows_what_its_weights_expect(build, tmp_path):
    inputs = NetworkInputs(size=8, class_names=("a", "b", "c"))
    file = tmp_path / "net.safetensors"
    resnet_jax.save(build(), file, preprocessing=inputs)
    model = resnet_jax.load(file)
    prepare = resnet_jax.preprocessing(model)
    assert (prepare.inputs, prepare.origin) == (inputs, f"recorded in {file}")
    config = model.config
    for classes, names in ((None, ("a", "b", "c")), (5, None)):
        model = resnet_jax.create_model(config, pretrained=file, num_classes=classes)
        assert resnet_jax.preprocessing(model).labels == names
    random = resnet_jax.create_model("resnet8")
    assert resnet_jax.preprocessing(random).inputs.size == 32
    assert "its weights are random" in str(resnet_jax.preprocessing(random))
    with pytest.raises(ConfigError, match="give resnet_jax\\.preprocessing the name or the file"):
        resnet_jax.preprocessing(nnx.clone(random))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), ConfigError, "float32 .*: give uint8"),
        (np.zeros(8, np.uint8), ConfigError, "give uint8"),
        (np.zeros((8, 8, 2), np.uint8), ConfigError, "2 channels: give 1, 3"),
        ([], ConfigError, "no image in the batch"),
        (b"text", BadImageError, "no image of a known format"),
        ("gone.png", FileNotFoundError, "gone.png"),
    ],
)
def test_what_is_no_image_is_refused(images, error, message):
    with pytest.raises(error, match=message):
        resnet_jax.preprocessing("resnet20")(images)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"neither .* nor a network. Did you mean .*'resnet50'"):
        resnet_jax.preprocessing("resnet5O")


def test_it_does_not_slow_down_the_import():
    code = "import sys, resnet_jax; sys.exit(bool({'PIL', 'jax', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
