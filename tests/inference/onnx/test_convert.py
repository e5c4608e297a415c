import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax.errors import ConfigError
from resnet_jax.inference.export import export, exported_function
from resnet_jax.inference.onnx.convert import to_onnx
from resnet_jax.inference.trained import Trained
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.network_inputs import NetworkInputs

BASE = ResNetConfig(depths=(1, 1), widths=(16, 32), stem_features=16, num_classes=5)
BEFORE = dataclasses.replace(BASE, block="preactivation_basic")
CASES = {
    "base": BASE,
    "shortcut_a": dataclasses.replace(BASE, shortcut="a", stem="cifar"),
    "shortcut_d": dataclasses.replace(BASE, shortcut="d", stem="deep", block="bottleneck"),
    "squeeze_excite": dataclasses.replace(BASE, attention="se", squeeze_ratio=0.25),
    "eca": dataclasses.replace(BASE, attention="eca"),
    "blur": dataclasses.replace(BASE, antialiasing="blur", stem_pool="max_and_blur"),
    "average": dataclasses.replace(BASE, antialiasing="average", stem_pool="average"),
    "group_norm": dataclasses.replace(BASE, norm="group", widths=(32, 64), stem_features=32),
    "evonorm": dataclasses.replace(BEFORE, norm="evonorm_s0", widths=(32, 64), stem_features=32),
    "frn": dataclasses.replace(BEFORE, norm="frn_tlu"),
    "standardized": dataclasses.replace(
        BEFORE, convolution="standardized", stem_pool="zero_padded_max"
    ),
    "silu": dataclasses.replace(BASE, activation="silu"),
    "gelu": dataclasses.replace(BASE, activation="gelu"),
    "dilated": dataclasses.replace(BASE, output_stride=4, groups=2),
    "remat": dataclasses.replace(BASE, remat=True),
}


@pytest.fixture(scope="module")
def onnxruntime():
    pytest.importorskip("onnx", reason="pip install -e '.[onnx]' adds onnx")
    return pytest.importorskip("onnxruntime", reason="pip install -e '.[test]' adds onnxruntime")


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_computes_what_jax_computes(onnxruntime, build, name):
    model = build(CASES[name])
    trained = Trained(model, NetworkInputs(size=32), origin="net")
    function, image = exported_function(trained, fold=False, from_pixels=True)
    session = onnxruntime.InferenceSession(
        to_onnx(function, image), providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = np.asarray(jax.jit(function)(images))
    for count in (1, 3):
        (logits,) = session.run(["logits"], {"images": images[:count]})
        np.testing.assert_allclose(logits, expected[:count], atol=1e-4 * np.abs(expected).max())


def test_a_folded_network_is_written_to_a_file_without_norms(onnxruntime, trained, tmp_path):
    import onnx

    written = export(trained, tmp_path / "net.onnx", fold=True)
    counts = {}
    for node in onnx.load(written.path).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    assert counts["Conv"] == 5
    assert not {"Sqrt", "Reciprocal", "Sub"} & counts.keys()
    session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(trained.model(images))
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert session.get_inputs()[0].shape == ["batch", 8, 8, 3]
    held = session.get_modelmeta().custom_metadata_map
    description = json.loads(written.description.read_text())
    assert {name: json.loads(text) for name, text in held.items()} == description


@pytest.mark.parametrize(
    ("function", "held"),
    [
        (jnp.sort, "'sort'"),
        (lambda x: jax.lax.pad(x, 0.0, ((0, 0, 0), (0, 0, 1))), "a 'pad' of an unusual kind"),
        # These carry a function as a call does, and run it more than once.
        (lambda x: jax.lax.fori_loop(0, 3, lambda _, y: 2 * y, x), "'scan'"),
        (lambda x: jax.lax.reduce(x, jnp.float32(1), jax.lax.mul, (1,)), "'reduce'"),
        (lambda x: x.mean(axis=0, keepdims=True), "'dim_as_value'"),
    ],
)
def test_an_operation_that_is_not_known_is_named(onnxruntime, function, held):
    image = jax.ShapeDtypeStruct((4,), jnp.float32)
    with pytest.raises(ConfigError, match=f"cannot be written as ONNX: it holds {held}"):
        to_onnx(function, image)


def test_a_network_that_computes_in_bfloat16_is_written_in_float32(onnxruntime, build, tmp_path):
    config = CASES["shortcut_a"]
    model = build(config)
    half = nnx.eval_shape(lambda: ResNet(config, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    nnx.update(half, nnx.state(model))
    half.eval()
    written = export(Trained(half, NetworkInputs(size=8), origin="net"), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(model(images))
    (logits,) = session.run(None, {"images": images})
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_without_the_package_the_remedy_is_named(monkeypatch, trained, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"pip install 'resnet-jax\[onnx\]'"):
        export(trained, tmp_path / "net.onnx")
    assert nnx.state(trained.model)
