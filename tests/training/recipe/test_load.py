import pathlib

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import validate

HEADER = "from resnet_jax.training.recipe.config import TrainConfig\n"


@pytest.mark.parametrize("path", sorted(pathlib.Path("configs").glob("*.py")), ids=str)
def test_recipes_of_the_project_load(path):
    config = load_recipe(str(path))
    assert config == validate(config)


def test_the_default_recipe_is_found_from_every_folder(tmp_path, monkeypatch):
    expected = load_recipe("configs/digits.py")
    monkeypatch.chdir(tmp_path)
    assert load_recipe() == expected
    assert expected.model.in_features == 1


def test_an_argument_reaches_the_recipe(tmp_path):
    file = tmp_path / "recipe.py"
    file.write_text(
        HEADER + "def get_config(size='8'):\n    return TrainConfig(batch_size=int(size))"
    )
    assert load_recipe(f"{file}:32") == TrainConfig(batch_size=32)
    assert load_recipe(str(file)) == TrainConfig(batch_size=8)
    with pytest.raises(ConfigError, match=r"recipe .* failed: ValueError: invalid literal"):
        load_recipe(f"{file}:many")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no function get_config"),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("def get_config(): 1 / 0", "failed: ZeroDivisionError"),
        ("def get_config(): return 3", "returned int: get_config must return"),
        ("def (", "failed: SyntaxError"),
        (HEADER + "def get_config(): return TrainConfig(epochs=-1)", "epochs=-1: must be greater"),
        (HEADER + "def get_config(): return TrainConfig(epoch=1)", "unexpected keyword argument"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_explained_in_one_line(tmp_path, text, message):
    file = tmp_path / "recipe.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(str(file))
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_gets_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"unknown recipe configs/digit.py. Did you mean 'configs/dig"
    ):
        load_recipe("configs/digit.py")


def test_a_recipe_without_arguments_refuses_one():
    with pytest.raises(ConfigError, match=r"takes no argument, but 'fast' was given"):
        load_recipe("configs/digits.py:fast")
