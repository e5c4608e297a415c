"""The folder of a run: the names of its files, and what they say about the run."""

from __future__ import annotations

import dataclasses
import json

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.errors import ConfigError
from resnet_jax.network_inputs import NetworkInputs, inputs_from_plain
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import from_json

REPLACED = "replaced-"
"""What the name of a checkpoint begins with until another one in its place is complete."""

_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The files of a run.

    Attributes:
        root: The folder.
        address: Where it belongs, if it is the copy of a folder in a bucket.
    """

    root: AnyPath
    address: BucketPath | None = None

    def __str__(self) -> str:
        return str(self.named.root)

    @property
    def named(self) -> Workdir:
        """The run where the user finds it, for messages."""
        return self if self.address is None else Workdir(self.address)

    @property
    def config(self) -> AnyPath:
        """The run's configuration as JSON."""
        return self.root / "config.json"

    @property
    def inputs(self) -> AnyPath:
        """What the run's network expects of images, and its class names, as JSON."""
        return self.root / "inputs.json"

    @property
    def checkpoints(self) -> AnyPath:
        """The folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def best(self) -> AnyPath:
        """The number and accuracy of the best checkpoint, as JSON."""
        return self.root / "best.json"

    @property
    def metrics(self) -> AnyPath:
        """The records of metrics: one JSON object per line."""
        return self.root / "metrics.jsonl"

    @property
    def environment(self) -> AnyPath:
        """The environments of the run: one JSON object per line, one line per change."""
        return self.root / "environment.jsonl"

    @property
    def tensorboard(self) -> AnyPath:
        """The folder of the TensorBoard events."""
        return self.root / "tensorboard"

    @property
    def curves(self) -> AnyPath:
        """The plot of loss and accuracy."""
        return self.root / "curves.png"

    @property
    def profile(self) -> AnyPath:
        """The folder of the trace that `--profile` writes."""
        return self.root / "profile"

    def read_config(self) -> TrainConfig:
        """Reads the configuration of the run in this folder.

        Raises:
            ConfigError: The folder does not hold a run, or its configuration cannot be used.
        """
        if not self.config.is_file():
            what = self._what_else() or f"{self.config.name} is missing; train it first"
            raise ConfigError(f"no run in workdir {self}: {what}")
        try:
            return from_json(self.config.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{self.named.config} is damaged: it is not UTF-8 text: {error}"
            ) from None
        except ConfigError as error:
            if (other := self._what_else()) is not None:
                raise ConfigError(f"no run in workdir {self}: {other}") from None
            raise ConfigError(f"{self.named.config}: {error}") from None

    def _what_else(self) -> str | None:
        """Says what is here in the place of a run, such as a model of the Hugging Face hub."""
        if self.root.is_file():
            return "it is a file; give the folder of a run"
        if isinstance(self.root, BucketPath) or not self.root.is_dir() or self.inputs.is_file():
            return None
        names = sorted(path.name for path in self.root.iterdir() if path.suffix in _WEIGHTS)
        if not names or self.checkpoints.is_dir():
            return None
        return (
            f"it holds weights, {names[0]}; give the name of their network, and this file as its "
            "weights"
        )

    def read_inputs(self) -> NetworkInputs:
        """Reads what the run's network expects of images, and its class names.

        Runs that an older version started have no such file: then the recipe decides, the names
        are None, and so is the size if the recipe leaves images as they are.

        Raises:
            ConfigError: The folder does not hold a run, or the file is damaged.
        """
        if not self.inputs.is_file():
            config = self.read_config()
            return config.data.inputs(channels=config.model.sizes()[1])
        try:
            values = json.loads(self.inputs.read_text(encoding="utf-8"))
            names = values.pop("class_names") if isinstance(values, dict) else None
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("class_names is not a list of names")
            return inputs_from_plain(values, channels=3).named(names)
        except (ValueError, KeyError) as error:  # also of the encoding
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.named.inputs} is damaged: {reason}") from None

    def has_checkpoints(self) -> bool:
        """Whether the run has saved anything that it could resume from."""
        if not self.checkpoints.is_dir():
            return False
        names = (path.name.removeprefix(REPLACED) for path in self.checkpoints.iterdir())
        return any(name.isdecimal() for name in names)
