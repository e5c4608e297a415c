"""What a run's network does on a split: the table of confusions and the worst mistakes."""

from __future__ import annotations

import dataclasses
import heapq
import tempfile

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.loading.batches import Batch
from resnet_jax.data.loading.pipeline import eval_loader
from resnet_jax.data.sources import load_split
from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.evaluate import output_of_labels
from resnet_jax.inference.inputs import inputs_transform
from resnet_jax.inference.trained import Trained


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An example that the network takes for another class.

    Attributes:
        index: Its place in the split, from 0.
        pixels: What the network saw, uint8 [height, width, channels].
        label: Its class, as an output of the network.
        predicted: The likeliest class.
        label_probability: What the network gives its class.
        probability: What it gives the likeliest class.
    """

    index: int
    pixels: NDArray[np.uint8]
    label: int
    predicted: int
    label_probability: float
    probability: float


@dataclasses.dataclass(frozen=True)
class Findings:
    """How a network does on a split.

    Attributes:
        split: The split.
        class_names: The name of each output.
        confusion: int64 [classes, classes]: examples by their class (row) and the predicted one.
        mistakes: Those to whose class the network gives least, the worst first.
        step: The number of the checkpoint.
        num_parameters: Numbers that the network learned.
    """

    split: str
    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    mistakes: tuple[Mistake, ...]
    step: int | None
    num_parameters: int

    @property
    def count(self) -> int:
        """Examples counted, each once."""
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        """Examples whose class is the likeliest."""
        return int(self.confusion.trace())

    def confused_pairs(self, limit: int) -> list[tuple[str, str, int, int]]:
        """Lists (class, predicted class, how often, examples of the class), the frequent first."""
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
    """Runs a network over a split of the data that it was trained on.

    Args:
        trained: The network of a run.
        split: A split in TFDS syntax; None takes the run's test split.
        mistakes: How many of the worst mistakes are kept.
        batch_size: Pictures that are computed at a time.

    Raises:
        ConfigError: The data cannot be opened, or their classes are not the network's.
    """
    if trained.data is None:
        raise ConfigError(f"{trained.origin} is no run: nothing says what it was trained on")
    split = split or trained.data.test_split
    data = dataclasses.replace(trained.data, channels=trained.inputs.channels, in_memory=False)
    classifier = Classifier(trained, batch_size=batch_size)
    tally = _Tally(trained.num_classes, mistakes)
    # With on_error="skip" the list of bad examples has to go somewhere: not into the run.
    with tempfile.TemporaryDirectory() as folder:
        source = load_split(data, split, workdir=folder)
        outputs = output_of_labels(trained, source.class_names, origin=data.name)
        for batch in eval_loader(
            source,
            batch_size=classifier.batch_size,
            workers=data.workers,
            transform=inputs_transform(trained.inputs),
        ):
            tally.add(batch, outputs[batch["label"]], classifier(batch["image"]))
    return Findings(
        split=split,
        class_names=tuple(trained.class_name(index) for index in range(trained.num_classes)),
        confusion=tally.confusion,
        mistakes=tally.worst(),
        step=trained.step,
        num_parameters=_count_parameters(trained),
    )


class _Tally:
    """Counts batches, and keeps the worst mistakes alone."""

    def __init__(self, classes: int, mistakes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self._limit = mistakes
        # Least bad first; the index tells equals apart before the pixels would be compared.
        self._heap: list[tuple[float, int, Mistake]] = []
        self._seen = 0

    def add(
        self, batch: Batch, labels: NDArray[np.int32], probabilities: NDArray[np.float32]
    ) -> None:
        predicted = probabilities.argmax(axis=-1)
        mask = batch["mask"]
        np.add.at(self.confusion, (labels[mask], predicted[mask]), 1)
        for row in np.flatnonzero(mask & (predicted != labels)):
            given = float(probabilities[row, labels[row]])
            index = self._seen + int(row)
            if self._limit and (len(self._heap) < self._limit or -given > self._heap[0][0]):
                mistake = Mistake(
                    index,
                    batch["image"][row].copy(),
                    int(labels[row]),
                    int(predicted[row]),
                    given,
                    float(probabilities[row, predicted[row]]),
                )
                heapq.heappush(self._heap, (-given, -index, mistake))
                if len(self._heap) > self._limit:
                    heapq.heappop(self._heap)
        self._seen += len(mask)

    def worst(self) -> tuple[Mistake, ...]:
        return tuple(mistake for *_, mistake in sorted(self._heap, reverse=True))


def _count_parameters(trained: Trained) -> int:
    import jax
    from flax import nnx

    leaves = jax.tree.leaves(nnx.state(trained.model, nnx.Param))
    return sum(int(np.size(leaf)) for leaf in leaves)
