"""Checks that a recipe is consistent and fits its data, before anything is written."""

from __future__ import annotations

import dataclasses

from resnet_jax.data.class_counts import balanced_weights, count_classes, labels_of
from resnet_jax.data.labels import quote
from resnet_jax.data.sources import Source
from resnet_jax.errors import ConfigError, counted, nearest
from resnet_jax.training.recipe.config import (
    LossConfig,
    TrainConfig,
)


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
                f"{field}={size} does not divide the {counted(images, 'image')}{of}; choose "
                "one that does, or none"
            )


def check_early_stopping(config: TrainConfig) -> None:
    """Checks that a run which may end early has something to decide that by.

    Raises:
        ConfigError: It has no validation split.
    """
    if config.early_stopping is not None and config.data.validation_split is None:
        raise ConfigError(
            "early_stopping needs a validation split: set data.validation_split, or "
            "early_stopping=none"
        )


def fit_to_data(config: TrainConfig, source: Source) -> TrainConfig:
    """Takes from the training split what the recipe leaves to it: classes, channels, batch.

    Args:
        config: The run.
        source: The training split.

    Returns:
        The run with `model.num_classes` and `model.in_features`, the name of the loss, the weights
        of the classes as numbers, and a batch that fits if it may be halved.

    Raises:
        ConfigError: The recipe gives a number that contradicts the images.
    """
    classes = len(source.class_names)
    if classes == 1 and source.is_multi_label:
        _check_single_label(config, source)
    elif classes == 1:
        is_table = config.data.name.startswith("csv:")
        remedy = (
            "add rows of other classes"
            if is_table
            else "add a folder for each further class, or write a table for csv:PATH (docs/data.md)"
        )
        raise ConfigError(
            f"{config.data.name} has one class, {source.class_names[0]!r}; a classifier needs two "
            f"or more: {remedy}"
        )
    model = dataclasses.replace(
        config.model,
        num_classes=config.model.num_classes or classes,
        in_features=config.model.in_features or source.channels,
    )
    fitted = dataclasses.replace(
        config, model=model, loss=_fit_loss(config, source), batch_size=_fit_batch(config, source)
    )
    check_channels_fit(source, fitted)
    outputs = model.sizes()[0]
    if outputs < classes or (outputs > classes and not model.unused_outputs):
        unused = "" if outputs < classes else "; model.unused_outputs=True keeps the others unused"
        raise ConfigError(
            f"model.num_classes={outputs}: {config.data.name} has "
            f"{counted(classes, 'class')}; set "
            f"model.num_classes={classes}, or none to take it from the dataset{unused}"
        )
    return fitted


def _fit_batch(config: TrainConfig, source: Source) -> int:
    """Halves the batch until it fits, if the recipe says so."""
    size = config.batch_size
    while config.halve_batch and size > len(source) and size % 2 == 0:
        size //= 2
    return size


def fit_notes(config: TrainConfig, fitted: TrainConfig) -> tuple[str, ...]:
    """Says what `fit_to_data` has changed of what a recipe gives.

    Args:
        config: The run as its recipe gives it.
        fitted: The result of `fit_to_data`.
    """
    if config.batch_size == fitted.batch_size:
        return ()
    return (
        f"batch_size is {fitted.batch_size}, not {config.batch_size}, which is more than there are "
        "training images (halve_batch)",
    )


def _check_single_label(config: TrainConfig, source: Source) -> None:
    """Refuses images of which all have the only label, or none has."""
    having = int(count_classes(labels_of(source), source.class_names)[0])
    if having in (0, len(source)):
        which = "all" if having else "none"
        raise ConfigError(
            f"{config.data.name} has one label, {source.class_names[0]!r}, and {which} of its "
            "training images have it, so that there is nothing to tell apart; add images of the "
            "other kind"
        )


def _fit_loss(config: TrainConfig, source: Source) -> LossConfig:
    """Names the loss, and turns the weights of the classes into numbers, one for each output."""
    names, weights = source.class_names, config.loss.class_weights
    if source.is_multi_label:
        _check_multi_label(config)
    if weights == "balanced" and config.data.sampling == "balanced":
        raise ConfigError(
            "loss.class_weights='balanced' and data.sampling='balanced' make up for the same "
            "differences twice, so that rare classes would count more than frequent ones: set "
            "loss.class_weights=none or data.sampling=uniform"
        )
    if weights == "balanced":
        weights = balanced_weights(count_classes(labels_of(source), names), names)
    elif isinstance(weights, dict):
        odd = next((name for name in weights if name not in names), None)
        if odd is not None:
            raise ConfigError(
                f"loss.class_weights names {odd!r}, which is no class of {config.data.name}."
                f"{nearest(odd, names)} Its classes: {quote(names)}"
            )
        weights = tuple(weights.get(name, 1.0) for name in names)
    outputs = max(config.model.num_classes or 0, len(names))
    if isinstance(weights, tuple) and len(weights) < outputs and len(weights) == len(names):
        weights += (1.0,) * (outputs - len(names))  # for the outputs that the data do not use
    if weights is not None and len(weights) != outputs:
        raise ConfigError(
            f"loss.class_weights has {counted(len(weights), 'number')}, and {config.data.name} "
            f"{counted(len(names), 'class')}; give one for each, in this order: {quote(names)}, or "
            f"by name, such as {names[0]}:2"
        )
    return dataclasses.replace(
        config.loss,
        name=config.loss.name or ("bce" if source.is_multi_label else "cross_entropy"),
        class_weights=weights,
    )


def _check_multi_label(config: TrainConfig) -> None:
    """Refuses what has no single meaning for images with several classes."""
    of = f"an image of {config.data.name} may have several classes"
    if config.loss.name == "cross_entropy":
        raise ConfigError(f"loss.name='cross_entropy': {of}; set loss.name=bce, or none")
    if config.loss.class_weights == "balanced":
        raise ConfigError(
            f"loss.class_weights='balanced': {of}, so that a weight could be that of a class or of "
            "the images that have it; give numbers, which weigh classes"
        )
    if config.data.sampling == "balanced":
        raise ConfigError(f"data.sampling='balanced': {of}; set data.sampling=uniform")
    if config.model.unused_outputs:
        raise ConfigError(f"model.unused_outputs=True: {of}; set model.unused_outputs=False")
    rule = config.early_stopping
    if rule is not None and rule.metric == "validation_accuracy":
        raise ConfigError(
            f"early_stopping.metric='validation_accuracy': {of}; set early_stopping.metric="
            "validation_mean_average_precision"
        )


def check_channels_fit(source: Source, config: TrainConfig) -> None:
    """Checks that the network can take the images of a split.

    Raises:
        ConfigError: It cannot; the message says which field to change.
    """
    in_features = config.model.sizes()[1]
    if source.channels != in_features:
        raise ConfigError(
            f"model.in_features={in_features}: the images of {config.data.name} are [height, "
            f"width, {source.channels}]; set model.in_features={source.channels} or "
            f"data.channels={in_features}"
        )
