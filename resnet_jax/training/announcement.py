"""The lines before the first step: what is about to be trained, on what, and where it goes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

import jax
from rich.console import Console

from resnet_jax.buckets import AnyPath
from resnet_jax.data.class_counts import count_classes
from resnet_jax.data.loading.pipeline import EvalLoader
from resnet_jax.data.sources import Source
from resnet_jax.errors import counted, noun_for
from resnet_jax.training.progress import say
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.trainer import Trainer
from resnet_jax.zoo.catalogue import stored_costs

_SCREEN = 80
_INDENT = " " * 11
_NAMES = 60


def announce(
    trainer: Trainer,
    splits: Mapping[str, EvalLoader],
    *,
    workdir: AnyPath,
    console: Console,
) -> None:
    """Prints what a run is about to do.

    Args:
        trainer: The run.
        splits: The splits that are evaluated.
        workdir: Its folder.
        console: Where to print.
    """
    facts = {
        "devices": describe_devices(trainer),
        "network": describe_network(trainer),
        "data": describe_data(trainer, splits),
        "training": describe_training(trainer),
        **describe_balance(trainer),
        "precision": describe_precision(trainer.config),
        "folder": str(workdir),
    }
    for name, fact in facts.items():
        lines = textwrap.wrap(fact, _SCREEN - len(_INDENT), break_long_words=False)
        say(console, f"{name:{len(_INDENT)}}{lines[0]}")
        for line in lines[1:]:
            say(console, _INDENT + line)


def describe_devices(trainer: Trainer) -> str:
    """Counts the devices, such as `2 x cpu` or `8 x TPU v4 in 2 processes`."""
    devices = trainer.mesh.devices.flat
    kinds = ", ".join(sorted({device.device_kind for device in devices}))
    processes = jax.process_count()
    several = f" in {processes} processes" if processes > 1 else ""
    share = ", each with a share of the state" if trainer.config.mesh.fsdp else ""
    return f"{len(devices)} x {kinds}{several}{share}"


def describe_network(trainer: Trainer) -> str:
    """Names the network with its parameters and its work for one image."""
    model = trainer.config.model
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trainer.shapes.params))
    text = f"{model.name}, {parameters:,} parameters"
    size = _image_size(trainer.config, trainer.source)
    stored = stored_costs().get(model.name)
    if stored is not None and size is not None:
        # Nearly all work is in convolutions, and grows with the area.
        area = size[0] * size[1] / stored.size**2
        text += f", about {stored.multiply_adds * area / 1e9:.2g} GFLOPs an image"
    return text


def describe_data(trainer: Trainer, splits: Mapping[str, EvalLoader]) -> str:
    """Names the dataset with the images of each split, their size and the first classes."""
    config, source = trainer.config, trainer.source
    counts = {config.data.train_split: len(source)}
    counts |= {split: batches.examples for split, batches in splits.items()}
    size = _image_size(config, source)
    shape = f", {size[0]} x {size[1]} pixels" if size else ""
    images = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    return f"{config.data.name}{shape}: {images}; {_describe_classes(source)}"


def _describe_classes(source: Source) -> str:
    """Counts the classes, and their training images where no image has to be read for that."""
    names, stored = list(source.class_names), source.stored_labels()
    sizes = ""
    if stored is not None:
        counts = count_classes(stored, names)
        names = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True)]
        least, most = int(counts.min()), int(counts.max())
        spread = f"{least:,} to " if least < most else ""
        sizes = f" of {spread}{counted(most, 'training image')}"
    listed = textwrap.shorten(", ".join(names), _NAMES, placeholder=" ...")
    return f"{counted(len(names), 'class')}{sizes}: {listed}"


def describe_balance(trainer: Trainer) -> dict[str, str]:
    """Says what a run does about classes of different sizes, if anything."""
    names, weights = trainer.source.class_names, trainer.config.loss.class_weights
    facts = []
    if isinstance(weights, tuple):
        pairs = zip(names, weights, strict=False)
        listed = ", ".join(f"{name} {weight:.3g}" for name, weight in pairs)
        facts.append(f"weights {textwrap.shorten(listed, _NAMES, placeholder=' ...')}")
    if trainer.balanced is not None:
        facts.append("an epoch has as many images of each class, rare ones several times")
    return {"balance": "; ".join(facts)} if facts else {}


def describe_training(trainer: Trainer) -> str:
    """Says how long the run is, in which batches, and with which learning rate."""
    config, total = trainer.config, trainer.total_steps
    epochs = total / trainer.steps_per_epoch
    parts = f" in {config.accumulation} parts" if config.accumulation > 1 else ""
    rise = config.schedule.warmup_steps
    if rise is None:
        rise = round(config.schedule.warmup_epochs * trainer.steps_per_epoch)
    within = f", within its warm-up of {counted(rise, 'step')}" if rise > total else ""
    start = config.finetune.weights if config.finetune else None
    weights = f", from {start}" if start else ""
    return (
        f"{counted(total, 'step')}, {epochs:.4g} {noun_for(epochs, 'epoch')} of "
        f"{trainer.steps_per_epoch:,}; batch "
        f"{config.batch_size:,}{parts}; {config.optimizer.name}, learning rate "
        f"{config.optimizer.learning_rate:g} ({_shapes(config)}{within}){weights}"
    )


def _shapes(config: TrainConfig) -> str:
    """Names the shape of the schedule, and those of what was added to the run."""
    parts: list[str] = [config.schedule.name]
    for added in config.schedule.extensions:
        start = f" from {added.peak * config.optimizer.learning_rate:g}"
        parts.append(f"{added.shape}{start * (added.shape == 'cosine')} after step {added.begin:,}")
    return ", ".join(parts)


def describe_precision(config: TrainConfig) -> str:
    """Says in which dtypes the run computes."""
    if config.model.dtype == "float32":
        return "float32"
    return f"{config.model.dtype}; parameters, statistics and loss float32"


def _image_size(config: TrainConfig, source: Source) -> tuple[int, int] | None:
    if config.data.image_size is not None:
        return config.data.image_size, config.data.image_size
    return source.image_shape[:2] if source.image_shape is not None else None
