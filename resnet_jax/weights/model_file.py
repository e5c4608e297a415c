"""Files from which a network can be rebuilt: safetensors with the config in the metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.weights.arrays import ArrayInFile
from resnet_jax.weights.errors import Mismatch, WeightsError
from resnet_jax.weights.files import OWN_FORMAT, FilePath, open_safetensors, write_safetensors
from resnet_jax.weights.leaves import leaves_of, skeleton

VERSION = 1


@dataclass(frozen=True)
class ModelRecord:
    """The description of the network in a file of `save`.

    Attributes:
        config: The network.
        preprocessing: How images become its input, as plain values, or None.
        class_names: The name of each output, or None.
    """

    config: ResNetConfig
    preprocessing: Mapping[str, Any] | None = None
    class_names: tuple[str, ...] | None = None


def save(
    model: ResNet,
    path: FilePath,
    *,
    preprocessing: Any = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Writes a network to a file from which `load` rebuilds it bit for bit.

    The file is written atomically: an older file of the same name stays until the end.

    Args:
        model: The network; the file holds its parameters, statistics and config.
        path: The file, named `*.safetensors`.
        preprocessing: How images become its input: a dataclass such as `zoo.Preprocessing`, or a
            mapping, of plain values.
        class_names: The name of each output.

    Raises:
        WeightsError: The model is not a ResNet or differs from its config, there are too many or
            too few class names, or the file cannot be written.
    """
    if not isinstance(model, ResNet):
        raise WeightsError(
            f"save takes a ResNet, not a {type(model).__name__}; for a block, write the result of "
            f"to_torch."
        )
    classes = model.config.num_classes
    if class_names is not None and len(class_names) != classes:
        raise WeightsError(f"class_names has {len(class_names)} names for {classes} classes.")
    arrays = {leaf.dotted: leaf.value for leaf in leaves_of(model)}
    if mismatch := _mismatch(skeleton(model.config), arrays):
        raise WeightsError(f"the model does not match its config and is not saved: {mismatch}")
    metadata = {
        "format": OWN_FORMAT,
        "format_version": str(VERSION),
        "config": json.dumps(asdict(model.config)),
    }
    if preprocessing is not None:
        plain = preprocessing if isinstance(preprocessing, Mapping) else asdict(preprocessing)
        metadata["preprocessing"] = json.dumps(dict(plain))
    if class_names is not None:
        metadata["class_names"] = json.dumps(list(class_names))
    write_safetensors(path, arrays, metadata)


def load(
    path: FilePath, *, dtype: DTypeLike | None = None, param_dtype: DTypeLike | None = None
) -> ResNet:
    """Rebuilds a network from a file of `save`, in training mode.

    Args:
        path: The file.
        dtype: Dtype of the computation; statistics, pooling and classifier stay in float32.
        param_dtype: Dtype of the stored parameters; None takes the file's.

    Raises:
        WeightsError: The file is missing or damaged, or has another format or a newer version.
    """
    model, arrays = open_model(path, dtype=dtype, param_dtype=param_dtype)
    for leaf in leaves_of(model):  # one after the other: memory holds the network once
        leaf.assign(arrays[leaf.dotted].read())
    return model


def open_model(
    path: FilePath, *, dtype: DTypeLike | None = None, param_dtype: DTypeLike | None = None
) -> tuple[ResNet, dict[str, ArrayInFile]]:
    """Builds the network in a file as `load` does, without values.

    Returns:
        The network, and its arrays by their dotted paths.
    """
    arrays, record = _read(path)
    kernels = [array.dtype for name, array in arrays.items() if name.endswith("kernel")]
    if param_dtype is None:
        param_dtype = kernels[0] if kernels else np.float32
    model = skeleton(record.config, dtype=dtype, param_dtype=param_dtype)
    if mismatch := _mismatch(model, arrays):
        raise WeightsError(f"{path} does not match its own config; download it again: {mismatch}")
    return model, arrays


def read_record(path: FilePath) -> ModelRecord:
    """Reads the description of the network in a file of `save`.

    Raises:
        WeightsError: The file is missing or damaged, or has another format or a newer version.
    """
    return _read(path)[1]


def _mismatch(model: ResNet, arrays: Mapping[str, np.ndarray | ArrayInFile]) -> Mismatch:
    shapes = {leaf.dotted: leaf.variable.shape for leaf in leaves_of(model)}
    return Mismatch(
        missing=[name for name in shapes if name not in arrays],
        unexpected=[name for name in arrays if name not in shapes],
        shapes=[
            f"{name} {list(array.shape)} for {list(shapes[name])}"
            for name, array in arrays.items()
            if name in shapes and array.shape != shapes[name]
        ],
        beyond_remedy=True,
    )


def _read(path: FilePath) -> tuple[dict[str, ArrayInFile], ModelRecord]:
    arrays, metadata = open_safetensors(path)
    if metadata.get("format") != OWN_FORMAT:
        raise WeightsError(
            f"{path} was not written by resnet_jax.save; load_torch(create_model(NAME), path) "
            f"reads the weights of a named network."
        )
    try:
        version = int(metadata.get("format_version", ""))
        if version > VERSION:
            raise WeightsError(
                f"{path} has format version {version}, but this resnet_jax reads up to {VERSION}; "
                f"install a newer one."
            )
        return arrays, ModelRecord(
            config=_parse(ResNetConfig, metadata["config"]),
            preprocessing=_parse(dict[str, Any] | None, metadata.get("preprocessing", "null")),
            class_names=_parse(tuple[str, ...] | None, metadata.get("class_names", "null")),
        )
    except WeightsError:
        raise
    except (KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path} does not describe its network correctly: {reason}") from None


def _parse(kind: Any, text: str) -> Any:
    """Reads JSON as a value of a type.

    Raises:
        ValueError: It is not such a value.
    """
    import pydantic  # loaded with a file, not with a network

    adapter = pydantic.TypeAdapter(kind)
    try:
        value = adapter.validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the metadata"
        raise ValueError(f"{place}: {first['msg']}") from None
    # Pydantic ignores fields that a dataclass does not have.
    unknown = _flat(json.loads(text)) - _flat(adapter.dump_python(value))
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r}")
    return value


def _flat(tree: Any, prefix: str = "") -> set[str]:
    """Returns the dotted names of the fields in nested dictionaries."""
    fields: set[str] = set()
    if not isinstance(tree, dict):
        return fields
    for name, value in tree.items():
        fields.add(prefix + name)
        fields |= _flat(value, f"{prefix}{name}.")
    return fields
