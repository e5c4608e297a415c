"""What the compiler for NVIDIA's GPUs makes of the steps."""

import dataclasses
import importlib.util
import re

import pytest

from resnet_jax.aot.hlo import memory_traffic, opcodes
from resnet_jax.training.recipe.config import MeshConfig, ModelConfig

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("jax_cuda12_plugin") is None, reason="needs the extra cuda"
    ),
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]


@pytest.mark.parametrize("deterministic", [False, True])
def test_resnet50_scatters_nothing(build, config, deterministic):
    model = ModelConfig(
        name="resnet50", num_classes=1000, in_features=3, dtype="bfloat16", zero_init_last=True
    )
    mesh = MeshConfig(deterministic=deterministic)
    large = dataclasses.replace(config, batch_size=256, model=model, mesh=mesh)
    program = build(large, "h200", size=224)
    # The loss picks one number of a row by a gather, whose gradient writes each number once.
    scattered = re.findall(r" = \w+\[([\d,]*)\]\S* scatter\(", program.text)
    assert all(shape.count(",") < 3 for shape in scattered)
    assert opcodes(program.module)["select-and-scatter"] == 0
    # 100.0 GB when this was written, and 102.6 with a scatter.
    assert memory_traffic(program.module, platform="cuda") < 100.5e9
