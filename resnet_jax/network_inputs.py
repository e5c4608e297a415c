"""What a network expects of images and calls its outputs: the one record of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from resnet_jax.errors import ConfigError, counted, nearest, shown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_LARGEST_SIZE = 4096  # published networks take up to 600; an image of 4,096 takes 200 MB as float32
_LARGEST_RESIZED = 2 * _LARGEST_SIZE
_SMALLEST_STD = 1e-4  # a fortieth of the step between two values of a pixel


@dataclasses.dataclass(frozen=True)
class NetworkInputs:
    """The images that a network expects: resized to `size / crop_fraction`, cropped, normalised.

    Attributes:
        size: Height and width in pixels; None takes images as they are.
        crop_fraction: Share of the resized image's shorter side that the centre crop keeps.
        interpolation: The filter of the resizing, with antialiasing.
        mean: Mean of the pixels in units of 0..1: one number for all channels or one per channel.
        std: Standard deviation in the same units.
        channels: 1 for greyscale, 3 for RGB.
        class_names: The name of each output; None if they are not known.
        multi_label: Whether an image may have several classes: the probability of each is the
            sigmoid of its output, rather than the softmax of all.
    """

    size: int | None = None
    crop_fraction: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: Literal[1, 3] = 3
    class_names: tuple[str, ...] | None = None
    multi_label: bool = False

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: A value is out of range.
        """
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size={shown(self.size)}: images need a pixel or more")
        if self.size is not None and self.size > _LARGEST_SIZE:
            raise ConfigError(f"size={shown(self.size)}: give at most {_LARGEST_SIZE} pixels")
        if not 0 < self.crop_fraction <= 1:
            raise ConfigError(f"crop_fraction={shown(self.crop_fraction)}: give a number in (0, 1]")
        if self.size is not None and self.size > self.crop_fraction * _LARGEST_RESIZED:
            raise ConfigError(
                f"crop_fraction={self.crop_fraction}: images would be resized to more than "
                f"{_LARGEST_RESIZED} pixels; give a larger one"
            )
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ConfigError(
                f"interpolation={shown(self.interpolation)!r}: give bilinear or bicubic"
            )
        check_statistics(self.mean, self.std, channels=check_channels(self.channels))

    def preprocessing(self) -> dict[str, Any]:
        """Returns what happens to images as plain values: every field but the class names.

        `multi_label` is only there if it is True: older versions do not know it.
        """
        values = dataclasses.asdict(self)
        del values["class_names"]
        if not self.multi_label:
            del values["multi_label"]
        return values

    def named(self, class_names: Sequence[str] | None) -> Self:
        """Returns the record with other class names."""
        names = None if class_names is None else tuple(class_names)
        return dataclasses.replace(self, class_names=names)


def inputs_from_plain(values: Mapping[str, Any], *, channels: int) -> NetworkInputs:
    """Reads a record of plain values, such as a weights file contains.

    Args:
        values: The fields; `test_size` and `test_crop_fraction`, which other records have, are
            ignored.
        channels: Channels of the network, if the record does not say.

    Raises:
        ConfigError: A field is unknown or its value cannot be used.
    """
    known = {field.name for field in dataclasses.fields(NetworkInputs)} - {"class_names"}
    fields: dict[str, Any] = {"channels": channels}
    for name, value in values.items():
        if name in ("test_size", "test_crop_fraction"):
            continue
        if name not in known:
            raise ConfigError(
                f"preprocessing has no field {shown(name)!r}.{nearest(shown(name), known)}"
            )
        fields[name] = tuple(value) if isinstance(value, (list, tuple)) else value
        _check_type(name, fields[name])
    return NetworkInputs(**fields)


def _check_type(name: str, value: Any) -> None:
    """Rejects a value of the wrong type; a record may come from a file or a command line."""
    if name in ("mean", "std"):
        fits = isinstance(value, tuple) and all(map(_is_number, value))
        wanted = "a list of numbers"
    elif name == "crop_fraction":
        fits, wanted = _is_number(value), "a number"
    elif name == "interpolation":
        fits, wanted = isinstance(value, str), "bilinear or bicubic"
    elif name == "multi_label":
        fits, wanted = isinstance(value, bool), "true or false"
    else:
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = whole or (name == "size" and value is None)
        wanted = "a whole number"
    if not fits:
        raise ConfigError(f"{name}={shown(repr(value))}: give {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_statistics(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    channels: Literal[1, 3] = 3,
    prefix: str = "",
) -> None:
    """Checks the mean and the standard deviation of pixels.

    Args:
        mean: One number for all channels or one per channel.
        std: The same.
        channels: Of the images.
        prefix: What stands before the names in messages.

    Raises:
        ConfigError: There are too many or too few numbers, or one is out of range.
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            remedy = "give 1 number" if channels == 1 else "give 1 number, or 3 for RGB"
            raise ConfigError(
                f"{prefix}{name}={shown(values)} has {counted(len(values), 'number')}; {remedy}"
            )
    if not all(0 <= value <= 1 for value in mean):
        raise ConfigError(f"{prefix}mean={shown(mean)} leaves 0..1; divide pixel values by 255")
    if not all(_SMALLEST_STD <= value <= 1 for value in std):
        raise ConfigError(f"{prefix}std={shown(std)} leaves {_SMALLEST_STD}..1; divide by 255")


def check_channels(number: int) -> Literal[1, 3]:
    """Returns the number of channels.

    Raises:
        ConfigError: Images have 1 channel or 3.
    """
    if number not in (1, 3):
        raise ConfigError(f"channels={shown(number)}: images are grey (1) or in colour (3)")
    return 1 if number == 1 else 3
