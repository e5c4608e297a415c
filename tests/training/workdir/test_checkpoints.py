import pathlib
import subprocess
import sys
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.recipe.config import CheckpointConfig
from resnet_jax.training.step.state import TrainState, Variables
from resnet_jax.training.workdir.checkpoint_parts import like
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.stored import CheckpointError, StoredCheckpoints

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
            checkpoints.save(
                step, make_state(step), notes, measured={"validation_accuracy": accuracy}
            )
    with Checkpoints(tmp_path, config) as checkpoints:
        yield checkpoints


def test_the_newest_and_the_best_stay(saved):
    assert saved.steps() == [2, 3, 4]


def test_what_was_never_measured_is_no_best_one(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig(keep_latest=1, keep_best=1)) as checkpoints:
        checkpoints.save(1, make_state(1), {})
        checkpoints.save(2, make_state(2), {}, measured={"validation_accuracy": 0.5})
    assert [folder.name for folder in tmp_path.glob("[0-9]*")] == ["2"]


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
    step, variables, _ = saved.restore_variables(like(wanted, HERE), averaged=averaged)
    chex.assert_trees_all_equal(variables, wanted)
    assert step == 4


def test_a_checkpoint_of_another_network_is_refused_with_the_first_difference(saved):
    with pytest.raises(
        CheckpointError, match=r"live\.params\.layers\.0\.kernel has the shape \(2,\)"
    ):
        saved.restore(like(make_state(4, features=3), HERE))


