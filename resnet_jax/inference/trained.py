"""Opens a trained network: a run, a file of ours, PyTorch weights or published weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from resnet_jax import weights as weight_files
from resnet_jax.buckets import BucketPath
from resnet_jax.data.config import DataConfig
from resnet_jax.errors import ConfigError, counted, nearest
from resnet_jax.inference.inputs import NAMELESS, FilePath, find_inputs, inputs_of_file
from resnet_jax.local_paths import user_path
from resnet_jax.models import ResNet
from resnet_jax.network_inputs import NetworkInputs, check_channels
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.stored import Step
from resnet_jax.training.workdir.trained_network import read_network
from resnet_jax.weights.files import is_own_file


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, ready for use.

    Attributes:
        model: The network in evaluation mode.
        inputs: The images that it expects, and the names of its outputs.
        origin: What was opened, for messages and results.
        step: The step of the checkpoint, for a run.
        data: The data that it was trained on, for a run.
        remarks: What the user should know about what was opened, one line each.
    """

    model: ResNet
    inputs: NetworkInputs
    origin: str
    step: int | None = None
    data: DataConfig | None = None
    remarks: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """The number of outputs."""
        return self.model.config.num_classes

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each output; None if they are not known."""
        return self.inputs.class_names

    def class_name(self, index: int) -> str:
        """Returns the name of an output, or its number if the name is not known."""
        return self.class_names[index] if self.class_names else f"class {index}"

    def class_index(self, name: str) -> int:
        """Finds an output by its name or number.

        Raises:
            ConfigError: The network has no such class.
        """
        if self.class_names and name in self.class_names:
            return self.class_names.index(name)
        if name.isdecimal() and int(name) < self.num_classes:
            return int(name)
        raise ConfigError(
            f"{self.origin} has no class {name!r}.{nearest(name, self.class_names or ())} "
            f"Classes have the numbers 0 to {self.num_classes - 1}"
        )


def open_trained(
    model: FilePath,
    *,
    weights: FilePath | None = None,
    step: Step = None,
    class_names: Sequence[str] | None = None,
) -> Trained:
    """Opens a trained network.

    Args:
        model: The folder of a run, whose moving averages are used if it keeps any; a file written
            by `resnet_jax.save`; or the name of a network, whose published weights are fetched
            unless `weights` are given. `resnet50.a1_in1k` selects specific weights.
        weights: A weights file for a named network, from PyTorch (`.safetensors`, `.pth`, `.th`)
            or `resnet_jax.save`.
        step: The step of a run's checkpoint, or `best` for the best one on the validation split;
            None takes the last one.
        class_names: The name of each output; overrides those that are known.

    Returns:
        The network in evaluation mode, with what is known about its images and classes.

    Raises:
        ValueError: The network does not exist or cannot be read; the message is one line.
    """
    path = user_path(model)
    if step is not None and not path.is_dir():
        raise ConfigError(
            f"step={step}: only runs have steps, and {model} is not the folder of a run"
        )
    if weights is not None and path.exists():
        raise ConfigError(f"weights={weights} go with the name of a network, and {model} is a path")
    if path.is_dir():
        trained = open_run(path, step=step)
    elif path.is_file():
        trained = _open_file(model)
    else:
        trained = _open_named(str(model), weights)
    if not trained.num_classes:
        raise ConfigError(f"{trained.origin} has no classifier: its weights come without one")
    return with_class_names(trained, class_names)


def with_class_names(trained: Trained, class_names: Sequence[str] | None) -> Trained:
    """Renames the outputs of a network; None keeps the names that it has.

    Raises:
        ConfigError: The number of names differs from the number of outputs.
    """
    if class_names is None:
        return trained
    if len(class_names) != trained.num_classes:
        raise ConfigError(
            f"{counted(len(class_names), 'class name')} for the "
            f"{counted(trained.num_classes, 'output')} of "
            f"{trained.origin}"
        )
    return dataclasses.replace(trained, inputs=trained.inputs.named(class_names))


def open_run(
    root: FilePath | BucketPath, *, step: Step = None, config: TrainConfig | None = None
) -> Trained:
    """Opens a checkpoint of a run; its moving averages if it keeps any.

    Args:
        root: The folder of the run.
        step: The step of the checkpoint, or `best`; None takes the last one.
        config: Settings to use instead of those in the folder.

    Raises:
        ConfigError: The folder does not contain a run.
        CheckpointError: The checkpoint does not exist or cannot be read.
    """
    files = Workdir(user_path(root))
    config = config or files.read_config()
    network = read_network(files, config, step=step)
    inputs, remarks = files.read_inputs(), list(network.remarks)
    if inputs.class_names is None:
        lacks = "class names" if inputs.size else "class names and image size"
        remarks.append(
            f"{root} has no record of its {lacks}, since an older version trained it: give them "
            "with --class-names=FILE and --inputs.size=N, or resume the run, which records them"
        )
    return Trained(
        model=network.model,
        inputs=inputs,
        origin=str(root),
        step=network.step,
        data=config.data,
        remarks=tuple(remarks),
    )


def _open_file(path: FilePath) -> Trained:
    if not is_own_file(path):
        raise ConfigError(NAMELESS.format(path=path))
    inputs = inputs_of_file(path)
    model = weight_files.load(path)
    model.eval()
    return Trained(model, inputs, origin=str(path))


def _open_named(name: str, weights: FilePath | None) -> Trained:
    inputs = find_inputs(name, weights=weights)
    model = weight_files.create_model(name, pretrained=True if weights is None else weights)
    model.eval()
    inputs = dataclasses.replace(inputs, channels=check_channels(model.config.in_features))
    if inputs.class_names and len(inputs.class_names) != model.config.num_classes:
        inputs = inputs.named(None)
    return Trained(model, inputs, origin=name if weights is None else f"{name} ({weights})")
