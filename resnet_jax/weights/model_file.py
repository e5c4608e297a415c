"""Files from which a network can be rebuilt: safetensors with the config in the metadata."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, overload

import numpy as np
from jax.typing import DTypeLike

from resnet_jax.errors import ConfigError, shown
from resnet_jax.models import Backbone, ResNet, ResNetConfig
from resnet_jax.network_inputs import NetworkInputs, inputs_from_plain
from resnet_jax.weights.arrays import ArrayInFile
from resnet_jax.weights.errors import Mismatch, WeightsError
from resnet_jax.weights.files import OWN_FORMAT, FilePath, open_safetensors, write_safetensors
from resnet_jax.weights.leaves import leaves_of, skeleton
from resnet_jax.weights.metadata import parse_json
from resnet_jax.zoo import remember_inputs, usual_inputs

VERSION = 1


@dataclass(frozen=True)
class ModelRecord:
    """The description of the network in a file of `save`.

    Attributes:
        config: The network.
        preprocessing: How images become its input, as plain values, or None.
        class_names: The name of each output, or None.
        out_indices: The maps that a backbone returns; None for a whole network.
    """

    config: ResNetConfig
    preprocessing: Mapping[str, Any] | None = None
    class_names: tuple[str, ...] | None = None
    out_indices: tuple[int, ...] | None = None

    def inputs(self) -> NetworkInputs:
        """Returns what the network expects of images; the usual inputs without a record.

        Raises:
            ConfigError: The record cannot be used.
        """
        inputs = usual_inputs(self.config)
        if self.preprocessing is not None:
            inputs = inputs_from_plain(self.preprocessing, channels=self.config.in_features)
        return inputs.named(self.class_names)


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
    plain = preprocessing and dict(
        preprocessing if isinstance(preprocessing, Mapping) else asdict(preprocessing)
    )
    named = plain.pop("class_names", None) if plain else None
    class_names = named if class_names is None else class_names
    out_indices = model.out_indices if isinstance(model, Backbone) else None
    classes = 0 if out_indices else model.config.num_classes
    if class_names is not None and len(class_names) != classes:
        raise WeightsError(f"class_names has {len(class_names)} names for {classes} classes.")
    arrays = {leaf.dotted: leaf.value for leaf in leaves_of(model)}
    if mismatch := _mismatch(_skeleton(model.config, out_indices), arrays):
        raise WeightsError(
            f"the model does not match its config and is not saved: {mismatch} "
            f"{_remedy(model.config, out_indices, arrays)}"
        )
    metadata = {
        "format": OWN_FORMAT,
        "format_version": str(VERSION),
        "config": json.dumps(asdict(model.config)),
    }
    if out_indices is not None:
        metadata["out_indices"] = json.dumps(out_indices)
    if plain is not None:
        metadata["preprocessing"] = json.dumps(plain)
    if class_names is not None:
        metadata["class_names"] = json.dumps(list(class_names))
    write_safetensors(path, arrays, metadata)


@overload
def load(
    path: FilePath,
    *,
    features_only: Literal[False] = False,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> ResNet: ...


@overload
def load(
    path: FilePath,
    *,
    features_only: Literal[True],
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> Backbone: ...


@overload
def load(
    path: FilePath,
    *,
    features_only: bool,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> ResNet | Backbone: ...


def load(
    path: FilePath,
    *,
    features_only: bool = False,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> ResNet | Backbone:
    """Rebuilds a network from a file of `save`, in training mode.

    Args:
        path: The file.
        features_only: Return a `Backbone`: the one in the file, or that of the network in the
            file, with all maps.
        dtype: Dtype of the computation; statistics, pooling and classifier stay in float32.
        param_dtype: Dtype of the stored parameters; None takes the file's.

    Raises:
        WeightsError: The file is missing or damaged, has another format or a newer version, or
            holds a backbone and `features_only` is False.
    """
    model, arrays = _open(path, features_only, dtype, param_dtype)
    for leaf in leaves_of(model):  # one after the other: memory holds the network once
        leaf.assign(arrays[leaf.dotted].read())
    if features_only and isinstance(model, ResNet):
        model = Backbone(model)
    with contextlib.suppress(ConfigError):  # of a record, which the weights do without
        remember_inputs(model, read_record(path).inputs(), origin=f"recorded in {path}")
    return model


def open_model(
    path: FilePath, *, dtype: DTypeLike | None = None, param_dtype: DTypeLike | None = None
) -> tuple[ResNet, dict[str, ArrayInFile]]:
    """Builds the network in a file as `load` does, without values.

    Returns:
        The network, and its arrays by their dotted paths.
    """
    model, arrays = _open(path, False, dtype, param_dtype)
    return cast(ResNet, model), arrays


def _open(
    path: FilePath,
    features_only: bool,
    dtype: DTypeLike | None,
    param_dtype: DTypeLike | None,
) -> tuple[ResNet | Backbone, dict[str, ArrayInFile]]:
    arrays, record = _read(path)
    kernels = [array.dtype for name, array in arrays.items() if name.endswith("kernel")]
    if param_dtype is None:
        param_dtype = kernels[0] if kernels else np.float32
    if record.out_indices and not features_only:
        raise WeightsError(
            f"{path} holds a backbone, without a head; load it with features_only=True."
        )
    model = _skeleton(record.config, record.out_indices, dtype=dtype, param_dtype=param_dtype)
    if mismatch := _mismatch(model, arrays):
        raise WeightsError(f"{path} does not match its own config; download it again: {mismatch}")
    return model, arrays


def read_record(path: FilePath) -> ModelRecord:
    """Reads the description of the network in a file of `save`.

    Raises:
        WeightsError: The file is missing or damaged, or has another format or a newer version.
    """
    return _read(path)[1]


def _skeleton(
    config: ResNetConfig, out_indices: tuple[int, ...] | None, **dtypes: Any
) -> ResNet | Backbone:
    network = skeleton(config, **dtypes)
    return network if out_indices is None else Backbone(network, out_indices=out_indices)


def _remedy(
    config: ResNetConfig,
    out_indices: tuple[int, ...] | None,
    arrays: Mapping[str, np.ndarray],
) -> str:
    """Says how a network that surgery has changed can be saved."""
    fitting = config
    kernel = arrays.get("head.kernel")
    if kernel is not None and kernel.ndim == 2:
        fitting = replace(fitting, num_classes=kernel.shape[1])
    for name in ("stem.conv.kernel", "stem.conv1.kernel"):
        if name in arrays and arrays[name].ndim == 4:
            fitting = replace(fitting, in_features=arrays[name].shape[2])
    if _mismatch(_skeleton(fitting, out_indices), arrays):
        return "pickle.dump(model, FILE) keeps a network that no config describes."
    changed = {
        field: getattr(fitting, field)
        for field in ("num_classes", "in_features")
        if getattr(fitting, field) != getattr(config, field)
    }
    words = ", ".join(f"{field}={value}" for field, value in changed.items())
    if out_indices:
        words += f", features_only=True, out_indices={out_indices}"
    if "in_features" in changed:  # the shapes do not tell how a convolution pads and strides
        return (
            f"Build the network as new = create_model(model.config, {words}), take the arrays over "
            f"with nnx.update(new, nnx.state(model)), and save that."
        )
    return f"Tell the config first: model.config = dataclasses.replace(model.config, {words})."


def _mismatch(model: ResNet | Backbone, arrays: Mapping[str, np.ndarray | ArrayInFile]) -> Mismatch:
    shapes = {leaf.dotted: leaf.variable.shape for leaf in leaves_of(model)}
    return Mismatch(
        missing=[name for name in shapes if name not in arrays],
        unexpected=[name for name in arrays if name not in shapes],
        shapes=[
            f"{name} {shown(list(array.shape))} for {list(shapes[name])}"
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
            config=parse_json(ResNetConfig, metadata["config"]),
            preprocessing=parse_json(dict[str, Any] | None, metadata.get("preprocessing", "null")),
            class_names=parse_json(tuple[str, ...] | None, metadata.get("class_names", "null")),
            out_indices=parse_json(tuple[int, ...] | None, metadata.get("out_indices", "null")),
        )
    except WeightsError:
        raise
    except (KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path} does not describe its network correctly: {reason}") from None
