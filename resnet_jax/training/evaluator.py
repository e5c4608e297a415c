"""Builds what evaluation needs: devices, data, network and a compiled step."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import jax
from jax.sharding import Mesh

from resnet_jax.data.images.transforms import eval_transform
from resnet_jax.data.labels import match_labels
from resnet_jax.data.loading.pipeline import EvalLoader, eval_loader, steps_per_epoch
from resnet_jax.data.sources import Source, load_split
from resnet_jax.errors import ConfigError
from resnet_jax.machine.mesh import check_divides, make_mesh
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.checks import check_channels_fit, fit_notes, fit_to_data
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.programs import make_eval_program
from resnet_jax.training.step.state import Graphs, make_graphs
from resnet_jax.training.step.steps import EvalStep


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Everything that evaluation needs, built once.

    Attributes:
        config: The run, with the number of classes and channels.
        mesh: The devices.
        graphs: The network's structure.
        eval_step: Compiled on its first call.
        training: The training split, whose classes are the network's outputs.
        workdir: The folder for `bad_examples.jsonl`, which `data.on_error="skip"` writes.
        sources: Splits by their names, if a program gives them.
    """

    config: TrainConfig
    mesh: Mesh
    graphs: Graphs
    eval_step: EvalStep
    training: Source
    workdir: pathlib.Path
    sources: Mapping[str, Source] | None = None

    @property
    def inputs(self) -> NetworkInputs:
        """What the network expects of images, and the names of its outputs."""
        shape, data = self.training.image_shape, self.config.data
        size = shape[0] if shape is not None and shape[0] == shape[1] else None
        names = self.training.class_names
        outputs = self.config.model.sizes()[0]
        unused = (f"unused {index}" for index in range(len(names), outputs))
        inputs = data.inputs(channels=self.training.channels, size=size)
        inputs = dataclasses.replace(inputs, multi_label=self.training.is_multi_label)
        return inputs.named((*names, *unused))

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the training split in an epoch."""
        return steps_per_epoch(len(self.training), self.config.batch_size)

    def source(self, split: str) -> Source:
        """Opens a split; its labels become the network's outputs, by name.

        Raises:
            ConfigError: The split does not exist, its images do not fit the network, or the
                training split lacks one of its classes.
        """
        data = self.config.data
        if split == data.train_split:
            return self.training
        source = load_split(data, split, workdir=self.workdir, sources=self.sources)
        check_channels_fit(source, self.config)
        names = self.training.class_names
        if source.is_multi_label != self.training.is_multi_label:
            raise ConfigError(
                f"{data.name}: in one of the splits {data.train_split} and {split}, an image may "
                "have several classes, and in the other one; give both the same kind of labels"
            )
        if source.class_names == names:
            return source
        outputs = match_labels(
            source.class_names, names, dataset=f"{data.name} {split}", network="the training split"
        )
        return source.relabelled(outputs, names)

    def batches(self, split: str) -> EvalLoader:
        """Opens a split for evaluation.

        Raises:
            ConfigError: The split does not exist, or its images do not fit the network.
        """
        source = self.source(split)
        return eval_loader(
            source,
            batch_size=self.config.eval_batch_size,
            processes=jax.process_count(),
            process=jax.process_index(),
            workers=self.config.data.workers,
            transform=eval_transform(
                self.config.data.inputs(channels=source.channels),
                max_pixels=self.config.data.max_pixels,
            ),
        )


def make_evaluator(
    config: TrainConfig,
    *,
    workdir: str | pathlib.Path = ".",
    sources: Mapping[str, Source] | None = None,
) -> Evaluator:
    """Builds everything that evaluation needs.

    Args:
        config: The run.
        workdir: The folder of the run.
        sources: Splits by their names, to be used where `config.data.name` is `given:NAME`.

    Raises:
        ConfigError: The network is unknown, the data cannot be opened or do not fit it, or the
            batch does not divide over the devices.
    """
    training = load_split(config.data, config.data.train_split, workdir=workdir, sources=sources)
    fitted = fit_to_data(config, training)
    training.notes += fit_notes(config, fitted)
    config = fitted
    mesh = make_mesh(config.mesh.devices)
    check_divides(config.eval_batch_size, mesh, field="eval_batch_size")
    graphs = make_graphs(config.model, finetune=config.finetune)
    return Evaluator(
        config=config,
        mesh=mesh,
        graphs=graphs,
        eval_step=make_eval_program(config, graphs, mesh),
        training=training,
        workdir=pathlib.Path(workdir),
        sources=sources,
    )
