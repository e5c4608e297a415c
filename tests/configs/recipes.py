"""Recipes without their data."""

import dataclasses

from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.load import load_recipe

_CLASSES = {"cifar10": 10, "digits": 10, "imagenet2012": 1000, "oxford_flowers102": 102}


def recipe_for_its_data(name: str) -> TrainConfig:
    """Loads a recipe and gives the network the sizes that it would take from the dataset."""
    config = load_recipe(f"configs/{name}")
    sizes = {"num_classes": _CLASSES[config.data.name], "in_features": 3}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **sizes))