def test_a_missing_checkpoint_is_refused_with_those_that_exist(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint 7 in .*; it has 2, 3, 4 so far"):
        saved.restore(like(make_state(4), HERE), step=7)
    with (
        Checkpoints(tmp_path / "empty", CheckpointConfig()) as empty,
        pytest.raises(CheckpointError, match=r"it has none so far"),
    ):
        empty.restore(like(make_state(4), HERE))


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    (tmp_path / "9.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.steps() == []
        checkpoints.save(9, make_state(9), {})
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.steps() == [9]


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_every_flipped_byte_is_noticed_and_an_older_checkpoint_is_used(saved, tmp_path, capfd):
    like_state = like(make_state(4), HERE)
    files = sorted(path for path in (tmp_path / "4").rglob("*") if path.is_file())
    assert len(files) > 3
    for path in files:
        whole = path.read_bytes()
        if not whole:
            continue
        flip_a_byte(path)
        restored = saved.restore(like_state)
        assert (restored.step, list(restored.broken)) == (3, [4])
        assert (
            restored.broken[4] == f"{path.relative_to(tmp_path / '4')} changed after it was written"
        )
        path.write_bytes(whole)
    assert saved.restore(like_state).step == 4
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_noticed(saved, tmp_path):
    next(path for path in (tmp_path / "4" / "live").rglob("*") if path.is_file()).unlink()
    assert saved.restore(like(make_state(4), HERE)).broken[4].endswith("is missing")


def test_where_none_is_whole_the_message_names_each(saved, tmp_path):
    for step in (2, 3, 4):
        flip_a_byte(next((tmp_path / str(step) / "live").rglob("manifest.ocdbt")))
    with pytest.raises(CheckpointError, match=r"no readable checkpoint in .* step 4: .*; step 2:"):
        saved.restore(like(make_state(4), HERE))


def test_digests_go_with_their_checkpoints(saved, tmp_path):
    assert sorted(file.stem for file in (tmp_path / "digests").iterdir()) == ["2", "3", "4"]
    # A process that was killed right after a save leaves none: the checkpoint counts all the same.
    (tmp_path / "digests" / "4.json").unlink()
    assert saved.restore(like(make_state(4), HERE)).step == 4


@pytest.mark.parametrize("text", ["[]", '{"a": "b"', "", "5"])
def test_a_damaged_digest_is_told_and_its_checkpoint_is_read(saved, tmp_path, text):
    (tmp_path / "digests" / "4.json").write_text(text)
    restored = saved.restore(like(make_state(4), HERE))
    assert restored.step == 4
    (remark,) = restored.remarks
    assert remark.endswith("4.json is damaged: checkpoint 4 was read unchecked")


def test_a_digest_of_an_earlier_run_goes_before_a_new_checkpoint_comes(tmp_path):
    """A process that is killed in between leaves no digest rather than a wrong one."""
    file = tmp_path / "digests" / "4.json"
    file.parent.mkdir()
    file.write_text('{"live/d": "of an earlier run"}')
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(4, make_state(4), {})
        assert not file.exists() or "earlier" not in file.read_text()
    assert StoredCheckpoints(tmp_path).restore(like(make_state(4), HERE)).remarks == ()


@pytest.mark.parametrize("content", [b'{"validation_acc', b"[]", b"\xff", b""])
def test_a_checkpoint_with_damaged_metrics_is_set_aside_and_can_be_made_again(
    saved, tmp_path, content
):
    saved.close()
    (tmp_path / "4" / "metrics" / "metrics").write_bytes(content)
    readers = StoredCheckpoints(tmp_path)
    restored = readers.restore_variables(like(make_state(4).average, HERE), averaged=True)
    assert restored.step == 3
    (remark,) = restored.remarks
    assert remark.startswith("checkpoint 4 cannot be read, so 3 is used: metrics/metrics changed")
    assert (tmp_path / "4").is_dir()  # reading renames nothing
    with Checkpoints(tmp_path, CheckpointConfig()) as again:
        assert again.unreadable == {4: "its metrics are damaged"}
        assert again.steps() == [2, 3]
        again.save(4, make_state(4), {}, measured={"validation_accuracy": 0.7})
    assert (tmp_path / "broken-4").is_dir()
    assert readers.steps()[-1] == 4


def test_the_best_checkpoint_is_the_last_of_the_most_accurate(saved, tmp_path):
    readers = StoredCheckpoints(tmp_path)
    assert readers.best() == (2, 0.9)
    wanted = like(make_state(2).average, HERE)
    assert readers.restore_variables(wanted, averaged=True, step="best").step == 2
    saved.save(5, make_state(5), {}, measured={"validation_accuracy": 0.9})
    saved.close()
    assert readers.best() == (5, 0.9)


def test_without_a_measured_checkpoint_none_is_the_best(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, make_state(1), {})
    wanted = like(make_state(1).average, HERE)
    with pytest.raises(CheckpointError, match="none is the best; give the number of one"):
        StoredCheckpoints(tmp_path).restore_variables(wanted, averaged=True, step="best")


def test_damaged_checkpoints_make_room_for_new_ones(saved, tmp_path):
    flip_a_byte(next((tmp_path / "4" / "live").rglob("manifest.ocdbt")))
    saved.set_aside([4])
    assert saved.steps() == [2, 3]
    saved.save(4, make_state(7), {})
    saved.close()
    with Checkpoints(tmp_path, CheckpointConfig()) as again:
        assert int(again.restore(like(make_state(4), HERE)).state.step) == 7
    assert (tmp_path / "broken-4").is_dir()


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, {here!r})
import jax.numpy as jnp
from test_checkpoints import HERE, make_state, like
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.stored import CheckpointError
from resnet_jax.training.recipe.config import CheckpointConfig
import pathlib
directory = pathlib.Path({directory!r})
with Checkpoints(directory, CheckpointConfig()) as checkpoints:
    checkpoints.save(1, make_state(1), {{}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    with Checkpoints(directory, CheckpointConfig()) as checkpoints:
        checkpoints.save(2, make_state(2), {{}})
except CheckpointError as error:
    assert len(str(error).splitlines()) == 1
    assert "could not save a checkpoint" in str(error), error
    assert "(complete so far: 1)" in str(error), error
else:
    raise SystemExit("no error")
with Checkpoints(directory, CheckpointConfig()) as checkpoints:
    assert checkpoints.restore(like(make_state(1), HERE)).step == 1
"""


def test_a_full_disk_is_one_error_and_older_checkpoints_stay(tmp_path):
    # A limit on the size of files stands for the disk: writes beyond it fail.
    here = str(pathlib.Path(__file__).parent)
    code = FULL_DISK.format(here=here, directory=str(tmp_path / "checkpoints"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_only_traces_of_writes_after_a_failed_save_are_dropped(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    with Checkpoints(tmp_path, CheckpointConfig()):
        pass
    late, other = (
        types.SimpleNamespace(exc_value=RuntimeError(text))
        for text in ("Event loop is closed", "another")
    )
    sys.unraisablehook(late)
    sys.unraisablehook(other)
    assert seen == [other]


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
