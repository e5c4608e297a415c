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
from resnet_jax.weights.files import is_own_file

FilePath = str | os.PathLike[str]


def find_inputs(model: FilePath, *, weights: FilePath | None = None) -> NetworkInputs:
    """Looks up what a trained network expects of images, without opening the network.

    Args:
        model: The folder of a run; a file written by `resnet_jax.save`; or the name of a network,
            with or without the tag of its weights: `resnet50`, `resnet50.a1_in1k`.
        weights: A weights file for a named network. One of `resnet_jax.save` has a record; for
            others, the name's tag decides, or else the usual inputs of the network.

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
        return recorded_inputs(model)
    network, tag = zoo.split_name(str(model))
    if network not in zoo.list_models():
        raise ConfigError(
            f"{str(model)!r} is neither the folder of a run nor a file nor a network."
            f"{nearest(network, zoo.list_models())}"
        )
    if weights is not None and is_own_file(weights):
        return recorded_inputs(weights)
    if tag or (weights is None and zoo.pretrained_tags(network)):
        published = zoo.pretrained_info(str(model))
        return published_inputs(published.preprocessing, num_classes=published.num_classes)
    return zoo.usual_inputs(zoo.model_config(network))


def recorded_inputs(path: FilePath) -> NetworkInputs:
    """Reads the inputs recorded in a file of `resnet_jax.save`; the usual ones without a record.

    Raises:
        ConfigError: Another program wrote the file, or its record cannot be used.
        WeightsError: The file cannot be read.
    """
    if not is_own_file(path):
        raise ConfigError(
            f"{path} does not say which network it holds: give the network's name, and the file "
            "as its weights"
        )
    try:
        return weight_files.read_record(path).inputs()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def published_inputs(preprocessing: zoo.Preprocessing, *, num_classes: int) -> NetworkInputs:
    """Returns the inputs of published weights; with class names, if it has those of ImageNet."""
    inputs = inputs_from_plain(preprocessing.preprocessing(), channels=3)
    return inputs.named(imagenet_names() if num_classes == IMAGENET_CLASSES else None)
