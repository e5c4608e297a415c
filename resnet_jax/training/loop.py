"""The training loop: the only place where a run has side effects."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console

from resnet_jax.data.loading.pipeline import EvalLoader
from resnet_jax.machine.debugging import StepTrace
from resnet_jax.machine.processes import naming_lost_peers
from resnet_jax.machine.signals import Interruption
from resnet_jax.training.cadence import Cadence
from resnet_jax.training.conclusion import Result, conclude, last_record
from resnet_jax.training.evaluation import Evaluation, evaluate
from resnet_jax.training.feeds import Feed, open_feed
from resnet_jax.training.progress import ProgressReport, say
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.setup import Evaluator, Trainer, make_evaluator, make_trainer
from resnet_jax.training.step.metrics import SkipWatch, Totals, ratio
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.environment import record_environment
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import MetricsLog


@naming_lost_peers()
def train(
    config: TrainConfig,
    workdir: str | pathlib.Path,
    *,
    console: Console | None = None,
    profile: bool = False,
) -> Result:
    """Trains a network, or continues where an earlier call stopped.

    Args:
        config: The run.
        workdir: Folder for everything that the run writes.
        console: Where to report; None takes the standard output.
        profile: Write a trace of a few steps into the folder `profile`.

    Returns:
        How it ended.

    Raises:
        ConfigError: The config cannot be used, or the folder belongs to another run.
        CheckpointError: No checkpoint of the run can be read.
        DivergedError: More than `config.max_skipped` steps in a row were not finite.
        PeerError: Another process of the run ended or cannot be reached. Leave then with
            `os._exit`: an orderly end waits for the others.
    """
    console = console or Console()
    files = Workdir(pathlib.Path(workdir))
    evaluator = make_evaluator(config, workdir=files.root)
    trainer = make_trainer(config, evaluator)
    chosen = filter(None, (config.data.validation_split, config.data.test_split))
    splits = {split: evaluator.batches(split) for split in chosen}
    files.claim(config)
    with (
        Interruption() as interruption,
        Checkpoints(files.checkpoints, config.checkpoint) as checkpoints,
        trainer.batches() as batches,
    ):
        feed = open_feed(trainer, batches)
        cadence = Cadence(config, trainer.steps_per_epoch, trainer.total_steps)
        run = _Run(
            trainer,
            evaluator,
            splits,
            cadence,
            files,
            console,
            checkpoints,
            feed,
            interruption,
            profile,
        )
        result = run.go()
    conclude(result, files, console)
    return result


@dataclasses.dataclass
class _Run:
    """One call of `train` between its beginning and its end."""

    trainer: Trainer
    evaluator: Evaluator
    splits: Mapping[str, EvalLoader]
    cadence: Cadence
    files: Workdir
    console: Console
    checkpoints: Checkpoints
    feed: Feed
    interruption: Interruption
    profile: bool

    def go(self) -> Result:
        """Runs the steps that are left."""
        total = self.trainer.total_steps
        if total in self.checkpoints.steps():
            return Result("before", total, total, last_record(self.files))
        start, state, window = self._begin()
        record_environment(self.files, start=start)
        with (
            StepTrace(self.files.profile if self.profile else None, first=start + 10) as trace,
            MetricsLog(self.files, start=start) as log,
            ProgressReport(self.console, start=start, total=total) as progress,
        ):
            step = self._steps(start, state, window, log, progress, trace)
        status: Literal["finished", "interrupted"] = "finished" if step == total else "interrupted"
        return Result(status, step, total, last_record(self.files))

    def _begin(self) -> tuple[int, TrainState, Totals]:
        """Draws the first state, or restores the last one that was saved."""
        if not self.checkpoints.steps():
            return 0, self.trainer.first_state(), Totals()
        restored = self.checkpoints.restore(self.trainer.like())
        for step, reason in restored.broken.items():
            say(self.console, f"checkpoint {step} cannot be read and was set aside: {reason}")
        if restored.broken:
            self.checkpoints.set_aside(list(restored.broken))
        self.feed.batches.set_state(restored.notes["data"])
        say(self.console, f"resuming at step {restored.step} of {self.trainer.total_steps}")
        return restored.step, restored.state, Totals(restored.notes["window"])

    def _steps(
        self,
        start: int,
        state: TrainState,
        window: Totals,
        log: MetricsLog,
        progress: ProgressReport,
        trace: StepTrace,
    ) -> int:
        """Trains until the end or a signal and returns the number of the last step."""
        since = (start, time.perf_counter())
        step = start
        skips = SkipWatch(
            most=self.trainer.config.max_skipped,
            learning_rate=self.trainer.config.optimizer.learning_rate,
        )
        while not self.cadence.is_last(step):
            steps = self.cadence.steps_to_due(step, most=self.feed.most)
            trace.before(step)
            state, sums = self.feed.advance(state, step, steps)
            step += steps
            skips.add(step, sums.pop("skipped_in_row"), steps)
            window.add(sums, steps)
            for _ in range(steps):
                progress.advance()
            values: dict[str, float | None] = {}
            if self.cadence.is_due_for_record(step):
                values = self._training_values(step, window.fetch())
                skips.check()
                values["images_per_second"] = self._rate(step, *since)
                values |= self._evaluations(step, state)
                log.write(step, values)
                progress.show(step, values)
                window, since = Totals(), (step, time.perf_counter())
            stop = self.interruption.is_due(step)
            if stop or self.cadence.is_due_for_checkpoint(step):
                self._save(step, state, window, values)
            if stop:
                break
        return step

    def _rate(self, step: int, since_step: int, since_time: float) -> float:
        images = (step - since_step) * self.trainer.config.batch_size
        return images / (time.perf_counter() - since_time)

    def _training_values(self, step: int, sums: Mapping[str, float]) -> dict[str, float | None]:
        return {
            "epoch": step / self.trainer.steps_per_epoch,
            "learning_rate": float(self.trainer.schedule(step - 1)),
            "train_loss": ratio(sums, "loss"),
            "train_accuracy": ratio(sums, "top1"),
            "gradient_norm": ratio(sums, "gradient_norm", over="steps"),
            "skipped": sums["skipped"],
        }

    def _evaluations(self, step: int, state: TrainState) -> dict[str, float | None]:
        """Evaluates on the validation split where it is time, and at the end on the test split."""
        data = self.trainer.config.data
        values: dict[str, float | None] = {}
        if data.validation_split and self.cadence.is_due_for_validation(step):
            values |= _named("validation", self._evaluate(data.validation_split, state))
        if self.cadence.is_last(step):
            values |= _named("test", self._evaluate(data.test_split, state))
        return values

    def _evaluate(self, split: str, state: TrainState) -> Evaluation:
        batches = self.splits[split]
        return evaluate(
            self.evaluator.eval_step, state.evaluated, batches, mesh=self.evaluator.mesh
        )

    def _save(
        self, step: int, state: TrainState, window: Totals, values: Mapping[str, float | None]
    ) -> None:
        notes: dict[str, Any] = {"data": self.feed.batches.get_state(), "window": window.fetch()}
        accuracy = values.get("validation_accuracy")
        self.checkpoints.save(step, state, notes, validation_accuracy=accuracy)


def _named(split: str, result: Evaluation) -> dict[str, float | None]:
    return {
        f"{split}_loss": result.loss,
        f"{split}_accuracy": result.accuracy,
        f"{split}_top5_accuracy": result.top5_accuracy,
        f"{split}_count": result.count,
        f"{split}_expected": result.expected,
    }
