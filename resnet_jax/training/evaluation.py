"""Evaluates a network on a whole split: the loop and the result of every evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.loading.batches import Batch
from resnet_jax.data.loading.pipeline import EvalLoader
from resnet_jax.data.sources.splits import MissingSplitError
from resnet_jax.machine.mesh import put_batch
from resnet_jax.training.evaluator import Evaluator
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.multi_label import MultiLabelEvaluation, Scores, split_seen
from resnet_jax.training.step.state import Variables

_USUAL = {"validation_split": "validation", "test_split": "test"}


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


class StoppedEvaluationError(Exception):
    """An evaluation was to stop before its last batch."""


def evaluate(
    evaluator: Evaluator,
    variables: Variables,
    batches: EvalLoader,
    *,
    stops: Callable[[], bool] = lambda: False,
) -> Evaluation | MultiLabelEvaluation:
    """Evaluates a network.

    Args:
        evaluator: The compiled step and the devices.
        variables: The variables of the network.
        batches: This process's part of the split; every process has the same number of batches.
        stops: Asked before each batch whether to stop there.

    Returns:
        The result over the whole split. It does not depend on the batch size.

    Raises:
        StoppedEvaluationError: `stops` returned true.
    """
    scores = Scores() if evaluator.training.is_multi_label else None

    def start(batch: Batch) -> tuple[Mapping[str, jax.Array], Any]:
        if stops():
            raise StoppedEvaluationError
        sums = evaluator.eval_step(variables, put_batch(batch, evaluator.mesh))
        return split_seen(sums)

    def see(batch: Batch, seen: Any) -> None:
        del batch
        if scores is not None:
            scores.add(seen)

    sums = sum_batches(batches, start, watch=see)
    if scores is not None:
        return scores.result(sums, expected=batches.examples)
    return Evaluation(
        count=int(sums["count"]),
        expected=batches.examples,
        loss=float(sums["loss"] / max(sums["count"], 1)),
        top1=int(sums["top1"]),
        top5=int(sums["top5"]),
    )


def sum_batches(
    batches: Iterable[Batch],
    start: Callable[[Batch], tuple[Mapping[str, jax.Array], Any]],
    *,
    watch: Callable[[Batch, Any], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Adds the sums of all batches on the host in double precision, while the device computes.

    Args:
        batches: One or more.
        start: Starts the computation for a batch: its sums, and what `watch` is to see of it.
        watch: Called with every batch and what was computed for it, on the host and in order.

    Returns:
        The sums over all batches: float64, or int64 for counts.
    """
    total: dict[str, Any] = {}

    def finish(batch: Batch, result: tuple[Mapping[str, jax.Array], Any]) -> None:
        sums, seen = jax.device_get(result)
        for name, value in sums.items():
            wide = np.asarray(value).astype(np.float64 if value.dtype.kind == "f" else np.int64)
            total[name] = total.get(name, 0) + wide
        if watch is not None:
            watch(batch, seen)

    waiting = None
    for batch in batches:
        started = start(batch)
        if waiting is not None:
            finish(*waiting)
        waiting = (batch, started)
    if waiting is not None:
        finish(*waiting)
    return total


class EvaluatedSplits(NamedTuple):
    """The splits of a run.

    Attributes:
        config: The run, without a validation split if the data have none.
        has_test: Whether the data have the test split.
        loaders: The splits, opened, by the name in TFDS syntax.
        notes: Lines for the user.
    """

    config: TrainConfig
    has_test: bool
    loaders: dict[str, EvalLoader]
    notes: tuple[str, ...]


def open_splits(config: TrainConfig, evaluator: Evaluator) -> EvaluatedSplits:
    """Opens the splits that the recipe names.

    A split under its usual name may be missing, as long as there is the other one: without `test`
    the run reports `validation`, and without `validation` nothing is evaluated before the end.

    Args:
        config: The run.
        evaluator: Opens the splits.

    Raises:
        ConfigError: A split that the recipe chose does not exist, or neither of the usual ones.
    """
    loaders: dict[str, EvalLoader] = {}
    missing: dict[str, MissingSplitError] = {}
    for field, usual in _USUAL.items():
        name = getattr(config.data, field)
        if name is None or name in loaders:
            continue
        try:
            loaders[name] = evaluator.batches(name)
        except MissingSplitError as error:
            if name != usual:
                raise
            missing[field] = error
    if missing and not loaders:
        raise next(iter(missing.values()))
    notes = tuple(_note(config, field) for field in missing)
    if "validation_split" in missing:
        data = dataclasses.replace(config.data, validation_split=None)
        config = dataclasses.replace(config, data=data)
    return EvaluatedSplits(config, "test_split" not in missing, loaders, notes)


def _note(config: TrainConfig, field: str) -> str:
    data = config.data
    if field == "test_split":
        return f"{data.name} has no split test: the run reports {data.validation_split}"
    return (
        f"{data.name} has no split validation: nothing is evaluated before the end, and no "
        "checkpoint is the best; cut one from the training images with data.train_split=train[:90%]"
        " and data.validation_split=train[90%:]"
    )
