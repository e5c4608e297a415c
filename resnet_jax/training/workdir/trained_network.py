"""Reads the network of a run, to use it or to start another run from it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from flax import nnx

from resnet_jax import weights
from resnet_jax.errors import ConfigError
from resnet_jax.machine.mesh import make_mesh, replicated
from resnet_jax.models import ResNet
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.state import (
    Variables,
    build_model,
    make_graphs,
    parameter_key,
    variables_of,
)
from resnet_jax.training.workdir.checkpoint_parts import like
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.stored import Step, StoredCheckpoints


class RunNetwork(NamedTuple):
    """The network of a run.

    Attributes:
        model: The network in evaluation mode.
        step: The number of its checkpoint.
        remarks: What the user should know, one line each.
    """

    model: ResNet
    step: int
    remarks: tuple[str, ...]


def read_network(files: Workdir, config: TrainConfig, *, step: Step = None) -> RunNetwork:
    """Reads the network in a checkpoint of a run; its moving averages if the run keeps any.

    Args:
        files: The folder of the run.
        config: Its settings.
        step: Which checkpoint to read.

    Raises:
        CheckpointError: The checkpoint does not exist or cannot be read.
    """
    shapes = variables_of(nnx.eval_shape(lambda: build_model(config.model, rngs=nnx.Rngs(0))))
    restored = StoredCheckpoints(files.checkpoints).restore_variables(
        like(shapes, replicated(make_mesh())), averaged=config.ema is not None, step=step
    )
    graph = make_graphs(config.model).evaluate
    model = nnx.merge(graph, restored.variables.params, restored.variables.batch_stats)
    return RunNetwork(model, restored.step, restored.remarks)


def variables_of_run(config: TrainConfig, files: Workdir, *, step: Step = None) -> Variables:
    """Reads the variables that a run starts from out of another run.

    Args:
        config: The run that starts. If its number of classes differs, the head is drawn from its
            seed; if its number of channels differs, the first kernel is adapted.
        files: The folder of the other run.
        step: Which of its checkpoints to read.

    Raises:
        ConfigError: The folder does not hold a run, or its network is another one.
        CheckpointError: The checkpoint does not exist or cannot be read.
    """
    earlier = files.read_config()
    for field in ("name", "width"):
        old, new = getattr(earlier.model, field), getattr(config.model, field)
        if old != new:
            raise ConfigError(
                f"finetune.weights={files.root} is a run of another network: its model.{field} is "
                f"{old!r}, not {new!r}"
            )
    num_classes, in_features = config.model.sizes()
    source, number, remarks = read_network(files, earlier, step=step)
    if step is None and number != StoredCheckpoints(files.checkpoints).steps()[-1]:
        raise ConfigError(
            f"finetune.weights={files.root}: {remarks[0]}; finetune.step={number} accepts that"
        )
    model = weights.load_pretrained(
        dataclasses.replace(source.config, num_classes=num_classes, in_features=in_features),
        weights.to_torch(source),
        num_classes=num_classes,
        in_features=in_features,
        rngs=nnx.Rngs(params=parameter_key(config.seed)),
    )
    return variables_of(model)
