"""Batches of a source: which examples, in which rows, read and brought to one shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.record import Transform
from resnet_jax.data.loading.order import ClassMembers, step_indices
from resnet_jax.data.sources.examples import Example, InMemorySource, Source
from resnet_jax.data.sources.label_arrays import Labels
from resnet_jax.errors import ConfigError


class Batch(TypedDict):
    """One batch of a process.

    image: uint8 [batch, height, width, channels]; label: int32 [batch], or bool [batch, classes]
    where an image may have several classes; mask: bool [batch], False for rows that only fill the
    shape.
    """

    image: NDArray[np.uint8]
    label: Labels
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class TrainBatches:
    """Maps a step to the batch of one process."""

    source: Source
    batch_size: int
    seed: int
    processes: int
    process: int
    transform: Transform | None
    repeats: int = 1
    straddle: bool = False
    balanced: ClassMembers | None = None

    def __call__(self, step: int) -> Batch:
        """Gives the process's rows of the batch of `step`."""
        indices = step_indices(
            len(self.source),
            self.batch_size,
            seed=self.seed,
            step=step,
            repeats=self.repeats,
            straddle=self.straddle,
            balanced=self.balanced,
        )
        first = self.process * (self.batch_size // self.processes)
        rows = range(first, first + self.batch_size // self.processes)
        chosen = indices[rows.start : rows.stop]
        if isinstance(self.source, InMemorySource) and self.transform is None:
            return _gather(self.source, chosen)
        self.source.expect(map(int, chosen))
        # Keyed by the row of the global batch: the same numbers however many processes there are.
        examples = (
            self._read(int(index), [self.seed, step, row])
            for index, row in zip(chosen, rows, strict=True)
        )
        return _stack(examples, len(rows))

    def _read(self, index: int, key: list[int]) -> Example:
        """Reads the example, or the next one in the source that can be used."""
        for attempt in range(len(self.source)):
            at = (index + attempt) % len(self.source)
            example = _read(self.source, at, self.transform, key)
            if example is not None:
                return example
        raise ConfigError("the split has no example that can be read; fix the files")


@dataclass(frozen=True)
class EvalBatches:
    """Maps a number to the batch of one process, in the order of the source."""

    source: Source
    batch_size: int
    processes: int
    process: int
    transform: Transform | None

    def __call__(self, number: int) -> Batch:
        """Gives the process's rows of batch `number`."""
        local = self.batch_size // self.processes
        first = number * self.batch_size + self.process * local
        indices = np.arange(first, first + local)
        inside = indices < len(self.source)
        # Rows past the end repeat the last example, for the shape; the mask takes them out.
        indices = indices.clip(max=len(self.source) - 1)
        if isinstance(self.source, InMemorySource) and self.transform is None:
            batch = _gather(self.source, indices)
            batch["mask"] = inside & self.source.valid[indices]
            return batch
        self.source.expect(map(int, indices))
        examples = [_read(self.source, int(at), self.transform, [int(at)]) for at in indices]
        used = np.array([example is not None for example in examples])
        batch = _stack((example or self._any_example() for example in examples), local)
        batch["mask"] = inside & used
        return batch

    def _any_example(self) -> Example:
        """Fills the row of an example that was skipped."""
        reads = (_read(self.source, at, self.transform, [at]) for at in range(len(self.source)))
        example = next(filter(None, reads), None)
        if example is None:
            raise ConfigError("the split has no example that can be read; fix the files")
        return example


def _gather(source: InMemorySource, indices: NDArray[np.int64]) -> Batch:
    return {
        "image": source.images[indices],
        "label": source.labels[indices],
        "mask": np.ones(len(indices), dtype=np.bool_),
    }


def _read(
    source: Source, index: int, transform: Transform | None, key: list[int]
) -> Example | None:
    if transform is None:
        return source.read(index)
    return source.read(index, lambda record: transform(record, np.random.default_rng(key)))


def _stack(examples: Iterable[Example], rows: int) -> Batch:
    images: NDArray[np.uint8] | None = None
    labels: list[int | NDArray[np.bool_]] = []
    for row, example in enumerate(examples):
        image = example["image"]
        if images is None:
            images = np.empty((rows, *image.shape), dtype=np.uint8)
        if image.shape != images.shape[1:]:
            raise ConfigError(
                f"images of the shapes {list(images.shape[1:])} and {list(image.shape)} cannot be "
                "put into one batch; set data.image_size, which brings all to one size"
            )
        images[row] = image  # while it is in the processor's cache
        labels.append(example["label"])
    assert images is not None
    dtype = np.int32 if isinstance(labels[0], int) else np.bool_
    return {
        "image": images,
        "label": np.array(labels, dtype),
        "mask": np.ones(rows, dtype=np.bool_),
    }
