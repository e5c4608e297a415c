"""Loads recipes: files that define `get_config() -> TrainConfig`."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import resnet_jax
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.local_paths import local_path
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import validate

DEFAULT_RECIPE = "configs/digits.py"


def load_recipe(location: str = DEFAULT_RECIPE) -> TrainConfig:
    """Loads a recipe and checks what it returns.

    Args:
        location: A file such as `configs/digits.py`, or the name of one of the package's recipes,
            such as `digits`; with an argument `cifar10_fast:30`. A path in `configs` that does not
            exist here is taken from the package's recipes as well, so that the default recipe is
            found from every folder. While the file runs, it may import files next to it.

    Returns:
        The configuration.

    Raises:
        ConfigError: The file does not exist or has no `get_config`, or `get_config` fails; or a
            name stands for two files.
    """
    local_path(location)  # before an address is taken apart at its colon
    name, colon, argument = location.partition(":")
    path = _find(name)
    with _importing_from(path.parent.resolve()):
        get_config = _get_config(path)
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
    path = local_path(name)
    if path.is_file():
        return path
    folders = _recipe_folders()
    if path.parts[:1] == ("configs",):
        for folder in folders:
            if (folder.parent / path).is_file():
                return folder.parent / path
    if len(path.parts) == 1 and not path.suffix:
        found = _named(name, folders)
        if found is not None:
            return found
    known = sorted(file.stem for folder in folders for file in folder.glob("*.py"))
    alike = nearest(name, [*known, *(f"configs/{stem}.py" for stem in known)])
    raise ConfigError(f"unknown recipe {name}.{alike} Known: {', '.join(known)}")


def _named(name: str, folders: list[pathlib.Path]) -> pathlib.Path | None:
    """Finds the file that a bare name stands for: here, in `configs`, or in the package.

    Raises:
        ConfigError: It stands for more than one.
    """
    here = [pathlib.Path(f"{name}.py"), pathlib.Path("configs", f"{name}.py")]
    candidates = [*here, *(folder / f"{name}.py" for folder in folders)]
    found = {path.resolve(): path for path in reversed(candidates) if path.is_file()}
    if len(found) > 1:
        paths = " and ".join(map(str, reversed(found.values())))
        raise ConfigError(f"recipe {name} stands for {paths}; give one of the paths")
    return next(iter(found.values()), None)


def _recipe_folders() -> list[pathlib.Path]:
    """Lists the folders of recipes: in an installed package, or next to it in a checkout."""
    package = pathlib.Path(resnet_jax.__file__).parent
    folders = (package / "configs", package.parent / "configs")
    return [folder for folder in folders if folder.is_dir()]


@contextlib.contextmanager
def _importing_from(folder: pathlib.Path) -> Iterator[None]:
    """Lets a recipe import the files next to it, as if it were started by itself.

    What it imported from there is forgotten afterwards: recipes of two folders may both have a
    file `base.py`.
    """
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # the files may be newer than the last look at the folder
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and folder == pathlib.Path(file).resolve().parent:
                del sys.modules[name]


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
