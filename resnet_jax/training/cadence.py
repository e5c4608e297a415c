"""After which steps a run records, evaluates and saves."""

from __future__ import annotations

import dataclasses

from resnet_jax.training.recipe.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Cadence:
    """Answers for one run; steps count from 1, and the last one gets everything.

    Attributes:
        config: The run.
        steps_per_epoch: Batches of an epoch.
        total_steps: Batches of the run.
    """

    config: TrainConfig
    steps_per_epoch: int
    total_steps: int

    def is_last(self, step: int) -> bool:
        """Whether the run ends with this step."""
        return step == self.total_steps

    def is_due_for_record(self, step: int) -> bool:
        """Whether metrics are written after this step."""
        every = self.config.log_every_steps
        return step % every == 0 or self.is_due_for_validation(step) or self.is_last(step)

    def is_due_for_validation(self, step: int) -> bool:
        """Whether the validation split is evaluated after this step; never where there is none."""
        if self.config.data.validation_split is None:
            return False
        return step % self._steps(self.config.eval_every_epochs) == 0 or self.is_last(step)

    def is_due_for_checkpoint(self, step: int) -> bool:
        """Whether the state is saved after this step."""
        plan = self.config.checkpoint
        every = plan.every_steps or self._steps(plan.every_epochs)
        return step % every == 0 or self.is_last(step)

    def steps_to_due(self, step: int, *, most: int) -> int:
        """Counts the steps from `step` to the next after which something is due; up to `most`."""
        for steps in range(1, most):
            ahead = step + steps
            if self.is_due_for_record(ahead) or self.is_due_for_checkpoint(ahead):
                return steps
        return most

    def _steps(self, epochs: int) -> int:
        return epochs * self.steps_per_epoch
