"""What a study trains, as data: the networks, their seeds, and the one recipe that they share."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, Literal

from resnet_jax.data.sources.given import PREFIX
from resnet_jax.errors import ConfigError
from resnet_jax.study.recipes import digits_recipe, paper_recipe, two_core_recipe
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import validate

BudgetName = Literal["minutes", "hours", "paper"]


@dataclasses.dataclass(frozen=True)
class Budget:
    """A form of the study, by the time that it takes.

    Attributes:
        recipe: Makes the recipe of all networks.
        data: The dataset, if no other is named.
        image_size: Height and width to which the images are brought; None keeps them.
        depths: Layers of the networks.
        seeds: How often each of the two residual networks is trained.
    """

    recipe: Callable[[], TrainConfig]
    data: str
    image_size: int | None
    depths: tuple[int, ...]
    seeds: int


BUDGETS: dict[BudgetName, Budget] = {
    "minutes": Budget(digits_recipe, "digits", None, (20, 56, 110), 1),
    "hours": Budget(two_core_recipe, "cifar10", 16, (20, 56), 3),
    "paper": Budget(paper_recipe, "cifar10", None, (20, 56, 110), 1),
}


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One training of a network.

    Attributes:
        network: Its name in the zoo, `plain56` or `resnet56`.
        seed: The seed of all its random numbers.
    """

    network: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.network}-seed{self.seed}"

    @property
    def depth(self) -> int:
        """Its layers."""
        return int(self.network.lstrip("abcdefghijklmnopqrstuvwxyz"))


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        recipe: How every network is trained; `model.name` and `seed` are filled in.
        data: The dataset as the user named it.
        image_size: Height and width to which the images are brought; None keeps them.
        shallow: Layers of the shallow networks, plain and residual.
        deep: Layers of the deep networks, plain and residual.
        deepest: Layers of one more residual network, or None.
        seeds: How often the shallow and the deep residual network are trained.
        probe_images: Number of test images for claims 2 and 3.
    """

    recipe: TrainConfig
    data: str
    image_size: int | None
    shallow: int
    deep: int
    deepest: int | None
    seeds: int
    probe_images: int

    def __post_init__(self) -> None:
        if not self.shallow < self.deep or (self.deepest or self.deep + 1) <= self.deep:
            raise ConfigError(
                f"--depths={','.join(map(str, self.depths))} must increase, such as 20,56,110"
            )
        if self.seeds < 1:
            raise ConfigError(f"--seeds={self.seeds}: give the number of seeds, at least 1")

    @property
    def seed(self) -> int:
        """The seed of the networks that every claim is about."""
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

    @property
    def runs(self) -> tuple[StudyRun, ...]:
        """The trainings that every claim is about."""
        return tuple(StudyRun(network, self.seed) for network in self.networks)

    @property
    def repeats(self) -> tuple[StudyRun, ...]:
        """The trainings with other seeds, which show how much of a difference is chance."""
        networks = [f"resnet{depth}" for depth in (self.shallow, self.deep)]
        seeds = range(self.seed + 1, self.seed + self.seeds)
        return tuple(StudyRun(network, seed) for seed in seeds for network in networks)

    def config(self, run: StudyRun) -> TrainConfig:
        """Returns the recipe of one training."""
        model = dataclasses.replace(self.recipe.model, name=run.network)
        return validate(dataclasses.replace(self.recipe, model=model, seed=run.seed))


def make_plan(
    budget: BudgetName = "minutes",
    *,
    data: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    seed: int = 0,
    seeds: int | None = None,
    depths: tuple[int, ...] | None = None,
    probe_images: int = 1000,
) -> Plan:
    """Makes the plan of a study.

    Args:
        budget: The form of the study; None below takes its value.
        data: `digits` for `minutes`; `cifar10`, `zip:PATH` or `folder:PATH` for the others.
        epochs: Length of every training.
        batch_size: Images per step.
        learning_rate: The peak of the schedule.
        train_split: Split to train on.
        test_split: Split of the test error.
        seed: The first seed.
        seeds: How often the shallow and the deep residual network are trained.
        depths: Layers of the networks, two or three numbers.
        probe_images: Number of test images for claims 2 and 3.

    Raises:
        ConfigError: A value cannot be used.
    """
    form = BUDGETS[budget]
    data, depths = data or form.data, depths or form.depths
    if (data == "digits") != (form.data == "digits"):
        fitting = "minutes" if data == "digits" else "hours or --budget=paper"
        raise ConfigError(
            f"--budget={budget} is not for --data={data}: write --budget={fitting}, or leave "
            "--data out"
        )
    if len(depths) not in (2, 3):
        raise ConfigError(f"--depths={','.join(map(str, depths))}: give two or three numbers")
    recipe = form.recipe()
    splits: dict[str, Any] = {"train_split": train_split, "test_split": test_split}
    chosen = {name: value for name, value in splits.items() if value is not None}
    settings: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    rate = recipe.optimizer.learning_rate if learning_rate is None else learning_rate
    recipe = dataclasses.replace(
        recipe,
        # The study opens the data itself, so that a run may go on where the files lie elsewhere.
        data=dataclasses.replace(recipe.data, name=PREFIX + name_of_data(data), **chosen),
        optimizer=dataclasses.replace(recipe.optimizer, learning_rate=rate),
        **{name: value for name, value in settings.items() if value is not None},
    )
    if recipe.epochs < 2:
        warmup = dataclasses.replace(recipe.schedule, warmup_epochs=0.5 * recipe.epochs)
        recipe = dataclasses.replace(recipe, schedule=warmup)
    return Plan(
        recipe=validate(recipe),
        data=data,
        image_size=form.image_size,
        shallow=depths[0],
        deep=depths[1],
        deepest=depths[2] if len(depths) == 3 else None,
        seeds=form.seeds if seeds is None else seeds,
        probe_images=probe_images,
    )


def name_of_data(data: str) -> str:
    """Names a dataset without the folders of this machine."""
    kind, colon, path = data.partition(":")
    return pathlib.Path(path).name if colon and kind in ("zip", "folder") else data
