"""Converts weights files between PyTorch and this library."""

from collections.abc import Sequence
from typing import Any

from resnet_jax import zoo
from resnet_jax.models import ResNet
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.files import FilePath, is_own_file, write_safetensors
from resnet_jax.weights.own_files import (
    load,
    read_record,
    recorded_inputs,
    save,
    torch_metadata,
)
from resnet_jax.weights.pretrained import load_pretrained
from resnet_jax.weights.torch_dicts import to_torch


def convert_file(
    source: FilePath,
    destination: FilePath,
    *,
    name: str | None = None,
    preprocessing: Any = None,
    class_names: Sequence[str] | None = None,
) -> ResNet:
    """Converts a PyTorch weights file to the format of `save`, or the other way round.

    The source decides the direction. The file for PyTorch is a `.safetensors` file in timm's
    naming, which `safetensors.torch.load_file` reads.

    Args:
        source: The file to read.
        destination: The file to write, `*.safetensors`.
        name: The network of PyTorch's weights, which do not name it: one of `list_models()`. With a
            tag, as in `resnet50.a1_in1k`, the preprocessing of these weights is stored as well.
        preprocessing: Stored in a file of `save`, see there; None takes what the source says.
        class_names: Stored in a file of `save`, see there; None takes what the source says.

    Returns:
        The network.

    Raises:
        ConfigError: The network is unknown.
        WeightsError: A file cannot be read or written, the weights do not fit, or `name` is
            missing or superfluous.
    """
    if is_own_file(source):
        if name is not None:
            raise WeightsError(f"{source} already names its network; leave {name!r} out.")
        model, record = load(source), read_record(source)
        inputs = record.inputs() if record.has_inputs else None
        write_safetensors(destination, to_torch(model), torch_metadata(inputs))
        return model
    if name is None:
        raise WeightsError(
            f"{source} holds PyTorch's weights, which do not say which network they belong to: "
            f"give its name, one of resnet_jax.list_models()."
        )
    network, tag = zoo.split_name(name)
    if preprocessing is None:
        preprocessing = recorded_inputs(source)
    if tag and preprocessing is None:
        preprocessing = zoo.pretrained_info(name).preprocessing
    model = load_pretrained(network, source)
    save(model, destination, preprocessing=preprocessing, class_names=class_names)
    return model
