"""Evaluates a network on a whole split."""

from __future__ import annotations

import dataclasses

from resnet_jax.data.loading.pipeline import EvalLoader
from resnet_jax.machine.mesh import put_batch
from resnet_jax.training.setup import Evaluator
from resnet_jax.training.step.metrics import Totals, ratio
from resnet_jax.training.step.state import Variables


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of a network on a split.

    Attributes:
        count: Images counted, each once.
        expected: Images in the split; `count` is lower only if the recipe skips bad images.
        loss: Mean cross-entropy, without label smoothing.
        top1: Images whose label has the highest logit.
        top5: Images whose label is among the five highest logits.
    """

    count: int
    expected: int
    loss: float
    top1: int
    top5: int

    @property
    def accuracy(self) -> float:
        """Share of the images whose label has the highest logit."""
        return self.top1 / self.count

    @property
    def top5_accuracy(self) -> float:
        """Share of the images whose label is among the five highest logits."""
        return self.top5 / self.count

    def values(self, split: str) -> dict[str, float | None]:
        """Returns the metrics for a record, each prefixed with the name of the split."""
        return {
            f"{split}_loss": self.loss,
            f"{split}_accuracy": self.accuracy,
            f"{split}_top5_accuracy": self.top5_accuracy,
            f"{split}_count": self.count,
            f"{split}_expected": self.expected,
        }


def evaluate(evaluator: Evaluator, variables: Variables, batches: EvalLoader) -> Evaluation:
    """Evaluates a network.

    Args:
        evaluator: The compiled step and the devices.
        variables: The variables of the network.
        batches: This process's part of the split; every process has the same number of batches.

    Returns:
        The result over the whole split. It does not depend on the batch size.
    """
    totals = Totals()
    for batch in batches:
        totals.add(evaluator.eval_step(variables, put_batch(batch, evaluator.mesh)))
    sums = totals.fetch()
    return Evaluation(
        count=int(sums["count"]),
        expected=batches.examples,
        loss=ratio(sums, "loss") or 0.0,
        top1=int(sums["top1"]),
        top5=int(sums["top5"]),
    )
