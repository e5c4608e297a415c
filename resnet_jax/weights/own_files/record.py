"""The description of the network in a file, compared with the arrays before anything is built."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from resnet_jax.errors import ConfigError, counted, shown
from resnet_jax.models import ResNetConfig
from resnet_jax.network_inputs import NetworkInputs, inputs_from_plain
from resnet_jax.weights.arrays import ArrayInFile, Shape
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.files import OWN_FORMAT, FilePath, open_safetensors, read_metadata
from resnet_jax.weights.own_files.inputs import TORCH_PREFIX, read_entries
from resnet_jax.weights.own_files.metadata import parse_json, plain_json
from resnet_jax.zoo import usual_inputs

VERSION = 1
# The fields that are the size of an axis of an array.
_SIZES = ("widths", "stem_features", "in_features", "num_classes")
_BLOCK = re.compile(r"stages\.(\d{1,9})\.(\d{1,9})\.")
# Of the stages that a backbone does without, and that its file has no arrays for. A second builds
# 50 of them; ResNet-1202 has 600.
_MOST_UNSEEN = 600


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

    @property
    def has_inputs(self) -> bool:
        """Whether the file says anything of the network's inputs and outputs."""
        return self.preprocessing is not None or self.class_names is not None


def read_record(path: FilePath) -> ModelRecord:
    """Reads the description of the network in a file of `save`.

    Raises:
        WeightsError: The file is missing or damaged, or has another format or a newer version.
    """
    return open_own(path)[1]


def recorded_inputs(path: FilePath) -> NetworkInputs | None:
    """Reads what the network in a file expects of images, and what it calls its outputs.

    Args:
        path: A file of `save`, or one that `export` or `convert` wrote for PyTorch.

    Returns:
        The record; the usual inputs for a file of `save` without one; None if another program
        wrote the file.

    Raises:
        ConfigError: The record cannot be used.
        WeightsError: The file is missing or damaged.
    """
    metadata = read_metadata(path)
    try:
        if metadata.get("format") == OWN_FORMAT:
            return read_record(path).inputs()
        entries = read_entries(metadata, prefix=TORCH_PREFIX)
        if entries.preprocessing is None:
            return None
        return inputs_from_plain(entries.preprocessing, channels=3).named(entries.class_names)
    except WeightsError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: {shown(error, most=400)}") from None


def open_own(path: FilePath) -> tuple[dict[str, ArrayInFile], ModelRecord]:
    """Reads the description and opens the arrays.

    Raises:
        WeightsError: As `read_record`.
    """
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
                f"{path} has format version {shown(version)}, but this resnet_jax reads up to "
                f"{VERSION}; install a newer one."
            )
        shapes = {name: array.shape for name, array in arrays.items()}
        return arrays, _record(metadata, shapes)
    except WeightsError:
        raise
    except (KeyError, ValueError) as error:
        reason = shown(str(error).splitlines()[0], most=400)
        raise WeightsError(f"{path} does not describe its network correctly: {reason}") from None


def _record(metadata: Mapping[str, str], shapes: Mapping[str, Shape]) -> ModelRecord:
    out_indices = parse_json(tuple[int, ...] | None, metadata.get("out_indices", "null"))
    if out_indices is not None and not out_indices:
        raise ValueError("out_indices names no map")
    check_config(plain_json(metadata["config"]), shapes, out_indices)
    config = parse_json(ResNetConfig, metadata["config"])
    entries = read_entries(metadata)
    check_class_names(entries.class_names, config, out_indices)
    return ModelRecord(config, *entries, out_indices)


def check_class_names(
    class_names: Iterable[str] | None, config: ResNetConfig, out_indices: Iterable[int] | None
) -> None:
    """Checks that each class has a name, if any has.

    Raises:
        ValueError: There are more or fewer names.
    """
    classes = config.num_classes if out_indices is None else 0
    if class_names is not None and (number := len(tuple(class_names))) != classes:
        raise ValueError(
            f"class_names has {counted(number, 'name')} for {counted(classes, 'class')}."
        )


def check_config(
    config: Any, shapes: Mapping[str, Shape], out_indices: tuple[int, ...] | None
) -> None:
    """Checks that a config asks for no more blocks and channels than the arrays have.

    Args:
        config: The config as plain values, unchecked.
        shapes: The shape of each array.
        out_indices: The maps of a backbone; its arrays end with the last one.

    Raises:
        ValueError: It asks for more.
    """
    depths = config.get("depths") if isinstance(config, dict) else None
    if not isinstance(depths, list) or not all(type(depth) is int for depth in depths):
        raise ValueError("depths is not a list of whole numbers")
    last = len(depths) if out_indices is None else max(out_indices)
    blocks = {match.groups() for name in shapes if (match := _BLOCK.match(name))}
    found = sorted(Counter(int(stage) for stage, _ in blocks).items())
    seen, unseen = depths[:last], depths[last:]
    if len(seen) > len(found) or sum(seen) > len(blocks):
        counts = [count for _, count in found]
        raise ValueError(f"depths={shown(depths)}, but its arrays have {shown(counts)} blocks")
    if len(unseen) > _MOST_UNSEEN or sum(unseen) > _MOST_UNSEEN:
        raise ValueError(f"depths={shown(depths)} has more than {_MOST_UNSEEN} blocks in no array")
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    for field in _SIZES:
        values = config.get(field, 0)
        values = values[:last] if isinstance(values, list) else [values]
        head = field == "num_classes" and out_indices is not None
        if not head and any(type(value) is int and value > largest for value in values):
            raise ValueError(
                f"{field}={shown(config[field])}, but no axis of an array is longer than {largest}"
            )
