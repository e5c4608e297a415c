"""`resnet-jax fields`, its page, and `train --show`."""

import dataclasses
import pathlib
import re

import pytest

from resnet_jax import cli
from resnet_jax.cli.fields import reference_page
from resnet_jax.cli.show import show_recipe
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.recipe.fields import recipe_fields, values_by_field
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import parse_overrides
from resnet_jax.training.workdir.claim import claim
from resnet_jax.training.workdir.layout import Workdir

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


def test_show_says_where_each_value_comes_from(tmp_path):
    words = ["--config.epochs=3", "--config.resize.first=8", "--config.optimizer.betas=0.9,0.99"]
    config = parse_overrides(load_recipe("digits"), words)
    lines = list(show_recipe(config, recipe="digits", overrides=words, files=Workdir(tmp_path)))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines).partition("training, on the host")[0]
    groups = re.split(r"^\S.*:$", text, flags=re.MULTILINE)[1:]
    typed, recipe, data, defaults = (
        [word.partition("=")[0] for word in part.split()] for part in groups
    )
    assert typed == ["epochs", "optimizer.betas", "resize.first"]
    assert {"batch_size", "ema.decay", "augment.shift"} <= set(recipe)
    assert {"seed", "ema.every", "resize.begin", "finetune"} <= set(defaults)
    assert data == ["model.num_classes", "model.in_features", "loss.name"]
    assert sorted([*typed, *recipe, *data, *defaults]) == sorted(values_by_field(config))


@pytest.mark.parametrize(
    ("words", "extend", "kept", "remark"),
    [
        ([], None, "", None),
        (["--config.epochs=60"], None, "", "say how its learning rate goes on: --extend="),
        (["--config.epochs=40"], None, "", "would be less"),
        (
            ["--config.epochs=60"],
            "cosine:0.5",
            'schedule.extensions=[{"shape":"cosine","begin":1000,"peak":0.5}]',
            "extended to 60 epochs (1,200 steps): after step 1,000 the learning rate falls",
        ),
    ],
)
def test_show_says_what_the_run_in_the_folder_decides(tmp_path, words, extend, kept, remark):
    recipe = load_recipe("digits")
    files = Workdir(tmp_path)
    model = dataclasses.replace(recipe.model, num_classes=3, in_features=1)
    loss = dataclasses.replace(recipe.loss, name="cross_entropy")
    claim(
        files,
        dataclasses.replace(recipe, model=model, loss=loss),
        NetworkInputs(size=8, class_names=("ant", "bee", "cat")),
    )
    (files.checkpoints / "1000").mkdir(parents=True)
    files.metrics.write_text('{"step": 1000, "epoch": 50.0}\n')
    config = parse_overrides(recipe, words)
    lines = show_recipe(config, recipe="digits", overrides=words, files=files, extend=extend)
    text = " ".join("\n".join(lines).split())
    data = "settings from the data (none until a run has opened them):"
    fitted = "model.num_classes=3 model.in_features=1 loss.name=cross_entropy"
    assert f"{data} {fitted} defaults" in text
    assert (f"settings from the run in {tmp_path}: {kept}" in text) == bool(kept)
    run = f"the run in {tmp_path}: images of 8 x 8 pixels; classes ant, bee, cat "
    assert run in text
    if remark is not None:
        assert remark in text.partition(run)[2]
    assert files.read_config().epochs == 50


def test_show_needs_no_run_that_can_be_read(tmp_path):
    files = Workdir(tmp_path)
    (files.checkpoints / "7").mkdir(parents=True)
    files.config.write_bytes(b"\xff")
    config = load_recipe("digits")
    text = "\n".join(show_recipe(config, recipe="digits", overrides=(), files=files))
    assert "  epochs=50 batch_size=64" in text
    remark = text.partition(f"\nthe run in {tmp_path}:\n")[2]
    assert "is damaged: it is not UTF-8" in " ".join(remark.split())
