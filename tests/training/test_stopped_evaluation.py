"""A signal during an evaluation ends it at once; the next call does it again."""

import io
import os
import signal

import chex
import pytest
from rich.console import Console

from resnet_jax.data.sources import Source, load_split
from resnet_jax.training.loop import train
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.layout import REPLACED, Workdir
from resnet_jax.training.workdir.records import read_records


class Ringing(Source):
    """Sends a signal to this process when its first record is read for the Nth time."""

    def __init__(self, source, rings):
        self.source, self.left = source, rings
        self.class_names, self.channels = source.class_names, source.channels
        self.image_shape, self.notes = source.image_shape, source.notes
        self.seen = set()

    def __len__(self):
        return len(self.source)

    def record(self, index):
        self.seen.add(index)
        if index == 0:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)
        return self.source.record(index)


@pytest.mark.slow
def test_an_evaluation_that_a_signal_stops_is_done_again(
    tmp_path, config, vary, outcome, monkeypatch
):
    """Each call is stopped in an evaluation; the result is that of an undisturbed run."""
    config = vary(
        config,
        data__name="given:digits",
        data__in_memory=False,
        eval_batch_size=16,
        checkpoint__every_steps=20,
    )
    digits = {split: load_split(vary(config, data__name="digits").data, split) for split in SPLITS}

    def run(workdir, rings=0):
        out, heard = io.StringIO(), Ringing(digits["validation"], rings)
        console = Console(file=out, width=200)
        sources = {**digits, "validation": heard}
        result = train(config, workdir, sources=sources, console=console)
        return result, out.getvalue(), len(heard.seen)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(whole)
    # The second call begins with the evaluation that the first one did not finish.
    for rings, step, recorded in ((1, 20, 16), (1, 20, 16), (2, 40, 32)):
        result, text, read = run(stopped, rings)
        assert (result.status, result.step) == ("interrupted", step)
        assert f"interrupted: saved step {step} of 40" in text
        assert read_records(Workdir(stopped))[-1]["step"] == recorded
        assert read < 144 or rings == 2
    result, _, _ = run(stopped)
    assert (result.status, result.step) == ("finished", 40)
    chex.assert_trees_all_equal(outcome(stopped), outcome(whole))
    assert run(stopped)[0].status == "before"


SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_checkpoint_is_replaced_whole_or_not_at_all(tmp_path, config, is_complete):
    """The process is killed after the new one is complete, or before."""
    files = Workdir(tmp_path)
    for name in (f"{REPLACED}7", *(["7"] if is_complete else [])):
        (files.checkpoints / name).mkdir(parents=True)
        (files.checkpoints / name / "marker").write_text(name)
    assert files.has_checkpoints()
    Checkpoints(files.checkpoints, config.checkpoint).close()
    kept = files.checkpoints / "7" / "marker"
    assert kept.read_text() == ("7" if is_complete else f"{REPLACED}7")
    assert not list(files.checkpoints.glob(f"{REPLACED}*"))
