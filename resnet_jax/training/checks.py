"""Checks that a recipe is consistent and fits its data, before anything is written."""

from __future__ import annotations

from resnet_jax.data.sources import Source
from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import TrainConfig


def check_groups(config: TrainConfig) -> None:
    """Checks that the groups of BatchNorm and mixup divide the batch.

    Raises:
        ConfigError: They do not.
    """
    part = config.batch_size // config.accumulation
    for field, size, images in (
        ("model.norm_group_size", config.model.norm_group_size, part),
        ("augment.mix_group_size", config.augment.mix_group_size, config.batch_size),
    ):
        if size is not None and images % size:
            of = " of a part of the batch" if images < config.batch_size else " of a batch"
            raise ConfigError(
                f"{field}={size} does not divide the {images} images{of}; choose one that does, or "
                "none"
            )


def check_fits(source: Source, config: TrainConfig) -> None:
    """Checks that the network can take the images and name their classes.

    Raises:
        ConfigError: The network cannot; the message says which field to change.
    """
    model, data = config.model, config.data
    if source.channels != model.in_features:
        raise ConfigError(
            f"model.in_features={model.in_features}: the images of {data.name} are [height, width, "
            f"{source.channels}]; set model.in_features={source.channels} or "
            f"data.channels={model.in_features}"
        )
    if len(source.class_names) > model.num_classes:
        raise ConfigError(
            f"model.num_classes={model.num_classes}: {data.name} has {len(source.class_names)} "
            f"classes; set model.num_classes={len(source.class_names)}"
        )
