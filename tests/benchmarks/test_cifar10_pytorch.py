import importlib
import json

import chex
import numpy as np
import pytest

from resnet_jax.data.config import DataConfig
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.recipe.config import (
    EmaConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from resnet_jax.training.step.state import start_from, variables_of
from resnet_jax.training.trainer import make_trainer
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton
from resnet_jax.zoo import model_config

DIGITS = ("--config.data.name=digits", "--config.data.channels=3", "--config.model.dtype=float32")
SHORT = (*DIGITS, "--config.steps=12", "--config.batch_size=128", "--config.model.name=resnet20")


@pytest.fixture
def peer(torch):
    return importlib.import_module("benchmarks.cifar10_pytorch")


@pytest.mark.slow
def test_a_step_is_ours_but_for_the_random_changes(peer):
    config = TrainConfig(
        batch_size=64,
        epochs=2,
        model=ModelConfig(name="resnet20", unbiased_variance=True),
        data=DataConfig(name="digits", channels=3),
        optimizer=OptimizerConfig(
            learning_rate=0.05, nesterov=True, weight_decay=0.05, decay_on="matrices"
        ),
        schedule=ScheduleConfig(name="onecycle", warmup_epochs=0.1),
        loss=LossConfig(label_smoothing=0.1),
        ema=EmaConfig(decay=0.9),
    )
    theirs = peer.Training(config)
    trainer = make_trainer(make_evaluator(config))
    state = start_from(trainer.first_state(), taken_over(theirs.network))
    with trainer.batches() as batches:
        for step in range(3):
            batch = next(batches)
            state, sums = trainer.train_step(state, trainer.put(batch, step))
            loss, right = theirs.update(batch["image"], batch["label"])
            # In float32, rounding grows from step to step: it was 1e-7, 1e-7 and 2e-6.
            np.testing.assert_allclose(sums["loss"] / sums["count"], loss, rtol=5e-5)
            assert abs(int(sums["top1"]) - right) <= 1
    average = taken_over(theirs.average)
    chex.assert_trees_all_close(state.average, average, rtol=2e-3, atol=2e-3)


def taken_over(network):
    model = skeleton(model_config("resnet20", num_classes=10))
    load_torch(model, network.state_dict())
    return variables_of(model)


def test_windows_and_rectangles_are_cut_at_random(torch, peer):
    images = importlib.import_module("benchmarks.torch_images")
    torch.manual_seed(0)
    x = torch.rand(200, 3, 6, 5) + 1
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    corners = set()
    for number, window in enumerate(images.random_crop(x, 2)):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if padded[number, :, top : top + 6, left : left + 5].equal(window)
        ]
        assert len(places) == 1
        corners.update(places)
    assert len(corners) == 25  # each is missed with probability (24 / 25) ** 200, 3e-4
    erased = images.random_erase(torch.ones(400, 3, 32, 32), 0.5) == 0
    assert (erased.all(dim=1) == erased.any(dim=1)).all()
    masks = erased[:, 0].numpy()
    for mask in masks:
        rows, columns = mask.any(1), mask.any(0)
        assert (mask == rows[:, None] & columns).all()
        assert np.diff(np.flatnonzero(rows)).max(initial=1) == 1
        assert mask.mean() < 0.4  # a third, and the rounding of both sides
    assert 150 < masks.any((1, 2)).sum() < 250


def test_a_recipe_is_trained_and_a_finished_run_is_kept(peer, tmp_path, capsys):
    words = ["--config=cifar10_he2015", f"--workdir={tmp_path}", *SHORT]
    assert peer.main(words) == 0
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [10, 12]
    assert records[-1]["test_count"] == 360
    assert records[1]["seconds"] > records[0]["seconds"] > 0
    printed = capsys.readouterr().out
    assert "test_accuracy" in printed
    assert peer.main(words) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "does not follow model.dtype ('bfloat16', not 'float32'), model.name ('wide_"),
        ([*SHORT, "--config.augment.mixup=0.2"], "does not follow augment.mixup (0.2, not 0.0)"),
        ([*SHORT, "--config.ema.every=2"], "does not follow ema.every (2, not 1)"),
    ],
)
def test_settings_that_are_not_followed_are_named(words, message, peer, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        peer.main(["--config=cifar10_fast", f"--workdir={tmp_path / 'run'}", *words])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
