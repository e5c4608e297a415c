"""The sums that an evaluation adds up, and the metrics computed from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.loading.batches import Batch
from resnet_jax.plain_json import json_text
from resnet_jax.training.evaluation import Evaluation
from resnet_jax.training.step.metrics import evaluation_sums
from resnet_jax.training.step.multi_label import MultiLabelEvaluation

CALIBRATION_BINS = 15

Sums = Mapping[str, NDArray[Any]]


def batch_sums(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    """Sums over the examples of a batch, without its padding.

    Args:
        logits: [batch, classes].
        labels: [batch] integers.
        mask: [batch] bool, False for padding.

    Returns:
        Scalars `loss`, `top1`, `top5`, `count`; `class_count` and `class_top1` [classes]; and
        `bin_count`, `bin_top1` and `bin_confidence` in 15 bins of equal width, by the probability
        of the predicted class.
    """
    classes = logits.shape[-1]
    confidence = jax.nn.softmax(logits).max(axis=-1)
    hit = (logits.argmax(axis=-1) == labels) & mask
    # Bins exclude their lower and include their upper edge, as in Guo et al.
    bin_index = jnp.ceil(jnp.nan_to_num(confidence) * CALIBRATION_BINS).astype(jnp.int32) - 1
    bin_index = bin_index.clip(0, CALIBRATION_BINS - 1)

    def by(index: jax.Array, size: int, values: jax.Array) -> jax.Array:
        values = values if values.dtype == jnp.float32 else values.astype(jnp.int32)
        return jnp.zeros(size, values.dtype).at[index].add(values)

    return evaluation_sums(logits, labels, mask) | {
        "class_count": by(labels, classes, mask),
        "class_top1": by(labels, classes, hit),
        "bin_count": by(bin_index, CALIBRATION_BINS, mask),
        "bin_top1": by(bin_index, CALIBRATION_BINS, hit),
        "bin_confidence": by(bin_index, CALIBRATION_BINS, jnp.where(mask, confidence, 0.0)),
    }


def calibration_error(sums: Sums) -> float:
    """Computes the expected calibration error from the sums of `batch_sums`, from 0 to 1.

    This is the mean over all examples of the gap between accuracy and confidence in their bin.

    References:
        Guo et al. 2017, equation 3, https://arxiv.org/abs/1706.04599.
    """
    gaps = np.abs(np.asarray(sums["bin_top1"], np.float64) - sums["bin_confidence"])
    return float(gaps.sum() / sums["bin_count"].sum())


class ConfusionCounter:
    """Counts confusions batch by batch; pass it to `evaluate_trained` as `watch`.

    Args:
        classes: Outputs of the network.

    Attributes:
        matrix: int64 [classes, classes]: examples by class (row) and predicted class (column).
    """

    def __init__(self, classes: int) -> None:
        self.matrix = np.zeros((classes, classes), np.int64)

    def __call__(
        self, batch: Batch, predicted: NDArray[np.int32], probabilities: NDArray[np.float32]
    ) -> None:
        """Adds a batch, without its padding."""
        del probabilities
        mask = batch["mask"]
        np.add.at(self.matrix, (batch["label"][mask], predicted[mask]), 1)

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Returns the matrix as plain numbers."""
        return tuple(map(tuple, self.matrix.tolist()))


@dataclasses.dataclass(frozen=True)
class ClassAccuracy:
    """The accuracy of a network on one class.

    Attributes:
        name: The class.
        count: Examples of the class.
        top1: Examples that are classified correctly.
    """

    name: str
    count: int
    top1: int

    @property
    def accuracy(self) -> float | None:
        """Share of the examples that are correct; None if there are none."""
        return self.top1 / self.count if self.count else None


@dataclasses.dataclass(frozen=True)
class Measures(Evaluation):
    """The result of any network on any dataset: that of a run's evaluations, and more.

    Attributes:
        count: As for `Evaluation`.
        expected: As for `Evaluation`; `count` is lower if bad images are skipped.
        loss: As for `Evaluation`.
        top1: As for `Evaluation`.
        top5: As for `Evaluation`.
        model: The network, as it was opened.
        data: The dataset.
        split: Its split.
        calibration_error: Expected calibration error in 15 bins, from 0 to 1.
        classes: Every class that the network knows.
        step: The step of the checkpoint, for a run.
        tta: The augmentation that the logits are averaged over.
        confusion: Examples by class (row) and predicted class (column), if they were counted.
    """

    model: str
    data: str
    split: str
    calibration_error: float
    classes: tuple[ClassAccuracy, ...]
    step: int | None = None
    tta: str | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None

    def to_json(self) -> str:
        """Writes everything, including the accuracies, as one JSON object."""
        values: dict[str, Any] = {"model": self.model, "data": self.data, "split": self.split}
        values |= dataclasses.asdict(self) | {
            "accuracy": self.accuracy,
            "top5_accuracy": self.top5_accuracy,
            "classes": [
                dataclasses.asdict(entry) | {"accuracy": entry.accuracy} for entry in self.classes
            ],
        }
        return json_text(values)


@dataclasses.dataclass(frozen=True)
class MultiLabelMeasures(MultiLabelEvaluation):
    """The result of any network on any dataset in which an image may have several classes.

    Attributes:
        count: As for `MultiLabelEvaluation`, like all that follow.
        expected: Images in the split.
        loss: Mean binary cross-entropy.
        average_precision: Of each class.
        f1: Of each class.
        f1_micro: Of all pairs of an image and a class.
        model: The network, as it was opened.
        data: The dataset.
        split: Its split.
        class_names: The classes of the dataset, as the network calls them.
        step: The step of the checkpoint, for a run.
        tta: The augmentation that the logits are averaged over.
    """

    model: str
    data: str
    split: str
    class_names: tuple[str, ...]
    step: int | None = None
    tta: str | None = None

    def to_json(self) -> str:
        """Writes everything, including the means, as one JSON object."""
        values: dict[str, Any] = {"model": self.model, "data": self.data, "split": self.split}
        values |= dataclasses.asdict(self)
        values["mean_average_precision"] = self.mean_average_precision
        values["f1_macro"] = self.f1_macro
        columns = (values.pop(name) for name in ("class_names", "average_precision", "f1"))
        names = ("name", "average_precision", "f1")
        values["classes"] = [
            dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)
        ]
        return json_text(values)
