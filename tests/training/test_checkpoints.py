import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.checkpoints import CheckpointError, Checkpoints, like
from resnet_jax.training.config import CheckpointConfig
from resnet_jax.training.state import TrainState, Variables

HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def make_state(value, features=2):
    # Twelve layers: as strings, the keys would sort 0, 1, 10, 11, 2.
    layers = {i: {"kernel": jnp.full((features,), value + i, jnp.float32)} for i in range(12)}
    live = Variables({"layers": layers}, {"mean": jnp.full((2,), value, jnp.float32)})
    return TrainState(
        step=jnp.int32(value),
        skipped=jnp.int32(0),
        skipped_in_row=jnp.int32(0),
        params=live.params,
        batch_stats=live.batch_stats,
        opt_state=(jax.tree.map(jnp.zeros_like, live.params), ()),
        average=jax.tree.map(lambda leaf: leaf + 0.5, live),
    )


@pytest.fixture
def saved(tmp_path):
    config = CheckpointConfig(keep_latest=2, keep_best=1)
    with Checkpoints(tmp_path, config) as checkpoints:
        for step, accuracy in ((1, 0.5), (2, 0.9), (3, None), (4, 0.7)):
            notes = {"data": {"step": step}, "window": {"loss": step / 3}}
            checkpoints.save(step, make_state(step), notes, validation_accuracy=accuracy)
    with Checkpoints(tmp_path, config) as checkpoints:
        yield checkpoints


def test_the_newest_and_the_best_stay(saved):
    assert saved.steps() == [2, 3, 4]


def test_a_state_comes_back_with_its_structure_values_and_notes(saved):
    state = make_state(4)
    restored = saved.restore(like(state, HERE))
    chex.assert_trees_all_equal(restored.state, state)
    assert list(restored.state.params["layers"]) == list(range(12))
    assert (restored.step, restored.broken) == (4, {})
    assert restored.notes == {"data": {"step": 4}, "window": {"loss": 4 / 3}}
    assert saved.restore(like(state, HERE), step=2).step == 2


@pytest.mark.parametrize("averaged", [False, True])
def test_evaluation_reads_one_set_of_variables(saved, averaged):
    state = make_state(4)
    wanted = state.average if averaged else Variables(state.params, state.batch_stats)
    step, variables = saved.restore_variables(like(wanted, HERE), averaged=averaged)
    chex.assert_trees_all_equal(variables, wanted)
    assert step == 4


def test_a_checkpoint_of_another_network_is_refused_with_the_first_difference(saved):
    with pytest.raises(
        CheckpointError, match=r"live\.params\.layers\.0\.kernel has the shape \(2,\)"
    ):
        saved.restore(like(make_state(4, features=3), HERE))


def test_a_missing_checkpoint_is_refused_with_those_that_exist(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint 7 in .*; there is 2, 3, 4 so far"):
        saved.restore(like(make_state(4), HERE), step=7)
    with (
        Checkpoints(tmp_path / "empty", CheckpointConfig()) as empty,
        pytest.raises(CheckpointError, match=r"there is none so far"),
    ):
        empty.restore(like(make_state(4), HERE))


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    (tmp_path / "9.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.steps() == []
        checkpoints.save(9, make_state(9), {})
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.steps() == [9]


def test_the_state_may_be_donated_while_it_is_saved(tmp_path):
    state, expected = make_state(1), make_state(1)
    donate = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0 - 1, tree), donate_argnums=0)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, state, {})
        donate(state)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        restored = checkpoints.restore(like(expected, HERE)).state
    chex.assert_trees_all_equal(restored, expected)
    assert np.asarray(restored.step) == 1
