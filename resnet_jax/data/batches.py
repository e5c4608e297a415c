"""Batches of a source: which examples, in which rows, read and brought to one shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.order import step_indices
from resnet_jax.data.sources import InMemorySource, Record, Source
from resnet_jax.errors import ConfigError


class Batch(TypedDict):
    """One batch of a host.

    image: uint8 [batch, height, width, channels]; label: int32 [batch]; mask: bool [batch], False
    for rows that only fill the shape.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.int32]
    mask: NDArray[np.bool_]


Transform = Callable[[Record, np.random.Generator], NDArray[np.uint8]]
"""Turns a stored example into pixels of one shape, with the random numbers that it is given."""


@dataclass(frozen=True)
class TrainBatches:
    """Maps a step to the batch of one host."""

    source: Source
    batch_size: int
    seed: int
    hosts: int
    host: int
    transform: Transform | None

    def __call__(self, step: int) -> Batch:
        """Gives the host's rows of the batch of `step`."""
        indices = step_indices(len(self.source), self.batch_size, seed=self.seed, step=step)
        first = self.host * (self.batch_size // self.hosts)
        rows = range(first, first + self.batch_size // self.hosts)
        # Keyed by the row of the global batch: the same numbers however many hosts there are.
        rngs = (np.random.default_rng([self.seed, step, row]) for row in rows)
        return _read(self.source, indices[rows.start : rows.stop], self.transform, rngs)


@dataclass(frozen=True)
class EvalBatches:
    """Maps a number to the batch of one host, in the order of the source."""

    source: Source
    batch_size: int
    hosts: int
    host: int
    transform: Transform | None

    def __call__(self, number: int) -> Batch:
        """Gives the host's rows of batch `number`."""
        local = self.batch_size // self.hosts
        first = number * self.batch_size + self.host * local
        indices = np.arange(first, first + local)
        mask = indices < len(self.source)
        rngs = (np.random.default_rng(int(index)) for index in indices)
        # Rows past the end repeat the last example, for the shape; the mask takes them out.
        batch = _read(self.source, indices.clip(max=len(self.source) - 1), self.transform, rngs)
        batch["mask"] = mask
        return batch


def _read(
    source: Source,
    indices: NDArray[np.int64],
    transform: Transform | None,
    rngs: Iterator[np.random.Generator],
) -> Batch:
    if isinstance(source, InMemorySource) and transform is None:
        images, labels = source.images[indices], source.labels[indices]
    else:
        records = [source.record(int(index)) for index in indices]
        if transform is None:
            rows = [source.pixels(record) for record in records]
        else:
            rows = [transform(record, rng) for record, rng in zip(records, rngs, strict=True)]
        images = _stack(rows, records)
        labels = np.array([record.label for record in records], dtype=np.int32)
    return {"image": images, "label": labels, "mask": np.ones(len(indices), dtype=np.bool_)}


def _stack(rows: list[NDArray[np.uint8]], records: list[Record]) -> NDArray[np.uint8]:
    for row, record in zip(rows, records, strict=True):
        if row.shape != rows[0].shape:
            raise ConfigError(
                f"{record.name} has the shape {list(row.shape)}, another image of its batch "
                f"{list(rows[0].shape)}; choose a transform that brings all to one size"
            )
    return np.stack(rows)
