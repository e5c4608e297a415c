import pytest

from benchmarks.cases import CPU_CASES, Case, layers, numbers_moved, operations
from resnet_jax.zoo import model_config
from resnet_jax.zoo.costs import cost


@pytest.mark.parametrize("case", CPU_CASES, ids=lambda case: case.model)
def test_the_layers_are_those_of_the_network(case):
    found = layers(case)
    config = model_config(case.model, num_classes=case.classes)
    multiply_adds = sum(count * layer.operations for layer, count in found) / 2 / case.batch
    whole = cost(config, case.size).multiply_adds
    classifier = {"resnet18": 512, "resnet50": 2048, "resnet20": 64}[case.model] * case.classes
    assert multiply_adds + classifier == whole


def test_a_step_moves_and_computes_what_a_person_counts():
    case = Case("resnet20", 32, 1, 10)
    first, outputs = 3 * 32**2, 7 * 16 * 32**2 + 6 * 32 * 16**2 + 6 * 64 * 8**2
    inputs = first + 7 * 16 * 32**2 + 6 * 32 * 16**2 + 5 * 64 * 8**2
    assert numbers_moved(case, training=False) == inputs + outputs
    assert numbers_moved(case, training=True) == 3 * inputs - first + 4 * outputs
    equal = 9 * 16 * 16 * 32**2  # multiply-adds of most layers; strided ones have half of them
    forward = equal * (3 / 16 + 6 + 1 / 2 + 5 + 1 / 2 + 5) + 64 * 10
    assert operations(case, training=False) == 2 * forward
    assert operations(case, training=True) == 6 * forward
