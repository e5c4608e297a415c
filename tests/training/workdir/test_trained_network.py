import dataclasses
import io

import chex
import numpy as np
import pytest
from rich.console import Console

from resnet_jax.errors import ConfigError
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import FinetuneConfig
from resnet_jax.training.trainer import make_trainer
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.trained_network import read_network, variables_of_run


@pytest.fixture
def finished(tmp_path, config, vary):
    """A run with checkpoints after 3 and 6 steps."""
    short = vary(config, steps=6, schedule__warmup_epochs=0.0, checkpoint__every_steps=3)
    train(short, tmp_path / "first", console=Console(file=io.StringIO()))
    return Workdir(tmp_path / "first")


def first_state(config, **finetune):
    config = dataclasses.replace(config, finetune=FinetuneConfig(**finetune))
    return make_trainer(make_evaluator(config)).first_state()


@pytest.mark.parametrize(("step", "number"), [(None, 6), (3, 3), ("best", 6)])
def test_a_run_starts_from_the_averages_of_another(finished, config, step, number):
    state = first_state(config, weights=str(finished.root), step=step)
    source = read_network(finished, finished.read_config(), step=number)
    assert source.step == number
    expected = variables_of_run(finished.read_config(), finished, step=number)
    chex.assert_trees_all_equal(state.params, expected.params)
    np.testing.assert_array_equal(state.params["head"]["kernel"], source.model.head.kernel[...])


def test_another_number_of_classes_gets_a_new_head(finished, config, vary):
    wider = vary(config, model__num_classes=12, model__unused_outputs=True)
    state = first_state(wider, weights=str(finished.root))
    assert state.params["head"]["kernel"].shape[1] == 12
    same = variables_of_run(finished.read_config(), finished).params
    chex.assert_trees_all_equal(state.params["stem"], same["stem"])


def test_what_does_not_fit_is_one_line(finished, config, vary, tmp_path):
    with pytest.raises(ConfigError, match=r"its model.name is 'tiny', not 'resnet8'"):
        first_state(vary(config, model__name="resnet8"), weights=str(finished.root))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no run in workdir"):
        first_state(config, weights=str(tmp_path / "empty"))
    damaged = next((finished.checkpoints / "6" / "live").rglob("manifest.ocdbt"))
    damaged.write_bytes(damaged.read_bytes()[:-5])
    average = next((finished.checkpoints / "6" / "average").rglob("manifest.ocdbt"))
    average.write_bytes(average.read_bytes()[:-5])
    with pytest.raises(ConfigError, match=r"checkpoint 6 cannot be read.*finetune\.step=3"):
        first_state(config, weights=str(finished.root))
    first_state(config, weights=str(finished.root), step=3)
