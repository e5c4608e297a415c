"""Metrics of images that may have several classes: mean average precision and F1.

The probability of a class is the sigmoid of its logit, and a class counts as predicted from a
probability of a half on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from resnet_jax.training.step.losses import binary_cross_entropy


def multi_label_sums(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    """Sums the binary cross-entropy and the right and wrong predictions, without padding.

    Args:
        logits: [batch, classes].
        labels: bool [batch, classes].
        mask: bool [batch], False for padding.

    Returns:
        Scalars `loss` and `count`; `hits`, `predicted` and `present` [classes], which count
        examples that are predicted and have the class, are predicted, and have it.
    """
    rows = mask[:, None]
    predicted, present = (logits >= 0) & rows, labels & rows
    return {
        "loss": jnp.where(mask, binary_cross_entropy(logits, labels), 0.0).sum(),
        "count": mask.sum(),
        "hits": (predicted & present).sum(axis=0),
        "predicted": predicted.sum(axis=0),
        "present": present.sum(axis=0),
    }


def f1_of_sums(sums: Mapping[str, NDArray[np.integer]]) -> NDArray[np.float64]:
    """Computes F1 = 2 TP / (2 TP + FP + FN) of each class, or of totals; 0 where nothing counts.

    Args:
        sums: `hits`, `predicted` and `present` of `multi_label_sums`.
    """
    hits, all_of_them = np.asarray(sums["hits"]), np.asarray(sums["predicted"] + sums["present"])
    return np.where(all_of_them > 0, 2 * hits / np.maximum(all_of_them, 1), 0.0)


SEEN = ("logits", "labels", "mask")
"""What average precision needs of a batch besides its sums."""


def split_seen(sums: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divides the result of an evaluation step into its sums and the entries `SEEN`."""
    seen = {name: value for name, value in sums.items() if name in SEEN}
    return {name: value for name, value in sums.items() if name not in SEEN}, seen


@dataclasses.dataclass(frozen=True)
class MultiLabelEvaluation:
    """The result of a network on a split in which an image may have several classes.

    Attributes:
        count: Images counted, each once.
        expected: Images in the split; `count` is lower only if the recipe skips bad images.
        loss: Mean binary cross-entropy over images and classes, without label smoothing.
        average_precision: Of each class; None for a class that no image has.
        f1: Of each class, with a threshold of a half.
        f1_micro: F1 of all pairs of an image and a class together.
    """

    count: int
    expected: int
    loss: float
    average_precision: tuple[float | None, ...]
    f1: tuple[float, ...]
    f1_micro: float

    @property
    def mean_average_precision(self) -> float:
        """Mean over the classes that some image has."""
        known = [value for value in self.average_precision if value is not None]
        return float(np.mean(known)) if known else 0.0

    @property
    def f1_macro(self) -> float:
        """Mean of F1 over all classes."""
        return float(np.mean(self.f1))

    def values(self, split: str) -> dict[str, float | None]:
        """Returns the metrics for a record, each prefixed with the name of the split."""
        return {
            f"{split}_loss": self.loss,
            f"{split}_mean_average_precision": self.mean_average_precision,
            f"{split}_f1_micro": self.f1_micro,
            f"{split}_f1_macro": self.f1_macro,
            f"{split}_count": self.count,
            f"{split}_expected": self.expected,
        }


class Scores:
    """Collects what average precision needs, batch by batch."""

    def __init__(self) -> None:
        self._logits: list[NDArray[np.float32]] = []
        self._labels: list[NDArray[np.bool_]] = []

    def add(self, seen: Mapping[str, NDArray[Any]]) -> None:
        """Adds a batch, without its padding.

        Args:
            seen: The entries `SEEN`, of the whole batch.
        """
        self._logits.append(seen["logits"][seen["mask"]])
        self._labels.append(seen["labels"][seen["mask"]])

    def result(self, sums: Mapping[str, NDArray[Any]], *, expected: int) -> MultiLabelEvaluation:
        """Computes the metrics.

        Args:
            sums: Of `multi_label_sums`, over all batches.
            expected: Images in the split.
        """
        totals = {name: sums[name].sum() for name in ("hits", "predicted", "present")}
        return MultiLabelEvaluation(
            count=int(sums["count"]),
            expected=expected,
            loss=float(sums["loss"] / max(sums["count"], 1)),
            average_precision=tuple(
                average_precisions(np.concatenate(self._logits), np.concatenate(self._labels))
            ),
            f1=tuple(f1_of_sums(sums).tolist()),
            f1_micro=float(f1_of_sums(totals)),
        )


def average_precisions(
    scores: NDArray[np.floating], labels: NDArray[np.bool_]
) -> list[float | None]:
    """Computes the average precision of each class, without interpolation.

    Precision is summed over the thresholds, weighted by what recall gains at each, as scikit-learn
    does it; examples of one score count at once.

    Args:
        scores: [examples, classes]; of logits or probabilities only the order counts.
        labels: [examples, classes].

    Returns:
        The value of each class; None for a class that no example has.
    """
    return [_average_precision(*columns) for columns in zip(scores.T, labels.T, strict=True)]


def _average_precision(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float | None:
    if not labels.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[ends]
    gained = np.diff(hits, prepend=0) / labels.sum()
    return float((gained * hits / (ends + 1)).sum())
