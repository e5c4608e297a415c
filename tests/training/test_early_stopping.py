"""A run that no longer improves ends, and stays ended."""

import dataclasses
import io
import signal

import pytest
from rich.console import Console

from resnet_jax.errors import ConfigError
from resnet_jax.training.cadence import early_end, has_ended_early
from resnet_jax.training.hooks import Hook
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import EarlyStoppingConfig, TrainConfig
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records
from resnet_jax.training.workdir.stored import StoredCheckpoints


def records(metric, values):
    """Records of every tenth step, each after one without an evaluation."""
    found = []
    for number, value in enumerate(values, 1):
        found += [{"step": 10 * number - 5, "train_loss": 1.0}]
        found += [{"step": 10 * number, f"validation_{metric}": value, "validation_count": 9}]
    return found


@pytest.mark.parametrize(
    ("fields", "metric", "values", "end"),
    [
        ({"patience": 2}, "accuracy", [0.1, 0.2, 0.2, 0.1, 0.9], 40),
        ({"patience": 2}, "accuracy", [0.1, 0.2, 0.2, 0.3, 0.2], None),
        ({"patience": 1}, "accuracy", [0.1, 0.2, 0.3], None),
        ({"patience": 1, "least_change": 0.15}, "accuracy", [0.1, 0.2, 0.3], 20),
        ({"patience": 2, "least_change": 0.15}, "accuracy", [0.1, 0.2, 0.3, 0.3, 0.4], 50),
        ({"patience": 2, "metric": "validation_loss"}, "loss", [3, 2, 2.5, 2.1], 40),
        ({"patience": 2, "metric": "validation_loss"}, "loss", [None, None, 1], 20),
        ({"patience": 2, "metric": "validation_loss"}, "loss", [3, float("nan"), 2], None),
    ],
)
def test_patience_counts_evaluations_without_an_improvement(fields, metric, values, end):
    config = TrainConfig(early_stopping=EarlyStoppingConfig(**fields))
    assert early_end(config, records(metric, values)) == end
    assert early_end(dataclasses.replace(config, early_stopping=None), []) is None


@pytest.mark.parametrize(
    ("patience", "step", "measured", "is_over"),
    [
        (2, 30, ("validation", "test"), True),
        (1, 30, ("validation", "test"), True),  # which would have ended it before
        (1, 30, ("validation",), False),  # an evaluation on the way, with more patience
        (1, 33, ("validation", "test"), False),  # interrupted after that record
        (3, 30, ("validation", "test"), False),
    ],
)
def test_a_run_is_over_where_everything_was_measured(patience, step, measured, is_over):
    config = TrainConfig(early_stopping=EarlyStoppingConfig(patience))
    found = records("accuracy", [0.5, 0.4, 0.3])
    found[-1] |= {f"{name}_count": 9 for name in measured}
    assert has_ended_early(config, found, step=step, has_test=True) == is_over
    assert has_ended_early(config, found, step=30, has_test=False) == (patience < 3)


def test_it_needs_a_validation_split(config, vary, make):
    chosen = vary(config, early_stopping=EarlyStoppingConfig(), data__validation_split=None)
    with pytest.raises(ConfigError, match="early_stopping needs a validation split"):
        make(chosen)


class Ringing(Hook):
    """Sends a signal to this process with the record of a step."""

    def __init__(self, step):
        self.step = step

    def record(self, step, values):
        if step == self.step:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow
def test_less_patience_than_has_passed_ends_a_run_at_the_next_evaluation(tmp_path, config, vary):
    def run(patience, *hooks):
        rule = EarlyStoppingConfig(patience, least_change=1.0)
        chosen = vary(config, epochs=5, checkpoint__every_steps=100, early_stopping=rule)
        return train(chosen, tmp_path, hooks=hooks, console=Console(file=io.StringIO()))

    # With an evaluation, where no checkpoint is due.
    assert run(9, Ringing(60)).step == 60
    # The checkpoint that the signal asked for is none that an undisturbed run compares.
    assert StoredCheckpoints(tmp_path / "checkpoints").best() is None
    result = run(1)
    assert (result.status, result.step) == ("finished", 80)
    assert result.record["test_count"] == 360
    assert run(1).status == "before"


@pytest.mark.slow
def test_a_run_ends_early_and_goes_on_with_more_patience(tmp_path, config, vary):
    def run(rule):
        out = io.StringIO()
        chosen = vary(config, epochs=3, early_stopping=rule)
        result = train(chosen, tmp_path, console=Console(file=out, width=200))
        return result, out.getvalue()

    # Nothing improves by more than everything.
    impatient = EarlyStoppingConfig(patience=1, least_change=1.0)
    result, text = run(impatient)
    assert (result.status, result.step, result.total_steps) == ("finished", 40, 40)
    assert "stopped early after step 40" in text
    assert result.record["test_count"] == 360
    again, text = run(impatient)
    assert (again.status, again.record) == ("before", result.record)
    assert "is finished: nothing to do" in text
    result, _ = run(EarlyStoppingConfig(patience=9))
    assert (result.status, result.step) == ("finished", 60)
    steps = [record["step"] for record in read_records(Workdir(tmp_path))]
    assert steps == sorted(set(steps))
    assert steps[-1] == 60
