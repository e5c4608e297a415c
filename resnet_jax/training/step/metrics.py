"""Metrics as sums and counts, which are divided at the end.

Each example therefore counts once, and the result depends neither on the batch size nor on the
number of devices. `SkipWatch` reads one of the counts: the steps skipped in a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.errors import counted
from resnet_jax.training.step.losses import cross_entropy

MetricSums = dict[str, jax.Array]

# The most steps queued on the device; more would only use memory.
_MAX_AHEAD = 16

# The most dispatches whose counters are not read yet.
_MAX_UNREAD = 16


def evaluation_sums(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> MetricSums:
    """Sums the cross-entropy and the correct predictions of a batch, without its padding.

    Args:
        logits: [batch, classes].
        labels: [batch] integers.
        mask: [batch] bool, False for padding.

    Returns:
        Scalars `loss`, `top1`, `top5` and `count`. With fewer than five classes, `top5` counts
        all examples.
    """
    best = jax.lax.top_k(logits, min(5, logits.shape[-1]))[1]
    hits = (best == labels[:, None]) & mask[:, None]
    return {
        "loss": jnp.where(mask, cross_entropy(logits, labels), 0.0).sum(),
        "top1": hits[:, 0].sum(),
        "top5": hits.sum(),
        "count": mask.sum(),
    }


class Totals:
    """Adds up the sums of many steps on the host, in double precision.

    Args:
        start: Sums of earlier steps.
    """

    def __init__(self, start: Mapping[str, float] | None = None) -> None:
        self._sums: dict[str, float] = dict(start or {})
        self._pending: list[tuple[MetricSums, int]] = []

    def add(self, sums: MetricSums, steps: int = 1) -> None:
        """Adds sums, and waits only if the device is many steps behind.

        Args:
            sums: Scalars of one step, or arrays with a value for each of several steps.
            steps: How many values of these arrays count.
        """
        self._pending.append((sums, steps))
        if len(self._pending) > _MAX_AHEAD:
            jax.block_until_ready(self._pending[-_MAX_AHEAD][0])

    def fetch(self) -> dict[str, float]:
        """Waits for the steps added so far and returns the sums over all of them."""
        for sums, steps in jax.device_get(self._pending):
            for name, values in sums.items():
                for value in np.atleast_1d(values)[:steps].tolist():
                    self._sums[name] = self._sums.get(name, 0) + value
        self._pending = []
        return dict(self._sums)


def ratio(sums: Mapping[str, float], name: str, *, over: str = "count") -> float | None:
    """Divides one sum by another; None if nothing was counted."""
    return sums[name] / sums[over] if sums.get(over) else None


def training_values(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Turns the sums of `train_step` into the metrics of a record."""
    return {
        "train_loss": ratio(sums, "loss"),
        **_share_right(sums),
        "gradient_norm": ratio(sums, "gradient_norm", over="steps"),
        "skipped": sums["skipped"],
    }


def _share_right(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Returns the accuracy, or F1 over all images and classes where an image may have several."""
    if "hits" not in sums:
        return {"train_accuracy": ratio(sums, "top1")}
    both = sums["predicted"] + sums["present"]
    return {"train_f1": 2 * sums["hits"] / both if both else None}


class DivergedError(ValueError):
    """Too many steps in a row had a non-finite loss or gradient."""


class SkipWatch:
    """Checks the counter of skipped steps after every step, with a delay of some steps.

    Args:
        most: The most steps that may be skipped in a row.
        learning_rate: The learning rate to lower, for the message.
    """

    def __init__(self, *, most: int, learning_rate: float) -> None:
        self._most = most
        self._learning_rate = learning_rate
        self._pending: list[tuple[int, jax.Array, int]] = []

    def add(self, step: int, in_row: jax.Array, steps: int) -> None:
        """Adds the counter after a dispatch; it is read when later dispatches have been added.

        Args:
            step: The last step of the dispatch, from 1.
            in_row: The counter after each step: a scalar, or an array of which `steps` count.
            steps: How many steps the dispatch had.

        Raises:
            DivergedError: Too many steps in a row were skipped.
        """
        self._pending.append((step, in_row, steps))
        if len(self._pending) > 2 * _MAX_UNREAD:
            self._read(self._pending[:-_MAX_UNREAD])
            self._pending = self._pending[-_MAX_UNREAD:]

    def check(self) -> None:
        """Reads all remaining counters.

        Raises:
            DivergedError: Too many steps in a row were skipped.
        """
        self._read(self._pending)
        self._pending = []

    def _read(self, entries: list[tuple[int, jax.Array, int]]) -> None:
        counters = jax.device_get([in_row for _, in_row, _ in entries])
        for (last, _, steps), values in zip(entries, counters, strict=True):
            for offset, in_row in enumerate(np.atleast_1d(values)[:steps].tolist()):
                if in_row > self._most:
                    first = last - steps + 1 + offset - in_row + 1
                    raise DivergedError(
                        f"no finite loss or gradient since step {first}, "
                        f"{counted(in_row, 'step')} in a row; lower "
                        f"optimizer.learning_rate={self._learning_rate}"
                    )
