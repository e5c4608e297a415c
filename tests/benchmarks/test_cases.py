import pytest

from benchmarks.cases import CPU_CASES, Case, layers, numbers_moved, operations
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


def test_a_step_moves_and_computes_so_much():
    """ResNet-50's outputs are the 11.1 million numbers that papers count as its activations."""
    case = Case("resnet50", 224, 1, 1000)
    outputs = sum(count * layer.out_size**2 * layer.features for layer, count in layers(case))
    assert outputs == 11_113_984
    forward, step = (numbers_moved(case, training=training) for training in (False, True))
    assert 3 * forward < step < 4 * forward
    assert operations(case, training=True) == 3 * operations(case, training=False)
