"""What a run says before its first step."""

import io
import re

import pytest
from rich.console import Console

from resnet_jax.errors import counted
from resnet_jax.training.announcement import announce
from resnet_jax.training.recipe.config import FinetuneConfig


@pytest.fixture
def announced(make, config, vary):
    def announced(width=80, **changes):
        chosen = vary(config, **changes)
        evaluator, trainer = make(chosen)
        splits = {split: evaluator.batches(split) for split in ("validation", "test")}
        out = io.StringIO()
        announce(trainer, splits, workdir="runs/mine", console=Console(file=out, width=width))
        return out.getvalue().splitlines()

    return announced


def test_a_run_says_what_it_is_about_to_do(announced):
    lines = announced(model__name="resnet8", optimizer__name="lamb", finetune=FinetuneConfig())
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
    for fact in (
        "resnet8, 75,002 parameters, about 0.00076 GFLOPs an image",
        "digits, 8 x 8 pixels: 1,293 train, 144 validation, 360 test; 10 classes of 1",
        "40 steps, 2 epochs of 20; batch 64; lamb, learning rate 0.1 (cosine)",
        "precision float32",
        "folder runs/mine",
    ):
        assert fact in text
    assert "from" not in text  # no weights to start from
    assert lines[0].startswith("devices ")
    assert lines[0].endswith("cpu")


def test_a_run_counts_its_classes_and_says_how_it_balances_them(announced):
    lines = announced(data__sampling="balanced", loss__class_weights={"1": 2.5})
    text = " ".join(" ".join(lines).split())
    assert re.search(r"10 classes of 1\d\d to 1\d\d training images: 0 \(1\d\d\), 1 \(", text)
    assert "balance weights 0 1, 1 2.5, 2 1, 3 1" in text
    assert "an epoch has as many images of each class, rare ones several times" in text


@pytest.mark.parametrize(
    ("steps", "words"),
    [(1, "1 step, 0.05 epochs of 20"), (20, "20 steps, 1 epoch of"), (40, "40 steps, 2 epochs of")],
)
def test_one_of_a_thing_is_singular(announced, steps, words):
    assert words in " ".join(" ".join(announced(steps=steps)).split())
    assert counted(1, "class") == "1 class"
    assert counted(1797, "class") == "1,797 classes"
    assert counted(0, "image has", plural="images have") == "0 images have"


def test_a_short_run_says_that_it_ends_within_its_warm_up(announced):
    text = " ".join(" ".join(announced(steps=4, model__dtype="bfloat16")).split())
    assert "4 steps, 0.2 epochs of 20" in text
    assert "(cosine, within its warm-up of 10 steps)" in text
    assert "precision bfloat16; parameters, statistics and loss float32" in text
