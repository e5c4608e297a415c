"""The results of a run's network on a split: metrics, confusion matrix and worst mistakes."""

from __future__ import annotations

import dataclasses
import heapq
import tempfile

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.loading.batches import Batch
from resnet_jax.errors import ConfigError
from resnet_jax.inference.evaluate import evaluate_trained
from resnet_jax.inference.measures import ConfusionCounter, Measures
from resnet_jax.inference.trained import Trained


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An example that the network classifies incorrectly.

    Attributes:
        index: Its position in the split, from 0.
        image: The network's input, uint8 [height, width, channels].
        label: Its class, as an output of the network.
        predicted: The predicted class.
        label_probability: The probability of its class.
        probability: The probability of the predicted class.
    """

    index: int
    image: NDArray[np.uint8]
    label: int
    predicted: int
    label_probability: float
    probability: float


@dataclasses.dataclass(frozen=True)
class Findings:
    """The results of a network on a split, for the page.

    Attributes:
        measures: The result of the evaluation.
        confusion: int64 [classes, classes]: examples by class (row) and predicted class.
        mistakes: Those with the lowest probability of their class, the lowest first.
        num_parameters: The number of learned parameters.
    """

    measures: Measures
    confusion: NDArray[np.int64]
    mistakes: tuple[Mistake, ...]
    num_parameters: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each output."""
        return tuple(entry.name for entry in self.measures.classes)

    def confused_pairs(self, limit: int) -> list[tuple[str, str, int, int]]:
        """Lists (class, predicted class, times, examples of the class), the most frequent first."""
        wrong = self.confusion - np.diag(self.confusion.diagonal())
        order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
        pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [
            (
                self.class_names[label],
                self.class_names[predicted],
                int(wrong[label, predicted]),
                int(self.confusion[label].sum()),
            )
            for label, predicted in pairs
            if wrong[label, predicted]
        ]


def examine(
    trained: Trained, *, split: str | None = None, mistakes: int, batch_size: int = 128
) -> Findings:
    """Evaluates a network on a split of the data that it was trained on.

    Args:
        trained: The network of a run.
        split: A split in TFDS syntax; None takes the run's test split.
        mistakes: How many of the worst mistakes are kept.
        batch_size: Images per step.

    Raises:
        ConfigError: The data cannot be opened, or its classes are not the network's.
    """
    if trained.data is None:
        raise ConfigError(f"{trained.origin} is not a run: its training data is not known")
    if trained.inputs.multi_label:
        raise ConfigError(
            "an image may have several classes, so that there are no confusions to count; "
            "resnet-jax eval gives the precision of each class"
        )
    tally = _Tally(trained.num_classes, mistakes)
    # With on_error="skip" bad examples are listed in a file, which does not belong in the run.
    with tempfile.TemporaryDirectory() as folder:
        measures = evaluate_trained(
            trained,
            trained.data,
            split or trained.data.test_split,
            batch_size=batch_size,
            workdir=folder,
            watch=tally.add,
        )
    assert isinstance(measures, Measures)
    return Findings(measures, tally.confusion, tally.worst(), _count_parameters(trained))


class _Tally:
    """Counts confusions batch by batch, and keeps the worst mistakes only."""

    def __init__(self, classes: int, mistakes: int) -> None:
        self._confusion = ConfusionCounter(classes)
        self._limit = mistakes
        # Least bad first; the index decides ties before images would be compared.
        self._heap: list[tuple[float, int, Mistake]] = []
        self._seen = 0

    def add(
        self, batch: Batch, predicted: NDArray[np.int32], probabilities: NDArray[np.float32]
    ) -> None:
        labels, mask = batch["label"], batch["mask"]
        self._confusion(batch, predicted, probabilities)
        for row in np.flatnonzero(mask & (predicted != labels)):
            probability = float(probabilities[row, labels[row]])
            index = self._seen + int(row)
            if self._limit and (len(self._heap) < self._limit or -probability > self._heap[0][0]):
                mistake = Mistake(
                    index,
                    batch["image"][row].copy(),
                    int(labels[row]),
                    int(predicted[row]),
                    probability,
                    float(probabilities[row, predicted[row]]),
                )
                heapq.heappush(self._heap, (-probability, -index, mistake))
                if len(self._heap) > self._limit:
                    heapq.heappop(self._heap)
        self._seen += len(mask)

    @property
    def confusion(self) -> NDArray[np.int64]:
        return self._confusion.matrix

    def worst(self) -> tuple[Mistake, ...]:
        return tuple(mistake for *_, mistake in sorted(self._heap, reverse=True))


def _count_parameters(trained: Trained) -> int:
    import jax
    from flax import nnx

    leaves = jax.tree.leaves(nnx.state(trained.model, nnx.Param))
    return sum(int(np.size(leaf)) for leaf in leaves)
