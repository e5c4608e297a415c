"""Files in our own format that ask for more than they hold: one line, before anything is built."""

import dataclasses
import json

import pytest

from resnet_jax import Backbone, create_model, load, save
from resnet_jax.errors import ConfigError
from resnet_jax.inference.trained import open_trained
from resnet_jax.weights import WeightsError, read_record
from resnet_jax.weights.files import read_safetensors, write_safetensors

HUGE = 10**400
pytestmark = pytest.mark.timeout(60)  # building what some of the files ask for takes longer


@pytest.fixture
def file(network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save(network(), path)
    return path


def rewrite(file, **metadata):
    """Writes the same arrays with changed metadata."""
    arrays, old = read_safetensors(file)
    write_safetensors(file, arrays, old | metadata)


def header(file, **entries):
    """Writes a safetensors file whose header says anything."""
    content = json.dumps(entries).encode()
    file.write_bytes(len(content).to_bytes(8, "little") + content + bytes(64))


def refusal(read):
    """The line that reading raises."""
    with pytest.raises((WeightsError, ConfigError)) as caught:
        read()
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 800
    return message


CONFIGS = {
    "depth": ({"depths": [1, 10_000]}, "depths=[1, 10000], but its arrays have [1, 2] blocks"),
    "depth_of_text": ({"depths": [1, "10000000"]}, "depths is not a list of whole numbers"),
    "huge_depth": ({"depths": [1, HUGE]}, "depths=1000"),
    "stages": ({"depths": [1] * 10**5, "widths": [8] * 10**5}, "its arrays have [1, 2] blocks"),
    "no_stages": ({"depths": [], "widths": []}, "need one entry for each stage"),
    "widths": ({"widths": [16, 2**30]}, "widths=[16, 1073741824], but no axis of an array is"),
    "huge_width": ({"widths": [16, HUGE]}, "is too large"),
    "classes": ({"num_classes": 10**9}, "num_classes=1000000000, but no axis of an array is"),
    "in_features": ({"in_features": 10**9}, "in_features=1000000000, but no axis"),
    "nan": ({"mid_ratio": float("nan")}, "mid_ratio=nan is not a number"),
    "infinite": ({"squeeze_ratio": float("inf")}, "squeeze_ratio=inf is not a number"),
    "negative": ({"first_ratio": -1.0}, "first_ratio=-1.0 must lie in (0, 1000]"),
    "epsilon": ({"batch_norm": {"epsilon": float("nan")}}, "epsilon=nan is not a number"),
    "momentum": ({"batch_norm": {"momentum": 7.0}}, "batch_norm.momentum=7.0 must lie in [0, 1]"),
    "text": ({"stem": "x" * 10**6}, "stem has a text of 1,000,000 characters"),
    "field": ({"y" * 10**6: 1}, "a name in the metadata has a text of 1,000,000 characters"),
    "control": ({"stem": "\x1b[2J\n"}, "is unknown"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_asks_for_too_much_is_one_line(name, tiny, file):
    changes, message = CONFIGS[name]
    rewrite(file, config=json.dumps(dataclasses.asdict(tiny) | changes))
    assert message in refusal(lambda: load(file))
    assert message in refusal(lambda: create_model(tiny, pretrained=file))


METADATA = {
    "names": ({"class_names": '["a"]'}, "class_names has 1 name for 5 classes"),
    "nested": ({"config": "[" * 10**5}, "nested too deeply"),
    "list": ({"config": "[]"}, "depths is not a list"),
    "digits": ({"config": "9" * 5000}, "correctly: "),
    "version": ({"format_version": "9" * 4000}, "has format version 999"),
    "maps": ({"out_indices": f"[{HUGE}]"}, "is too large"),
    "no_maps": ({"out_indices": "[]"}, "out_indices names no map"),
    "deep_preprocessing": ({"preprocessing": '{"a":' * 10**5}, "nested too deeply"),
    "nan_preprocessing": ({"preprocessing": '{"std": [NaN]}'}, "std=nan is not a number"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_says_too_much_is_one_line(name, file):
    metadata, message = METADATA[name]
    rewrite(file, **metadata)
    assert message in refusal(lambda: load(file, features_only=True))


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ({"size": 100_000}, "size=100000: give at most 4096 pixels"),
        ({"crop_fraction": 1e-300, "size": 8}, "resized to more than 8192 pixels"),
        ({"std": [1e-320]}, "leaves 0.0001..1"),
    ],
)
def test_inputs_that_no_image_can_become_are_one_line(preprocessing, message, file):
    rewrite(file, preprocessing=json.dumps(preprocessing))
    assert message in refusal(lambda: open_trained(str(file)))


def test_stages_that_a_backbone_is_without_are_bounded(network, tmp_path, tiny):
    path = tmp_path / "tiny.safetensors"
    save(Backbone(network(), out_indices=(0,)), path)
    for depths in ([1, 10_000], [1, HUGE], [1] * 10**5):
        rewrite(path, config=json.dumps(dataclasses.asdict(tiny) | {"depths": depths}))
        refusal(lambda: load(path, features_only=True))


@pytest.mark.parametrize(
    "preprocessing",
    [{"std": [float("nan")]}, {"size": HUGE}, {"size": {1, 2}}, {"size": "x" * 999}],
)
def test_what_could_not_be_read_is_not_written(preprocessing, network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    with pytest.raises(WeightsError, match=r"^the model is not saved: "):
        save(network(), path, preprocessing=preprocessing)
    assert not path.exists()
    save(network(), path, class_names=["a" * 1000, *"bcde"])
    assert read_record(path).class_names[0] == "a" * 1000


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "I8", "BOOL"])
def test_arrays_of_numbers_that_no_network_has_are_one_line(dtype, tiny, file):
    arrays, metadata = read_safetensors(file)
    bits = {"F4": 4, "F6_E2M3": 6}.get(dtype, 8)
    names = {
        "stem.norm.scale": arrays["stem.norm.scale"],
        "stem.conv.kernel": arrays["stem.conv.kernel"],
    }
    for name in names:
        entries, start, data = {"__metadata__": metadata}, 0, b""
        for key, array in arrays.items():
            of_bytes = array.size * bits // 8 if key == name else array.nbytes
            places = [start, start := start + of_bytes]
            kind = dtype if key == name else "F32"
            entries[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": places}
            data += bytes(of_bytes)
        content = json.dumps(entries).encode()
        file.write_bytes(len(content).to_bytes(8, "little") + content + data)
        message = refusal(lambda: load(file))
        assert f"1 not an array of floats: {name}" in message
        refusal(lambda: create_model(tiny, pretrained=file))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F8_E4M3", "shape": [64], "data_offsets": [0, 64]},
        {"dtype": "F6_E2M3", "shape": [4, 16], "data_offsets": [0, 48]},
        {"dtype": "F4", "shape": [128], "data_offsets": [0, 64]},
        {"dtype": "F128", "shape": [4], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [1] * 65 + [16], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [2**64], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 64]},
    ],
    ids=["F8", "F6", "F4", "F128", "empty", "axes", "huge", "negative"],
)
@pytest.mark.parametrize("name", ["conv1.weight", "fc.weight", "head.weight"])
def test_odd_arrays_of_safetensors_are_one_line(name, entry, tmp_path):
    file = tmp_path / "odd.safetensors"
    header(file, **{name: entry})
    refusal(lambda: create_model("resnet20", pretrained=file))
    header(file, **{name: entry, "conv1.weight": entry})
    refusal(lambda: create_model("resnet18", pretrained=file))
