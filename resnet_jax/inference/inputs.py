"""Where the inputs of a network come from: a run, a file, published weights or its stem."""

from __future__ import annotations

import os

from resnet_jax import weights as weight_files
from resnet_jax import zoo
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.inference.imagenet import IMAGENET_CLASSES, imagenet_names
from resnet_jax.local_paths import user_path
from resnet_jax.network_inputs import NetworkInputs, inputs_from_plain
from resnet_jax.training.workdir.layout import Workdir

FilePath = str | os.PathLike[str]

NAMELESS = (
    "{path} does not say which network it holds: give the network's name, and the file as its "
    "weights"
)
"""The message about a file of weights for which no name was given."""


def find_inputs(model: FilePath, *, weights: FilePath | None = None) -> NetworkInputs:
    """Looks up what a trained network expects of images, without opening the network.

    Args:
        model: The folder of a run; a file written by `resnet_jax.save`; or the name of a network,
            with or without the tag of its weights: `resnet50`, `resnet50.a1_in1k`.
        weights: A weights file for a named network. Those that this library wrote have a record;
            for others, the name's tag decides, or else the usual inputs of the network.

    Returns:
        The record. Its class names are None if they are not known.

    Raises:
        ConfigError: There is no such network, or its record cannot be used.
        WeightsError: The file cannot be read.
    """
    path = user_path(model)
    if path.is_dir():
        return Workdir(path).read_inputs()
    if path.is_file():
        return inputs_of_file(model)
    network, tag = zoo.split_name(str(model))
    if network not in zoo.list_models():
        raise ConfigError(
            f"{str(model)!r} is neither the folder of a run nor a file nor a network."
            f"{nearest(network, zoo.list_models())}"
        )
    recorded = None if weights is None else weight_files.recorded_inputs(weights)
    if recorded is not None:
        return recorded
    if tag or (weights is None and zoo.pretrained_tags(network)):
        published = zoo.pretrained_info(str(model))
        return published_inputs(published.preprocessing, num_classes=published.num_classes)
    return zoo.usual_inputs(zoo.model_config(network))


def inputs_of_file(path: FilePath) -> NetworkInputs:
    """Reads the inputs recorded in a file; the usual ones for one of `save` without a record.

    Raises:
        ConfigError: Another program wrote the file, or its record cannot be used.
        WeightsError: The file cannot be read.
    """
    recorded = weight_files.recorded_inputs(path)
    if recorded is None:
        raise ConfigError(NAMELESS.format(path=path))
    return recorded


def published_inputs(preprocessing: zoo.Preprocessing, *, num_classes: int) -> NetworkInputs:
    """Returns the inputs of published weights; with class names, if it has those of ImageNet."""
    inputs = inputs_from_plain(preprocessing.preprocessing(), channels=3)
    return inputs.named(imagenet_names() if num_classes == IMAGENET_CLASSES else None)
