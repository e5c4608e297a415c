import pathlib
import re
import sys

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
    assert expected.data.name == "digits"


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


@pytest.mark.parametrize("name", ["digits", "cifar10_fast:30", "imagenet_rsb:a3"])
def test_recipes_go_by_their_bare_names(name, tmp_path, monkeypatch):
    stem, colon, argument = name.partition(":")
    expected = load_recipe(f"configs/{stem}.py{colon}{argument}")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name) == expected


@pytest.mark.parametrize("place", ["mine.py", "configs/mine.py"])
def test_a_bare_name_finds_a_recipe_of_ones_own(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEADER + "def get_config(): return TrainConfig(epochs=7)")
    assert load_recipe("mine").epochs == 7


def test_a_bare_name_of_two_recipes_is_refused_with_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.py").write_text(HEADER + "def get_config(): return TrainConfig(epochs=7)")
    with pytest.raises(ConfigError, match=r"stands for digits\.py and .*configs/digits\.py; give"):
        load_recipe("digits")
    assert load_recipe("digits.py").epochs == 7


def test_a_bare_name_that_nothing_has_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown recipe digit\. Did you mean 'digits'"):
        load_recipe("digit")


def test_recipes_import_the_files_next_to_them(tmp_path):
    modules, search = set(sys.modules), list(sys.path)
    for folder, epochs in (("one", 3), ("two", 5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "base.py").write_text(f"EPOCHS = {epochs}")
        (tmp_path / folder / "recipe.py").write_text(
            HEADER
            + "def get_config():\n    import base\n    return TrainConfig(epochs=base.EPOCHS)"
        )
        assert load_recipe(str(tmp_path / folder / "recipe.py")).epochs == epochs
    assert sys.path == search
    assert "base" not in set(sys.modules) - modules


def test_the_recipes_of_the_page_load(tmp_path, monkeypatch):
    page = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "recipes.md").read_text()
    first, variation, neighbour = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name, text in (("tiny", first), ("variation", variation), ("wider", neighbour)):
        pathlib.Path(f"{name}.py").write_text(text)
    assert load_recipe("tiny:20").epochs == 20
    assert load_recipe("variation").optimizer.learning_rate == 0.2
    assert load_recipe("wider").model.name == "resnet14"
