"""The trained networks of a study, and the folders in which they are kept."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

from resnet_jax.models import ResNet
from resnet_jax.plain_json import json_text
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.state import Variables, variables_of
from resnet_jax.weights import load, save
from resnet_jax.whole_files import write_text


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The results of a network after an epoch.

    Attributes:
        train_loss: Mean over the steps of the epoch, while the network changed.
        train_error: Share of the images misclassified in those steps.
        test_loss: Mean cross-entropy over the test split.
        test_error: Share of the test split that is misclassified.
    """

    train_loss: float
    train_error: float
    test_loss: float
    test_error: float


@dataclasses.dataclass(frozen=True)
class Training:
    """The results of a training, as plain values for JSON.

    Attributes:
        network: Its name.
        seed: The seed of its random numbers.
        epochs: One entry per epoch.
        train_error: Share of the training split that is misclassified at the end, in evaluation.
        train_count: Images of the training split.
        test_count: Images of the test split.
        steps: Updates.
        seconds: Wall-clock time, including compilation, without epochs that an interruption undid.
        gradients: The norm of each convolution's gradient, the first layer first: at the first
            step (`initial`) and as a mean over the steps of the first and the last epoch.
    """

    network: str
    seed: int
    epochs: list[Epoch]
    train_error: float
    train_count: int
    test_count: int
    steps: int
    seconds: float
    gradients: dict[str, list[float]]

    @property
    def test_error(self) -> float:
        """Share of the test split that is misclassified at the end."""
        return self.epochs[-1].test_error


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network at the end of its training, in evaluation mode."""

    config: TrainConfig
    training: Training
    model: ResNet

    @property
    def variables(self) -> Variables:
        """Its arrays as nested dicts."""
        return variables_of(self.model)


def keep(trained: TrainedNetwork, folder: pathlib.Path) -> None:
    """Writes a trained network into its folder."""
    save(trained.model, folder / _WEIGHTS)
    record = json_text(dataclasses.asdict(trained.training), indent=1)
    write_text(folder / _RECORD, record + "\n")


def kept(config: TrainConfig, folder: pathlib.Path) -> TrainedNetwork | None:
    """Reads a trained network from its folder; None if it is not trained to the end.

    Args:
        config: Its recipe.
        folder: Its folder, which `Workdir.claim` has found to belong to this recipe.
    """
    if not (folder / _RECORD).is_file():
        return None
    values = with_nan(json.loads((folder / _RECORD).read_text()))
    training = Training(**{**values, "epochs": [Epoch(**epoch) for epoch in values["epochs"]]})
    model = load(folder / _WEIGHTS)
    model.eval()
    return TrainedNetwork(config, training, model)


def with_nan(value: Any) -> Any:
    """Puts NaN back, for which JSON has null; every value of a training is known."""
    if isinstance(value, dict):
        return {name: with_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_nan(inner) for inner in value]
    return math.nan if value is None else value


_WEIGHTS, _RECORD = "network.safetensors", "training.json"
