"""Feeds run the steps: one streamed batch at a time, or many from a dataset on the device."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.data.loading.iterator import BatchIterator
from resnet_jax.data.on_device.resident import ResidentData, steps_indices, take_batch, to_device
from resnet_jax.data.sources.examples import InMemorySource, Source
from resnet_jax.errors import ConfigError
from resnet_jax.machine.mesh import replicated, split_by_example
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.metrics import MetricSums
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.step.steps import TrainStep
from resnet_jax.training.trainer import Trainer

STEPS_PER_DISPATCH = 64


class Feed(Protocol):
    """Runs training steps on batches that it supplies itself.

    Attributes:
        most: The most steps that one call can run.
        batches: Holds the position in the data; saved and restored with a checkpoint.
        waited: Seconds for which the devices had nothing to do because a batch was not there yet.
    """

    most: int
    batches: BatchIterator
    waited: float

    def advance(self, state: TrainState, step: int, steps: int) -> tuple[TrainState, MetricSums]:
        """Runs a number of steps.

        Args:
            state: The state before them.
            step: The number of the first step, from 0.
            steps: How many steps, at most `most`.

        Returns:
            The state after them, and their sums: scalars, or arrays whose first `steps` values
            belong to the steps.
        """
        ...


class StreamedFeed:
    """Runs one step at a time, and moves each batch to the devices.

    Args:
        trainer: The run.
        batches: This process's part of the batches.
    """

    most = 1

    def __init__(self, trainer: Trainer, batches: BatchIterator) -> None:
        self.batches = batches
        self.waited = 0.0
        self._trainer = trainer

    def advance(self, state: TrainState, step: int, steps: int) -> tuple[TrainState, MetricSums]:
        """Runs one step."""
        del steps
        began = time.perf_counter()
        rows = next(self.batches)
        # Otherwise the devices are still busy with the step before.
        if state.step.is_ready():  # type: ignore[attr-defined]  # JAX's types lack it
            self.waited += time.perf_counter() - began
        batch = self._trainer.put(rows, step)
        return self._trainer.train_step(state, batch)


class ResidentFeed:
    """Runs many steps in one dispatch, over a dataset that every device holds.

    With the same seed, the examples of a step and its random numbers are those of `StreamedFeed`.

    Args:
        trainer: The run.
        batches: Only counts the steps, so that a checkpoint of either feed fits the other.
        source: The training split.
        most: The most steps in a dispatch.
    """

    def __init__(
        self, trainer: Trainer, batches: BatchIterator, *, source: InMemorySource, most: int
    ) -> None:
        self.batches = batches
        self.most = most
        self.waited = 0.0
        self._config = trainer.config
        self._balanced = trainer.balanced
        self._data = to_device(source, replicated(trainer.mesh))
        self._train_step = trainer.train_step
        split = split_by_example(trainer.mesh)
        shape = source.images.shape[1:]
        self._take = jax.jit(functools.partial(take_batch, shape=shape), out_shardings=split)
        self._run = jax.jit(make_run(trainer.train_step, split, shape=shape), donate_argnums=0)

    def advance(self, state: TrainState, step: int, steps: int) -> tuple[TrainState, MetricSums]:
        """Runs the steps in one dispatch."""
        indices = np.zeros((self.most, self._config.batch_size), np.int32)
        indices[:steps] = steps_indices(
            len(self._data.label),
            self._config.batch_size,
            seed=self._config.seed,
            first_step=step,
            steps=steps,
            repeats=self._config.data.repeats,
            straddle=self._config.data.straddle_epochs,
            balanced=self._balanced,
        )
        self.batches.skip(steps)
        if self.most == 1:
            return self._train_step(state, self._take(self._data, indices[0]))
        result: tuple[TrainState, MetricSums] = self._run(
            state, self._data, indices, np.int32(steps)
        )
        return result


def open_feed(trainer: Trainer, batches: BatchIterator) -> Feed:
    """Chooses the feed of a run.

    Args:
        trainer: The run.
        batches: This process's part of the batches.

    Raises:
        ConfigError: The recipe sets `data.device_resident=True`, which is impossible.
    """
    config, source = trainer.config, trainer.source
    on_cpu = trainer.mesh.devices.flat[0].platform == "cpu"
    obstacle = _obstacle(config, source)
    wanted = config.data.device_resident
    if wanted and obstacle:
        raise ConfigError(f"data.device_resident=True: {obstacle}, or data.device_resident=None")
    if wanted is None:
        wanted = not on_cpu and obstacle is None
    if not wanted or not isinstance(source, InMemorySource):
        return StreamedFeed(trainer, batches)
    # On a CPU, XLA runs a step inside a loop several times slower than the same step alone.
    most = 1 if on_cpu else STEPS_PER_DISPATCH
    return ResidentFeed(trainer, batches, source=source, most=most)


def _obstacle(config: TrainConfig, source: Source) -> str | None:
    """Returns why a dataset cannot be kept on the device, with the remedy; None if it can."""
    if config.data.image_size is not None:
        return "images are cropped on the host; set data.image_size=None"
    if config.augment.policy is not None:
        return "the policy changes images on the host; set augment.policy=None"
    if config.resize is not None:
        return "progressive resizing takes batches from the host; set resize=None"
    if not isinstance(source, InMemorySource):
        return f"{config.data.name} is not kept in memory; set data.in_memory=True"
    return None


def make_run(
    train_step: TrainStep, split: jax.sharding.Sharding, *, shape: tuple[int, ...]
) -> Callable[..., Any]:
    """Makes the function `run(state, data, indices, steps) -> (state, sums)`.

    It loops on the device. The number of steps is an argument, so one compilation serves any
    distance to the next record, evaluation or checkpoint; `lax.scan` would need one for each.

    Args:
        train_step: From `make_train_step`.
        split: The sharding of a batch.
        shape: Height, width and channels of an image.

    Returns:
        A function for `jax.jit` with `donate_argnums=0`. It takes a state, a dataset on the device,
        the examples of each batch [rows, batch] and how many of these rows count. It returns the
        state after them and the sums of each step, [rows].
    """

    def run(
        state: TrainState, data: ResidentData, indices: jax.Array, steps: jax.Array
    ) -> tuple[TrainState, MetricSums]:
        def batch_of(at: jax.Array) -> dict[str, jax.Array]:
            batch = take_batch(data, indices[at], shape=shape)
            return jax.lax.with_sharding_constraint(batch, split)

        def body(
            at: jax.Array, carry: tuple[TrainState, MetricSums]
        ) -> tuple[TrainState, MetricSums]:
            state, table = carry
            state, sums = train_step(state, batch_of(at))
            return state, {name: table[name].at[at].set(value) for name, value in sums.items()}

        shapes = jax.eval_shape(lambda: train_step(state, batch_of(jnp.int32(0)))[1])
        table = {name: jnp.zeros(len(indices), value.dtype) for name, value in shapes.items()}
        return jax.lax.fori_loop(0, steps, body, (state, table))

    return run
