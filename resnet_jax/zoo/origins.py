"""What a network expects of images: as is usual for its stem, or as its weights say.

The latter is remembered next to the network, not in it: a static attribute would make networks that
compute the same differ in their structure, so that they could not be averaged, and would be
compiled twice.
"""

from __future__ import annotations

import dataclasses
import weakref
from typing import NamedTuple

from resnet_jax.models import Backbone, ResNet, ResNetConfig
from resnet_jax.models.stem import STEMS
from resnet_jax.network_inputs import NetworkInputs, check_channels


class KnownInputs(NamedTuple):
    """What is known about a network.

    Attributes:
        inputs: What it expects of images; a `Preprocessing` for published weights.
        origin: Where that is known from.
    """

    inputs: NetworkInputs
    origin: str


_KNOWN: weakref.WeakKeyDictionary[ResNet | Backbone, KnownInputs] = weakref.WeakKeyDictionary()


def remember_inputs(model: ResNet | Backbone, inputs: NetworkInputs, *, origin: str) -> None:
    """Remembers what a network expects, for as long as it lives."""
    _KNOWN[model] = KnownInputs(inputs, origin)


def known_inputs(model: ResNet | Backbone) -> KnownInputs | None:
    """Returns what is known about a network; None for a copy of it."""
    return _KNOWN.get(model)


def usual_inputs(config: ResNetConfig) -> NetworkInputs:
    """Returns the usual inputs of a network whose weights come without a record.

    Args:
        config: The network; its stem has a usual image size.

    Raises:
        ConfigError: Its inputs are not images: they have neither 1 channel nor 3.
    """
    stem = STEMS[config.stem]
    inputs = NetworkInputs(size=stem.image_size, crop_fraction=stem.crop_fraction)
    if check_channels(config.in_features) == 1:
        return dataclasses.replace(inputs, mean=(0.5,), std=(0.5,), channels=1)
    return inputs
