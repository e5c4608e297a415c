import io
import time

import chex
import jax
import numpy as np
import pytest
from rich.console import Console

from resnet_jax.data.sources import Source, load_split
from resnet_jax.errors import ConfigError
from resnet_jax.training.feeds import ResidentFeed, StreamedFeed, open_feed
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import ResizeConfig
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import CLOCKED, read_records


@pytest.fixture
def busy(config, vary):
    """A run in which everything that is random plays a part, slow enough to stay comparable.

    Programs that round otherwise drift apart as they train: ten times as fast, and on some
    processors they are percents apart after 25 steps.
    """
    return vary(
        config,
        augment__shift=1.0,
        augment__flip=0.5,
        augment__mixup=0.2,
        augment__cutmix=1.0,
        augment__erase=0.25,
        data__repeats=2,
        data__straddle_epochs=True,
        model__dropout_rate=0.1,
        optimizer__learning_rate=0.001,
    )


def resident(trainer, most):
    return ResidentFeed(trainer, trainer.batches(), source=trainer.source, most=most)


def widened(trainer):
    """The first state in float64."""

    def widen(leaf, place):
        floating = jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
        return jax.device_put(np.asarray(leaf, np.float64 if floating else leaf.dtype), place)

    return jax.tree.map(widen, trainer.first_state(), trainer.shardings)


def after_25_steps(feed, state, most):
    """The state, and the loss of each step; a dispatch after the fifth step is a short one."""
    losses = []
    while len(losses) < 25:
        steps = min(most, 25 - len(losses), 2 if len(losses) == 5 else most)
        state, sums = feed.advance(state, len(losses), steps)
        losses.extend(np.atleast_1d(sums["loss"])[:steps].tolist())
    return state, losses


@pytest.mark.parametrize("most", [1, 5])
def test_a_set_on_the_device_gives_the_losses_of_the_stream(make, busy, copied, most):
    """One step at a time is the same program; in a loop it rounds otherwise.

    So the loop is compared in float64. In float32 the two are 3e-7
    apart, until a number within rounding of a threshold falls on the other side of it.
    """
    with jax.enable_x64(most > 1):
        _, trainer = make(busy)
        first = (lambda: widened(trainer)) if most > 1 else trainer.first_state
        stream, feed = StreamedFeed(trainer, trainer.batches()), resident(trainer, most)
        state, expected = after_25_steps(stream, first(), 1)
        other, losses = after_25_steps(feed, first(), most)
        bound = 0 if most == 1 else 1e-9  # measured: 5e-12 at most
        np.testing.assert_allclose(losses, expected, rtol=bound)
        chex.assert_trees_all_close(copied(other), copied(state), rtol=bound, atol=bound)
    assert feed.batches.get_state() == stream.batches.get_state()
    stream.batches.close()


def test_it_is_compiled_once_and_takes_the_memory_of_its_state(make, caplog):
    _, trainer = make()
    feed, state = resident(trainer, 4), trainer.first_state()
    with jax.log_compiles():
        for steps in (4, 1, 3):
            before = state
            state, _ = feed.advance(before, 0, steps)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))
    compiled = [line for line in caplog.messages if "XLA compilation of jit(run)" in line]
    assert len(compiled) == 1


def run(config, workdir, **options):
    out = io.StringIO()
    result = train(config, workdir, console=Console(file=out, width=200), **options)
    return result, out.getvalue()


def records(workdir):
    return [
        {name: value for name, value in record.items() if name not in CLOCKED}
        for record in read_records(Workdir(workdir))
    ]


@pytest.mark.slow
def test_a_resident_run_records_and_saves_where_the_streamed_one_does(tmp_path, busy, vary):
    run(busy, tmp_path / "streamed")
    run(vary(busy, data__device_resident=True), tmp_path / "resident")
    assert records(tmp_path / "resident") == records(tmp_path / "streamed")
    steps = [
        Checkpoints(Workdir(tmp_path / name).checkpoints, busy.checkpoint).steps()
        for name in ("streamed", "resident")
    ]
    assert steps[0] == steps[1]


