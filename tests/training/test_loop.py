import dataclasses
import io
import json

import chex
import numpy as np
import pytest
from rich.console import Console

from resnet_jax.data.sources import InMemorySource, load_split
from resnet_jax.errors import ConfigError
from resnet_jax.inference.evaluate import evaluate_trained
from resnet_jax.inference.trained import open_run
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.loop import train
from resnet_jax.training.step.metrics import DivergedError, SkipWatch
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.claim import claim
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import CLOCKED, read_records


def run(config, workdir):
    out = io.StringIO()
    result = train(config, workdir, console=Console(file=out, width=200))
    return result, out.getvalue()


def final_state(workdir, config, make, copied):
    _, trainer = make(config)
    with Checkpoints(Workdir(workdir).checkpoints, config.checkpoint) as checkpoints:
        return copied(checkpoints.restore(trainer.like()).state)


def without_speed(workdir):
    return [
        {name: value for name, value in record.items() if name not in CLOCKED}
        for record in read_records(Workdir(workdir))
    ]


@pytest.mark.slow
def test_a_program_trains_on_sources_of_its_own(tmp_path, config, vary):
    """Records are those of the same data by name, also after a resumption."""
    short = vary(config, epochs=1)
    run(short, tmp_path / "named")
    data = short.data
    splits = (data.train_split, data.validation_split, data.test_split)
    sources = {split: load_split(data, split) for split in splits if split}
    given = vary(short, data__name="given:digits")
    train(given, tmp_path / "given", sources=sources, console=Console(file=io.StringIO()))
    assert without_speed(tmp_path / "given") == without_speed(tmp_path / "named")
    with pytest.raises(ConfigError, match="was handed over by a program"):
        train(given, tmp_path / "given")


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path, config, make, copied, signal_after, vary
):
    config = vary(config, augment__shift=1.0, model__dropout_rate=0.1)
    whole, _ = run(config, tmp_path / "whole")
    assert (whole.status, whole.step) == ("finished", 40)
    # Away from every epoch, record and checkpoint.
    signal_after(13)
    parts, text = run(config, tmp_path / "parts")
    assert (parts.status, parts.step) == ("interrupted", 13)
    assert "interrupted: saved step 13 of 40" in text
    parts, text = run(config, tmp_path / "parts")
    assert (parts.status, parts.step) == ("finished", 40)
    assert "resuming at step 13 of 40" in text
    chex.assert_trees_all_equal(
        final_state(tmp_path / "parts", config, make, copied),
        final_state(tmp_path / "whole", config, make, copied),
    )
    assert without_speed(tmp_path / "parts") == without_speed(tmp_path / "whole")
    assert_finished_run_does_nothing(tmp_path / "whole", config, whole)
    assert_other_configs_are_refused(tmp_path / "whole", config, vary)
    assert_evaluation_is_independent_of_the_batch_size(tmp_path / "whole", whole)


def assert_finished_run_does_nothing(workdir, config, before):
    def stamps():
        return {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}

    stamp = stamps()
    stamp.pop(workdir / "config.json")
    result, text = run(config, workdir)
    assert (result.status, result.record) == ("before", before.record)
    assert "is finished: nothing to do" in text
    assert "of 360 images)" in text
    after = stamps()
    after.pop(workdir / "config.json")
    assert after == stamp


def assert_other_configs_are_refused(workdir, config, vary):
    with pytest.raises(ConfigError, match=r"another config: optimizer\.momentum \(0\.9, not"):
        run(vary(config, optimizer__momentum=0.8), workdir)
    # What does not change the result may change.
    result, _ = run(vary(config, eval_batch_size=100, log_every_steps=3), workdir)
    assert result.status == "before"


def assert_evaluation_is_independent_of_the_batch_size(workdir, before):
    trained = open_run(workdir)
    results = [
        evaluate_trained(trained, trained.data, trained.data.test_split, batch_size=size)
        for size in (7, 360, 500)
    ]
    assert {result.count for result in results} == {360}
    assert len({(result.top1, result.top5) for result in results}) == 1
    assert results[0].accuracy == before.record["test_accuracy"]
    for result in results:
        assert result.loss == pytest.approx(before.record["test_loss"], rel=1e-5)


def test_a_run_that_diverges_stops_and_names_the_step(tmp_path, config, vary):
    wild = vary(
        config,
        optimizer__learning_rate=1e38,
        max_skipped=2,
        log_every_steps=1,
        schedule__warmup_epochs=0.0,
        data__validation_split=None,
    )
    with pytest.raises(DivergedError, match=r"no finite loss or gradient since step \d, 3 steps"):
        run(wild, tmp_path)


def test_a_folder_with_checkpoints_but_no_config_is_refused(tmp_path, config):
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"has checkpoints but no config\.json"):
        claim(Workdir(tmp_path), config, NetworkInputs())


def counters(watch, values, steps=1):
    for number, value in enumerate(values, start=1):
        watch.add(number * steps, np.asarray(value), steps)


