"""The folder of a run: the names of its files, and which run it belongs to."""

from __future__ import annotations

import dataclasses
import pathlib

import jax

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import differing_fields, from_json, to_json
from resnet_jax.whole_files import write_text

# Fields that may change when a run resumes: they do not change what it computes.
_FREE = (
    "mesh.",
    "checkpoint.",
    "eval_batch_size",
    "log_every_steps",
    "eval_every_epochs",
    "max_skipped",
    "data.data_dir",
    "data.in_memory",
    "data.device_resident",
)


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The files of a run.

    Attributes:
        root: The folder.
    """

    root: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        """The run's configuration as JSON."""
        return self.root / "config.json"

    @property
    def checkpoints(self) -> pathlib.Path:
        """The folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def metrics(self) -> pathlib.Path:
        """The records of metrics: one JSON object per line."""
        return self.root / "metrics.jsonl"

    @property
    def environment(self) -> pathlib.Path:
        """The environments of the run: one JSON object per line, one line per change."""
        return self.root / "environment.jsonl"

    @property
    def tensorboard(self) -> pathlib.Path:
        """The folder of the TensorBoard events."""
        return self.root / "tensorboard"

    @property
    def curves(self) -> pathlib.Path:
        """The plot of loss and accuracy."""
        return self.root / "curves.png"

    @property
    def profile(self) -> pathlib.Path:
        """The folder of the trace that `--profile` writes."""
        return self.root / "profile"

    def read_config(self) -> TrainConfig:
        """Reads the configuration of the run in this folder.

        Raises:
            ConfigError: The folder does not hold a run, or its configuration cannot be used.
        """
        if not self.config.is_file():
            raise ConfigError(
                f"no run in workdir {self.root}: {self.config.name} is missing; train it first"
            )
        try:
            return from_json(self.config.read_text())
        except ConfigError as error:
            raise ConfigError(f"{self.config}: {error}") from None

    def claim(self, config: TrainConfig) -> None:
        """Claims the folder for a run, or checks that it already belongs to this run.

        Only the first process writes, since two writers would replace each other's file.

        Raises:
            ConfigError: The folder belongs to another run; the message lists differing fields.
            OSError: The folder cannot be written.
        """
        if self.config.is_file():
            differing = differing_fields(self.read_config(), config)
            fixed = [field for field in differing if not field.startswith(_FREE)]
            if fixed:
                raise ConfigError(
                    f"workdir {self.root} holds a run with another config: {', '.join(fixed)}; "
                    "choose another --workdir, or use the old values to resume it"
                )
        elif self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
            raise ConfigError(
                f"workdir {self.root} has checkpoints but no {self.config.name}; choose another"
            )
        if jax.process_index() == 0:
            self.root.mkdir(parents=True, exist_ok=True)
            write_text(self.config, to_json(config))
