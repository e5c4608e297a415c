"""The steps of a recipe, lowered for devices that are only described, without any array."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from resnet_jax.machine.mesh import check_divides, split_by_example
from resnet_jax.training.checks import check_groups
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.programs import make_eval_program, make_train_program
from resnet_jax.training.step.state import make_graphs
from resnet_jax.training.workdir.checkpoint_parts import like

StepName = Literal["training", "evaluation"]
STEPS: tuple[StepName, ...] = get_args(StepName)

_STEPS_PER_EPOCH = 1000  # the programs differ by the constants of the schedule only


class LoweredStep(NamedTuple):
    """A step that can be compiled.

    Attributes:
        lowered: It, as `jax.jit` lowers it.
        state: What it takes besides a batch: the state, or the variables of a network.
        batch_size: Images of a step over all devices.
    """

    lowered: jax.stages.Lowered
    state: Any
    batch_size: int


def lower_step(config: TrainConfig, mesh: Mesh, *, step: StepName, size: int) -> LoweredStep:
    """Lowers a step of a recipe.

    Args:
        config: The run.
        mesh: The devices, or descriptions of devices.
        step: Which of its steps.
        size: Height and width of the images.

    Raises:
        ConfigError: The network is unknown, or the batch does not divide over the devices.
    """
    graphs = make_graphs(config.model, finetune=config.finetune)
    program = make_train_program(config, graphs, mesh, steps_per_epoch=_STEPS_PER_EPOCH)
    state = like(program.shapes, program.shardings)
    if step == "training":
        check_divides(config.batch_size, mesh, field="batch_size", parts=config.accumulation)
        check_groups(config)
        batch = batch_shapes(config, mesh, config.batch_size, size=size)
        return LoweredStep(program.step.lower(state, batch), state, config.batch_size)
    check_divides(config.eval_batch_size, mesh, field="eval_batch_size")
    batch = batch_shapes(config, mesh, config.eval_batch_size, size=size)
    lowered = make_eval_program(config, graphs, mesh).lower(state.evaluated, batch)
    return LoweredStep(lowered, state.evaluated, config.eval_batch_size)


def batch_shapes(
    config: TrainConfig, mesh: Mesh, batch_size: int, *, size: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Describes a batch as `put_batch` places it."""
    split = split_by_example(mesh)
    image = (batch_size, size, size, config.model.sizes()[1])
    return {
        "image": jax.ShapeDtypeStruct(image, jnp.uint8, sharding=split),
        "label": jax.ShapeDtypeStruct((batch_size,), jnp.int32, sharding=split),
        "mask": jax.ShapeDtypeStruct((batch_size,), jnp.bool, sharding=split),
    }
