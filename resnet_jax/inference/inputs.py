"""Where the inputs of a network come from: its stem or the record in its file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from resnet_jax.errors import ConfigError, nearest, shown
from resnet_jax.models import ResNetConfig
from resnet_jax.models.stem import STEMS
from resnet_jax.network_inputs import NetworkInputs, check_channels


def usual_inputs(config: ResNetConfig) -> NetworkInputs:
    """Returns the usual inputs of a network whose weights come without a record.

    Args:
        config: The network; its stem has a usual image size.
    """
    stem = STEMS[config.stem]
    inputs = NetworkInputs(size=stem.image_size, crop_fraction=stem.crop_fraction)
    if check_channels(config.in_features) == 1:
        return dataclasses.replace(inputs, mean=(0.5,), std=(0.5,), channels=1)
    return inputs


def inputs_from_plain(values: Mapping[str, Any], *, channels: int) -> NetworkInputs:
    """Reads a record of plain values, such as a weights file contains.

    Args:
        values: The fields; `test_size` and `test_crop_fraction`, which other records have, are
            ignored.
        channels: Channels of the network, if the record does not say.

    Raises:
        ConfigError: A field is unknown or its value cannot be used.
    """
    known = {field.name for field in dataclasses.fields(NetworkInputs)}
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
    else:
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = whole or (name == "size" and value is None)
        wanted = "a whole number"
    if not fits:
        raise ConfigError(f"{name}={shown(repr(value))}: give {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
