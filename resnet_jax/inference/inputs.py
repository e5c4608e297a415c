"""How images become the inputs of one network: a record that travels with the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.record import Transform
from resnet_jax.data.images.resize import ResizeCentreCrop
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.models import ResNetConfig
from resnet_jax.models.stem import STEMS
from resnet_jax.zoo.preprocessing import NetworkInputs, check_channels


class Inputs(NetworkInputs):
    """The images that a network expects, and how an image of any size is brought to that."""

    def transform(self) -> Transform | None:
        """Returns what brings an image to uint8 [size, size, channels]; None changes nothing."""
        if self.size is None:
            return None
        return ResizeCentreCrop(
            self.size,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation,
            channels=self.channels,
        )


def usual_inputs(config: ResNetConfig) -> Inputs:
    """Returns the inputs of a published network of which nothing else is known.

    Args:
        config: The network; its stem has a usual size of images.
    """
    stem = STEMS[config.stem]
    inputs = Inputs(size=stem.image_size, crop_fraction=stem.crop_fraction)
    if check_channels(config.in_features) == 1:
        return dataclasses.replace(inputs, mean=(0.5,), std=(0.5,), channels=1)
    return inputs


def inputs_of_data(data: DataConfig, *, channels: int, size: int | None) -> Inputs:
    """Returns the inputs of a network that was trained on a dataset.

    Args:
        data: The recipe's data.
        channels: Channels of the network.
        size: Height and width of the set's images where the recipe resizes none and they are known.
    """
    return Inputs(
        size=data.image_size or size,
        crop_fraction=data.crop_fraction if data.image_size else 1.0,
        interpolation=data.interpolation,
        mean=data.mean,
        std=data.std,
        channels=check_channels(channels),
    )


def inputs_from_plain(values: Mapping[str, Any], *, channels: int) -> Inputs:
    """Reads a record of plain values, as a file of weights carries it.

    Args:
        values: The fields; `test_size` and `test_crop_fraction`, which other records have, are
            left aside.
        channels: Channels of the network, where the record does not say.

    Raises:
        ConfigError: A field is unknown or its value cannot be used.
    """
    known = {field.name for field in dataclasses.fields(Inputs)}
    fields: dict[str, Any] = {"channels": channels}
    for name, value in values.items():
        if name in ("test_size", "test_crop_fraction"):
            continue
        if name not in known:
            raise ConfigError(f"preprocessing has no field {name!r}.{nearest(name, known)}")
        fields[name] = tuple(value) if isinstance(value, (list, tuple)) else value
        _check_type(name, fields[name])
    return Inputs(**fields)


def _check_type(name: str, value: Any) -> None:
    """Refuses what is not of a field's type; a record may come from a file or a command line."""
    if name in ("mean", "std"):
        fits = isinstance(value, tuple) and all(map(_is_number, value))
        wanted = "a list of numbers"
    elif name == "crop_fraction":
        fits, wanted = _is_number(value), "a number"
    elif name == "interpolation":
        fits, wanted = isinstance(value, str), "bilinear or bicubic"
    else:
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = whole or (name == "size" and value is None)
        wanted = "a whole number"
    if not fits:
        raise ConfigError(f"{name}={value!r}: give {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
