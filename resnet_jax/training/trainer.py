"""Builds what training needs in addition: batches, a first state, the optimizer and its step."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from resnet_jax.data.class_counts import labels_of
from resnet_jax.data.images.transforms import train_transform
from resnet_jax.data.loading.batches import Batch
from resnet_jax.data.loading.order import ClassMembers
from resnet_jax.data.loading.pipeline import BatchIterator, train_loader
from resnet_jax.data.sources import Source
from resnet_jax.local_paths import user_path
from resnet_jax.machine.mesh import check_divides, put_batch
from resnet_jax.training.checks import check_early_stopping, check_groups
from resnet_jax.training.evaluator import Evaluator
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.programs import make_train_program
from resnet_jax.training.step.resizing import shrink, size_at
from resnet_jax.training.step.state import (
    TrainState,
    initial_state,
    load_variables,
    start_from,
)
from resnet_jax.training.step.steps import TrainStep
from resnet_jax.training.workdir.checkpoint_parts import like
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.trained_network import variables_of_run


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Everything that training needs in addition, built once.

    Attributes:
        config: The run.
        mesh: The devices.
        source: The training split.
        optimizer: Turns gradients into updates.
        schedule: The learning rate of each update.
        train_step: Compiled on its first call; donates the state.
        shapes: Shape and dtype of each array of the state.
        shardings: How each of them is divided over the devices.
        balanced: The examples of each class, if classes are to come equally often.
        steps_per_epoch: Batches in an epoch.
        total_steps: Batches in the run.
    """

    config: TrainConfig
    mesh: Mesh
    source: Source
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    train_step: TrainStep
    shapes: TrainState
    shardings: TrainState
    balanced: ClassMembers | None
    steps_per_epoch: int
    total_steps: int

    def batches(self) -> BatchIterator:
        """Opens the endless training batches of this process."""
        return train_loader(
            self.source,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            processes=jax.process_count(),
            process=jax.process_index(),
            workers=self.config.data.workers,
            transform=train_transform(
                self.config.data, self.config.augment, channels=self.source.channels
            ),
            repeats=self.config.data.repeats,
            straddle=self.config.data.straddle_epochs,
            balanced=self.balanced,
        )

    def first_state(self) -> TrainState:
        """Initializes the state at random, or from the trained weights that the recipe names.

        Raises:
            ConfigError: The weights do not exist, or the run is one of another network.
            WeightsError: They cannot be read, or do not fit the network.
            CheckpointError: The run has no such checkpoint.
        """
        finetune = self.config.finetune
        initial = functools.partial(initial_state, self.config, self.optimizer)
        state = jax.jit(initial, out_shardings=self.shardings)()
        if finetune is None or finetune.weights is None:
            return state
        place = user_path(finetune.weights)
        if not place.is_dir():
            return start_from(state, load_variables(self.config, finetune.weights))
        variables = variables_of_run(self.config, Workdir(place), step=finetune.step)
        return start_from(state, variables)

    def like(self) -> TrainState:
        """Describes the state without its values, for restoring a checkpoint."""
        return like(self.shapes, self.shardings)

    def put(self, batch: Batch, step: int) -> dict[str, Any]:
        """Moves a batch to the devices, and shrinks its images if the recipe resizes them.

        Args:
            batch: From `batches`.
            step: From 0.
        """
        on_devices = put_batch(batch, self.mesh)
        if self.config.resize is None:
            return on_devices
        full = batch["image"].shape[1]
        planned = self.config.schedule.ends(self.total_steps)[0]
        size = size_at(self.config.resize, step, total_steps=planned, full=full)
        return on_devices if size == full else shrink(on_devices, size)


def make_trainer(evaluator: Evaluator) -> Trainer:
    """Builds everything that training needs in addition.

    Args:
        evaluator: The evaluator of the run.

    Raises:
        ConfigError: The batch does not divide over the devices.
    """
    config, mesh, source = evaluator.config, evaluator.mesh, evaluator.training
    check_divides(config.batch_size, mesh, field="batch_size", parts=config.accumulation)
    check_groups(config)
    check_early_stopping(config)
    per_epoch = evaluator.steps_per_epoch
    is_balanced = config.data.sampling == "balanced"
    program = make_train_program(config, evaluator.graphs, mesh, steps_per_epoch=per_epoch)
    return Trainer(
        config=config,
        mesh=mesh,
        source=source,
        optimizer=program.optimizer,
        # For the records: outside a step, JAX would compile each operation of the schedule.
        schedule=jax.jit(program.schedule),
        train_step=program.step,
        shapes=program.shapes,
        shardings=program.shardings,
        balanced=ClassMembers(labels_of(source)) if is_balanced else None,
        steps_per_epoch=per_epoch,
        total_steps=program.total_steps,
    )
