import dataclasses
import pathlib

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.report.runs import changed_settings, differing_rows, distinct_labels, read_runs
from resnet_jax.training.workdir.records import damaged_lines


def test_a_finished_run_with_its_speed_and_time(make_run):
    (run,) = read_runs([make_run()])
    assert (run.label, run.state, run.step, run.total_steps) == ("run", "finished", 40, 40)
    assert run.images_per_second == 100
    assert run.seconds == pytest.approx(10 * 10 / 50 + 30 * 10 / 100)
    assert run.last("validation_accuracy") == 0.9
    assert run.points("validation_loss") == [(2.0, 0.4)]


def test_an_unfinished_run_and_one_without_records(make_run, records, config):
    half, empty = read_runs(
        [make_run("half", records=records[:2]), make_run("empty", records=[])],
    )
    assert half.state == "unfinished: step 20 of 40"
    assert not half.is_finished
    assert empty.state == "nothing recorded yet"
    assert (empty.seconds, empty.images_per_second, empty.total_steps) == (None, None, None)
    in_steps = make_run("steps", records=records, config=dataclasses.replace(config, steps=50))
    (run,) = read_runs([in_steps])
    assert run.state == "unfinished: step 40 of 50"


def test_what_is_not_finite_is_left_out(make_run, records):
    records[0]["train_loss"] = float("nan")
    records[1]["train_loss"] = None
    (run,) = read_runs([make_run()])
    assert [epoch for epoch, _ in run.points("train_loss")] == [3.0, 4.0]


def test_labels_are_short_and_distinct():
    paths = [pathlib.Path(path) for path in ("a/x/d0", "b/x/d0", "c/s1", "d1")]
    assert distinct_labels(paths) == ["a/x/d0", "b/x/d0", "s1", "d1"]
    assert distinct_labels([pathlib.Path("/d0"), pathlib.Path("/a/d0")])[1] == "a/d0"


def test_a_run_that_is_named_twice_is_taken_once(make_run):
    root = make_run()
    assert len(read_runs([root, f"{root}/."])) == 1


def test_differences_between_configs(make_run, config):
    other = dataclasses.replace(
        config, seed=1, optimizer=dataclasses.replace(config.optimizer, momentum=0.5)
    )
    runs = read_runs([make_run("one"), make_run("two", config=other)])
    differing, rows = differing_rows(runs)
    assert differing == ["seed", "optimizer.momentum"]
    assert rows["optimizer.momentum"] == [config.optimizer.momentum, 0.5]
    assert changed_settings(runs[0])["optimizer.learning_rate"][0] == 0.5


def test_a_folder_without_a_run_is_one_line(make_run, tmp_path):
    with pytest.raises(ConfigError, match="no run to report on"):
        read_runs([])
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(ConfigError, match=r"no run in workdir .*config.json is missing"):
            read_runs([tmp_path / name])
    (odd,) = read_runs([make_run("odd", records=[3, {"epoch": 1}])])
    assert (odd.records, len(damaged_lines(odd.files))) == ((), 2)
