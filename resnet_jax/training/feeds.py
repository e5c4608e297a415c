"""How a run goes forward: a batch of the stream at a time, or many from a set on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.data.batches import Batch as HostBatch
from resnet_jax.data.examples import InMemorySource
from resnet_jax.data.iterator import BatchIterator
from resnet_jax.data.resident import ResidentData, steps_indices, take_batch, to_device
from resnet_jax.training.config import TrainConfig
from resnet_jax.training.metrics import Sums
from resnet_jax.training.state import TrainState
from resnet_jax.training.steps import TrainStep

STEPS_PER_DISPATCH = 64

PutBatch = Callable[[HostBatch, int], dict[str, Any]]
"""Moves the batch of a step, from 0, to the devices."""


class Feed(Protocol):
    """Takes a run forward.

    Attributes:
        most: The most steps that one call can take.
        batches: Knows the position in the data; to be saved, restored and closed.
    """

    most: int
    batches: BatchIterator

    def advance(
        self, state: TrainState, step: int, steps: int
    ) -> tuple[TrainState, Sums, np.ndarray | jax.Array]:
        """Takes `steps` steps, at most `most`, of which the first is number `step`, from 0.

        Returns:
            The state after them; their sums, each a scalar or one value a step; and the last
            counter of steps that were skipped in a row.
        """
        ...


class StreamedFeed:
    """Takes each batch from the host.

    Args:
        train_step: Compiled, from `make_train_step`.
        batches: The host's part of the batches.
        put: Moves them to the devices.
    """

    most = 1

    def __init__(self, train_step: TrainStep, batches: BatchIterator, put: PutBatch) -> None:
        self.batches = batches
        self._train_step = train_step
        self._put = put

    def advance(
        self, state: TrainState, step: int, steps: int
    ) -> tuple[TrainState, Sums, jax.Array]:
        """Takes one step."""
        del steps
        state, sums = self._train_step(state, self._put(next(self.batches), step))
        return state, sums, sums.pop("skipped_in_row")


class ResidentFeed:
    """Takes many steps in one dispatch, over a set that lies on every device.

    The examples of a step, and its random numbers, are those of the stream with the same seed.

    Args:
        train_step: From `make_train_step`.
        batches: Would give the batches from the host; here it only counts.
        source: The training split.
        config: The run.
        replicated: The sharding of the set: a whole one on each device.
        split: The sharding of a batch.
    """

    most = STEPS_PER_DISPATCH

    def __init__(
        self,
        train_step: TrainStep,
        batches: BatchIterator,
        source: InMemorySource,
        config: TrainConfig,
        *,
        replicated: jax.sharding.Sharding,
        split: jax.sharding.Sharding,
    ) -> None:
        self.batches = batches
        self._config = config
        self._data = to_device(source, replicated)
        self._run = jax.jit(make_run(train_step, split), donate_argnums=0)

    def advance(
        self, state: TrainState, step: int, steps: int
    ) -> tuple[TrainState, Sums, np.ndarray]:
        """Takes `steps` steps in one dispatch."""
        indices = np.zeros((self.most, self._config.batch_size), np.int32)
        indices[:steps] = steps_indices(
            len(self._data.label),
            self._config.batch_size,
            seed=self._config.seed,
            first_step=step,
            steps=steps,
            repeats=self._config.data.repeats,
            straddle=self._config.data.straddle_epochs,
        )
        state, sums = self._run(state, self._data, indices, np.int32(steps))
        self.batches.skip(steps)
        return state, *_cut(sums, steps)


def make_run(train_step: TrainStep, split: jax.sharding.Sharding) -> Callable[..., Any]:
    """Makes the function `run(state, data, indices, steps) -> (state, sums)`.

    It is one loop on the device. The number of its rounds is an argument, so that it is compiled
    once, however far the next record, evaluation or checkpoint is; `lax.scan` would be compiled for
    each length.

    Args:
        train_step: From `make_train_step`.
        split: The sharding of a batch.

    Returns:
        A function for `jax.jit` with `donate_argnums=0`: from a state, a set on the device, the
        rows of its batches [rows, batch] and the number of the rows that count, to the state after
        them and the sums of each step, [rows].
    """

    def run(
        state: TrainState, data: ResidentData, indices: jax.Array, steps: jax.Array
    ) -> tuple[TrainState, Sums]:
        def batch_of(at: jax.Array) -> dict[str, jax.Array]:
            return jax.lax.with_sharding_constraint(take_batch(data, indices[at]), split)

        def body(at: jax.Array, carry: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            state, table = carry
            state, sums = train_step(state, batch_of(at))
            return state, {name: table[name].at[at].set(value) for name, value in sums.items()}

        shapes = jax.eval_shape(lambda: train_step(state, batch_of(jnp.int32(0)))[1])
        table = {name: jnp.zeros(len(indices), value.dtype) for name, value in shapes.items()}
        return jax.lax.fori_loop(0, steps, body, (state, table))

    return run


def _cut(sums: Sums, steps: int) -> tuple[Sums, jax.Array]:
    """Drops the rows that were not computed, and takes out the last counter."""
    in_row = sums.pop("skipped_in_row")[steps - 1]
    return {name: value[:steps] for name, value in sums.items()}, in_row
