"""Programs as the compilers of accelerators make them, without an accelerator."""

import dataclasses

import jax
import pytest

from resnet_jax.aot.hlo import parse_hlo
from resnet_jax.aot.lowering import lower_step
from resnet_jax.aot.topology import compile_for, describe_topology
from resnet_jax.machine.mesh import mesh_of
from resnet_jax.training.recipe.config import ModelConfig, OptimizerConfig, TrainConfig


@pytest.fixture
def config():
    """A step of resnet20 whose BatchNorms see the images of one of four chips."""
    return TrainConfig(
        batch_size=32,
        model=ModelConfig(
            name="resnet20", num_classes=10, in_features=3, dtype="bfloat16", norm_group_size=8
        ),
        optimizer=OptimizerConfig(weight_decay=1e-4),
    )


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled step: its text, its parsed text, and what the compiler says of its memory."""

    compiled: jax.stages.Compiled
    text: str
    module: object

    @property
    def memory(self):
        return self.compiled.memory_analysis()


@pytest.fixture
def build(optimized):
    """Compiles a step of a recipe for a topology."""

    def build(config, topology, *, step="training", size=32):
        described = describe_topology(topology)
        lowered = lower_step(config, mesh_of(described.devices), step=step, size=size).lowered
        return finish(described, lowered)

    return build


def finish(topology, lowered):
    compiled = compile_for(topology, lowered)
    return Program(compiled, compiled.as_text(), parse_hlo(compiled))
