"""Loads recipes: files that define `get_config() -> TrainConfig`."""

from __future__ import annotations

import importlib.util
import inspect
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

import resnet_jax
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import validate

DEFAULT_RECIPE = "configs/digits.py"


def load_recipe(location: str = DEFAULT_RECIPE) -> TrainConfig:
    """Loads a recipe and checks what it returns.

    Args:
        location: A file such as `configs/digits.py`, or with an argument `configs/cifar10.py:fast`.
            A path in `configs` that does not exist here is taken from the recipes that come with
            the package, so the default recipe is found from every folder.

    Returns:
        The configuration.

    Raises:
        ConfigError: The file does not exist or has no `get_config`, or `get_config` fails.
    """
    name, colon, argument = location.partition(":")
    get_config = _get_config(_find(name))
    try:
        takes_argument = bool(inspect.signature(get_config).parameters)
        if colon and not takes_argument:
            raise ConfigError(f"recipe {name} takes no argument, but {argument!r} was given")
        config = get_config(argument) if colon else get_config()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"recipe {location} failed: {_in_one_line(error)}") from error
    if not isinstance(config, TrainConfig):
        raise ConfigError(
            f"recipe {location} returned {type(config).__name__}: get_config must return "
            "resnet_jax.training.recipe.config.TrainConfig"
        )
    return validate(config)


def _find(name: str) -> pathlib.Path:
    path = pathlib.Path(name)
    if path.is_file():
        return path
    folders = _recipe_folders()
    if path.parts[:1] == ("configs",):
        for folder in folders:
            if (folder.parent / path).is_file():
                return folder.parent / path
    known = sorted(f"configs/{file.name}" for folder in folders for file in folder.glob("*.py"))
    raise ConfigError(f"unknown recipe {name}.{nearest(name, known)} Known: {', '.join(known)}")


def _recipe_folders() -> list[pathlib.Path]:
    """Lists the folders of recipes: in an installed package, or next to it in a checkout."""
    package = pathlib.Path(resnet_jax.__file__).parent
    folders = (package / "configs", package.parent / "configs")
    return [folder for folder in folders if folder.is_dir()]


def _get_config(path: pathlib.Path) -> Callable[..., Any]:
    module = _execute(path)
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise ConfigError(f"recipe {path} has no function get_config() -> TrainConfig")
    return get_config


def _execute(path: pathlib.Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"recipe {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module by name while the file still runs.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"recipe {path} failed: {_in_one_line(error)}") from error
    return module


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
