"""The order of the training examples: one drawing an epoch, a pure function of the seed."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from resnet_jax.errors import ConfigError, counted


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Counts the training steps of an epoch; the examples that fill no batch are left out.

    Args:
        num_examples: Examples of the training split.
        batch_size: Examples of a step, over all processes.

    Returns:
        The number of steps, at least 1.

    Raises:
        ConfigError: The split is shorter than one batch.
    """
    if not num_examples:
        raise ConfigError(
            "the training split has no examples; set data.train_split to one that has"
        )
    if not 0 < batch_size <= num_examples:
        raise ConfigError(
            f"batch_size={batch_size} does not fit a training split of "
            f"{counted(num_examples, 'example')}; "
            f"give 1 to {num_examples}, or halve_batch=true"
        )
    return num_examples // batch_size


class ClassMembers:
    """The examples of each class, from which balanced epochs are drawn.

    Args:
        labels: The class of each example, [examples]; those below 0 are left out.
    """

    def __init__(self, labels: NDArray[np.integer]) -> None:
        self._members = [
            np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])
        ]

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws examples, of each class as many as of any other, or one more.

        No example of a class is drawn again before all the others of the class were.

        Args:
            count: How many examples.
            rng: Random numbers.

        Returns:
            Indices into the split in random order, [count].
        """
        share, rest = divmod(count, len(self._members))
        larger = set(rng.permutation(len(self._members))[:rest].tolist())
        drawn: list[NDArray[np.int64]] = []
        for place, members in enumerate(self._members):
            wanted = share + (place in larger)
            rounds = -(-wanted // len(members))
            drawn.extend(
                rng.permutation(members)[: wanted - at * len(members)] for at in range(rounds)
            )
        return rng.permutation(np.concatenate(drawn))


@functools.lru_cache(maxsize=4)
def epoch_order(
    num_examples: int, *, seed: int, epoch: int, balanced: ClassMembers | None = None
) -> NDArray[np.int64]:
    """Permutes the examples for one epoch, or draws as many from each class.

    Args:
        num_examples: Examples of the split.
        seed: Seed of the run.
        epoch: From 0.
        balanced: The examples of each class, where classes are to come equally often.

    Returns:
        A permutation of range(num_examples), or as many indices with repetitions; read-only.
    """
    rng = np.random.default_rng([seed, epoch])
    order = balanced.draw(num_examples, rng) if balanced else rng.permutation(num_examples)
    order.flags.writeable = False
    return order


def step_indices(
    num_examples: int,
    batch_size: int,
    *,
    seed: int,
    step: int,
    repeats: int = 1,
    straddle: bool = False,
    balanced: ClassMembers | None = None,
) -> NDArray[np.int64]:
    """Gives the examples of one training step, over all processes.

    Args:
        num_examples: Examples of the split.
        batch_size: Examples of a step, over all processes.
        seed: Seed of the run.
        step: From 0, without end.
        repeats: How often each example stands in the batch. First comes one of each, then the
            second of each, so that copies fall to different devices and groups of BatchNorm, as in
            the sampler of RSB (and DeiT).
        straddle: Whether the last batch of an epoch is filled from the next one.
        balanced: As for `epoch_order`.

    Returns:
        Indices into the split, shape [batch_size].
    """
    steps = steps_per_epoch(num_examples, batch_size)
    rows = np.arange(batch_size)
    if straddle:
        epochs, positions = np.divmod(step * batch_size + rows, num_examples)
    else:
        epochs, positions = np.full(batch_size, step // steps), step % steps * batch_size + rows
    indices = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        order = epoch_order(num_examples, seed=seed, epoch=int(epoch), balanced=balanced)
        indices[epochs == epoch] = order[positions[epochs == epoch] // repeats]
    return np.concatenate([indices[copy::repeats] for copy in range(repeats)])
