"""How pictures become the inputs of one network: a record that travels with the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.record import Transform
from resnet_jax.data.images.resize import Interpolation, ResizeCentreCrop
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.models import ResNetConfig

Channels = Literal[1, 3]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR_SIZE = 32
IMAGENET_SIZE = 224


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The pictures that a network expects.

    Attributes:
        size: Height and width in pixels; None takes pictures as they are.
        crop_fraction: What the centre crop takes of the shorter side.
        interpolation: The filter of the resizing, with antialiasing: `bilinear` or `bicubic`.
        mean: Mean of the pixels in units of 0..1, one number for all channels or one a channel.
        std: Standard deviation in the same units.
        channels: 1 for greyscale, 3 for RGB.
    """

    size: int | None = None
    crop_fraction: float = 1.0
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: Channels = 3

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: A value is out of range.
        """
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size={self.size}: pictures need a pixel or more")
        if not 0 < self.crop_fraction <= 1:
            raise ConfigError(f"crop_fraction={self.crop_fraction}: give a number in (0, 1]")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ConfigError(f"interpolation={self.interpolation!r}: give bilinear or bicubic")
        _channels(self.channels)
        remedy = "1 number" if self.channels == 1 else f"1 number or {self.channels}"
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ConfigError(f"{name}={values}: give {remedy}")
        if not all(0 <= value <= 1 for value in self.mean):
            raise ConfigError(f"mean={self.mean} leaves 0..1; divide pixel values by 255")
        if not all(0 < value <= 1 for value in self.std):
            raise ConfigError(f"std={self.std} leaves 0..1 (0 excluded); divide by 255")

    def transform(self) -> Transform | None:
        """Gives what brings a picture to uint8 [size, size, channels]; None changes nothing."""
        if self.size is None:
            return None
        return ResizeCentreCrop(
            self.size,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation,
            channels=self.channels,
        )


def usual_inputs(config: ResNetConfig) -> Inputs:
    """Gives the inputs of a published network of which nothing else is known.

    Args:
        config: The network. The small stem means CIFAR's 32 pixels, any other ImageNet's 224.
    """
    if config.stem == "cifar":
        inputs = Inputs(size=CIFAR_SIZE)
    else:
        inputs = Inputs(size=IMAGENET_SIZE, crop_fraction=0.875)
    if _channels(config.in_features) == 1:
        return dataclasses.replace(inputs, mean=(0.5,), std=(0.5,), channels=1)
    return inputs


def inputs_of_data(data: DataConfig, *, channels: int, size: int | None) -> Inputs:
    """Gives the inputs of a network that was trained on a data set.

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
        channels=_channels(channels),
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


def _channels(number: int) -> Channels:
    if number not in (1, 3):
        raise ConfigError(f"channels={number}: pictures are grey (1) or in colour (3)")
    return 1 if number == 1 else 3
