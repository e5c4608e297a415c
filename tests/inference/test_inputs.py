import dataclasses

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.models import ResNetConfig
from resnet_jax.network_inputs import NetworkInputs, inputs_from_plain
from resnet_jax.zoo import usual_inputs


def test_published_networks_have_the_inputs_of_their_dataset():
    imagenet = ResNetConfig(depths=(1,), widths=(8,))
    assert usual_inputs(imagenet) == NetworkInputs(size=224, crop_fraction=0.875)
    cifar = dataclasses.replace(imagenet, stem="cifar")
    assert usual_inputs(cifar) == NetworkInputs(size=32, crop_fraction=1.0)
    grey = usual_inputs(dataclasses.replace(cifar, in_features=1))
    assert (grey.channels, grey.mean) == (1, (0.5,))


def test_plain_values_come_back():
    inputs = NetworkInputs(size=64, crop_fraction=0.9, mean=(0.4, 0.5, 0.6))
    assert inputs_from_plain(inputs.preprocessing(), channels=3) == inputs
    record = {"size": 224, "crop_fraction": 0.95, "mean": [0.5, 0.5, 0.5], "test_size": 288}
    assert inputs_from_plain(record, channels=3).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sise": 3}, "no field 'sise'. Did you mean 'size'?"),
        ({"size": 0}, "size=0"),
        ({"size": "large"}, "size='large': give a whole number"),
        ({"size": 8.5}, "size=8.5: give a whole number"),
        ({"size": True}, "size=True: give a whole number"),
        ({"crop_fraction": "x"}, "crop_fraction='x': give a number"),
        ({"mean": ["x"]}, "mean=('x',): give a list of numbers"),
        ({"std": 0.5}, "std=0.5: give a list of numbers"),
        ({"interpolation": 3}, "interpolation=3: give bilinear or bicubic"),
        ({"mean": [0.5, 0.5], "channels": 1}, "give 1 number"),
        ({"crop_fraction": 1.5}, "crop_fraction=1.5"),
        ({"interpolation": "lanczos"}, "give bilinear or bicubic"),
        ({"mean": [0.5, 0.5]}, "give 1 number, or 3 for RGB"),
        ({"mean": [127.0]}, "divide pixel values by 255"),
        ({"std": [0.0]}, "leaves 0.0001..1; divide by 255"),
        ({"std": [1e-320]}, "leaves 0.0001..1"),
        ({"std": [float("nan")]}, "leaves 0.0001..1"),
        ({"mean": [10**400]}, "0...000"),
        ({"size": 100_000}, "size=100000: give at most 4096 pixels"),
        ({"size": 224, "crop_fraction": 1e-300}, "resized to more than 8192 pixels"),
        ({"size": 8, "crop_fraction": float("nan")}, "crop_fraction=nan: give a number in"),
        ({"x" * 1000: 1}, "x...x"),
        ({"channels": 4}, "grey"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_line(values, message):
    with pytest.raises(ConfigError) as caught:
        inputs_from_plain(values, channels=3)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
