"""A run that is made longer: its schedule, its records, and what is refused."""

import io
import shutil

import chex
import jax
import numpy as np
import optax
import pytest
from rich.console import Console

from resnet_jax.errors import ConfigError
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.cadence import Cadence
from resnet_jax.training.extension import continued, read_extension
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import (
    EarlyStoppingConfig,
    ExtensionConfig,
    FinetuneConfig,
    ResizeConfig,
    TrainConfig,
)
from resnet_jax.training.workdir.claim import claim
from resnet_jax.training.workdir.layout import Workdir

INPUTS = NetworkInputs(size=8, class_names=("cat", "dog"))
PER_EPOCH = 10


@pytest.fixture
def held(tmp_path, config):
    """Makes a folder that holds a run with checkpoints."""

    def make(config=config, *, done=20):
        files = Workdir(tmp_path / "run")
        claim(files, config, INPUTS)
        (files.checkpoints / str(done)).mkdir(parents=True)
        return files

    return make


def extended(config, files, extend=None):
    return continued(config, files, steps_per_epoch=PER_EPOCH, extend=extend)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", ExtensionConfig("constant", 7)),
        ("cosine", ExtensionConfig("cosine", 7, 1.0)),
        ("cosine:0.25", ExtensionConfig("cosine", 7, 0.25)),
    ],
)
def test_a_way_to_go_on_is_read(text, expected):
    assert read_extension(text, begin=7) == expected


@pytest.mark.parametrize("text", ["", "linear", "constant:1", "cosine:", "cosine:0", "cosine:2"])
def test_other_words_are_refused(text):
    with pytest.raises(ConfigError, match=f"--extend={text}: write constant, cosine, or cosine:P"):
        read_extension(text, begin=7)


def test_a_longer_run_needs_a_word_on_its_learning_rate(held, config, vary):
    longer = vary(config, epochs=3)
    with pytest.raises(ConfigError, match=r"a run of 2 epochs \(20 steps\); for 3 .* --extend=con"):
        extended(longer, held())


@pytest.mark.parametrize(
    ("way", "extension", "note"),
    [
        ("constant", ExtensionConfig("constant", 20), "after step 20 the learning rate stays at "),
        ("cosine", ExtensionConfig("cosine", 20), "falls in a new cosine from 0.1 to 0"),
        ("cosine:0.5", ExtensionConfig("cosine", 20, 0.5), "a new cosine from 0.05 to 0"),
    ],
)
@pytest.mark.parametrize("done", [5, 20])
def test_a_run_is_extended_whether_it_has_ended_or_not(
    held, config, vary, way, extension, note, done
):
    files = held(done=done)
    longer = vary(config, epochs=3)
    run = extended(longer, files, way)
    assert run.config == vary(longer, schedule__extensions=(extension,))
    assert run.extends == config
    assert "extended to 3 epochs (30 steps)" in run.note
    assert note in run.note
    assert files.read_config() == config  # nothing is written before the folder is held
    claim(files, run.config, INPUTS, extends=run.extends)
    assert files.read_config() == run.config
    # The same command resumes it, and so does one without the flag.
    for word in (way, None):
        assert extended(longer, files, word) == (run.config, None, None)


def test_little_learning_is_announced(held, config, vary):
    slow = vary(config, steps=1000)
    run = extended(vary(slow, steps=1200), held(slow), "constant")
    assert "stays at 2.5e-07, its last value, 2.5e-06 of the highest" in run.note


def test_an_extension_of_an_extension(held, config, vary):
    first = (ExtensionConfig("cosine", 20, 0.5),)
    files = held(vary(config, epochs=3, schedule__extensions=first), done=30)
    run = extended(vary(config, steps=45), files, "constant")
    assert run.config.schedule.extensions == (*first, ExtensionConfig("constant", 30))


