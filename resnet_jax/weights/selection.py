"""Which weights a program asks for: a tag of published ones, a file, or none."""

import os
import pathlib

from resnet_jax import zoo
from resnet_jax.errors import ConfigError, shown
from resnet_jax.models import ResNetConfig
from resnet_jax.weights import hub
from resnet_jax.weights.errors import UnavailableWeightsError
from resnet_jax.weights.files import FilePath


def selected_weights(
    name: str | ResNetConfig, pretrained: bool | FilePath | None
) -> FilePath | None:
    """Finds the file that the arguments of `create_model` select; None for random weights.

    Args:
        name: A name of a network, which may include a tag, or a config.
        pretrained: As for `create_model`.

    Raises:
        ConfigError: The arguments contradict each other, or mean nothing.
        WeightsError: There are no such weights, or they cannot be downloaded.
    """
    network, tag = zoo.split_name(name) if isinstance(name, str) else ("", "")
    if pretrained is False or pretrained is None:
        if tag:
            raise ConfigError(f"{name!r} names weights: pass pretrained=True to load them.")
        return None
    if not isinstance(pretrained, bool | str | os.PathLike):
        raise ConfigError(
            f"pretrained={shown(repr(pretrained))} must be True, False, a tag or a file."
        )
    if not isinstance(pretrained, bool):
        text = os.fspath(pretrained)
        if text != pretrained or _is_path(text, network):
            return pretrained
        if tag not in ("", text):
            raise ConfigError(f"{name!r} and pretrained={text!r} name different weights.")
        tag = text
    if not isinstance(name, str):
        raise ConfigError("a config does not say which published weights to load; pass a file.")
    zoo.model_config(network)  # for an unknown name, suggest the nearest of all networks
    known = zoo.pretrained_tags(network)
    info = zoo.pretrained_info(f"{network}.{tag}" if tag else network) if known else None
    if info is None or info.hub_id is None:
        raise UnavailableWeightsError(
            f"no weights are published for {network!r}; {{file}} loads your own file."
        )
    return hub.fetch(info.hub_id)


def _is_path(text: str, network: str) -> bool:
    """Whether a text is a file rather than a tag; tags have no dots and no slashes.

    Raises:
        ConfigError: It is both a file here and a tag of the network.
    """
    if "." in text or "/" in text or os.sep in text:
        return True
    exists = pathlib.Path(text).exists()
    if exists and text in zoo.pretrained_tags(network):
        raise ConfigError(
            f"pretrained={text!r} is a file here and names weights of {network}: write "
            f"{'./' + text!r} for the file, or pass '{network}.{text}' as the "
            f"name and pretrained=True."
        )
    return exists
