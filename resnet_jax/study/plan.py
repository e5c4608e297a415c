"""What the study trains, as data: the networks, and the one recipe that they share."""

from __future__ import annotations

import dataclasses
from typing import Any

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import (
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from resnet_jax.training.recipe.overrides import validate

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2470, 0.2435, 0.2616)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        recipe: How every network is trained; `model.name` is filled in.
        shallow: Layers of the shallow networks, plain and residual.
        deep: Layers of the deep networks, plain and residual.
        deepest: Layers of one more residual network, or None.
        probe_images: Number of test images for claims 2 and 3.
    """

    recipe: TrainConfig
    shallow: int
    deep: int
    deepest: int | None
    probe_images: int

    def __post_init__(self) -> None:
        if not self.shallow < self.deep or (self.deepest or self.deep + 1) <= self.deep:
            raise ConfigError(
                f"--depths={','.join(map(str, self.depths))} must increase, such as 20,56,110"
            )

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""
        return self.recipe.seed

    @property
    def depths(self) -> tuple[int, ...]:
        """Layers of the residual networks, the shallowest first."""
        return tuple(filter(None, (self.shallow, self.deep, self.deepest)))

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of all networks, the quickest to train first."""
        plain = [f"plain{depth}" for depth in self.depths[:2]]
        residual = [f"resnet{depth}" for depth in self.depths]
        return (plain[0], residual[0], plain[1], *residual[1:])

    def config(self, network: str) -> TrainConfig:
        """Returns the run of one network."""
        model = dataclasses.replace(self.recipe.model, name=network)
        return validate(dataclasses.replace(self.recipe, model=model))


def digits_recipe() -> TrainConfig:
    """Returns the recipe of the embedded form: 8 epochs over 1,437 digits, 22 steps each.

    The images are not augmented, so the training error is that of the original images. At this
    learning rate, residual networks of 110 layers also train; at 0.05 they diverge.
    """
    return TrainConfig(
        epochs=8,
        batch_size=64,
        eval_batch_size=360,
        model=ModelConfig(num_classes=10, in_features=1),
        data=DataConfig(name="digits", train_split="train+validation", validation_split=None),
        optimizer=OptimizerConfig(learning_rate=0.02, weight_decay=1e-4),
        schedule=ScheduleConfig(name="cosine", warmup_epochs=1),
    )


def cifar10_recipe(data: str = "cifar10") -> TrainConfig:
    """Returns the recipe of He et al. 2015, section 4.2, with a warm-up epoch for all depths.

    164 epochs of 50,000 images are the paper's 64,000 steps of 128.

    Args:
        data: The dataset: `cifar10`, or files of its images as `zip:PATH` or `folder:PATH`.
    """
    return TrainConfig(
        epochs=164,
        batch_size=128,
        eval_batch_size=250,
        model=ModelConfig(num_classes=10, in_features=3),
        data=DataConfig(
            name=data,
            validation_split=None,
            mean=CIFAR_MEAN,
            std=CIFAR_STD,
            in_memory=True,
        ),
        augment=AugmentConfig(pad_crop=4, flip=0.5),
        optimizer=OptimizerConfig(learning_rate=0.1, weight_decay=1e-4),
        schedule=ScheduleConfig(name="step", warmup_epochs=1),
    )


def make_plan(
    data: str,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    seed: int = 0,
    depths: tuple[int, ...] = (20, 56, 110),
    probe_images: int = 1000,
) -> Plan:
    """Makes the plan of a study.

    Args:
        data: `digits` for the embedded form; `cifar10`, `zip:PATH` or `folder:PATH` for CIFAR-10.
        epochs: Length of every training; None takes the recipe's.
        batch_size: Images per step; None takes the recipe's.
        learning_rate: The peak of the schedule; None takes the recipe's.
        train_split: Split to train on; None takes the recipe's.
        test_split: Split of the test error; None takes the recipe's.
        seed: The seed of all random numbers.
        depths: Layers of the networks, two or three numbers.
        probe_images: Number of test images for claims 2 and 3.

    Raises:
        ConfigError: A value cannot be used.
    """
    if len(depths) not in (2, 3):
        raise ConfigError(f"--depths={','.join(map(str, depths))}: give two or three numbers")
    recipe = digits_recipe() if data == "digits" else cifar10_recipe(data)
    splits: dict[str, Any] = {"train_split": train_split, "test_split": test_split}
    chosen = {name: value for name, value in splits.items() if value is not None}
    settings: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    rate = recipe.optimizer.learning_rate if learning_rate is None else learning_rate
    recipe = dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, **chosen),
        optimizer=dataclasses.replace(recipe.optimizer, learning_rate=rate),
        **{name: value for name, value in settings.items() if value is not None},
    )
    if recipe.epochs < 2:
        warmup = dataclasses.replace(recipe.schedule, warmup_epochs=0.5 * recipe.epochs)
        recipe = dataclasses.replace(recipe, schedule=warmup)
    deepest = depths[2] if len(depths) == 3 else None
    return Plan(validate(recipe), depths[0], depths[1], deepest, probe_images)
