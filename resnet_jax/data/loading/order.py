"""The order of the training examples: one permutation an epoch, a pure function of the seed."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from resnet_jax.errors import ConfigError


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
            f"batch_size={batch_size} does not fit a training split of {num_examples} examples; "
            f"give 1 to {num_examples}"
        )
    return num_examples // batch_size


@functools.lru_cache(maxsize=4)
def epoch_order(num_examples: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Permutes the examples for one epoch.

    Args:
        num_examples: Examples of the split.
        seed: Seed of the run.
        epoch: From 0.

    Returns:
        A permutation of range(num_examples), read-only.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_examples)
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
        order = epoch_order(num_examples, seed=seed, epoch=int(epoch))
        indices[epochs == epoch] = order[positions[epochs == epoch] // repeats]
    return np.concatenate([indices[copy::repeats] for copy in range(repeats)])
