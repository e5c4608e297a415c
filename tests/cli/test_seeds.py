"""`resnet-jax train --seeds`."""

import json
import statistics

import pytest

from resnet_jax import cli
from resnet_jax.cli.seeds import summarize
from resnet_jax.training.recipe.config import ScheduleConfig, TrainConfig
from resnet_jax.training.recipe.optimization import ExtensionConfig
from resnet_jax.training.recipe.overrides import to_json
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records


def call(*words):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", *words])
    return caught.value.code


def test_a_summary_has_mean_and_spread():
    records = {
        3: {"step": 9, "test_accuracy": 0.5, "test_count": 4, "validation_loss": 1.0},
        5: {"step": 9, "test_accuracy": 1.0, "test_count": 4, "validation_loss": None},
    }
    assert summarize(records) == {
        "seeds": [3, 5],
        "test_accuracy": {
            "values": [0.5, 1.0],
            "mean": 0.75,
            "standard_deviation": pytest.approx(0.5**0.5 / 2),
            "lowest": 0.5,
            "highest": 1.0,
        },
    }
    assert summarize({0: {"test_loss": 2.0}})["test_loss"]["standard_deviation"] is None


@pytest.mark.parametrize("seeds", ["0,0", "a", "0,,1", "-1", "0 1"])
def test_seeds_are_different_whole_numbers(seeds, tmp_path, capsys):
    assert call(f"--seeds={seeds}", f"--workdir={tmp_path / 'runs'}") == 2
    assert capsys.readouterr().err.endswith("give different whole numbers, such as 0,1,2\n")
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_a_single_run_is_refused(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert call("--seeds=0,1", f"--workdir={tmp_path}") == 2
    assert "holds a single run: choose another for --seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extensions", "words"), [((), ["--extend=constant"]), ((ExtensionConfig("constant", 4),), [])]
)
def test_a_new_seed_next_to_longer_runs_is_refused(tmp_path, capsys, extensions, words):
    schedule = ScheduleConfig(extensions=extensions)
    files = Workdir(tmp_path / "seed0")
    files.root.mkdir()
    files.config.write_text(to_json(TrainConfig(steps=8, schedule=schedule)))
    assert call("--seeds=0,1", "--config.steps=8", f"--workdir={tmp_path}", *words) == 2
    assert "has no run of seed 1" in capsys.readouterr().err
    assert not (tmp_path / "seed1").exists()


@pytest.mark.slow
def test_several_seeds_in_one_command(tmp_path, capsys):
    words = ["--config.model.name=resnet8", "--config.steps=4", f"--workdir={tmp_path}"]
    assert call("--seeds=1,4", *words) == 0
    out = capsys.readouterr().out
    summary = json.loads((tmp_path / "seeds.json").read_text())
    last = [read_records(Workdir(tmp_path / f"seed{seed}"))[-1] for seed in (1, 4)]
    accuracies = [record["test_accuracy"] for record in last]
    assert summary["test_accuracy"]["values"] == accuracies
    assert f"test accuracy over 2 seeds: mean {statistics.fmean(accuracies):.2%}" in out
    # Again: every run is finished, and the summary the same.
    assert call("--seeds=1,4", *words) == 0
    assert json.loads((tmp_path / "seeds.json").read_text()) == summary
