import pytest

from benchmarks.convolutions import layers
from benchmarks.networks import CPU_CASES
from resnet_jax.zoo import model_config
from resnet_jax.zoo.describe import cost


@pytest.mark.parametrize("case", CPU_CASES, ids=lambda case: case.model)
def test_the_layers_are_those_of_the_network(case):
    found = layers(case)
    config = model_config(case.model, num_classes=case.classes)
    multiply_adds = sum(count * layer.operations for layer, count in found) / 2 / case.batch
    whole = cost(config, case.size).multiply_adds
    classifier = {"resnet18": 512, "resnet50": 2048, "resnet20": 64}[case.model] * case.classes
    assert multiply_adds + classifier == whole
