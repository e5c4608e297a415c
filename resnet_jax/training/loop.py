"""The training loop: the only place where a run has side effects."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from rich.console import Console

from resnet_jax.data.loading.iterator import BatchIterator
from resnet_jax.data.sources import Source
from resnet_jax.local_paths import local_path
from resnet_jax.machine.debugging import StepTrace
from resnet_jax.machine.processes import naming_lost_peers
from resnet_jax.machine.signals import Interruption
from resnet_jax.training.announcement import announce
from resnet_jax.training.cadence import Cadence, early_end
from resnet_jax.training.conclusion import Result, conclude
from resnet_jax.training.evaluation import open_splits
from resnet_jax.training.feeds import open_feed
from resnet_jax.training.hooks import Hook, Hooks, RunStart
from resnet_jax.training.measuring import Measuring
from resnet_jax.training.progress import ProgressReport, say
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import validate
from resnet_jax.training.setup import Trainer, make_evaluator, make_trainer
from resnet_jax.training.step.metrics import SkipWatch, Totals
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.claim import claimed
from resnet_jax.training.workdir.environment import record_environment
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import MetricsLog, read_records


@naming_lost_peers()
def train(
    config: TrainConfig,
    workdir: str | pathlib.Path,
    *,
    sources: Mapping[str, Source] | None = None,
    hooks: Sequence[Hook] = (),
    console: Console | None = None,
    profile: bool = False,
) -> Result:
    """Trains a network, or resumes where an earlier call stopped.

    Args:
        config: The run.
        workdir: Folder for everything that the run writes.
        sources: Splits of your own by their names in the recipe (`train`, `validation`, `test`),
            with `config.data.name="given:NAME"`. Resuming takes the same ones again.
        hooks: Are told of the start, the records, the checkpoints and the end of the run.
        console: Where to report; None takes standard output.
        profile: Write a trace of a few steps into the folder `profile`.

    Returns:
        How the run ended.

    Raises:
        ConfigError: The config cannot be used, or the folder belongs to another run.
        CheckpointError: No checkpoint of the run can be read.
        DivergedError: More than `config.max_skipped` steps in a row were not finite.
        PeerError: Another process of the run ended or cannot be reached. Then exit with
            `os._exit`: a normal exit waits for the others.
    """
    console = console or Console()
    validate(config)
    files = Workdir(local_path(workdir))
    evaluator = make_evaluator(config, workdir=files.root, sources=sources)
    config, trainer = evaluator.config, make_trainer(evaluator)
    total = trainer.total_steps
    evaluated = open_splits(config, evaluator)
    cadence = Cadence(
        evaluated.config,
        steps_per_epoch=trainer.steps_per_epoch,
        total_steps=total,
        has_test=evaluated.has_test,
    )
    with (
        claimed(files, config, evaluator.inputs) as remark,
        Interruption() as interruption,
        Checkpoints(files.checkpoints, config.checkpoint) as checkpoints,
        trainer.batches() as batches,
    ):
        for note in filter(None, (remark, *trainer.source.notes, *evaluated.notes)):
            say(console, note)
        feed, told = open_feed(trainer, batches), Hooks(hooks)
        start, state, window = _begin_or_restore(trainer, checkpoints, batches, console=console)
        records = [record for record in read_records(files) if record["step"] <= start]
        if start in (total, early_end(config, records)):
            return conclude(files, console, start=start, step=start, total_steps=start)
        announce(trainer, evaluated.loaders, workdir=files.root, console=console)
        record_environment(files, start=start)
        skips = SkipWatch(most=config.max_skipped, learning_rate=config.optimizer.learning_rate)
        with (
            StepTrace(files.profile if profile else None, first=start + 10) as trace,
            MetricsLog(files, start=start) as log,
            told.during(RunStart(config, files.root, start, total), records),
            ProgressReport(console, start=start, total=total) as progress,
        ):
            if log.remark is not None:
                say(console, log.remark)
            measuring = Measuring(
                trainer,
                evaluator,
                evaluated.loaders,
                cadence,
                start=start,
                window=window,
                records=records,
                best=checkpoints.best(),
            )
            for first, step in cadence.spans(start, most=feed.most):
                trace.before(first)
                state, sums = feed.advance(state, first, step - first)
                skips.add(step, sums.pop("skipped_in_row"), step - first)
                measuring.add(sums, step - first)
                progress.advance(step - first)
                values: dict[str, float | None] = {}
                if cadence.is_due_for_record(step):
                    skips.check()
                    values = measuring.take(step, state)
                    log.write(step, values)
                    told.record(step, values)
                    progress.show(step, values)
                ends = step == measuring.end
                stop = interruption.is_due(step) or ends
                if stop or cadence.is_due_for_checkpoint(step):
                    notes = {"data": batches.get_state(), "window": measuring.since_last_record()}
                    accuracy = values.get("validation_accuracy")
                    checkpoints.save(step, state, notes, validation_accuracy=accuracy)
                    told.checkpoint(step, files.checkpoints / str(step))
                if ends:
                    told.finish()
                if stop:
                    break
    if ends and step < total:
        say(console, f"stopped early after step {step}: see early_stopping")
    return conclude(files, console, start=start, step=step, total_steps=measuring.end)


def _begin_or_restore(
    trainer: Trainer, checkpoints: Checkpoints, batches: BatchIterator, *, console: Console
) -> tuple[int, TrainState, Totals]:
    """Draws the first state, or restores the newest checkpoint and the position in the data.

    Returns:
        The number of steps done, the state after them, and the sums since the last record.
    """
    for step, reason in checkpoints.unreadable.items():
        say(console, f"checkpoint {step} cannot be read and was moved aside: {reason}")
    if not checkpoints.steps():
        return 0, trainer.first_state(), Totals()
    restored = checkpoints.restore(trainer.like())
    for step, reason in restored.broken.items():
        say(console, f"checkpoint {step} cannot be read and was moved aside: {reason}")
    if restored.broken:
        checkpoints.set_aside(list(restored.broken))
    batches.set_state(restored.notes["data"])
    if restored.step < trainer.total_steps:
        say(console, f"resuming at step {restored.step} of {trainer.total_steps}")
    return restored.step, restored.state, Totals(restored.notes["window"])