@pytest.mark.parametrize(
    ("changes", "way", "message"),
    [
        ({"epochs": 1}, None, r"a run of 2 epochs \(20 steps\), and 1 epoch \(10 steps\) would"),
        ({"steps": 19}, "cosine", "19 steps would be less: its learning rate was planned"),
        ({}, "cosine", r"has 2 epochs \(20 steps\) already; give it more epochs"),
        ({"epochs": 3, "schedule__end": 0.5}, "cosine:0.1", None),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    held, config, vary, changes, way, message
):
    files = held()
    if message is None:  # other settings are refused by the folder, with all that differs
        run = extended(vary(config, **changes), files, way)
        with pytest.raises(ConfigError, match=r"another config: epochs .*, schedule.end \("):
            claim(files, run.config, INPUTS, extends=run.extends)
    else:
        with pytest.raises(ConfigError, match=message):
            extended(vary(config, **changes), files, way)
    assert files.read_config() == config


def test_a_peak_below_the_end_is_refused(held, config, vary):
    ends_high = vary(config, schedule__end=0.5)
    with pytest.raises(ConfigError, match=r"0\.1, below schedule\.end=0\.5"):
        extended(vary(ends_high, epochs=3), held(ends_high), "cosine:0.1")


def test_there_has_to_be_a_run(tmp_path, config):
    with pytest.raises(ConfigError, match="holds no run that has saved a checkpoint"):
        extended(config, Workdir(tmp_path), "cosine")


@pytest.mark.parametrize(("done", "may_change"), [(20, True), (21, False)])
def test_the_way_may_change_until_its_first_step_is_saved(held, config, vary, done, may_change):
    longer = vary(config, epochs=3, schedule__extensions=(ExtensionConfig("constant", 20),))
    files = held(longer, done=done)
    again = vary(config, epochs=3)
    if may_change:
        run = extended(again, files, "cosine")
        assert run.config.schedule.extensions == (ExtensionConfig("cosine", 20),)
        claim(files, run.config, INPUTS, extends=run.extends)
    else:
        with pytest.raises(ConfigError, match=r"extended to 3 epochs .* with --extend=constant"):
            extended(again, files, "cosine")


def test_a_run_that_stopped_early_needs_more_patience(held, config, vary):
    impatient = vary(config, early_stopping=EarlyStoppingConfig(patience=1))
    files = held(impatient, done=20)
    lines = [
        f'{{"step": {step}, "validation_accuracy": 0.5, "validation_count": 9}}\n'
        for step in (10, 20)
    ]
    files.metrics.write_text("".join(lines))
    with pytest.raises(ConfigError, match=r"ends early, after step 20: .*patience"):
        extended(vary(impatient, epochs=3), files, "cosine")
    patient = vary(impatient, epochs=3, early_stopping=EarlyStoppingConfig(patience=5))
    assert extended(patient, files, "cosine").extends == impatient


def test_another_run_cannot_slip_into_the_folder(held, config, vary):
    """The folder is looked at again once it is held."""
    files = held()
    run = extended(vary(config, epochs=3), files, "cosine")
    files.config.write_text(files.config.read_text().replace('"seed": 0', '"seed": 5'))
    with pytest.raises(ConfigError, match=r"another config: .*seed \(5, not 0\)"):
        claim(files, run.config, INPUTS, extends=run.extends)


def test_everything_is_due_where_the_run_ended_before():
    config = TrainConfig(log_every_steps=1000, eval_every_epochs=1000)
    plain = Cadence(config, steps_per_epoch=10, total_steps=25)
    schedule = type(config.schedule)(extensions=(ExtensionConfig("cosine", 15),))
    longer = Cadence(
        TrainConfig(log_every_steps=1000, eval_every_epochs=1000, schedule=schedule),
        steps_per_epoch=10,
        total_steps=25,
    )
    assert [step for step in range(1, 26) if plain.is_last(step)] == [25]
    assert [step for step in range(1, 26) if longer.is_last(step)] == [15, 25]
    assert longer.evaluations(15).keys() == {"validation", "test"}
    assert longer.is_due_for_checkpoint(15)
    assert list(longer.spans(0, most=100))[-1] == (20, 25)


def test_images_grow_as_they_were_planned_to(config, vary, make, batch):
    resized = vary(config, resize=ResizeConfig(first=4, multiple=1))
    longer = vary(resized, epochs=4, schedule__extensions=(ExtensionConfig("cosine", 40),))
    (_, plain), (_, grown) = make(resized), make(longer)
    assert (plain.total_steps, grown.total_steps) == (40, 80)
    for step in (0, 20, 31, 32, 50):
        shapes = [trainer.put(batch, step)["image"].shape for trainer in (plain, grown)]
        assert shapes[0] == shapes[1]


def run(config, workdir, extend=None):
    out = io.StringIO()
    result = train(config, workdir, extend=extend, console=Console(file=out, width=200))
    return result, out.getvalue()


@pytest.mark.slow
def test_an_interrupted_extension_ends_as_an_uninterrupted_one(
    tmp_path, config, vary, outcome, signal_after
):
    """Bit for bit, and the command with the flag resumes like the one without."""
    longer = vary(config, epochs=3)
    run(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    result, text = run(longer, tmp_path / "whole", "cosine:0.5")
    assert (result.status, result.step, result.total_steps) == ("finished", 60, 60)
    assert "extended to 3 epochs (60 steps): after step 40 the learning rate falls" in text
    assert "(cosine, cosine from 0.05 after step 40)" in " ".join(text.split())
    for word, steps, end in (("cosine:0.5", 7, 47), (None, 5, 52), ("cosine:0.5", 99, 60)):
        signal_after(steps)
        result, text = run(longer, tmp_path / "parts", word)
        assert result.step == end
        assert ("extended to" in text) == (end == 47)
    chex.assert_trees_all_equal(outcome(tmp_path / "parts"), outcome(tmp_path / "whole"))
    result, text = run(longer, tmp_path / "parts", "cosine:0.5")
    assert result.status == "before"
    assert "is finished: nothing to do" in text


@pytest.mark.slow
@pytest.mark.parametrize("way", ["constant", "cosine:0.5"])
def test_it_does_not_matter_when_a_run_is_extended(
    tmp_path, config, vary, signal_after, unclocked, way
):
    """At its end, before it, or in the recipe: the records are of the same steps and rates."""
    longer = vary(config, epochs=3)
    planned = vary(longer, schedule__extensions=(read_extension(way, begin=40),))
    run(planned, tmp_path / "planned")
    run(config, tmp_path / "ended")
    run(longer, tmp_path / "ended", way)
    signal_after(17)
    assert run(config, tmp_path / "stopped")[0].step == 17
    run(longer, tmp_path / "stopped", way)
    expected = unclocked(tmp_path / "planned")
    for name in ("ended", "stopped"):
        found = unclocked(tmp_path / name)
        for one, other in zip(found, expected, strict=True):
            assert one.keys() == other.keys()
            for exact in ("step", "epoch", "learning_rate", "skipped"):
                assert one[exact] == other[exact]
            # A program with another schedule may round differently, which training lets grow: the
            # losses were 2e-4 apart.
            np.testing.assert_allclose(one["train_loss"], other["train_loss"], rtol=0.01)
    assert Workdir(tmp_path / "ended").read_config() == Workdir(tmp_path / "planned").read_config()


@pytest.mark.slow
def test_a_run_that_began_with_weights_is_extended_without_them(tmp_path, config, vary):
    short = vary(config, epochs=1, finetune=None)
    run(short, tmp_path / "first")
    weights = FinetuneConfig(str(tmp_path / "first"), frozen_stages=1, rate_decay=0.5)
    tuned = vary(short, finetune=weights)
    run(tuned, tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    result, _ = run(vary(tuned, epochs=2), tmp_path / "second", "cosine:0.1")
    assert (result.status, result.step) == ("finished", 40)


@pytest.mark.slow
def test_the_recorded_learning_rate_is_that_of_the_optimizer(tmp_path, config, vary, outcome, make):
    """Over two extensions, with the rates of their formulas."""
    run(config, tmp_path)
    run(vary(config, epochs=3), tmp_path, "cosine:0.5")
    run(vary(config, epochs=4), tmp_path, "constant")
    state, found, _ = outcome(tmp_path)
    rates = {record["step"]: record["learning_rate"] for record in found}
    falling = [0.05 * (1 + np.cos(np.pi * (step - 41) / 20)) / 2 for step in (41, 48, 56, 60)]
    expected = {48: falling[1], 56: falling[2], 60: falling[3], 64: falling[3], 80: falling[3]}
    for step, rate in expected.items():
        np.testing.assert_allclose(rates[step], rate, rtol=1e-5, err_msg=str(step))
    is_schedule = lambda part: isinstance(part, optax.ScaleByScheduleState)  # noqa: E731
    parts = jax.tree.leaves(state.opt_state, is_leaf=is_schedule)
    assert [int(part.count) for part in parts if is_schedule(part)] == [80]
    _, trainer = make(Workdir(tmp_path).read_config())
    assert {step: float(trainer.schedule(step - 1)) for step in rates} == rates
    assert [record["step"] for record in found if "test_count" in record] == [40, 60, 80]
