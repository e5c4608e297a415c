"""Images with several classes: from a table to predictions."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from resnet_jax.cli import main
from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.evaluate import evaluate_trained
from resnet_jax.inference.explain import Explainer
from resnet_jax.inference.export import export
from resnet_jax.inference.trained import open_run, open_trained
from resnet_jax.report import write_report
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import (
    CheckpointConfig,
    EarlyStoppingConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records
from resnet_jax.weights import recorded_inputs

KINDS = ("blue", "green", "red")


@pytest.fixture
def table(tmp_path):
    """Images whose three channels are dark or bright, and a table that names the bright ones."""
    rng = np.random.default_rng(0)
    rows = ["file,labels,split"]
    for number in range(96):
        bright = rng.random(3) < 0.5
        levels = np.where(bright, 180, 40) + rng.integers(-30, 30, (8, 8, 3))
        Image.fromarray(levels.astype(np.uint8)).save(tmp_path / f"{number}.png")
        names = "|".join(np.array(["red", "green", "blue"])[bright])
        rows.append(f"{number}.png,{names},{('train', 'train', 'val')[number % 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return f"csv:{tmp_path}/labels.csv:pipe"


@pytest.fixture
def config(table, vary):
    return vary(
        TrainConfig(
            epochs=8,
            batch_size=16,
            model=ModelConfig("tiny"),
            optimizer=OptimizerConfig(learning_rate=0.05),
            loss=LossConfig(label_smoothing=0.05),
            checkpoint=CheckpointConfig(every_epochs=4),
        ),
        data__name=table,
        data__image_size=8,
        data__crop_area=(0.9, 1.0),
        augment__mixup=0.2,
    )


def test_a_run_on_several_labels_says_so_and_every_command_reads_it(tmp_path, config, vary, capsys):
    out = Console(file=io.StringIO(), width=200)
    result = train(config, tmp_path / "run", console=out)
    text, record = out.file.getvalue(), result.record
    assert "an image has up to 3 labels" in text
    assert "validation mean average precision" in text
    files = Workdir(tmp_path / "run")
    assert files.read_config().loss.name == "bce"
    assert files.read_inputs().multi_label
    assert files.read_inputs().class_names == KINDS
    best = json.loads(files.best.read_text())
    measured = [
        one["validation_mean_average_precision"]
        for one in read_records(files)
        if one["step"] in (16, 32)
    ]
    assert best["validation_mean_average_precision"] == max(measured)
    assert record["validation_count"] == 32
    assert 0 < record["train_f1"] <= 1
    # The channels tell the classes apart; guessing gives about a half.
    assert record["validation_mean_average_precision"] > 0.8

    trained = open_trained(tmp_path / "run")
    measures = evaluate_trained(trained, trained.data, "validation", batch_size=5)
    assert measures.mean_average_precision == pytest.approx(
        record["validation_mean_average_precision"], abs=1e-6
    )
    assert measures.f1_micro == pytest.approx(record["validation_f1_micro"])
    classes = json.loads(measures.to_json())["classes"]
    assert [entry["name"] for entry in classes] == list(KINDS)

    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "fewer.csv").write_text(text.replace("|green", "").replace("green", ""))
    fewer = vary(config, data__name=f"csv:{tmp_path}/fewer.csv:pipe").data
    found = evaluate_trained(trained, fewer, "validation")
    assert found.class_names == ("blue", "red")
    assert found.average_precision == measures.average_precision[::2]
    assert found.f1 == measures.f1[::2]

    classifier = Classifier(trained, batch_size=2)
    levels = np.zeros((1, 8, 8, 3), np.uint8)
    levels[..., 0] = levels[..., 1] = 200
    probabilities = classifier(levels)[0]
    _, _, explained = Explainer(trained)(levels[0])
    np.testing.assert_allclose(explained, probabilities, atol=1e-6)
    assert probabilities[[1, 2]].sum() > 1.2  # red and green, each by itself
    export(trained, tmp_path / "net.stablehlo")
    description = json.loads((tmp_path / "net.stablehlo.json").read_text())
    assert description["output"]["probabilities"] == "sigmoid"
    assert description["preprocessing"]["multi_label"] is True
    export(trained, tmp_path / "net.safetensors")
    assert recorded_inputs(tmp_path / "net.safetensors") == trained.inputs

    page = write_report([tmp_path / "run"], tmp_path / "page.html").read_text()
    assert "an image may have several classes, so that there are no confusions to count" in page
    assert "Mean average precision" in page
    for words, expected in (
        (["eval", f"--model={tmp_path / 'run'}"], "validation mean average precision"),
        (["predict", str(tmp_path / "0.png"), f"--model={tmp_path / 'run'}"], "%  red"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss__name": "cross_entropy"}, "set loss.name=bce, or none"),
        ({"loss__class_weights": "balanced"}, "give numbers, which weigh classes"),
        ({"data__sampling": "balanced"}, "set data.sampling=uniform"),
        ({"model__unused_outputs": True}, "set model.unused_outputs=False"),
        ({"early_stopping": EarlyStoppingConfig()}, "validation_mean_average_precision"),
    ],
)
def test_what_has_no_single_meaning_is_refused(tmp_path, config, vary, changes, message):
    with pytest.raises(ConfigError, match=f"{message}") as error:
        train(vary(config, **changes), tmp_path / "run")
    assert "may have several classes" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_single_label_is_one_output(tmp_path, config, vary):
    text = re.sub(r"green|blue|\|", "", (tmp_path / "labels.csv").read_text())
    (tmp_path / "red.csv").write_text(text)
    alone = vary(config, data__name=f"csv:{tmp_path}/red.csv:pipe", epochs=4)
    result = train(alone, tmp_path / "run", console=Console(file=io.StringIO()))
    assert result.record["validation_mean_average_precision"] > 0.8  # guessing gives a half
    trained = open_trained(tmp_path / "run")
    assert trained.class_names == ("red",)
    levels = np.full((2, 8, 8, 3), 40, np.uint8)
    levels[1, ..., 0] = 200
    dark, red = Classifier(trained, batch_size=2)(levels)[:, 0]
    assert dark < 0.5 < red
    lines = text.splitlines()
    (tmp_path / "red.csv").write_text("\n".join([lines[0], *(x for x in lines if ",red," in x)]))
    with pytest.raises(ConfigError, match="one label, 'red', and all of its training images have"):
        train(alone, tmp_path / "other")


def test_data_of_one_class_an_image_are_refused(tmp_path, config, vary):
    short = vary(config, steps=1, augment__mixup=0.0, data__validation_split=None)
    short = vary(short, data__test_split="validation")
    train(short, tmp_path / "run", console=Console(file=io.StringIO()))
    rows = [f"{number}.png,{KINDS[number % 3]},train" for number in range(9)]
    (tmp_path / "single.csv").write_text("\n".join(["file,label,split", *rows]))
    trained = open_run(tmp_path / "run")
    single = vary(short, data__name=f"csv:{tmp_path}/single.csv").data
    with pytest.raises(
        ConfigError, match=r"has one class an image and .* several .*multi_label=false"
    ):
        evaluate_trained(trained, single, "train")
