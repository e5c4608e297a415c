"""`resnet-jax fields`, its page, and `train --show`."""

import pathlib
import re

import pytest

from resnet_jax import cli
from resnet_jax.cli.fields import reference_page
from resnet_jax.cli.show import show_recipe
from resnet_jax.training.recipe.fields import recipe_fields, values_by_field
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import parse_overrides

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "fields.md"


def test_the_reference_page_is_current():
    written = "\n".join(reference_page()) + "\n"
    assert PAGE.read_text() == written, "run resnet-jax fields --markdown > docs/fields.md"
    assert all(f"| `{field.path}` |" in written for field in recipe_fields())


def test_fields_are_explained_on_the_screen(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["fields", "optimizer.*"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "optimizer.betas=none\n  2 values, each number from 0 below 1, or none\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "data." not in out


def test_show_says_where_each_value_comes_from():
    words = ["--config.epochs=3", "--config.resize.first=8", "--config.optimizer.betas=0.9,0.99"]
    config = parse_overrides(load_recipe("digits"), words)
    lines = list(show_recipe(config, recipe="digits", overrides=words))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines).partition("training, on the host")[0]
    groups = re.split(r"^\S.*:$", text, flags=re.MULTILINE)[1:]
    typed, recipe, defaults = ([word.partition("=")[0] for word in part.split()] for part in groups)
    assert typed == ["epochs", "optimizer.betas", "resize.first"]
    assert {"batch_size", "ema.decay", "augment.shift"} <= set(recipe)
    assert {"seed", "ema.every", "resize.begin", "finetune"} <= set(defaults)
    assert sorted([*typed, *recipe, *defaults]) == sorted(values_by_field(config))
