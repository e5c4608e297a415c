"""Evaluation of a network over a whole split."""

from __future__ import annotations

import dataclasses

from jax.sharding import Mesh

from resnet_jax.data.loading.pipeline import EvalLoader
from resnet_jax.machine.mesh import put_batch
from resnet_jax.training.step.metrics import Totals, ratio
from resnet_jax.training.step.state import Variables
from resnet_jax.training.step.steps import EvalStep


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a network does on a split.

    Attributes:
        count: Images counted, each once.
        expected: Images of the split; fewer are counted only where the recipe skips bad ones.
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
        """Share of the images that are right."""
        return self.top1 / self.count

    @property
    def top5_accuracy(self) -> float:
        """Share of the images whose label is among the first five."""
        return self.top5 / self.count


def evaluate(
    eval_step: EvalStep,
    variables: Variables,
    batches: EvalLoader,
    *,
    mesh: Mesh,
) -> Evaluation:
    """Evaluates a network.

    Args:
        eval_step: Compiled, from `make_eval_step`.
        variables: What is evaluated.
        batches: This process's part of the split; every process has the same number of batches.
        mesh: The devices.

    Returns:
        The result over the whole split. It does not depend on the batch size.
    """
    totals = Totals()
    for batch in batches:
        totals.add(eval_step(variables, put_batch(batch, mesh)))
    sums = totals.fetch()
    return Evaluation(
        count=int(sums["count"]),
        expected=batches.examples,
        loss=ratio(sums, "loss") or 0.0,
        top1=int(sums["top1"]),
        top5=int(sums["top5"]),
    )
