"""Files of PyTorch's weights into files of this library, and back."""

from collections.abc import Sequence
from typing import Any

from resnet_jax import zoo
from resnet_jax.models import ResNet
from resnet_jax.weights.convert import to_torch
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.files import FilePath, is_own_file, write_safetensors
from resnet_jax.weights.model_file import load, save
from resnet_jax.weights.pretrained import load_pretrained


def convert_file(
    source: FilePath,
    destination: FilePath,
    *,
    name: str | None = None,
    preprocessing: Any = None,
    class_names: Sequence[str] | None = None,
) -> ResNet:
    """Converts a file of PyTorch's weights into one of `save`, or one of `save` into PyTorch's.

    The source decides which way. What goes to PyTorch is a `.safetensors` file in timm's naming,
    which `safetensors.torch.load_file` reads.

    Args:
        source: The file to read.
        destination: The file to write, `*.safetensors`.
        name: The network of PyTorch's weights, which do not say it: one of `list_models()`. With a
            tag, as in `resnet50.a1_in1k`, the preprocessing of these weights is kept as well.
        preprocessing: Goes into the file of `save`; see there.
        class_names: Goes into the file of `save`; see there.

    Returns:
        The network.

    Raises:
        ConfigError: There is no network of that name.
        WeightsError: A file cannot be read or written, the weights do not fit, or `name` is
            missing or superfluous.
    """
    if is_own_file(source):
        if name is not None:
            raise WeightsError(f"{source} says itself which network it holds; leave {name!r} out.")
        model = load(source)
        write_safetensors(destination, to_torch(model), {"format": "pt"})
        return model
    if name is None:
        raise WeightsError(
            f"{source} holds PyTorch's weights, which do not say of which network: name it, by a "
            f"name that resnet_jax.list_models() lists."
        )
    network, _, tag = name.partition(".")
    if tag and preprocessing is None:
        preprocessing = zoo.pretrained_info(name).preprocessing
    model = load_pretrained(network, source)
    save(model, destination, preprocessing=preprocessing, class_names=class_names)
    return model
