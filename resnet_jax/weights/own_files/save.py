"""Writes a network to a file from which it is rebuilt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from resnet_jax.models import Backbone, ResNet
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.files import OWN_FORMAT, FilePath, write_safetensors
from resnet_jax.weights.leaves import leaves_of
from resnet_jax.weights.own_files.fit import mismatch_of, remedy_of, skeleton_of, surgery_of
from resnet_jax.weights.own_files.inputs import InputsEntries, write_entries
from resnet_jax.weights.own_files.metadata import plain_json
from resnet_jax.weights.own_files.record import VERSION, check_class_names, check_config


def save(
    model: ResNet | Backbone,
    path: FilePath,
    *,
    preprocessing: Any = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Writes a network to a file from which `load` rebuilds it bit for bit.

    The file is written atomically: an older file of the same name stays until the end.

    Args:
        model: The network or backbone; the file holds its parameters, statistics and config.
        path: The file, named `*.safetensors`.
        preprocessing: How images become its input: a dataclass such as `zoo.Preprocessing`, or a
            mapping, of plain values.
        class_names: The name of each output; None takes those in `preprocessing`.

    Raises:
        WeightsError: The model is not a ResNet or Backbone or differs from its config, there are
            too many or too few class names, or the file cannot be written.
    """
    if not isinstance(model, ResNet | Backbone):
        raise WeightsError(
            f"save takes a ResNet or a Backbone, not a {type(model).__name__}; for a block, write "
            f"the result of to_torch."
        )
    out_indices = model.out_indices if isinstance(model, Backbone) else None
    arrays = {leaf.dotted: leaf.value for leaf in leaves_of(model)}
    built = skeleton_of(model.config, out_indices)
    if mismatch := mismatch_of(built, arrays):
        raise WeightsError(
            f"the model does not match its config and is not saved: {mismatch} "
            f"{remedy_of(model.config, out_indices, arrays)}"
        )
    if surgery := surgery_of(model, built):
        raise WeightsError(surgery)
    metadata = {
        "format": OWN_FORMAT,
        "format_version": str(VERSION),
        "config": json.dumps(asdict(model.config)),
    }
    try:
        plain = preprocessing and dict(
            preprocessing if isinstance(preprocessing, Mapping) else asdict(preprocessing)
        )
        named = plain.pop("class_names", None) if plain else None
        class_names = named if class_names is None else class_names
        check_class_names(class_names, model.config, out_indices)
        if out_indices is not None:
            shapes = {name: array.shape for name, array in arrays.items()}
            check_config(plain_json(metadata["config"]), shapes, out_indices)
            metadata["out_indices"] = json.dumps(out_indices)
        names = None if class_names is None else tuple(class_names)
        metadata |= write_entries(InputsEntries(plain, names))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the model is not saved: {error}") from None
    write_safetensors(path, arrays, metadata)