@pytest.mark.slow
def test_many_steps_in_one_dispatch_stop_where_something_is_due(tmp_path, busy, vary, monkeypatch):
    """The loop on the device, which a CPU takes only here."""
    run(busy, tmp_path / "streamed")

    def open_resident(trainer, batches):
        return ResidentFeed(trainer, batches, source=trainer.source, most=16)

    monkeypatch.setattr("resnet_jax.training.loop.open_feed", open_resident)
    run(busy, tmp_path / "resident")
    ours, expected = records(tmp_path / "resident"), records(tmp_path / "streamed")
    assert [record["step"] for record in ours] == [record["step"] for record in expected]
    for record, other in zip(ours, expected, strict=True):
        assert record["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
    # The last checkpoint before the end lies within an epoch: a run goes on from there, streamed.
    (tmp_path / "resident" / "checkpoints" / "40").rename(tmp_path / "away")
    monkeypatch.setattr("resnet_jax.training.loop.open_feed", open_feed)
    _, text = run(busy, tmp_path / "resident")
    assert "resuming at step 30 of 40" in text
    last = records(tmp_path / "resident")[-1]
    assert last["train_loss"] == pytest.approx(expected[-1]["train_loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__image_size": 8}, "images are cropped on the host; set data.image_size=None, or"),
        ({"augment__policy": "randaugment"}, "the policy changes images on the host; set augment"),
        ({"resize": ResizeConfig(first=4)}, "progressive resizing takes batches from the host"),
        ({"data__in_memory": False}, "digits is not kept in memory; set data.in_memory=True"),
    ],
)
def test_what_cannot_live_on_the_device_is_named_or_streamed(make, config, vary, changes, message):
    _, trainer = make(vary(config, **changes, data__device_resident=True))
    with pytest.raises(ConfigError, match=f"data.device_resident=True: {message}"):
        open_feed(trainer, trainer.batches())
    _, trainer = make(vary(config, **changes))
    assert isinstance(open_feed(trainer, trainer.batches()), StreamedFeed)


def test_a_cpu_streams_unless_it_is_told(make, config, vary):
    for wish, kind in ((None, StreamedFeed), (False, StreamedFeed), (True, ResidentFeed)):
        _, trainer = make(vary(config, data__device_resident=wish))
        feed = open_feed(trainer, trainer.batches())
        assert isinstance(feed, kind)
        assert feed.most == 1


def test_a_policy_of_the_recipe_changes_what_is_trained_on(make, config, vary):
    _, plain = make(config)
    _, changed = make(vary(config, augment__policy="trivialaugment"))
    with plain.batches() as first, changed.batches() as second:
        one, other = next(first), next(second)
    np.testing.assert_array_equal(one["label"], other["label"])
    assert 0.3 < (one["image"] != other["image"]).any((1, 2, 3)).mean() <= 1


@pytest.mark.slow
def test_images_that_are_skipped_are_missing_in_the_count(tmp_path, config, vary):
    data = config.data
    splits = (data.train_split, data.validation_split, data.test_split)
    sources = {split: load_split(data, split) for split in splits if split}
    sources[data.test_split].valid[:3] = False
    result, text = run(vary(config, epochs=1, data__name="given:x"), tmp_path, sources=sources)
    assert (result.record["test_count"], result.record["test_expected"]) == (357, 360)
    assert "counted 357 of 360 images)" in text


class SlowSource(Source):
    """Digits that take longer to read than to train on."""

    def __init__(self, source):
        self._source = source
        self.class_names, self.channels = source.class_names, source.channels
        self.image_shape = None

    def __len__(self):
        return len(self._source)

    def record(self, index):
        time.sleep(0.01)
        return self._source.record(index)


@pytest.mark.parametrize("slow", [False, True])
def test_waiting_for_data_is_recorded(tmp_path, config, vary, slow):
    digits = load_split(config.data, config.data.test_split)
    given = vary(config, data__name="given:digits", data__device_resident=not slow)
    splits = dict.fromkeys((given.data.train_split, given.data.test_split), digits)
    splits[given.data.validation_split] = digits
    if slow:
        splits[given.data.train_split] = SlowSource(digits)
    run(given, tmp_path, sources=splits)
    waited = [record["data_seconds"] for record in read_records(Workdir(tmp_path))]
    assert (sum(waited) > 0) == slow
