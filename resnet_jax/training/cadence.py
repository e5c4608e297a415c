"""The steps after which a run records, evaluates and saves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.workdir.records import MetricsRecord

VALIDATION = "validation"
"""The name of the metrics of the validation split."""


def early_end(config: TrainConfig, records: Sequence[MetricsRecord]) -> int | None:
    """Finds the first step after which early stopping waits no longer; None if there is none.

    A run may have gone beyond it, with more patience than it has now: then it ends at the next
    evaluation.

    Args:
        config: The run.
        records: Its records so far.
    """
    rule = config.early_stopping
    if rule is None:
        return None
    sign = -1 if rule.metric == "validation_loss" else 1
    best, waited = -math.inf, 0
    for record in records:
        value = record.get(rule.metric)
        if f"{VALIDATION}_count" not in record:
            continue
        # A loss that is not finite is recorded as None.
        score = -math.inf if value is None or math.isnan(value) else sign * value
        waited = 0 if score > best + rule.least_change else waited + 1
        best = score if waited == 0 else best
        if waited == rule.patience:
            return int(record["step"])
    return None


def has_ended_early(
    config: TrainConfig, records: Sequence[MetricsRecord], *, step: int, has_test: bool
) -> bool:
    """Whether early stopping has ended a run at a step: its record then has what the last one has.

    Args:
        config: The run.
        records: Its records so far.
        step: The number of steps done.
        has_test: Whether the data have the test split.
    """
    if early_end(config, records) is None or records[-1]["step"] != step:
        return False
    measured = (VALIDATION, "test") if has_test else (VALIDATION,)
    return all(f"{name}_count" in records[-1] for name in measured)


@dataclasses.dataclass(frozen=True)
class Cadence:
    """Decides what is due after each step of a run; after the last step, everything is.

    The step that was the last one before an extension counts as one, so that the records do not
    depend on when a run was extended. Steps count from 1.

    Attributes:
        config: The run.
        steps_per_epoch: Number of batches in an epoch.
        total_steps: Number of batches in the run.
        has_test: Whether the data have the test split.
    """

    config: TrainConfig
    steps_per_epoch: int
    total_steps: int
    has_test: bool = True

    def is_last(self, step: int) -> bool:
        """Whether the run ends with this step, or ended before it was extended."""
        return step in self.config.schedule.ends(self.total_steps)

    def is_due_for_record(self, step: int) -> bool:
        """Whether metrics are written after this step."""
        every = self.config.log_every_steps
        return step % every == 0 or self.is_due_for_validation(step) or self.is_last(step)

    def is_due_for_validation(self, step: int) -> bool:
        """Whether the validation split is evaluated after this step, if there is one."""
        if self.config.data.validation_split is None:
            return False
        return step % self._steps(self.config.eval_every_epochs) == 0 or self.is_last(step)

    def is_due_for_checkpoint(self, step: int) -> bool:
        """Whether the state is saved after this step."""
        plan = self.config.checkpoint
        every = plan.every_steps or self._steps(plan.every_epochs)
        return step % every == 0 or self.is_last(step)

    def keeps_best(self, step: int) -> bool:
        """Whether the checkpoint of this step may be kept as one of the best."""
        return bool(self.config.checkpoint.keep_best) and self.is_due_for_checkpoint(step)

    def evaluations(self, step: int) -> dict[str, str]:
        """Returns the splits to evaluate after this step.

        Returns:
            The splits in TFDS syntax, by the name of their metrics: `validation`, and at the end
            `test`.
        """
        data = self.config.data
        splits = {}
        if data.validation_split and self.is_due_for_validation(step):
            splits[VALIDATION] = data.validation_split
        if self.has_test and self.is_last(step):
            splits["test"] = data.test_split
        return splits

    def spans(
        self, start: int, *, most: int, is_measured: bool = True
    ) -> Iterator[tuple[int, int]]:
        """Divides the rest of a run into spans of steps; nothing is due within a span.

        Args:
            start: Number of steps already done.
            most: The most steps in a span.
            is_measured: Whether what is due after `start` has been done; otherwise a span without
                a step comes first.

        Yields:
            The number of steps done before the span, and after it.
        """
        if not is_measured:
            yield start, start
        while start < self.total_steps:
            furthest = min(start + most, self.total_steps)
            end = next(filter(self._is_anything_due, range(start + 1, furthest)), furthest)
            yield start, end
            start = end

    def _is_anything_due(self, step: int) -> bool:
        return self.is_due_for_record(step) or self.is_due_for_checkpoint(step)

    def _steps(self, epochs: int) -> int:
        return epochs * self.steps_per_epoch
