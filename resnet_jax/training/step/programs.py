"""The programs that a run compiles. They need devices or a description of them, but no data."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh, Sharding

from resnet_jax.machine.debugging import searches_for_nans
from resnet_jax.machine.mesh import replicated, state_shardings
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.optimizers import make_optimizer
from resnet_jax.training.step.schedules import make_schedule
from resnet_jax.training.step.state import Graphs, TrainState, initial_state
from resnet_jax.training.step.steps import make_eval_step, make_train_step

PyTree = Any


class TrainProgram(NamedTuple):
    """The training step and what belongs to it.

    Attributes:
        step: `train_step(state, batch) -> (state, sums)` from `jax.jit`; it donates the state.
        optimizer: Turns gradients into updates.
        schedule: The learning rate of each update.
        shapes: Shape and dtype of each array of the state.
        shardings: How each of them is divided over the devices.
        total_steps: Batches in the run.
    """

    step: Any
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    shapes: TrainState
    shardings: TrainState
    total_steps: int


def make_train_program(
    config: TrainConfig, graphs: Graphs, mesh: Mesh, *, steps_per_epoch: int
) -> TrainProgram:
    """Makes the training step of a run, for the devices of a mesh.

    Args:
        config: The run.
        graphs: From `make_graphs`.
        mesh: The devices.
        steps_per_epoch: Batches in an epoch.
    """
    total_steps = config.total_steps(steps_per_epoch)
    schedule = make_schedule(
        config.schedule,
        learning_rate=config.optimizer.learning_rate,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        is_part=config.steps is not None,
    )
    optimizer = make_optimizer(config.optimizer, schedule, finetune=config.finetune)
    shapes = jax.eval_shape(lambda: initial_state(config, optimizer))
    shardings = state_shardings(shapes, mesh, fsdp=config.mesh.fsdp)
    step = jax.jit(
        make_train_step(graphs, optimizer, config, gathered=_gathered(config, mesh)),
        # The search for NaNs repeats the step that made one, and needs its inputs.
        donate_argnums=() if searches_for_nans() else 0,
        out_shardings=(shardings, replicated(mesh)),
        compiler_options=_compiler_options(config, mesh),
    )
    return TrainProgram(step, optimizer, schedule, shapes, shardings, total_steps)


def make_eval_program(config: TrainConfig, graphs: Graphs, mesh: Mesh) -> Any:
    """Makes the evaluation step of a run, `eval_step(variables, batch) -> sums` from `jax.jit`."""
    step = make_eval_step(graphs, config, gathered=_gathered(config, mesh))
    return jax.jit(
        step, out_shardings=replicated(mesh), compiler_options=_compiler_options(config, mesh)
    )


def _gathered(config: TrainConfig, mesh: Mesh) -> Sharding | None:
    return replicated(mesh) if config.mesh.fsdp else None


def _compiler_options(config: TrainConfig, mesh: Mesh) -> dict[str, Any]:
    """Returns what XLA is told; other compilers than that for GPUs refuse its options."""
    if config.mesh.deterministic and mesh.devices.flat[0].platform == "gpu":
        return {"xla_gpu_deterministic_ops": True}
    return {}
