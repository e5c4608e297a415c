"""The training loop: the only place where a run has side effects."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console

from resnet_jax.buckets import BucketPath
from resnet_jax.data.loading.iterator import BatchIterator
from resnet_jax.data.sources import Source
from resnet_jax.local_paths import local_path, user_path
from resnet_jax.machine.processes import naming_lost_peers
from resnet_jax.machine.signals import Interruption
from resnet_jax.training.announcement import announce
from resnet_jax.training.cadence import has_ended_early
from resnet_jax.training.conclusion import Result, Status, conclude
from resnet_jax.training.evaluation import StoppedEvaluationError, open_splits
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.extension import continued
from resnet_jax.training.feeds import Feed, open_feed
from resnet_jax.training.hooks import Hook, Reports, RunStart, reporting
from resnet_jax.training.measuring import Measuring, Values
from resnet_jax.training.progress import say
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import validate
from resnet_jax.training.step.metrics import Totals
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.trainer import Trainer, make_trainer
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.claim import claimed
from resnet_jax.training.workdir.environment import record_environment
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records
from resnet_jax.training.workdir.remote import Mirror, opened


@naming_lost_peers()
def train(
    config: TrainConfig,
    workdir: str | os.PathLike[str] | BucketPath,
    *,
    extend: str | None = None,
    sources: Mapping[str, Source] | None = None,
    hooks: Sequence[Hook] = (),
    console: Console | None = None,
    profile: bool = False,
) -> Result:
    """Trains a network, or resumes where an earlier call stopped.

    Args:
        config: The run.
        workdir: Folder for everything that the run writes, on this machine or in a bucket.
        extend: How a run in the folder goes on that is to be longer: at a `constant` learning
            rate, its last one; with a new `cosine` from the recipe's; or `cosine:0.1`, from a
            fraction of that. None: it may not be longer.
        sources: Splits of your own by their names in the recipe (`train`, `validation`, `test`),
            with `config.data.name="given:NAME"`. Resuming takes the same ones again.
        hooks: Are told of the start, the records, the checkpoints and the end of the run.
        console: Where to report; None takes standard output.
        profile: Write a trace of a few steps into the folder `profile`.

    Returns:
        How the run ended.

    Raises:
        ConfigError: The config cannot be used, the folder belongs to another run, or its run cannot
            be extended like this.
        CheckpointError: No checkpoint of the run can be read.
        DivergedError: More than `config.max_skipped` steps in a row were not finite.
        PeerError: Another process of the run ended or cannot be reached. Then exit with
            `os._exit`: a normal exit waits for the others.
    """
    console = console or Console()
    validate(config)
    with opened(user_path(workdir), say=lambda line: say(console, line)) as (files, mirror):
        return _train(
            config,
            files,
            mirror,
            extend=extend,
            sources=sources,
            hooks=hooks,
            console=console,
            profile=profile,
        )


def _train(
    config: TrainConfig,
    files: Workdir,
    mirror: Mirror | None,
    *,
    extend: str | None,
    sources: Mapping[str, Source] | None,
    hooks: Sequence[Hook],
    console: Console,
    profile: bool,
) -> Result:
    """Trains in a folder on this machine; `mirror` uploads it, if it is the copy of another."""
    root = local_path(files.root)
    evaluator = make_evaluator(config, workdir=root, sources=sources)
    run = continued(
        evaluator.config, files, steps_per_epoch=evaluator.steps_per_epoch, extend=extend
    )
    evaluator = dataclasses.replace(evaluator, config=run.config)
    config, trainer = run.config, make_trainer(evaluator)
    splits = open_splits(config, evaluator)
    with (
        claimed(files, config, evaluator.inputs, extends=run.extends) as remark,
        Interruption() as interruption,
        Checkpoints(files.checkpoints, config.checkpoint, mirror=mirror) as checkpoints,
        trainer.batches() as batches,
    ):
        for note in filter(None, (run.note, remark, *trainer.source.notes, *splits.notes)):
            say(console, note)
        feed = open_feed(trainer, batches)
        at = _begin_or_restore(trainer, checkpoints, batches, console=console)
        start, is_measured = at.step, at.clocked is None
        # The record of a step that has not been measured is written again, if there is one.
        recorded = start if is_measured else start - 1
        records = [record for record in read_records(files) if record["step"] <= recorded]
        early = has_ended_early(config, records, step=start, has_test=splits.has_test)
        if is_measured and (early or start == trainer.total_steps):
            return conclude(files, console, status="before", step=start, total_steps=start)
        announce(trainer, splits.loaders, workdir=files.named.root, console=console)
        record_environment(files, start=start)
        begun = RunStart(config, root, start, trainer.total_steps)
        with reporting(
            begun, records, recorded=recorded, hooks=hooks, console=console, profile=profile
        ) as reports:
            measuring = Measuring(
                trainer,
                evaluator,
                feed=feed,
                splits=splits,
                window=at.window,
                start=start,
                records=records,
                best=checkpoints.best(),
                clocked=at.clocked,
                stops=lambda: interruption.can_stop_now,
            )
            step, status = _take_steps(
                feed,
                at.state,
                start=start,
                measuring=measuring,
                reports=reports,
                checkpoints=checkpoints,
                interruption=interruption,
            )
    if mirror is not None:
        mirror.settle()  # before anybody is told that the run is saved
    if (line := measuring.remark()) is not None:
        say(console, line)
    if step == measuring.end < trainer.total_steps:
        say(console, f"stopped early after step {step}: see early_stopping")
    return conclude(files, console, status=status, step=step, total_steps=measuring.end)


class _Position(NamedTuple):
    """How far a run has come.

    Attributes:
        step: The number of steps done.
        state: The state after them.
        window: The sums since the last record.
        clocked: If the record of that step is due and a signal stopped it: see `Measuring`.
    """

    step: int
    state: TrainState
    window: Totals
    clocked: dict[str, float] | None = None


def _begin_or_restore(
    trainer: Trainer, checkpoints: Checkpoints, batches: BatchIterator, *, console: Console
) -> _Position:
    """Draws the first state, or restores the newest checkpoint and the position in the data."""
    for step, reason in checkpoints.unreadable.items():
        say(console, f"checkpoint {step} cannot be read and was moved aside: {reason}")
    if not checkpoints.steps():
        return _Position(0, trainer.first_state(), Totals())
    restored = checkpoints.restore(trainer.like())
    for step, reason in restored.broken.items():
        say(console, f"checkpoint {step} cannot be read and was moved aside: {reason}")
    if restored.broken:
        checkpoints.set_aside(list(restored.broken))
    batches.set_state(restored.notes["data"])
    if restored.step < trainer.total_steps:
        say(console, f"resuming at step {restored.step} of {trainer.total_steps}")
    notes = restored.notes
    return _Position(restored.step, restored.state, Totals(notes["window"]), notes.get("clocked"))


def _take_steps(
    feed: Feed,
    state: TrainState,
    *,
    start: int,
    measuring: Measuring,
    reports: Reports,
    checkpoints: Checkpoints,
    interruption: Interruption,
) -> tuple[int, Status]:
    """Trains until the run ends or is interrupted; measures, records and saves on the way.

    Args:
        feed: Runs the steps.
        state: The state after `start` steps.
        start: The number of steps done.
        measuring: Says what is due after which step, and when the run ends.
        reports: Are told of every record and checkpoint.
        checkpoints: Keep the state.
        interruption: Says when a signal has arrived.

    Returns:
        The number of steps done, the last of which is saved, and whether the run has ended.
    """
    cadence, is_measured = measuring.cadence, measuring.clocked is None
    for first, step in cadence.spans(start, most=feed.most, is_measured=is_measured):
        if first < step:
            reports.trace.before(first)
            state, sums = feed.advance(state, first, step - first)
            measuring.add(step, sums, step - first)
            reports.progress.advance(step - first)
        values: Values = {}
        if cadence.is_due_for_record(step):
            with contextlib.suppress(StoppedEvaluationError):
                values = measuring.take(step, state)
                reports.record(step, values)
        is_measured = measuring.clocked is None
        ends = step == measuring.end and is_measured
        stop = interruption.is_due(step) or ends
        if first == step and is_measured:
            checkpoints.free(step)  # the one without the measurements
        if stop or first == step or cadence.is_due_for_checkpoint(step):
            notes = {
                "data": feed.batches.get_state(),
                "window": measuring.since_last_record(),
                "clocked": measuring.clocked,
            }
            reports.log.flush()
            # Of the checkpoint that a signal asks for, an undisturbed run knows nothing.
            measured = values if cadence.is_due_for_checkpoint(step) else None
            checkpoints.save(step, state, notes, measured=measured)
            reports.hooks.checkpoint(step, local_path(reports.files.checkpoints / str(step)))
        if ends:
            reports.hooks.finish()
        if stop:
            break
    return step, "finished" if ends else "interrupted"
