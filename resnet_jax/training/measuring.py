"""Takes the values of each record, and with them decides which step is best and when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_jax.data.loading.pipeline import EvalLoader
from resnet_jax.training.cadence import Cadence, early_end
from resnet_jax.training.evaluation import evaluate
from resnet_jax.training.progress import Stopwatch
from resnet_jax.training.setup import Evaluator, Trainer
from resnet_jax.training.step.metrics import MetricSums, Totals, training_values
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.workdir.records import MetricsRecord

Values = dict[str, float | None]


class Measuring:
    """The measurements of a run.

    Args:
        trainer: The run.
        evaluator: Its evaluator.
        splits: Every split that the run evaluates, opened.
        cadence: What is due after which step.
        start: The number of steps done.
        window: The sums of the steps since the last record.
        records: The records so far.
        best: The step of the best checkpoint and its accuracy on the validation split, or None.

    Attributes:
        end: The last step of the run; early stopping brings it forward.
    """

    def __init__(
        self,
        trainer: Trainer,
        evaluator: Evaluator,
        splits: Mapping[str, EvalLoader],
        cadence: Cadence,
        *,
        start: int,
        window: Totals,
        records: Sequence[MetricsRecord],
        best: tuple[int, float] | None,
    ) -> None:
        self.end = trainer.total_steps
        self._trainer = trainer
        self._evaluator = evaluator
        self._splits = splits
        self._cadence = cadence
        self._window = window
        self._stopwatch = Stopwatch(start)
        self._records = list(records)
        self._best = best or (0, 0.0)

    def add(self, sums: MetricSums, steps: int) -> None:
        """Adds the sums of steps to those since the last record."""
        self._window.add(sums, steps)

    def since_last_record(self) -> dict[str, float]:
        """Returns the sums of the steps since the last record, to be saved with a checkpoint."""
        return self._window.fetch()

    def take(self, step: int, state: TrainState) -> Values:
        """Measures everything that is due after a step; waits for the device.

        Args:
            step: The number of the step.
            state: The state after it.
        """
        values: Values = {
            "epoch": step / self._trainer.steps_per_epoch,
            "learning_rate": float(self._trainer.schedule(step - 1)),
            **training_values(self._window.fetch()),
            "images_per_second": self._trainer.config.batch_size
            * self._stopwatch.steps_per_second(step),
        }
        values |= self._evaluate(state, self._cadence.evaluations(step))
        accuracy = values.get("validation_accuracy")
        if accuracy is not None and self._cadence.keeps_best(step):
            self._best = max(self._best, (step, accuracy), key=lambda pair: pair[::-1])
            values["best_step"] = self._best[0]
        self._records.append({"step": step, **values})
        if step < self.end and early_end(self._trainer.config, self._records) == step:
            last = self._cadence.evaluations(self.end).items()
            due = {name: split for name, split in last if f"{name}_count" not in values}
            values |= self._evaluate(state, due)
            self.end = step
        self._window, self._stopwatch = Totals(), Stopwatch(step)
        return values

    def _evaluate(self, state: TrainState, due: Mapping[str, str]) -> Values:
        """Evaluates splits, which `due` gives by the name of their metrics."""
        values: Values = {}
        for name, split in due.items():
            values |= evaluate(self._evaluator, state.evaluated, self._splits[split]).values(name)
        return values
