"""Takes the values of each record, and with them decides which step is best and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from resnet_jax.training.cadence import VALIDATION, Cadence, early_end
from resnet_jax.training.evaluation import EvaluatedSplits, evaluate
from resnet_jax.training.evaluator import Evaluator
from resnet_jax.training.feeds import Feed
from resnet_jax.training.progress import Stopwatch
from resnet_jax.training.step.metrics import MetricSums, SkipWatch, Totals, training_values
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.trainer import Trainer
from resnet_jax.training.workdir.orbax_checkpointer import deciding
from resnet_jax.training.workdir.records import MetricsRecord

Values = dict[str, float | None]

_MUCH_WAITED = 10.0  # seconds, and share of the time
_MUCH_WAITED_SHARE = 0.2


class Measuring:
    """The measurements of a run.

    Args:
        trainer: The run.
        evaluator: Its evaluator.
        feed: What runs the steps.
        splits: Every split that the run evaluates, opened.
        window: The sums of the steps since the last record.
        start: The number of steps done.
        records: The records so far.
        best: The step of the best checkpoint and its accuracy on the validation split, or None.
        clocked: What an earlier call had measured of a record before a signal stopped it.
        stops: Says whether a signal has arrived.

    Attributes:
        cadence: What is due after which step.
        clocked: Times of a record that has been begun and not finished; None if there is none.
        end: The last step of the run; early stopping brings it forward.
    """

    def __init__(
        self,
        trainer: Trainer,
        evaluator: Evaluator,
        *,
        feed: Feed,
        splits: EvaluatedSplits,
        window: Totals,
        start: int,
        records: Sequence[MetricsRecord],
        best: tuple[int, float] | None,
        clocked: dict[str, float] | None,
        stops: Callable[[], bool],
    ) -> None:
        config = trainer.config
        self.end = trainer.total_steps
        self.cadence = Cadence(
            splits.config,
            steps_per_epoch=trainer.steps_per_epoch,
            total_steps=trainer.total_steps,
            has_test=splits.has_test,
        )
        self._trainer = trainer
        self._evaluator = evaluator
        self._feed = feed
        self._waited = feed.waited
        self._began = time.perf_counter()
        self._loaders = splits.loaders
        self._window = window
        self._skips = SkipWatch(
            most=config.max_skipped, learning_rate=config.optimizer.learning_rate
        )
        self._stopwatch = Stopwatch(start)
        self._records = list(records)
        self._best = best or (0, 0.0)
        self.clocked = clocked
        self._stops = stops

    def remark(self) -> str | None:
        """Says that the run waited much for data, with a remedy; None if it did not."""
        waited = self._feed.waited
        share = waited / (time.perf_counter() - self._began)
        if waited < _MUCH_WAITED or share < _MUCH_WAITED_SHARE:
            return None
        return (
            f"the devices waited for data for {share:.0%} of the time (data_seconds in the "
            "records): raise data.workers, or keep the data closer or prepared"
        )

    def add(self, step: int, sums: MetricSums, steps: int) -> None:
        """Adds the sums of steps to those since the last record.

        Args:
            step: The number of the last of them.
            sums: Of `train_step`, as a feed returns them.
            steps: How many.

        Raises:
            DivergedError: Too many steps in a row were skipped.
        """
        self._skips.add(step, sums.pop("skipped_in_row"), steps)
        self._window.add(sums, steps)

    def since_last_record(self) -> dict[str, float]:
        """Returns the sums of the steps since the last record, to be saved with a checkpoint."""
        return self._window.fetch()

    def take(self, step: int, state: TrainState) -> Values:
        """Measures everything that is due after a step; waits for the device.

        Args:
            step: The number of the step.
            state: The state after it.

        Returns:
            The record of the step.

        Raises:
            StoppedEvaluationError: A signal arrived; nothing is taken.
            DivergedError: Too many steps in a row were skipped.
        """
        self._skips.check()
        if self.clocked is None:
            rate = self._trainer.config.batch_size * self._stopwatch.steps_per_second(step)
            waited = self._feed.waited - self._waited
            self.clocked = {"images_per_second": rate, "data_seconds": waited}
        values: Values = {
            "epoch": step / self._trainer.steps_per_epoch,
            "learning_rate": float(self._trainer.schedule(step - 1)),
            **training_values(self._window.fetch()),
            **self.clocked,
        }
        values |= self._evaluate(state, self.cadence.evaluations(step))
        measured = deciding(values)
        if measured and self.cadence.keeps_best(step):
            newest = (step, next(iter(measured.values())))
            self._best = max(self._best, newest, key=lambda pair: pair[::-1])
            values["best_step"] = self._best[0]
        self._records.append({"step": step, **values})
        if f"{VALIDATION}_count" in values and step < self.end and self._ends_early():
            last = self.cadence.evaluations(self.end).items()
            due = {name: split for name, split in last if f"{name}_count" not in values}
            values |= self._evaluate(state, due)
            self.end = step
        self._window, self._stopwatch = Totals(), Stopwatch(step)
        self._waited, self.clocked = self._feed.waited, None
        return values

    def _ends_early(self) -> bool:
        return early_end(self._trainer.config, self._records) is not None

    def _evaluate(self, state: TrainState, due: Mapping[str, str]) -> Values:
        """Evaluates splits, which `due` gives by the name of their metrics."""
        values: Values = {}
        for name, split in due.items():
            found = evaluate(
                self._evaluator, state.evaluated, self._loaders[split], stops=self._stops
            )
            values |= found.values(name)
        return values
