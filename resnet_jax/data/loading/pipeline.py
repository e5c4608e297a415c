"""Pipelines: batches of a source, shuffled without end for training, in order for evaluation.

A training batch is a pure function of the seed and the step. So the state of an iterator is one
number, each process computes its own rows, and a dataset that lives on the device follows the same
order.
"""

from __future__ import annotations

import os

from resnet_jax.data.images.record import Transform
from resnet_jax.data.loading.batches import Batch, EvalBatches, TrainBatches
from resnet_jax.data.loading.iterator import BatchIterator
from resnet_jax.data.loading.order import ClassMembers, steps_per_epoch
from resnet_jax.data.sources.examples import InMemorySource, Source
from resnet_jax.errors import ConfigError

__all__ = ["Batch", "BatchIterator", "EvalLoader", "eval_loader", "steps_per_epoch", "train_loader"]

_MAX_THREADS = 16


def train_loader(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    processes: int = 1,
    process: int = 0,
    workers: int = 0,
    transform: Transform | None = None,
    repeats: int = 1,
    straddle: bool = False,
    balanced: ClassMembers | None = None,
) -> BatchIterator:
    """Iterates without end over the training batches of one process.

    Each epoch is a new permutation of the whole split, cut into batches; the examples that fill no
    batch are left out of that epoch. The batches of all processes, concatenated in their order, are
    the batch that a single process would see.

    Args:
        source: The training split.
        batch_size: Examples of a step, over all processes.
        seed: Seed of the order and of the transforms, not negative.
        processes: Number of processes that train together.
        process: This process, from 0.
        workers: Spawned processes that read and decode; 0 for threads of this process.
        transform: Brings an example to the shape of the batch's images; None decodes it.
        repeats: How often each example stands in a batch, for repeated augmentation.
        straddle: Whether the last batch of an epoch is filled from the next one.
        balanced: The examples of each class, where an epoch is to have as many of each.

    Returns:
        An iterator of batches with `batch_size // processes` rows, which can be saved and restored.

    Raises:
        ConfigError: The batch is larger than the split, or the processes do not divide it.
    """
    steps_per_epoch(len(source), batch_size)  # refuses a split shorter than a batch
    _check_processes(batch_size, processes, process)
    if seed < 0:
        raise ConfigError(f"seed={seed} is negative; give 0 or more")
    batches = TrainBatches(
        source,
        batch_size,
        seed=seed,
        processes=processes,
        process=process,
        transform=transform,
        repeats=repeats,
        straddle=straddle,
        balanced=balanced,
    )
    identity = {
        "examples": len(source),
        "batch_size": batch_size,
        "seed": seed,
        "repeats": repeats,
        "straddle": int(straddle),
    }
    if balanced is not None:  # other positions, and those of older runs, have no such entry
        identity["balanced"] = 1
    return BatchIterator(
        batches,
        steps=None,
        workers=workers,
        threads=_threads(source, transform),
        identity=identity,
    )


class EvalLoader:
    """The batches of one process over a whole split, each example once; can be iterated again.

    Args:
        batches: Maps a number to a batch.
        steps: Number of batches, the same on every process.
        workers: Spawned processes; 0 for threads of this process.
        threads: Threads that read ahead where there are no processes.

    Attributes:
        examples: Those of the split, over all processes.
    """

    def __init__(self, batches: EvalBatches, *, steps: int, workers: int, threads: int) -> None:
        self.examples = len(batches.source)
        self._batches = batches
        self._steps = steps
        self._workers = workers
        self._threads = threads

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> BatchIterator:
        return BatchIterator(
            self._batches,
            steps=self._steps,
            workers=self._workers,
            threads=self._threads,
            identity={},
        )


def eval_loader(
    source: Source,
    *,
    batch_size: int,
    processes: int = 1,
    process: int = 0,
    workers: int = 0,
    transform: Transform | None = None,
) -> EvalLoader:
    """Goes once over a split in its own order.

    The last batch is filled up to the shape of the others with rows whose mask is False. Over all
    processes each example stands in exactly one row whose mask is True.

    Args:
        source: The split.
        batch_size: Rows of a step, over all processes.
        processes: Number of processes that evaluate together.
        process: This process, from 0.
        workers: Spawned processes that read and decode; 0 for threads of this process.
        transform: Brings an example to the shape of the batch's images; None decodes it.

    Returns:
        The batches of this process, `batch_size // processes` rows each; every process has the same
        number of them.

    Raises:
        ConfigError: The split is empty, or the processes do not divide the batch.
    """
    if not len(source):
        raise ConfigError("the split has no examples; evaluate one that has")
    _check_processes(batch_size, processes, process)
    return EvalLoader(
        EvalBatches(source, batch_size, processes=processes, process=process, transform=transform),
        steps=-(-len(source) // batch_size),
        workers=workers,
        threads=_threads(source, transform),
    )


def _check_processes(batch_size: int, processes: int, process: int) -> None:
    if batch_size < 1 or processes < 1 or batch_size % processes:
        raise ConfigError(
            f"batch_size={batch_size} cannot be divided among {processes} processes; give a "
            f"multiple of {max(processes, 1)}"
        )
    if not 0 <= process < processes:
        raise ConfigError(
            f"process={process} is not one of {processes} processes; they count from 0"
        )


def _threads(source: Source, transform: Transform | None) -> int:
    if isinstance(source, InMemorySource) and transform is None:
        return 0  # a gather is over sooner than a thread is asked
    return min(os.cpu_count() or 1, _MAX_THREADS)
