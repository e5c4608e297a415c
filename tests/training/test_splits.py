import dataclasses
import io
import shutil

import pytest
from PIL import Image
from rich.console import Console

from resnet_jax.data.config import DataConfig
from resnet_jax.errors import ConfigError
from resnet_jax.training.evaluation import open_splits
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import ModelConfig, TrainConfig
from resnet_jax.training.trainer import make_trainer


@pytest.fixture
def config(tmp_path):
    """Makes a run on folders of images."""

    def make(*splits, **fields):
        for split in splits:
            for level, name in ((0, "cat"), (200, "dog")):
                folder = tmp_path / "pets" / split / name
                folder.mkdir(parents=True)
                for number in range(4):
                    Image.new("RGB", (8, 8), (level, 9 * number, 0)).save(folder / f"{number}.png")
        return TrainConfig(
            batch_size=8,
            eval_batch_size=8,
            model=ModelConfig("resnet8", num_classes=2),
            data=DataConfig(name=f"folder:{tmp_path / 'pets'}", **fields),
        )

    return make


@pytest.mark.parametrize(
    ("splits", "validation", "has_test", "note"),
    [
        (("train", "val", "test"), "validation", True, None),
        (("train", "val"), "validation", False, "no split test: the run reports validation"),
        (("train", "test"), None, True, "no split validation: nothing is evaluated before the end"),
    ],
)
def test_one_of_the_usual_splits_may_be_missing(config, splits, validation, has_test, note):
    config = config(*splits)
    opened = open_splits(config, make_evaluator(config))
    assert opened.config.data.validation_split == validation
    assert opened.has_test == has_test
    assert set(opened.loaders) == {{"val": "validation"}.get(name, name) for name in splits[1:]}
    assert len(opened.notes) == (note is not None)
    assert note is None or note in opened.notes[0]


@pytest.mark.parametrize(
    ("splits", "fields", "message"),
    [
        (("train",), {}, "has no split 'validation'"),
        (("train",), {"validation_split": None}, "has no split 'test'"),
        (("train", "val"), {"test_split": "test[:50%]"}, "has no split 'test'"),
        (("train", "test"), {"validation_split": "vla"}, "has no split 'vla'"),
    ],
)
def test_a_split_that_was_chosen_has_to_exist(config, splits, fields, message):
    config = config(*splits, **fields)
    with pytest.raises(ConfigError, match=message):
        open_splits(config, make_evaluator(config))


def test_one_class_is_too_few(config, tmp_path):
    config = config("train", "val")
    shutil.rmtree(tmp_path / "pets" / "train" / "dog")
    shutil.rmtree(tmp_path / "pets" / "val" / "dog")
    with pytest.raises(ConfigError, match="has one class, 'cat'; a classifier needs two or more"):
        make_trainer(make_evaluator(config))


def test_one_class_in_a_table_is_too_few(config, tmp_path):
    config = config("train", "val")
    table = tmp_path / "pets" / "labels.csv"
    rows = [f"{path.relative_to(table.parent)},cat" for path in table.parent.rglob("*.png")]
    table.write_text("\n".join(["file,label", *rows]))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, name=f"csv:{table}"))
    with pytest.raises(ConfigError, match=r"has one class, 'cat'; .*: add rows of other classes$"):
        make_trainer(make_evaluator(config))


def test_a_run_without_test_reports_validation(config, tmp_path):
    shown = io.StringIO()
    config = dataclasses.replace(config("train", "val"), steps=1)
    result = train(config, tmp_path / "run", console=Console(file=shown, width=200))
    assert result.record["validation_count"] == 8
    assert "test_accuracy" not in result.record
    assert "has no split test: the run reports validation" in shown.getvalue()
    assert "validation accuracy " in shown.getvalue()