def test_a_long_streak_that_ended_between_two_records_is_seen():
    watch = SkipWatch(most=3, learning_rate=0.1)
    counters(watch, [0, 0, 1, 2, 3, 4, 0, 0])
    with pytest.raises(DivergedError, match=r"since step 3, 4 steps in a row"):
        watch.check()


def test_a_run_without_records_stops_as_well():
    watch = SkipWatch(most=3, learning_rate=0.1)
    with pytest.raises(DivergedError, match=r"since step 1, 4 steps in a row"):
        counters(watch, range(1, 100))


def test_counters_of_many_steps_in_one_dispatch():
    watch = SkipWatch(most=2, learning_rate=0.1)
    counters(watch, [[0, 0, 1, 2, 9], [0, 0, 1, 2, 9]], steps=4)
    watch.check()
    counters(watch, [[0, 0, 1, 2], [3, 0, 0, 0]], steps=4)
    with pytest.raises(DivergedError, match=r"since step 3, 3 steps in a row"):
        watch.check()


def test_a_trace_of_a_few_steps_is_written(tmp_path, config, vary):
    short = vary(config, steps=17, data__validation_split=None, data__device_resident=False)
    train(short, tmp_path, console=Console(file=io.StringIO()), profile=True)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_the_labels_of_every_split_become_the_outputs_of_the_training_split(tmp_path, config, vary):
    """With the names of the test split in another order, and spelled otherwise, nothing changes."""
    short = vary(config, steps=6, data__name="given:digits", schedule__warmup_epochs=0.0)
    splits = {name: load_split(config.data, name) for name in ("train", "validation", "test")}
    named = {
        name: InMemorySource(split.images, split.labels, tuple(f"digit_{n}" for n in range(10)))
        for name, split in splits.items()
    }
    train(short, tmp_path / "same", sources=named, console=Console(file=io.StringIO()))
    test = named["test"]
    turned = tuple(f"Digit {9 - n}" for n in range(10))
    other = named | {"test": InMemorySource(test.images, 9 - test.labels, turned)}
    train(short, tmp_path / "other", sources=other, console=Console(file=io.StringIO()))
    assert without_speed(tmp_path / "other") == without_speed(tmp_path / "same")
    odd = named | {"test": InMemorySource(test.images, test.labels, tuple("abcdefghij"))}
    with pytest.raises(ConfigError, match=r"the training split has no class 'a'"):
        train(short, tmp_path / "odd", sources=odd)
    assert not (tmp_path / "odd").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 12}, "set model.num_classes=10, or none .*; model.unused_outputs=True"),
        ({"num_classes": 9, "unused_outputs": True}, "digits has 10 classes"),
        ({"in_features": 3}, "set model.in_features=1"),
    ],
)
def test_numbers_that_contradict_the_data_are_refused(tmp_path, config, changes, message):
    wrong = dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))
    with pytest.raises(ConfigError, match=message):
        train(wrong, tmp_path)


def test_the_data_give_the_sizes_of_the_network(tmp_path, config, vary):
    free = vary(
        config,
        steps=1,
        schedule__warmup_epochs=0.0,
        model__num_classes=None,
        model__in_features=None,
    )
    train(free, tmp_path / "free", console=Console(file=io.StringIO()))
    assert Workdir(tmp_path / "free").read_config().model.sizes() == (10, 1)
    wide = vary(free, model__num_classes=12, model__unused_outputs=True)
    train(wide, tmp_path / "wide", console=Console(file=io.StringIO()))
    names = Workdir(tmp_path / "wide").read_inputs().class_names
    assert names == (*"0123456789", "unused 10", "unused 11")


def test_a_finished_run_whose_last_checkpoint_is_damaged_does_its_last_steps_again(
    tmp_path, config, vary
):
    short = vary(config, steps=6, schedule__warmup_epochs=0.0, checkpoint__every_steps=3)
    run(short, tmp_path)
    expected = without_speed(tmp_path)
    damaged = next((tmp_path / "checkpoints" / "6" / "live").rglob("manifest.ocdbt"))
    damaged.write_bytes(damaged.read_bytes()[:-5])
    assert open_run(tmp_path).remarks[0].startswith("checkpoint 6 cannot be read, so 3 is used")
    again, text = run(short, tmp_path)
    assert (again.status, again.step) == ("finished", 6)
    assert "checkpoint 6 cannot be read and was moved aside" in text
    assert without_speed(tmp_path) == expected
    assert run(short, tmp_path)[0].status == "before"


def test_the_best_step_stands_in_the_records_in_the_folder_and_on_the_screen(
    tmp_path, config, vary
):
    short = vary(config, steps=9, schedule__warmup_epochs=0.0, checkpoint__every_steps=3)
    short = vary(short, eval_every_epochs=1)
    _, text = run(short, tmp_path)
    best = json.loads((tmp_path / "best.json").read_text())
    records = read_records(Workdir(tmp_path))
    assert records[-1]["best_step"] == best["step"] == open_run(tmp_path, step="best").step
    assert f"checkpoint {best['step']}, validation accuracy" in text
