"""Four steps of every recipe, as one tries it out before a long run."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from resnet_jax.training.loop import train
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import parse_overrides

# What needs the recipe's own data, weights or accelerators; everything else stays.
SMALL = {
    "steps": 4,
    "batch_size": 16,
    "eval_batch_size": 16,
    "model.name": "resnet8",
    "model.num_classes": 3,
    "model.in_features": 3,
    "model.norm_group_size": "none",
    "model.dtype": "float32",
    "augment.mix_group_size": "none",
    "data.channels": 3,
    "data.workers": 0,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 24), ("validation", 4), ("test", 4)):
        for name in ("a", "b", "c"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in pathlib.Path("configs").glob("*.py")))
def test_a_recipe_runs_for_a_few_steps(name, images, tmp_path):
    recipe = load_recipe(name)
    fields = SMALL | {"data.name": f"folder:{images}", "data.image_size": 32}
    if recipe.resize is not None:
        fields |= {"resize.first": 16, "resize.multiple": 16}
    if recipe.finetune is not None:
        fields["finetune.weights"] = "none"
    config = parse_overrides(recipe, [f"--config.{path}={value}" for path, value in fields.items()])
    out = io.StringIO()
    result = train(config, tmp_path / "run", console=Console(file=out, width=200))
    assert (result.status, result.step) == ("finished", 4)
    assert "step 4/4" in out.getvalue()
    assert result.record["test_expected"] > 0
