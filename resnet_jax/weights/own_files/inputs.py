"""What a network expects of images and calls its outputs, in the metadata of a file."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.weights.own_files.metadata import parse_json, plain_json

TORCH_PREFIX = "resnet_jax."
"""Stands before the names of these entries in files for PyTorch, which other programs write too."""


class InputsEntries(NamedTuple):
    """The entries of a file.

    Attributes:
        preprocessing: How images become the network's input, as plain values, or None.
        class_names: The name of each output, or None.
    """

    preprocessing: Mapping[str, Any] | None
    class_names: tuple[str, ...] | None


def write_entries(entries: InputsEntries, *, prefix: str = "") -> dict[str, str]:
    """Writes the entries that are known as text.

    Args:
        entries: The entries.
        prefix: Stands before their names.

    Raises:
        TypeError: A value has no form in JSON.
        ValueError: A value could not be read again.
    """
    texts = {}
    if entries.preprocessing is not None:
        texts[f"{prefix}preprocessing"] = json.dumps(dict(entries.preprocessing))
        plain_json(texts[f"{prefix}preprocessing"])
    if entries.class_names is not None:
        texts[f"{prefix}class_names"] = json.dumps(list(entries.class_names))
    return texts


def read_entries(metadata: Mapping[str, str], *, prefix: str = "") -> InputsEntries:
    """Reads the entries in the metadata of a file; None for those that it lacks.

    Args:
        metadata: The metadata.
        prefix: As for `write_entries`.

    Raises:
        ValueError: An entry is damaged.
    """
    names = metadata.get(f"{prefix}class_names", "null")
    preprocessing = metadata.get(f"{prefix}preprocessing", "null")
    return InputsEntries(
        parse_json(dict[str, Any] | None, preprocessing),
        parse_json(tuple[str, ...] | None, names, most=None),
    )


def torch_metadata(inputs: NetworkInputs | None) -> dict[str, str]:
    """Makes the metadata of a file for PyTorch.

    Args:
        inputs: What is known of the network's inputs, if anything.
    """
    usual = {"format": "pt"}
    if inputs is None:
        return usual
    entries = InputsEntries(inputs.preprocessing(), inputs.class_names)
    return usual | write_entries(entries, prefix=TORCH_PREFIX)
